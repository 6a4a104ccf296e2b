"""The checks of a layer's gradients: what each of them alone finds."""

import numpy as np
import pytest

from layerkit import Dense, Layer
from layerkit.testing import CheckError, InconclusiveError, layer_checks


def failing(make, shape=None):
    """Run the checks one by one, and return the messages of those that fail, by name."""
    failures = {}
    for check in layer_checks(make, shape):
        try:
            check()
        except CheckError as error:
            failures[check.name] = str(error)
    return failures


def test_inconclusive_is_a_failure_of_its_own():
    class Coarse(Layer):
        """Rounded far more coarsely than any step."""

        def compute_forward(self, x, *, training):
            return np.where(np.floor(x * 1e9) % 2 == 0, x, -x), np.floor(x * 1e9) % 2 == 0

        def compute_backward(self, dy, cache):
            return np.where(cache, dy, -dy)

    gradients, *_ = layer_checks(Coarse, (2,))
    with pytest.raises(InconclusiveError, match="inconclusive"):
        gradients()


class Largest(Layer):
    """The largest of each sample, with a gradient for each that is as large."""

    tied = staticmethod(lambda x: (x == x.max(axis=1, keepdims=True)).astype(x.dtype))

    def build(self, input_shape):
        return (1,)

    def compute_forward(self, x, *, training):
        return x.max(axis=1, keepdims=True), x

    def compute_backward(self, dy, cache):
        return dy * self.tied(cache)


def test_ties():
    failures = failing(Largest, (3,))
    assert set(failures) == {"gradients_at_ties"}
    assert "the gradient goes to more than one, or to none, of tied inputs" in str(failures)


class Clipped(Dense):
    """A backward pass that looks at the size of dy."""

    def compute_backward(self, dy, cache, *, need_dx=True):
        return super().compute_backward(np.clip(dy, -50, 50), cache, need_dx=need_dx)


def test_a_backward_pass_that_is_not_linear():
    assert set(failing(lambda: Clipped(3, 2))) == {"backward_is_linear"}


class Adds(Dense):
    def compute_backward(self, dy, cache, *, need_dx=True):
        dx = super().compute_backward(dy, cache, need_dx=need_dx)
        self.bias.grad += 1e-9
        return dx


def test_gradients_from_nowhere():
    """Far too small for differences, but not for a dy of zero."""
    assert "zero_cotangent" in failing(lambda: Adds(3, 2))
