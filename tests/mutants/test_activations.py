"""Activations that are deliberately wrong: `check_activation` finds each, and says what it is."""

import math
import re
from functools import cache

import numpy as np
import pytest

from layerkit import ELU, GELU, Activation, LeakyReLU, Sigmoid, SiLU, Softmax, Tanh
from layerkit.testing import CheckError, activation_checks, check_activation

MUTANTS = []
PURE = set()


def mutant(named, *, pure=False):
    def register(kind):
        MUTANTS.append((kind, named))
        if pure:
            PURE.add(kind)
        return kind

    return register


@mutant(r"half \(½\) the true one, only where the input is below 0", pure=True)
class LeakySlopeOfItsOwn(LeakyReLU):
    def backward(self, dy, z, y):
        return dy * np.where(z >= 0, 1, 0.5 * self.negative_slope).astype(z.dtype)


@mutant("off by the constant -1: a term is missing", pure=True)
class EluWithoutOne(ELU):
    def derivative(self, z, y):
        return np.where(z >= 0, 1, y).astype(z.dtype)


@mutant("close, within .* the derivative of another formula", pure=True)
class GeluPairedWithTheExactOne(GELU):
    def __init__(self):
        super().__init__(approximate=True)

    def derivative(self, z, y):
        cdf = 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(z / math.sqrt(2)))
        return (cdf + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)).astype(z.dtype)


@mutant("overflow")
class NaiveSoftplus(Activation):
    def value(self, z):
        return np.log(1 + np.exp(z))

    def derivative(self, z, y):
        return 1 / (1 + np.exp(-z))


@mutant("overflow")
class NaiveSigmoid(Activation):
    def value(self, z):
        return 1 / (1 + np.exp(-z))

    def derivative(self, z, y):
        return y * (1 - y)


@mutant("only the diagonal of the Jacobian", pure=True)
class SoftmaxDiagonal(Softmax):
    def backward(self, dy, z, y):
        return dy * y * (1 - y)


@mutant("depends on the others in its batch")
class SoftmaxOverTheBatch(Softmax):
    def forward(self, z):
        return super().forward(z.T).T if len(z) else z.copy()

    def backward(self, dy, z, y):
        return super().backward(dy.T, z.T, y.T).T if len(z) else dy.copy()


@mutant("overflow")
class SoftmaxWithoutShift(Softmax):
    def forward(self, z):
        y = np.exp(z)
        return y / y.sum(axis=-1, keepdims=True)


@mutant("at the input z, where the formula is one of the output y", pure=True)
class SigmoidDerivativeAtInput(Sigmoid):
    def backward(self, dy, z, y):
        return dy * z * (1 - z)


@mutant("at the output y", pure=True)
class SigmoidDerivativeAtOutput(Sigmoid):
    def backward(self, dy, z, y):
        s = self.forward(y)
        return dy * s * (1 - s)


@mutant("derivative is applied twice", pure=True)
class SigmoidDerivativeTwice(Sigmoid):
    def backward(self, dy, z, y):
        return dy * (y * (1 - y)) ** 2


@mutant("value y is used where the derivative belongs", pure=True)
class SigmoidValueForDerivative(Sigmoid):
    def backward(self, dy, z, y):
        return dy * y


@mutant("z: wrong", pure=True)
class TanhWithoutSquare(Tanh):
    def backward(self, dy, z, y):
        return dy * (1 - y)


@mutant("sign is flipped", pure=True)
class TanhSign(Tanh):
    def backward(self, dy, z, y):
        return dy * (y * y - 1)


@mutant("z: wrong", pure=True)
class SwishWithoutItsSecondTerm(SiLU):
    def derivative(self, z, y):
        return 1 / (1 + np.exp(-z))


class Square(Activation):
    def value(self, z):
        return z * z

    def derivative(self, z, y):
        return 2 * z


def test_the_square_is_right():
    check_activation(Square)


@mutant("twice the true one", pure=True)
class HalfMissing(Square):
    def value(self, z):
        return z * z / 2


@mutant(r"half \(½\)", pure=True)
class TwoMissing(Square):
    def derivative(self, z, y):
        return z.copy()


@mutant("changes z in place|read-only")
class InputInPlace(Square):
    def value(self, z):
        z *= z
        return z


@mutant("backward changes y in place|read-only")
class OutputInPlace(Sigmoid):
    def backward(self, dy, z, y):
        y *= 1 - y
        return dy * y


@mutant("changes dy in place|read-only")
class UpstreamInPlace(Sigmoid):
    def backward(self, dy, z, y):
        dy *= y * (1 - y)
        return dy


@mutant("must use the z and y that it is given|earlier call")
class RemembersItsOutput(Sigmoid):
    def forward(self, z):
        self._y = super().forward(z)
        return self._y

    def backward(self, dy, z, y):
        kept = self._y
        return dy * kept[: len(dy)] * (1 - kept[: len(dy)]) if len(kept) >= len(dy) else dy * 0


@mutant("buffer is used again")
class ReusesItsBuffer(Tanh):
    def forward(self, z):
        kept = vars(self).get("_buffer")
        if kept is None or len(kept) < len(z) or kept.dtype != z.dtype:
            kept = self._buffer = np.empty_like(z)
        y = kept[: len(z), : z.shape[1]] if kept.shape[1] == z.shape[1] else np.empty_like(z)
        y[...] = np.tanh(z)
        return y


@mutant("not between the slopes")
class SlopeOfFiveAtTheKink(Activation):
    def value(self, z):
        return np.maximum(z, 0)

    def derivative(self, z, y):
        return np.where(z > 0, 1, np.where(z == 0, 5, 0)).astype(z.dtype)


@mutant("not between the slopes|where the input is above|clip", pure=True)
class CappedInForwardOnly(Activation):
    def value(self, z):
        return np.clip(z, 0, 6)

    def derivative(self, z, y):
        return (z >= 0).astype(z.dtype)


@mutant("widens")
class WideConstant(Square):
    def value(self, z):
        return z * z * np.array([1.0])


@mutant("noise of .* as of float32")
class HiddenFloat32(Tanh):
    def forward(self, z):
        return np.tanh(z.astype(np.float32)).astype(z.dtype)


@mutant("constant factor 1.0", pure=True)
class ConstantRoundedFar(Activation):
    def value(self, z):
        return 1.05070098 * z

    def derivative(self, z, y):
        return np.full_like(z, 1.0507 * 1.0002)


@mutant("when out is z")
class WritesOutTooEarly(Sigmoid):
    def backward(self, dy, z, y, out=None):
        dz = np.multiply(dy, y, out)
        if out is z:
            return np.multiply(dz, 1 - self.forward(z), out)
        return np.multiply(dz, 1 - y, out)


@mutant("slope.*not kept|the argument")
class ForgetsItsArgument(Activation):
    def __init__(self, slope=2.0):
        self._slope = slope

    def value(self, z):
        return z * self._slope

    def derivative(self, z, y):
        return np.full_like(z, self._slope)


@mutant("backward doesn't multiply dy with what derivative gives")
class TwoDerivatives(Activation):
    def value(self, z):
        return np.maximum(z, 0)

    def derivative(self, z, y):
        return (z > 0).astype(z.dtype)

    def backward(self, dy, z, y):
        return dy * (z >= 0)


@mutant(r"for z of shape \(0, 5\), y has \(0,\)")
class KeepsNoRows(Tanh):
    def forward(self, z):
        return super().forward(z) if len(z) else np.empty(0, z.dtype)


@mutant("inconclusive")
class Staircase(Activation):
    """Rounds to 1e-6, so that no step sees a slope."""

    def value(self, z):
        return np.round(z * 1e3) / 1e3

    def derivative(self, z, y):
        return np.ones_like(z)


@mutant("the value of scalar_functions is not what forward gives")
class ScalarOfAnother(Tanh):
    def scalar_functions(self):
        return lambda z: math.tanh(0.999 * z), lambda z, y: 1 - y * y


@mutant("the derivative of scalar_functions is not what backward gives")
class ScalarSlopeAtZ(Tanh):
    def scalar_functions(self):
        return math.tanh, lambda z, y: 1 - z * z


@cache
def failure(kind):
    with pytest.raises(CheckError) as caught:
        check_activation(kind)
    return caught.value


@pytest.mark.parametrize(("kind", "named"), [pytest.param(k, n, id=k.__name__) for k, n in MUTANTS])
def test_mutant_is_killed(kind, named):
    assert re.search(named, str(failure(kind)))


def test_no_check_is_idle():
    """Each fails for one mutant or another."""
    names = {
        check.name for check in activation_checks(Square) if not check.name.startswith("dense_")
    }
    found = [failure(kind).failures for kind, _ in MUTANTS]
    assert names <= set().union(*found)
