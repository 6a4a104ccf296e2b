import copy
import csv
import io
import json
import pickle
import sys
import time
import unittest.mock

import numpy as np
import pytest

from layerkit import (
    SGD,
    Callback,
    CSVLogger,
    Dense,
    HalfSquaredError,
    JSONLogger,
    LambdaCallback,
    MissingExtraError,
    ModelCheckpoint,
    ProgressBar,
    SaveError,
    Sequential,
    SquaredDistance,
    TensorBoard,
    Trainer,
)

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


def test_csv_and_json(tmp_path):
    history = trainer(CSVLogger(tmp_path / "h.csv"), JSONLogger(tmp_path / "h.jsonl")).fit(
        X, 2 * X, epochs=4
    )
    with open(tmp_path / "h.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    for epoch, (row, line) in enumerate(zip(rows, lines, strict=True), 1):
        assert row["epoch"] == str(line["epoch"]) == str(epoch)
        for name in ("loss", "squared_distance"):
            assert float(row[name]) == line[name] == history[name][epoch - 1]


def test_lines_are_there_while_the_fit_goes_on(tmp_path):
    counts = []

    class Reads(Callback):
        def on_epoch_end(self, trainer):
            counts.append(len((tmp_path / "h.csv").read_text().splitlines()))

    trainer(CSVLogger(tmp_path / "h.csv"), Reads()).fit(X, X, epochs=3)
    assert counts == [2, 3, 4]


def test_a_resumed_fit_has_all_epochs_in_its_files(tmp_path):
    def make():
        return trainer(
            CSVLogger(tmp_path / "h.csv"), ModelCheckpoint(tmp_path / "c{epoch}", resumable=True)
        )

    make().fit(X, 2 * X, epochs=6)
    expected = (tmp_path / "h.csv").read_text()
    again = make()
    again.resume(tmp_path / "c3")
    again.fit(X, 2 * X, epochs=6)
    assert (tmp_path / "h.csv").read_text() == expected


def test_a_run_that_was_over_has_them_too(tmp_path):
    first = trainer(CSVLogger(tmp_path / "h.csv"))
    first.fit(X, 2 * X, epochs=3)
    expected = (tmp_path / "h.csv").read_text()
    first.save_checkpoint(tmp_path / "c")
    again = trainer(CSVLogger(tmp_path / "h.csv"))
    again.resume(tmp_path / "c")
    again.fit(X, 2 * X, epochs=3)
    assert (tmp_path / "h.csv").read_text() == expected


def test_what_is_not_finite_is_null_in_json(tmp_path):
    class Spoils(Callback):
        def on_epoch_end(self, trainer):
            trainer.history["loss"][-1] = float("nan")

    trainer(Spoils(), JSONLogger(tmp_path / "h")).fit(X, X, epochs=1)
    assert json.loads((tmp_path / "h").read_text())["loss"] is None


@pytest.mark.parametrize("kind", [CSVLogger, JSONLogger])
def test_a_file_that_can_not_be_written(kind, tmp_path):
    with pytest.raises(SaveError, match="path must be a file that can be written"):
        trainer(kind(tmp_path / "no" / "f")).fit(X, X, epochs=1)
    with pytest.raises(ValueError, match="path must be the path of a file"):
        kind(3)


def test_tensorboard(tmp_path):
    board = copy.deepcopy(TensorBoard(tmp_path / "runs"))
    trainer(board).fit(X, X, epochs=3)
    (file,) = (tmp_path / "runs").iterdir()
    data = file.read_bytes()
    for name in (b"loss", b"squared_distance", b"learning_rate"):
        assert data.count(name) >= 3
    with pytest.raises(ValueError, match="folder must be"):
        TensorBoard(None)


def test_without_tensorboard():
    with unittest.mock.patch.dict(sys.modules, {"tensorboardX": None}):
        with pytest.raises(MissingExtraError, match=r"pip install 'layerkit\[tensorboard\]'"):
            TensorBoard("runs")


def test_functions_are_called_at_their_hooks():
    calls = []
    hooks = ("train_begin", "epoch_begin", "batch_begin", "batch_end", "epoch_end", "train_end")
    callback = LambdaCallback(
        **{f"on_{hook}": lambda trainer, hook=hook: calls.append(hook) for hook in hooks}
    )
    trainer(callback).fit(X, X, epochs=1, batch_size=6)
    assert calls == list(hooks)
    assert repr(LambdaCallback(on_batch_end=print)) == "LambdaCallback(on_batch_end=...)"
    with pytest.raises(ValueError, match="on_epoch_end must be a function"):
        LambdaCallback(on_epoch_end=3)


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
