import numpy as np
from numpy.testing import assert_allclose

from layerkit import LogSigmoid, Sigmoid, Softsign, TanhShrink


def test_log_sigmoid_is_the_logarithm_where_that_has_digits():
    z = np.linspace(-30, 30, 61)[None]
    assert_allclose(np.exp(LogSigmoid().forward(z)), Sigmoid().forward(z), rtol=1e-14)
    # Where sigmoid is 1 to the last bit, its logarithm still is not 0.
    assert_allclose(LogSigmoid().forward(np.array([[50.0]])), [[-np.exp(-50)]], rtol=1e-14)


def test_softsign_and_tanh_shrink_are_odd():
    z = np.linspace(0, 9, 19)[None]
    for activation in (Softsign(), TanhShrink()):
        assert_allclose(activation.forward(-z), -activation.forward(z))
        assert_allclose(activation.derivative(-z, z), activation.derivative(z, z))
