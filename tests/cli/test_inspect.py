from layerkit import Dense, Sequential
from layerkit.__main__ import main


def test_a_plain_model(tmp_path, capsys):
    Sequential([Dense(2, 3)], seed=0).save(tmp_path / "m")
    assert main(["inspect", str(tmp_path / "m")]) == 0
    printed = capsys.readouterr().out
    assert "Dense(2, 3)" in printed
    assert "besides" not in printed


def test_what_a_file_says_does_not_command_the_terminal(tmp_path, capsys):
    model = Sequential([Dense(1, 2, name="a\x1b[2Jb")], seed=0)
    extra = {
        "kind": "table", "target": "\x1b]0;t\x07", "features": ["\x9bf"], "classes": ["\x1bc", "d"],
        "target_mean": 0.0, "target_deviation": 1.0,
    }  # fmt: skip
    model.save(tmp_path / "m", extra=extra)
    assert main(["inspect", str(tmp_path / "m")]) == 0
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    for escaped in (r"a\x1b[2Jb", r"\x1b]0;t\x07", r"\x9bf", r"classes: \x1bc"):
        assert escaped in printed
