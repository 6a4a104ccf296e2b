"""A missing column of the model's is named; the rest is in test_train.py."""

import re

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
