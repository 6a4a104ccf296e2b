import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    Activation,
    Constant,
    Dense,
    HalfSquaredError,
    Identity,
    Sequential,
    ShapeError,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
    Zeros,
)


def test_forward_is_the_formula():
    layer = Dense(3, 2, Tanh())
    model = Sequential([layer])
    rng = np.random.default_rng(0)
    kernel, bias, x = rng.normal(size=(3, 2)), rng.normal(size=2), rng.normal(size=(5, 3))
    model.set_weights([kernel, bias])
    assert_allclose(model.predict(x), np.tanh(x @ kernel + bias), rtol=1e-15)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
@pytest.mark.parametrize("activation", [Identity(), Sigmoid(), Softplus(), Softmax()], ids=repr)
@pytest.mark.parametrize("use_bias", [True, False])
def test_training_and_evaluation_compute_the_same(batch_size, activation, use_bias):
    model = Sequential([Dense(4, 3, activation, use_bias=use_bias)])
    model.values = np.random.default_rng(0).normal(size=model.values.shape)  # no bias of 0
    x = np.random.default_rng(1).normal(size=(batch_size, 4))
    y = model.predict(x)
    assert_array_equal(model.forward(x, training=True), y)
    for _ in range(2):  # the second time in buffers that were used before
        assert_array_equal(model.compute_forward(x, training=True)[0], y)


def test_gradients_are_the_formula():
    layer = Dense(3, 2, Tanh())
    Sequential([layer], seed=0)
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    y = layer.forward(x, training=True)
    dx = layer.backward(dy)
    dz = dy * (1 - y**2)
    assert_allclose(layer.kernel.grad, x.T @ dz, rtol=1e-13)
    assert_allclose(layer.bias.grad, dz.sum(axis=0), rtol=1e-13)
    assert_allclose(dx, dz @ layer.kernel.value.T, rtol=1e-13)


def test_the_first_layers_dx_is_left_out_only_when_told():
    layer = Dense(3, 2, Tanh())
    Sequential([layer], seed=0)
    x, dy = np.ones((1, 3)), np.ones((1, 2))
    _, cache = layer.compute_forward(x, training=True)
    assert layer.compute_backward(dy, cache, need_dx=False) is None
    grad = layer.kernel.grad.copy()
    _, cache = layer.compute_forward(x, training=True)
    assert layer.compute_backward(dy, cache).shape == (1, 3)
    assert_array_equal(layer.kernel.grad, grad)


def test_no_activation_means_identity():
    for layer in (Dense(2, 2), Dense(2, 2, None), Dense(2, 2, Identity())):
        assert isinstance(layer.activation, Identity)
        assert repr(layer) == "Dense(2, 2)"


def test_defaults_are_glorot_and_zero():
    layer = Dense(30, 10)
    Sequential([layer], seed=0)
    assert_array_equal(layer.bias.value, np.zeros(10))
    assert 0.9 * np.sqrt(6 / 40) < abs(layer.kernel.value).max() <= np.sqrt(6 / 40)


def test_without_a_bias():
    layer = Dense(2, 3, use_bias=False)
    Sequential([layer])
    assert [p.name for p in layer.parameters] == ["kernel"]
    assert not hasattr(layer, "bias")


def test_numpy_integers_are_whole_numbers():
    assert Dense(np.int64(3), np.uint8(2)).n_in == 3


def test_one_activation_may_serve_two_layers():
    shared = Sigmoid()
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 4)), rng.normal(size=(2, 4))

    def gradients(first, second):
        model = Sequential([Dense(4, 4, first), Dense(4, 4, second)], seed=0)
        model.compute_backward(dy, model.compute_forward(x, training=True)[1])
        return model.grads

    assert_array_equal(gradients(shared, shared), gradients(Sigmoid(), Sigmoid()))


class Plain(Activation):
    """tanh as a user may write it: with neither out, and giving z itself back."""

    def forward(self, z):
        return np.tanh(z)

    def backward(self, dy, z, y):
        return dy * (1 - y * y)


class GivesItsInput(Activation):
    def forward(self, z):
        return z

    def backward(self, dy, z, y):
        return dy


@pytest.mark.parametrize(("own", "built_in"), [(Plain(), Tanh()), (GivesItsInput(), Identity())])
def test_activations_that_take_no_out(own, built_in):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(3, 4)), rng.normal(size=(3, 2))
    gradients = []
    for activation in (own, built_in):
        model = Sequential([Dense(4, 5, activation), Dense(5, 2, activation)], seed=0)
        model.forward(x, training=True)
        gradients.append((model.backward(dy), model.grads))
    assert_allclose(gradients[0][0], gradients[1][0], rtol=1e-12)
    assert_allclose(gradients[0][1], gradients[1][1], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_throughout(dtype):
    model = Sequential([Dense(3, 2, Sigmoid()), Dense(2, 2)], dtype=dtype, seed=0)
    y = model.forward(np.ones((2, 3)), training=True)
    assert y.dtype == model.backward(np.ones((2, 2))).dtype == model.grads.dtype == dtype


LAYOUTS = {
    "read-only": lambda x: _read_only(x.copy()),
    "fortran": np.asfortranarray,
    "negative stride": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "every other": lambda x: np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2],
    "big-endian": lambda x: x.astype(">f8"),
    "list": lambda x: x.tolist(),
}


def _read_only(x):
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(layout):
    model = Sequential([Dense(3, 4, Sigmoid()), Dense(4, 2)], seed=0)
    x = np.random.default_rng(0).normal(size=(5, 3))
    expected = model.forward(x, training=True)
    expected_dx, expected_grads = model.backward(np.ones((5, 2))), model.grads.copy()
    laid_out = LAYOUTS[layout](x)
    # 1e-14: BLAS may add in another order for another layout.
    assert_allclose(model.forward(laid_out, training=True), expected, rtol=1e-14)
    assert_allclose(model.backward(LAYOUTS[layout](np.ones((5, 2)))), expected_dx, rtol=1e-13)
    assert_allclose(model.grads, expected_grads, rtol=1e-13)
    assert_allclose(model.predict(laid_out), expected, rtol=1e-14)


def test_memmap_gives_the_same(tmp_path):
    model = Sequential([Dense(3, 4, Sigmoid())], seed=0)
    x = np.random.default_rng(0).normal(size=(5, 3))
    mapped = np.memmap(tmp_path / "x", dtype=float, mode="w+", shape=x.shape)
    mapped[:] = x
    assert_array_equal(model.predict(mapped), model.predict(x))
    assert type(model.predict(mapped)) is np.ndarray


def test_batch_of_no_rows():
    model = Sequential([Dense(3, 4, Sigmoid()), Dense(4, 2, Softmax())], seed=0)
    assert model.predict(np.empty((0, 3))).shape == (0, 2)
    assert model.forward(np.empty((0, 3)), training=True).shape == (0, 2)
    model.grads[:] = 7
    assert model.backward(np.empty((0, 2))).shape == (0, 3)
    assert_array_equal(model.grads, np.zeros_like(model.grads))


@settings(deadline=None, max_examples=30)
@given(n_in=st.integers(1, 6), n_out=st.integers(1, 6), n=st.integers(1, 5))
def test_constant_layer_adds_up(n_in, n_out, n):
    layer = Dense(n_in, n_out, kernel_initializer=Constant(1.0), bias_initializer=Zeros())
    Sequential([layer])
    assert_array_equal(layer.forward(np.ones((n, n_in))), np.full((n, n_out), float(n_in)))


@settings(deadline=None, max_examples=60)
@given(
    axes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    batch_size=st.integers(0, 3),
    activation=st.sampled_from([Identity(), Tanh(), Softmax(), GivesItsInput(), Plain()]),
    use_bias=st.booleans(),
    is_open=st.booleans(),
)
def test_axes_before_the_last_are_rows(axes, batch_size, activation, use_bias, is_open):
    def make(shape):
        layers = [Dense(3, 4, activation, use_bias=use_bias), Dense(4, 2, Softmax())]
        return Sequential(layers, input_shape=shape, seed=0)

    flat = make((3,))
    model = make((*([None] * len(axes) if is_open else axes), 3))
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(batch_size, *axes, 3)), rng.normal(size=(batch_size, *axes, 2))
    # With a batch axis of another layout too: its rows are no view of it.
    x = np.asfortranarray(x)
    y = model.forward(x, training=True)
    dx = model.backward(dy)
    rows, d_rows = x.reshape(-1, 3), dy.reshape(-1, 2)
    # 1e-13: BLAS may add in another order for another layout.
    assert_allclose(y, flat.forward(rows, training=True).reshape(dy.shape), rtol=1e-13)
    assert_allclose(dx, flat.backward(d_rows).reshape(x.shape), rtol=1e-11, atol=1e-14)
    assert_allclose(model.grads, flat.grads, rtol=1e-11, atol=1e-14)
    assert_allclose(model.predict(x), y, rtol=1e-13)


def test_a_dense_on_sequences_says_its_shape():
    model = Sequential([Dense(3, 2)], input_shape=(5, 3))
    assert model.output_shape == (5, 2)
    assert eval(repr(model)).input_shape == (5, 3)
    with pytest.raises(ShapeError, match=r"x must be of shape \(batch_size, 5, 3\); got \(2, 3\)"):
        model.predict(np.ones((2, 3)))
    message = (
        r"layers\[1\] must be a layer that takes inputs of shape \(5, 2\), which layers\[0\], "
    )
    with pytest.raises(
        ShapeError, match=message + r"Dense\(3, 2\), gives; got Dense\(3, 2\), which"
    ):
        Sequential([Dense(3, 2), Dense(3, 2)], input_shape=(5, 3))
    with pytest.raises(
        ShapeError, match=r"input_shape must be \(3,\), which layers\[0\].*; got \(5, 4\)"
    ):
        Sequential([Dense(3, 2)], input_shape=(5, 4))


def test_a_built_dense_keeps_its_shape():
    used = Sequential([Dense(3, 2)], input_shape=(5, 3))[0]
    with pytest.raises(ShapeError, match=r"which takes \(5, 3\)|must be \(5, 3\)"):
        Sequential([copy.deepcopy(used)], input_shape=(4, 3))


def test_trace_of_a_dense_on_sequences():
    model = Sequential([Dense(3, 2, Tanh())], input_shape=(5, 3), seed=0)
    traced = model.trace(np.ones((4, 5, 3)), np.zeros((4, 5, 2)), HalfSquaredError())["dense_0"]
    assert traced.z.shape == traced.y.shape == traced.dz.shape == (4, 5, 2)
    assert_allclose(traced.dz, traced.dy * (1 - traced.y**2), rtol=1e-12)
