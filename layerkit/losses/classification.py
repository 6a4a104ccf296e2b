"""Losses of classification: all take logits, so the last layer has no activation."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import sigmoid
from layerkit._support.validation import Array, Shape
from layerkit.losses.base import BuiltInLoss, share_of
from layerkit.losses.targets import ClassLoss, check_length, check_probabilities, weights_of

__all__ = ["KLDivergence", "SigmoidCrossEntropy", "SoftmaxCrossEntropy"]

# Below this, rounding of numbers around 1 takes more than half of a number's digits.
_HALF_OF_THE_DIGITS = {
    np.dtype(kind): math.sqrt(np.finfo(kind).eps) for kind in (np.float32, np.float64)
}


class SigmoidCrossEntropy(BuiltInLoss):
    """Binary cross-entropy of logits: −w y log s − (1 − y) log(1 − s) with s = sigmoid(y_pred).

    The mean over the outputs, each a yes-or-no question of its own, and over the samples. Takes
    logits: the last layer has no activation. Targets lie in [0, 1].

    The gradient is ((1 − y) s − w y (1 − s)) / (n_outputs · n_samples), for a weight w of 1
    (s − y_true) / (n_outputs · n_samples).

    Parameters
    ----------
    label_smoothing : float
        ε, from 0 to below 1: targets become (1 − ε) y_true + ε / 2, so that no answer is certain.
    pos_weight : float or sequence of float, optional
        w, the weight of a yes, above 0: one for all outputs, or one for each number of the last
        axis. Where a yes is rare, the number of noes for each yes makes up for it. By default 1.
        The loss is not divided by the sum of such weights.

    Raises
    ------
    ArgumentError
        If an argument is out of range; by `check_targets`, for targets outside [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SigmoidCrossEntropy
    >>> SigmoidCrossEntropy().gradient(np.array([[0.0], [0.0]]), np.array([[1.0], [0.0]]))
    array([[-0.25],
           [ 0.25]])
    """

    predictions = "logits"

    def __init__(
        self,
        label_smoothing: float = 0.0,
        *,
        pos_weight: float | Sequence[float] | None = None,
    ) -> None:
        where = "SigmoidCrossEntropy.__init__"
        self.label_smoothing = check.number(
            where, "label_smoothing", label_smoothing, minimum=0, below=1
        )
        self.pos_weight = weights_of(where, "pos_weight", pos_weight)

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse another shape, and targets outside [0, 1]; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        check_probabilities(where, y_true)
        check_length(where, "pos_weight", self.pos_weight, output_shape)

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        y_true = self._smoothed(y_true)
        if self.pos_weight is not None:
            return self._compute_weighted(y_pred, y_true)
        value = float(self._losses(y_pred, y_true).mean())
        if math.isnan(value):
            value = float(self._losses_at_infinity(y_pred, y_true).mean())
        gradient = sigmoid(y_pred)
        gradient -= y_true
        gradient /= gradient.size
        return value, gradient

    def _losses(self, y_pred: Array, y_true: Array) -> Array:
        # log(1 + exp(z)) − z y, without overflow, the large numbers first: they cancel exactly.
        losses: Array = np.maximum(y_pred, 0)
        losses -= y_pred * y_true
        losses += np.log1p(np.exp(-np.abs(y_pred)))
        return losses

    def _losses_at_infinity(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the losses of logits that may be infinite: 0 where the answer is right."""
        wrong = np.where(y_pred > 0, 1 - y_true, y_true)
        return share_of(np.abs(y_pred), wrong) + np.log1p(np.exp(-np.abs(y_pred)))

    def _weighted_losses(self, y_pred: Array, yes: Array, no: Array) -> Array:
        """Compute the losses of answers that weigh differently, and may be infinite."""
        rest = np.log1p(np.exp(-np.abs(y_pred)))
        of_yes, of_no = np.maximum(-y_pred, 0) + rest, np.maximum(y_pred, 0) + rest
        return share_of(of_yes, yes) + share_of(of_no, no)

    def _compute_weighted(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        yes, no = self._weighted(y_true)
        value = float(self._weighted_losses(y_pred, yes, no).mean())
        gradient = no * sigmoid(y_pred) - yes * sigmoid(-y_pred)
        return value, gradient / gradient.size

    def _weighted(self, y_true: Array) -> tuple[Array, Array]:
        """Return the weights of a yes and of a no."""
        return y_true * np.asarray(self.pos_weight, y_true.dtype), 1 - y_true

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        y_true = self._smoothed(y_true)
        if self.pos_weight is not None:
            return self._weighted_losses(y_pred, *self._weighted(y_true))
        losses = self._losses(y_pred, y_true)
        return self._losses_at_infinity(y_pred, y_true) if np.isnan(losses).any() else losses

    def _smoothed(self, y_true: Array) -> Array:
        if not self.label_smoothing:
            return y_true
        smoothed: Array = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        return smoothed


class SoftmaxCrossEntropy(ClassLoss):
    """Cross-entropy of logits: −Σ y log p over the classes, with p = softmax(y_pred).

    Takes logits: the last layer has no activation. The gradient is (p − y) / n_samples.

    Classes are the last axis of the predictions. Axes between the samples and the classes, such
    as the time of sequences, are positions: the loss is the mean over the samples of the mean
    over the positions, or the weighted mean over all positions where ``sample_weight`` has the
    shape (n_samples, *positions). Padding has weight 0 there, and any valid class.

    Parameters
    ----------
    targets : {"indices", "probabilities"}
        Whether y_true holds the class of each sample, as integers of shape
        (n_samples, *positions), or the probability of each class, as one-hot rows for example,
        of shape (n_samples, *positions, n_classes).
    label_smoothing : float
        ε, from 0 to below 1: y becomes (1 − ε) y + ε / n_classes, so that no class is certain.
    class_weight : sequence of float, optional
        Weight w of each class, above 0: y becomes w y, after smoothing. The loss is not divided
        by the sum of the weights, as a weighted mean is: for that, see ``class_weight`` of
        `Trainer.fit`.

    Raises
    ------
    ArgumentError
        By `check_targets`, for targets of the other kind, classes out of range, and
        probabilities that don't add up to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SoftmaxCrossEntropy
    >>> logits = np.zeros((1, 4))
    >>> SoftmaxCrossEntropy().gradient(logits, np.array([2]))
    array([[ 0.25,  0.25, -0.75,  0.25]])
    >>> SoftmaxCrossEntropy("probabilities").gradient(logits, np.array([[0, 0, 1, 0]]))
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """

    predictions = "class_logits"

    def __init__(
        self,
        targets: Literal["indices", "probabilities"] = "indices",
        label_smoothing: float = 0.0,
        *,
        class_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(targets)
        where = "SoftmaxCrossEntropy.__init__"
        self.label_smoothing = check.number(
            where, "label_smoothing", label_smoothing, minimum=0, below=1
        )
        self.class_weight = weights_of(where, "class_weight", class_weight)
        if isinstance(self.class_weight, float):
            check.fail(where, "class_weight", "a list of one number for each class", class_weight)

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets of the other kind or out of range; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        check_length(where, "class_weight", self.class_weight, output_shape)

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        shape = y_pred.shape
        if len(shape) > 2:  # each position counts like a sample of its own
            y_pred = y_pred.reshape(-1, shape[-1])
            y_true = y_true.reshape(-1, *y_true.shape[len(shape) - 1 :])
        # The ufuncs' own reductions: the methods of arrays take twice as long for a small batch.
        n_samples, n_classes = y_pred.shape
        is_changed = self.label_smoothing or self.class_weight is not None
        by_index = self.targets == "indices" and not is_changed
        if is_changed:
            y_true = self._smoothed(y_true, y_pred)
        # Shifted by each sample's largest logit, so that exp can't overflow.
        largest = np.maximum.reduce(y_pred, axis=1, keepdims=True)
        shifted = np.subtract(y_pred, largest, np.empty(y_pred.shape, y_pred.dtype))
        if by_index:
            places = np.arange(0, n_samples * n_classes, n_classes)
            places += y_true
            gradient, value = shifted, -float(np.add.reduce(shifted.take(places)))
        else:
            gradient = np.empty_like(shifted)
            value = -float(np.add.reduce(shifted * y_true, axis=None))
        np.exp(shifted, gradient)
        totals = np.add.reduce(gradient, axis=1, keepdims=True)
        np.divide(gradient, totals, gradient)
        # −Σ y log p = Σ y (log total − shifted): sums of what is not below 0, so nothing cancels.
        logs = np.log(totals, totals)
        if by_index:
            value += float(np.add.reduce(logs, axis=None))
            gradient.reshape(-1)[places] -= 1
        else:
            sums = np.add.reduce(y_true, axis=1, keepdims=True)
            value += float(np.add.reduce(logs * sums, axis=None))
            # Rows add up to 1 but for rounding; this keeps the gradient that of the value.
            np.multiply(gradient, sums, gradient)
            np.subtract(gradient, y_true, gradient)
        np.divide(gradient, n_samples, gradient)
        value /= n_samples
        # NaN may stand for 0 · −∞; and of a number this small, rounding has left few digits.
        if not value >= _HALF_OF_THE_DIGITS[y_pred.dtype]:
            value = float(self._cross_entropies(y_pred, y_true).mean())
        return value, gradient if len(shape) == 2 else gradient.reshape(shape)

    def _smoothed(self, y_true: Array, y_pred: Array) -> Array:
        """Return the probabilities of targets of either kind, smoothed and weighted."""
        y_true = self.as_probabilities(y_true, y_pred)
        smoothing = self.label_smoothing
        if smoothing:
            y_true = y_true * (1 - smoothing) + smoothing / y_pred.shape[-1]
        if self.class_weight is not None:
            y_true = y_true * np.asarray(self.class_weight, y_true.dtype)
        return y_true

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        if self.label_smoothing or self.class_weight is not None:
            y_true = self._smoothed(y_true, y_pred)
        return self._cross_entropies(y_pred, y_true)

    def _cross_entropies(self, y_pred: Array, y_true: Array) -> Array:
        """Compute −Σ y log p to all digits, of probabilities or plain class indices.

        The sum of the exponentials is taken without the largest, which is 1, so that what is left
        of a loss near 0 is not lost beside it.
        """
        best = y_pred.argmax(axis=-1)[..., None]
        largest = np.take_along_axis(y_pred, best, axis=-1)
        shifted = y_pred - largest
        others = np.exp(shifted)
        np.put_along_axis(others, best, 0, axis=-1)
        logs = np.log1p(others.sum(axis=-1, keepdims=True)) - shifted
        if y_true.ndim < y_pred.ndim:
            losses: Array = np.take_along_axis(logs, y_true[..., None], axis=-1)[..., 0]
        else:
            losses = share_of(logs, y_true).sum(axis=-1)
        return losses


class KLDivergence(SoftmaxCrossEntropy):
    """Σ y log(y / p) over the classes, with p = softmax(y_pred): how far p is from y.

    The cross-entropy less the entropy of the targets, which are probabilities of shape
    (n_samples, n_classes); the gradient is that of the cross-entropy, (p − y) / n_samples.
    Positions and their weights are those of `SoftmaxCrossEntropy`.

    Raises
    ------
    ArgumentError
        By `check_targets`, for rows that are no probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import KLDivergence
    >>> KLDivergence().value(np.zeros((1, 2)), np.array([[0.5, 0.5]]))
    0.0
    """

    def __init__(self) -> None:
        super().__init__("probabilities")

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        value, gradient = super()._compute(y_pred, y_true)
        value -= float(_entropies(y_true).mean())
        if not value >= _HALF_OF_THE_DIGITS[y_pred.dtype]:
            value = float(self._per_position(y_pred, y_true).mean())
        return value, gradient

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        # Where p is near y, the difference of the two is small: of float32, nothing were left.
        wide = y_true.astype(np.float64)
        losses = super()._per_position(y_pred.astype(np.float64), wide) - _entropies(wide)
        return losses.astype(y_pred.dtype)


def _entropies(shares: Array) -> Array:
    # A share of 0 adds nothing: 0 · log 1.
    entropies: Array = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=-1)
    return entropies
