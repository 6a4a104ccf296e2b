import os
import signal
import subprocess
import sys
import time

import pytest

from layerkit.communication import supervisor
from layerkit.communication.watchdog import state_of

TELL = "import os; line = int(os.environ['LAYERKIT_LINE']); tell = lambda t: os.write(line, t); "
RANK = TELL + "tell(b'rank 1 of 2\\n'); "


def start(code):
    command = [sys.executable, "-I", "-S", supervisor.__file__, sys.executable, "-c", code]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


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
    while os.path.exists(f"/proc/{child}") and state_of(child) != "Z":
        time.sleep(0.01)
