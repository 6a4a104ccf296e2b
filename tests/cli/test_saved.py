"""What train keeps with a model: it fits the model, or the file is refused."""

import numpy as np
import pytest

from layerkit import Dense, LoadError, Sequential
from layerkit.__main__ import main
from layerkit.cli.saved import columns_of

MODEL = Sequential([Dense(2, 3)], seed=0)
EXTRA = {
    "kind": "table",
    "features": ["a", "b"],
    "target": "c",
    "classes": ["x", 1, 2.5],
    "target_mean": 0.0,
    "target_deviation": 1.0,
}


def test_what_train_keeps():
    known = columns_of("here", MODEL, EXTRA)
    assert known.features == ["a", "b"]
    assert known.classes == ["x", 1, 2.5]
    number = Sequential([Dense(2, 1)])
    assert columns_of("here", number, EXTRA | {"classes": None}).classes is None
    single = Sequential([Dense(1, 3)])
    assert columns_of("here", single, EXTRA | {"features": ["a"]}).features == ["a"]
    assert columns_of("here", MODEL, {}) is None
    assert columns_of("here", MODEL, {"kind": np.ones(2)}) is None
    assert columns_of("here", MODEL, EXTRA | {"kind": "picture"}) is None
    assert (known.mean, known.deviation) == (0.0, 1.0)
    known = columns_of("here", MODEL, EXTRA | {"target_mean": 3.0, "target_deviation": 2.5})
    assert (known.mean, known.deviation) == (3.0, 2.5)
    older = {name: value for name, value in EXTRA.items() if not name.startswith("target_")}
    assert columns_of("here", MODEL, older)[-2:] == (0.0, 1.0)


FORGED = [
    {"features": ["a"]},
    {"features": "ab"},
    {"features": [1, 2]},
    {"features": ["a", 1]},
    {"features": None},
    {"features": []},
    {"target": 3},
    {"target": None},
    {"classes": ["x", "y"]},
    {"classes": ["x", "y", None]},
    {"classes": "xyz"},
    {"classes": [[], {}, ()]},
    {"classes": None},
    {"classes": 3},
    {"target_mean": "x"},
    {"target_mean": None},
    {"target_deviation": np.ones(3)},
    {"target_deviation": 10**400},
]


@pytest.mark.parametrize("extra", FORGED, ids=repr)
def test_what_it_does_not(extra, tmp_path, capsys):
    with pytest.raises(LoadError, match=r"here: the columns must be those of the model; got othe"):
        columns_of("here", MODEL, EXTRA | extra)
    MODEL.save(tmp_path / "m", extra=EXTRA | extra)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    for command in (["inspect"], ["predict", str(tmp_path / "t.csv"), "--out", "-"]):
        name, *rest = command
        assert main([name, str(tmp_path / "m"), *rest]) == 2
        assert f"python -m layerkit {name}: the columns" in capsys.readouterr().err


def test_a_column_that_is_missing_is_said_too():
    for name in ("features", "target"):
        less = {key: value for key, value in EXTRA.items() if key != name}
        with pytest.raises(LoadError):
            columns_of("here", MODEL, less)
