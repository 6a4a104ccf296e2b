"""`MPICommunicator`: ranks connected by MPI (mpi4py), and the end of a job that can't go on."""

from __future__ import annotations

import atexit
import importlib
import json
import os
import platform
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.communication.base import gather
from layerkit.communication.supervisor import LINE, forget_shared_memory
from layerkit.communication.watchdog import (
    COMPUTES,
    HAS_ENDED,
    INTERVAL,
    LENGTH,
    WAITS,
    Process,
    Report,
    Watchdog,
)
from layerkit.config import blas_threads, cores
from layerkit.errors import MissingExtraError

__all__ = ["MPICommunicator"]

# The launcher passes on its option --timeout in this environment variable.
TIMEOUT = "LAYERKIT_TIMEOUT"
_DEFAULT_TIMEOUT = 6.0
# Seconds to wait after a message: the processes that pass it on end together with the rank.
_UNTIL_IT_IS_READ = 0.2
_TAG = 1
# The kinds of calls that wait for other ranks.
ADDS, SPREADS, MEETS = range(3)


class MPICommunicator:
    """Ranks of an MPI job, started by ``mpiexec``, ``srun`` or ``python -m layerkit launch``.

    A program that was started without them is a job of one rank. Arrays are sent from buffer to
    buffer, without pickle.

    A job of several ranks ends, with an exit status that is not 0 and a line that names the rank,
    if a rank raises an error that is not caught, if a rank is killed or stops answering, and if
    ranks would wait for each other forever, because one has ended its program or they make
    different calls. A thread detects this; it needs an MPI with ``MPI_THREAD_MULTIPLE``.

    Parameters
    ----------
    timeout : float, optional
        Longest time without an answer of a rank, in seconds, at least 1; by default 6, or the
        ``--timeout`` of the launcher. A process on the same machine that Linux reports as running
        may take 20 times as long, as a long call of a library can block Python's other threads.

    Attributes
    ----------
    rank : int
        Number of this process, counted from 0.
    size : int
        Number of processes.

    Raises
    ------
    ArgumentError
        If ``timeout`` is not a number of at least 1.
    MissingExtraError
        If mpi4py is not installed, or finds no MPI library.

    Warns
    -----
    UserWarning
        If the ranks on this machine have more BLAS threads in total than it has cores, which makes
        training several times slower.

    Examples
    --------
    >>> from layerkit import MPICommunicator
    >>> communicator = MPICommunicator()
    >>> communicator.rank, communicator.size  # without a launcher
    (0, 1)
    """

    def __init__(self, *, timeout: float | None = None) -> None:
        where = "MPICommunicator.__init__"
        if timeout is not None:
            timeout = check.number(where, "timeout", timeout, minimum=1)
        self._job = _join(where, timeout)
        self.rank, self.size = self._job.rank, self._job.size

    @property
    def place(self) -> Callable[[], str]:
        """A function that describes the rank's place in the program, for error messages."""
        return self._job.place

    @place.setter
    def place(self, place: Callable[[], str]) -> None:
        self._job.place = place

    def allreduce_(self, array: Array) -> None:
        """Replace the array by the sum of the arrays of all ranks, in place.

        Parameters
        ----------
        array : ndarray of any shape
            Summand of this rank, in C order, of the same shape and dtype on all ranks.
        """
        self._job.allreduce_(array)

    def broadcast_(self, array: Array, root: int = 0) -> None:
        """Replace the array by the array of one rank, in place.

        Parameters
        ----------
        array : ndarray of any shape
            Array to send or to receive, in C order, of the same shape and dtype on all ranks.
        root : int
            Rank that sends its array.
        """
        self._job.broadcast_(array, root)

    def barrier(self) -> None:
        """Wait until all ranks have called this method."""
        self._job.barrier()

    def abort(self, reason: str, code: int = 1) -> NoReturn:
        """End all ranks of the job at once, and print the reason.

        Parameters
        ----------
        reason : str
            Reason to print.
        code : int
            Exit status.
        """
        self._job.abort(reason, code)

    def __copy__(self) -> MPICommunicator:
        """Return the communicator itself, as a process is in one job."""
        return self

    def __deepcopy__(self, memo: object) -> MPICommunicator:
        """Return the communicator itself, as a process is in one job."""
        return self

    def __reduce__(self) -> tuple[type[MPICommunicator], tuple[()]]:
        """Pickle as a constructor call, since another process has its own rank."""
        return type(self), ()

    def __repr__(self) -> str:
        """Return the rank and the size as text."""
        return f"<MPICommunicator, rank {self.rank} of {self.size}>"


class _Job:
    """A process of an MPI job, which all communicators of the program share.

    Parameters
    ----------
    mpi : module
        The module ``mpi4py.MPI``.
    timeout : float
        Longest time without an answer of another rank, in seconds.
    """

    def __init__(self, mpi: Any, timeout: float) -> None:
        self.mpi, self.in_place = mpi, mpi.IN_PLACE
        self.comm = mpi.COMM_WORLD
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        self.place: Callable[[], str] = lambda: ""
        self._pid = os.getpid()
        self._n_calls = 0
        self._exchanged: tuple[int, int] | None = None
        self._has_ended = False
        self._line: str | None = None
        if self.size > 1:
            self._line = os.environ.pop(LINE, None)
            self._tell(f"rank {self.rank} of {self.size}")
            sys.excepthook = self._handler_of_errors(sys.excepthook)
            self.comm, self._reports = mpi.COMM_WORLD.Dup(), mpi.COMM_WORLD.Dup()
            table = self._table()
            # All ranks have mapped it by now. What has no name can't outlive a job that is killed.
            forget_shared_memory(self._pid, "mpich_shm_")
            self._advise(table)
            processes = [Process(entry["host"], entry["pid"]) for entry in table]
            self._watchdog = Watchdog(processes, self.rank, timeout, time.monotonic())
            # Not for a machine without threads, where one process is all there is.
            threading: Any = importlib.import_module("threading")
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._is_watched = mpi.Query_thread() == mpi.THREAD_MULTIPLE
            if self._is_watched:
                self._thread.start()
            atexit.register(self._end)

    def use_timeout(self, timeout: float) -> None:
        """Set the longest time without an answer of another rank, in seconds."""
        if self.size > 1:
            self._watchdog.timeout = timeout

    # Exchange of numbers

    def _exchange(
        self, kind: int, array: Array | None, call: Callable[..., Any], *arguments: Any
    ) -> None:
        """Call an MPI function that waits for other ranks, if there are any."""
        if self.size == 1:
            return
        self._n_calls += 1
        self._exchanged = kind, 0 if array is None else array.nbytes
        try:
            call(*arguments)
        finally:
            self._exchanged = None

    def allreduce_(self, array: Array) -> None:
        """Sum an array over the ranks; see `MPICommunicator.allreduce_`."""
        self._exchange(ADDS, array, self.comm.Allreduce, self.in_place, array)

    def broadcast_(self, array: Array, root: int = 0) -> None:
        """Send or receive an array; see `MPICommunicator.broadcast_`."""
        self._exchange(SPREADS, array, self.comm.Bcast, array, root)

    def barrier(self) -> None:
        """Wait for all ranks; see `MPICommunicator.barrier`."""
        self._exchange(MEETS, None, self.comm.Barrier)

    def _table(self) -> list[dict[str, Any]]:
        """Return the host, process, cores and threads of each rank."""
        own = {
            "host": platform.node(),
            "pid": self._pid,
            "cores": sorted(cores()),
            "threads": blas_threads(),
        }
        return [json.loads(entry) for entry in gather(self, json.dumps(own).encode())]

    def _advise(self, table: list[dict[str, Any]]) -> None:
        """Warn if there are more threads than cores, once on each machine."""
        here = [entry for entry in table if entry["host"] == table[self.rank]["host"]]
        n_threads = sum(entry["threads"] for entry in here)
        n_cores = len(set().union(*(entry["cores"] for entry in here)))
        if n_threads > max(n_cores, len(here)) and len(here) > 1 and here[0]["pid"] == self._pid:
            each = max(1, n_cores // len(here))
            warnings.warn(
                f"MPICommunicator: {len(here)} ranks with {n_threads} BLAS threads share {n_cores} "
                "cores, which makes training several times slower; set OMP_NUM_THREADS="
                f"{each} before they start, as python -m layerkit launch does",
                stacklevel=5,
            )

    # The end of a job

    def _watch(self) -> None:
        """Send and receive reports and check them, until the program ends; runs in a thread."""
        message = np.empty(LENGTH, np.uint8)
        status = self.mpi.Status()
        sent: list[Any] = []
        while True:
            now = time.monotonic()
            report = self._report()
            self._watchdog.hear(self.rank, report, now)
            sent = [request for request in sent if not request.Test()]
            packed = np.frombuffer(report.pack(), np.uint8)
            for peer in self._watchdog.peers:
                sent.append(self._reports.Isend(packed, peer, _TAG))
            while self._reports.Iprobe(self.mpi.ANY_SOURCE, _TAG, status):
                source = status.Get_source()
                self._reports.Recv(message, source, _TAG)
                self._watchdog.hear(source, Report.unpack(message.tobytes()), now)
            verdict = self._watchdog.verdict(now)
            if verdict:
                self.abort(verdict)
            if self._stop.wait(INTERVAL):
                self.mpi.Request.Waitall(sent)
                return

    def _report(self) -> Report:
        exchanged, n_calls = self._exchanged, self._n_calls
        if self._has_ended:
            return Report(HAS_ENDED)
        if exchanged is None:
            return Report(COMPUTES, n_calls)
        return Report(WAITS, n_calls, *exchanged, self.place())

    def _end(self) -> None:
        """Wait at the end of the program until the other ranks have ended theirs too."""
        if os.getpid() != self._pid:
            return  # a child's end
        if not self._is_watched:
            self._tell("ended")
            return
        self._has_ended = True
        request = self._reports.Ibarrier()
        while not request.Test():
            time.sleep(0.01)
        self._tell("ended")
        self._stop.set()
        self._thread.join()
        # Receive the messages that were sent before a rank stopped listening.
        self._reports.Barrier()
        message, status = np.empty(LENGTH, np.uint8), self.mpi.Status()
        while self._reports.Iprobe(self.mpi.ANY_SOURCE, _TAG, status):
            self._reports.Recv(message, status.Get_source(), _TAG)
        self._reports.Barrier()

    def _handler_of_errors(self, usual: Callable[..., Any]) -> Callable[..., Any]:
        def handle(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            if os.getpid() != self._pid:
                usual(kind, error, trace)
                return
            if self.rank and getattr(error, "is_on_all_ranks", False):
                # Rank 0 reports the error; it ends the job, and this process too if need be.
                time.sleep(2 * INTERVAL)
            usual(kind, error, trace)
            words = traceback.format_exception_only(kind, error)[0].strip()
            code = 130 if issubclass(kind, KeyboardInterrupt) else 1
            self.abort(f"rank {self.rank} ended by {words}", code)

        return handle

    def abort(self, reason: str, code: int = 1) -> NoReturn:
        """End all ranks of the job at once; see `MPICommunicator.abort`."""
        self._tell("said")
        sys.stdout.flush()
        ranks = "1 rank" if self.size == 1 else f"{self.size} ranks"
        sys.stderr.write(f"layerkit: {reason.rstrip('.')}. This ends the job of {ranks}.\n")
        sys.stderr.flush()
        time.sleep(_UNTIL_IT_IS_READ)
        self.mpi.COMM_WORLD.Abort(code)
        os._exit(code)  # an MPI that comes back from Abort

    def _tell(self, words: str) -> None:
        """Send words to the supervisor, if there is one."""
        if self._line is not None:
            os.write(int(self._line), f"{words}\n".encode())


_job: _Job | None = None


def _join(where: str, timeout: float | None) -> _Job:
    """Return the job of this program; the first call joins it."""
    global _job
    if _job is None:
        told = float(os.environ.get(TIMEOUT, _DEFAULT_TIMEOUT))
        _job = _Job(_load(where), timeout or told)
    elif timeout is not None:
        _job.use_timeout(timeout)
    return _job


def _load(where: str) -> Any:
    try:
        return importlib.import_module("mpi4py.MPI")
    except ModuleNotFoundError:
        check.missing_extra(where, "mpi4py", "mpi")
    except (ImportError, RuntimeError) as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        check.fail(
            where,
            "an MPI library",
            "installed where mpi4py finds it",
            check.Said(f"none ({first_line})"),
            "Write pip install 'layerkit[mpi]', which brings MPICH; on a cluster, load its own "
            "first (module load mpi).",
            error=MissingExtraError,
        )
