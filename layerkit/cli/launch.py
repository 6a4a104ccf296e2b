"""``python -m layerkit launch``: run a script as several ranks of an MPI job on this machine."""

import argparse
import contextlib
import importlib
import importlib.util
import os
import shutil
import signal
import sys
from typing import Any

from layerkit._support import validation as check
from layerkit.cli.options import number
from layerkit.communication import supervisor
from layerkit.communication.mpi import TIMEOUT
from layerkit.communication.supervisor import LAUNCHER, die_with_parent
from layerkit.config import THREAD_VARIABLES, cores

_WHERE = "python -m layerkit launch"
_NAME = "layerkit launch"
# Longest time to wait for the end of ranks that were killed, in seconds.
_LONGEST_END = 10.0


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "launch",
        help="run a script as several ranks, which train one model together",
        description="Run a script as several ranks of an MPI job on this machine, with as many "
        "BLAS threads each as there are cores for; end all of them if one fails, and restart the "
        "job if asked for. A script that resumes from its checkpoint then continues from there.",
    )
    positive, whole = number(int, 1, "of at least 1"), number(int, 0, "of at least 0")
    add = parser.add_argument
    add("-n", "--ranks", type=positive, required=True, help="number of processes")
    add("--threads", type=positive, help="BLAS threads of each; by default, cores / ranks")
    add("--restarts", type=whole, default=0, help="number of times to restart a failed job")
    add(
        "--timeout",
        type=number(float, 1, "of at least 1"),
        help="longest time without an answer of a rank, in seconds (6)",
    )
    add("script", help="the Python program")
    add("arguments", nargs=argparse.REMAINDER, help="its arguments")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the job, with restarts if it fails, and return its exit status."""
    if not os.path.isfile(options.script):
        got = check.Said(f"{options.script!r}, which does not exist")
        check.fail(_WHERE, "script", "the path of a Python program", got)
    command = [
        _mpiexec(),
        *("-n", str(options.ranks)),
        *(sys.executable, "-I", "-S", supervisor.__file__),
        *(sys.executable, "-m", "layerkit.communication"),
        *(options.script, *options.arguments),
    ]
    environment = _environment(options)
    for start in range(options.restarts + 1):
        if start:
            _say(f"restart {start} of {options.restarts}")
        status, may_restart = _run_job(command, environment)
        if not status or not may_restart:
            break
    return status


def _say(words: str) -> None:
    print(f"{_NAME}: {words}", file=sys.stderr, flush=True)


def _mpiexec() -> str:
    """Return the path of mpiexec: that of this environment before the system's."""
    if importlib.util.find_spec("mpi4py") is None:
        check.missing_extra(_WHERE, "mpi4py", "mpi")
    folders = [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
    found = shutil.which("mpiexec", path=os.pathsep.join(folders))
    if found is None:
        check.missing_extra(_WHERE, "mpiexec", "mpi")
    return found


def _environment(options: argparse.Namespace) -> dict[str, str]:
    """Return the environment of the ranks, with their number of threads; warn of too many."""
    environment = dict(os.environ)
    if options.timeout is not None:
        environment[TIMEOUT] = str(options.timeout)
    n_cores = len(cores())
    set_before = [name for name in THREAD_VARIABLES if name in environment]
    if options.threads is None and not set_before:
        options.threads = max(1, n_cores // options.ranks)
    if options.threads is not None:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(options.threads))
        setting, each = f"{options.threads} threads each", options.threads
    else:
        name = set_before[0]
        setting = f"{name}={environment[name]}"
        each = int(environment[name]) if environment[name].isdigit() else 1
    if options.ranks * each > max(n_cores, options.ranks):
        _say(
            f"warning: {options.ranks} ranks with {setting} share {n_cores} cores, which makes "
            f"training several times slower; --threads {max(1, n_cores // options.ranks)} would fit"
        )
    elif options.ranks > n_cores:
        _say(f"warning: {options.ranks} ranks share {n_cores} cores, where they take turns")
    return environment


def _run_job(command: list[str], environment: dict[str, str]) -> tuple[int, bool]:
    """Run a job once; return its exit status, and whether it may be restarted."""
    subprocess: Any = importlib.import_module("subprocess")
    own, theirs = importlib.import_module("socket").socketpair()
    launcher = os.getpid()
    # In a session of its own: Ctrl-C comes here, and is passed on once.
    job = subprocess.Popen(
        command,
        env=environment | {LAUNCHER: f"{theirs.fileno()} {os.fstat(theirs.fileno()).st_ino}"},
        start_new_session=True,
        pass_fds=[theirs.fileno()],
        preexec_fn=lambda: die_with_parent(launcher),
    )
    theirs.close()
    is_interrupted = False

    def pass_on(number: int, frame: Any) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        # A terminal that is closed asks for the end.
        job.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)

    before = {number: signal.getsignal(number) for number in _signals()}
    try:
        for number in before:
            signal.signal(number, pass_on)
        status = job.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        is_over = _end(job, own)
    return (128 - status if status < 0 else status), is_over and not is_interrupted


def _signals() -> list[signal.Signals]:
    """Return the signals to pass on; what nohup starts ignores the end of its terminal."""
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if is_ignored else [signal.SIGHUP])]


def _end(job: Any, own: Any) -> bool:
    """End what is left of a job, and return whether all of it is gone: a restart must be alone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    # The supervisors kill their ranks now. With the last process of the job, the socket ends.
    own.shutdown(importlib.import_module("socket").SHUT_WR)
    own.settimeout(_LONGEST_END)
    try:
        own.recv(1)
    except TimeoutError:
        _say(f"processes of the job are still there {_LONGEST_END:g} s after its end")
        return False
    finally:
        own.close()
    return True
