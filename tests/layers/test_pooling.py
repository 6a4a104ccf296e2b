import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_windows import pool
from recorded_layers import RECORDED, compare

from layerkit import (
    ArgumentError,
    AveragePooling1D,
    AveragePooling2D,
    MaxPooling1D,
    MaxPooling2D,
    Sequential,
    ShapeError,
)
from layerkit.testing import check_layer, parametrize_with_checks


@parametrize_with_checks(
    [
        (MaxPooling2D(2), (4, 4, 2)),
        (MaxPooling2D(2), (5, 3, 1)),
        (MaxPooling2D((2, 3), stride=1, padding="same"), (3, 4, 2)),
        (MaxPooling2D(2, stride=(1, 2), padding=1), (None, None, 2)),
        (MaxPooling1D(3, stride=2), (6, 2)),
        (MaxPooling1D(2, padding="same"), (None, 2)),
        (AveragePooling2D(2), (4, 4, 2)),
        (AveragePooling2D((3, 2), stride=2, padding="same"), (5, 4, 2)),
        (AveragePooling2D(2, stride=1, padding=(0, 1)), (None, 3, 2)),
        (AveragePooling1D(2), (5, 3)),
        (AveragePooling1D(3, stride=1, padding=2), (None, 2)),
    ]
)
def test_conformance(check):
    check()


CALLS = sorted(call for call in RECORDED if "Pooling" in call and "Global" not in call)


@pytest.mark.parametrize("call", CALLS)
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


def test_there_are_recorded_cases():
    assert len(CALLS) >= 7


def plain(layer):
    """What a layer computes, in loops."""
    function = np.nanmax if "Max" in type(layer).__name__ else np.nanmean

    def reference(x):
        if layer.n_axes == 2:
            return pool(function, x, layer.pool_size, layer.windows.stride, layer.padding)
        padding = layer.padding if isinstance(layer.padding, str) else (0, layer.padding)
        return pool(function, x[:, None], (1, layer.pool_size), layer.windows.stride, padding)[:, 0]

    return reference


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (MaxPooling2D(2, padding="same"), (5, 4, 2)),
        (MaxPooling2D((1, 3), stride=(2, 1), padding=(0, 2)), (None, None, 2)),
        (MaxPooling1D(4, stride=3, padding="same"), (None, 2)),
        (AveragePooling2D(3, stride=2, padding="same"), (None, 4, 2)),
        (AveragePooling1D(4, stride=1, padding="same"), (6, 2)),
    ],
)
def test_references(layer, shape):
    check_layer(layer, shape, reference=plain(layer))


@st.composite
def pools(draw):
    size = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    margins = st.tuples(*(st.integers(0, n - 1) for n in size))
    padding = draw(st.sampled_from(["valid", "same"]) | margins)
    least = [
        1 if padding == "same" else max(1, n - (0 if padding == "valid" else 2 * padding[axis]))
        for axis, n in enumerate(size)
    ]
    lengths = [n + draw(st.integers(0, 7)) for n in least]
    kind = draw(st.sampled_from([MaxPooling2D, AveragePooling2D]))
    return kind(size, stride=stride, padding=padding), (draw(st.integers(1, 3)), *lengths, 2)


@given(pools(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_setting_is_as_in_loops_and_its_gradient_is_adjoint(drawn, has_ties):
    layer, shape = drawn
    rng = np.random.default_rng(0)
    x = rng.integers(3, size=shape).astype(float) if has_ties else rng.normal(size=shape)
    model = Sequential([layer], input_shape=shape[1:])
    y = model.forward(x, training=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a window that lies outside, if there were one
        np.testing.assert_allclose(y, plain(layer)(x), rtol=1e-12, atol=1e-12)
    assert y.shape[1:] == model.output_shape
    dy = rng.normal(size=y.shape)
    dx = model.backward(dy)
    # Both are linear between kinks: y is dx · x, summed over what dy weighs.
    np.testing.assert_allclose((dx * x).sum(), (dy * y).sum(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(dx.sum(), dy.sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("given", [{}, {"stride": 1}])
def test_the_first_of_the_largest_receives_the_gradient(given):
    model = Sequential([MaxPooling2D(2, **given)], input_shape=(2, 2, 1))
    for image, expected in (
        ([[5, 5], [5, 5]], [[1, 0], [0, 0]]),
        ([[1, 5], [5, 5]], [[0, 1], [0, 0]]),
        ([[1, 1], [5, 5]], [[0, 0], [1, 0]]),
        ([[1, 1], [1, 5]], [[0, 0], [0, 1]]),
    ):
        model.forward(np.reshape(image, (1, 2, 2, 1)), training=True)
        dx = model.backward(np.ones((1, 1, 1, 1)))
        np.testing.assert_array_equal(dx[0, :, :, 0], expected)


def test_padding_is_no_zero():
    """Of negative numbers the largest is one of them, and a mean is of those that are there."""
    x = np.array([[[-4.0], [-2.0], [-6.0]]])
    for layer, expected in (
        (MaxPooling1D(2, padding="same"), [-2, -6]),
        (AveragePooling1D(2, padding="same"), [-3, -6]),
        (AveragePooling1D(2, padding=1), [-4, -4]),
    ):
        model = Sequential([layer], input_shape=(3, 1))
        np.testing.assert_array_equal(model.predict(x)[0, :, 0], expected)


def test_a_window_may_be_far_larger_than_a_sample():
    x = np.array([[[3.0], [8.0], [1.0]]])
    for layer, expected in ((MaxPooling1D, 8), (AveragePooling1D, 4)):
        model = Sequential([layer(10**9, padding="same")], input_shape=(3, 1))
        np.testing.assert_array_equal(model.predict(x), [[[expected]]])


BAD = {
    "MaxPooling2D.__init__: pool_size must be": lambda: MaxPooling2D(0),
    r"MaxPooling2D.__init__: pool_size must be .* 2 of them": lambda: MaxPooling2D((2, 2, 2)),
    "MaxPooling2D.__init__: stride must be": lambda: MaxPooling2D(2, stride=0),
    "AveragePooling2D.__init__: padding must be 'valid'": lambda: AveragePooling2D(padding="no"),
    "AveragePooling2D.__init__: padding must be below pool_size; got 2. A window": lambda: (
        AveragePooling2D(2, padding=2)
    ),
    r"MaxPooling2D.__init__: padding must be below pool_size; got \(0, 1\)": lambda: MaxPooling2D(
        (3, 1), padding=(0, 1)
    ),
    "MaxPooling1D.__init__: pool_size must be": lambda: MaxPooling1D((2,)),
    "AveragePooling1D.__init__: name must be": lambda: AveragePooling1D(2, name=3),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (MaxPooling2D(), (4, 2), "MaxPooling2D.build: input_shape must be of 3 axes, .* images"),
        (MaxPooling1D(), (4, 4, 2), "MaxPooling1D.build: .* of 2 axes, those of a series and"),
        (AveragePooling2D(3), (9, 2, 1), "AveragePooling2D.build: .* of length 3 or more along"),
    ],
)
def test_samples_of_other_axes_are_refused(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        Sequential([layer], input_shape=shape)


def test_series_that_are_too_short_are_refused():
    model = Sequential([MaxPooling1D(3)], input_shape=(None, 2))
    with pytest.raises(
        ShapeError, match=r"MaxPooling1D.compute_forward: x must be of length 3 or more"
    ):
        model.predict(np.ones((1, 2, 2)))
