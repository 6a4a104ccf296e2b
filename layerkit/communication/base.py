"""`Communicator`: what training over several processes asks of the library that connects them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from layerkit._support.validation import Array

__all__ = ["Communicator", "SerialCommunicator"]


@runtime_checkable
class Communicator(Protocol):
    """Connects the processes that train one model together: the ranks.

    `MPICommunicator` is one; another library serves by these five. Each method is called by all
    ranks, in the same order, with arrays of the same shape and dtype, in C order.

    Attributes
    ----------
    rank : int
        The number of this process, from 0 on.
    size : int
        How many there are.

    Examples
    --------
    >>> from layerkit import Communicator, SerialCommunicator
    >>> isinstance(SerialCommunicator(), Communicator)
    True
    """

    rank: int
    size: int

    def allreduce_(self, array: Array) -> None:
        """Replace the array by the sum of all ranks' arrays, in place; the same bytes on all."""

    def broadcast_(self, array: Array, root: int = 0) -> None:
        """Replace the array by that of the rank ``root``, in place."""

    def barrier(self) -> None:
        """Wait for all ranks."""


class SerialCommunicator:
    """A single process, which has nobody to talk to.

    Attributes
    ----------
    rank, size : int
        0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SerialCommunicator
    >>> communicator = SerialCommunicator()
    >>> numbers = np.arange(3.0)
    >>> communicator.allreduce_(numbers)
    >>> numbers
    array([0., 1., 2.])
    """

    rank = 0
    size = 1

    def allreduce_(self, array: Array) -> None:
        """Leave the array as it is: the sum of one."""

    def broadcast_(self, array: Array, root: int = 0) -> None:
        """Leave the array as it is."""

    def barrier(self) -> None:
        """Go on at once."""

    def __repr__(self) -> str:
        """Write the call that makes one."""
        return "SerialCommunicator()"


def part(n: int, rank: int, size: int) -> slice:
    """Give a rank's part of n things that lie in a row; parts differ by at most one."""
    return slice(rank * n // size, (rank + 1) * n // size)


def total(communicator: Communicator, *numbers: float) -> list[float]:
    """Add up numbers over the ranks."""
    sums = np.array(numbers, np.float64)
    communicator.allreduce_(sums)
    return [float(number) for number in sums]


def gather(communicator: Communicator, data: bytes) -> list[bytes]:
    """Give what each rank hands in, in the order of the ranks, to all of them."""
    lengths = np.zeros(communicator.size, np.int64)
    lengths[communicator.rank] = len(data)
    communicator.allreduce_(lengths)
    # A sum in which every other rank has zeros: so one operation is enough for all.
    rows = np.zeros((communicator.size, int(lengths.max())), np.uint8)
    rows[communicator.rank, : len(data)] = np.frombuffer(data, np.uint8)
    communicator.allreduce_(rows)
    return [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]


def share(communicator: Communicator, data: bytes, root: int = 0) -> bytes:
    """Give what the rank ``root`` hands in to all of them."""
    length = np.array([len(data)], np.int64)
    communicator.broadcast_(length, root)
    room = np.zeros(int(length[0]), np.uint8)
    if communicator.rank == root:
        room[:] = np.frombuffer(data, np.uint8)
    communicator.broadcast_(room, root)
    return room.tobytes()
