import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from layerkit.communication import supervisor
from layerkit.communication.watchdog import state_of

TELL = "import os; line = int(os.environ['LAYERKIT_LINE']); tell = lambda t: os.write(line, t); "
RANK = TELL + "tell(b'rank 1 of 2\\n'); "


def command_of(code):
    return [sys.executable, "-I", "-S", supervisor.__file__, sys.executable, "-c", code]


def start(code, **options):
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command_of(code), **pipes, text=True, **options)


def wait_for_end_of(pid):
    while state_of(pid) not in ("", "Z"):
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (RANK + "tell(b'ended\\n')", 0, ""),
        ("pass", 0, ""),  # a program that never took part in a job
        (RANK + "tell(b'said\\n'); os._exit(5)", 5, ""),
        (RANK + "os._exit(0)", 1, "rank 1 of 2 left without its program's end"),
        (RANK + "os._exit(3)", 3, "rank 1 of 2 ended with exit status 3"),
        (RANK + "os.kill(os.getpid(), 9)", 137, "rank 1 of 2 was killed by SIGKILL"),
        ("1/0", 1, "a rank, before it took part in the job, ended with exit status 1"),
    ],
)
def test_the_end_of_a_program_is_told(code, status, words):
    process = start(code)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    if words:
        assert f"layerkit: {words}" in errors
        assert errors.endswith(". This ends the job.\n")
    else:
        assert errors == ""


def test_signals_are_passed_on():
    waits = "import time\ntry:\n    print('now', flush=True); time.sleep(60)\n"
    process = start(waits + "except KeyboardInterrupt:\n    print('heard')")
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert (printed, process.returncode) == ("heard\n", 0)


def test_the_program_ends_with_its_supervisor_even_if_it_is_stopped():
    process = start("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    child = int(process.stdout.readline())
    os.kill(child, signal.SIGSTOP)
    process.kill()
    process.communicate(timeout=60)
    wait_for_end_of(child)


WAITS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def named(end):
    """Return the environment variable that names a socket, as the launcher does."""
    return {supervisor.LAUNCHER: f"{end.fileno()} {os.fstat(end.fileno()).st_ino}"}


@pytest.mark.parametrize("is_leader", [True, False])
def test_the_program_ends_with_the_launcher(is_leader):
    # With all that it has started, where that can be told from others.
    helper = "import subprocess, sys; h = subprocess.Popen([sys.executable, '-c', "
    helper += "'import time; time.sleep(600)']); print(h.pid, flush=True); " + WAITS
    own, theirs = socket.socketpair()
    process = start(
        helper,
        env=os.environ | named(theirs),
        pass_fds=[theirs.fileno()],
        start_new_session=is_leader,
    )
    theirs.close()
    children = [int(process.stdout.readline()) for _ in range(2)]
    assert process.poll() is None
    own.close()
    assert process.wait(60) == (-signal.SIGKILL if is_leader else 1)
    wait_for_end_of(children[1])
    if is_leader:
        wait_for_end_of(children[0])
    else:
        os.kill(children[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert errors == ""


def test_the_program_ends_with_the_parent_of_its_supervisor():
    between = f"import subprocess, time; subprocess.Popen({command_of(WAITS)!r}); time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", between], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_for_end_of(child)
    assert parent.stdout.read() == ""  # until the supervisor has ended, too
    parent.stdout.close()


def test_shared_memory_of_a_job_that_is_ended_loses_its_name():
    paths = [f"/dev/shm/{prefix}_{os.getpid()}" for prefix in ("mpich_test", "other_test")]
    for path in paths:
        with open(path, "wb") as file:
            file.write(b"1234")
    try:
        maps = f"import mmap\nfiles = [open(path, 'r+b') for path in {paths}]\n"
        maps += "maps = [mmap.mmap(file.fileno(), 4) for file in files]\n"
        own, theirs = socket.socketpair()
        process = start(maps + WAITS, env=os.environ | named(theirs), pass_fds=[theirs.fileno()])
        theirs.close()
        assert process.stdout.readline()
        own.close()
        process.communicate(timeout=60)
        # The program's own is the program's affair.
        assert [os.path.exists(path) for path in paths] == [False, True]
    finally:
        for path in paths:
            if os.path.exists(path):
                os.unlink(path)


def test_the_program_has_no_part_in_the_line_to_the_launcher():
    own, theirs = socket.socketpair()
    look = "import os, glob; links = [os.readlink(p) for p in glob.glob('/proc/self/fd/*') if "
    look += "os.path.lexists(p)]; print(links, 'LAYERKIT_LAUNCHER' in os.environ)"
    name = os.readlink(f"/proc/self/fd/{theirs.fileno()}")
    process = start(look, env=os.environ | named(theirs), pass_fds=[theirs.fileno()])
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert name not in printed
    assert printed.endswith("] False\n")
    own.close()
    theirs.close()


@pytest.mark.parametrize("number", ["other", "none"])
def test_a_launcher_on_another_machine_is_not_looked_for(number):
    own, theirs = socket.socketpair()
    own.close()  # this would end the job
    inode = os.fstat(theirs.fileno()).st_ino
    if number == "other":
        told = f"{theirs.fileno()} {inode + 1}"
        process = start(
            "pass", env=os.environ | {supervisor.LAUNCHER: told}, pass_fds=[theirs.fileno()]
        )
    else:
        told = f"{theirs.fileno()} {inode}"
        process = start("pass", env=os.environ | {supervisor.LAUNCHER: told})
    theirs.close()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_a_program_whose_supervisor_is_gone_before_it_starts_does_not_start():
    done = subprocess.run(
        [sys.executable, "-c", "print('started')"],
        preexec_fn=lambda: supervisor.die_with_parent(os.getpid()),
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")
