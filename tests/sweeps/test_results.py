import pickle
import sys

import numpy as np
import pytest

from layerkit import (
    ArgumentError,
    Dense,
    History,
    MissingExtraError,
    Sequential,
    StateError,
    SweepFailure,
    SweepResults,
    SweepRun,
)

MODEL = Sequential([Dense(1, 1)], seed=0)
FAILED = SweepFailure("ValueError", "no <rows>", "Traceback ...")


def run(seed, losses=(), scores=(), error=None, epoch=None, **settings):
    history = History(["loss", "score"] if scores else ["loss"])
    figures = {"loss": list(losses)} | ({"score": list(scores)} if scores else {})
    history.extend(figures)
    model = None if error else MODEL
    epoch = len(losses) if epoch is None else epoch
    return SweepRun({"seed": seed, **settings}, history, model, error, 0.5, epoch, ("score",))


RESULTS = SweepResults(
    [
        run(0, [3.0, 1.0, 2.0], [0.1, 0.9, 0.2]),
        run(1, [4.0], [0.5], width=8),
        run(2, [9.0, 0.5], error=FAILED),
        run(3, [4.0, 1.5], [np.nan, 0.4], rows=np.arange(3)),
    ]
)


def test_the_best_is_the_one_whose_model_is_best():
    # Its loss was 1 in an epoch before, but that is not the model that it gives; the other failed.
    assert RESULTS.best("loss") is RESULTS[3]
    assert RESULTS.best("score") is RESULTS[1]  # where greater is better
    assert SweepResults(reversed(RESULTS)).best("score") is RESULTS[1]
    back = run(4, [3.0, 1.0, 2.0], epoch=2)  # by EarlyStopping
    assert SweepResults([*RESULTS, back]).best("loss") is back
    assert SweepResults([run(0, [1.0]), run(1, [1.0])]).best("loss").settings == {"seed": 0}


def test_what_is_not_a_number_is_never_the_best():
    results = SweepResults([run(0, [1.0], [np.nan]), run(1, [1.0], [0.1])])
    assert results.best("score") is results[1]
    with pytest.raises(
        ArgumentError, match=r"^SweepResults.best: monitor must be a figure that is"
    ):
        results[:1].best("score")


def test_best_of_what_is_not_there():
    with pytest.raises(
        ArgumentError,
        match=r"SweepResults.best: monitor must be a figure that is a number, of 'loss', 'score'; "
        r"got 'val_loss'\.$",
    ):
        RESULTS.best()
    with pytest.raises(
        StateError,
        match=r"^SweepResults.best: the runs must be at least one that didn't fail; got 1 failure, "
        r"the first of them by ValueError: no <rows>\.$",
    ):
        RESULTS.failures.best("loss")
    with pytest.raises(StateError, match=r"got 0 failures\.$"):
        SweepResults([]).best("loss")


def test_figures_of_a_run():
    assert RESULTS[0].figures == {"loss": 2.0, "score": 0.2}
    assert RESULTS[0].best_figure("loss") == 1.0
    assert RESULTS[0].best_figure("score") == 0.9
    assert RESULTS[3].best_figure("score") == 0.4
    assert np.isnan(run(0, [1.0], [np.nan]).best_figure("score"))
    assert run(0).figures == {}


def test_a_sequence():
    assert len(RESULTS) == 4
    assert [r.settings["seed"] for r in RESULTS] == [0, 1, 2, 3]
    assert isinstance(RESULTS[1:3], SweepResults)
    assert list(RESULTS.failures) == [RESULTS[2]]
    assert repr(RESULTS) == "<SweepResults of 4 runs, 1 failed>"
    assert repr(RESULTS[:1]) == "<SweepResults of 1 run, 0 failed>"
    assert repr(pickle.loads(pickle.dumps(RESULTS))) == repr(RESULTS)


def test_the_table():
    lines = str(RESULTS).splitlines()
    columns = ["seed", "width", "rows", "loss", "score", "epochs", "seconds", "error"]
    assert lines[0].split() == columns
    assert lines[2].split() == ["0", "2", "0.2", "3", "0.50"]
    assert lines[4].split() == ["2", "0.5", "2", "0.50", "ValueError:", "no", "<rows>"]
    assert lines[5].split() == ["3", "array([0,", "1,", "2])", "1.5", "0.4", "2", "0.50"]
    assert lines[7].split() == ["4", "runs", "2.00", "1", "failed"]
    html = RESULTS._repr_html_()
    assert "<td>ValueError: no &lt;rows&gt;</td>" in html
    assert html.count("<tr>") == 6
    died = SweepResults([run(0)[:4] and run(0)._replace(seconds=float("nan"))])
    assert "nan" not in str(died)
    assert str(SweepResults([])).split()[-4:] == ["runs", "0.00", "0", "failed"]


def test_the_frame():
    frame = RESULTS.to_frame()
    assert list(frame.columns) == [
        "seed",
        "width",
        "rows",
        "final_loss",
        "best_loss",
        "final_score",
        "best_score",
        "epochs",
        "seconds",
        "error",
    ]
    assert frame.index.name == "run"
    assert frame["seed"].dtype == np.int64
    assert frame["width"].tolist() == [None, 8, None, None]
    assert frame["rows"][3] is RESULTS[3].settings["rows"]
    assert frame["final_loss"].tolist() == [2.0, 4.0, 0.5, 1.5]
    assert frame["best_loss"].tolist() == [1.0, 4.0, 0.5, 1.5]
    assert np.isnan(frame["best_score"][2])
    assert frame["error"].tolist() == [None, None, "ValueError: no <rows>", None]
    assert frame["epochs"].tolist() == [3, 1, 2, 2]


def test_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        MissingExtraError, match=r"^SweepResults.to_frame: pandas must be installed"
    ):
        RESULTS.to_frame()


def test_failures_without_a_message():
    assert str(SweepFailure("KeyError", "", "")) == "KeyError"
