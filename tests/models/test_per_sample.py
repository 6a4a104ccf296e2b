import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    ArgumentError,
    BatchNorm,
    Dense,
    Dropout,
    HalfSquaredError,
    Identity,
    Layer,
    MeanSquaredError,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    Standardize,
    Tanh,
)


def by_single_samples(model, x, y, loss):
    rows = []
    for i in range(len(x)):
        y_pred = model.forward(x[i : i + 1], training=True)
        model.backward(loss.gradient(y_pred, y[i : i + 1]))
        rows.append(model.grads.copy())
    return np.array(rows).reshape(len(x), model.values.size)


class Wrapper(Layer):
    def __init__(self, inner):
        self.inner = inner

    def build(self, input_shape):
        return self.add_layer(self.inner, input_shape)

    def compute_forward(self, x, *, training):
        return self.inner.compute_forward(x, training=training)

    def compute_backward(self, dy, cache):
        return self.inner.compute_backward(dy, cache)


class Doubled(Dense):
    """A Dense with a pass of its own, whose gradients are not those of a Dense."""

    def compute_forward(self, x, *, training):
        return super().compute_forward(2 * x, training=training)

    def compute_backward(self, dy, cache):
        return 2 * super().compute_backward(dy, cache)


KINDS = {
    "dense": lambda f, b, shape: Dense(3, 3, f, use_bias=b),
    "nested": lambda f, b, shape: Sequential(
        [Dense(3, 2, f), Dense(2, 3, use_bias=b)], input_shape=shape
    ),
    "standardize": lambda f, b, shape: Standardize(),
    "wrapped": lambda f, b, shape: Wrapper(Dense(3, 3, f, use_bias=b)),
    "doubled": lambda f, b, shape: Doubled(3, 3, f, use_bias=b),
}


@settings(deadline=None, max_examples=80)
@given(
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4),
    activation=st.sampled_from([Identity(), Sigmoid(), Tanh(), Softmax()]),
    use_bias=st.booleans(),
    n_samples=st.integers(1, 5),
    axes=st.sampled_from([(), (2,), (None,), (2, 3)]),
    loss=st.sampled_from([HalfSquaredError(), MeanSquaredError()]),
)
def test_rows_are_the_gradients_of_single_samples(
    kinds, activation, use_bias, n_samples, axes, loss
):
    if None in axes:  # Standardize has figures of each place
        kinds = [kind for kind in kinds if kind != "standardize"] or ["dense"]
    model = Sequential(
        [KINDS[kind](activation, use_bias, (*axes, 3)) for kind in kinds],
        input_shape=(*axes, 3),
        seed=0,
    )
    rng = np.random.default_rng(n_samples)
    shape = (n_samples, *(4 if length is None else length for length in axes), 3)
    x, y = rng.normal(size=shape), rng.normal(size=shape)
    expected = by_single_samples(model, x, y, loss)
    grads = model.grads = rng.normal(size=model.grads.shape)
    rows = model.per_sample_gradients(x, y, loss)
    # 1e-12 of numbers of about 1: products are added up in another order.
    assert_allclose(rows, expected, rtol=1e-10, atol=1e-12)
    assert_array_equal(model.grads, grads)  # the model stays as it is


def test_the_mean_is_the_gradient_of_the_batch():
    model = Sequential([Dense(4, 5, Tanh()), Dense(5, 3)], dtype="float32", seed=0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)), rng.integers(3, size=6)
    loss = SoftmaxCrossEntropy()
    rows = model.per_sample_gradients(x, y, loss)
    assert rows.dtype == np.float32
    model.backward(loss.gradient(model.forward(x, training=True), y))
    assert_allclose(rows.mean(axis=0), model.grads, rtol=1e-4, atol=1e-6)  # float32


def test_a_row_of_dense_takes_one_pass(monkeypatch):
    model = Sequential([Sequential([Dense(4, 3, Tanh())]), Dense(3, 2)], seed=0)
    batches = []
    forward = Dense.compute_forward

    def record(self, x, *, training):
        batches.append(len(x))
        return forward(self, x, training=training)

    monkeypatch.setattr(Dense, "compute_forward", record)
    model.per_sample_gradients(np.ones((7, 4)), np.zeros((7, 2)), HalfSquaredError())
    assert batches == [7, 7]


def test_layers_that_mix_samples_have_no_such_gradients():
    model = Sequential([Dense(2, 2), BatchNorm()], seed=0)
    message = (
        r"Sequential.per_sample_gradients: model must be one that treats each sample by itself; "
        r"got 'batchnorm_1', BatchNorm\(\), which mixes those of a batch\."
    )
    with pytest.raises(ArgumentError, match=message):
        model.per_sample_gradients(np.ones((2, 2)), np.ones((2, 2)), HalfSquaredError())


def test_a_layer_need_not_offer_it():
    layer = Wrapper(Dense(2, 2))
    with pytest.raises(NotImplementedError):
        layer.compute_sample_gradients(np.ones((1, 2)), None)


@pytest.mark.parametrize("layer", [Dense(3, 2), Dropout(0.0)])
def test_a_loss_without_targets(layer):
    class Penalty(HalfSquaredError):
        takes_targets = False

        def gradient(self, y_pred, y_true):
            assert y_true is None
            return super().gradient(y_pred, 0 * y_pred)

    model = Sequential([Dense(3, 3), layer], seed=0)
    x = np.random.default_rng(0).normal(size=(4, 3))
    rows = model.per_sample_gradients(x, None, Penalty())
    model.forward(x, training=True)
    model.backward(model.predict(x) / 4)
    np.testing.assert_allclose(rows.mean(axis=0), model.grads, rtol=1e-12, atol=1e-14)
