from layerkit import Dense, Sequential
from layerkit.__main__ import main


def test_a_plain_model(tmp_path, capsys):
    Sequential([Dense(2, 3)], seed=0).save(tmp_path / "m")
    assert main(["inspect", str(tmp_path / "m")]) == 0
    printed = capsys.readouterr().out
    assert "Dense(2, 3)" in printed
    assert "besides" not in printed
