"""Which of the ways to fit serves, that each gives what single fits give, and how it ends."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from ranks import on_ranks

from layerkit import (
    L2,
    LBFGS,
    SGD,
    Adam,
    BatchNorm,
    Callback,
    ClipByValue,
    CSVLogger,
    Dense,
    HalfSquaredError,
    Lamb,
    LambdaCallback,
    Loss,
    MeanSquaredError,
    NonFiniteError,
    Optimizer,
    ParameterGroup,
    Sequential,
    Sigmoid,
    SquaredDistance,
    StopAt,
    Tanh,
    Trainer,
    UnitNorm,
)
from layerkit.activations import Activation
from layerkit.replicas import Replicas, fitting
from layerkit.replicas.fitting import Line
from layerkit.training.setup import Setup

X = np.eye(8)


def build(seed, learning_rate=1.0, *, layers=None, loss=None, optimizer=SGD, **options):
    layers = layers or [Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())]
    options.setdefault("metrics", [SquaredDistance()])
    loss = loss or HalfSquaredError()
    model = Sequential(layers, seed=seed)
    return Trainer(model, loss, optimizer(learning_rate), seed=seed, **options)


def same_as_single(replicas, make, **arguments):
    for trainer, seed in zip(replicas.trainers, replicas.seeds, strict=True):
        single = make(seed)
        history = single.fit(X, X, **arguments)
        assert_array_equal(trainer.model.values, single.model.values)
        assert dict(trainer.history) == dict(history)
        assert trainer.rng.bit_generator.state == single.rng.bit_generator.state


@pytest.mark.parametrize("shuffle", [True, False])
def test_compiled_fits_give_the_same_bytes(shuffle):
    def make(seed):
        return build(seed, callbacks=[StopAt("squared_distance", 1.0)])

    replicas = Replicas(make, 12)
    arguments = {"epochs": 600, "batch_size": 1, "shuffle": shuffle}
    results = replicas.fit(X, X, **arguments)
    assert str(results.engine_used) == (
        "numba, since it can train these replicas, a core for each fit"
    )
    assert replicas.trainers[3].engine_used == results.engine_used
    assert len(set(results.n_epochs.tolist())) > 3
    same_as_single(replicas, make, **arguments)


def test_a_compiled_replica_that_diverges_fails_alone():
    def make(seed, rate):
        return build(seed, rate, layers=[Dense(8, 3, Tanh()), Dense(3, 8)])

    rates = [0.1, 1e9, 0.2]
    results = Replicas(make, 3, rates).fit(X, X, epochs=20, batch_size=1, engine="numba")
    assert [type(error) for error in results.errors] == [type(None), NonFiniteError, type(None)]
    single = make(1, 1e9)
    with pytest.raises(NonFiniteError) as caught:
        single.fit(X, X, epochs=20, batch_size=1)
    assert str(results.errors[1]) == str(caught.value)
    assert results.n_epochs.tolist() == [20, single.history.n_epochs, 20]


class OwnLoss(Loss):
    def value(self, y_pred, y_true):
        return float(np.square(y_pred - y_true).sum() / len(y_pred))

    def gradient(self, y_pred, y_true):
        return 2 * (y_pred - y_true) / len(y_pred)


class OwnOptimizer(Optimizer):
    def __init__(self, learning_rate):
        self.learning_rate = learning_rate

    def update(self, values, grads, state):
        values -= self.learning_rate * grads


class Scaled(Activation):
    def __init__(self, factors):
        self.factors = factors

    def value(self, z):
        return z * self.factors[0]

    def derivative(self, z, y):
        return np.full_like(z, self.factors[0])

    def scalar_functions(self):
        factor = self.factors[0]
        return lambda z: z * factor, lambda z, y: factor


class Halved(Activation):
    def forward(self, z):
        return z / 2

    def backward(self, dy, z, y):
        return dy / 2


class Slower(StopAt):
    period = 2


def varied(seed):
    return build(seed, optimizer=lambda rate: SGD(rate, momentum=0.1 * (seed + 1)))


SINGLY = {
    "regularizers": (lambda s: build(s, regularizers=[L2(0.1)]), "the trainers have regularizers"),
    "clipping": (lambda s: build(s, clipping=ClipByValue(0.1)), "the trainers have clipping"),
    "constraints": (lambda s: build(s, constraints=[UnitNorm()]), "the trainers have constraints"),
    "groups": (
        lambda s: build(s, groups=[ParameterGroup(["dense_0"], learning_rate=0.1)]),
        "the trainers have groups",
    ),
    "callback": (
        lambda s: build(s, callbacks=[LambdaCallback()]),
        "the callback, .*, is to be called",
    ),
    "period": (
        lambda s: build(s, callbacks=[Slower("loss", 0.1)]),
        "the callback, Slower.* called",
    ),
    "loss": (
        lambda s: build(s, loss=OwnLoss()),
        r"the loss, OwnLoss\(\), is not one of layerkit's",
    ),
    "optimizer": (lambda s: build(s, optimizer=OwnOptimizer), "the optimizer, OwnOptimizer"),
    "lbfgs": (lambda s: build(s, optimizer=lambda rate: LBFGS()), "the optimizer, LBFGS"),
    "shapes": (lambda s: build(s, optimizer=Lamb), "the optimizer, Lamb.* steps for all at once"),
    "coupled decay": (
        lambda s: build(s, optimizer=lambda rate: SGD(rate, coupled_decay=0.1)),
        "the optimizer, SGD.* adds the parameters to the gradients",
    ),
    "settings": (varied, "the replicas differ in more than their numbers"),
    "layer": (
        lambda s: build(s, layers=[Dense(8, 8), BatchNorm()]),
        r"layers\[1\], BatchNorm.*, is not a Dense",
    ),
    "activation": (
        lambda s: build(s, layers=[Dense(8, 8, Halved())]),
        r"the activation, Halved\(\), may mix what belongs apart",
    ),
    "attribute": (
        lambda s: build(s, layers=[Dense(8, 8, Scaled([0.5]))]),
        r"Scaled\(\[0\.5\]\) has 'factors', which may differ between the replicas",
    ),
    "activations": (
        lambda s: build(s, layers=[Dense(8, 8, Sigmoid() if s else Tanh())]),
        "the replicas differ in more than their numbers",
    ),
}


@pytest.mark.parametrize("name", SINGLY)
def test_what_is_fitted_one_by_one_and_why(name):
    make, reason = SINGLY[name]
    replicas = Replicas(make, 2)
    arguments = {"epochs": 3, "batch_size": 4}
    results = replicas.fit(X, X, **arguments, engine="numpy")
    assert results.engine_used.name == "numpy"
    words = results.engine_used.reason
    assert words.startswith("the caller asks for it; the fits are made one after the other, since ")
    assert re.search(reason, words)
    singles = [make(seed) for seed in range(2)]
    for single, trainer in zip(singles, replicas.trainers, strict=True):
        single.engine = "numpy"
        single.fit(X, X, **arguments)
        assert_array_equal(trainer.model.values, single.model.values)


def test_other_ways_that_refuse(tmp_path):
    weighted = X, X, np.arange(8.0)
    results = Replicas(build, 2).fit(X, X, epochs=2, validation_data=weighted, engine="numpy")
    assert "the validation data is weighted" in results.engine_used.reason
    replicas = Replicas(build, 2)
    path = tmp_path / "run.checkpoint"
    replicas.trainers[0].save_checkpoint(path)
    replicas.trainers[0].resume(path)
    results = replicas.fit(X, X, epochs=2, engine="numpy")
    assert "have a checkpoint to go on from" in results.engine_used.reason


@pytest.mark.parametrize("engine", ["auto", "numba", "numpy"])
def test_replicas_go_on_from_checkpoints(engine, tmp_path):
    def make(seed):
        return build(seed, callbacks=[StopAt("val_loss", 0.0)])

    def resumed(seed):
        trainer = make(seed)
        trainer.resume(tmp_path / str(seed))
        return trainer

    arguments = {"batch_size": 2, "shuffle": False, "validation_data": (X, X)}
    for seed in range(2):
        trainer = make(seed)
        trainer.fit(X, X, epochs=2, **arguments)
        trainer.save_checkpoint(tmp_path / str(seed))
    replicas = Replicas(resumed, 2)
    results = replicas.fit(X, X, epochs=4, engine=engine, **arguments)
    assert results.errors == [None, None]
    assert results.n_epochs.tolist() == [4, 4]
    for seed, replica in enumerate(replicas.trainers):
        single = make(seed)
        single.fit(X, X, epochs=4, **arguments)
        np.testing.assert_allclose(replica.model.values, single.model.values, rtol=1e-12)


def test_over_ranks_one_by_one():
    def program(communicator):
        replicas = Replicas(lambda s: build(s, communicator=communicator), 2)
        results = replicas.fit(X, X, epochs=2, engine="numpy")
        return results.errors, results.engine_used.reason, replicas.values

    for errors, reason, values in on_ranks(2, program):
        assert errors == [None, None]
        assert "the trainers have other ranks to train with" in reason
        alone = Replicas(build, 2)
        alone.fit(X, X, epochs=2, engine="numpy")
        # The sums over ranks round otherwise.
        np.testing.assert_allclose(values, alone.values, rtol=1e-12)


def test_one_by_one_a_failure_is_kept(tmp_path):
    (tmp_path / "file").write_text("")

    def make(seed):
        folder = tmp_path / ("file" if seed == 1 else ".")
        return build(seed, callbacks=[CSVLogger(folder / f"{seed}.csv")])

    results = Replicas(make, 3).fit(X, X, epochs=2, engine="numpy")
    assert [error is None for error in results.errors] == [True, False, True]
    assert results.n_epochs.tolist() == [2, 0, 2]


def test_one_by_one_each_is_told_when_it_has_ended(monkeypatch):
    told = []
    monkeypatch.setattr(Line, "tell", lambda line, n_ended, epoch=None: told.append(n_ended))
    Replicas(lambda s: build(s, loss=OwnLoss()), 3).fit(X, X, epochs=1, engine="numpy")
    assert told == [1, 2, 3]


@pytest.mark.parametrize(
    ("engine", "asked"), [("auto", ["auto", "numpy", "auto"]), ("numpy", ["numpy"] * 3)]
)
def test_one_by_one_each_has_the_engine_that_its_trainer_asks_for(engine, asked, monkeypatch):
    def noted(setup, *arguments, **options):
        if options["epochs"]:
            seen.append(options["engine"])
        return usual(setup, *arguments, **options)

    seen, usual = [], Setup.new_fit
    monkeypatch.setattr(Setup, "new_fit", noted)
    own = ["auto", "numpy", "auto"]
    replicas = Replicas(lambda s: build(s, engine=own[s], loss=OwnLoss()), 3)
    assert replicas.fit(X, X, epochs=2, engine=engine).errors == [None] * 3
    assert seen == asked


def test_one_by_one_a_fit_that_can_not_begin_fails_alone():
    own = ["numpy", "numba", "numpy"]
    replicas = Replicas(lambda s: build(s, engine=own[s], loss=OwnLoss()), 3)
    results = replicas.fit(X, X, epochs=2)
    assert [error is None for error in results.errors] == [True, False, True]
    assert "engine must be able to serve; got a fit that it can't do" in str(results.errors[1])
    assert results.n_epochs.tolist() == [2, 0, 2]


def test_auto_respects_what_a_trainer_asks_for():
    replicas = Replicas(lambda s: build(s, engine="numpy" if s else "auto"), 2)
    results = replicas.fit(X, X, epochs=2, batch_size=1)
    reason = "a trainer asks for it; all replicas are trained at once"
    assert results.engine_used == ("numpy", reason)
    assert [trainer.engine for trainer in replicas.trainers] == ["auto", "numpy"]


@pytest.mark.parametrize(
    ("asked", "engine", "used"),
    [
        ("auto", "auto", "numpy"),
        ("auto", "numba", "numba"),
        ("numba", "auto", "numba"),
        ("numpy", "numba", "numba"),
        ("numba", "numpy", "numpy"),
    ],
)
def test_the_caller_is_asked_before_the_trainers(asked, engine, used):
    # So large that numba would be slower.
    def make(seed):
        layers = [Dense(8, 60, Tanh()), Dense(60, 60), Dense(60, 8)]
        return build(seed, 0.01, layers=layers, engine=asked)

    x = np.tile(X, (8, 1))
    results = Replicas(make, 2).fit(x, x, epochs=1, batch_size=64, engine=engine)
    assert results.errors == [None, None]
    assert results.engine_used.name == used


def test_large_batches_are_numpys():
    def make(seed):
        layers = [Dense(8, 60, Tanh()), Dense(60, 60), Dense(60, 8)]
        return build(seed, 0.01, layers=layers, loss=MeanSquaredError(), optimizer=Adam)

    x = np.tile(X, (8, 1))
    replicas = Replicas(make, 5)
    results = replicas.fit(x, x, epochs=4, batch_size=32)
    assert "not SGD; all replicas are trained at once" in results.engine_used.reason
    for seed in (0, 4):
        single = make(seed)
        single.fit(x, x, epochs=4, batch_size=32)
        np.testing.assert_allclose(
            replicas.values[seed], single.model.values, rtol=1e-11, atol=1e-12
        )


@pytest.mark.parametrize("engine", ["auto", "numpy"])
def test_no_epochs_change_nothing(engine):
    replicas = Replicas(build, 2)
    before = replicas.values.copy()
    results = replicas.fit(X, X, epochs=0, engine=engine)
    assert results.n_epochs.tolist() == [0, 0]
    assert_array_equal(replicas.values, before)


def test_the_line(monkeypatch):
    now = iter([1.0, 1.05, 2.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    seen = []

    class Shown(io.StringIO):
        def flush(self):
            seen.append(self.getvalue().rpartition("\r")[2])

    shown = Shown()
    monkeypatch.setattr(sys, "stderr", shown)
    line = Line(1200, is_shown=True)
    line.tell(5, 1234)
    line.tell(6, 1235)
    line.tell(1100)
    line.close()
    first, last = (
        "5 of 1,200 replicas have ended, epoch 1,234",
        "1,100 of 1,200 replicas have ended",
    )
    width = len(last)
    assert shown.getvalue() == f"\r{first}\r{last.ljust(len(first))}\r{' ' * width}\r"
    assert seen == [first, last.ljust(len(first)), ""]  # at once: it is not the end of a line


def test_no_line_unless_asked_for(capsys):
    Replicas(build, 2).fit(X, X, epochs=3, engine="numpy")
    assert capsys.readouterr().err == ""
    Replicas(build, 2).fit(X, X, epochs=3, engine="numpy", progress=True)
    assert "of 2 replicas have ended" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_ctrl_c_keeps_what_was_trained(engine, monkeypatch):
    replicas = Replicas(build, 3)
    replicas.fit(X, X, epochs=1, batch_size=1, engine=engine)  # compiled by now
    fits = []
    usual = fitting.BatchedFit.run
    monkeypatch.setattr(fitting.BatchedFit, "run", lambda fit: (fits.append(fit), usual(fit)))

    def interrupt():
        first = replicas.trainers[0]
        while not (fits[0].epoch > 20 if fits else first.history.n_epochs > 20):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        replicas.fit(X, X, epochs=10**9, batch_size=1, engine=engine)
    results = replicas.results
    assert results.n_epochs[0] > 20
    for k, trainer in enumerate(replicas.trainers):
        assert results.n_epochs[k] == (trainer.optimizer.n_steps - 8) // 8
        single = build(k)
        single.fit(X, X, epochs=1, batch_size=1)
        if results.n_epochs[k]:
            history = single.fit(X, X, epochs=int(results.n_epochs[k]), batch_size=1)
            np.testing.assert_allclose(results.histories[k]["loss"], history["loss"], rtol=1e-9)
    replicas.fit(X, X, epochs=1, batch_size=1, engine=engine)


class Long(Callback):
    def on_epoch_end(self, trainer):
        raise KeyboardInterrupt


def test_ctrl_c_one_by_one():
    replicas = Replicas(lambda s: build(s, callbacks=[Long()] if s == 1 else [LambdaCallback()]), 3)
    with pytest.raises(KeyboardInterrupt):
        replicas.fit(X, X, epochs=4, engine="numpy")
    assert replicas.results.n_epochs.tolist() == [4, 1, 0]


def test_replicas_in_a_program_without_numba():
    code = """
import sys
sys.modules["numba"] = None
import numpy as np
from layerkit import *
from layerkit.replicas import Replicas
def build(seed):
    return Trainer(Sequential([Dense(8, 3), Dense(3, 8)], seed=seed), HalfSquaredError(), SGD(0.1))
results = Replicas(build, 4).fit(np.eye(8), np.eye(8), epochs=3, batch_size=1)
print(results.engine_used.name, "numba is not installed" in results.engine_used.reason)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "numpy True\n"
