import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_windows import convolve
from recorded_layers import RECORDED, compare

from layerkit import (
    ArgumentError,
    Conv2D,
    DepthwiseConv2D,
    HeNormal,
    ReLU,
    SeparableConv2D,
    Sequential,
    ShapeError,
    Tanh,
)
from layerkit.testing import check_layer, parametrize_with_checks


@parametrize_with_checks(
    [
        (DepthwiseConv2D(2, 2), (3, 3, 2)),
        (DepthwiseConv2D(2, (2, 1), Tanh(), depth_multiplier=3, padding="same"), (3, 2, 2)),
        (DepthwiseConv2D(3, 2, stride=2, padding=1, use_bias=False), (None, 3, 3)),
        (DepthwiseConv2D(1, 2, dilation=2, depth_multiplier=2), (None, None, 1)),
        (SeparableConv2D(2, 3, 2), (3, 3, 2)),
        (SeparableConv2D(2, 2, 2, ReLU(), depth_multiplier=2, padding="same"), (None, 3, 2)),
    ]
)
def test_conformance(check):
    check()


CALLS = sorted(call for call in RECORDED if "DepthwiseConv" in call or "SeparableConv" in call)


@pytest.mark.parametrize("call", CALLS)
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


def test_there_are_recorded_cases():
    assert len(CALLS) >= 5


def depthwise(layer, x, kernel):
    """As many groups as channels, in loops."""
    wide = kernel.reshape(*kernel.shape[:2], 1, -1)
    return convolve(x, wide, layer.stride, layer.padding, layer.dilation, n_groups=layer.n_in)


def test_references():
    layer = DepthwiseConv2D(2, (2, 3), depth_multiplier=2, padding="same", stride=(1, 2))
    check_layer(
        layer,
        (None, 4, 2),
        reference=lambda x, kernel, bias: depthwise(layer, x, kernel) + bias,
    )
    both = SeparableConv2D(2, 3, 2, padding=1, dilation=2)
    check_layer(
        both,
        (3, 4, 2),
        reference=lambda x, kernel, mix, bias: depthwise(both, x, kernel) @ mix[0, 0] + bias,
    )


@st.composite
def layers(draw):
    size = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    arguments = {
        "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        "padding": draw(st.sampled_from(["valid", "same", 1, (0, 2)])),
        "dilation": (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        "depth_multiplier": draw(st.integers(1, 3)),
    }
    n_in = draw(st.integers(1, 3))
    lengths = [5 + draw(st.integers(0, 4)) for _ in range(2)]
    return DepthwiseConv2D(n_in, size, **arguments), (draw(st.integers(1, 3)), *lengths, n_in)


@given(layers())
@settings(max_examples=80, deadline=None)
def test_any_setting_is_as_in_loops_and_its_gradients_are_adjoint(drawn):
    layer, shape = drawn
    rng = np.random.default_rng(0)
    model = Sequential([layer], input_shape=shape[1:])
    model.values = rng.normal(size=model.values.shape)
    kernel, bias = model.get_weights()
    x, elsewhere = rng.normal(size=shape), rng.normal(size=shape)
    y = model.forward(x, training=True)
    # Float64 sums of some ten terms of everyday size.
    np.testing.assert_allclose(y, depthwise(layer, x, kernel) + bias, rtol=1e-10, atol=1e-11)
    dy, other = rng.normal(size=y.shape), rng.normal(size=kernel.shape)
    dx = model.backward(dy)
    there = (depthwise(layer, elsewhere, kernel) * dy).sum()
    np.testing.assert_allclose((dx * elsewhere).sum(), there, rtol=1e-9, atol=1e-9)
    there = (depthwise(layer, x, other) * dy).sum()
    np.testing.assert_allclose((layer.kernel.grad * other).sum(), there, rtol=1e-9, atol=1e-9)


def test_samples_go_through_in_parts():
    """More samples than are multiplied at a time, and one that is larger than that."""
    for shape in ((40, 20, 20, 3), (2, 200, 150, 3)):
        layer = DepthwiseConv2D(3, 3, depth_multiplier=2, use_bias=False)
        model = Sequential([layer], input_shape=shape[1:], seed=0)
        x = np.random.default_rng(0).normal(size=shape)
        grouped = Conv2D(3, 6, 3, n_groups=3, use_bias=False)
        twin = Sequential([grouped], input_shape=shape[1:])
        twin.values = model.values
        y = model.forward(x, training=True)
        np.testing.assert_allclose(y, twin.forward(x, training=True), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(model.backward(y), twin.backward(y), rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(model.grads, twin.grads, rtol=1e-9, atol=1e-9)


def test_filters_of_a_channel_lie_side_by_side():
    model = Sequential([DepthwiseConv2D(2, 1, depth_multiplier=2)], input_shape=(1, 1, 2))
    model.values = [1.0, 10.0, 2.0, 20.0, 0.0, 0.0, 0.0, 0.0]
    np.testing.assert_array_equal(model.predict([[[[3, 4]]]])[0, 0, 0], [3, 30, 8, 80])


def test_to_the_initializer_a_filter_has_the_inputs_that_it_reads():
    layer = DepthwiseConv2D(600, 3, kernel_initializer=HeNormal())
    Sequential([layer], seed=0)
    # Of 5,400 numbers, whose deviation is known to a percent.
    assert abs(layer.kernel.value.std() / np.sqrt(2 / 9) - 1) < 0.05


BAD = {
    "DepthwiseConv2D.__init__: n_in must be": lambda: DepthwiseConv2D(0, 3),
    "DepthwiseConv2D.__init__: kernel_size must be": lambda: DepthwiseConv2D(1, 0),
    "DepthwiseConv2D.__init__: depth_multiplier must be": lambda: DepthwiseConv2D(
        1, 1, depth_multiplier=0
    ),
    "DepthwiseConv2D.__init__: stride must be": lambda: DepthwiseConv2D(1, 1, stride=0),
    "DepthwiseConv2D.__init__: padding must be": lambda: DepthwiseConv2D(1, 1, padding="all"),
    "DepthwiseConv2D.__init__: dilation must be": lambda: DepthwiseConv2D(1, 1, dilation=0),
    "DepthwiseConv2D.__init__: activation must be": lambda: DepthwiseConv2D(1, 1, "relu"),
    "DepthwiseConv2D.__init__: use_bias must be": lambda: DepthwiseConv2D(1, 1, use_bias=0),
    "DepthwiseConv2D.__init__: kernel_initializer must be": lambda: DepthwiseConv2D(
        1, 1, kernel_initializer=HeNormal
    ),
    "DepthwiseConv2D.__init__: bias_initializer must be": lambda: DepthwiseConv2D(
        1, 1, bias_initializer=1
    ),
    "SeparableConv2D.__init__: n_in must be": lambda: SeparableConv2D(0, 1, 3),
    "SeparableConv2D.__init__: n_out must be": lambda: SeparableConv2D(1, 0, 3),
    "SeparableConv2D.__init__: kernel_size must be": lambda: SeparableConv2D(1, 1, (3, 0)),
    "SeparableConv2D.__init__: activation must be": lambda: SeparableConv2D(1, 1, 1, ReLU),
    "SeparableConv2D.__init__: depth_multiplier must be": lambda: SeparableConv2D(
        1, 1, 1, depth_multiplier=1.5
    ),
    "SeparableConv2D.__init__: stride must be": lambda: SeparableConv2D(1, 1, 1, stride="1"),
    "SeparableConv2D.__init__: padding must be": lambda: SeparableConv2D(1, 1, 1, padding="no"),
    "SeparableConv2D.__init__: dilation must be": lambda: SeparableConv2D(1, 1, 1, dilation=-1),
    "SeparableConv2D.__init__: use_bias must be": lambda: SeparableConv2D(1, 1, 1, use_bias=None),
    "SeparableConv2D.__init__: depthwise_initializer must be": lambda: SeparableConv2D(
        1, 1, 1, depthwise_initializer=0
    ),
    "SeparableConv2D.__init__: pointwise_initializer must be": lambda: SeparableConv2D(
        1, 1, 1, pointwise_initializer=0
    ),
    "SeparableConv2D.__init__: bias_initializer must be": lambda: SeparableConv2D(
        1, 1, 1, bias_initializer=0
    ),
    "SeparableConv2D.__init__: name must be": lambda: SeparableConv2D(1, 1, 1, name=""),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


@pytest.mark.parametrize("make", [DepthwiseConv2D, lambda n, size: SeparableConv2D(n, 3, size)])
def test_samples_of_other_axes_or_sizes_are_refused(make):
    for shape in ((4, 4, 3), (4, 2), (2, 4, 4, 2)):
        with pytest.raises(ShapeError, match="input_shape must be"):
            Sequential([make(2, 3)], input_shape=shape)
    with pytest.raises(ShapeError, match=r"DepthwiseConv2D.build: .* of length 3 or more along"):
        Sequential([make(2, 3)], input_shape=(2, 4, 2))
