"""Losses of classification: all take logits, so the last layer has no activation."""

import math
from typing import Any, Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import CONSTANTS, sigmoid
from layerkit._support.samples import name_of
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.losses.base import BuiltInLoss, ElementwiseLoss, refuse_named_outputs, share_of

__all__ = ["Focal", "Hinge", "KLDivergence", "SigmoidCrossEntropy", "SoftmaxCrossEntropy"]

# Below this, rounding of numbers around 1 takes more than half of a number's digits.
_HALF_OF_THE_DIGITS = {
    np.dtype(kind): math.sqrt(np.finfo(kind).eps) for kind in (np.float32, np.float64)
}


class SigmoidCrossEntropy(BuiltInLoss):
    """Binary cross-entropy of logits: −y log s − (1 − y) log(1 − s) with s = sigmoid(y_pred).

    The mean over the outputs, each a yes-or-no question of its own, and over the samples. Takes
    logits: the last layer has no activation. Targets lie in [0, 1].

    The gradient is (s − y_true) / (n_outputs · n_samples).

    Parameters
    ----------
    label_smoothing : float
        ε, from 0 to below 1: targets become (1 − ε) y_true + ε / 2, so that no answer is certain.

    Raises
    ------
    ArgumentError
        If the smoothing is out of range; by `check_targets`, for targets outside [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SigmoidCrossEntropy
    >>> SigmoidCrossEntropy().gradient(np.array([[0.0], [0.0]]), np.array([[1.0], [0.0]]))
    array([[-0.25],
           [ 0.25]])
    """

    predictions = "logits"

    def __init__(self, label_smoothing: float = 0.0) -> None:
        where = "SigmoidCrossEntropy.__init__"
        self.label_smoothing = check.number(
            where, "label_smoothing", label_smoothing, minimum=0, below=1
        )

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse another shape, and targets outside [0, 1]; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        _check_probabilities(where, y_true)

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        y_true = self._smoothed(y_true)
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

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        y_true = self._smoothed(y_true)
        losses = self._losses(y_pred, y_true)
        return self._losses_at_infinity(y_pred, y_true) if np.isnan(losses).any() else losses

    def _smoothed(self, y_true: Array) -> Array:
        if not self.label_smoothing:
            return y_true
        smoothed: Array = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        return smoothed


class SoftmaxCrossEntropy(BuiltInLoss):
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
    ) -> None:
        choices = ("indices", "probabilities")
        where = "SoftmaxCrossEntropy.__init__"
        self.targets = check.choice(where, "targets", targets, choices)
        self.label_smoothing = check.number(
            where, "label_smoothing", label_smoothing, minimum=0, below=1
        )

    def target_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return intp for class indices; see `Loss.target_dtype`."""
        return np.dtype(np.intp) if self.targets == "indices" else dtype

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets of the other kind or out of range; see `Loss.check_targets`."""
        if not isinstance(output_shape, tuple):
            refuse_named_outputs(where, self, output_shape)
        if self.targets == "indices":
            _check_indices(where, y_true, output_shape)
        elif y_true.ndim == len(output_shape):
            check.fail(
                where,
                "y_true",
                f"probabilities of shape {_of_samples(output_shape)}",
                y_true,
                'For class indices, write SoftmaxCrossEntropy("indices").',
                error=ShapeError,
            )
        else:
            super().check_targets(where, y_true, output_shape)
            _check_probabilities(where, y_true)
            _check_totals(where, y_true)

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        shape = y_pred.shape
        if len(shape) > 2:  # each position counts like a sample of its own
            y_pred = y_pred.reshape(-1, shape[-1])
            y_true = y_true.reshape(-1, *y_true.shape[len(shape) - 1 :])
        # The ufuncs' own reductions: the methods of arrays take twice as long for a small batch.
        n_samples, n_classes = y_pred.shape
        by_index = self.targets == "indices" and not self.label_smoothing
        if self.label_smoothing:
            y_true = self._smoothed(y_true, n_classes, y_pred.dtype)
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

    def _smoothed(self, y_true: Array, n_classes: int, dtype: np.dtype[Any]) -> Array:
        """Return the probabilities of targets of either kind, none of them certain."""
        if self.targets == "indices":
            y_true = np.eye(n_classes, dtype=dtype)[y_true]
        smoothing = self.label_smoothing
        smoothed: Array = y_true * (1 - smoothing) + smoothing / n_classes
        return smoothed

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        if self.label_smoothing:
            y_true = self._smoothed(y_true, y_pred.shape[-1], y_pred.dtype)
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

    def position_shape(self, output_shape: Shape) -> Shape:
        """Return the axes before that of the classes."""
        return output_shape[:-1]


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


class Hinge(ElementwiseLoss):
    """max(0, 1 − y_true · y_pred), for targets of −1 and 1.

    The mean over outputs and samples; the gradient is −y_true / (n_outputs · n_samples) where
    y_true · y_pred < 1, and else 0.

    Raises
    ------
    ArgumentError
        By `check_targets`, for targets but −1 and 1.

    References
    ----------
    Cortes & Vapnik (1995), "Support-vector networks".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Hinge
    >>> Hinge().value(np.array([[0.25], [2.0]]), np.array([[1.0], [1.0]]))
    0.375
    """

    predictions = "scores"

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse another shape, and targets but −1 and 1; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        for start, rows in check.row_blocks(y_true):
            other = (rows != 1) & (rows != -1)
            if other.any():
                first = np.argwhere(other)[0]
                got = check.Said(f"{rows[tuple(first)]} in {name_of(start + int(first[0]))}")
                check.fail(where, "y_true", "-1 or 1", got, "For 0 and 1, write 2.0 * y - 1.")

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        room = 1 - y_true * y_pred
        return np.maximum(room, 0), np.where(room > 0, -y_true, 0).astype(y_pred.dtype)


class Focal(ElementwiseLoss):
    """Binary cross-entropy of logits in which what is known already counts less.

    −α y (1 − s)^γ log s − (1 − α) (1 − y) s^γ log(1 − s) with s = sigmoid(y_pred); the mean over
    the outputs, each a question of its own, and over the samples. Targets lie in [0, 1].

    Parameters
    ----------
    gamma : float
        γ, at least 0; 0 is the cross-entropy.
    alpha : float, optional
        α, the weight of a yes, above 0 and below 1; without it, both weights are 1.

    Raises
    ------
    ArgumentError
        If a parameter is out of range; by `check_targets`, for targets outside [0, 1].

    References
    ----------
    Lin et al. (2017), "Focal loss for dense object detection", eq. 4 and 5.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Focal
    >>> round(Focal().value(np.array([[0.0]]), np.array([[1.0]])), 4)
    0.1733
    """

    predictions = "logits"

    def __init__(self, gamma: float = 2.0, alpha: float | None = None) -> None:
        where = "Focal.__init__"
        self.gamma = check.number(where, "gamma", gamma, minimum=0)
        self.alpha = alpha
        if alpha is not None:
            self.alpha = check.number(where, "alpha", alpha, above=0, below=1)

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse another shape, and targets outside [0, 1]; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        _check_probabilities(where, y_true)

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        yes, yes_slope = self._of_a_yes(y_pred)
        no, no_slope = self._of_a_yes(-y_pred)
        of_yes, of_no = y_true, 1 - y_true
        if self.alpha is not None:
            of_yes, of_no = self.alpha * of_yes, (1 - self.alpha) * of_no
        slopes = of_yes * yes_slope - of_no * no_slope
        return share_of(yes, of_yes) + share_of(no, of_no), slopes

    def _of_a_yes(self, z: Array) -> tuple[Array, Array]:
        share, rest = sigmoid(z), sigmoid(-z)
        surprise = np.log1p(np.exp(-np.abs(z))) + np.maximum(-z, 0)
        factor = rest**self.gamma
        # Beyond the bound, the share is 0 but for rounding, and so is the product.
        bounded = np.minimum(surprise, CONSTANTS[z.dtype].exp_limit)
        return factor * surprise, -factor * (self.gamma * share * bounded + rest)


def _check_probabilities(where: str, y_true: Array) -> None:
    for start, rows in check.row_blocks(y_true):
        outside = (rows < 0) | (rows > 1)
        if outside.any():
            first = np.argwhere(outside)[0]
            got = check.Said(f"{rows[tuple(first)]} in {name_of(start + int(first[0]))}")
            check.fail(where, "y_true", "between 0 and 1", got)


def _check_totals(where: str, y_true: Array) -> None:
    for start, rows in check.row_blocks(y_true):
        totals = rows.sum(axis=-1, dtype=np.float64)
        # Far above float32's rounding over thousands of classes, far below a real mistake.
        off = abs(totals - 1) > 1e-3
        if off.any():
            first = tuple(np.argwhere(off)[0].tolist())
            got = check.Said(f"a total of {totals[first]} in {_place(start, first)}")
            each = "sample" if off.ndim == 1 else "position"
            check.fail(where, "y_true", f"probabilities that add up to 1 in each {each}", got)


def _check_indices(where: str, y_true: Array, output_shape: Shape) -> None:
    n_classes = output_shape[-1]
    wanted = (
        f"class indices, integers of shape {_of_samples(output_shape[:-1])} "
        f"from 0 to {n_classes - 1}"
    )
    if y_true.ndim == len(output_shape) + 1:
        remedy = 'For one-hot rows or probabilities, write SoftmaxCrossEntropy("probabilities").'
        check.fail(where, "y_true", wanted, y_true, remedy, error=ShapeError)
    if not check.fits(y_true.shape[1:], output_shape[:-1]):
        remedy = "Each position before the classes, the last axis of the outputs, has one."
        check.fail(where, "y_true", wanted, y_true, remedy, error=ShapeError)
    if y_true.dtype.kind not in "iu":
        check.fail(where, "y_true", wanted, y_true, "Convert them: y_true.astype(int).")
    for start, rows in check.row_blocks(y_true):
        outside = (rows < 0) | (rows >= n_classes)
        if outside.any():
            first = tuple(np.argwhere(outside)[0].tolist())
            got = check.Said(f"{rows[first]} in {_place(start, first)}")
            remedy = "Padding takes any class, and 0 in sample_weight." if rows.ndim > 1 else ""
            check.fail(where, "y_true", wanted, got, remedy)


def _of_samples(shape: Shape) -> str:
    """Write the shape of a batch of samples of this shape."""
    lengths = ", ".join(map(str, shape))
    return f"(n_samples, {lengths})" if lengths else "(n_samples,)"


def _place(start: int, index: tuple[int, ...]) -> str:
    """Name a sample, and a position in it, in a block of samples that begins at ``start``."""
    position = f", position {', '.join(map(str, index[1:]))}" if index[1:] else ""
    return f"{name_of(start + index[0])}{position}"
