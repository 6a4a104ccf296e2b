"""Work on all cores: functions that leave Python's lock alone most of the time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from layerkit._support import validation as check

# Seconds between two looks at the progress, and between two requests to come to an end.
_BETWEEN_LOOKS, _BETWEEN_STOPS = 0.1, 0.01


def in_threads(
    calls: Sequence[Callable[[], object]],
    look: Callable[[int], None],
    stop: Callable[[int], None],
    n_threads: int,
) -> None:
    """Make calls, some at a time.

    Parameters
    ----------
    calls : sequence of callable
        The functions; if one raises, the others are ended, and its error is raised.
    look : callable
        Is told from time to time how many calls are done.
    stop : callable
        Asks the call of a number to come to an end soon: at Ctrl-C, and after an error.
    n_threads : int
        Number of calls at a time.
    """
    threading = check.standard_module("Replicas.fit", "threading", "threads")
    work = _Work(calls)
    locks = [threading.Lock() for _ in range(min(n_threads, len(calls)))]
    try:
        for lock in locks:
            lock.acquire()
            threading.Thread(target=work.go_on, args=(lock,), daemon=True).start()
        for lock in locks:
            while not (work.errors or lock.acquire(timeout=_BETWEEN_LOOKS)):
                look(len(work.done))
    finally:
        work.end(stop)
    if work.errors:
        raise work.errors[0]
    look(len(work.done))


class _Work:
    """Calls to make in several threads, and how far they have come.

    Plain locks, and lists whose methods are single steps: Ctrl-C may come between any two lines of
    the main thread, and inside of concurrent.futures it can leave a lock behind that nobody opens
    again.

    Parameters
    ----------
    calls : sequence of callable
        The functions.
    """

    def __init__(self, calls: Sequence[Callable[[], object]]) -> None:
        self.calls = calls
        self.pending, self.running = deque(range(len(calls))), [False] * len(calls)
        self.done: list[int] = []
        self.errors: list[BaseException] = []
        self._begun: list[Any] = []
        self._ended: list[Any] = []

    def go_on(self, lock: Any) -> None:
        """Make calls until none is left or one has raised, then open the lock; runs in a thread."""
        self._begun.append(lock)
        try:
            while not self.errors:
                self._make(self.pending.popleft())
        except IndexError:  # nothing is left
            pass
        finally:
            self._ended.append(lock)
            lock.release()

    def _make(self, k: int) -> None:
        self.running[k] = True
        try:
            self.calls[k]()
        except BaseException as error:
            self.errors.append(error)
        finally:
            self.running[k] = False
            self.done.append(k)

    def end(self, stop: Callable[[int], None]) -> None:
        """Begin no other call, and wait for the end of those that run, which ``stop`` asks for."""
        self.pending.clear()
        while len(self._ended) < len(self._begun):
            # Again and again: what has just begun may know of no earlier request.
            for k, is_running in enumerate(self.running):
                if is_running:
                    stop(k)
            time.sleep(_BETWEEN_STOPS)
