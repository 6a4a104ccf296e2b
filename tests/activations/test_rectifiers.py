import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus


def test_small_slopes_keep_their_digits():
    z = np.array([[-30.0, -36.5]])
    ones = np.ones_like(z)
    for activation in (ELU(), Softplus(), Sigmoid()):
        slopes = activation.backward(ones, z, activation.forward(z))
        assert_allclose(slopes, np.exp(z), rtol=1e-12)


def test_relu_kin_take_the_derivative_1_at_0():
    z = np.array([[-1.0, -0.0, 0.0, 1.0]])
    for activation, below in [(ReLU(), 0), (LeakyReLU(0.3), 0.3), (ELU(2.0), 2 * np.exp(-1))]:
        slopes = activation.backward(np.ones_like(z), z, activation.forward(z))
        assert_allclose(slopes, [[below, 1, 1, 1]])
        assert_allclose(activation.derivative(z, z), slopes)


def test_their_arguments_count():
    z = np.array([[-2.0, 3.0]])
    assert_allclose(LeakyReLU(0.25).forward(z), [[-0.5, 3]])
    assert_allclose(ELU(0.5).forward(z), [[0.5 * (np.exp(-2) - 1), 3]])


@pytest.mark.parametrize("slope", [0.01, 0.1, 0.3, 1 / 3, 0.7])
def test_leaky_relu_leaves_what_is_above_0_bit_for_bit(slope):
    z = np.random.default_rng(0).uniform(0, 9, size=(1, 99))
    assert_array_equal(LeakyReLU(slope).forward(z), z)


def test_softplus_and_gelu_keep_small_numbers():
    assert Softplus().forward(np.array([[-40.0]]))[0, 0] == pytest.approx(math.exp(-40), rel=1e-14)
    gelu = GELU().forward(np.array([[-6.0]]))[0, 0]
    u = np.sqrt(2 / np.longdouble(math.pi)) * (-6 + np.longdouble("0.044715") * (-6) ** 3)
    # ½ (1 + tanh u) as a quotient: the textbook form cancels far below 0.
    assert gelu == pytest.approx(float(-6 / (1 + np.exp(-2 * u))), rel=1e-13)
    assert gelu != 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [SiLU(), GELU()], ids=repr)
def test_what_vanishes_far_from_0_does_so_at_any_size(activation, dtype):
    largest = np.finfo(dtype).max
    far = np.array([[90.0, 800.0, 1e6, 1e20, 1e30, largest, np.inf]], dtype)
    with np.errstate(all="raise", under="ignore"):
        assert_array_equal(activation.forward(far), far)
        assert_array_equal(activation.derivative(far, far), np.ones_like(far))
        assert_allclose(activation.forward(-far), np.zeros_like(far), rtol=0, atol=1e-30)
        assert_allclose(activation.derivative(-far, -far), np.zeros_like(far), rtol=0, atol=1e-30)
