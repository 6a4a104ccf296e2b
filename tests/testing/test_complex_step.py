"""Complex steps: exact for analytic code, refused or inconclusive for other code."""

import numpy as np
import pytest

from layerkit import ArgumentError, Constant, Dense, Layer, Normal, ReLU, Sequential, Sigmoid, Tanh
from layerkit.testing import check_gradients


class Cubic(Layer):
    """y = (x · kernel)³ · gain, which is analytic."""

    error = 0.0

    def build(self, input_shape):
        self.kernel = self.add_parameter("kernel", (*input_shape, 2), Normal(1.0))
        self.gain = self.add_parameter("gain", (2,), Constant(1.0))
        return (2,)

    def compute_forward(self, x, *, training):
        z = x @ self.kernel.value
        return z**3 * self.gain.value, (x, z)

    def compute_backward(self, dy, cache):
        x, z = cache
        self.gain.grad = (dy * z**3).sum(axis=0)
        dz = dy * 3 * z**2 * self.gain.value * (1 + self.error)
        self.kernel.grad = x.T @ dz
        return dz @ self.kernel.value.T


X = np.random.default_rng(0).normal(size=(4, 3))


def test_right():
    report = check_gradients(Cubic(), X, complex_step=True)
    assert report.passed
    assert [array.name for array in report.arrays] == ["x", "kernel", "gain"]


def test_dense_layers_take_complex_numbers():
    model = Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=0)
    values = model.values.copy()
    assert check_gradients(model, X, complex_step=True).passed
    assert model.values.dtype == np.float64
    assert (model.values == values).all()


def test_errors_that_differences_cannot_see():
    layer = Cubic()
    layer.error = 1e-9
    assert check_gradients(layer, X).passed
    report = check_gradients(layer, X, complex_step=True, raise_on_failure=False)
    assert [array.name for array in report.arrays if array.n_wrong] == ["x", "kernel"]
    assert report.replay == "check_gradients(layer, x, seed=0, complex_step=True)"


def test_code_that_refuses_complex_numbers_is_said_to():
    with pytest.raises(ArgumentError, match="complex_step must be False for code that does not"):
        check_gradients(Sequential([Dense(3, 2, Sigmoid())]), X, complex_step=True)
    with pytest.raises(ArgumentError, match="complex_step must be False"):
        check_gradients(Sequential([Dense(3, 2, ReLU())]), X, complex_step=True)


def test_code_that_takes_them_but_is_not_analytic_is_inconclusive():
    class Size(Layer):
        def compute_forward(self, x, *, training):
            return abs(x) * x, x

        def compute_backward(self, dy, cache):
            return 2 * abs(cache) * dy

    assert check_gradients(Size(), X).passed
    report = check_gradients(Size(), X, complex_step=True, raise_on_failure=False)
    assert report.inconclusive
