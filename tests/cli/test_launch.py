import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

from layerkit.__main__ import main

CORES = len(os.sched_getaffinity(0))
PROGRAM = "import os; print(f\" {os.environ['OMP_NUM_THREADS']} \", flush=True)"


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(PROGRAM)
    return str(path)


def launch(*arguments, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    command = [sys.executable, "-m", "layerkit", "launch", *map(str, arguments)]
    return subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, timeout=900
    )


def test_each_rank_has_its_share_of_the_cores(script):
    run = launch("-n", 2, script)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [str(max(1, CORES // 2))] * 2
    assert "warning" not in run.stderr or CORES < 2


def test_threads_that_the_user_sets_are_kept_and_too_many_of_them_told(script):
    run = launch("-n", 2, script, OMP_NUM_THREADS=str(CORES))
    assert run.stdout.split() == [str(CORES)] * 2
    if CORES > 1:
        assert f"warning: 2 ranks with OMP_NUM_THREADS={CORES} share {CORES} cores" in run.stderr
        assert f"--threads {CORES // 2} would fit" in run.stderr
    run = launch("-n", 2, "--threads", CORES + 1, script)
    assert run.stdout.split() == [str(CORES + 1)] * 2
    assert f"2 ranks with {CORES + 1} threads each share {CORES} cores" in run.stderr


def test_more_ranks_than_cores_are_told(script):
    run = launch("-n", CORES + 1, script)
    assert run.stdout.split() == ["1"] * (CORES + 1)
    assert f"warning: {CORES + 1} ranks share {CORES} cores, where they take turns" in run.stderr


def test_a_job_that_fails_is_started_again_as_often_as_asked(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys; print('started', flush=True); sys.exit('no luck')")
    run = launch("-n", 1, "--restarts", 2, "--timeout", 3, script)
    assert run.returncode == 1
    assert run.stdout.split() == ["started"] * 3
    assert run.stderr.count("layerkit launch: restart") == 2
    assert "restart 2 of 2" in run.stderr


def test_arguments_of_the_script_are_its_own(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys; print(sys.argv[1:])")
    run = launch("-n", 1, script, "-n", "7", "--help")
    assert run.stdout == "['-n', '7', '--help']\n"


def test_a_script_that_is_not_there_is_refused(capsys):
    assert main(["launch", "-n", "2", "nowhere.py"]) == 2
    words = "python -m layerkit launch: script must be the path of a Python program; got "
    assert words + "'nowhere.py', which does not exist." in capsys.readouterr().err


def test_what_is_missing_is_named(script, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        assert main(["launch", "-n", "2", script]) == 2
    assert "mpi4py must be installed" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda name, path: None)
        assert main(["launch", "-n", "2", script]) == 2
    words = "mpiexec must be installed; got no such package. Write pip install 'layerkit[mpi]'."
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("option", [["-n", "0"], ["--restarts", "-1"], ["--timeout", "0.5"]])
def test_numbers_out_of_range_are_refused(option, script, capsys):
    with pytest.raises(SystemExit):
        main(["launch", "-n", "1", *option, script])
    assert "must be a" in capsys.readouterr().err
