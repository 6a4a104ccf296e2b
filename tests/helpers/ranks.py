"""Ranks that are threads of one process: quick, and as strict as MPI about equal calls."""

import threading

import numpy as np


class ThreadCommunicator:
    """One of several ranks; adds up in the order of the ranks, so that all have the same bytes."""

    def __init__(self, rank, size, meeting, shelf):
        self.rank, self.size = rank, size
        self.meeting, self.shelf = meeting, shelf
        self.n_calls = 0

    def _exchange(self, kind, array):
        self.n_calls += 1
        description = (kind, array.shape, array.dtype, self.n_calls)
        self.shelf[self.rank] = (description, array.copy())
        self.meeting.wait(timeout=60)
        found = list(self.shelf)
        self.meeting.wait(timeout=60)
        assert len({described for described, _ in found}) == 1, found
        return [other for _, other in found]

    def allreduce_(self, array):
        assert array.flags.c_contiguous
        first, *others = self._exchange("allreduce", array)
        np.copyto(array, first)
        for other in others:
            array += other

    def broadcast_(self, array, root=0):
        np.copyto(array, self._exchange(f"broadcast {root}", array)[root])

    def barrier(self):
        self._exchange("barrier", np.empty(0))


def on_ranks(size, program):
    """Call ``program(communicator)`` on each rank; give the results, or raise the first error."""
    meeting, shelf = threading.Barrier(size), [None] * size
    results, errors = [None] * size, [None] * size

    def run(rank):
        try:
            results[rank] = program(ThreadCommunicator(rank, size, meeting, shelf))
        except BaseException as error:
            errors[rank] = error
            meeting.abort()  # as the end of a job ends all ranks

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    own = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
    for error in own:
        if error is not None:
            error.errors = errors
            raise error
    return results
