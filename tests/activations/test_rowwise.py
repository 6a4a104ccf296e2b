import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import LogSoftmax, Softmax, Softmin, Sparsemax


def test_softmax_rows_are_shares():
    z = np.random.default_rng(0).normal(0, 5, size=(4, 3))
    y = Softmax().forward(z)
    assert_allclose(y.sum(axis=1), 1, rtol=1e-14)
    assert_allclose(y, Softmax().forward(z + 1000), rtol=1e-10)
    assert_allclose(np.log(y[:, 0] / y[:, 1]), z[:, 0] - z[:, 1], rtol=1e-10)


def test_softmax_backward_is_its_jacobian():
    rng = np.random.default_rng(0)
    z, dy = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    y = Softmax().forward(z)
    for row in range(4):
        jacobian = np.diag(y[row]) - np.outer(y[row], y[row])
        assert_allclose(Softmax().backward(dy, z, y)[row], jacobian @ dy[row], rtol=1e-12)


def test_softmin_is_softmax_upside_down():
    rng = np.random.default_rng(0)
    z, dy = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    y = Softmin().forward(z)
    assert_array_equal(y, Softmax().forward(-z))
    assert_array_equal(Softmin().backward(dy, z, y), -Softmax().backward(dy, -z, y))


def test_log_softmax_keeps_what_softmax_rounds_to_0():
    z = np.array([[0.0, -1000.0, 3.0], [1.0, 1.0, 1.0]])
    y = LogSoftmax().forward(z)
    assert_allclose(y[0], z[0] - 3 - np.log1p(np.exp(-3)), rtol=1e-14)
    assert_allclose(np.exp(y[1]), 1 / 3)


def nearest_point(z):
    """The projection of a vector onto the simplex, by bisection for its threshold."""
    low, high = z.min() - 1, z.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(z - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(z - low, 0)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=7), st.sampled_from([1.0, 1e-3, 40.0]))
def test_sparsemax_is_the_nearest_point_of_the_simplex(units, scale):
    z = np.array([units]) * scale
    y = Sparsemax().forward(z)
    assert_allclose(y[0], nearest_point(z[0]), atol=1e-12 * max(1, scale))
    assert_allclose(y.sum(), 1, rtol=1e-12)


def test_sparsemax_keeps_ties_equal():
    y = Sparsemax().forward(np.array([[1.0, 1.0, 0.0, 1.0], [7.0, 7.0, 7.0, 7.0]]))
    assert_allclose(y, [[1 / 3, 1 / 3, 0, 1 / 3], [0.25, 0.25, 0.25, 0.25]])


@pytest.mark.parametrize("kind", [Softmax, Softmin, Sparsemax])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shares_at_infinity(kind, dtype):
    inf = np.inf
    z = np.array([[inf, 0, 1], [inf, 2, inf], [-inf, 4, 4], [-inf, -inf, -inf]], dtype)
    z = -z if kind is Softmin else z
    with np.errstate(all="raise", under="ignore"):
        y = kind().forward(z)
        dz = kind().backward(np.ones_like(z), z, y)
    assert_allclose(y, [[1, 0, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [1 / 3] * 3], rtol=1e-6)
    assert_allclose(dz, 0, atol=1e-6)


def test_log_softmax_at_infinity():
    z = np.array([[np.inf, 0, 1], [-np.inf, 4, 4]])
    with np.errstate(all="raise", under="ignore"):
        y = LogSoftmax().forward(z)
    assert_allclose(y[0, 0], 0)
    assert_allclose(y[1, 1:], -np.log(2))
    assert (y[[0, 0, 1], [1, 2, 0]] < -1e300).all()
