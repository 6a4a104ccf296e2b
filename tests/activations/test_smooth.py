import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import GELU, Mish, SiLU, Softplus, Squareplus


def test_softplus_and_gelu_keep_small_numbers():
    assert Softplus().forward(np.array([[-40.0]]))[0, 0] == pytest.approx(math.exp(-40), rel=1e-14)
    gelu = GELU(approximate=True).forward(np.array([[-6.0]]))[0, 0]
    u = np.sqrt(2 / np.longdouble(math.pi)) * (-6 + np.longdouble("0.044715") * (-6) ** 3)
    # ½ (1 + tanh u) as a quotient: the textbook form cancels far below 0.
    assert gelu == pytest.approx(float(-6 / (1 + np.exp(-2 * u))), rel=1e-13)
    assert gelu != 0
    exact = GELU().forward(np.array([[-30.0]]))[0, 0]
    assert exact == pytest.approx(-15 * math.erfc(30 / math.sqrt(2)), rel=1e-12)


def test_gelu_in_old_files_is_the_approximation():
    assert repr(GELU.from_config({})) == "GELU(approximate=True)"
    for gelu in (GELU(), GELU(approximate=True)):
        assert repr(GELU.from_config(gelu.get_config())) == repr(gelu)


def test_the_two_kinds_of_gelu_differ_by_little_but_differ():
    z = np.linspace(-5, 5, 1001)[None]
    off = abs(GELU().forward(z) - GELU(approximate=True).forward(z))
    assert 4e-4 < off.max() < 5e-4


def test_squareplus_is_rounder_with_a_larger_b():
    assert_allclose(Squareplus(16.0).forward(np.zeros((1, 1))), [[2.0]])
    # Far below 0 it is b / 4|z|, of which the sum z + √… would leave no digit.
    assert_allclose(Squareplus(4.0).forward(np.array([[-1e9]])), [[1e-9]])


def test_mish_keeps_its_digits_where_its_slope_is_nearly_1():
    z = np.array([[15.0]])
    w = np.tanh(np.log1p(np.exp(np.longdouble(15))))
    exact = w + z * (1 - w * w) / (1 + np.exp(-np.longdouble(15)))
    assert_allclose(Mish().derivative(z, z) - 1, (exact - 1).astype(float), rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [SiLU(), GELU(), GELU(approximate=True), Mish()], ids=repr)
def test_what_vanishes_far_from_0_does_so_at_any_size(activation, dtype):
    largest = np.finfo(dtype).max
    far = np.array([[90.0, 800.0, 1e6, 1e20, 1e30, largest, np.inf]], dtype)
    with np.errstate(all="raise", under="ignore"):
        assert_array_equal(activation.forward(far), far)
        assert_array_equal(activation.derivative(far, far), np.ones_like(far))
        y = activation.forward(-far)
        assert_allclose(y, np.zeros_like(far), rtol=0, atol=1e-30)
        assert_allclose(activation.derivative(-far, y), np.zeros_like(far), rtol=0, atol=1e-30)


@pytest.mark.parametrize("activation", [GELU(), GELU(approximate=True)], ids=repr)
def test_gelu_of_many_numbers_is_that_of_each(activation):
    rng = np.random.default_rng(0)
    for shape in ((1, 32768), (5, 7001), (3, 130, 129)):
        z, dy = rng.normal(0, 20, size=shape), rng.normal(size=shape)
        z.flat[::7] = 0
        y, dz = activation.forward(z), None
        assert_array_equal(y, activation.value(z))
        # What is clipped in one block and not in another differs by nothing but rounding.
        expected = dy * activation.derivative(z, y)
        for laid in (z, np.asfortranarray(z)):
            dz = activation.backward(dy, laid, y)
            assert_allclose(dz, expected, rtol=1e-14, atol=1e-15)
        out = np.asfortranarray(np.empty_like(z))
        assert activation.forward(z, out=out) is out
        assert_array_equal(out, y)
        assert activation.backward(dy, z, y, out=z) is z
        assert_array_equal(z, dz)


def test_gelu_near_0_and_in_float32():
    z = np.array([[0.0, 5e-324, -5e-324, 1e-310, -1e-40, 1e-17, -1e-15, 1e-8]])
    for activation in (GELU(), GELU(approximate=True)):
        y = activation.forward(z)
        assert_allclose(activation.derivative(z, y), 0.5 + 0.7978845608 * z, rtol=1e-15)
    z = np.linspace(-12, 12, 4801).astype(np.float32)
    exact = np.array([z * math.erfc(-z / math.sqrt(2)) / 2 for z in z.tolist()])
    y = GELU().forward(z)
    # Some ulps of ½, and of the exponent z²/2.
    assert_allclose(y, exact, rtol=6e-6, atol=1e-38)
    near = abs(z) < 3
    assert_allclose(y[near], exact[near], rtol=1e-6)
