"""What a model drew first, and how one around it begins again: with its seed, for its shape."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from layerkit import ArgumentError, Dense, Dropout, Layer, Sequential, ShapeError


class Wrapper(Layer):
    def __init__(self, inner):
        self.inner = inner

    def build(self, input_shape):
        return self.add_layer(self.inner, input_shape)

    def compute_forward(self, x, *, training):
        return self.inner.compute_forward(x, training=training)

    def compute_backward(self, dy, cache):
        return self.inner.compute_backward(dy, cache)


def test_models_of_given_values_or_shapes_keep_their_shape():
    changed = Sequential([Dense(3, 2)])
    changed[0].bias.value[0] = 1
    models = [
        changed,
        Sequential([Dense(3, 2)], input_shape=(3,)),
        Sequential([Sequential([Dense(3, 2)], input_shape=(3,))]),
        copy.deepcopy(Sequential([Dense(3, 2)])),
        Sequential([Dense(3, 2), Dense(2, 2)])[:1],
    ]
    for inner in models:
        message = r"input_shape must be \(3,\), which layers\[0\], .*, takes; got \(5, 3\)"
        with pytest.raises(ShapeError, match=message):
            Sequential([copy.deepcopy(inner)], input_shape=(5, 3))
        with pytest.raises(ArgumentError):
            Sequential([inner], input_shape=(5, 3))
        assert inner.input_shape == (3,)
    with pytest.raises(ShapeError):
        Sequential([Sequential([Dense(3, 2)])], input_shape=(5, 4))


@pytest.mark.parametrize("seed", [1, np.random.default_rng(1)])
def test_a_model_of_another_shape_keeps_its_own_seed(seed):
    inner = Sequential([Dense(3, 2), Dropout(0.5), Sequential([Dense(2, 2)])], seed=seed)
    values = inner.values.copy()
    model = Sequential([Dense(4, 3), Wrapper(inner)], input_shape=(None, 4), seed=0)
    assert_array_equal(inner.values, values)
    assert np.shares_memory(inner.values, model.values)
    assert inner.input_shape == (None, 3)
    assert [layer.input_shape for layer in inner] == [(None, 3), (None, 2), (None, 2)]
    assert inner[0].kernel.value.base is not None
    assert model.predict(np.ones((2, 6, 4))).shape == (2, 6, 2)


def test_a_model_that_does_not_fit_stays_as_it_was():
    layers = [Dense(3, 3), Wrapper(Sequential([Dense(3, 2)])), Dropout(0.5)]
    inner = Sequential(layers, seed=3)
    values = inner.values.copy()
    before = [(layer, dict(vars(layer))) for _, layer in inner.walk()]
    with pytest.raises(ShapeError):
        Sequential([Wrapper(inner), Dense(7, 1)], input_shape=(5, 3))
    assert [(layer, dict(vars(layer))) for _, layer in inner.walk()] == before
    assert_array_equal(inner.values, values)
    assert Sequential([Wrapper(inner), Dense(2, 1)], input_shape=(5, 3)).output_shape == (5, 1)
