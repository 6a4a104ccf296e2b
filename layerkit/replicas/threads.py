"""Work on all cores: functions that leave Python's lock alone most of the time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

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
    # Plain locks, and lists whose methods are single steps: Ctrl-C may come between any two lines
    # here, and inside of concurrent.futures it can leave a lock behind that nobody opens again.
    threading = check.standard_module("Replicas.fit", "threading", "threads")
    pending, running = deque(range(len(calls))), [False] * len(calls)
    begun: list[int] = []
    done: list[int] = []
    ended: list[int] = []
    errors: list[BaseException] = []
    locks = [threading.Lock() for _ in range(min(n_threads, len(calls)))]

    def work(number: int) -> None:
        begun.append(number)
        try:
            while not errors:
                k = pending.popleft()
                running[k] = True
                try:
                    calls[k]()
                except BaseException as error:
                    errors.append(error)
                finally:
                    running[k] = False
                    done.append(k)
        except IndexError:  # nothing is left
            pass
        finally:
            ended.append(number)
            locks[number].release()

    try:
        for number, lock in enumerate(locks):
            lock.acquire()
            threading.Thread(target=work, args=(number,), daemon=True).start()
        for lock in locks:
            while not (errors or lock.acquire(timeout=_BETWEEN_LOOKS)):
                look(len(done))
    finally:
        pending.clear()
        while len(ended) < len(begun):
            # Again and again: what has just begun may know of no earlier request.
            for k, is_running in enumerate(running):
                if is_running:
                    stop(k)
            time.sleep(_BETWEEN_STOPS)
    if errors:
        raise errors[0]
    look(len(done))
