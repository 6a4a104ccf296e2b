import copy
import io
import os
import pickle
import subprocess
import sys
import time
import unittest.mock
from types import SimpleNamespace

import numpy as np
import pytest

from layerkit import (
    SGD,
    Callback,
    CSVLogger,
    Dense,
    HalfSquaredError,
    History,
    JSONLogger,
    LambdaCallback,
    ProgressBar,
    SaveError,
    Sequential,
    SquaredDistance,
    TensorBoard,
    Trainer,
)
from layerkit.training.callbacks import reporting
from tests.helpers.ranks import on_ranks
from tests.storage.test_events import events_of

X = np.ones((6, 1))


def trainer(*callbacks):
    model = Sequential([Dense(1, 1)], seed=0)
    return Trainer(model, HalfSquaredError(), SGD(0.1), metrics=[SquaredDistance()],
                   callbacks=callbacks)  # fmt: skip


@pytest.mark.parametrize("tqdm", [True, False])
def test_the_bar_shows_how_far_it_is(tqdm):
    screen = io.StringIO()
    hidden = {} if tqdm else {"tqdm.auto": None}
    with unittest.mock.patch.dict(sys.modules, hidden):
        history = trainer(ProgressBar(screen)).fit(X, 2 * X, epochs=5000, batch_size=6)
    shown = screen.getvalue()
    assert "5000/5000" in shown
    assert f"loss {history['loss'][-1]:.4g}, squared_distance" in shown
    assert shown.count("\r") < 500  # it doesn't write at each epoch


@pytest.mark.parametrize("tqdm", [True, False])
def test_slow_epochs_are_shown_one_by_one(tqdm):
    class Slow(Callback):
        def on_epoch_begin(self, trainer):
            time.sleep(0.25)

    screen = io.StringIO()
    with unittest.mock.patch.dict(sys.modules, {} if tqdm else {"tqdm.auto": None}):
        trainer(ProgressBar(screen), Slow()).fit(X, 2 * X, epochs=4, batch_size=6)
    shown = screen.getvalue()
    for epoch in (1, 2, 3, 4):
        assert f"{epoch}/4" in shown
    assert shown.endswith("\n")


def test_the_bar_looks_more_seldom_where_epochs_are_short(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(reporting, "time", SimpleNamespace(monotonic=lambda: now[0]))
    bar, periods = ProgressBar(io.StringIO()), []
    state = SimpleNamespace(history=History(["loss"]), epochs=100, epoch=0)
    bar.on_train_begin(state)
    for passed in (0.01, 0.04, 0.06, 0.1, 0.19, 0.21, 0.3, 9.0, 0.04):
        now[0] += passed
        state.history.append({"loss": 1.0})
        bar.on_epoch_end(state)
        periods.append(bar.period)
    assert periods == [2, 4, 4, 4, 4, 2, 1, 1, 2]
    bar.on_train_begin(state)  # of the next fit
    assert bar.period == 1


def test_a_plain_line_is_overwritten_completely():
    screen = io.StringIO()
    with unittest.mock.patch.dict(sys.modules, {"tqdm.auto": None}):
        bar = reporting.open_bar(20, 3, "run", screen)
    bar.set_postfix_str("loss 0.25", refresh=False)
    bar.update(2)
    bar.set_postfix_str("loss 1", refresh=False)
    bar.update(1)
    bar.update(4)
    bar.close()
    shown = ["run 5/20  loss 0.25", "run 6/20  loss 1   ", "run 10/20  loss 1"]
    assert screen.getvalue() == "".join(f"\r{line}" for line in shown) + "\n"


def test_a_bar_begins_where_the_work_does():
    screen = io.StringIO()
    reporting.open_bar(20, 3, "run", screen).close()
    assert "3/20" in screen.getvalue()
    assert "? runs/s" in screen.getvalue()


@pytest.mark.parametrize("tqdm", [True, False])
def test_it_is_shown_on_the_standard_error(tqdm, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with unittest.mock.patch.dict(sys.modules, {} if tqdm else {"tqdm.auto": None}):
        trainer(ProgressBar()).fit(X, X, epochs=2)
    assert "2/2" in sys.stderr.getvalue()


def test_a_plain_line_is_seen_at_once(tmp_path):
    with open(tmp_path / "screen", "w") as screen:
        with unittest.mock.patch.dict(sys.modules, {"tqdm.auto": None}):
            bar = reporting.open_bar(20, 3, "run", screen)
        bar.update(2)
        assert "run 5/20" in (tmp_path / "screen").read_text()
        bar.close()
        assert (tmp_path / "screen").read_text().endswith("\n")


@pytest.mark.parametrize("tqdm", [True, False])
def test_a_fit_of_no_whole_epoch_has_no_figures_to_show(tqdm):
    def interrupt(state):
        raise KeyboardInterrupt

    screen = io.StringIO()
    with unittest.mock.patch.dict(sys.modules, {} if tqdm else {"tqdm.auto": None}):
        training = trainer(ProgressBar(screen), LambdaCallback(on_batch_end=interrupt))
        with pytest.raises(KeyboardInterrupt):
            training.fit(X, X, epochs=2)
    assert "0/2" in screen.getvalue()
    assert screen.getvalue().endswith("\n")  # and the bar is closed
    assert "loss" not in screen.getvalue()


def test_rank_0_reports_for_all(tmp_path):
    def program(communicator):
        screen = io.StringIO()
        callbacks = [ProgressBar(screen), TensorBoard(tmp_path / str(communicator.rank))]
        model = Sequential([Dense(1, 1)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.1), communicator=communicator)
        trainer.fit(X, X, epochs=2, batch_size=2, callbacks=callbacks)
        return screen.getvalue()

    first, second = on_ranks(2, program)
    assert "2/2" in first
    assert not second
    assert os.listdir(tmp_path) == ["0"]


def test_a_fit_that_fails_closes_the_bar():
    class Fails(Callback):
        def on_epoch_end(self, trainer):
            raise RuntimeError("no")

    screen, bar = io.StringIO(), None
    bar = ProgressBar(screen)
    with pytest.raises(RuntimeError):
        trainer(bar, Fails()).fit(X, X, epochs=3)
    assert bar._bar is None


@pytest.mark.parametrize(
    ("is_terminal", "progress", "shows"),
    [(True, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_a_fit_brings_one_on_a_terminal_alone(is_terminal, progress, shows, monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return is_terminal

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    trainer().fit(X, X, epochs=2, progress=progress)
    assert bool(screen.getvalue()) == shows


def test_not_a_second_one(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    trainer(ProgressBar(screen)).fit(X, X, epochs=2, progress=True)
    assert screen.getvalue()
    assert not sys.stderr.getvalue()


def test_tensorboard(tmp_path):
    board = TensorBoard(tmp_path / "a" / "runs")
    training = trainer(board)
    losses = training.fit(X, X, epochs=3)["loss"]
    training.fit(X, X, epochs=2)
    events = [events_of(file) for file in (tmp_path / "a" / "runs").iterdir()]
    first, second = sorted(events, key=len, reverse=True)
    assert [event.step for event in first[1:]] == [1, 2, 3]
    assert [event.step for event in second[1:]] == [1, 2]
    for event, loss in zip(first[1:], losses, strict=True):
        scalars = {value.tag: value.simple_value for value in event.summary.value}
        assert scalars["loss"] == np.float32(loss)
        assert scalars["learning_rate"] == np.float32(0.1)
        assert scalars.keys() == {"loss", "squared_distance", "learning_rate"}
    assert repr(copy.deepcopy(board)) == repr(board)  # no file is open
    with pytest.raises(ValueError, match="folder must be the path of a folder"):
        TensorBoard(None)


def test_a_folder_of_tensorboard_that_can_not_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"TensorBoard.on_train_begin: folder must be a folder th"):
        trainer(TensorBoard(tmp_path / "file" / "runs")).fit(X, X, epochs=1)


def test_tensorboard_loads_no_framework(tmp_path):
    program = f"""
import sys
import numpy as np
from layerkit import *
model = Sequential([Dense(1, 1)])
trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[TensorBoard({str(tmp_path)!r})])
trainer.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=2)
assert not {{"torch", "tensorboardX", "tensorboard", "tensorflow", "google"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert os.listdir(tmp_path)


def test_functions_are_called_at_their_hooks():
    calls = []
    hooks = ["train_begin", "epoch_begin", "batch_begin"]
    hooks += ["update_end", "batch_end", "epoch_end", "train_end"]
    callback = LambdaCallback(
        **{f"on_{hook}": lambda trainer, hook=hook: calls.append(hook) for hook in hooks}
    )
    trainer(callback).fit(X, X, epochs=1, batch_size=6)
    assert calls == hooks
    assert repr(LambdaCallback(on_batch_end=print)) == "LambdaCallback(on_batch_end=...)"
    with pytest.raises(ValueError, match="on_epoch_end must be a function"):
        LambdaCallback(on_epoch_end=3)
    with pytest.raises(ValueError, match=r"LambdaCallback.__init__: period must be"):
        LambdaCallback(period=0)
    assert [LambdaCallback(period=k).period for k in (1, 2)] == [1, 2]


def test_all_can_be_pickled(tmp_path):
    for callback in (ProgressBar(), CSVLogger("f"), JSONLogger("f"), TensorBoard(tmp_path)):
        assert repr(pickle.loads(pickle.dumps(callback))) == repr(callback)


def test_a_logger_lets_go_of_its_file_at_the_end(tmp_path):
    logger = JSONLogger(tmp_path / "log")
    trainer(logger).fit(X, 2 * X, epochs=2)
    copied = pickle.loads(pickle.dumps(logger))
    trainer(copied).fit(X, 2 * X, epochs=1)
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_functions_are_called_in_each_epoch_unless_a_period_is_given():
    seen = []
    watch = LambdaCallback(on_epoch_end=lambda t: seen.append(t.epoch))
    other = LambdaCallback(on_epoch_end=lambda t: seen.append(-t.epoch), period=2)
    trainer(watch, other).fit(X, 2 * X, epochs=4)
    assert sorted(seen) == [-4, -2, 1, 2, 3, 4]
