"""`Communicator`: the operations between processes that training over several ranks needs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from layerkit._support.validation import Array

__all__ = ["Communicator", "SerialCommunicator"]


@runtime_checkable
class Communicator(Protocol):
    """Connection of the processes, called ranks, that train one model together.

    `MPICommunicator` is one implementation; any other object with these two attributes and three
    methods can be used too. All ranks call each method, in the same order, with arrays of the same
    shape and dtype, in C order.

    Attributes
    ----------
    rank : int
        Number of this process, counted from 0.
    size : int
        Number of processes.

    Examples
    --------
    >>> from layerkit import Communicator, SerialCommunicator
    >>> isinstance(SerialCommunicator(), Communicator)
    True
    """

    rank: int
    size: int

    def allreduce_(self, array: Array) -> None:
        """Replace the array by the sum of the arrays of all ranks, in place.

        Parameters
        ----------
        array : ndarray of any shape
            Summand of this rank; afterwards the sum, with the same bytes on all ranks.
        """

    def broadcast_(self, array: Array, root: int = 0) -> None:
        """Replace the array by the array of one rank, in place.

        Parameters
        ----------
        array : ndarray of any shape
            On ``root``, the array to send; on other ranks, the place to receive it.
        root : int
            Rank that sends its array.
        """

    def barrier(self) -> None:
        """Wait until all ranks have called this method."""


class SerialCommunicator:
    """Communicator of a single process.

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
        """Leave the array as it is, the sum over one rank.

        Parameters
        ----------
        array : ndarray of any shape
            Array of this process.
        """

    def broadcast_(self, array: Array, root: int = 0) -> None:
        """Leave the array as it is.

        Parameters
        ----------
        array : ndarray of any shape
            Array of this process.
        root : int
            Rank that sends its array: 0.
        """

    def barrier(self) -> None:
        """Return at once; see `Communicator.barrier`."""

    def __repr__(self) -> str:
        """Return the constructor call as text."""
        return "SerialCommunicator()"


def part(n: int, rank: int, size: int) -> slice:
    """Return the slice of n items that belongs to a rank; the parts differ by at most one item."""
    return slice(rank * n // size, (rank + 1) * n // size)


def total(communicator: Communicator, *numbers: float) -> list[float]:
    """Return the sums of numbers over the ranks."""
    sums = np.array(numbers, np.float64)
    communicator.allreduce_(sums)
    return [float(number) for number in sums]


def gather(communicator: Communicator, data: bytes) -> list[bytes]:
    """Return the data of all ranks, in the order of the ranks; the same on all of them."""
    lengths = np.zeros(communicator.size, np.int64)
    lengths[communicator.rank] = len(data)
    communicator.allreduce_(lengths)
    # A sum in which all other ranks have zeros, so that one operation is enough.
    rows = np.zeros((communicator.size, int(lengths.max())), np.uint8)
    rows[communicator.rank, : len(data)] = np.frombuffer(data, np.uint8)
    communicator.allreduce_(rows)
    return [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]


def share(communicator: Communicator, data: bytes, root: int = 0) -> bytes:
    """Return the data of the rank ``root``, on all ranks."""
    length = np.array([len(data)], np.int64)
    communicator.broadcast_(length, root)
    room = np.zeros(int(length[0]), np.uint8)
    if communicator.rank == root:
        room[:] = np.frombuffer(data, np.uint8)
    communicator.broadcast_(room, root)
    return room.tobytes()
