"""What the launcher starts as each rank: it starts the rank's program, and says how that ended.

Whoever starts MPI jobs tells little of a process that is killed, or that leaves without a word: not
its rank, and not always that anything was wrong. This file is run as it stands, by an interpreter
that loads nothing else: it is one more process for each rank, and should not weigh anything.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

# Names a pipe, on which the program tells its rank, and that it has said itself how it ended.
LINE = "LAYERKIT_LINE"


def main(arguments: list[str]) -> int:
    """Run a program, pass signals on to it, and give the exit status of the rank."""
    listening, telling = os.pipe()
    os.set_inheritable(telling, True)
    # The connection to the job's server is a file that it inherits.
    child = subprocess.Popen(
        arguments,
        close_fds=False,
        env=os.environ | {LINE: str(telling)},
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )
    os.close(telling)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: child.send_signal(number))
    status = child.wait()
    os.set_blocking(listening, False)
    told = heard(listening)
    if status == 0 and (told.endswith("ended") or not told):
        return 0
    if not told.endswith("said"):
        rank = told.split("\n")[0] or "a rank, before it took part in the job,"
        sys.stderr.write(f"layerkit: {rank} {how(status)}. This ends the job.\n")
        sys.stderr.flush()
        time.sleep(0.2)  # until that is passed on: the end of a rank closes the line
    return 128 - status if status < 0 else status or 1


def how(status: int) -> str:
    """Say how a process ended."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    if status == 0:
        return "left without its program's end (os._exit, or the like)"
    return f"ended with exit status {status}"


def heard(listening: int) -> str:
    """Read what the program told."""
    try:
        return os.read(listening, 4096).decode().strip()
    except BlockingIOError:
        return ""


def die_with_parent() -> None:
    """Have the system kill this process when its parent ends, even if it is stopped."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
