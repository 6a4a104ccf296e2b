import re
import sys
import unittest.mock

import numpy as np
import pytest

from layerkit.__main__ import main
from layerkit.cli import replicas
from layerkit.replicas import Replicas

QUICK = ["--seeds", "6", "--target", "0.5"]


def run(capsys, *options):
    status = main(["replicas", *options])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_each_seed_is_a_run_of_the_autoencoder(capsys, engine):
    status, out, err = run(capsys, *QUICK, "--engine", engine)
    assert (status, err) == (0, "")
    assert out.startswith("6 of 6 seeds (100.0%) reached a distance of 0.5 in 100,000 epochs\n")
    n_epochs, n_codes = [], []
    for seed in range(6):
        assert main(["autoencoder", "--target", "0.5", "--seed", str(seed)]) == 0
        single = capsys.readouterr().out
        n_epochs.append(int(re.findall(r"epoch +([\d,]+)", single)[-1].replace(",", "")))
        n_codes.append(int(re.search(r"(\d) distinct codes", single)[1]))
    assert f"{n_codes.count(8)} of them with 8 distinct codes" in out
    words = re.search(r"min ([\d,]+), .* median ([\d,]+), .* max ([\d,]+)\n", out).groups()
    shown = [int(word.replace(",", "")) for word in words]
    assert shown[::2] == [min(n_epochs), max(n_epochs)]
    assert shown[1] == pytest.approx(np.median(n_epochs), abs=1)
    counts = [int(count) for count in re.findall(r" - +[\d,]+ +(\d+)", out)]
    assert sum(counts) == 6
    assert f"trained by {engine}, since" in out


def test_by_portions_it_is_the_same(capsys, monkeypatch):
    whole = run(capsys, *QUICK)
    monkeypatch.setattr(replicas, "_TOGETHER", 4)
    assert run(capsys, *QUICK) == whole


def test_nobody_reaches_the_target(capsys):
    status, out, _ = run(capsys, "--seeds", "3", "--max-epochs", "20")
    assert status == 0
    assert out.startswith("0 of 3 seeds (0.0%) reached a distance of 0.002 in 20 epochs\n0 of them")
    assert "median" not in out


def test_the_histogram():
    lines = replicas.histogram(np.array([100] * 50 + [150] * 25 + [1000]))
    assert lines[0].startswith("  100 - ")
    assert lines[0].endswith(" 50 " + "#" * 50)
    assert lines[-1].endswith(" 1 #")
    assert replicas.histogram(np.array([7, 7])) == ["7 - 7      2 " + "#" * 50]
    for epochs in ([1, 2], [1, 2, 3], [5, 6, 6, 9]):
        counts = [
            int(line.split("-")[1].split()[1]) for line in replicas.histogram(np.array(epochs))
        ]
        assert sum(counts) == len(epochs)


def test_the_picture(tmp_path, capsys):
    path = tmp_path / "out.png"
    assert run(capsys, *QUICK, "--plot", str(path))[0] == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    status, _, err = run(capsys, *QUICK, "--plot", str(tmp_path / "no" / "out.png"))
    assert status == 2
    assert "--plot must be a path to which a picture can be written" in err


def test_the_picture_is_refused_before_the_training(tmp_path, capsys):
    hidden = {"matplotlib": None, "matplotlib.pyplot": None}
    with unittest.mock.patch.dict(sys.modules, hidden):
        status, out, err = run(capsys, "--plot", str(tmp_path / "out.png"))
    assert (status, out) == (2, "")
    assert "pip install 'layerkit[plot]'" in err


def test_ctrl_c_is_status_1_with_a_line(capsys, monkeypatch):
    def interrupted(self, *arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Replicas, "fit", interrupted)
    assert run(capsys, *QUICK) == (1, "", "interrupted in seeds 0 to 5\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "--seeds: must be a whole number of at least 1; got '0'"),
        (["--target", "-1"], "--target: must be a number above 0; got '-1'"),
        (["--learning-rate", "nan"], "--learning-rate: must be a number above 0; got 'nan'"),
        (["--max-epochs", "0"], "--max-epochs: must be a whole number of at least 1; got '0'"),
        (["--engine", "gpu"], "--engine: invalid choice: 'gpu'"),
    ],
)
def test_a_bad_option_is_refused(capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        main(["replicas", *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
