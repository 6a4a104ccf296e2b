import copy
import csv
import json
import os
import pickle

import numpy as np
import pytest

from layerkit import (
    SGD,
    ArgumentError,
    Callback,
    CSVLogger,
    Dense,
    EarlyStopping,
    HalfSquaredError,
    JSONLogger,
    LambdaCallback,
    ModelCheckpoint,
    SaveError,
    Sequential,
    SquaredDistance,
    Trainer,
)
from tests.helpers.ranks import on_ranks

X = np.ones((6, 1))
KINDS = [CSVLogger, JSONLogger]


def trainer(*callbacks):
    model = Sequential([Dense(1, 1)], seed=0)
    return Trainer(model, HalfSquaredError(), SGD(0.1), metrics=[SquaredDistance()],
                   callbacks=callbacks)  # fmt: skip


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


@pytest.mark.parametrize("kind", KINDS)
def test_rank_0_writes_for_all(kind, tmp_path):
    def program(communicator):
        model = Sequential([Dense(1, 1)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.1), communicator=communicator)
        logger = kind(tmp_path / str(communicator.rank))
        trainer.fit(X, X, epochs=2, batch_size=2, callbacks=[logger])

    on_ranks(2, program)
    assert os.listdir(tmp_path) == ["0"]


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
        trainer(kind(tmp_path)).fit(X, X, epochs=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"Logger.on_train_begin: path must be a file that can"):
        trainer(kind(tmp_path / "file" / "f")).fit(X, X, epochs=1)
    with pytest.raises(ValueError, match="path must be the path of a file"):
        kind(3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_old_file_survives_a_fit_that_is_refused(kind, tmp_path):
    (tmp_path / "old").write_text("old\n")
    for name in ("old", "new"):
        with pytest.raises(ArgumentError, match="monitor must be one of"):
            trainer(kind(tmp_path / name), EarlyStopping("other")).fit(X, X, epochs=1)
    with pytest.raises(ArgumentError, match="y must be as long as x"):
        trainer(kind(tmp_path / "old")).fit(iter([(X, X[:3])]), epochs=1, steps_per_epoch=1)
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "old\n"


@pytest.mark.parametrize("kind", KINDS)
def test_and_one_that_is_resumed_and_refused(kind, tmp_path):
    path = tmp_path / "h"
    first = trainer(kind(path), ModelCheckpoint(tmp_path / "c", resumable=True))
    first.fit(X, 2 * X, epochs=3)
    expected = path.read_bytes()
    again = trainer(kind(path), ModelCheckpoint(tmp_path / "c{other}", resumable=True))
    again.resume(tmp_path / "c")
    with pytest.raises(ArgumentError, match="these names in braces"):
        again.fit(X, 2 * X, epochs=4)
    assert path.read_bytes() == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_old_file_is_replaced_when_there_is_something_new(kind, tmp_path):
    (tmp_path / "h").write_text("old\n" * 1000)
    seen = []

    class Reads(Callback):
        def on_epoch_begin(self, trainer):
            seen.append((tmp_path / "h").read_text().count("old"))

    trainer(kind(tmp_path / "h"), Reads()).fit(X, 2 * X, epochs=2)
    assert seen == [1000, 0]
    trainer(kind(tmp_path / "fresh")).fit(X, 2 * X, epochs=2)
    assert (tmp_path / "h").read_bytes() == (tmp_path / "fresh").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_folders_are_made(kind, tmp_path, monkeypatch):
    trainer(kind(tmp_path / "a" / "b" / "h")).fit(X, X, epochs=1)
    assert os.listdir(tmp_path / "a" / "b") == ["h"]
    monkeypatch.chdir(tmp_path)
    trainer(kind("h")).fit(X, X, epochs=1)
    assert (tmp_path / "h").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_added_to_old_ones(kind, tmp_path):
    path, logger = tmp_path / "h", kind(tmp_path / "h", append=True)
    for epochs in (2, 1):
        trainer(logger).fit(X, 2 * X, epochs=epochs)
    lines = path.read_text().splitlines()
    if kind is CSVLogger:
        assert lines.pop(0) == "epoch,loss,squared_distance"
        epochs = [line.split(",")[0] for line in lines]
    else:
        epochs = [str(json.loads(line)["epoch"]) for line in lines]
    assert epochs == ["1", "2", "1"]
    with open(path, "a") as file:
        file.write("cut o")  # as a run leaves it that is killed
    before = path.read_text()
    trainer(logger).fit(X, 2 * X, epochs=1)
    assert path.read_text().startswith(before + "\n")
    assert len(path.read_text().splitlines()) == len(before.splitlines()) + 1
    assert repr(logger) == f"{kind.__name__}({str(path)!r}, append=True)"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("append", [False, True])
def test_a_resumed_fit_adds_what_it_trains(kind, append, tmp_path):
    def make(name, resume=None):
        saving = ModelCheckpoint(tmp_path / "c{epoch}", resumable=True)
        made = trainer(kind(tmp_path / name, append=append), saving)
        if resume:
            made.resume(tmp_path / resume)
        return made

    make("whole").fit(X, 2 * X, epochs=6)
    make("parts").fit(X, 2 * X, epochs=4)
    make("parts", "c4").fit(X, 2 * X, epochs=4)  # nothing is left to do
    make("parts", "c4").fit(X, 2 * X, epochs=6)
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    make("fresh", "c4").fit(X, 2 * X, epochs=4)
    assert (tmp_path / "fresh").exists() != append  # to which nothing would have been added


@pytest.mark.parametrize(
    "old", ["epoch,loss\r\n1,0.5\r\n", '{"epoch": 1}\n', "\xff\x00", "a" * 99999]
)
def test_columns_of_another_kind_are_refused(old, tmp_path):
    (tmp_path / "h").write_text(old, encoding="latin-1", newline="")
    before = (tmp_path / "h").read_bytes()
    wanted = r"columns epoch, loss, squared_distance where append is True; got .* Use another file"
    with pytest.raises(ArgumentError, match=wanted):
        trainer(CSVLogger(tmp_path / "h", append=True)).fit(X, X, epochs=1)
    assert (tmp_path / "h").read_bytes() == before


def test_a_pipe_is_written_to(tmp_path):
    read, write = os.pipe()
    trainer(JSONLogger(f"/dev/fd/{write}")).fit(X, X, epochs=2)
    os.close(write)
    with open(read) as file:
        assert [json.loads(line)["epoch"] for line in file] == [1, 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.array(0.5), 1, True])
def test_figures_of_any_kind_of_number(kind, number, tmp_path):
    class Sets(Callback):
        def on_epoch_end(self, trainer):
            trainer.history["loss"][-1] = number

    trainer(Sets(), kind(tmp_path / "h")).fit(X, X, epochs=1)
    text = (tmp_path / "h").read_text()
    if kind is CSVLogger:
        (row,) = csv.DictReader(text.splitlines())
        assert row["loss"] == repr(float(number))
    else:
        assert json.loads(text)["loss"] == float(number)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_no_file_stays_open(kind, error, tmp_path):
    def fail(trainer):
        raise error

    logger = kind(tmp_path / "h")
    trainer(logger).fit(X, X, epochs=1)
    with pytest.raises(error):
        trainer(logger, LambdaCallback(on_epoch_end=fail)).fit(X, X, epochs=2)
    assert repr(pickle.loads(pickle.dumps(logger))) == repr(copy.deepcopy(logger)) == repr(logger)
    logger.set_state({})  # of no fit


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_file_is_added_to_like_none(kind, tmp_path):
    (tmp_path / "empty").touch()
    for name in ("empty", "none"):
        trainer(kind(tmp_path / name, append=True)).fit(X, 2 * X, epochs=2)
    assert (tmp_path / "empty").read_bytes() == (tmp_path / "none").read_bytes() != b""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("append", [False, True])
def test_a_file_that_somebody_removes_does_not_end_the_fit(kind, append, tmp_path):
    remove = LambdaCallback(on_epoch_begin=lambda t: (tmp_path / "h").unlink(missing_ok=True))
    assert trainer(kind(tmp_path / "h", append=append), remove).fit(X, X, epochs=2).n_epochs == 2
    assert os.listdir(tmp_path) == []


def test_append_is_a_truth():
    with pytest.raises(ArgumentError, match=r"CSVLogger.__init__: append must be"):
        CSVLogger("h", append="yes")
