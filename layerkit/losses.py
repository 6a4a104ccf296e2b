"""Losses: one number that says how far the predictions are off, and its gradient.

One reduction holds for all of them: the mean over the samples of the loss per sample.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np

from layerkit import _validation as check
from layerkit._numerics import sigmoid
from layerkit._repr import ConstructorRepr
from layerkit._validation import Array, Shape
from layerkit.errors import ShapeError

__all__ = [
    "HalfSquaredError",
    "Loss",
    "MeanSquaredError",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
]


class Loss(ConstructorRepr, ABC):
    """Base of the losses: a subclass writes `value` and `gradient`.

    Both take the predictions, of shape (n_samples, *output_shape), and the targets. By default
    the targets have the same shape; a loss that takes others, or only some numbers, overrides
    `check_targets`.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Loss
    >>> class CubicError(Loss):
    ...     def value(self, y_pred, y_true):
    ...         return float((abs(y_pred - y_true) ** 3).sum() / len(y_pred))
    ...     def gradient(self, y_pred, y_true):
    ...         error = y_pred - y_true
    ...         return 3 * error * abs(error) / len(y_pred)
    >>> CubicError().value(np.array([[2.0], [0.0]]), np.array([[0.0], [0.0]]))
    4.0
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Don't let an inherited shortcut stand for a `value` or `gradient` that is new."""
        super().__init_subclass__(**kwargs)
        if {"value", "gradient"} & vars(cls).keys() and "value_and_gradient" not in vars(cls):
            cls.value_and_gradient = Loss.value_and_gradient  # type: ignore[method-assign]

    @abstractmethod
    def value(self, y_pred: Array, y_true: Array) -> float:
        """Compute the loss: the mean over the samples of the loss of each."""

    @abstractmethod
    def gradient(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the gradient of `value` with respect to ``y_pred``, in its shape."""

    def value_and_gradient(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        """Compute both at once, which may share work; for targets that are checked already."""
        return self.value(y_pred, y_true), self.gradient(y_pred, y_true)

    def target_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Give the dtype that targets are cast to, for a model of ``dtype``."""
        return dtype

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets that don't fit outputs of this shape (without the batch axis).

        Raises
        ------
        ShapeError
            If the targets have another shape; nothing is broadcast.
        ArgumentError
            If they hold NaN, infinities or numbers that the loss does not take.
        """
        check.exact_shape(where, "y_true", y_true, (len(y_true), *output_shape))
        check.finite(where, "y_true", y_true)


class _BuiltIn(Loss):
    """What the losses here have in common: checks, and work shared by value and gradient."""

    def _checked(self, method: str, y_pred: Any, y_true: Any) -> tuple[Array, Array]:
        where = f"{type(self).__name__}.{method}"
        y_pred, y_true = check.predictions(where, y_pred, y_true)
        if y_pred.dtype.kind != "f":
            y_pred = y_pred.astype(np.float64)
        self.check_targets(where, y_true, y_pred.shape[1:])
        return y_pred, y_true.astype(self.target_dtype(y_pred.dtype), copy=False)

    @abstractmethod
    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        """Compute the loss and its gradient, of arguments that are checked."""

    def value(self, y_pred: Array, y_true: Array) -> float:
        """Compute the loss; see `Loss.value`."""
        return self._compute(*self._checked("value", y_pred, y_true))[0]

    def gradient(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the gradient; see `Loss.gradient`."""
        return self._compute(*self._checked("gradient", y_pred, y_true))[1]

    def value_and_gradient(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        """Compute both at once; see `Loss.value_and_gradient`."""
        return self._compute(y_pred, y_true)


class HalfSquaredError(_BuiltIn):
    """½ Σ (y_pred − y_true)² over the outputs, and its mean over the samples.

    The gradient is (y_pred − y_true) / n_samples: for a single sample, just the error.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import HalfSquaredError
    >>> y_pred, y_true = np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]])
    >>> HalfSquaredError().value(y_pred, y_true)
    2.5
    >>> HalfSquaredError().gradient(y_pred, y_true)
    array([[1., 2.]])
    """

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        error = np.subtract(y_pred, y_true)
        flat = error.ravel()
        n_samples = len(y_pred)
        value = float(flat.dot(flat)) / (2 * n_samples)
        if n_samples > 1:
            np.divide(error, n_samples, error)
        return value, error


class MeanSquaredError(_BuiltIn):
    """The mean over the outputs of (y_pred − y_true)², and its mean over the samples.

    The gradient is 2 (y_pred − y_true) / (n_outputs · n_samples).

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MeanSquaredError
    >>> y_pred, y_true = np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]])
    >>> MeanSquaredError().value(y_pred, y_true)
    2.5
    >>> MeanSquaredError().gradient(y_pred, y_true)
    array([[1., 2.]])
    """

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        error = np.subtract(y_pred, y_true)
        flat = error.ravel()
        value = float(flat.dot(flat)) / error.size
        np.multiply(error, 2 / error.size, error)
        return value, error


class SigmoidCrossEntropy(_BuiltIn):
    """Binary cross-entropy of logits: −y log s − (1 − y) log(1 − s) with s = sigmoid(y_pred).

    The mean over the outputs, each a yes-or-no question of its own, and over the samples. Takes
    logits: the last layer has no activation. Targets lie in [0, 1].

    The gradient is (s − y_true) / (n_outputs · n_samples).

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SigmoidCrossEntropy
    >>> SigmoidCrossEntropy().gradient(np.array([[0.0], [0.0]]), np.array([[1.0], [0.0]]))
    array([[-0.25],
           [ 0.25]])
    """

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse another shape, and targets outside [0, 1]; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        _check_probabilities(where, y_true)

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        # log(1 + exp(z)) − z y, without overflow.
        losses = np.log1p(np.exp(-np.abs(y_pred)))
        losses += np.maximum(y_pred, 0)
        losses -= y_pred * y_true
        gradient = sigmoid(y_pred)
        gradient -= y_true
        gradient /= gradient.size
        return float(losses.mean()), gradient


class SoftmaxCrossEntropy(_BuiltIn):
    """Cross-entropy of logits: −Σ y log p over the classes, with p = softmax(y_pred).

    Takes logits: the last layer has no activation. The gradient is (p − y) / n_samples.

    Parameters
    ----------
    targets : {"indices", "probabilities"}
        Whether y_true holds the class of each sample, as integers of shape (n_samples,), or the
        probability of each class, as one-hot rows for example, of shape (n_samples, n_classes).

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

    def __init__(self, targets: Literal["indices", "probabilities"] = "indices") -> None:
        choices = ("indices", "probabilities")
        self.targets = check.choice("SoftmaxCrossEntropy.__init__", "targets", targets, choices)

    def target_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Give intp for class indices; see `Loss.target_dtype`."""
        return np.dtype(np.intp) if self.targets == "indices" else dtype

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets of the other kind or out of range; see `Loss.check_targets`."""
        if len(output_shape) != 1:
            got = check.Said(str(output_shape))
            check.fail(where, "the model's output_shape", "(n_classes,)", got, error=ShapeError)
        if self.targets == "indices":
            _check_indices(where, y_true, output_shape[0])
        elif y_true.ndim == 1:
            check.fail(
                where,
                "y_true",
                f"probabilities of shape (n_samples, {output_shape[0]})",
                y_true,
                'For class indices, write SoftmaxCrossEntropy("indices").',
                error=ShapeError,
            )
        else:
            super().check_targets(where, y_true, output_shape)
            _check_probabilities(where, y_true)
            _check_totals(where, y_true)

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        # The ufuncs' own reductions: the methods of arrays take twice as long for a small batch.
        n_samples, n_classes = y_pred.shape
        # Shifted by each sample's largest logit, so that exp can't overflow.
        largest = np.maximum.reduce(y_pred, axis=1, keepdims=True)
        shifted = np.subtract(y_pred, largest, np.empty(y_pred.shape, y_pred.dtype))
        if self.targets == "indices":
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
        if self.targets == "indices":
            value += float(np.add.reduce(logs, axis=None))
            gradient.reshape(-1)[places] -= 1
        else:
            sums = np.add.reduce(y_true, axis=1, keepdims=True)
            value += float(np.add.reduce(logs * sums, axis=None))
            # Rows add up to 1 but for rounding; this keeps the gradient that of the value.
            np.multiply(gradient, sums, gradient)
            np.subtract(gradient, y_true, gradient)
        np.divide(gradient, n_samples, gradient)
        return value / n_samples, gradient


def _check_probabilities(where: str, y_true: Array) -> None:
    for start, rows in check.row_blocks(y_true):
        outside = (rows < 0) | (rows > 1)
        if outside.any():
            first = np.argwhere(outside)[0]
            got = check.Said(f"{rows[tuple(first)]} in sample {start + int(first[0])}")
            check.fail(where, "y_true", "between 0 and 1", got)


def _check_totals(where: str, y_true: Array) -> None:
    for start, rows in check.row_blocks(y_true):
        totals = rows.sum(axis=1)
        # Far above float32's rounding over thousands of classes, far below a real mistake.
        off = abs(totals - 1) > 1e-3
        if off.any():
            first = int(np.argmax(off))
            got = check.Said(f"a total of {totals[first]} in sample {start + first}")
            check.fail(where, "y_true", "probabilities that add up to 1 in each sample", got)


def _check_indices(where: str, y_true: Array, n_classes: int) -> None:
    wanted = f"class indices, integers of shape (n_samples,) from 0 to {n_classes - 1}"
    if y_true.ndim != 1:
        remedy = 'For one-hot rows or probabilities, write SoftmaxCrossEntropy("probabilities").'
        check.fail(where, "y_true", wanted, y_true, remedy, error=ShapeError)
    if y_true.dtype.kind not in "iu":
        check.fail(where, "y_true", wanted, y_true, "Convert them: y_true.astype(int).")
    for start, rows in check.row_blocks(y_true):
        outside = (rows < 0) | (rows >= n_classes)
        if outside.any():
            first = int(np.argmax(outside))
            got = check.Said(f"{rows[first]} in sample {start + first}")
            check.fail(where, "y_true", wanted, got)
