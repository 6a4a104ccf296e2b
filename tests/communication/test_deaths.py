"""Real jobs, of which any process is killed: all ranks end, and no shared memory stays."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from layerkit.communication.watchdog import state_of

# So long a test waits for an end that does not come, before it fails.
HANGS = 120

# A rank writes its process, and the names that MPI gave to its shared memory; then it trains on.
PROGRAM = """
import json, os, signal, sys
import numpy as np
from layerkit import MPICommunicator

communicator = MPICommunicator()
with open("/proc/self/maps") as maps:
    paths = [line[line.find("/") :].split()[0] for line in maps if "/dev/shm/" in line]
entry = {"pid": os.getpid(), "paths": paths}
name = os.path.join(sys.argv[1], f"rank-{communicator.rank}")
with open(name + ".new", "w") as file:
    json.dump(entry, file)
os.rename(name + ".new", name)
while True:
    communicator.allreduce_(np.zeros(10))
"""


@pytest.fixture
def job(tmp_path):
    """Start a job of two ranks, and end it if the test has not."""
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    command = [sys.executable, "-m", "layerkit", "launch", "-n", "2", "--restarts", "1"]
    with open(tmp_path / "errors", "w") as errors:
        launcher = subprocess.Popen(
            [*command, str(script), str(tmp_path)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=errors,
            # What has started pytest may ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
    yield launcher
    launcher.kill()
    launcher.wait()


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until(is_so):
    end = time.monotonic() + HANGS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_gone(pid):
    return state_of(pid) in ("", "Z", "X")


def started(job, folder):
    """Wait for both ranks; return the processes of each kind, and the names of shared memory."""
    files = [folder / f"rank-{rank}" for rank in range(2)]
    wait_until(lambda: all(file.exists() for file in files))
    entries = [json.loads(file.read_text()) for file in files]
    ranks = [entry["pid"] for entry in entries]
    supervisors = [parent_of(rank) for rank in ranks]
    proxy = parent_of(supervisors[0])
    processes = {"rank": ranks[:1], "ranks": ranks, "proxy": [proxy]}
    processes |= {"supervisor": supervisors[:1], "supervisors": supervisors}
    processes |= {"mpiexec": [parent_of(proxy)], "launcher": [job.pid]}
    assert parent_of(parent_of(proxy)) == job.pid
    paths = {path for entry in entries for path in entry["paths"]}
    assert any("mpich_shm" in path for path in paths)
    return processes, paths


@pytest.mark.parametrize(
    "killed",
    [
        "launcher",
        "mpiexec",
        "proxy",
        "supervisor",
        "rank",
        "launcher mpiexec",
        "mpiexec proxy",
        "launcher mpiexec proxy",
        "launcher mpiexec proxy supervisors",
    ],
)
def test_all_ranks_end_whatever_is_killed(killed, job, tmp_path):
    processes, paths = started(job, tmp_path)
    for kind in killed.split():
        for pid in processes[kind]:
            os.kill(pid, signal.SIGKILL)
    for pid in (pid for pids in processes.values() for pid in pids if pid != job.pid):
        wait_until(lambda pid=pid: is_gone(pid))
    assert not [path for path in paths if os.path.exists(path)]
    if "launcher" not in killed:
        # It starts the job again, alone.
        wait_until(lambda: "restart 1 of 1" in (tmp_path / "errors").read_text())


def test_ranks_that_are_stopped_end_too(job, tmp_path):
    processes, _ = started(job, tmp_path)
    os.kill(processes["ranks"][0], signal.SIGSTOP)
    job.kill()
    for pid in processes["ranks"]:
        wait_until(lambda pid=pid: is_gone(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_end_of_the_terminal_is_passed_on_as_a_request_to_end(number, job, tmp_path):
    processes, _ = started(job, tmp_path)
    job.send_signal(number)
    assert job.wait(HANGS) == 128 + signal.SIGTERM
    assert all(is_gone(pid) for pid in processes["ranks"])
    errors = (tmp_path / "errors").read_text()
    assert "rank 0 of 2 was killed by SIGTERM" in errors
    assert "restart" not in errors


def test_what_nohup_starts_goes_on_without_a_terminal(job, tmp_path):
    def ignores(pid):
        status = Path(f"/proc/{pid}/status").read_text()
        mask = int(status.partition("SigIgn:")[2].split()[0], 16)
        return bool(mask >> (signal.SIGHUP - 1) & 1)

    started(job, tmp_path)
    assert not ignores(job.pid)
    folder = tmp_path / "nohup"
    folder.mkdir()
    command = ["nohup", sys.executable, "-m", "layerkit", "launch", "-n", "2"]
    command += [str(tmp_path / "script.py"), str(folder)]
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **silent) as other:
        try:
            started(other, folder)
            assert ignores(other.pid)
        finally:
            other.kill()


def test_a_job_is_not_restarted_beside_what_is_left_of_it(job, tmp_path):
    processes, _ = started(job, tmp_path)
    supervisor, rank = processes["supervisors"][0], processes["ranks"][0]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        for kind in ("mpiexec", "proxy"):
            os.kill(processes[kind][0], signal.SIGKILL)
        assert job.wait(HANGS) in (128 + signal.SIGKILL, 255)
        errors = (tmp_path / "errors").read_text()
        assert "layerkit launch: processes of the job are still there 10 s after its end" in errors
        assert "restart" not in errors
        assert not is_gone(rank)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGCONT)
    wait_until(lambda: is_gone(rank))
    wait_until(lambda: is_gone(supervisor))
