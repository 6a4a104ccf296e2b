"""Layers that are deliberately wrong: `check_layer` finds each, and mostly says what it is.

Each mutant stands with what its failure has to name; None where being found is all there is.
"""

import copy
import re
from functools import cache

import numpy as np
import pytest

from layerkit import (
    Constant,
    Dense,
    Identity,
    Layer,
    Normal,
    Sigmoid,
    Softplus,
    StateError,
    Tanh,
    Zeros,
)
from layerkit.layers.base import Workspace
from layerkit.testing import CheckError, check_layer, layer_checks

MUTANTS = []
# Those whose gradient alone is wrong, as a function of x and the parameters.
PURE = set()


def mutant(named, *, shape=(3,), pure=False):
    def register(kind):
        MUTANTS.append((kind, shape, named))
        if pure:
            PURE.add(kind)
        return kind

    return register


class Plain(Layer):
    """A Dense layer, written plainly and right; the mutants get parts of it wrong."""

    n_out, activation = 4, Tanh()

    def build(self, input_shape):
        self.kernel = self.add_parameter("kernel", (*input_shape, self.n_out), Normal(1))
        self.bias = self.add_parameter("bias", (self.n_out,), Zeros())
        return (self.n_out,)

    def linear(self, x):
        return x @ self.kernel.value + self.bias.value

    def compute_forward(self, x, *, training):
        z = self.linear(x)
        y = self.activation.forward(z)
        return y, (x, z, y)

    def dz(self, dy, z, y):
        return self.activation.backward(dy, z, y)

    def kernel_grad(self, x, dz):
        return x.T @ dz

    def bias_grad(self, dz):
        return dz.sum(axis=0)

    def dx(self, dz):
        return dz @ self.kernel.value.T

    def compute_backward(self, dy, cache):
        x, z, y = cache
        dz = self.dz(dy, z, y)
        self.kernel.grad = self.kernel_grad(x, dz)
        self.bias.grad = self.bias_grad(dz)
        return self.dx(dz)


def test_the_plain_layer_is_right():
    check_layer(Plain, (3,))


# Gradients of parameters.


@mutant("bias: wrong.*\n.*never written", pure=True)
class NoBiasGradient(Plain):
    def compute_backward(self, dy, cache):
        x, z, y = cache
        dz = self.dz(dy, z, y)
        self.kernel.grad = x.T @ dz
        return self.dx(dz)


@mutant("kernel: wrong.*\n.*never written", pure=True)
class NoKernelGradient(Plain):
    def compute_backward(self, dy, cache):
        _, z, y = cache
        dz = self.dz(dy, z, y)
        self.bias.grad = dz.sum(axis=0)
        return self.dx(dz)


@mutant("bias: wrong.*\n.*zero everywhere", pure=True)
class ZeroBiasGradient(Plain):
    def bias_grad(self, dz):
        return np.zeros(self.n_out)


@mutant("kernel: wrong.*\n.*accumulated")
class AccumulatedKernel(Plain):
    def kernel_grad(self, x, dz):
        return self.kernel.grad + x.T @ dz


@mutant("bias: wrong.*\n.*accumulated")
class AccumulatedBias(Plain):
    def bias_grad(self, dz):
        return self.bias.grad + dz.sum(axis=0)


@mutant("bias: wrong.*\n.*mean over the batch was taken twice", pure=True)
class BiasMean(Plain):
    def bias_grad(self, dz):
        return dz.mean(axis=0)


@mutant("kernel: wrong.*\n.*mean over the batch was taken twice", pure=True)
class BatchTwice(Plain):
    def kernel_grad(self, x, dz):
        return x.T @ dz / len(x)


@mutant("summed over the batch once too often", pure=True)
class BatchTimes(Plain):
    def kernel_grad(self, x, dz):
        return x.T @ dz * len(x)


@mutant("kernel: wrong.*\n.*transposed", shape=(4,), pure=True)
class TransposedKernelGradient(Plain):
    def kernel_grad(self, x, dz):
        return dz.T @ x


@mutant("bias: wrong.*\n.*sign is flipped", pure=True)
class BiasSign(Plain):
    def bias_grad(self, dz):
        return -dz.sum(axis=0)


@mutant("kernel: wrong.*\n.*twice the true one", pure=True)
class KernelTwice(Plain):
    def kernel_grad(self, x, dz):
        return 2 * x.T @ dz


@mutant(r"constant factor 1\.01 off, only at \[1, 2\]", pure=True)
class OnePercentInOneWeight(Plain):
    def kernel_grad(self, x, dz):
        grad = x.T @ dz
        grad[1, 2] *= 1.01
        return grad


@mutant(r"bias: wrong.*\n.*constant factor 1\.0001 off", pure=True)
class SlightlyTooLong(Plain):
    def bias_grad(self, dz):
        return dz.sum(axis=0) * 1.0001


@mutant("ShapeError.*bias", pure=True)
class BiasOverTheWrongAxis(Plain):
    def bias_grad(self, dz):
        return dz.sum(axis=1)


@mutant("ShapeError.*bias")
class BiasAsARow(Plain):
    def build(self, input_shape):
        self.kernel = self.add_parameter("kernel", (*input_shape, self.n_out), Normal(1))
        self.bias = self.add_parameter("bias", (1, self.n_out), Zeros())
        return (self.n_out,)


@mutant("wrong for batches, right for a single sample", pure=True)
class FirstSampleOnly(Plain):
    def bias_grad(self, dz):
        return dz[0]


@mutant("bias: wrong.*\n.*in the wrong places", pure=True)
class BiasOfAnotherUnit(Plain):
    def bias_grad(self, dz):
        return np.roll(dz.sum(axis=0), 1)


# A gradient of 1e-7 beside gradients of 1.


class TwoPaths(Layer):
    def build(self, input_shape):
        self.large = self.add_parameter("large", input_shape, Constant(1.0))
        self.small = self.add_parameter("small", input_shape, Constant(1.0))
        return input_shape

    sign = 1.0

    def compute_forward(self, x, *, training):
        return x * (self.large.value + 1e-7 * self.small.value), x

    def compute_backward(self, dy, cache):
        self.large.grad = (dy * cache).sum(axis=0)
        self.small.grad = self.sign * 1e-7 * (dy * cache).sum(axis=0)
        return dy * (self.large.value + 1e-7 * self.small.value)


def test_two_paths_are_right():
    check_layer(TwoPaths, (3,))


@mutant("small: wrong.*\n.*sign is flipped", pure=True)
class SignAtTenMillionths(TwoPaths):
    sign = -1.0


@mutant(r"sign is flipped.*only at \[2\]", pure=True)
class SignAtTenMillionthsInOneArray(Layer):
    factors = np.array([1.0, 1.0, 1e-7, 1.0])

    def build(self, input_shape):
        self.scale = self.add_parameter("scale", input_shape, Constant(1.0))
        return input_shape

    def compute_forward(self, x, *, training):
        return x * self.scale.value * self.factors.astype(x.dtype)[: x.shape[1]], x

    def compute_backward(self, dy, cache):
        factors = self.factors.astype(dy.dtype)[: dy.shape[1]]
        self.scale.grad = (dy * cache).sum(axis=0) * factors * [1, 1, -1, 1][: dy.shape[1]]
        return dy * self.scale.value * factors


# dx.


@mutant("x: wrong.*\n.*transpose", shape=(4,), pure=True)
class TransposedWeight(Plain):
    def dx(self, dz):
        return dz @ self.kernel.value


@mutant("x: wrong.*\n.*transpose", shape=(4,), pure=True)
class TransposedWeightWithoutActivation(TransposedWeight):
    activation = Identity()


@mutant("x: wrong.*\n.*sign is flipped", pure=True)
class Sign(Plain):
    def dx(self, dz):
        return -super().dx(dz)


@mutant(r"x: wrong.*\n.*half \(½\)", pure=True)
class Half(Plain):
    def dx(self, dz):
        return super().dx(dz) / 2


@mutant("x: wrong.*\n.*mean over the batch was taken twice", pure=True)
class DxMean(Plain):
    def dx(self, dz):
        return super().dx(dz) / len(dz)


@mutant("x: wrong.*\n.*zero everywhere", pure=True)
class NothingBack(Plain):
    def dx(self, dz):
        return np.zeros((len(dz), len(self.kernel.value)), dz.dtype)


@mutant("wrong order", pure=True)
class SamplesReversed(Plain):
    def dx(self, dz):
        return super().dx(dz)[::-1].copy()


@mutant("summed over the batch axis", pure=True)
class DxOfTheWholeBatch(Plain):
    def dx(self, dz):
        dx = super().dx(dz)
        return np.broadcast_to(dx.sum(axis=0), dx.shape).copy()


@mutant("NaN or an infinity", pure=True)
class DividesByZero(Plain):
    def dx(self, dz):
        with np.errstate(all="ignore"):
            return super().dx(dz) * (np.zeros(1, dz.dtype) / 0)


# The activation in the layer.


@mutant("derivative is applied twice", pure=True)
class DerivativeTwice(Plain):
    def dz(self, dy, z, y):
        return super().dz(super().dz(dy, z, y), z, y)


@mutant("derivative is missing", pure=True)
class DerivativeMissing(Plain):
    def dz(self, dy, z, y):
        return dy


@mutant("derivative is taken at the output y", pure=True)
class DerivativeAtOutput(Plain):
    activation = Softplus()

    def dz(self, dy, z, y):
        return dy * self.activation.derivative(y, y)


@mutant("clip or a limit", pure=True)
class ClipInForward(Layer):
    def compute_forward(self, x, *, training):
        return np.clip(x, -20, 20), None

    def compute_backward(self, dy, cache):
        return dy.copy()


@mutant("clip or a limit", pure=True)
class ClipInBackward(Layer):
    def compute_forward(self, x, *, training):
        return x.copy(), x

    def compute_backward(self, dy, cache):
        return dy * (abs(cache) < 15)


@mutant("noise of .* as of float32")
class HiddenFloat32(Plain):
    def linear(self, x):
        return (x.astype(np.float32) @ self.kernel.value.astype(np.float32)).astype(x.dtype)

    def bias_grad(self, dz):
        return np.zeros(self.n_out)


@mutant("only the diagonal of the Jacobian", shape=(4,), pure=True)
class DiagonalOnly(Layer):
    def compute_forward(self, x, *, training):
        y = np.exp(x - x.max(axis=1, keepdims=True))
        y /= y.sum(axis=1, keepdims=True)
        return y, y

    def compute_backward(self, dy, cache):
        return dy * cache * (1 - cache)


# Layers of other kinds.


class Normalized(Layer):
    """Each sample less its mean, over its standard deviation."""

    def compute_forward(self, x, *, training):
        centred = x - x.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        return centred / deviation, (centred / deviation, deviation)

    def compute_backward(self, dy, cache):
        y, deviation = cache
        dx = dy - dy.mean(axis=1, keepdims=True) - y * (dy * y).mean(axis=1, keepdims=True)
        return dx / deviation


def test_the_normalized_layer_is_right():
    check_layer(Normalized, (4,))


@mutant("sample's mean or sum is missing", shape=(4,), pure=True)
class NormalizedWithoutMean(Normalized):
    def compute_backward(self, dy, cache):
        y, deviation = cache
        return (dy - y * (dy * y).mean(axis=1, keepdims=True)) / deviation


@mutant("off by a multiple of the output", shape=(4,), pure=True)
class NormalizedAsAConstant(Normalized):
    def compute_backward(self, dy, cache):
        _, deviation = cache
        return (dy - dy.mean(axis=1, keepdims=True)) / deviation


@mutant("off by a multiple of the output", shape=(4,), pure=True)
class NormalizedWithSampleVariance(Normalized):
    def compute_backward(self, dy, cache):
        y, deviation = cache
        n = y.shape[1]
        dx = dy - dy.mean(axis=1, keepdims=True)
        return (dx - y * (dy * y).sum(axis=1, keepdims=True) / (n - 1)) / deviation


@mutant("depends on the others in its batch", shape=(4,))
class BatchSoftmax(Layer):
    def compute_forward(self, x, *, training):
        if not len(x):
            return x, x
        y = np.exp(x - x.max(axis=0))
        y /= y.sum(axis=0)
        return y, y

    def compute_backward(self, dy, cache):
        return cache * (dy - (dy * cache).sum(axis=0))


@mutant("something is divided by 0", shape=(4,))
class NormalizedWithoutEpsilon(Normalized):
    def compute_forward(self, x, *, training):
        centred = x - x.mean(axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True))
            return centred / deviation, (centred / deviation, deviation)


class Pool(Layer):
    """The largest of each sample's inputs; the first of equals."""

    def build(self, input_shape):
        return (1,)

    def compute_forward(self, x, *, training):
        return x.max(axis=1, keepdims=True), x

    def mask(self, x):
        return np.arange(x.shape[1]) == x.argmax(axis=1)[:, None]

    def compute_backward(self, dy, cache):
        return dy * self.mask(cache)


def test_the_pool_is_right():
    check_layer(Pool, (4,))


@mutant("tied inputs", shape=(4,))
class PoolToAll(Pool):
    def mask(self, x):
        return x == x.max(axis=1, keepdims=True)


@mutant("in the wrong places", shape=(4,), pure=True)
class PoolToTheSmallest(Pool):
    def mask(self, x):
        return x == x.min(axis=1, keepdims=True)


class Drop(Layer):
    """Dropout: half of the inputs are 0 in training, the others twice as large."""

    is_random = True

    def __init__(self, seed=0):
        self.seed = seed
        self.rng = np.random.default_rng(seed)

    def mask(self, x):
        return (self.rng.random(x.shape) < 0.5) * x.dtype.type(2)

    def compute_forward(self, x, *, training):
        if not training:
            return x.copy(), None
        mask = self.mask(x)
        return x * mask, mask

    def compute_backward(self, dy, cache):
        return dy * cache


def test_dropout_is_right():
    check_layer(Drop, (4,))


@mutant(r"half \(½\)", shape=(4,))
class DropScale(Drop):
    def compute_backward(self, dy, cache):
        return dy * (cache > 0)


@mutant("zero in other places", shape=(4,))
class MaskDrawnAgain(Drop):
    def compute_backward(self, dy, cache):
        return dy * self.mask(dy)


@mutant("not deterministic", shape=(4,))
class ActiveInEvaluation(Drop):
    def compute_forward(self, x, *, training):
        mask = self.mask(x)
        return x * mask, mask


@mutant("differs between training and evaluation", shape=(4,))
class UntaggedDropout(Drop):
    is_random = False


# State.


@mutant("changes x in place")
class XInPlace(Plain):
    def compute_forward(self, x, *, training):
        x *= 0.5
        return super().compute_forward(x, training=training)


@mutant("changes dy in place")
class DyInPlace(Plain):
    def dz(self, dy, z, y):
        dy *= 1 - y * y
        return dy


@mutant("it keeps them")
class KeptByReference(Plain):
    activation = Sigmoid()

    def forward(self, x, training=False):
        y, cache = self.compute_forward(np.asarray(x, self.dtype), training=training)
        if training:
            self._kept = cache
        return y

    _kept = None

    def backward(self, dy):
        if self._kept is None:
            raise StateError("no forward pass")
        kept, self._kept = self._kept, None
        return self.compute_backward(np.asarray(dy, self.dtype), kept)


class KeepsInput(Plain):
    def compute_forward(self, x, *, training):
        self.keep(x, training)
        return super().compute_forward(x, training=training)

    def compute_backward(self, dy, cache):
        _, z, y = cache
        return super().compute_backward(dy, (self.kept(), z, y))


@mutant("stale|earlier batch")
class StaleFirstForward(KeepsInput):
    def keep(self, x, training):
        kept = vars(self).setdefault("_first", {})
        kept.setdefault(len(x), x)
        self._size = len(x)

    def kept(self):
        return self._first[self._size]


@mutant("share a cache")
class ClassLevelCache(KeepsInput):
    def keep(self, x, training):
        if training:
            ClassLevelCache._kept = x

    def kept(self):
        return ClassLevelCache._kept


@mutant("evaluation changes the layer: self._kept")
class EvaluationOverwritesCache(KeepsInput):
    def keep(self, x, training):
        self._kept = x

    def kept(self):
        return self._kept


@mutant("buffer is used again|shares memory")
class ReusedOutputBuffer(Plain):
    def compute_forward(self, x, *, training):
        y, cache = super().compute_forward(x, training=training)
        kept = vars(self).get("_buffer")
        if kept is None or kept.shape != y.shape or kept.dtype != y.dtype:
            self._buffer = np.empty_like(y)
        self._buffer[...] = y
        return self._buffer, cache


@mutant("dx changes with the next batch")
class ReusedDxBuffer(Plain):
    def dx(self, dz):
        dx = super().dx(dz)
        kept = vars(self).get("_buffer")
        if kept is None or kept.shape != dx.shape or kept.dtype != dx.dtype:
            self._buffer = np.empty_like(dx)
        self._buffer[...] = dx
        return self._buffer


@mutant("copy by copy.deepcopy")
class ShallowDeepcopy(Plain):
    def __deepcopy__(self, memo):
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin


@mutant("copy by pickle|copy.deepcopy")
class ForgetsWhenPickled(Plain):
    def build(self, input_shape):
        self._factor = np.float32(2)
        return super().build(input_shape)

    def linear(self, x):
        return super().linear(x) * vars(self).get("_factor", 1)

    def dz(self, dy, z, y):
        return super().dz(dy, z, y) * vars(self).get("_factor", 1)

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_factor", None)
        return state


@mutant("training step")
class NothingWithoutDx(Plain):
    def compute_backward(self, dy, cache, need_dx=True):
        return super().compute_backward(dy, cache) if need_dx else None


@mutant("training step")
class WorkspaceFilledOnce(Plain):
    def compute_forward(self, x, *, training):
        if training:
            kept = self.workspace(len(x), lambda n: Workspace())
            kept.in_use = False
            kept.x = x = getattr(kept, "x", x.copy())
        return super().compute_forward(x, training=training)


@mutant("without a forward pass must be a StateError")
class BackwardAnyTime(Plain):
    def backward(self, dy):
        if self._cache is None:
            return np.zeros((len(dy), *self.input_shape))
        return super().backward(dy)


@mutant("of shape \\(1, 5\\)|ShapeError")
class DeclaresAnotherShape(Plain):
    def build(self, input_shape):
        super().build(input_shape)
        return (self.n_out + 1,)


@mutant("the argument 'width' of ArgumentForgotten.__init__ is not kept")
class ArgumentForgotten(Plain):
    def __init__(self, width=4):
        self.n_out = width


@mutant("state is missing|evaluation")
class RunningScale(Plain):
    is_random = True

    class Hidden:
        running = 1.0

    def build(self, input_shape):
        self._hidden = self.Hidden()  # an object, of which no state is saved
        return super().build(input_shape)

    def compute_forward(self, x, *, training):
        if training:
            largest = float(abs(x).max(initial=0))
            self._hidden.running = 0.9 * self._hidden.running + 0.1 * largest
            return super().compute_forward(x, training=training)
        y, cache = super().compute_forward(x, training=training)
        return y * self._hidden.running, cache


@mutant("widens")
class WideConstant(Plain):
    def linear(self, x):
        return super().linear(x) * np.array([1.0])


@mutant("times dy doesn't give")
class ClipsGradients(Plain):
    def dz(self, dy, z, y):
        return super().dz(np.clip(dy, -1000, 1000), z, y)


@mutant("dy = 0 gives gradients that are not 0|x: wrong")
class AddsToDx(Plain):
    def dx(self, dz):
        return super().dx(dz) + 1e-3


@mutant("disturb one another|evaluation changes the layer: self._z")
class NotForThreads(Plain):
    def linear(self, x):
        self._z = super().linear(x)
        return self._z


@mutant("raises ValueError", shape=(4,))
class FailsWithoutSamples(Plain):
    def linear(self, x):
        return super().linear(x) + 0 * x.max()


@mutant("depends on|is another", shape=(4,))
class ReadsMemoryOrder(Plain):
    def linear(self, x):
        return super().linear(x.ravel(order="K").reshape(x.shape))


@mutant("overflow", shape=(4,))
class NaiveSoftplus(Layer):
    def compute_forward(self, x, *, training):
        return np.log(1 + np.exp(x)), x

    def compute_backward(self, dy, cache):
        return dy / (1 + np.exp(-cache))


@mutant("changes the original|changes a copy|other gradients|parameters are", shape=(4,))
class SharedCounter(Plain):
    counts = [0]  # noqa: RUF012 - the defect

    def compute_forward(self, x, *, training):
        self.counts[0] += training
        y, cache = super().compute_forward(x, training=training)
        return y + y.dtype.type(self.counts[0] % 7), cache


def kinds():
    return [pytest.param(kind, shape, named, id=kind.__name__) for kind, shape, named in MUTANTS]


@cache
def failure(kind, shape):
    with pytest.raises(CheckError) as caught:
        check_layer(kind, shape)
    return caught.value


@pytest.mark.parametrize(("kind", "shape", "named"), kinds())
def test_mutant_is_killed(kind, shape, named):
    assert re.search(named, str(failure(kind, shape)))


def test_no_check_is_idle():
    """Each fails for one mutant or another."""
    names = {check.name for check in layer_checks(Plain, (3,))}
    found = [failure(kind, shape).failures for kind, shape, _ in MUTANTS]
    assert names <= set().union(*found)


def test_a_mutant_of_dense_itself():
    class Wrong(Dense):
        def compute_backward(self, dy, cache, *, need_dx=True):
            dx = super().compute_backward(dy, cache, need_dx=need_dx)
            self.bias.grad *= 2
            return dx

    with pytest.raises(CheckError, match=r"bias: wrong.*\n.*twice the true one"):
        check_layer(lambda: Wrong(3, 2))
    with pytest.raises(CheckError):
        check_layer(lambda: copy.deepcopy(Wrong(3, 2)))
