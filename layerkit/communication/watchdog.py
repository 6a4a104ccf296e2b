"""Detection of ranks that are lost or wait for each other forever.

Each rank reports twice a second what it is doing: to rank 0, and rank 0 to all others. From the
reports follow two cases in which MPI itself would wait forever: a rank that no longer answers, and
ranks that wait for one another.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

COMPUTES, WAITS, HAS_ENDED = range(3)

# Seconds between two reports.
INTERVAL = 0.5
# Seconds for which all ranks may wait without progress: longer than it takes until a rank that has
# gone on reports it.
_STANDSTILL = 2.5
# The factor of the timeout for a process that exists and is not stopped: a long call of a library
# can block Python's other threads.
_PATIENCE = 20

_HEAD = struct.Struct("<BQBQ")
LENGTH = 256


class Report(NamedTuple):
    """Report of what a rank is doing.

    Parameters
    ----------
    state : int
        COMPUTES, WAITS (for other ranks) or HAS_ENDED (its program).
    n_calls : int
        Number of calls so far that wait for other ranks.
    kind, n_bytes : int
        Kind of the call in which it waits now, and the number of bytes to exchange.
    place : str
        Description of its place in the program.
    """

    state: int
    n_calls: int = 0
    kind: int = 0
    n_bytes: int = 0
    place: str = ""

    def pack(self) -> bytes:
        """Return the report as a message of constant length."""
        head = _HEAD.pack(*self[:4])
        words = self.place.encode()[: LENGTH - len(head)]
        return (head + words).ljust(LENGTH, b"\0")

    @classmethod
    def unpack(cls, message: bytes) -> Report:
        """Return the report in a message made by `pack`."""
        words = message[_HEAD.size :].rstrip(b"\0").decode(errors="ignore")
        state, n_calls, kind, n_bytes = _HEAD.unpack_from(message)
        return cls(state, n_calls, kind, n_bytes, words)


class Process(NamedTuple):
    """The machine of a rank, and its process number there."""

    host: str
    pid: int


class Watchdog:
    """Decides from the reports of other ranks whether the job can go on.

    Parameters
    ----------
    processes : list of Process
        Machine and process of each rank.
    rank : int
        Rank that watches.
    timeout : float
        Longest time without a report of another rank, in seconds.
    now : float
        Current time, in seconds.
    """

    def __init__(self, processes: list[Process], rank: int, timeout: float, now: float) -> None:
        self.processes, self.rank, self.timeout = processes, rank, timeout
        self.peers = range(1, len(processes)) if rank == 0 else range(1)
        self._heard = dict.fromkeys(range(len(processes)), now)
        self._reports: dict[int, Report] = {}
        self._moved = now

    def hear(self, rank: int, report: Report, now: float) -> None:
        """Record a report of another rank, or of this one."""
        self._heard[rank] = now
        known = self._reports.get(rank)
        if known is None or known[:4] != report[:4] or report.state == COMPUTES:
            self._moved = now
        self._reports[rank] = report

    def verdict(self, now: float) -> str | None:
        """Return the reason why the job can't go on, or None if it can."""
        for rank in self.peers:
            silence = now - self._heard[rank]
            if silence > self.timeout:
                words = self._why_silent(rank, silence)
                if words:
                    return f"rank {rank} has not answered for {silence:.0f} s{words}"
        # Only rank 0 knows what all of them do.
        if self.rank == 0 and len(self._reports) == len(self.processes):
            return self._standstill(now)
        return None

    def _why_silent(self, rank: int, silence: float) -> str:
        """Describe the state of a silent process; an empty text if it is only busy."""
        process = self.processes[rank]
        where = f" ({process.host}, process {process.pid})"
        if process.host != self.processes[self.rank].host:
            return where
        state = state_of(process.pid)
        if state in ("T", "t"):
            return f": it is stopped{where}"
        if state in ("", "Z", "X"):
            return f": it is gone{where}"
        is_busy = state and silence <= self.timeout * _PATIENCE
        return "" if is_busy else where

    def _standstill(self, now: float) -> str | None:
        # All must have reported since then: a rank that does not report may be busy.
        if min(now, *self._heard.values()) - self._moved < _STANDSTILL:
            return None
        reports = sorted(self._reports.items())
        waiting = [(rank, report) for rank, report in reports if report.state == WAITS]
        ended = [rank for rank, report in reports if report.state == HAS_ENDED]
        calls = {report[1:4] for _, report in waiting}
        if not waiting or (not ended and len(calls) == 1):
            return None  # at the end, or in one exchange that takes its time
        rank, report = waiting[0]
        if ended:
            return f"rank {ended[0]} has ended its program, while rank {rank} waits{report.place}"
        other, elsewhere = next((r, there) for r, there in waiting if there[1:4] != report[1:4])
        return (
            f"rank {rank} waits{report.place}, while rank {other} waits{elsewhere.place}: all "
            "ranks have to make the same calls, in the same order"
        )


def state_of(pid: int) -> str | None:
    """Return the letter of a process's state in Linux, "" if it is gone; None on other systems."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # Its name, in parentheses, may have any characters.
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "" if os.path.exists("/proc/self/stat") else None
