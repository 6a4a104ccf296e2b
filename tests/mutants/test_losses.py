"""Losses that are deliberately wrong: `check_loss` finds each, and says what it is."""

import re
from functools import cache

import numpy as np
import pytest

from layerkit import (
    CTC,
    CategoricalFocal,
    CategoricalHinge,
    Contrastive,
    Dice,
    GaussianNLL,
    Loss,
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    NegativeBinomial,
    Quantile,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredHinge,
    Triplet,
    Tversky,
)
from layerkit.testing import CheckError, check_loss, loss_checks

MUTANTS = []
PURE = set()


def mutant(named, *, pure=False):
    def register(kind):
        MUTANTS.append((kind, named))
        if pure:
            PURE.add(kind)
        return kind

    return register


class Squared(Loss):
    """½ Σ (y_pred − y_true)², written plainly and right."""

    def value(self, y_pred, y_true):
        return float(((y_pred - y_true) ** 2).sum() / 2 / len(y_pred))

    def gradient(self, y_pred, y_true):
        return (y_pred - y_true) / len(y_pred)


def test_the_plain_loss_is_right():
    check_loss(Squared)


@mutant("mean over the samples is missing", pure=True)
class MeanMissing(Squared):
    def gradient(self, y_pred, y_true):
        return y_pred - y_true


@mutant("3 · batch_size times the true one", pure=True)
class MeanOverAllMissing(Squared):
    def value(self, y_pred, y_true):
        return super().value(y_pred, y_true) / 3

    def gradient(self, y_pred, y_true):
        return y_pred - y_true


@mutant("mean over the batch was taken twice", pure=True)
class MeanTwice(Squared):
    def gradient(self, y_pred, y_true):
        return (y_pred - y_true) / len(y_pred) ** 2


@mutant("twice the true one", pure=True)
class HalfMissing(Squared):
    def gradient(self, y_pred, y_true):
        return 2 * (y_pred - y_true) / len(y_pred)


@mutant("sign is flipped", pure=True)
class Sign(Squared):
    def gradient(self, y_pred, y_true):
        return (y_true - y_pred) / len(y_pred)


@mutant("not the mean of the samples' losses")
class SumOverSamples(Squared):
    def value(self, y_pred, y_true):
        return super().value(y_pred, y_true) * len(y_pred)

    def gradient(self, y_pred, y_true):
        return y_pred - y_true


@mutant("zero everywhere", pure=True)
class NoGradient(Squared):
    def gradient(self, y_pred, y_true):
        return np.zeros_like(y_pred)


@mutant("overflow|not finite")
class NaiveSoftmax(SoftmaxCrossEntropy):
    def value(self, y_pred, y_true):
        p = np.exp(y_pred)
        p /= p.sum(axis=1, keepdims=True)
        return float(-np.log(p[np.arange(len(p)), y_true]).mean())


@mutant("off by the target", pure=True)
class SoftmaxWithoutItsTarget(SoftmaxCrossEntropy):
    def gradient(self, y_pred, y_true):
        p = np.exp(y_pred - y_pred.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True) / len(p)


@mutant("changes y_pred in place")
class PredictionsInPlace(Squared):
    def value(self, y_pred, y_true):
        y_pred -= y_true
        return float((y_pred**2).sum() / 2 / len(y_pred))


@mutant("changes y_true in place")
class TargetsInPlace(Squared):
    def gradient(self, y_pred, y_true):
        y_true -= y_pred
        y_true /= -len(y_true)
        return y_true.copy()


@mutant("must give a finite float")
class LossPerSample(Squared):
    def value(self, y_pred, y_true):
        return ((y_pred - y_true) ** 2).sum(axis=1)[:1] / 2 / len(y_pred)


@mutant("takes targets of another shape")
class Broadcasts(Squared):
    def check_targets(self, where, y_true, output_shape):
        pass


@mutant("value_and_gradient gives another value")
class ShortcutForgetsTheMean(Squared):
    def value_and_gradient(self, y_pred, y_true):
        return self.value(y_pred, y_true) * len(y_pred), self.gradient(y_pred, y_true)


@mutant("buffer is used again|earlier call")
class ReusesItsGradient(Squared):
    _buffer = None

    def gradient(self, y_pred, y_true):
        if self._buffer is None or len(self._buffer) < len(y_pred):
            self._buffer = np.empty_like(y_pred)
        np.subtract(y_pred, y_true, self._buffer[: len(y_pred)])
        self._buffer[: len(y_pred)] /= len(y_pred)
        return self._buffer[: len(y_pred)]


@mutant("is float64")
class WideGradient(Squared):
    def gradient(self, y_pred, y_true):
        return super().gradient(y_pred, y_true).astype(np.float64)


@mutant("wrong only where the error y_pred − y_true is larger than (0.99|1) in size", pure=True)
class HuberWithoutItsTail(Squared):
    """Beyond 1 the value is linear, but the gradient isn't."""

    def value(self, y_pred, y_true):
        error = abs(y_pred - y_true)
        return float(np.where(error < 1, error**2 / 2, error - 0.5).sum() / len(y_pred))


@mutant("earlier call")
class RemembersItsError(Squared):
    def value(self, y_pred, y_true):
        self._error = (y_pred - y_true) / len(y_pred)
        return super().value(y_pred, y_true)

    def gradient(self, y_pred, y_true):
        self.__dict__.setdefault("_error", (y_pred - y_true) / len(y_pred))
        kept = self._error
        return kept if kept.shape == y_pred.shape else np.zeros_like(y_pred)


@mutant("y_pred: wrong", pure=True)
class SquaredHingeOfAnEdge(SquaredHinge):
    """The slope of the plain hinge."""

    def _terms(self, y_pred, y_true):
        room = np.maximum(1 - y_true * y_pred, 0)
        return np.square(room), np.where(room > 0, -2 * y_true, 0)


@mutant("zero in other places than the true one", pure=True)
class HingeWithoutItsRival(CategoricalHinge):
    """Nothing pushes the best of the wrong classes down."""

    def _compute(self, y_pred, y_true):
        losses, _ = self._losses(y_pred, self.as_probabilities(y_true, y_pred))
        gradient = -np.eye(y_pred.shape[-1], dtype=y_pred.dtype)[y_true]
        return float(losses.mean()), gradient * (losses > 0)[..., None] / losses.size


@mutant("a constant factor 100 off", pure=True)
class PercentagesAsShares(MeanAbsolutePercentageError):
    def _terms(self, y_pred, y_true):
        value, slope = super()._terms(y_pred, y_true)
        return value / 100, slope


@mutant("wrong only where", pure=True)
class LogarithmsWithoutTheirSlope(MeanSquaredLogarithmicError):
    def _terms(self, y_pred, y_true):
        value, slope = super()._terms(y_pred, y_true)
        return value, slope * (1 + np.maximum(y_pred, 0))


@mutant("zero in other places than the true one", pure=True)
class LogarithmsBelow0(MeanSquaredLogarithmicError):
    """A gradient where the value has none."""

    def _terms(self, y_pred, y_true):
        value, slope = super()._terms(y_pred, y_true)
        return value, np.where(y_pred > 0, slope, -2 * np.log1p(y_true))


@mutant("y_pred: wrong", pure=True)
class QuantilesOnTheOtherSide(Quantile):
    """1 − q below the target, and q above it."""

    def __init__(self, levels=0.9):
        super().__init__(levels)

    def _terms(self, parts, y_true):
        terms, slopes = super()._terms(parts, y_true)
        return terms, -np.sign(slopes) * (np.abs(slopes) - 1)


@mutant("y_pred: wrong", pure=True)
class VarianceWithoutItsTerm(GaussianNLL):
    """The log of the variance adds nothing to the gradient, which can't stop it."""

    def _terms(self, parts, y_true):
        terms, slopes = super()._terms(parts, y_true)
        slopes[..., 1:, :] -= 0.5
        return terms, slopes


@mutant("overflow|not finite")
class PlainVariance(GaussianNLL):
    def _terms(self, parts, y_true):
        mean, s = parts[..., :1, :], parts[..., 1:, :]
        error = mean - y_true
        slopes = [error * np.exp(-s), (1 - error**2 * np.exp(-s)) / 2]
        return (s + error**2 * np.exp(-s)) / 2, np.concatenate(slopes, axis=-2)


@mutant("y_pred: wrong", pure=True)
class DispersionWithoutItsGamma(NegativeBinomial):
    """As if log Γ did not depend on the dispersion."""

    def _terms(self, parts, y_true):
        terms, slopes = super()._terms(parts, y_true)
        r = np.exp(-parts[..., 1:, :])
        slopes[..., 1:, :] -= r * sum(1 / (r + k) - 1 / (r + y_true + k) for k in range(500))
        return terms, slopes


@mutant("y_pred: wrong", pure=True)
class FalseForMissed(Tversky):
    """The gradient of the index with α and β the other way round."""

    def _compute(self, y_pred, y_true):
        value, _ = super()._compute(y_pred, y_true)
        turned = Tversky(self.beta, self.alpha)
        return value, turned.gradient(y_pred, y_true)

    def __init__(self, alpha=0.2, beta=0.9):
        super().__init__(alpha, beta)


@mutant("not the mean of the samples' losses")
class DiceOfTheBatch(Dice):
    """One region of all samples together."""

    def _overlaps(self, y_pred, y_true):
        shares, lacking, wanted, *sums = super()._overlaps(y_pred, y_true)
        return shares, lacking, wanted, *(part.sum(axis=0, keepdims=True) for part in sums)


@mutant("y_pred: wrong", pure=True)
class WeightOfTheYesAlone(SigmoidCrossEntropy):
    """The weight is in the value, and the gradient is that of even answers."""

    def __init__(self, pos_weight=4.0):
        super().__init__(pos_weight=pos_weight)

    def gradient(self, y_pred, y_true):
        return SigmoidCrossEntropy().gradient(y_pred, y_true)


@mutant("y_pred: wrong", pure=True)
class FactorHeldConstant(CategoricalFocal):
    """As if (1 − p)^γ did not depend on the logits."""

    def _compute(self, y_pred, y_true):
        shares, surprise, _, factor = self._softmax(y_pred)
        own = -self._weights(y_pred, y_true) * factor
        value = float((-own * surprise).sum() / len(y_pred))
        return value, (own - shares * own.sum(axis=-1, keepdims=True)) / len(y_pred)


@mutant("y_pred: wrong", pure=True)
class AnchorAlone(Triplet):
    """The positive and the negative are held constant."""

    def _terms(self, y_pred):
        losses, slopes = super()._terms(y_pred)
        slopes[..., slopes.shape[-1] // 3 :] = 0
        return losses, slopes


@mutant("y_pred: wrong", pure=True)
class NothingIsFarEnough(Contrastive):
    """Pairs apart are pushed on beyond the margin."""

    def _terms(self, y_pred, y_true):
        losses, slopes = super()._terms(y_pred, y_true)
        first, second = np.split(y_pred, 2, axis=-1)
        beyond = np.linalg.norm(first - second, axis=-1, keepdims=True) > self.margin
        push = np.concatenate([second - first, first - second], axis=-1)
        return losses, np.where(beyond & (y_true == 0), push, slopes)


@mutant("y_pred: wrong", pure=True)
class OccupancyOfOneLabel(CTC):
    """Of a label that comes twice, the last place alone counts."""

    def _compute(self, y_pred, y_true):
        value, gradient = super()._compute(y_pred, y_true)
        once = np.array([[label if label not in row[i + 1 :] else 0
                          for i, label in enumerate(row)] for row in y_true])  # fmt: skip
        return value, gradient if (once == y_true).all() else super()._compute(y_pred, once)[1]


@mutant("not the mean of the samples' losses|per_sample gives other losses")
class DividedByTheLabels(CTC):
    """As torch's mean: divided by the number of the labels, in the value alone."""

    def _compute(self, y_pred, y_true):
        value, gradient = super()._compute(y_pred, y_true)
        return value / max(1, (y_true != 0).sum()), gradient / max(1, (y_true != 0).sum())


TARGETS = {
    CTC: lambda rng, n: rng.integers(1, 3, size=(n, 3)),
    Contrastive: lambda rng, n: rng.integers(2, size=(n, 1)).astype(float),
    GaussianNLL: lambda rng, n: rng.normal(size=(n, 2)),
    NegativeBinomial: lambda rng, n: rng.poisson(3, size=(n, 2)).astype(float),
    SquaredHinge: lambda rng, n: rng.choice([-1.0, 1.0], size=(n, 3)),
    MeanSquaredLogarithmicError: lambda rng, n: rng.exponential(size=(n, 3)),
}


@cache
def failure(kind):
    if issubclass(kind, CTC):
        return of_shape(kind, (6, 3))
    is_even = issubclass(kind, Contrastive | GaussianNLL | NegativeBinomial)
    shape = (4,) if is_even else (6,) if issubclass(kind, Triplet) else (3,)
    return of_shape(kind, shape)


def of_shape(kind, shape):
    with pytest.raises(CheckError) as caught:
        check_loss(kind, shape, targets=TARGETS.get(kind.__base__))
    return caught.value


@pytest.mark.parametrize(("kind", "named"), [pytest.param(k, n, id=k.__name__) for k, n in MUTANTS])
def test_mutant_is_killed(kind, named):
    assert re.search(named, str(failure(kind)))


def test_no_check_is_idle():
    """Each fails for one mutant or another."""
    names = {check.name for check in loss_checks(Squared)}
    found = [failure(kind).failures for kind, _ in MUTANTS]
    assert names <= set().union(*found)
