"""Who of the ranks is still there: reports, and what follows from them.

Each rank reports twice a second what it is doing. Rank 0 hears all of them, and all hear rank 0.
From that follow the ends that MPI itself would wait for forever: a rank that no longer answers,
and ranks of which each waits for another.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

COMPUTES, WAITS, HAS_ENDED = range(3)

# Seconds between two reports.
INTERVAL = 0.5
# How long ranks may wait for one another without one of them moving, in seconds: longer than it
# takes until a rank that has gone on says so.
_STANDSTILL = 2.5
# A process that is there and not stopped may be silent for so many times as long: a long call of a
# library that does not let Python's other threads run.
_PATIENCE = 20

_HEAD = struct.Struct("<BQBQ")
LENGTH = 256


class Report(NamedTuple):
    """What a rank is doing.

    Parameters
    ----------
    state : int
        COMPUTES, WAITS (for other ranks) or HAS_ENDED (its program).
    n_calls : int
        How many times it has called on the others.
    kind, n_bytes : int
        Which call it waits in at present, and how much is exchanged.
    place : str
        Where it is in the program, in words.
    """

    state: int
    n_calls: int = 0
    kind: int = 0
    n_bytes: int = 0
    place: str = ""

    def pack(self) -> bytes:
        """Give it as a message of constant length."""
        head = _HEAD.pack(*self[:4])
        words = self.place.encode()[: LENGTH - len(head)]
        return (head + words).ljust(LENGTH, b"\0")

    @classmethod
    def unpack(cls, message: bytes) -> Report:
        """Read such a message."""
        words = message[_HEAD.size :].rstrip(b"\0").decode(errors="ignore")
        state, n_calls, kind, n_bytes = _HEAD.unpack_from(message)
        return cls(state, n_calls, kind, n_bytes, words)


class Process(NamedTuple):
    """Where a rank runs: the name of its machine, and the number of its process there."""

    host: str
    pid: int


class Watchdog:
    """Judges by the reports of other ranks whether the job can still go on.

    Parameters
    ----------
    processes : list of Process
        Where each rank runs.
    rank : int
        The one that watches.
    timeout : float
        How long another may be silent, in seconds.
    now : float
        The time, in seconds.
    """

    def __init__(self, processes: list[Process], rank: int, timeout: float, now: float) -> None:
        self.processes, self.rank, self.timeout = processes, rank, timeout
        self.peers = range(1, len(processes)) if rank == 0 else range(1)
        self._heard = dict.fromkeys(range(len(processes)), now)
        self._reports: dict[int, Report] = {}
        self._moved = now

    def hear(self, rank: int, report: Report, now: float) -> None:
        """Take a report of another rank, or of this one."""
        self._heard[rank] = now
        known = self._reports.get(rank)
        if known is None or known[:4] != report[:4] or report.state == COMPUTES:
            self._moved = now
        self._reports[rank] = report

    def verdict(self, now: float) -> str | None:
        """Say why the job can't go on, or None if it may."""
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
        """Say in what state a silent process is; nothing, if it is only busy."""
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
        # Each has to have said since that it does not move: one that says nothing may be busy.
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
    """Give the letter of a process's state, as Linux has it, "" if it is gone; None elsewhere."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # Its name, in parentheses, may have any characters.
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "" if os.path.exists("/proc/self/stat") else None
