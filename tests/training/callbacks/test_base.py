import inspect
import io
from types import SimpleNamespace

import numpy as np
import pytest

from layerkit import (
    SGD,
    Accuracy,
    Callback,
    Cosine,
    CSVLogger,
    Dense,
    EarlyStopping,
    HalfSquaredError,
    History,
    JSONLogger,
    LambdaCallback,
    LearningRateSchedule,
    LoadError,
    MeanAbsoluteError,
    ModelCheckpoint,
    ProgressBar,
    RecordLearningRate,
    ReduceOnPlateau,
    Sequential,
    StopAt,
    TensorBoard,
    Trainer,
    TrainingState,
    WeightAverage,
)
from layerkit.training import callbacks
from tests.helpers.ranks import on_ranks

HOOKS = [name for name in vars(Callback) if name.startswith("on_")]


@pytest.fixture
def trainer():
    model = Sequential([Dense(2, 1)], seed=0)
    return Trainer(model, HalfSquaredError(), SGD(0.01), metrics=[MeanAbsoluteError()])


X, Y = np.random.default_rng(0).normal(size=(5, 2)), np.ones((5, 1))


def recorder(calls, label=""):
    def hook(name):
        return lambda self, trainer: calls.append((label + name, trainer.epoch, trainer.step))

    return type("Recorder", (Callback,), {name: hook(name) for name in HOOKS})()


def test_hooks_come_in_order_and_see_the_trainer(trainer):
    calls = []
    trainer.fit(X, Y, epochs=2, batch_size=3, callbacks=[recorder(calls)])
    epoch = [
        ("on_epoch_begin", None),
        ("on_batch_begin", 1),
        ("on_update_end", 1),
        ("on_batch_end", 1),
        ("on_batch_begin", 2),
        ("on_update_end", 2),
        ("on_batch_end", 2),
        ("on_epoch_end", 2),
    ]
    assert calls[0] == ("on_train_begin", 0, 0)
    assert calls[-1] == ("on_train_end", 2, 2)
    for number in (1, 2):
        part = [(name, step) for name, n, step in calls[1:-1] if n == number]
        assert [(name, step if "epoch" not in name else None) for name, step in part] == [
            (name, step if "epoch" not in name else None) for name, step in epoch
        ]


def test_callbacks_of_the_trainer_come_before_those_of_the_fit(trainer):
    calls = []
    trainer.callbacks = [recorder(calls, "first ")]
    trainer.fit(X, Y, epochs=1, batch_size=5, callbacks=[recorder(calls, "second ")])
    names = [name for name, *_ in calls]
    assert names[::2] == [f"first {name.split()[1]}" for name in names[1::2]]
    assert len(names) == 2 * len(HOOKS)


def test_hooks_may_read_figures_and_use_the_model(trainer):
    seen = []

    class Look(Callback):
        def on_batch_end(self, trainer):
            seen.append(trainer.batch_loss)
            trainer.model.forward(X, training=True)
            trainer.model.predict(X)
            trainer.evaluate(X, Y)

        def on_epoch_end(self, trainer):
            seen.append(trainer.history["loss"][-1])

    history = trainer.fit(X, Y, epochs=2, batch_size=5, callbacks=[Look()])
    assert seen[0] == seen[1] == history["loss"][0]
    alone = Trainer(Sequential([Dense(2, 1)], seed=0), HalfSquaredError(), SGD(0.01))
    assert alone.fit(X, Y, epochs=2, batch_size=5)["loss"] == pytest.approx(history["loss"])


def test_an_error_names_hook_and_callback(trainer):
    class Broken(Callback):
        def on_epoch_end(self, trainer):
            raise ValueError("oh")

    with pytest.raises(ValueError, match="oh") as caught:
        trainer.fit(X, Y, epochs=1, callbacks=[Broken()])
    assert caught.value.__notes__ == ["in on_epoch_end of Broken()"]


def test_only_callbacks_that_began_are_ended(trainer):
    calls = []

    class Broken(Callback):
        def on_train_begin(self, trainer):
            raise ValueError("oh")

        def on_train_end(self, trainer):
            calls.append("broken ended")

    callbacks = [recorder(calls, "first "), Broken(), recorder(calls, "second ")]
    with pytest.raises(ValueError, match="oh"):
        trainer.fit(X, Y, epochs=1, callbacks=callbacks)
    assert [call[0] for call in calls] == ["first on_train_begin", "first on_train_end"]


def test_one_callback_that_fails_to_end_does_not_keep_others_from_it(trainer):
    calls = []

    class Broken(Callback):
        def on_train_end(self, trainer):
            raise ValueError("oh")

    with pytest.raises(ValueError, match="oh"):
        trainer.fit(X, Y, epochs=1, callbacks=[Broken(), recorder(calls)])
    assert calls[-1][0] == "on_train_end"


@pytest.mark.parametrize("only_on_rank_0", [None, False, True])
def test_hooks_are_called_on_all_ranks_unless_the_callback_says_otherwise(only_on_rank_0):
    def program(communicator):
        calls = []
        callback = recorder(calls)
        if only_on_rank_0 is not None:
            callback.only_on_rank_0 = only_on_rank_0
        model = Sequential([Dense(2, 1)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.01), communicator=communicator)
        trainer.fit(X, Y, epochs=1, batch_size=5, callbacks=[callback])
        return [name for name, *_ in calls]

    first, second = on_ranks(2, program)
    assert set(first) == set(HOOKS)
    assert second == ([] if only_on_rank_0 else first)


def test_stop_ends_after_the_epoch(trainer):
    class Stop(Callback):
        def on_batch_end(self, trainer):
            if trainer.epoch == 2:
                trainer.stop()

    assert trainer.fit(X, Y, epochs=9, batch_size=1, callbacks=[Stop()]).n_epochs == 2
    # A later fit starts anew.
    assert trainer.fit(X, Y, epochs=3).n_epochs == 3


def test_stop_at_a_small_loss(trainer):
    trainer.optimizer.learning_rate = 0.1
    stop = StopAt("loss", 0.05)
    losses = trainer.fit(X, Y, epochs=1000, batch_size=1, callbacks=[stop])["loss"]
    assert stop.reached
    assert losses[-1] <= 0.05 < min(losses[:-1])


def test_stop_at_tells_when_it_was_not_reached(trainer):
    stop = StopAt("mean_absolute_error", 0.0)
    assert trainer.fit(X, Y, epochs=3, callbacks=[stop]).n_epochs == 3
    assert not stop.reached


@pytest.mark.parametrize(
    ("metric", "figures", "n_epochs"),
    [("loss", [0.75, 0.5, 0.25], 2), ("accuracy", [0.25, 0.5, 0.75], 2), ("loss", [9, 8], 0)],
)
def test_stop_at_takes_equal_as_reached(metric, figures, n_epochs):
    stopped = []
    trainer = SimpleNamespace(
        history={metric: []}, metrics=[Accuracy()], stop=lambda: stopped.append(True)
    )
    stop = StopAt(metric, 0.5)
    assert not stop.reached
    for _ in range(2):  # a later fit starts anew
        stop.on_train_begin(trainer)
        assert not stop.reached
        for n, figure in enumerate(figures, 1):
            trainer.history[metric].append(figure)
            stopped.clear()
            stop.on_epoch_end(trainer)
            assert bool(stopped) == stop.reached == (0 < n_epochs <= n)


@pytest.mark.parametrize("name", ["accuracy", "val_accuracy"])
def test_stop_at_a_large_accuracy(name):
    x = np.linspace(-1, 1, 40)[:, None]
    y = (x > 0).astype(float)
    model = Sequential([Dense(1, 1)], seed=0)
    model.set_weights([[[-1.0]], [0.5]])
    trainer = Trainer(model, HalfSquaredError(), SGD(0.05), metrics=[Accuracy()], seed=0)
    history = trainer.fit(
        x, y, epochs=500, batch_size=4, validation_data=(x, y), callbacks=[StopAt(name, 0.9)]
    )
    assert history[name][-1] >= 0.9 > max(history[name][:-1])


def test_history_is_a_mapping_of_lists():
    history = History(["loss", "accuracy"])
    assert repr(history) == "<History of 0 epochs>"
    history.append({"loss": 0.5, "accuracy": 0.25})
    history.append({"loss": 0.375, "accuracy": 0.5})
    history.append({"loss": 0.25, "accuracy": 0.75})
    assert dict(history) == {"loss": [0.5, 0.375, 0.25], "accuracy": [0.25, 0.5, 0.75]}
    assert len(history) == 2
    assert history.n_epochs == 3
    assert repr(history) == "<History of 3 epochs, loss=0.25, accuracy=0.75>"
    with pytest.raises(KeyError):
        history["other"]


def test_history_refuses_an_epoch_with_a_figure_missing():
    history = History(["loss", "accuracy"])
    with pytest.raises(KeyError):
        history.append({"loss": 1.0})
    assert dict(history) == {"loss": [], "accuracy": []}


MEMBERS = [name for name in vars(TrainingState) if not name.startswith("_")]


def test_a_trainer_has_what_a_callback_may_use(trainer):
    state: TrainingState = trainer  # for a type checker
    for name in MEMBERS:
        promised = vars(TrainingState)[name]
        if not isinstance(promised, property):
            own = inspect.signature(getattr(type(trainer), name))
            assert own == inspect.signature(promised), name
    assert {name for name in MEMBERS if hasattr(state, name)} == set(MEMBERS)


class Guarded:
    """The members of `TrainingState`, to be read, and nothing else."""

    __slots__ = ("_trainer",)

    def __init__(self, trainer):
        object.__setattr__(self, "_trainer", trainer)

    def __getattr__(self, name):
        if name not in MEMBERS:
            raise AttributeError(f"{name} is not promised to callbacks")
        return getattr(self._trainer, name)

    def __setattr__(self, name, value):
        raise AttributeError(f"{name} is not for callbacks to set")


class Inside(Callback):
    """Call the hooks of another callback with no more than was promised."""

    def __init__(self, callback):
        self.callback, self.recorded_names = callback, callback.recorded_names
        for hook in HOOKS:
            setattr(self, hook, lambda trainer, hook=hook: self.call(hook, trainer))

    def call(self, hook, trainer):
        getattr(self.callback, hook)(Guarded(trainer))

    def recorded_figures(self, trainer):
        return self.callback.recorded_figures(Guarded(trainer))


def test_the_guard_refuses_more(trainer):
    for function in (lambda t: t.rng, lambda t: setattr(t, "epoch", 3), lambda t: t.fit):
        callback = LambdaCallback(on_batch_end=function)
        with pytest.raises(AttributeError, match="callbacks"):
            trainer.fit(X, Y, epochs=1, callbacks=[Inside(callback)])


def built_in(folder):
    """Each of them, so set that it acts."""
    return [
        CSVLogger(folder / "history.csv"),
        EarlyStopping("loss", patience=1, min_delta=1e9),
        JSONLogger(folder / "history.jsonl"),
        LambdaCallback(on_epoch_end=lambda state: state.evaluate(X, Y)),
        LearningRateSchedule(Cosine(5)),
        LearningRateSchedule(Cosine(5), unit="step"),
        ModelCheckpoint(folder / "model.layerkit", best="loss"),
        ModelCheckpoint(folder / "{epoch}.checkpoint", steps=2, resumable=True),
        ProgressBar(io.StringIO()),
        RecordLearningRate(),
        ReduceOnPlateau("loss", patience=1, min_delta=1e9),
        StopAt("mean_absolute_error", 1e9),
        TensorBoard(folder / "runs"),
        WeightAverage(0.9, apply=True),
    ]


def test_every_built_in_callback_is_in_the_list(tmp_path):
    public = {name for name in callbacks.__all__ if name not in ("Callback", "TrainingState")}
    assert {type(callback).__name__ for callback in built_in(tmp_path)} == public


@pytest.mark.parametrize("index", range(14))
def test_built_in_callbacks_use_what_is_promised(trainer, tmp_path, index):
    callback = built_in(tmp_path)[index]
    history = trainer.fit(X, Y, epochs=4, batch_size=2, callbacks=[Inside(callback)])
    assert history.n_epochs


def test_a_state_is_restored_unless_a_callback_says_otherwise():
    class Counter(Callback):
        def __init__(self):
            self.n_epochs = 0

        def on_epoch_end(self, trainer):
            self.n_epochs += 1

    first, second = Counter(), Counter()
    first.n_epochs = 3
    second.set_state(first.get_state())
    assert second.n_epochs == 3


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize(
    ("accumulate", "after"),
    [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (3, [3, 5]), (5, [5]), (100, [5])],
)
def test_a_hook_for_each_update(engine, accumulate, after):
    calls, n_steps = [], []

    def note(hook):
        return lambda state: calls.append((hook, state.epoch, state.step))

    hooks = ("on_batch_begin", "on_update_end", "on_batch_end", "on_epoch_end")
    count = LambdaCallback(on_update_end=lambda state: n_steps.append(state.optimizer.n_steps))
    model = Sequential([Dense(2, 1)], seed=0)
    trainer = Trainer(
        model, HalfSquaredError(), SGD(0.01), engine="numpy" if accumulate > 1 else engine
    )
    notes = LambdaCallback(**{hook: note(hook) for hook in hooks})
    trainer.fit(X, Y, epochs=2, batch_size=1, accumulate=accumulate, callbacks=[notes, count])
    expected = []
    for epoch in (1, 2):
        for step in range(1, 6):
            expected.append(("on_batch_begin", epoch, step))
            together = [("on_update_end", epoch, step), ("on_batch_end", epoch, step)]
            is_left = step == 5 and 5 % accumulate  # an update after the last batch has ended
            expected += together[::-1] if is_left else together if step in after else together[1:]
        expected.append(("on_epoch_end", epoch, 5))
    assert calls == expected
    assert n_steps == list(range(1, 1 + 2 * len(after)))


@pytest.mark.parametrize("hook", ["on_update_end", "on_batch_end", "on_epoch_end"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_has_ended_is_told_to_all_though_one_fails(trainer, hook, error):
    def fail(state):
        raise error

    calls = []
    with pytest.raises(error):
        trainer.fit(X, Y, epochs=1, callbacks=[LambdaCallback(**{hook: fail}), recorder(calls)])
    assert hook in [name for name, *_ in calls]


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_batch_begin"])
def test_what_does_not_begin_is_told_to_no_more(trainer, hook):
    def fail(state):
        raise KeyboardInterrupt

    calls = []
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=1, callbacks=[LambdaCallback(**{hook: fail}), recorder(calls)])
    assert hook not in [name for name, *_ in calls]


def test_the_state_of_a_callback_comes_back():
    class Counts(Callback):
        def __init__(self, start):
            self.start, self.count, self._seen = start, 0, [1.5]

    first, second = Counts(3), Counts(4)
    first.count, first._seen = 7, [2.5]
    assert first.get_state() == {"count": 7, "_seen": [2.5]}
    second.set_state(first.get_state())
    assert (second.start, second.count, second._seen) == (4, 7, [2.5])


def test_a_period_that_is_set_in_training_comes_back(tmp_path):
    class Seldom(Callback):
        def __init__(self):
            self.epochs = []

        def on_epoch_end(self, trainer):
            self.epochs.append(trainer.epoch)
            self.period = 3

    def run(epochs, path=None):
        callback = Seldom()
        model = Sequential([Dense(2, 1)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.01), callbacks=[callback])
        if path is not None:
            trainer.resume(path)
        trainer.fit(X, Y, epochs=epochs, batch_size=5)
        return trainer, callback

    run(4)[0].save_checkpoint(tmp_path / "c")
    assert run(9, tmp_path / "c")[1].epochs == run(9)[1].epochs == [1, 3, 6, 9]


@pytest.mark.parametrize("state", [{"monitor": "loss"}, {"best": 1.0, "evil": 1}, {"best": "x"}])
def test_a_state_that_a_callback_can_not_have_changes_nothing_of_it(state):
    stopping = EarlyStopping()
    before = repr(vars(stopping))
    with pytest.raises(LoadError, match=r"EarlyStopping.set_state: the state's '.*' must be"):
        stopping.set_state(state)
    assert repr(vars(stopping)) == before
