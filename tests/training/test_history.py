import sys
import unittest.mock

import numpy as np
import pytest

from layerkit import History, LoadError, MissingExtraError
from layerkit.storage.models import write_tree


def history():
    record = History(["loss", "accuracy"])
    record.extend({"loss": [3.0, 2.0, 1.0], "accuracy": [0.1, float("nan"), 0.3]})
    return record


def test_it_is_a_mapping():
    record = history()
    assert dict(record)["loss"] == [3.0, 2.0, 1.0]
    assert list(record) == ["loss", "accuracy"]
    assert "val_loss" not in record
    assert record.n_epochs == 3


def test_epochs_are_recorded_one_by_one_or_together():
    record = History(["loss", "accuracy"])
    record.append({"loss": 3.0, "accuracy": 0.1, "more": 1.0})
    assert dict(record) == {"loss": [3.0], "accuracy": [0.1]}
    assert repr(record) == "<History of 1 epochs, loss=3, accuracy=0.1>"
    assert repr(History(["loss"])) == "<History of 0 epochs>"


def test_as_a_frame():
    frame = history().to_frame()
    assert list(frame.columns) == ["loss", "accuracy"]
    assert frame.index.tolist() == [1, 2, 3]
    assert frame.index.name == "epoch"
    assert frame.loc[2, "loss"] == 2.0


def test_without_pandas():
    with unittest.mock.patch.dict(sys.modules, {"pandas": None}):
        with pytest.raises(MissingExtraError, match=r"pip install 'layerkit\[pandas\]'"):
            history().to_frame()


@pytest.mark.parametrize("record", [history(), History(["loss"]), History([])])
def test_saved_and_loaded(record, tmp_path):
    record.save(tmp_path / "h")
    loaded = History.load(tmp_path / "h")
    assert loaded.n_epochs == record.n_epochs
    assert list(loaded) == list(record)
    for name in record:
        np.testing.assert_array_equal(loaded[name], record[name])
        assert all(type(number) is float for number in loaded[name])


@pytest.mark.parametrize(
    "state",
    [
        {"loss": np.ones(2), "accuracy": np.ones(3)},
        {"loss": np.ones((2, 1))},
        {"loss": [1.0]},
        {"loss": np.ones(2, int)},
    ],
)
def test_what_is_no_record(state, tmp_path):
    write_tree("here", tmp_path / "h", "history", state)
    with pytest.raises(LoadError, match="lists of numbers of one length"):
        History.load(tmp_path / "h")


def test_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    axes = history().plot(log=True)
    assert [line.get_label() for line in axes.lines] == ["loss", "accuracy"]
    assert axes.get_yscale() == "log"
