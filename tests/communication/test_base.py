import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranks import on_ranks

from layerkit import Communicator, MPICommunicator, SerialCommunicator
from layerkit.communication.base import gather, part, share, total


def test_a_single_process_talks_to_nobody():
    communicator = SerialCommunicator()
    assert (communicator.rank, communicator.size) == (0, 1)
    numbers = np.arange(3.0)
    communicator.allreduce_(numbers)
    communicator.broadcast_(numbers)
    communicator.barrier()
    np.testing.assert_array_equal(numbers, [0, 1, 2])
    assert repr(communicator) == "SerialCommunicator()"


def test_what_has_the_five_is_a_communicator():
    assert isinstance(SerialCommunicator(), Communicator)
    assert isinstance(MPICommunicator(), Communicator)
    assert all(on_ranks(2, lambda communicator: isinstance(communicator, Communicator)))
    assert not isinstance(np.zeros(3), Communicator)


@given(st.integers(0, 50), st.integers(1, 9))
def test_parts_are_a_row_of_nearly_equal_pieces(n, size):
    parts = [part(n, rank, size) for rank in range(size)]
    assert [i for piece in parts for i in range(n)[piece]] == list(range(n))
    lengths = [piece.stop - piece.start for piece in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("size", [1, 2, 5])
def test_numbers_and_bytes_reach_all_ranks(size):
    def program(communicator):
        rank = communicator.rank
        data = bytes(range(rank)) * rank  # of lengths of their own, one of them 0
        return (
            total(communicator, 1, rank),
            gather(communicator, data),
            share(communicator, b"from 0" if rank == 0 else b""),
            share(communicator, b"from the last" if rank == size - 1 else b"x", size - 1),
        )

    for sums, gathered, first, last in on_ranks(size, program):
        assert sums == [size, size * (size - 1) / 2]
        assert gathered == [bytes(range(rank)) * rank for rank in range(size)]
        assert (first, last) == (b"from 0", b"from the last")
