import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import layerkit
from layerkit import GELU, Activation, LogSoftmax, Sigmoid, Softmax, Sparsemax
from layerkit.testing.strategies import concrete

ACTIVATIONS = sorted((kind() for kind in concrete(Activation)), key=repr)
ACTIVATIONS.append(GELU(approximate=True))
ELEMENTWISE = [a for a in ACTIVATIONS if not isinstance(a, Softmax | LogSoftmax | Sparsemax)]

# In extended precision, each straight from its definition.
LONG = np.longdouble


def long_sigmoid(z):
    return 1 / (1 + np.exp(-LONG(z)))


def long_gelu(z):
    z = LONG(z)
    u = np.sqrt(2 / LONG(math.pi)) * (z + LONG("0.044715") * z**3)
    # ½ (1 + tanh u) as a quotient: the textbook form cancels far below 0.
    with np.errstate(over="ignore"):  # 1 / (1 + infinity) is 0, as it should be
        return z * (1 / (1 + np.exp(-2 * u)))


def long_normal(z):
    """½ erfc(−z / √2), by the C library, in double precision."""
    return np.vectorize(lambda z: LONG(math.erfc(-z / math.sqrt(2)) / 2))(np.asarray(z, float))


def long_selu(z):
    alpha, scale = LONG("1.6732632423543772848"), LONG("1.0507009873554804934")
    return scale * np.where(z >= 0, LONG(z), alpha * np.expm1(LONG(z)))


REFERENCE = {
    "Identity()": LONG,
    "Sigmoid()": long_sigmoid,
    "Tanh()": lambda z: np.tanh(LONG(z)),
    "ReLU()": lambda z: np.maximum(LONG(z), 0),
    "LeakyReLU()": lambda z: np.where(z >= 0, LONG(z), LONG(0.01) * z),
    "ELU()": lambda z: np.where(z >= 0, LONG(z), np.expm1(LONG(z))),
    "Softplus()": lambda z: np.log1p(np.exp(LONG(z))),
    "SiLU()": lambda z: z * long_sigmoid(z),
    "GELU()": lambda z: z * long_normal(z),
    "GELU(approximate=True)": long_gelu,
    "CELU()": lambda z: np.where(z >= 0, LONG(z), np.expm1(LONG(z))),
    "SELU()": long_selu,
    "ReLU6()": lambda z: np.minimum(np.maximum(LONG(z), 0), 6),
    "Threshold()": lambda z: np.maximum(LONG(z), 0),
    "HardSigmoid()": lambda z: np.minimum(np.maximum(LONG(z) / 6 + LONG(0.5), 0), 1),
    "HardSiLU()": lambda z: z * np.minimum(np.maximum(LONG(z) / 6 + LONG(0.5), 0), 1),
    "HardTanh()": lambda z: np.minimum(np.maximum(LONG(z), -1), 1),
    "HardShrink()": lambda z: LONG(z) * (abs(z) > 0.5),
    "SoftShrink()": lambda z: np.sign(z) * np.maximum(abs(LONG(z)) - LONG(0.5), 0),
    "LogSigmoid()": lambda z: -np.log1p(np.exp(-LONG(z))),
    "Softsign()": lambda z: LONG(z) / (1 + abs(LONG(z))),
    "TanhShrink()": lambda z: LONG(z) - np.tanh(LONG(z)),
    "Mish()": lambda z: z * np.tanh(np.log1p(np.exp(LONG(z)))),
    "Squareplus()": lambda z: 2 / (np.sqrt(LONG(z) ** 2 + 4) - z),
}


# Made by benchmarks/activation_values.py.
RECORDED = json.loads(
    (Path(__file__).parents[1] / "recorded" / "activation_values.json").read_text()
)


@pytest.mark.parametrize("call", RECORDED["cases"])
def test_values_and_gradients_are_those_of_torch(call):
    activation = eval(call, vars(layerkit))
    z, dy = np.array(RECORDED["z"]), np.array(RECORDED["dy"])
    y = activation.forward(z)
    assert_allclose(y, RECORDED["cases"][call]["y"], rtol=1e-12, atol=1e-15)
    dz = activation.backward(dy, z, y)
    # torch's own formulas cancel where a slope nears 0, as 1 - y does for y near 1.
    assert_allclose(dz, RECORDED["cases"][call]["dz"], rtol=1e-10, atol=1e-14)


def test_all_but_sparsemax_are_compared_with_torch():
    compared = {type(eval(call, vars(layerkit))) for call in RECORDED["cases"]}
    assert compared | {Sparsemax} == {type(activation) for activation in ACTIVATIONS}


def test_each_has_a_reference():
    assert set(REFERENCE) == {repr(activation) for activation in ELEMENTWISE}


@pytest.mark.parametrize("activation", ELEMENTWISE, ids=repr)
def test_values_are_right_far_into_the_tails(activation):
    z = np.concatenate([np.linspace(-30, 30, 241), [-300.0, -37.5, 37.5, 300.0]])[None]
    # GELU's argument grows like z³, so an error of half an ulp in it grows with it.
    rtol = 1e-12 if isinstance(activation, GELU) else 1e-14
    expected = REFERENCE[repr(activation)](z).astype(float)
    # Below float64's normal numbers there are no relative digits to compare.
    assert_allclose(activation.forward(z), expected, rtol=rtol, atol=1e-300)


@pytest.mark.parametrize("activation", ELEMENTWISE, ids=repr)
def test_derivatives_are_right_far_into_the_tails(activation):
    z = np.linspace(-30, 30, 241)[None] + 0.01
    step = LONG(1e-4)
    f = REFERENCE[repr(activation)]
    # Fourth order in extended precision: the sizes of f left and right limit it to about 1e-15.
    slope = (8 * (f(z + step) - f(z - step)) - (f(z + 2 * step) - f(z - 2 * step))) / (12 * step)
    analytic = activation.backward(np.ones_like(z), z, activation.forward(z))
    # y (1 − y) and 1 − s lose their digits as y nears 1: absolute, they are right.
    assert_allclose(analytic, slope.astype(float), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_finite_and_silent_at_any_size(activation, dtype):
    sizes = np.array([0, 1e-5, 1, 10, 88, 89, 103, 709, 710, 745, 1e3, 1e4, 1e5])
    z = np.concatenate([-sizes[::-1], sizes])[None].astype(dtype)
    for rows in (z, z.T.copy(), np.full((2, 3), 1e5, dtype), np.full((2, 3), -1e5, dtype)):
        with np.errstate(all="raise", under="ignore"):
            y = activation.forward(rows)
            dz = activation.backward(np.full_like(rows, 2), rows, y)
        assert np.isfinite(y).all()
        assert np.isfinite(dz).all()
        assert y.dtype == dz.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ELEMENTWISE, ids=repr)
def test_infinities_have_the_limits(activation, dtype):
    z, far = np.array([[-np.inf, np.inf]], dtype), np.array([[-1e30, 1e30]], dtype)
    with np.errstate(all="raise", under="ignore"):
        y, far_y = activation.forward(z), activation.forward(far)
        dz = activation.backward(np.ones_like(z), z.copy(), y.copy())
        far_dz = activation.backward(np.ones_like(z), far.copy(), far_y.copy())
    limit = np.where(abs(far_y) > 1e20, np.copysign(np.inf, far_y), far_y)
    assert_allclose(y, limit, rtol=1e-6, atol=1e-25)
    assert_allclose(dz, far_dz, rtol=1e-6, atol=1e-25)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_nan_stays_nan(activation):
    z = np.array([[np.nan, np.nan]])
    with np.errstate(all="ignore"):
        assert np.isnan(activation.forward(z)).all()


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_arguments_are_not_changed(activation):
    rng = np.random.default_rng(0)
    z, dy = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    y = activation.forward(z).copy()
    for array in (z, dy, y):
        array.flags.writeable = False
    assert_array_equal(activation.forward(z), y)
    first = activation.backward(dy, z, y)
    assert_array_equal(activation.backward(dy, z, y), first)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_out_changes_nothing_but_the_place(activation):
    rng = np.random.default_rng(0)
    z, dy = rng.normal(0, 3, size=(3, 4)), rng.normal(size=(3, 4))
    y = activation.forward(z)
    expected = activation.backward(dy, z, y)
    if activation.forward_takes_out:
        out = np.full_like(z, np.nan)
        assert activation.forward(z, out=out) is out
        assert_array_equal(out, y)
    assert activation.backward_takes_out
    y = y.copy()  # Identity's y is z
    for out in (np.full_like(z, np.nan), z):  # z itself is what Dense hands over
        assert_array_equal(activation.backward(dy, z, y, out=out), expected)


def test_which_take_out_is_read_from_the_signature():
    class OwnForward(Sigmoid):
        def forward(self, z):
            return super().forward(z)

    class OwnBackward(Sigmoid):
        def backward(self, dy, z, y):
            return super().backward(dy, z, y)

    class Elementwise(Activation):
        def value(self, z):
            return z

        def derivative(self, z, y):
            return np.ones_like(z)

    takes = [(k.forward_takes_out, k.backward_takes_out) for k in (Sigmoid, OwnForward)]
    assert takes == [(True, True), (False, True)]
    assert (OwnBackward.forward_takes_out, OwnBackward.backward_takes_out) == (True, False)
    assert (Elementwise.forward_takes_out, Elementwise.backward_takes_out) == (False, True)
