from layerkit import config
from layerkit.__main__ import main


def test_it_shows_and_advises(capsys, monkeypatch):
    monkeypatch.setattr(config, "_advice", lambda: ["advice     this"])
    assert main(["config"]) == 0
    assert "NumPy" in (out := capsys.readouterr().out)
    assert "advice     this" in out
    assert main(["config", "--no-measure"]) == 0
    assert "advice" not in capsys.readouterr().out
