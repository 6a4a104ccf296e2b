"""`predict` without a batch size: bounded memory, and the outputs of all samples at once."""

import tracemalloc

import numpy as np
import pytest
import threadpoolctl
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import BatchNorm, Dense, Graph, Layer, ReLU, Sequential

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def one_thread():
    """Several threads divide the rows of a product, where the bytes of a few depend on how many."""
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


def wide(dtype="float64", between=()):
    layers = [Dense(20, 2000, ReLU()), *between, Dense(2000, 2)]
    return Sequential(layers, seed=0, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_memory_is_bounded_and_the_bytes_are_those_of_all_at_once(dtype):
    model, x = wide(dtype), RNG.normal(size=(20_000, 20)).astype(dtype)
    tracemalloc.start()
    try:
        y = model.predict(x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        expected = model.forward(x)
        at_once = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 64 MiB of outputs, the last part up to twice as large, and as much of what lies between.
    assert peak < min(4 * 64 * 2**20, 0.8 * at_once)
    assert y.dtype == dtype
    assert_array_equal(y, expected)


def test_a_column_of_outputs_has_the_bytes_of_all_at_once():
    # A product with one column is computed in other blocks than one with several.
    model = Sequential([Dense(7, 50, ReLU()), Dense(50, 1000, ReLU()), Dense(1000, 1)], seed=0)
    x = RNG.normal(size=(20_001, 7))
    assert_array_equal(model.predict(x), model.forward(x))


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 5000])
def test_every_number_of_samples(n):
    model, x = wide(between=[BatchNorm()]), RNG.normal(size=(n, 20))
    for given in (x, x.tolist()) if n else (x,):
        assert_array_equal(model.predict(given), model.forward(x))


def test_graphs_are_cut_too():
    nodes = {"wide": (Dense(20, 2000, ReLU()), "x"), "out": (Dense(2000, 2), "wide")}
    model = Graph({"x": (20,)}, nodes, "out", seed=0)
    sizes, forward = [], model.forward
    model.forward = lambda x: (sizes.append(len(next(iter(x.values())))), forward(x))[1]
    x = RNG.normal(size=(9000, 20))
    y = model.predict(x)
    assert len(sizes) > 1
    assert sum(sizes) == 9000
    assert min(sizes) >= 768
    assert_array_equal(y, forward(x))


class Centred(Layer):
    """Mixes the samples, in evaluation too."""

    mixes_samples = True

    def compute_forward(self, x, *, training):
        return x - x.mean(axis=0), None

    def compute_backward(self, dy, cache):
        return dy - dy.mean(axis=0)


def test_samples_that_are_mixed_stay_together():
    model, x = wide(between=[Centred()]), RNG.normal(size=(5000, 20))
    assert_array_equal(model.predict(x), model.forward(x))


def test_open_axes_have_the_lengths_of_the_data():
    model = Sequential([Dense(4, 2000, ReLU()), Dense(2000, 1)], input_shape=(None, 4), seed=0)
    sizes, forward = [], model.forward
    model.forward = lambda x: (sizes.append(len(x)), forward(x))[1]
    x = RNG.normal(size=(40, 300, 4))
    assert_allclose(model.predict(x), forward(x), rtol=1e-12)
    assert len(sizes) > 1
    assert max(sizes) * 300 * 2000 * 8 < 2**28
