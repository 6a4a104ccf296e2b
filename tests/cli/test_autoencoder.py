import re
import subprocess
import sys
import unittest.mock

import pytest

from layerkit.__main__ import main

QUICK = ["--target", "0.5"]


def run(capsys, *options):
    status = main(["autoencoder", *options])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_main_job_reaches_its_target(capsys):
    status, out, err = run(capsys)
    assert status == 0
    assert err == ""
    distances = [float(text) for text in re.findall(r"distance= ([\d.]+)", out)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] <= 0.002
    lines = re.findall(r"input = (\[.*?\])  hidden level = \[(.*?)\]  code = (\[.*?\])", out)
    assert [line[0] for line in lines] == [
        str([int(row == column) for column in range(8)]) for row in range(8)
    ]
    codes = {line[2] for line in lines}
    assert len(codes) == 8
    for _, level, code in lines:
        assert [round(float(unit)) for unit in level.split()] == eval(code)
    assert "8 distinct codes for 8 inputs" in out


def test_same_seed_same_run(capsys):
    assert run(capsys, *QUICK) == run(capsys, *QUICK)
    assert run(capsys, *QUICK) != run(capsys, *QUICK, "--seed", "1")


def test_by_minibatch(capsys):
    status, out, _ = run(capsys, *QUICK, "--batch-size", "8", "--learning-rate", "8")
    assert status == 0
    assert "distinct codes" in out


def test_a_target_out_of_reach_is_status_1_with_a_clear_line(capsys):
    status, out, err = run(capsys, "--max-epochs", "20")
    assert status == 1
    assert "distance=" in out
    assert "the target of 0.002 was not reached in 20 epochs" in err
    assert "--max-epochs" in err


def test_ctrl_c_is_status_1_with_a_line(capsys, monkeypatch):
    def interrupt(self, trainer):
        if trainer.epoch == 501:
            raise KeyboardInterrupt

    monkeypatch.setattr("layerkit.cli.autoencoder.PrintDistance.on_epoch_begin", interrupt)
    status, _, err = run(capsys)
    assert status == 1
    assert err == "interrupted after 500 epochs\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "-1"], "--seed: must be a whole number of at least 0; got '-1'"),
        (["--seed", "1.5"], "--seed: must be a whole number"),
        (["--batch-size", "0"], "--batch-size: must be a whole number of at least 1; got '0'"),
        (["--target", "0"], "--target: must be a number above 0; got '0'"),
        (["--target", "nan"], "--target: must be a number above 0; got 'nan'"),
        (["--learning-rate", "inf"], "--learning-rate: must be a number above 0; got 'inf'"),
        (["--learning-rate", "fast"], "--learning-rate: must be a number above 0; got 'fast'"),
        (["--max-epochs", "0"], "--max-epochs: must be a whole number of at least 1; got '0'"),
        (["--speed", "1"], "unrecognized arguments: --speed 1"),
    ],
)
def test_a_bad_option_is_refused(capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        main(["autoencoder", *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_no_command_shows_the_commands(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "autoencoder" in capsys.readouterr().err


def test_as_a_module_in_a_pipe_every_line_is_whole():
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-m", "layerkit", "autoencoder", *QUICK],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\r" not in finished.stdout
    assert finished.stdout.startswith("epoch       1  distance= ")


def test_an_engine_that_is_not_installed_is_status_2_with_the_remedy(capsys, monkeypatch):
    monkeypatch.delattr("layerkit.engines.kernels", raising=False)
    monkeypatch.setitem(sys.modules, "layerkit.engines.kernels", None)
    status, out, err = run(capsys, *QUICK, "--engine", "numba")
    assert (status, out) == (2, "")
    assert err.endswith("got no such package. Write pip install 'layerkit[speed]'.\n")
    assert err.count("\n") == 1


def test_both_engines_print_the_same(capsys):
    assert run(capsys, *QUICK, "--engine", "numba") == run(capsys, *QUICK, "--engine", "numpy")


def test_the_picture(tmp_path, capsys):
    path = tmp_path / "out.png"
    assert main(["autoencoder", "--target", "5", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert main(["autoencoder", "--target", "5", "--plot", str(tmp_path / "no" / "x.png")]) == 2
    assert "--plot must be a path to which a picture can be written" in capsys.readouterr().err
    assert main(["autoencoder", "--target", "5", "--plot", str(tmp_path / "x.doc")]) == 2


def test_the_picture_is_refused_before_the_training(tmp_path, capsys):
    hidden = {"matplotlib": None, "matplotlib.pyplot": None}
    with unittest.mock.patch.dict(sys.modules, hidden):
        assert main(["autoencoder", "--plot", str(tmp_path / "out.png")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "pip install 'layerkit[plot]'" in printed.err
