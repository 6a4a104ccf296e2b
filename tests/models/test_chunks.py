import copy
import tracemalloc

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import BatchNorm, Dense, Graph, Layer, Sequential, Tanh


def test_a_prediction_of_many_samples_takes_little_memory():
    # All at once, each layer's output would take 160 MB.
    model = Sequential([Dense(2, 2000, Tanh()), Dense(2000, 2000), Dense(2000, 1)], seed=0)
    graph = Graph({"x": (2,)}, {"y": (copy.deepcopy(model), "x")}, "y")
    x = np.random.default_rng(0).normal(size=(10_000, 2))
    own = 8 * (2000 * 2000 + 10_000)
    for each in (model, graph):
        tracemalloc.start()
        y = each.predict(x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # The outputs of two layers and an activation, at most 32 MB each.
        assert peak < 130e6 + own
        # Of sums of 2,000 products, of size 1, in another order.
        assert_allclose(y, each.predict(x, batch_size=10_000), rtol=1e-10, atol=1e-12)
        assert_array_equal(y, each.predict(x))


def test_what_is_not_large_is_predicted_at_once():
    model = Sequential([Dense(3, 5, Tanh()), Dense(5, 2)], seed=0)
    x = np.random.default_rng(0).normal(size=(1000, 3))
    assert_array_equal(model.predict(x), model.forward(x))
    assert_array_equal(model.predict(x.tolist()), model.forward(x))


def test_open_axes_count_when_predictions_are_cut():
    calls = []

    class Wide(Layer):
        def compute_forward(self, x, *, training):
            calls.append(len(x))
            return x + 0, None

        def compute_backward(self, dy, cache):
            return dy

    model = Sequential([Wide()], input_shape=(None, 2), dtype="float32")
    x = np.ones((600, 20_000, 2), np.float32)
    assert model.predict(x).shape == x.shape
    # 32 MB of 160 kB each.
    assert calls == [209, 209, 182]


def recorder(*layers, **tags):
    """A model of 8,000 bytes a sample, and the lengths of the batches that it is handed."""
    calls = []

    class Recorder(Layer):
        def compute_forward(self, x, *, training):
            calls.append(len(x))
            return x - x.mean(axis=0) if self.mixes_samples else x + 0, None

        def compute_backward(self, dy, cache):
            return dy

    for tag, value in tags.items():
        setattr(Recorder, tag, value)
    return Sequential([Recorder(), *layers], input_shape=(1000,)), calls


def test_predictions_are_cut_at_whole_blocks_of_a_product():
    # 32 MB are 4,194 samples, and 5 blocks of 768 are 3,840 of them. Fewer than a block join.
    for n_samples, lengths in (
        (3840, [3840]),
        (4607, [4607]),
        (4608, [3840, 768]),
        (8000, [3840, 4160]),
    ):
        model, calls = recorder(BatchNorm())
        x = np.arange(n_samples * 1000.0).reshape(n_samples, 1000)
        y = model.predict(x)
        assert calls == lengths
        calls.clear()
        assert_array_equal(y, model.predict(x, batch_size=4000))
        assert max(calls) <= 4000


def test_samples_that_are_mixed_are_predicted_at_once():
    model, calls = recorder(mixes_samples=True)
    x = np.random.default_rng(0).normal(size=(9000, 1000))
    graph = Graph({"x": (1000,)}, {"y": (copy.deepcopy(model), "x")}, "y")
    for each in (model, graph):
        assert_array_equal(each.predict(x), x - x.mean(axis=0))
    assert calls == [9000, 9000]


def test_what_has_no_length_is_cut_all_the_same():
    class Given:
        def __array__(self, dtype=None, copy=None):
            return np.ones((5, 3))

    model = Sequential([Dense(3, 2)], seed=0)
    assert_array_equal(model.predict(Given(), batch_size=2), model.predict(np.ones((5, 3))))
