"""Wrong layers of a real size, of which the checks look at samples: each is found all the same.

Small mutants are checked once more as if they were large, in ``test_layers.py``. No clock is read
here: what a check may cost is counted in evaluations of the layer.
"""

import numpy as np
import pytest
from large_layers import LSTM, Conv2D

from layerkit import Sequential
from layerkit.testing import CheckError, check_layer, layer_checks
from layerkit.testing.comparison import FEW, N_DIRECTIONS
from layerkit.testing.gradient_check import EXTREMES, POINTS
from layerkit.testing.problems import ModelProblem

# What is right is checked at the size of a real layer; what is wrong, which is looked at more
# closely and takes longer, at one that is large enough to be sampled.
RIGHT = [(lambda: LSTM(16), (20, 8)), (lambda: Conv2D(8), (16, 16, 8))]
MUTANTS = []


def mutant(named):
    def register(kind):
        MUTANTS.append((kind, named))
        return kind

    return register


# An LSTM that is wrong.


@mutant("kernel")
class InputGateSlope(LSTM):
    def slopes(self, a):
        of_i, *others = super().slopes(a)
        return (of_i * 1.01, *others)


@mutant("kernel")
class ForgetGateSlopeOfTanh(LSTM):
    def slopes(self, a):
        of_i, _, of_o, of_g = super().slopes(a)
        f = np.split(a, 4, axis=1)[1]
        return of_i, 1 - f * f, of_o, of_g


@mutant("kernel")
class OneUnitOfOneGate(LSTM):
    def slopes(self, a):
        parts = [part.copy() for part in super().slopes(a)]
        parts[2][:, 7] *= 0.99
        return tuple(parts)


@mutant("recurrent")
class NoRecurrentTerm(LSTM):
    def carried(self, dz):
        return np.zeros((len(dz), self.units), dz.dtype)


@mutant("recurrent")
class RecurrentMissesOneGate(LSTM):
    def carried(self, dz):
        u = self.units
        return dz[:, u:] @ self.recurrent.value[:, u:].T


@mutant("kernel")
class NoCellCarried(LSTM):
    def kept(self, dc, f):
        return 0 * dc


@mutant("x: wrong")
class FirstStepLeftOut(LSTM):
    def first_step(self):
        return 1


@mutant("recurrent: wrong")
class StatesOneStepLate(LSTM):
    def earlier(self, h):
        return h[:, 1:]


@mutant("recurrent: wrong")
class LastStepOfRecurrent(LSTM):
    def recurrent_grad(self, h, dz):
        return super().recurrent_grad(h[:, :-1], dz[:, :-1])


@mutant("kernel: wrong")
class LastStepOfKernel(LSTM):
    def kernel_grad(self, x, dz):
        return super().kernel_grad(x[:, :-1], dz[:, :-1])


@mutant("bias: wrong")
class BiasMissesOneSample(LSTM):
    def bias_grad(self, dz):
        return super().bias_grad(dz[1:] if len(dz) > 1 else dz)


@mutant("bias: wrong")
class BiasMissesOneStep(LSTM):
    def bias_grad(self, dz):
        return super().bias_grad(dz[:, 1:])


@mutant("kernel: wrong")
class OneKernelElement(LSTM):
    def kernel_grad(self, x, dz):
        grad = super().kernel_grad(x, dz)
        grad[5, 37] *= 1.001
        return grad


@mutant("recurrent: wrong")
class OneRecurrentRow(LSTM):
    def recurrent_grad(self, h, dz):
        grad = super().recurrent_grad(h, dz)
        grad[11] = 0
        return grad


@mutant("recurrent: wrong")
class TwoRecurrentElementsSwapped(LSTM):
    def recurrent_grad(self, h, dz):
        grad = super().recurrent_grad(h, dz)
        grad[2, [8, 9]] = grad[2, [9, 8]]
        return grad


@mutant("x: wrong")
class OneInputOfOneStep(LSTM):
    def dx(self, dz):
        dx = super().dx(dz)
        dx[:, 5, 4] = 0
        return dx


# A convolution that is wrong.


@mutant("kernel: wrong")
class OneTap(Conv2D):
    def tap_grad(self, window, dy, i, j):
        return super().tap_grad(window, dy, i, j) * (0.999 if (i, j) == (2, 1) else 1)


@mutant("kernel: wrong")
class OneChannelOfOneTap(Conv2D):
    def tap_grad(self, window, dy, i, j):
        grad = super().tap_grad(window, dy, i, j)
        if (i, j) == (0, 2):
            grad[3, 5] = 0
        return grad


@mutant("kernel: wrong")
class TapsSwapped(Conv2D):
    def compute_backward(self, dy, cache):
        dx = super().compute_backward(dy, cache)
        grad = self.kernel.grad.copy()
        grad[0, [0, 2]] = grad[0, [2, 0]]
        self.kernel.grad = grad
        return dx


@mutant("x: wrong")
class DxMissesOneTap(Conv2D):
    def tap_dx(self, dy, i, j):
        return super().tap_dx(dy, i, j) * ((i, j) != (1, 1))


@mutant("x: wrong")
class KernelNotTurned(Conv2D):
    def tap_dx(self, dy, i, j):
        return dy @ self.kernel.value[2 - i, 2 - j].T


@mutant("x: wrong")
class OneBorderPixel(Conv2D):
    def cropped(self, around):
        dx = super().cropped(around)
        dx[:, 8, 0] *= 0.99
        return dx


@mutant("x: wrong")
class OneBorderPixelOfOneChannel(Conv2D):
    def cropped(self, around):
        dx = super().cropped(around)
        dx[:, 0, 9, 2] = 0
        return dx


@mutant("x: wrong")
class CroppedOneOff(Conv2D):
    def cropped(self, around):
        return around[:, 2:, 1:-1].copy()


@mutant("bias: wrong")
class BiasMissesOneRow(Conv2D):
    def bias_grad(self, dy):
        return super().bias_grad(dy[:, :-1])


@mutant("bias: wrong")
class BiasOfTheFirstSamples(Conv2D):
    def bias_grad(self, dy):
        return super().bias_grad(dy[:4])


def gradients_of(kind, seed=0):
    if issubclass(kind, LSTM):
        check, *_ = layer_checks(lambda: kind(12), (8, 6), seed=seed)
    else:
        check, *_ = layer_checks(lambda: kind(6), (9, 10, 4), seed=seed)
    assert check.name == "gradients"
    return check


@pytest.mark.parametrize(("kind", "named"), MUTANTS, ids=[kind.__name__ for kind, _ in MUTANTS])
def test_mutant_is_killed(kind, named):
    with pytest.raises(CheckError, match=named):
        gradients_of(kind)()


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("kind", [OneKernelElement, OneBorderPixelOfOneChannel, OneUnitOfOneGate])
def test_the_narrowest_are_killed_whatever_the_seed(kind, seed):
    with pytest.raises(CheckError, match="wrong"):
        gradients_of(kind, seed)()


@pytest.mark.parametrize(("make", "shape"), RIGHT)
def test_what_is_right_passes(make, shape):
    check_layer(make, shape)


class Counting(ModelProblem):
    """Counts how often the layer is evaluated."""

    n_evaluations = 0

    def evaluate(self):
        Counting.n_evaluations += 1
        return super().evaluate()


@pytest.mark.parametrize(("make", "shape"), RIGHT)
def test_the_cost_does_not_grow_with_the_size(make, shape, monkeypatch):
    monkeypatch.setattr("layerkit.testing.layer_subject.ModelProblem", Counting)
    monkeypatch.setattr(Counting, "n_evaluations", 0)
    for check in layer_checks(make, shape)[:2]:
        check()
    n_points, n_arrays = (
        len(POINTS) + len(EXTREMES),
        1 + len(Sequential([make()], input_shape=shape).parameters),
    )
    # By array: its noise and its centre, and at most two steps for each place, of six looks each.
    each = 8 + 2 * 6 * (FEW + N_DIRECTIONS)
    assert n_arrays * n_points * FEW < Counting.n_evaluations < n_points * (1 + n_arrays * each)
