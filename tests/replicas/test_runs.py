"""`Replicas`: what it is built of, where its parameters lie, and what it refuses."""

import copy
import pickle
import sys

import numpy as np
import numpydoc.validate
import pytest
from numpy.testing import assert_array_equal

from layerkit import (
    SGD,
    Adam,
    ArgumentError,
    Dense,
    Flatten,
    HalfSquaredError,
    LambdaCallback,
    MissingExtraError,
    Optimizer,
    Reshape,
    Sequential,
    ShapeError,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredDistance,
    StateError,
    StopAt,
    Tanh,
    Trainer,
)
from layerkit.replicas import Replicas

X = np.eye(8)


def model(seed=None, width=3, dtype=np.float64):
    return Sequential(
        [Dense(8, width, Sigmoid()), Dense(width, 8, Sigmoid())], seed=seed, dtype=dtype
    )


def build(seed, learning_rate=1.0, **options):
    return Trainer(model(seed), HalfSquaredError(), SGD(learning_rate), seed=seed, **options)


def fit(replicas, **options):
    return replicas.fit(X, X, **{"epochs": 3, "batch_size": 1} | options)


@pytest.mark.parametrize("name", ["Replicas", "Results"])
def test_docstrings_are_valid_numpydoc(name):
    # What is left out, and why, stands in test_package.py.
    leave_out = {"ES01", "GL01", "PR08", "SA01", "SS02"}
    for part in ("", ".fit", ".predict") if name == "Replicas" else ("", ".plot"):
        result = numpydoc.validate.validate(f"layerkit.replicas.{name}{part}")
        leave = leave_out | ({"EX01"} if part else set())
        assert not [error for error in result["errors"] if error[0] not in leave]


def test_seeds_and_learning_rates():
    assert Replicas(build, 3).seeds == [0, 1, 2]
    assert Replicas(build, np.int64(2)).seeds == [0, 1]
    assert Replicas(build, (s for s in [5, np.int64(9)])).seeds == [5, 9]
    rates = [t.optimizer.learning_rate for t in Replicas(build, [4, 4], [0.1, 0.2]).trainers]
    assert rates == [0.1, 0.2]
    rates = [t.optimizer.learning_rate for t in Replicas(build, 2, 0.5).trainers]
    assert rates == [0.5, 0.5]
    assert len(Replicas(build, 2)) == 2
    assert repr(Replicas(build, 2)).startswith("<2 replicas of Sequential([Dense(8, 3, Sigmoid())")


def test_the_models_are_rows_of_one_table():
    replicas = Replicas(build, 4)
    assert replicas.values.shape == replicas.grads.shape == (4, 59)
    for k, trainer in enumerate(replicas.trainers):
        alone = model(k)
        assert_array_equal(replicas.values[k], alone.values)
        for table, vector in (
            (replicas.values, trainer.model.values),
            (replicas.grads, trainer.model.grads),
        ):
            assert np.shares_memory(table[k], vector)
            assert vector.ctypes.data % 64 == 0
        trainer.model[1].bias.value += 1
        assert_array_equal(replicas.values[k, -8:], trainer.model[1].bias.value)
        assert np.shares_memory(trainer.model[:1].values, replicas.values[k])


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_views_survive_whatever_is_done(engine):
    replicas = Replicas(build, 3)

    def check():
        for k, trainer in enumerate(replicas.trainers):
            assert np.shares_memory(replicas.values[k], trainer.model.values)
            assert_array_equal(replicas.values[k], trainer.model.values)
            assert np.shares_memory(replicas.grads[k], trainer.model.grads)

    fit(replicas, engine=engine)
    check()
    first = replicas.trainers[0]
    first.fit(X, X, epochs=2)
    first.train_step(X, X)
    first.model.set_weights(model(9).get_weights())
    first.model.forward(X, training=True)
    first.model.backward(X)
    check()
    fit(replicas, engine=engine)
    check()
    replicas.values[:] = 0
    assert not first.model.get_weights()[0].any()


def test_predictions_of_all():
    replicas = Replicas(build, 3)
    y = replicas.predict(X)
    assert y.shape == (3, 8, 8)
    for k in range(3):
        assert_array_equal(y[k], model(k).predict(X))
    assert replicas.predict(X[:5], batch_size=2).shape == (3, 5, 8)
    with pytest.raises(ArgumentError, match=r"batch_size must be .* at least 1; got 0"):
        replicas.predict(X, batch_size=0)


def test_optimizers_without_a_learning_rate():
    class Unrated(Optimizer):
        def update(self, values, grads, state):
            values -= grads

    replicas = Replicas(lambda s: Trainer(model(s), HalfSquaredError(), Unrated()), 2)
    assert np.isnan(fit(replicas).learning_rates).tolist() == [True, True]


def test_a_single_replica_and_the_default_size_of_a_batch():
    replicas = Replicas(build, 1)
    x = np.tile(X, (5, 1))
    replicas.fit(x[:33], x[:33], epochs=2)
    assert replicas.trainers[0].optimizer.n_steps == 2 * 2
    replicas.fit(x[:32], x[:32], epochs=1)
    assert replicas.trainers[0].optimizer.n_steps == 2 * 2 + 1


@pytest.mark.parametrize(
    ("is_terminal", "epochs", "is_shown"), [(True, 1, True), (True, 0, False), (False, 1, False)]
)
def test_progress_is_shown_on_a_terminal(is_terminal, epochs, is_shown, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    replicas = Replicas(lambda s: build(s, callbacks=[LambdaCallback()]), 2)
    fit(replicas, epochs=epochs, engine="numpy")
    shown = capsys.readouterr().err
    assert ("1 of 2 replicas have ended" in shown) == is_shown
    assert not is_shown or shown.endswith(" \r")  # and the line is left empty


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_a_fit_of_no_epochs_has_results_of_its_own(engine):
    replicas = Replicas(lambda s: build(s, callbacks=[StopAt("val_loss", 1e9)]), 2)
    results = fit(replicas, validation_data=[X, X])
    assert results.reached.tolist() == [True, True]
    results = fit(replicas, epochs=0, validation_data=(X, X), engine=engine)
    assert results.reached.tolist() == [False, False]
    assert [dict(history) for history in results.histories] == [{"loss": [], "val_loss": []}] * 2
    with pytest.raises(ArgumentError, match=r"StopAt must be of one of 'loss'"):
        fit(replicas, epochs=0)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))])
def test_a_copy_has_a_table_of_its_own(make_copy):
    replicas = Replicas(build, 3)
    fit(replicas)
    assert set(replicas.__getstate__()) == {"seeds", "trainers", "results"}  # no table twice
    copied = make_copy(replicas)
    assert_array_equal(copied.values, replicas.values)
    assert not np.shares_memory(copied.values, replicas.values)
    for k, trainer in enumerate(copied.trainers):
        assert np.shares_memory(copied.values[k], trainer.model.values)
    fit(replicas)
    fit(copied)
    assert_array_equal(copied.values, replicas.values)


def test_trainers_that_have_been_used_go_on():
    def used(seed):
        trainer = Trainer(model(seed), HalfSquaredError(), Adam(), seed=seed)
        trainer.fit(X, X, epochs=2)
        trainer.model.predict(X[0][None])
        return trainer

    replicas, single = Replicas(used, 2), used(1)
    # What they have computed with is left behind with the place where it lay.
    replicas.values[:] /= 2
    single.model.values[:] /= 2
    assert_array_equal(replicas.trainers[1].model.predict(X), single.model.predict(X))
    fit(replicas, engine="numpy")
    single.fit(X, X, epochs=3, batch_size=1)
    np.testing.assert_allclose(replicas.values[1], single.model.values, rtol=1e-12)


def test_importing_layerkit_leaves_replicas_out():
    import subprocess

    code = "import layerkit, sys; sys.exit('layerkit.replicas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


TRAINER, SHARED = build(0), model(0)
OPTIMIZER, GENERATOR, STOP = SGD(1.0), np.random.default_rng(0), StopAt("loss", 1)


def of(*arguments, **options):
    return lambda: Replicas(*arguments, **options)


def fitted(**options):
    return lambda: fit(Replicas(build, 2), **options)


def with_model(make):
    return lambda seed: Trainer(make(seed), HalfSquaredError(), SGD(1.0), seed=seed)


def with_stop(seed):
    return build(seed, callbacks=[StopAt("accuracy", 1)])


CASES = {
    "build": (of(3, 2), "build must be a function of a seed that gives a Trainer; got 3"),
    "no seeds": (of(build, []), "seeds must be at least one; got none"),
    "0 seeds": (of(build, 0), "seeds must be a whole number of at least 1; got 0"),
    "seeds -1": (of(build, -1), "seeds must be a whole number of at least 1; got -1"),
    "half a seed": (of(build, [0, 0.5]), r"seeds\[1\] must be a whole number .*; got 0.5"),
    "seeds in words": (of(build, "12"), "seeds must be a whole number .*; got '12'"),
    "no trainer": (of(model, 2), r"build\(0\) must be an instance of Trainer; got Sequential"),
    "rates": (
        of(build, 3, [0.1, 0.2]),
        "learning_rates must be one number, or one for each of 3 seeds; got 2 of them",
    ),
    "rate 0": (of(build, 2, [0.1, 0]), r"learning_rates\[1\] must be .* above 0; got 0"),
    "one rate 0": (of(build, 2, 0), "learning_rates must be .* above 0; got 0"),
    "rates in words": (of(build, 2, "fast"), "learning_rates must be .* number .*; got 'fast'"),
    "same trainer": (of(lambda seed: TRAINER, 2), "anew; got the same trainer in replicas 0 and 1"),
    "same model": (of(with_model(lambda s: SHARED), 2), "the same model in replicas 0 and 1. Make"),
    "same parameters": (of(with_model(lambda s: SHARED[:]), 2), "the same parameter in replicas"),
    "same optimizer": (
        of(lambda seed: Trainer(model(seed), HalfSquaredError(), OPTIMIZER), 2),
        "the same optimizer in replicas 0 and 1",
    ),
    "same generator": (
        of(lambda seed: Trainer(model(), HalfSquaredError(), SGD(1.0), seed=GENERATOR), 2),
        "the same generator in replicas 0 and 1",
    ),
    "same callback": (
        of(lambda seed: build(seed, callbacks=[STOP]), 2),
        "the same callback in replicas 0 and 1",
    ),
    "part of a model": (
        of(lambda s: Trainer(model(s)[:1], HalfSquaredError(), SGD(1.0)), 2),
        "trainers of whole models; got a part of one in replica 0",
    ),
    "epochs": (fitted(epochs=-1), "epochs must be a whole number of at least 0; got -1"),
    "batch_size": (fitted(batch_size=0), "batch_size must be .* at least 1; got 0"),
    "shuffle": (fitted(shuffle=1), "shuffle must be True or False; got 1"),
    "progress": (fitted(progress=2), "progress must be True or False; got 2"),
    "engine": (fitted(engine="gpu"), "engine must be 'auto' or 'numpy' or 'numba'; got 'gpu'"),
    "validation": (
        fitted(validation_data=X),
        r"validation_data must be a pair \(x, y\), or \(x, y, sample_weight\); got",
    ),
    "validation data": (
        fitted(validation_data=(X, X * np.nan)),
        r"Replicas\.fit, validation_data: y_true must be finite",
    ),
    "stream": (lambda: Replicas(build, 2).fit(iter([]), X, epochs=1), "x must be an array"),
    "nan": (lambda: Replicas(build, 2).fit(X * np.nan, X, epochs=1), "x must be finite"),
    "stop": (
        lambda: fit(Replicas(with_stop, 2)),
        r"StopAt must be of one of 'loss'; got StopAt\('accuracy', 1\.0\)",
    ),
    "numba can't": (
        lambda: fit(
            Replicas(lambda s: Trainer(model(s), HalfSquaredError(), Adam()), 2), engine="numba"
        ),
        r"engine must be able to serve; got a fit that it can't do, since the optimizer, Adam.*"
        "Pass engine='auto', which takes NumPy then.",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_with_its_remedy(name):
    call, message = CASES[name]
    with pytest.raises(ArgumentError, match=message) as caught:
        call()
    assert str(caught.value).startswith("Replicas.")


def flattened(*shape):
    return Sequential([Flatten(), Dense(8, 8)], input_shape=shape)


OTHERS = {
    "wide": (model, lambda: model(width=4)),
    "single": (model, lambda: model(dtype=np.float32)),
    "names": (lambda: Sequential([Dense(8, 8)]), lambda: Sequential([Dense(8, 8, name="other")])),
    "inputs": (lambda: flattened(2, 4), lambda: flattened(4, 2)),
    "outputs": (
        lambda: Sequential([Dense(8, 8)]),
        lambda: Sequential([Dense(8, 8), Reshape((2, 4))]),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_models_of_another_shape_are_refused(name):
    usual, other = OTHERS[name]
    mixed = with_model(lambda seed: other() if seed == 2 else usual())
    wanted = "models of one shape and dtype; got .* in replica 0 and .* in replica 2"
    with pytest.raises(ShapeError, match=wanted):
        Replicas(mixed, 3)


def test_the_targets_are_checked_for_each_loss():
    def mixed(seed):
        loss = SoftmaxCrossEntropy("probabilities") if seed else HalfSquaredError()
        return Trainer(model(seed), loss, SGD(1.0), seed=seed)

    with pytest.raises(ArgumentError, match=r"Replicas\.fit: y_true must be between 0 and 1"):
        Replicas(mixed, 2).fit(X, X * 2, epochs=1)


def test_what_is_refused_changes_nothing():
    replicas = Replicas(with_stop, 2)
    before = replicas.values.tobytes(), replicas.trainers[0].history, replicas.trainers[0].engine
    with pytest.raises(ArgumentError):
        fit(replicas)
    assert before == (
        replicas.values.tobytes(),
        replicas.trainers[0].history,
        replicas.trainers[0].engine,
    )
    assert replicas.results is None


def with_an_adam(seed):
    optimizer = Adam() if seed == 2 else SGD(1.0)
    return Trainer(model(seed), HalfSquaredError(), optimizer, seed=seed)


def test_numba_has_to_serve_each_replica_before_any_is_trained():
    replicas = Replicas(with_an_adam, 3)
    before = replicas.values.copy()
    with pytest.raises(ArgumentError, match=r"can't do, since the optimizer, Adam.* is not SGD"):
        fit(replicas, engine="numba")
    assert_array_equal(replicas.values, before)
    assert replicas.results is None


def test_numba_does_not_go_on_with_what_numpy_began(tmp_path):
    before = build(1, engine="numpy")
    before.fit(X, X, epochs=2, batch_size=1)
    before.save_checkpoint(tmp_path / "m")
    replicas = Replicas(build, 2)
    replicas.trainers[1].resume(tmp_path / "m")
    with pytest.raises(ArgumentError, match=r"Replicas\.fit: .* NumPy served before the checkp"):
        fit(replicas, engine="numba")
    assert fit(replicas).errors == [None, None]
    names = [trainer.engine_used.name for trainer in replicas.trainers]
    assert names == ["numba", "numpy"]


def test_each_trainer_names_the_engine_that_served_it():
    replicas = Replicas(with_an_adam, 3)
    results = fit(replicas)
    assert results.engine_used.name == "numba"
    assert [trainer.engine_used.name for trainer in replicas.trainers] == ["numba"] * 2 + ["numpy"]
    assert "is not SGD" in replicas.trainers[2].engine_used.reason

    def asking(seed):
        layer = Dense(8, 8, Sigmoid() if seed else Tanh())
        engine = "numpy" if seed == 2 else "auto"
        return Trainer(Sequential([layer]), HalfSquaredError(), SGD(1.0), engine=engine)

    replicas = Replicas(asking, 3)
    results = fit(replicas)
    assert "the fits are made one after the other" in results.engine_used.reason
    assert [trainer.engine_used.name for trainer in replicas.trainers] == ["numba"] * 2 + ["numpy"]
    assert replicas.trainers[2].engine_used == results.engine_used


def test_the_data_is_read_once_for_replicas_of_one_kind():
    class Read:
        """Numbers that are read anew each time they are asked for."""

        n_times = 0

        def __array__(self, dtype=None, copy=None):
            self.n_times += 1
            return X

    def n_times(build):
        x = Read()
        Replicas(build, 4).fit(x, X, epochs=0)
        return x.n_times

    def of_two_kinds(seed):
        return build(seed, metrics=[SquaredDistance()] if seed else [])

    assert n_times(of_two_kinds) == 2 * n_times(build)


def test_without_numba(monkeypatch):
    monkeypatch.delattr("layerkit.engines.kernels", raising=False)
    monkeypatch.setitem(sys.modules, "layerkit.engines.kernels", None)
    with pytest.raises(MissingExtraError, match=r"Replicas\.fit: numba must be installed"):
        fit(Replicas(build, 2), engine="numba")
    results = fit(Replicas(build, 2))
    assert results.engine_used.name == "numpy"
    assert "numba is not installed" in results.engine_used.reason


def test_a_model_in_training_is_refused_alone():
    inner = Replicas(build, 2)
    caught = []

    def train_again(trainer):
        with pytest.raises(StateError, match="in one fit at a time") as error:
            fit(inner, engine="numpy")
        caught.append(error)

    callbacks = [LambdaCallback(on_epoch_end=train_again)]
    inner.trainers[1].fit(X, X, epochs=1, callbacks=callbacks)
    assert caught
