import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_windows import pair
from recorded_layers import RECORDED, compare

from layerkit import (
    ArgumentError,
    Conv2D,
    Conv2DTranspose,
    HeNormal,
    LoadError,
    ReLU,
    Sequential,
    ShapeError,
    Tanh,
)
from layerkit.parameters import Loading
from layerkit.testing import check_layer, parametrize_with_checks


@parametrize_with_checks(
    [
        (Conv2DTranspose(2, 3, 2), (2, 3, 2)),
        (Conv2DTranspose(2, 1, (3, 2), Tanh(), stride=2, padding="same"), (2, 2, 2)),
        (Conv2DTranspose(1, 2, 3, ReLU(), stride=(3, 1), padding=1), (None, 2, 1)),
        (Conv2DTranspose(2, 2, 2, stride=3, dilation=2, use_bias=False), (2, 2, 2)),
        (Conv2DTranspose(3, 2, 1, stride=2), (None, None, 3)),
    ]
)
def test_conformance(check):
    check()


CALLS = sorted(call for call in RECORDED if call.startswith("Conv2DTranspose("))


@pytest.mark.parametrize("call", CALLS)
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


def test_there_are_recorded_cases():
    assert len(CALLS) >= 6


def before(length, size, stride, dilation, padding):
    """How many places are cut off before an axis."""
    if padding == "valid":
        return 0
    return max((size - 1) * dilation + 1 - stride, 0) // 2 if padding == "same" else padding


def scattered(layer, x, kernel, lengths):
    """Each number of x times the kernel, added where it falls."""
    y = np.zeros((len(x), *lengths, layer.n_out))
    stride, dilation = pair(layer.stride), pair(layer.dilation)
    padding = (layer.padding,) * 2 if isinstance(layer.padding, str) else pair(layer.padding)
    arguments = zip(kernel.shape[:2], stride, dilation, padding, strict=True)
    cut = [before(length, *each) for length, each in zip(lengths, arguments, strict=True)]
    for i, j in np.ndindex(x.shape[1:3]):
        for a, b in np.ndindex(kernel.shape[:2]):
            row = i * stride[0] + a * dilation[0] - cut[0]
            column = j * stride[1] + b * dilation[1] - cut[1]
            if 0 <= row < lengths[0] and 0 <= column < lengths[1]:
                y[:, row, column] += x[:, i, j] @ kernel[a, b].T
    return y


def test_references():
    for layer, lengths in (
        (Conv2DTranspose(2, 3, (3, 2), stride=2, padding="same"), (6, 8)),
        (Conv2DTranspose(2, 3, 2, stride=(3, 1)), (9, 5)),
        (Conv2DTranspose(2, 3, 3, stride=2, padding=1, dilation=2), (7, 9)),
    ):
        check_layer(
            layer,
            (3, 4, 2),
            reference=lambda x, kernel, bias, layer=layer, lengths=lengths: (
                scattered(layer, x, kernel, lengths) + bias
            ),
        )


@st.composite
def layers(draw):
    size = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    spans = [(n - 1) * d + 1 for n, d in zip(size, dilation, strict=True)]
    margins = st.tuples(*(st.integers(0, (span - 1) // 2) for span in spans))
    padding = draw(st.sampled_from(["valid", "same"]) | margins)
    channels = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    arguments = {"stride": stride, "padding": padding, "dilation": dilation}
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    return channels, size, arguments, shape


@given(layers())
@settings(max_examples=150, deadline=None)
def test_it_is_the_adjoint_of_a_convolution(drawn):
    (n_in, n_out), size, arguments, (n_samples, *lengths) = drawn
    rng = np.random.default_rng(0)
    layer = Conv2DTranspose(n_in, n_out, size, **arguments)
    model = Sequential([layer], input_shape=(*lengths, n_in))
    model.values = rng.normal(size=model.values.shape)
    kernel, bias = model.get_weights()
    x = rng.normal(size=(n_samples, *lengths, n_in))
    y = model.forward(x, training=True)
    expected = scattered(layer, x, kernel, y.shape[1:3]) + bias
    # Float64 sums of some ten terms of everyday size.
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-11)
    # The convolution of the same kernel takes y to the shape of x, and is its adjoint.
    there = Sequential(
        [Conv2D(n_out, n_in, size, use_bias=False, **arguments)], input_shape=y.shape[1:]
    )
    there.set_weights([kernel])
    dy = rng.normal(size=y.shape)
    carried = there.forward(dy, training=True)
    assert carried.shape == x.shape
    np.testing.assert_allclose((carried * x).sum(), (dy * (y - bias)).sum(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.backward(dy), carried, rtol=1e-9, atol=1e-10)
    there.backward(x)
    np.testing.assert_allclose(layer.kernel.grad, there[0].kernel.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("size", "arguments", "length"),
    [
        (3, {}, 6),
        (3, {"stride": 2}, 9),
        (2, {"stride": 3}, 12),
        (3, {"stride": 2, "padding": "same"}, 8),
        (5, {"padding": "same"}, 4),
        (2, {"dilation": 3}, 7),
        (3, {"stride": 2, "padding": 1}, 7),
    ],
)
def test_lengths_are_those_of_keras(size, arguments, length):
    model = Sequential([Conv2DTranspose(1, 1, size, **arguments)], input_shape=(4, 4, 1))
    assert model.output_shape == (length, length, 1)


def test_to_the_initializer_the_inputs_are_those_that_are_read():
    layer = Conv2DTranspose(200, 10, 3, kernel_initializer=HeNormal())
    Sequential([layer], seed=0)
    # Of 18,000 numbers, whose deviation is known to a percent.
    assert abs(layer.kernel.value.std() / np.sqrt(2 / (9 * 200)) - 1) < 0.05


BAD = {
    "Conv2DTranspose.__init__: n_in must be": lambda: Conv2DTranspose(0, 1, 1),
    "Conv2DTranspose.__init__: n_out must be": lambda: Conv2DTranspose(1, 0, 1),
    "Conv2DTranspose.__init__: kernel_size must be": lambda: Conv2DTranspose(1, 1, 0),
    "Conv2DTranspose.__init__: stride must be": lambda: Conv2DTranspose(1, 1, 1, stride=0),
    "Conv2DTranspose.__init__: padding must be": lambda: Conv2DTranspose(1, 1, 1, padding="x"),
    "Conv2DTranspose.__init__: activation must be": lambda: Conv2DTranspose(1, 1, 1, ReLU),
    "Conv2DTranspose.__init__: kernel_initializer must be": lambda: Conv2DTranspose(
        1, 1, 1, kernel_initializer=0
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


def test_padding_that_leaves_nothing_is_refused():
    message = r"Conv2DTranspose.build: input_shape must be of images of which padding=2 leaves"
    with pytest.raises(ShapeError, match=message):
        Sequential([Conv2DTranspose(1, 1, 3, padding=2)], input_shape=(2, 9, 1))
    model = Sequential([Conv2DTranspose(1, 1, 3, padding=2)], input_shape=(None, None, 1))
    with pytest.raises(ShapeError, match=r"Conv2DTranspose.compute_forward: x must be of images"):
        model.predict(np.ones((1, 2, 9, 1)))


def test_a_file_does_not_choose_how_large_samples_become():
    layer = Conv2DTranspose(1, 1, 1, stride=5_000)
    with Loading(10), pytest.raises(LoadError, match="output must be no larger than what the file"):
        layer.build((None, None, 1))
