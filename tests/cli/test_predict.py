"""A missing column of the model's is named; the rest is in test_train.py."""

import re
import sys

import numpy as np
import pytest

from layerkit import Dense, Sequential
from layerkit.__main__ import main


def test_a_column_that_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [f"{i},{i % 7},{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["size,rest,kind", *lines]))
    assert main(["train", "t.csv", "--target", "kind", "--epochs", "2"]) == 0
    (tmp_path / "u.csv").write_text("size,kind\n1,a\n")
    (tmp_path / "v.csv").write_text("size,rest\n1,2\n3,many\n")
    assert main(["predict", "model.layerkit", "u.csv"]) == 2
    assert main(["predict", "model.layerkit", "v.csv"]) == 2
    error = capsys.readouterr().err
    assert re.search("a column must be one of 'size', 'kind'; got 'rest'", error)
    assert re.search("got 'many' in row 3, column 'rest'", error)
    assert not (tmp_path / "predictions.csv").exists()


LABELS = ["=1+1", "+1", "-1", "@x", "\t=1", "\x1b[2J", "plain"]


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A model of seven classes, each of which is predicted once."""
    monkeypatch.chdir(tmp_path)
    model = Sequential([Dense(7, 7)], seed=0)
    model[0].kernel.value = 9 * np.eye(7)
    features = [f"f{i}" for i in range(7)]
    extra = {
        "kind": "table", "features": features, "target": "=t", "classes": LABELS,
        "target_mean": 0.0, "target_deviation": 1.0,
    }  # fmt: skip
    model.save("m", extra=extra)
    rows = [",".join(map(str, row)) for row in np.eye(7, dtype=int)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(features), *rows]) + "\n")
    return tmp_path


def test_texts_are_written_as_they_are_unless_a_spreadsheet_is_to_open_them(saved):
    assert main(["predict", "m", "t.csv"]) == 0
    lines = (saved / "predictions.csv").read_bytes().decode().split("\n")
    assert [line.split(",")[0] for line in lines[:-1]] == ["=t", *LABELS]
    assert main(["predict", "m", "t.csv", "--spreadsheet", "--force"]) == 0
    lines = (saved / "predictions.csv").read_bytes().decode().split("\n")
    wanted = ["'=t", *(f"'{text}" for text in LABELS[:5]), *LABELS[5:]]
    assert [line.split(",")[0] for line in lines[:-1]] == wanted


def test_a_terminal_is_shown_no_control_characters(saved, monkeypatch, capsys):
    assert main(["predict", "m", "t.csv", "--out", "-"]) == 0
    assert "\x1b[2J" in capsys.readouterr().out  # a pipe has the bytes of the file
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["predict", "m", "t.csv", "--out", "-"]) == 0
    printed = capsys.readouterr().out
    assert r"\x1b[2J" in printed
    assert "\x1b" not in printed
    assert len(printed.splitlines()) == 8
    assert main(["inspect", "m"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert main(["train", "t.csv", "--target", "\x1b[2J"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_forged_contents_are_refused_in_a_line(saved, capsys):
    extra = {"kind": "table", "features": 3}
    Sequential([Dense(7, 7)]).save("forged", extra=extra)
    for arguments in (["predict", "forged", "t.csv"], ["inspect", "forged"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"python -m layerkit {arguments[0]}: the columns must be ")
        assert error.count("\n") == 1
