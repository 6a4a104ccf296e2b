"""Patterns that take the function apart; ``tests/mutants`` has more of each."""

import numpy as np
import pytest

from layerkit import Layer, Normal
from layerkit.testing import check_gradients

X = np.random.default_rng(0).normal(size=(4, 3))


class Mixed(Layer):
    """y = tanh(x) K, for a K that is no parameter."""

    kernel = np.random.default_rng(1).normal(size=(3, 3))

    def compute_forward(self, x, *, training):
        return np.tanh(x) @ self.kernel, x

    def compute_backward(self, dy, cache):
        return self.changed(dy) * (1 - np.tanh(cache) ** 2)

    def changed(self, dy):
        return dy @ self.kernel.T


class Diagonal(Mixed):
    def changed(self, dy):
        return dy * np.diag(self.kernel)


class Turned(Layer):
    def build(self, input_shape):
        self.kernel = self.add_parameter("kernel", (*input_shape, *input_shape), Normal(1))
        return input_shape

    def compute_forward(self, x, *, training):
        return x @ self.kernel.value, x

    def compute_backward(self, dy, cache):
        self.kernel.grad = cache.T @ dy
        return dy @ self.kernel.value


class Sine(Layer):
    def compute_forward(self, x, *, training):
        return np.sin(x), x

    def compute_backward(self, dy, cache):
        return dy * self.slope(cache)

    def slope(self, x):
        return np.cos(x)


class SineTwice(Sine):
    def slope(self, x):
        return np.cos(x) ** 2


class SineMissing(Sine):
    def slope(self, x):
        return np.ones_like(x)


class SineAtOutput(Sine):
    def slope(self, x):
        return np.cos(np.sin(x))


class SineOff(Sine):
    def slope(self, x):
        return np.cos(x) + 0.25


@pytest.mark.parametrize("kind", [Mixed, Sine])
def test_what_is_right_has_no_diagnosis(kind):
    assert check_gradients(kind(), X).diagnoses == {}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Diagonal, "only the diagonal of the Jacobian"),
        (Turned, "transposed"),
        (SineTwice, "the derivative is applied twice"),
        (SineMissing, "the derivative is missing"),
        (SineAtOutput, "the derivative is taken at the output y"),
        (SineOff, r"the derivative is off by the constant +0.25"),
    ],
)
def test_the_pattern_names_the_cause(kind, words):
    report = check_gradients(kind(), X, raise_on_failure=False)
    assert words in report.diagnoses["x"]
