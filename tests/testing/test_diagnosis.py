"""The names of causes: each for its own pattern, and none where there is none.

The wrong layers, activations and losses in ``tests/mutants`` say which name each gets.
"""

import numpy as np
import pytest

from layerkit import Activation, Dense, Sequential, Sigmoid, Tanh
from layerkit.testing import check_gradients
from layerkit.testing.activation_checks import Subject
from layerkit.testing.diagnosis import UNKNOWN
from layerkit.testing.gradient_check import POINTS, gradient_report
from layerkit.testing.problems import ActivationProblem

X = np.random.default_rng(0).normal(size=(4, 3))


def diagnosis(change, activation=None):
    """Diagnose a Dense layer whose bias gradient is changed."""

    class Changed(Dense):
        def compute_backward(self, dy, cache, *, need_dx=True):
            dx = super().compute_backward(dy, cache)
            self.bias.grad = change(self.bias.grad.copy(), len(dy))
            return dx

    model = Sequential([Changed(3, 4, activation)], seed=0)
    report = check_gradients(model, X, raise_on_failure=False)
    assert not report.passed
    assert set(report.diagnoses) == {"layers[0].bias"}
    return report.diagnoses["layers[0].bias"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g, n: -g, "the sign is flipped"),
        (lambda g, n: 2 * g, "twice the true one: a factor of 2"),
        (lambda g, n: g / 2, "half (½) the true one: a factor of 0.5"),
        (lambda g, n: -2 * g, "minus twice the true one: a factor of -2"),
        (lambda g, n: 0.3 * g, "a constant factor 0.3 off"),
        (lambda g, n: n * g, "batch_size times too large: summed over the batch once too often"),
        (lambda g, n: 0 * g, "zero everywhere: nothing is carried back"),
        (lambda g, n: g * [1, 1, -1, 1], "the sign is flipped, only at [2]"),
        (lambda g, n: g[[1, 2, 3, 0]], "the right numbers in the wrong places"),
        (lambda g, n: g + np.inf, "NaN or an infinity"),
    ],
)
def test_factors(change, words):
    assert diagnosis(change).startswith(words)


def test_the_mean_taken_twice():
    words = diagnosis(lambda g, n: g / n)
    assert words.startswith("1 / batch_size of the true one: the mean over the batch was taken tw")


def test_a_factor_that_only_looks_like_the_batch_size_is_a_factor():
    # The given batch has 4 samples; others have other sizes.
    assert diagnosis(lambda g, n: 4 * g) == "a constant factor 4 off"


def test_no_name_is_better_than_a_wrong_one():
    noise = np.random.default_rng(0)
    assert diagnosis(lambda g, n: g + noise.normal(size=4)) == UNKNOWN


SIGMOID = Sigmoid().forward


def of_activation(derivative, value=SIGMOID):
    class Wrong(Activation):
        def forward(self, z):
            return value(z)

        def backward(self, dy, z, y):
            return dy * derivative(z, y)

    problem = ActivationProblem(Wrong(), Subject(Tanh, 0).z())
    report = gradient_report(problem, POINTS, "Wrong()")
    return report.diagnoses["z"]


@pytest.mark.parametrize(
    ("derivative", "words"),
    [
        (lambda z, y: (y * (1 - y)) ** 2, "the derivative is applied twice"),
        (lambda z, y: np.ones_like(z), "the derivative is missing: dy is passed on"),
        (lambda z, y: y, "the value y is used where the derivative belongs"),
        (lambda z, y: z * (1 - z), "the derivative is taken at the input z"),
        (lambda z, y: y * (1 - y) + 0.5, "the derivative is off by the constant +0.5"),
        (lambda z, y: np.where(z < 0, 2, 1) * y * (1 - y), "twice the true one, only where the in"),
    ],
)
def test_derivatives(derivative, words):
    assert of_activation(derivative).startswith(words)


def test_a_clip_that_one_pass_ignores():
    words = of_activation(lambda z, y: abs(z) < 1.5, lambda z: z.copy())
    assert words.startswith("wrong only where the input is larger than 1.")


def test_an_array_downstream_points_at_the_one_that_tells():
    class Twice(Dense):
        def compute_backward(self, dy, cache, *, need_dx=True):
            x, z, y, ones = cache
            dy = self.activation.backward(dy, z.copy(), y)
            return super().compute_backward(dy, (x, z, y, ones))

    report = check_gradients(Sequential([Twice(3, 4, Tanh())]), X, raise_on_failure=False)
    assert report.diagnoses == {
        "x": "see layers[0].bias",
        "layers[0].kernel": "see layers[0].bias",
        "layers[0].bias": "the derivative is applied twice",
    }
