import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import CELU, ELU, SELU, LeakyReLU, ReLU, ReLU6, Sigmoid, Softplus, Threshold


def test_small_slopes_keep_their_digits():
    z = np.array([[-30.0, -36.5]])
    ones = np.ones_like(z)
    for activation in (ELU(), Softplus(), Sigmoid()):
        slopes = activation.backward(ones, z, activation.forward(z))
        assert_allclose(slopes, np.exp(z), rtol=1e-12)


def test_relu_kin_take_the_derivative_1_at_0():
    z = np.array([[-1.0, -0.0, 0.0, 1.0]])
    for activation, below in [
        (ReLU(), 0),
        (ReLU6(), 0),
        (LeakyReLU(0.3), 0.3),
        (ELU(2.0), 2 * np.exp(-1)),
        (CELU(2.0), np.exp(-0.5)),
    ]:
        slopes = activation.backward(np.ones_like(z), z, activation.forward(z))
        assert_allclose(slopes, [[below, 1, 1, 1]])
        assert_allclose(activation.derivative(z, z), slopes)


def test_their_arguments_count():
    z = np.array([[-2.0, 3.0]])
    assert_allclose(LeakyReLU(0.25).forward(z), [[-0.5, 3]])
    assert_allclose(ELU(0.5).forward(z), [[0.5 * (np.exp(-2) - 1), 3]])
    assert_allclose(CELU(0.5).forward(z), [[0.5 * (np.exp(-4) - 1), 3]])
    assert_allclose(Threshold(-2.5, -7.0).forward(z), z)
    assert_allclose(Threshold(3.0, -7.0).forward(z), [[-7, -7]])


def test_derivatives_where_others_have_kinks():
    z = np.array([[0.0, 6.0, 7.0]])
    assert_allclose(ReLU6().derivative(z, z), [[1, 1, 0]])
    assert_allclose(Threshold().derivative(z, z), [[0, 1, 1]])
    assert_allclose(SELU().derivative(z, z), np.full((1, 3), 1.0507009873554804934))


def test_selu_keeps_mean_and_variance():
    # Trapezoids to ±12, beyond which the normal distribution is below 1e-32.
    z = np.linspace(-12, 12, 200_001)[None]
    weight = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (z[0, 1] - z[0, 0])
    y = SELU().forward(z)
    assert_allclose((weight * y).sum(), 0, atol=1e-9)
    assert_allclose((weight * y * y).sum(), 1, rtol=1e-9)


@pytest.mark.parametrize("slope", [0.01, 0.1, 0.3, 1 / 3, 0.7])
def test_leaky_relu_leaves_what_is_above_0_bit_for_bit(slope):
    z = np.random.default_rng(0).uniform(0, 9, size=(1, 99))
    assert_array_equal(LeakyReLU(slope).forward(z), z)
