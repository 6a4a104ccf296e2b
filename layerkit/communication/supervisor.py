"""Supervisor of one rank: starts the rank's program, and reports how it ended.

MPI launchers say little about a process that is killed or that ends without a message: not its
rank, and not always that anything was wrong. The launcher runs this file for each rank, in an
interpreter that imports nothing else, so that the additional process takes little memory.
"""

import ctypes
import importlib
import os
import signal
import sys
import time

# The file descriptor of a pipe in which the program writes its rank, and whether it has already
# reported how it ended.
LINE = "LAYERKIT_LINE"


def main(arguments: list[str]) -> int:
    """Run a program, pass signals on to it, and return the exit status of the rank."""
    listening, telling = os.pipe()
    os.set_inheritable(telling, True)
    # The connection to the job's server is a file that it inherits.
    # Imported here: a machine without processes can still import what users may ask for.
    child = importlib.import_module("subprocess").Popen(
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
    """Describe how a process ended."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    if status == 0:
        return "left without its program's end (os._exit, or the like)"
    return f"ended with exit status {status}"


def heard(listening: int) -> str:
    """Return the text that the program wrote into the pipe."""
    try:
        return os.read(listening, 4096).decode().strip()
    except BlockingIOError:
        return ""


def die_with_parent() -> None:
    """Ask the system to kill this process when its parent ends, even if it is stopped."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
