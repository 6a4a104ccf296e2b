"""Jobs over machines of their own: two network namespaces with a cable between them.

They need a system that lets namespaces be made (root on Linux, iproute2); `tests/conftest.py`
leaves this file out elsewhere.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from program import X, Y, trainer_of

PROGRAM = str(Path(__file__).parent.parent / "helpers" / "program.py")
HANGS = 120
# What mpiexec starts processes on another machine with, in the place of ssh.
SHELL = """#!/bin/bash
[ "$1" = "-x" ] && shift
host=$1; shift
exec ip netns exec {name}-${{host##*.}} unshare -u bash -c "hostname host-${{host##*.}}; $*"
"""


def ip(*arguments):
    command = ["ip", *arguments]
    done = subprocess.run(command, check=True, timeout=HANGS, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def hosts(tmp_path):
    """Give the start of a command that runs a job with a rank on each of two hosts."""
    name = f"layerkit{os.getpid()}"
    first, second = f"{name}-1", f"{name}-2"
    ip("netns", "add", first)
    ip("netns", "add", second)
    try:
        cable = ["type", "veth", "peer", "name", "cable", "netns", second]
        ip("-n", first, "link", "add", "cable", *cable)
        for host, address in ((first, "10.93.0.1/24"), (second, "10.93.0.2/24")):
            ip("-n", host, "addr", "add", address, "dev", "cable")
            ip("-n", host, "link", "set", "lo", "up")
            ip("-n", host, "link", "set", "cable", "up")
        for host in (first, second):
            while "state UP" not in ip("-n", host, "link", "show", "cable"):
                time.sleep(0.01)
        shell = tmp_path / "shell"
        shell.write_text(SHELL.format(name=name))
        shell.chmod(0o755)
        mpiexec = str(Path(sys.executable).parent / "mpiexec")
        command = ["ip", "netns", "exec", first, mpiexec, "-launcher", "ssh", "-launcher-exec"]
        command += [str(shell), "-hosts", "10.93.0.1,10.93.0.2", "-n", "2", sys.executable]
        yield [*command, "-m", "mpi4py", PROGRAM, str(tmp_path)], second
    finally:
        ip("netns", "del", first)
        ip("netns", "del", second)


def start(command):
    # Without tcp alone, MPICH finds out that the hosts are one machine, and leaves the cable out.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "UCX_TLS": "tcp,self"}
    environment |= {"UCX_NET_DEVICES": "cable", "LAYERKIT_TIMEOUT": "3"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_two_hosts_compute_what_one_process_does(hosts, tmp_path):
    process = start(hosts[0])
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0, errors
    alone = trainer_of()
    alone.fit(X, Y, epochs=15, batch_size=15)
    for rank in range(2):
        values = np.load(tmp_path / f"rank-{rank}.npz")["values"]
        # Sums in another order differ by some units in the last place a step.
        np.testing.assert_allclose(values, alone.model.values, rtol=1e-12)


def test_a_cable_that_is_cut_ends_the_job(hosts, tmp_path):
    command, second = hosts
    # Rank 1 waits for a second there, in which the cable is cut.
    process = start([*command, "--mode", "wait for Ctrl-C", "--epochs", "1000"])
    while not (tmp_path / "now").exists():
        time.sleep(0.01)
    ip("-n", second, "link", "set", "cable", "down")
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode != 0
    assert "layerkit: rank 1 has not answered for 3 s (host-2, process " in errors


def test_a_rank_that_is_stopped_on_another_host_ends_it_too(hosts):
    process = start([*hosts[0], "--mode", "stop"])
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode != 0
    assert "layerkit: rank 1 has not answered for 3 s (host-2, process " in errors
