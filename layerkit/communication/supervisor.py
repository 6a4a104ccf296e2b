"""Supervisor of one rank: starts the rank's program, and reports how it ended.

MPI launchers say little about a process that is killed or that ends without a message: not its
rank, and not always that anything was wrong. The launcher runs this file for each rank, in an
interpreter that imports nothing else, so that the additional process takes little memory.

The supervisor also ends its rank if the launcher or the process that started the supervisor is
gone, however that ended: killed with SIGKILL, nobody else is told.
"""

import contextlib
import ctypes
import importlib
import os
import signal
import sys
import time
from typing import Any

# The file descriptor of a pipe in which the program writes its rank, and whether it has already
# reported how it ended.
LINE = "LAYERKIT_LINE"
# The file descriptor and the inode of a socket whose other end only the launcher holds.
LAUNCHER = "LAYERKIT_LAUNCHER"
# Seconds between two looks at the parent process.
_INTERVAL = 1.0


def main(arguments: list[str]) -> int:
    """Run a program, pass signals on to it, and return the exit status of the rank."""
    parent, launcher = os.getppid(), socket_of_launcher()
    listening, telling = os.pipe()
    os.set_inheritable(telling, True)
    child = start(arguments, {LINE: str(telling)})
    os.close(telling)
    # Imported here: a machine without threads can still import what users may ask for.
    threading: Any = importlib.import_module("threading")
    is_over = threading.Event()
    threading.Thread(target=watch, args=(child, launcher, parent, is_over), daemon=True).start()
    status: int = child.wait()
    if is_over.is_set():
        end_group()
        return 1
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


def start(arguments: list[str], variables: dict[str, str]) -> Any:
    """Start a program that ends with this process, and has the signals of this process."""
    supervisor = os.getpid()
    children: list[Any] = []

    def pass_on(number: int, frame: Any) -> None:
        if not children:
            sys.exit(128 + number)
        children[0].send_signal(number)

    # Before the program starts, which may be quick.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    # The connection to the job's server is a file that it inherits.
    child = importlib.import_module("subprocess").Popen(
        arguments,
        close_fds=False,
        env=os.environ | variables,
        preexec_fn=lambda: die_with_parent(supervisor),
    )
    children.append(child)
    return child


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


def watch(child: Any, launcher: int | None, parent: int, is_over: Any) -> None:
    """Kill the program when the launcher or the parent of the supervisor is gone."""
    select: Any = importlib.import_module("select")
    sockets = [] if launcher is None else [launcher]
    # What can be read from the socket is its end: nothing is ever written.
    while os.getppid() == parent and not select.select(sockets, [], [], _INTERVAL)[0]:
        pass
    is_over.set()
    forget_shared_memory(child.pid, "mpich_")
    child.kill()


def socket_of_launcher() -> int | None:
    """Return the descriptor of the launcher's socket; None if it does not reach this process."""
    number, inode = map(int, os.environ.pop(LAUNCHER, "-1 -1").split())
    try:
        # On another machine, or with an MPI that closes what it inherits, it is another file.
        if os.fstat(number).st_ino != inode:
            return None
    except OSError:
        return None
    os.set_inheritable(number, False)
    return number


def end_group() -> None:
    """Kill what the program has started, if the supervisor leads the group of its processes."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


def die_with_parent(parent: int) -> None:
    """Ask the system to kill this process when its parent ends, even if it is stopped."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # it has ended before that


def forget_shared_memory(pid: int | str, prefix: str) -> None:
    """Delete the names of shared memory that a process has mapped; the memory ends with its users.

    MPICH deletes them at the end of a job, and never if its processes are killed.
    """
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", errors="replace") as file:
        start = f"/dev/shm/{prefix}"
        for path in {line[line.find("/") :].rstrip("\n") for line in file if start in line}:
            with contextlib.suppress(FileNotFoundError):  # another rank was quicker
                os.unlink(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
