"""A checkpoint is of a fit's last whole update, whatever its callbacks leave in the model."""

import copy
import pickle
import signal

import numpy as np
import pytest

from layerkit import (
    SGD,
    Adam,
    BatchNorm,
    Callback,
    CSVLogger,
    Dense,
    Dropout,
    EarlyStopping,
    HalfSquaredError,
    LambdaCallback,
    ReLU,
    Sequential,
    Sigmoid,
    StopAt,
    Trainer,
    WeightAverage,
)
from layerkit.engines import kernels
from layerkit.training.kept import Kept
from tests.helpers.ranks import on_ranks

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 2))
OPTIONS = {"epochs": 12, "batch_size": 4, "validation_data": (Y[:, [0, 1, 1]], Y)}

CALLBACKS = {
    "early stopping": lambda: [EarlyStopping("val_loss", patience=50)],
    "average": lambda: [WeightAverage(0.9, apply=True)],
    "both": lambda: [EarlyStopping("loss", patience=50), WeightAverage(0.9, apply=True)],
    "both, the average first": lambda: [
        WeightAverage(0.9, apply=True),
        EarlyStopping("val_loss", patience=50),
    ],
}
MODELS = {
    "numpy": (lambda: [Dense(3, 6, ReLU()), BatchNorm(), Dropout(0.3), Dense(6, 2)], Adam),
    "numba": (lambda: [Dense(3, 6, Sigmoid()), Dense(6, 2)], lambda: SGD(0.5, momentum=0.5)),
}


def make(engine, callbacks, seed=0, **options):
    layers, optimizer = MODELS[engine]
    model = Sequential(layers(), seed=seed)
    return Trainer(model, HalfSquaredError(), optimizer(), callbacks=callbacks, seed=seed,
                   engine=engine, **options)  # fmt: skip


def parts_of(model):
    """The parameters and the layers' states, as bytes."""
    return model.values.tobytes(), [
        value.tobytes() if isinstance(value, np.ndarray) else repr(value.bit_generator.state)
        for _, layer in model.walk()
        for value in layer.get_state().values()
    ]


def end_of(trainer):
    """All that a training leaves behind."""
    optimizer, states = trainer.optimizer, [c.get_state() for c in trainer.callbacks]
    vectors = {name: vector.tobytes() for name, vector in optimizer.state.items()}
    with np.printoptions(floatmode="unique", threshold=10**6):
        told = repr(states), repr(optimizer.attributes())
    rng = trainer.rng.bit_generator.state
    return parts_of(trainer.model), vectors, told, dict(trainer.history), rng, trainer.epoch


class Interrupt(Callback):
    """Ends a fit at the n-th call of a hook, in one of two ways."""

    def __init__(self, hook, number, way):
        self.number, self.way = number, way
        setattr(self, hook, self.count)

    def get_state(self):
        return {}

    def count(self, trainer):
        self.number -= 1
        if not self.number:
            if self.way == "signal":
                signal.raise_signal(signal.SIGINT)
            else:
                raise KeyboardInterrupt


@pytest.mark.parametrize("engine", MODELS)
@pytest.mark.parametrize("which", CALLBACKS)
@pytest.mark.parametrize("way", ["signal", "raise"])
@pytest.mark.parametrize(
    ("hook", "number"),
    [("on_update_end", 45), ("on_batch_end", 48), ("on_epoch_end", 8), ("on_batch_begin", 50),
     ("on_epoch_begin", 8)],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_an_interrupted_fit_is_gone_on_with(engine, which, way, hook, number, first, tmp_path):
    def run(seed, number, path=None):
        callbacks = CALLBACKS[which]()
        callbacks.insert(0 if first else len(callbacks), Interrupt(hook, number, way))
        trainer = make(engine, callbacks, seed)
        if path:
            trainer.resume(path)
        if number > 0:
            with pytest.raises(KeyboardInterrupt):
                trainer.fit(X, Y, **OPTIONS)
        else:
            trainer.fit(X, Y, **OPTIONS)
        return trainer

    whole = end_of(run(0, 0))
    stopped = run(0, number)
    replaced = parts_of(stopped.model)
    stopped.save_checkpoint(tmp_path / "c")
    assert parts_of(stopped.model) == replaced  # saving changes nothing
    again = run(3, 0, tmp_path / "c")
    assert end_of(again) == whole


@pytest.mark.parametrize("number", [2, 7, 17, 24, 30])
def test_updates_of_several_batches_too(number, tmp_path):
    def run(number, path=None):
        callbacks = [*CALLBACKS["both"](), Interrupt("on_batch_end", number, "raise")]
        trainer = make("numpy", callbacks)
        if path:
            trainer.resume(path)
        try:
            trainer.fit(X, Y, **OPTIONS, accumulate=4)
        except KeyboardInterrupt:
            trainer.save_checkpoint(tmp_path / "c")
        return end_of(trainer)

    whole = run(0)
    run(number)
    assert run(0, tmp_path / "c") == whole


@pytest.mark.parametrize("engine", MODELS)
@pytest.mark.parametrize("which", CALLBACKS)
def test_a_finished_fit_goes_on_with_more_epochs(engine, which, tmp_path):
    def run(epochs, path=None):
        trainer = make(engine, CALLBACKS[which]())
        if path:
            trainer.resume(path)
        trainer.fit(X, Y, **OPTIONS | {"epochs": epochs})
        return trainer

    whole = run(12)
    run(7).save_checkpoint(tmp_path / "c")
    assert end_of(run(12, tmp_path / "c")) == end_of(whole)
    # With no more of them, the callbacks replace the parameters once more.
    assert end_of(run(7, tmp_path / "c")) == end_of(run(7))


@pytest.mark.parametrize("call", range(1, 7))
@pytest.mark.parametrize("stop", [1e-9, 0.95])  # the last in epoch 8, of five that run together
def test_ctrl_c_in_compiled_epochs_skips_no_hook(call, stop, tmp_path, monkeypatch):
    """Also if it comes with the last step of an epoch after which hooks are to be called."""

    class Notes(Callback):
        period = 5

        def __init__(self):
            self.seen = []

        def on_epoch_end(self, trainer):
            self.seen.append(trainer.epoch)

    def run(interrupted=None, path=None):
        calls, kernel = [], kernels.run

        def kernel_run(*args):
            status = kernel(*args)
            calls.append(None)
            if len(calls) == interrupted:
                signal.raise_signal(signal.SIGINT)
            return status

        monkeypatch.setattr(kernels, "run", kernel_run)
        callbacks = [StopAt("loss", stop), Notes()]
        trainer = make("numba", callbacks)
        if path:
            trainer.resume(path)
        try:
            trainer.fit(X, Y, epochs=30, batch_size=4)
        except KeyboardInterrupt:
            trainer.save_checkpoint(tmp_path / "c")
        monkeypatch.setattr(kernels, "run", kernel)
        return end_of(trainer), len(calls)

    whole, n_calls = run()
    if call <= n_calls:
        assert run(call)[0] != whole
        assert run(path=tmp_path / "c")[0] == whole


def fitted(*callbacks, epochs=5):
    trainer = make("numpy", [*CALLBACKS["both"](), *callbacks])
    trainer.fit(X, Y, **OPTIONS | {"epochs": epochs})
    return trainer


def resumed(path):
    trainer = make("numpy", [], seed=5)
    trainer.resume(path)
    return trainer


def in_training():
    """A fit that ends with the parameters in training."""
    trainer = make("numpy", [])
    trainer.fit(X, Y, **OPTIONS | {"epochs": 5})
    return trainer


def test_the_model_has_what_callbacks_left_and_the_checkpoint_what_was_in_training(tmp_path):
    trainer = fitted()
    trainer.save_checkpoint(tmp_path / "c")
    trained = parts_of(in_training().model)
    assert parts_of(resumed(tmp_path / "c").model) == trained
    assert parts_of(trainer.model) != trained
    for other in (copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        other.save_checkpoint(tmp_path / "copied")
        assert parts_of(resumed(tmp_path / "copied").model) == trained


def test_a_callback_that_ends_after_them_saves_the_same(tmp_path):
    fitted(LambdaCallback(on_train_end=lambda t: t.save_checkpoint(tmp_path / "c")))
    assert parts_of(resumed(tmp_path / "c").model) == parts_of(in_training().model)


def test_one_that_fails_to_end_changes_nothing_about_it(tmp_path):
    class Fails(Callback):
        def on_train_end(self, trainer):
            raise RuntimeError("no")

    trainer = make("numpy", [Fails(), *CALLBACKS["both"]()])
    with pytest.raises(RuntimeError):
        trainer.fit(X, Y, **OPTIONS | {"epochs": 5})
    trainer.save_checkpoint(tmp_path / "c")
    assert parts_of(resumed(tmp_path / "c").model) == parts_of(in_training().model)


def test_what_has_changed_since_is_saved_as_it_is(tmp_path):
    for change in (
        lambda trainer: trainer.train_step(X, Y),
        lambda trainer: trainer.model.set_weights([2 * w for w in trainer.model.get_weights()]),
        lambda trainer: trainer.model[1].set_state({"running_mean": np.ones(6)}),
        lambda trainer: resume_what_is_there(trainer, tmp_path / "there"),
    ):
        trainer = fitted()
        change(trainer)
        trainer.save_checkpoint(tmp_path / "c")
        assert parts_of(resumed(tmp_path / "c").model) == parts_of(trainer.model)


def resume_what_is_there(trainer, path):
    """Resume a checkpoint with the very parameters that the callbacks left."""
    other = make("numpy", CALLBACKS["both"]())
    other.model.set_weights(trainer.model.get_weights())
    for (_, layer), (_, own) in zip(other.model.walk(), trainer.model.walk(), strict=True):
        layer.set_state(copy.deepcopy(own.get_state()))
    other.train_step(X, Y)
    other.model.set_weights(trainer.model.get_weights())
    for (_, layer), (_, own) in zip(other.model.walk(), trainer.model.walk(), strict=True):
        layer.set_state(copy.deepcopy(own.get_state()))
    other.save_checkpoint(path)
    trainer.resume(path)


def test_settings_that_a_callback_puts_back_too(tmp_path):
    class Faster(Callback):
        def on_epoch_end(self, trainer):
            trainer.optimizer.learning_rate *= 2

        def on_train_end(self, trainer):
            trainer.optimizer.learning_rate = 0.001

    trainer = make("numpy", [Faster()])
    trainer.fit(X, Y, **OPTIONS | {"epochs": 3})
    trainer.save_checkpoint(tmp_path / "c")
    assert trainer.optimizer.learning_rate == 0.001
    assert resumed(tmp_path / "c").optimizer.learning_rate == 0.008
    trainer.optimizer.learning_rate = 0.5
    trainer.save_checkpoint(tmp_path / "c")
    assert resumed(tmp_path / "c").optimizer.learning_rate == 0.5
    trainer.model[0].kernel.trainable = False  # what callbacks leave alone is saved as it is
    trainer.save_checkpoint(tmp_path / "c")
    assert not resumed(tmp_path / "c").model[0].kernel.trainable


def test_only_what_is_replaced_takes_memory(tmp_path):
    plain = make("numpy", [EarlyStopping("loss", restore_best=False), CSVLogger(tmp_path / "h")])
    plain.fit(X, Y, epochs=1)
    kept = plain.setup.hooks.kept
    assert kept.contents().keys() == {"values", "frozen", "states"}
    (first, *_) = kept.contents()["values"].values()
    assert np.shares_memory(first, plain.model.values)
    logging = make("numpy", [CSVLogger(tmp_path / "h")])
    logging.fit(X, Y, epochs=1)
    assert logging.setup.hooks.kept is None  # what is for one rank alone may not replace anything


def test_a_state_that_no_file_can_hold_hinders_no_fit():
    class Odd(Dropout):
        def get_state(self):
            return {"lock": lambda: None}

    model = Sequential([Dense(3, 2), Odd(0.5)], seed=0)
    kept = Kept(model, SGD(0.1))
    kept.settle()
    assert np.shares_memory(next(iter(kept.contents()["values"].values())), model.values)
    callbacks = [WeightAverage(apply=True)]
    Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=callbacks).fit(X, Y, epochs=1)


# Without a fit


def begin(engine, n_steps, path, **options):
    """A training with some steps of a loop of one's own, and a checkpoint after them."""
    trainer = make(engine, CALLBACKS["both"](), **options)
    for _ in range(n_steps):
        trainer.train_step(X, Y)
    trainer.save_checkpoint(path)
    return trainer


@pytest.mark.parametrize("engine", MODELS)
@pytest.mark.parametrize("n_steps", [0, 3])
@pytest.mark.parametrize("n_later", [0, 2])
def test_what_is_saved_before_any_fit_is_gone_on_from(engine, n_steps, n_later, tmp_path):
    whole = begin(engine, n_steps, tmp_path / "c")
    again = make(engine, CALLBACKS["both"](), seed=4)
    again.resume(tmp_path / "c")
    for trainer in (whole, again):
        for _ in range(n_later):
            trainer.train_step(X, Y)
        trainer.fit(X, Y, **OPTIONS)
    assert end_of(again) == end_of(whole)


def test_and_after_a_fit_of_no_epochs(tmp_path):
    whole = fitted()
    whole.fit(X, Y, epochs=0, batch_size=7)
    whole.save_checkpoint(tmp_path / "c")
    again = make("numpy", [], seed=4)
    again.resume(tmp_path / "c")
    assert parts_of(again.model) == parts_of(whole.model)
    whole.callbacks = ()
    for trainer in (whole, again):
        trainer.fit(X, Y, **OPTIONS)
    assert end_of(again) == end_of(whole)


@pytest.mark.parametrize("epochs", [0, None])
def test_a_fit_that_is_resumed_can_be_saved_again_before_it_goes_on(epochs, tmp_path):
    whole = fitted(epochs=12)
    fitted().save_checkpoint(tmp_path / "c")
    second = make("numpy", CALLBACKS["both"](), seed=4)
    second.resume(tmp_path / "c")
    if epochs is not None:
        second.fit(X, Y, **OPTIONS | {"epochs": epochs})
    second.save_checkpoint(tmp_path / "d")
    for path in ("c", "d"):
        again = make("numpy", CALLBACKS["both"](), seed=5)
        again.resume(tmp_path / path)
        again.fit(X, Y, **OPTIONS)
        assert end_of(again) == end_of(whole)


# Over ranks


@pytest.mark.parametrize("n_steps", [0, 3])
@pytest.mark.parametrize("n_later", [0, 2])
@pytest.mark.parametrize("saved_again", [False, True])
def test_ranks_do_the_same(n_steps, n_later, saved_again, tmp_path):
    path = tmp_path / "c"

    def run(epochs, resumed=None, n_after=n_later):
        def program(communicator):
            part = slice(communicator.rank, None, communicator.size)
            trainer = make("numpy", CALLBACKS["both"](), communicator=communicator)
            if resumed and communicator.rank == 0:
                trainer.resume(resumed)
            if resumed and saved_again:
                trainer.save_checkpoint(tmp_path / "again")
            for _ in range(0 if resumed else n_steps):
                trainer.train_step(X[part], Y[part])
            if not epochs:
                trainer.save_checkpoint(path)
            for _ in range(n_after):
                trainer.train_step(X[part], Y[part])
            trainer.fit(X, Y, **OPTIONS | {"epochs": epochs or 9, "batch_size": 9})
            if epochs == 5:
                trainer.save_checkpoint(path)
            return end_of(trainer)

        return on_ranks(2, program)

    whole = run(9)
    run(5)
    assert run(9, path, n_after=0) == whole
    if saved_again:
        assert run(9, tmp_path / "again", n_after=0) == whole
    run(None)
    assert run(9, path) == whole
    if saved_again:
        assert run(9, tmp_path / "again") == whole


def test_what_one_rank_saved_two_save_again(tmp_path):
    fitted().save_checkpoint(tmp_path / "c")

    def program(communicator):
        trainer = make("numpy", CALLBACKS["both"](), communicator=communicator)
        if communicator.rank == 0:
            trainer.resume(tmp_path / "c")
        trainer.save_checkpoint(tmp_path / "d")

    on_ranks(2, program)
    again = make("numpy", CALLBACKS["both"](), seed=5)
    again.resume(tmp_path / "d")
    again.fit(X, Y, **OPTIONS)
    assert end_of(again) == end_of(fitted(epochs=12))
