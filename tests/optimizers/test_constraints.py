"""Constraints: what they make of parameters, of which ones, and when."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    ArgumentError,
    Dense,
    MaxNorm,
    MinMaxNorm,
    NonNegative,
    Sequential,
    Tanh,
    UnitNorm,
)

RNG = np.random.default_rng(0)
W = np.array([[0.5, -3.0, 0.0], [1.0, 4.0, 0.0]])
# Of keras.constraints, Keras 3 in float32, whose epsilon of 1e-7 is in each of them.
KERAS = {
    MaxNorm(2.0): [[0.5, -1.2, 0.0], [1.0, 1.6, 0.0]],
    MaxNorm(1.0, 1): [[0.16439898, -0.98639390, 0.0], [0.24253562, 0.97014248, 0.0]],
    UnitNorm(): [[0.44721356, -0.6, 0.0], [0.89442712, 0.8, 0.0]],
    MinMaxNorm(2.0, 3.0, rate=0.5): [[0.69721355, -2.4, 0.0], [1.3944271, 3.2, 0.0]],
    NonNegative(): [[0.5, 0.0, 0.0], [1.0, 4.0, 0.0]],
}


@pytest.mark.parametrize("constraint", KERAS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_values_are_those_of_keras(constraint, dtype):
    before = W.astype(dtype)
    given = before.copy()
    found = constraint.project(given)
    assert found.dtype == dtype
    assert_allclose(found, KERAS[constraint], rtol=1e-6)
    assert_array_equal(given, before)


def test_images_have_the_axes_of_their_kernels():
    kernel = RNG.normal(size=(3, 3, 4, 5))
    found = MaxNorm(0.5, (0, 1, 2)).project(kernel)
    norms = np.sqrt((kernel**2).sum(axis=(0, 1, 2)))
    assert (norms > 0.5).all()
    assert_allclose(found, kernel * 0.5 / norms, rtol=1e-12)
    assert_array_equal(found, MaxNorm(0.5, (-4, 1, -2)).project(kernel))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_that_float32_has_not(scale):
    value = (scale * W[:, :2]).astype(np.float32)
    with np.errstate(all="raise"):
        assert_allclose(UnitNorm().project(value), UnitNorm().project(W[:, :2]), rtol=1e-6)


SIZES = st.floats(-1e6, 1e6)


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=3), elements=SIZES))
def test_what_is_allowed_stays_as_it_is(value):
    norms = np.sqrt((value**2).sum(axis=0))
    for constraint in (MaxNorm(3.0), MinMaxNorm(1.0, 3.0), UnitNorm(), NonNegative()):
        once = constraint.project(value)
        # Vectors without a direction stay, and a norm is computed up to rounding.
        assert_allclose(constraint.project(once), once, rtol=1e-14)
    shorter = norms < 3
    assert_array_equal(MaxNorm(3.0).project(value)[:, shorter], value[:, shorter])
    between = (norms < 3) & (norms > 1)
    assert_array_equal(MinMaxNorm(1.0, 3.0).project(value)[:, between], value[:, between])
    assert (np.sqrt((MaxNorm(3.0).project(value) ** 2).sum(axis=0)) <= 3 * (1 + 1e-14)).all()


def network(seed=0):
    return Sequential([Dense(3, 6, Tanh(), name="first"), Dense(6, 2, name="last")], seed=seed)


def test_names_and_patterns_choose():
    model = network()

    def chosen(parameters):
        return [*NonNegative(parameters=parameters).chosen(model)]

    assert chosen(None) == ["first.kernel", "last.kernel"]
    assert chosen(["first"]) == ["first.kernel"]
    assert chosen(["*.bias"]) == ["first.bias", "last.bias"]
    assert chosen(["last.bias", "first"]) == ["last.bias", "first.kernel"]
    assert chosen(["*st*"]) == ["first.kernel", "last.kernel"]


BAD = {
    "MaxNorm.__init__: limit must be": lambda: MaxNorm(0),
    "MaxNorm.__init__: axis must be a whole number or a tuple": lambda: MaxNorm(1, "0"),
    "UnitNorm.__init__: axis must be": lambda: UnitNorm(()),
    "UnitNorm.__init__: axis must be a": lambda: UnitNorm((0, True)),
    "UnitNorm.__init__: parameters must be": lambda: UnitNorm(parameters="kernel"),
    "MinMaxNorm.__init__: maximum must be": lambda: MinMaxNorm(0, 0),
    "MinMaxNorm.__init__: minimum must be": lambda: MinMaxNorm(2, 1),
    "MinMaxNorm.__init__: rate must be": lambda: MinMaxNorm(rate=0),
    "NonNegative.__init__: parameters must be": lambda: NonNegative(parameters=3),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()
