"""Work on all cores: functions that leave Python's lock alone most of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

# Seconds between two looks, at the progress and for Ctrl-C.
_BETWEEN_LOOKS = 0.1


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
        How many calls at a time.
    """
    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            pending = set(futures)
            while pending:
                done, pending = wait(pending, _BETWEEN_LOOKS)
                for future in done:
                    future.result()
                look(len(futures) - len(pending))
        except BaseException:
            for future in futures:
                future.cancel()
            while not all(future.done() for future in futures):
                # Again and again: what has just begun may know of no earlier request.
                for k, future in enumerate(futures):
                    if future.running():
                        stop(k)
                wait(futures, _BETWEEN_LOOKS)
            raise
