import tracemalloc

import numpy as np
import pytest
from memory import held
from numpy.testing import assert_array_equal

from layerkit import ArgumentError
from layerkit.data.batches import ArrayBatches, StreamBatches

F8, F4 = np.dtype(np.float64), np.dtype(np.float32)
X = np.arange(20.0).reshape(10, 2)


def batches(size, x=X, y=X, x_dtype=F8, y_dtype=F8):
    return ArrayBatches(x, y, size, x_dtype, y_dtype)


@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_in_order(size):
    pairs = list(batches(size).epoch(None))
    assert [len(x) for x, _, _ in pairs] == [min(size, 10 - s) for s in range(0, 10, size)]
    assert_array_equal(np.concatenate([x for x, _, _ in pairs]), X)
    assert_array_equal(np.concatenate([y for _, y, _ in pairs]), X)


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_shuffled_sample_by_sample(size):
    rng = np.random.default_rng(0)
    data = batches(size, y=X[:, :1])
    epochs = [list(data.epoch(rng)) for _ in range(2)]
    for pairs in epochs:
        assert [len(x) for x, _, _ in pairs] == [min(size, 10 - s) for s in range(0, 10, size)]
        x = np.concatenate([x for x, _, _ in pairs])
        assert_array_equal(np.sort(x[:, 0]), X[:, 0])
        assert_array_equal(np.concatenate([y for _, y, _ in pairs]), x[:, :1])  # still pairs
        assert not np.array_equal(x, X)
        # Not a shuffle of whole batches: neighbours come apart.
        assert not all(x[i, 0] + 2 == x[i + 1, 0] for i in range(0, 8, 3))
    assert not np.array_equal(epochs[0][0][0], epochs[1][0][0])


def test_the_order_comes_from_the_generator():
    def order(seed):
        pairs = batches(3).epoch(np.random.default_rng(seed))
        return np.concatenate([x[:, 0] for x, _, _ in pairs]).tolist()

    assert order(1) == order(1) != order(2)


@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)])
def test_batches_are_cast(rng):
    labels = np.arange(10, dtype=np.uint8)
    data = batches(4, x=X.astype(np.int16), y=labels, x_dtype=F4, y_dtype=np.dtype(np.intp))
    for x, y, _ in data.epoch(rng):
        assert x.dtype == F4
        assert y.dtype == np.intp
        assert_array_equal(x[:, 0], 2 * y)


def test_a_batch_in_order_is_a_view():
    x, _, _ = next(iter(batches(3).epoch(None)))
    assert np.shares_memory(x, X)


@pytest.mark.parametrize("size", [1, 4])
def test_describe_names_the_samples(size):
    data = batches(size)
    for step, (x, _, _) in enumerate(data.epoch(np.random.default_rng(3)), 1):
        assert data.describe(step) == f"samples {(x[:, 0] / 2).astype(int).tolist()}"
    for step, (x, _, _) in enumerate(data.epoch(None), 1):
        assert data.describe(step) == f"samples {(x[:, 0] / 2).astype(int).tolist()}"


def test_a_memmap_is_read_batch_by_batch(tmp_path):
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(50_000, 20))
    mapped[:] = 1
    data = batches(100, x=mapped, y=mapped)
    total, seen = 0, []
    tracemalloc.start()
    try:
        for step, (x, _, _) in enumerate(data.epoch(np.random.default_rng(0))):
            total += x.sum()
            if step % 50 == 0:  # a look takes its time
                seen.append(held())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 1e6
    arrays, objects = map(max, zip(*seen, strict=True))
    # The order of 50,000 samples, a few batches as float64; one object a sample would be 1.2 MB.
    assert arrays < 8 * 50_000 + 8 * 100 * 20 * 8
    assert objects < 100_000
    # The data are 4 MB, and 8 as float64: more than the interpreter and the snapshots take.
    assert peak < mapped.nbytes / 2


def test_streams_go_on_from_epoch_to_epoch():
    numbers = iter([(i, -i) for i in range(5)])
    data = StreamBatches(numbers, 2, lambda x, y: (x, y), "Trainer.fit")
    assert list(data.epoch(None)) == [(0, 0), (1, -1)]
    assert list(data.epoch(None)) == [(2, -2), (3, -3)]
    assert data.describe(2) == "batch 2 of the stream in this epoch"
    epoch = data.epoch(None)
    assert next(epoch) == (4, -4)
    with pytest.raises(ArgumentError, match="ended before step 2"):
        next(epoch)


def test_a_stream_is_read_no_further_than_needed():
    taken = []

    def stream():
        for i in range(9):
            taken.append(i)
            yield i, i

    list(StreamBatches(stream(), 3, lambda x, y: (x, y), "Trainer.fit").epoch(None))
    assert taken == [0, 1, 2]


def test_all_inputs_are_gone_through_whatever_part_an_epoch_has():
    rows = np.array([1, 4, 5, 8, 9])
    data = ArrayBatches(X, X, 2, F4, F8, rows=rows)
    data.divide(1, 3)
    epoch = data.epoch(np.random.default_rng(0))
    next(epoch)
    order = data.order.copy()
    (x,) = data.inputs()  # few samples are not worth several passes
    assert x.dtype == F4
    assert_array_equal(x, X[rows])
    assert_array_equal(data.order, order)
    assert (data.batch_size, data.rank, data.n_ranks) == (2, 1, 3)
    stream = StreamBatches([(X[:4], X[:4]), (X[4:], X[4:])], None, lambda x, y: (x, y, None), "")
    assert stream.are_repeatable
    for _ in range(2):
        assert_array_equal(np.concatenate([*stream.inputs()]), X)
    assert not StreamBatches(iter([]), 1, lambda x, y: (x, y, None), "").are_repeatable
