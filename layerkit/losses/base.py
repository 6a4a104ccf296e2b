"""`Loss`: the base of the losses, and what those of layerkit have in common.

One reduction holds for all of them: the mean over the samples of the loss per sample.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array, Shape

__all__ = ["Loss"]


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

    def per_sample(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the loss of each sample, of shape (n_samples,), for weighted means.

        Unless overridden, by `value` of one sample after the other.
        """
        rows = range(len(y_pred))
        return np.array([self.value(y_pred[i : i + 1], y_true[i : i + 1]) for i in rows])

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


class BuiltInLoss(Loss):
    """What layerkit's losses have in common: checks, and work shared by value and gradient."""

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

    @abstractmethod
    def _per_sample(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the loss of each sample, of arguments that are checked."""

    def per_sample(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the loss of each sample; see `Loss.per_sample`."""
        return self._per_sample(*self._checked("per_sample", y_pred, y_true))


class ElementwiseLoss(BuiltInLoss):
    """The mean over outputs and samples of a function of each prediction and its target."""

    @abstractmethod
    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        """Compute the function of each number, and its derivative with respect to y_pred."""

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        terms, derivatives = self._terms(y_pred, y_true)
        return float(terms.mean()), derivatives / terms.size

    def _per_sample(self, y_pred: Array, y_true: Array) -> Array:
        terms, _ = self._terms(y_pred, y_true)
        return mean_over_outputs(terms)


def mean_over_outputs(terms: Array) -> Array:
    """Average over all axes but the first."""
    means: Array = terms.reshape(len(terms), -1).mean(axis=1)
    return means


def weighted(loss: Loss, y_pred: Array, y_true: Array, weight: Array) -> tuple[float, Array]:
    """Compute the weighted mean of the samples' losses, and its gradient."""
    gradient = loss.gradient(y_pred, y_true)
    total = float(weight.sum())
    if not total:
        return 0.0, np.zeros_like(gradient)
    # A sample's gradient is n_samples times its part of that of the mean.
    factors = (weight * (len(weight) / total)).astype(gradient.dtype)
    value = float(weight.dot(loss.per_sample(y_pred, y_true))) / total
    return value, gradient * factors.reshape(-1, *[1] * (gradient.ndim - 1))
