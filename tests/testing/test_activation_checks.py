"""The suite for activations: all of the built-in ones pass."""

import math

import numpy as np
import pytest

import layerkit
from layerkit import ELU, Activation, ArgumentError, Dense, LeakyReLU
from layerkit.testing import CheckError, activation_checks, check_activation

BUILT_IN = sorted(
    name
    for name in layerkit.__all__
    if isinstance(getattr(layerkit, name), type)
    and issubclass(getattr(layerkit, name), Activation)
    and name != "Activation"
)


def test_all_are_found():
    assert len(BUILT_IN) >= 10


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("seed", [0, 1])
def test_built_in_activations_pass(name, seed):
    check_activation(getattr(layerkit, name), seed=seed)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LeakyReLU(0.3),
        lambda: LeakyReLU(-1),
        lambda: ELU(0.5),
        lambda: ELU(3),
        lambda: layerkit.CELU(0.3),
        lambda: layerkit.GELU(approximate=True),
        lambda: layerkit.HardShrink(1.0),
        lambda: layerkit.HardTanh(-2.5, 0.5),
        lambda: layerkit.SoftShrink(1.0),
        lambda: layerkit.Squareplus(0.5),
        lambda: layerkit.Threshold(1.0, -3.0),
    ],
)
def test_with_other_arguments_too(make):
    check_activation(make)


class Snake(Activation):
    """With functions of single numbers too, for the compiled engine."""

    def __init__(self, a=1.0):
        self.a = a

    def value(self, z):
        return z + np.sin(self.a * z) ** 2 / self.a

    def derivative(self, z, y):
        return 1 + np.sin(2 * self.a * z)

    def scalar_functions(self):
        a = self.a
        return lambda z: z + math.sin(a * z) ** 2 / a, lambda z, y: 1 + math.sin(2 * a * z)


class HardTanh(Activation):
    """Two kinks; the derivative at each is one of the slopes beside it."""

    def value(self, z):
        return np.clip(z, -1, 1)

    def derivative(self, z, y):
        return (abs(z) < 1).astype(z.dtype)


class Maxout(Activation):
    """The larger of each pair, twice: not elementwise, with kinks."""

    def forward(self, z):
        other = z[:, ::-1]
        return np.maximum(z, other)

    def backward(self, dy, z, y):
        mine = z >= z[:, ::-1]
        return dy * mine + (dy * ~mine)[:, ::-1]


class TanhGELU(Activation):
    """½ z (1 + tanh u), whose digits cancel far below 0: noise that is no error."""

    factor = float(np.sqrt(2 / np.pi))

    def value(self, z):
        return 0.5 * z * (1 + np.tanh(self.factor * (z + 0.044715 * z**3)))

    def derivative(self, z, y):
        t = np.tanh(self.factor * (z + 0.044715 * z**3))
        slope = self.factor * (1 + 3 * 0.044715 * z * z)
        return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * slope


@pytest.mark.parametrize("seed", range(10))
def test_digits_that_cancel_are_no_false_alarm(seed):
    check_activation(TanhGELU, seed=seed)


@pytest.mark.parametrize("make", [HardTanh, Maxout])
def test_activations_of_other_kinds_pass(make):
    for check in activation_checks(make):
        # Where a pair is equal, Maxout passes the gradient of both to both.
        if (make, check.name) != (Maxout, "dense_gradients_at_ties"):
            check()


def test_the_checks_of_a_layer_are_among_them():
    names = [check.name for check in activation_checks(HardTanh)]
    assert {"kinks", "out", "dense_training_steps"} <= set(names)
    assert len(set(names)) == len(names)


def test_what_is_no_activation_is_refused():
    with pytest.raises(ArgumentError, match="an instance of Activation; got Dense"):
        check_activation(lambda: Dense(3, 2))
    with pytest.raises(ArgumentError, match="seed must be a whole number"):
        check_activation(HardTanh, seed=-1)
    message = "check_activation.make: make must be an activation, its class, or a function that"
    with pytest.raises(ArgumentError, match=message):
        check_activation(Dense(3, 2))


def test_an_instance_is_checked_and_stays_as_it_is():
    activation = LeakyReLU(0.1)
    before = dict(vars(activation))
    check_activation(activation)
    assert vars(activation) == before


def test_a_class_defined_inside_a_function_passes():
    class Local(HardTanh):
        pass

    check_activation(Local)
    check_activation(Local())


def test_an_instance_that_is_wrong_is_found():
    class Wrong(HardTanh):
        def backward(self, dy, z, y):
            return -super().backward(dy, z, y)

    with pytest.raises(CheckError, match="z: wrong"):
        check_activation(Wrong())
