"""Exact resume: a run that was stopped anywhere ends with the bytes of one that was not."""

import functools
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import layerkit
from layerkit import (
    SGD,
    Accuracy,
    Adam,
    ArgumentError,
    BatchNorm,
    Callback,
    ConfusionMatrix,
    Dense,
    Dropout,
    EarlyStopping,
    HalfSquaredError,
    LambdaCallback,
    LearningRateSchedule,
    LoadError,
    MeanAbsoluteError,
    ModelCheckpoint,
    ReduceOnPlateau,
    ReLU,
    SaveError,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredDistance,
    StateError,
    Trainer,
    Warmup,
    WeightAverage,
)
from layerkit.engines import kernels, parts
from layerkit.optimizers.schedules import Cosine
from layerkit.storage.models import read_tree, write_tree
from layerkit.training.fit import sole_training

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 2))
EPOCHS, BATCH = 40, 5  # 5 steps an epoch, the last of 3 samples: 200 steps


def network(seed=0):
    layers = [Dense(3, 4, ReLU()), BatchNorm(), Dropout(0.3), Dense(4, 2)]
    return Sequential(layers, seed=seed)


def end_of(trainer):
    """All that a training leaves behind, as bytes."""
    states = [
        value.tobytes() if isinstance(value, np.ndarray) else repr(value.bit_generator.state)
        for _, layer in trainer.model.walk()
        for value in layer.get_state().values()
    ]
    state = {name: vector.tobytes() for name, vector in trainer.optimizer.state.items()}
    history = {name: numbers for name, numbers in trainer.history.items()}
    rng = trainer.rng.bit_generator.state
    counts = trainer.optimizer.n_steps, trainer.epoch
    return trainer.model.values.tobytes(), states, state, history, rng, counts


OPTIMIZERS = {
    "SGD": lambda: SGD(0.01),
    "momentum": lambda: SGD(0.01, momentum=0.9, nesterov=True),
}
OPTIMIZERS |= {
    name: functools.partial(getattr(layerkit, name), 0.01)
    for name in layerkit.optimizers.__all__
    if name not in ("LBFGS", "Optimizer", "SGD")
}
# What steps are computed from differs in kind; the others are variants of these.
AT_EVERY_STEP = ["SGD", "momentum", "Adam", "Adadelta", "Adagrad", "AdamW", "Lion", "NAdam"]
AT_EVERY_STEP += ["RMSprop", "LBFGS", "FTRL"]
OPTIMIZERS |= {
    "dampening": lambda: SGD(0.01, momentum=0.9, dampening=0.5, coupled_decay=0.1),
    "amsgrad": lambda: layerkit.Adam(0.01, amsgrad=True),
    "centered": lambda: layerkit.RMSprop(0.01, momentum=0.5, centered=True),
}
# The network has random layers; with a search, see test_lbfgs.py.
OPTIMIZERS["LBFGS"] = lambda: layerkit.LBFGS(0.01, line_search=None)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resumed_at_every_step(name, tmp_path):
    steps = []

    def save(trainer):
        steps.append(str(tmp_path / f"{len(steps)}"))
        trainer.save_checkpoint(steps[-1])

    def run(seed, after_batch, path=None, batch_size=BATCH):
        trainer = Trainer(
            network(seed), HalfSquaredError(), OPTIMIZERS[name](), metrics=[SquaredDistance()],
            callbacks=[LambdaCallback(on_batch_end=after_batch)], seed=seed,
        )  # fmt: skip
        if path:
            trainer.resume(path)
        trainer.fit(X, Y, epochs=EPOCHS, batch_size=batch_size)
        return end_of(trainer)

    expected = run(0, save)
    assert len(steps) == 200
    every = 1 if name in AT_EVERY_STEP else 9  # across the epochs' ends, too: they have 5 steps
    for number, path in list(enumerate(steps))[::every]:
        assert run(number + 1, lambda trainer: None, path) == expected, f"step {number + 1}"


class Watch(Callback):
    """Counts, in a hidden attribute, what it saw."""

    def __init__(self):
        self._seen = []

    def on_epoch_end(self, trainer):
        self._seen.append(trainer.history["val_loss"][-1])


def everything(seed, folder, engine="numpy"):
    """A training with all that has a state."""
    model = Sequential([Dense(3, 6, Sigmoid()), Dense(6, 2)], seed=seed)
    callbacks = [
        EarlyStopping("val_loss", patience=9),
        ReduceOnPlateau("val_loss", 0.5, patience=2),
        LearningRateSchedule(Warmup(7, Cosine(90)), "step"),
        Watch(),
        WeightAverage(0.9),
        ModelCheckpoint(folder / "best", best="val_mean_absolute_error"),
    ]
    return Trainer(
        model, HalfSquaredError(), SGD(0.05, momentum=0.5), metrics=[MeanAbsoluteError()],
        callbacks=callbacks, seed=seed, engine=engine,
    )  # fmt: skip


@pytest.mark.parametrize("engine", ["numpy", "auto"])
@pytest.mark.parametrize(
    "hook", ["on_batch_begin", "on_batch_end", "on_epoch_begin", "on_epoch_end"]
)
@pytest.mark.parametrize("call", [1, 2, 5, 9, 17])
def test_resumed_with_all_that_has_a_state(engine, hook, call, tmp_path):
    (tmp_path / "a").mkdir()

    class Last(LambdaCallback):
        runs_last = True

    def run(seed, function, path=None):
        trainer = everything(seed, tmp_path / "a", engine)
        if path:
            trainer.resume(path)
        trainer.fit(
            X, Y, epochs=20, batch_size=4, validation_split=0.25,
            callbacks=[Last(**{hook: function})],
        )  # fmt: skip
        states = [repr(c.get_state()) for c in trainer.callbacks]
        return end_of(trainer), states

    calls = []

    def save(trainer):
        calls.append(trainer.step)
        if len(calls) == call:
            trainer.save_checkpoint(tmp_path / "checkpoint")

    expected = run(0, save)
    assert run(1, lambda trainer: None, tmp_path / "checkpoint") == expected


@pytest.mark.parametrize("hook", ["on_batch_end", "on_epoch_end"])
def test_compiled_epochs_go_on_too(hook, tmp_path):
    x = np.eye(8)

    def run(seed, function, path=None, epochs=300, engine="numba"):
        model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())], seed=seed)
        trainer = Trainer(
            model, HalfSquaredError(), SGD(0.5, momentum=0.5), seed=seed, engine=engine,
            metrics=[SquaredDistance(), Accuracy(), TwiceAbsolute()],
        )  # fmt: skip
        if path:
            trainer.resume(path)
        callbacks = [LambdaCallback(**{hook: function})] if function else []
        trainer.fit(x, x, epochs=epochs, batch_size=3, callbacks=callbacks)
        return trainer

    count = []

    def save(trainer):
        count.append(None)
        if len(count) in (1, 2, 3, 4, 100, 200):
            trainer.save_checkpoint(tmp_path / str(len(count)))

    expected = end_of(run(0, save))
    for number in (1, 2, 3, 4, 100, 200):
        assert end_of(run(1, lambda trainer: None, tmp_path / str(number))) == expected
        # The NumPy engine goes on from there too, to the same numbers but for rounding.
        other = run(1, lambda trainer: None, tmp_path / str(number), engine="numpy")
        assert end_of(other)[4:] == expected[4:]
        np.testing.assert_allclose(other.history["loss"], expected[3]["loss"], rtol=1e-9)
        np.testing.assert_allclose(
            other.history["twice_absolute"], expected[3]["twice_absolute"], rtol=1e-9
        )
    # And after a fit, with more epochs to go.
    first = run(0, None, epochs=100)
    first.save_checkpoint(tmp_path / "after")
    assert end_of(run(2, None, tmp_path / "after")) == expected


class TwiceAbsolute(MeanAbsoluteError):
    """One that the compiled engine doesn't know."""

    def total(self, y_pred, y_true):
        return 2 * super().total(y_pred, y_true)


@pytest.mark.parametrize("engine", ["numpy", "auto"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_after_an_interruption_at_any_step(engine, accumulate, tmp_path):
    def trainer(seed):
        model = Sequential([Dense(3, 4, Sigmoid()), Dense(4, 2)], seed=seed)
        return Trainer(model, HalfSquaredError(), Adam(0.01) if accumulate > 1 else SGD(0.1),
                       metrics=[SquaredDistance()], seed=seed, engine=engine)  # fmt: skip

    options = {"epochs": 6, "batch_size": 4, "accumulate": accumulate}
    whole = trainer(0)
    whole.fit(X, Y, **options, callbacks=[LambdaCallback(on_batch_end=lambda trainer: None)])
    for number in range(1, 37, 5):
        stopped, count = trainer(0), []

        def interrupt(trainer, count=count, number=number):
            count.append(None)
            if len(count) == number:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            stopped.fit(X, Y, **options, callbacks=[LambdaCallback(on_batch_end=interrupt)])
        stopped.save_checkpoint(tmp_path / "c")
        again = trainer(3)
        again.resume(tmp_path / "c")
        again.fit(X, Y, **options, callbacks=[LambdaCallback(on_batch_end=lambda trainer: None)])
        assert end_of(again) == end_of(whole), number


# Killed by SIGKILL again and again, and started again and again, as a cluster would.
PROGRAM = """
import os, sys
import numpy as np
from layerkit import *
path = sys.argv[1]
rng = np.random.default_rng(0)
x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
model = Sequential([Dense(3, 8, ReLU()), BatchNorm(), Dropout(0.2), Dense(8, 2)], seed=0)
checkpoint = ModelCheckpoint(path, steps=7, resumable=True)
trainer = Trainer(model, HalfSquaredError(), Adam(), seed=0, callbacks=[checkpoint])
if os.path.exists(path):
    trainer.resume(path)
trainer.fit(x, y, epochs=int(sys.argv[2]), batch_size=8)
print(model.values.tobytes().hex(), trainer.history["loss"])
"""


def test_a_program_killed_again_and_again(tmp_path):
    def start(path, epochs=150):
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), str(epochs)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip

    expected, errors = start(tmp_path / "whole").communicate()
    assert expected, errors
    kills = 0
    while True:
        process = start(tmp_path / "killed")
        try:
            printed, errors = process.communicate(timeout=0.12 + 0.06 * kills)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        break
    assert printed == expected, errors
    assert kills >= 1


def test_streams_go_on_where_they_were(tmp_path):
    def batches():
        rng = np.random.default_rng(5)
        while True:
            rows = rng.integers(23, size=4)
            yield X[rows], Y[rows]

    def run(make, path=None, save=None):
        trainer = Trainer(network(), HalfSquaredError(), Adam(), seed=0)
        if path:
            trainer.resume(path)
        hook = LambdaCallback(on_batch_end=save or (lambda trainer: None))
        trainer.fit(make(), epochs=5, steps_per_epoch=6, callbacks=[hook])
        return end_of(trainer)

    for make in (batches, lambda: batches):
        count = []

        def save(trainer, count=count):
            count.append(None)
            if len(count) == 15:
                trainer.save_checkpoint(tmp_path / "c")

        expected = run(make, save=save)
        assert run(make, tmp_path / "c") == expected


@pytest.mark.parametrize("arithmetic", ["numba", "parts", "numpy"])
def test_what_is_resumed_is_computed_as_before(arithmetic, tmp_path, monkeypatch):
    """Also where numba's loading would pay now and did not then, or the other way round."""
    x = np.random.default_rng(0).normal(size=(64, 40))

    def run(loading_cost, path=None):
        monkeypatch.setattr(parts, "_LOADING_COST", loading_cost)
        # numba may import the kernels anew, which would stay as the package's attribute.
        monkeypatch.setattr("layerkit.engines.kernels", kernels)
        monkeypatch.delitem(sys.modules, "layerkit.engines.kernels", raising=False)
        model = Sequential([Dense(40, 40, ReLU()), Dense(40, 40)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.01, 0.9), seed=0)
        if path:
            trainer.resume(path)
        size = 4 if arithmetic == "numba" else 32
        hook = LambdaCallback(on_epoch_end=lambda t: t.epoch == 2 and save(t))
        trainer.fit(x, x, epochs=4, batch_size=size, callbacks=[hook])
        return end_of(trainer)

    def save(trainer):
        assert trainer.setup.position.arithmetic == arithmetic
        trainer.save_checkpoint(tmp_path / "c")

    costs = (1e30, 0) if arithmetic == "numpy" else (0, 1e30)
    assert run(costs[0]) == run(costs[1], tmp_path / "c")


def checkpoint(tmp_path, epochs=2, **options):
    trainer = Trainer(network(), HalfSquaredError(), Adam(), metrics=[SquaredDistance()], seed=0)
    trainer.fit(X, Y, epochs=epochs, batch_size=BATCH, **options)
    trainer.save_checkpoint(tmp_path / "c")
    return trainer


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    first = checkpoint(tmp_path)
    again = Trainer(network(9), HalfSquaredError(), Adam(), metrics=[SquaredDistance()], seed=9)
    again.resume(tmp_path / "c")
    again.fit(X, Y, epochs=2, batch_size=BATCH)
    assert end_of(again) == end_of(first)
    # The fit after that is a new one.
    assert again.fit(X, Y, epochs=1, batch_size=BATCH).n_epochs == 1


def test_a_run_that_stopped_itself_stays_so(tmp_path):
    def run(path=None):
        stop = LambdaCallback(on_epoch_end=lambda trainer: trainer.epoch == 3 and trainer.stop())
        saving = ModelCheckpoint(tmp_path / "c", resumable=True)
        trainer = Trainer(network(), HalfSquaredError(), Adam(), seed=0, callbacks=[stop, saving])
        if path:
            trainer.resume(path)
        trainer.fit(X, Y, epochs=9, batch_size=BATCH)
        return end_of(trainer)

    assert run() == run(tmp_path / "c")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 4}, "batch_size must be 5, as in the checkpoint; got 4"),
        ({"x": X[:20], "y": Y[:20]}, "the number of samples must be 23, as in the checkpoint"),
        ({"shuffle": False}, "shuffle must be True"),
        ({"accumulate": 2}, "accumulate must be 1"),
        ({"callbacks": [Callback()]}, "callbacks must be those of the checkpoint, none; got"),
        ({"validation_data": (X, Y)}, "metrics and validation_data must be such that 'loss', "),
        ({"x": iter([]), "y": None, "steps_per_epoch": 2}, "must be another kind of data, as in"),
    ],
)
def test_another_fit_than_before_is_refused(options, message, tmp_path):
    checkpoint(tmp_path)
    again = Trainer(network(), HalfSquaredError(), Adam(), metrics=[SquaredDistance()], seed=0)
    again.resume(tmp_path / "c")
    before = again.model.values.tobytes(), again.rng.bit_generator.state
    arguments = {"x": X, "y": Y, "epochs": 3, "batch_size": BATCH, **options}
    with pytest.raises(ArgumentError, match=message):
        again.fit(**arguments)
    assert (again.model.values.tobytes(), again.rng.bit_generator.state) == before
    again.fit(X, Y, epochs=3, batch_size=BATCH)  # what is asked for can still be done
    assert again.history.n_epochs == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trainer(network(), HalfSquaredError(), SGD(0.1)), "optimizer must be Adam, as in"),
        (
            lambda: Trainer(Sequential([Dense(3, 2)]), HalfSquaredError(), Adam()),
            "of a model like this one",
        ),
        (
            lambda: Trainer(network(), HalfSquaredError(), Adam(),
                            seed=np.random.Generator(np.random.Philox(1))),
            "seed must be a Generator of PCG64, as in the checkpoint",
        ),
        (
            lambda: Trainer(network().astype("float32"), HalfSquaredError(), Adam()),
            "of a model like this one",
        ),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_trainer_changes_nothing(make, message, tmp_path):
    checkpoint(tmp_path)
    trainer = make()
    before = trainer.model.values.tobytes(), trainer.optimizer.learning_rate
    with pytest.raises(LoadError, match=message):
        trainer.resume(tmp_path / "c")
    assert (trainer.model.values.tobytes(), trainer.optimizer.learning_rate) == before


@pytest.mark.parametrize(
    "key", ["contents", "optimizer", "rng", "callbacks", "history", "progress"]
)
@pytest.mark.parametrize("value", [None, 3, {}, [1], {"loss": np.ones(2, int)}])
def test_damaged_checkpoints(key, value, tmp_path):
    checkpoint(tmp_path)
    tree = read_tree("here", tmp_path / "c", "checkpoint", {})
    tree[key] = value
    write_tree("here", tmp_path / "c", "checkpoint", tree)
    trainer = Trainer(network(5), HalfSquaredError(), Adam(), seed=5)
    before = end_of(trainer)
    if (key, value) in (("callbacks", {}), ("history", {})):
        return  # none, which is well
    with pytest.raises(LoadError):
        trainer.resume(tmp_path / "c")
    assert end_of(trainer) == before


def test_a_model_is_in_one_fit_at_a_time():
    model = network()
    other = Trainer(model, HalfSquaredError(), SGD(0.1))

    def fit_again(trainer):
        with pytest.raises(
            StateError, match=r"model must be in one fit at a time; .* Train a copy"
        ):
            other.fit(X, Y, epochs=1)
        with pytest.raises(StateError):
            Trainer(model[:1], HalfSquaredError(), SGD(0.1)).fit(X, np.ones((23, 4)), epochs=1)
        trainer.evaluate(X, Y)

    hook = LambdaCallback(on_epoch_end=fit_again)
    Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[hook]).fit(X, Y, epochs=2)
    other.fit(X, Y, epochs=1)  # once it is over


def test_of_many_threads_one_trains():
    model, results, start = network(), [], threading.Barrier(8)

    def work():
        start.wait()
        try:
            with sole_training("here", model):
                results.append("in")
                stop.wait(5)
        except StateError:
            results.append("out")
            if results.count("out") == 7:
                stop.set()

    stop = threading.Event()
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["in"] + ["out"] * 7


def test_matrices_are_for_evaluation():
    with pytest.raises(
        ArgumentError, match=r"figures of one number each; (?s:.*) Write trainer.evaluate"
    ):
        Trainer(network(), SoftmaxCrossEntropy(), SGD(0.1), metrics=[ConfusionMatrix()])


def test_a_layer_that_refuses_its_state_changes_nothing(tmp_path):
    class Strict(Dropout):
        def set_state(self, state):
            raise RuntimeError("no")

    def make(seed):
        model = Sequential([Dense(3, 2), Strict(0.5)], seed=seed)
        return Trainer(model, HalfSquaredError(), Adam(), seed=seed)

    first = make(0)
    first.fit(X, Y, epochs=1)
    first.save_checkpoint(tmp_path / "c")
    again = make(1)
    before = end_of(again)
    with pytest.raises(LoadError, match=r"the state of 'strict_1' must be one that its set_state"):
        again.resume(tmp_path / "c")
    assert end_of(again) == before


def test_what_could_not_be_resumed_is_not_saved(tmp_path):
    trainer = Trainer(Sequential([Dense(2, 1)], seed=0), HalfSquaredError(), SGD(0.1))
    trainer.save_checkpoint(tmp_path / "saved")
    before = (tmp_path / "saved").read_bytes()
    trainer.model[0].bias.value = [np.nan]
    message = r"Trainer.save_checkpoint: dense_0.bias must be finite; got NaN .* Model.save keeps"
    with pytest.raises(SaveError, match=message):
        trainer.save_checkpoint(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == before
