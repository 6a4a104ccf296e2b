"""`Loss`: the base of the losses, and what those of layerkit have in common.

One reduction holds for all of them: the mean over the samples of the loss per sample. Weights
enter in one place, `weighted`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError

__all__ = ["Loss"]


class Loss(ConstructorRepr, ABC):
    """Base of the losses: a subclass writes `value` and `gradient`.

    Both take the predictions, of shape (n_samples, *output_shape), and the targets. By default
    the targets have the same shape; a loss that takes others, or only some numbers, overrides
    `check_targets`.

    Attributes
    ----------
    takes_targets : bool
        Whether the loss compares predictions with targets; True unless a class sets it to False.
        A loss without targets is a term of the outputs alone, such as a penalty: its ``y_true``
        is None, and `Trainer.fit` and `Trainer.evaluate` need no ``y``.
    predictions : {"logits", "class_logits", "probabilities", "scores"} or None
        Kind of the predictions, for metrics that compare them with a threshold. ``"logits"`` are
        of yes-or-no questions, 0 for a probability of one half (`SigmoidCrossEntropy`), and
        ``"class_logits"`` of classes that exclude each other (`SoftmaxCrossEntropy`); of
        ``"scores"`` the sign decides (`Hinge`). None, the default, stands for numbers like the
        targets, as for `MeanSquaredError`; ``"probabilities"`` are judged like those. Of a loss of
        several outputs, a dict by their names.

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

    The divergence of a normal distribution from the standard one, whose mean and log of the
    variance are the outputs, needs no targets:

    >>> class NormalDivergence(Loss):
    ...     takes_targets = False
    ...     def value(self, y_pred, y_true):
    ...         mean, log_variance = np.split(y_pred, 2, axis=1)
    ...         terms = mean**2 + np.exp(log_variance) - log_variance - 1
    ...         return float(terms.sum() / 2 / len(y_pred))
    ...     def gradient(self, y_pred, y_true):
    ...         mean, log_variance = np.split(y_pred, 2, axis=1)
    ...         slopes = np.concatenate([mean, np.expm1(log_variance) / 2], axis=1)
    ...         return slopes / len(y_pred)
    >>> NormalDivergence().value(np.array([[2.0, 0.0]]), None)
    2.0
    """

    takes_targets: bool = True
    predictions: str | Mapping[str, Any] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Drop an inherited `value_and_gradient` where `value` or `gradient` is new."""
        super().__init_subclass__(**kwargs)
        if {"value", "gradient"} & vars(cls).keys() and "value_and_gradient" not in vars(cls):
            cls.value_and_gradient = Loss.value_and_gradient  # type: ignore[method-assign]

    @abstractmethod
    def value(self, y_pred: Array, y_true: Array) -> float:
        """Compute the loss: the mean over the samples of the loss of each.

        Parameters
        ----------
        y_pred : ndarray of shape (n_samples, *output_shape)
            Predictions.
        y_true : ndarray, or None for a loss without targets
            Targets.

        Returns
        -------
        float
            Mean loss over the samples.
        """

    @abstractmethod
    def gradient(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the gradient of `value` with respect to ``y_pred``.

        Parameters
        ----------
        y_pred : ndarray of shape (n_samples, *output_shape)
            Predictions.
        y_true : ndarray, or None for a loss without targets
            Targets.

        Returns
        -------
        ndarray of shape (n_samples, *output_shape)
            Gradient, of the dtype of ``y_pred``.
        """

    def value_and_gradient(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        """Compute the value and the gradient at once, of targets that are checked already.

        Parameters
        ----------
        y_pred : ndarray of shape (n_samples, *output_shape)
            Predictions.
        y_true : ndarray, or None for a loss without targets
            Targets.

        Returns
        -------
        tuple of float and ndarray of shape (n_samples, *output_shape)
            Mean loss, and gradient.
        """
        return self.value(y_pred, y_true), self.gradient(y_pred, y_true)

    def per_sample(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the loss of each sample, of shape (n_samples,), for weighted means.

        Unless overridden, by `value` of one sample after the other.

        Parameters
        ----------
        y_pred : ndarray of shape (n_samples, *output_shape)
            Predictions.
        y_true : ndarray, or None for a loss without targets
            Targets.

        Returns
        -------
        ndarray of shape (n_samples,)
            Loss of each sample.
        """
        rows = [slice(i, i + 1) for i in range(len(y_pred))]
        targets = [None if y_true is None else y_true[row] for row in rows]
        values = [self.value(y_pred[r], t) for r, t in zip(rows, targets, strict=True)]
        return np.array(values, np.float64)

    def per_position(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the loss of each position, of shape (n_samples, *position_shape).

        The loss of a sample is the mean over its positions. Unless overridden, a sample is one
        position; a loss that overrides this overrides `position_shape` too.

        Parameters
        ----------
        y_pred : ndarray of shape (n_samples, *output_shape)
            Predictions.
        y_true : ndarray, or None for a loss without targets
            Targets.

        Returns
        -------
        ndarray of shape (n_samples, *position_shape)
            Loss of each position.
        """
        return self.per_sample(y_pred, y_true)

    def position_shape(self, output_shape: Shape) -> Shape:
        """Return the shape of a sample's positions, which may have weights of their own.

        Parameters
        ----------
        output_shape : tuple of int
            Shape of one sample's predictions.

        Returns
        -------
        tuple of int
            Shape of the positions; () where a sample is one position.
        """
        return ()

    def target_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype that targets are cast to.

        Parameters
        ----------
        dtype : numpy.dtype
            Dtype of the model.

        Returns
        -------
        numpy.dtype
            Dtype of the targets.
        """
        return dtype

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets that don't fit outputs of this shape (without the batch axis).

        Not called for a loss without targets.

        Parameters
        ----------
        where : str
            Name of the call, for errors.
        y_true : ndarray
            Targets.
        output_shape : tuple of int
            Shape of one sample's predictions; None stands for any length.

        Raises
        ------
        ShapeError
            If the targets have another shape; nothing is broadcast.
        ArgumentError
            If they hold NaN, infinities or numbers that the loss does not take.
        """
        if not isinstance(output_shape, tuple):
            refuse_named_outputs(where, self, output_shape)
        check.exact_shape(where, "y_true", y_true, (len(y_true), *output_shape))
        check.finite(where, "y_true", y_true)


class BuiltInLoss(Loss):
    """What layerkit's losses have in common: checks, and work shared by value and gradient."""

    def _checked(self, method: str, y_pred: Any, y_true: Any) -> tuple[Array, Any]:
        where = f"{type(self).__name__}.{method}"
        if y_true is None and not self.takes_targets:
            return check.as_floats(check.predictions(where, y_pred, y_pred)[0]), None
        y_pred, y_true = check.predictions(where, y_pred, y_true)
        y_pred = check.as_floats(y_pred)
        self.check_targets(where, y_true, y_pred.shape[1:])
        return y_pred, y_true.astype(self.target_dtype(y_pred.dtype), copy=False)

    @abstractmethod
    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        """Compute the loss and its gradient, of arguments that are checked."""

    @ignoring("under", "invalid")  # 0 · ∞ is computed anew
    def value(self, y_pred: Array, y_true: Array) -> float:
        """Compute the loss; see `Loss.value`."""
        return self._compute(*self._checked("value", y_pred, y_true))[0]

    @ignoring("over", "under", "invalid")  # of the value, which is computed too
    def gradient(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the gradient; see `Loss.gradient`."""
        return self._compute(*self._checked("gradient", y_pred, y_true))[1]

    def value_and_gradient(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        """Compute the value and the gradient at once; see `Loss.value_and_gradient`."""
        return self._compute(y_pred, y_true)

    @abstractmethod
    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the loss of each position, of arguments that are checked."""

    def compute_per_sample(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the loss of each sample, of arguments that are checked."""
        losses = self._per_position(y_pred, y_true)
        return mean_over_positions(losses, 1)

    @ignoring("under", "invalid")  # 0 · ∞ is computed anew
    def per_sample(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the loss of each sample; see `Loss.per_sample`."""
        return self.compute_per_sample(*self._checked("per_sample", y_pred, y_true))

    @ignoring("under", "invalid")  # 0 · ∞ is computed anew
    def per_position(self, y_pred: Array, y_true: Array) -> Array:
        """Compute the loss of each position; see `Loss.per_position`."""
        return self._per_position(*self._checked("per_position", y_pred, y_true))

    def position_shape(self, output_shape: Shape) -> Shape:
        """Return the outputs' own shape, over which the loss is a mean."""
        return output_shape


class ElementwiseLoss(BuiltInLoss):
    """The mean over outputs and samples of a function of each prediction and its target."""

    @abstractmethod
    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        """Compute the function of each number, and its derivative with respect to y_pred."""

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        terms, derivatives = self._terms(y_pred, y_true)
        return float(terms.mean()), derivatives / terms.size

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        return self._terms(y_pred, y_true)[0]


def refuse_named_outputs(where: str, loss: Loss, output_shape: Any) -> NoReturn:
    """Refuse a model of several outputs, whose shapes are a dict, for a loss of one."""
    name = next(iter(output_shape))
    remedy = f"Write Losses({{{name!r}: {loss!r}, ...}})."
    check.fail(where, "loss", "one for each output of the model", loss, remedy)


def share_of(numbers: Array, shares: Array) -> Array:
    """Multiply by shares; of a share of 0, even an infinite number is nothing."""
    product = np.zeros(np.shape(shares), numbers.dtype)
    return np.multiply(numbers, shares, out=product, where=shares != 0)


def mean_over_positions(losses: Array, n_axes: int) -> Array:
    """Average over all axes but the first ``n_axes``, if there are any."""
    if losses.ndim == n_axes:
        return losses
    means: Array = losses.reshape(*losses.shape[:n_axes], -1).mean(axis=n_axes)
    return means


def weighted(loss: Loss, y_pred: Any, y_true: Any, weight: Array) -> tuple[float, Any]:
    """Compute the weighted mean of the losses, Σ weight · loss / Σ weight, and its gradient.

    Parameters
    ----------
    loss : Loss
        Loss function.
    y_pred : ndarray of shape (n_samples, *output_shape), or a dict of such
        Predictions.
    y_true : ndarray
        Targets that are checked already.
    weight : ndarray of shape (n_samples,) or (n_samples, *positions)
        Weight of each sample, or of each position: ``positions`` are the first axes of
        `Loss.position_shape`.

    Returns
    -------
    tuple of float and ndarray
        Loss, and gradient in the shape of ``y_pred``; both 0 where nothing has a weight.

    Raises
    ------
    ShapeError
        If the predictions have no positions of the weights' shape.
    """
    gradient = loss.gradient(y_pred, y_true)
    total = float(weight.sum())
    if not total:
        return 0.0, _scaled(gradient, np.zeros_like(weight))
    if weight.ndim == 1:
        losses = loss.per_sample(y_pred, y_true)
    else:
        losses = loss.per_position(y_pred, y_true)
        if losses.shape[: weight.ndim] != weight.shape:
            wanted = f"of a shape that {losses.shape}, the predictions' positions, begins with"
            got = check.Said(str(weight.shape))
            where = f"{type(loss).__name__}.per_position"
            check.fail(where, "sample_weight", wanted, got, error=ShapeError)
        losses = mean_over_positions(losses, weight.ndim)
    value = float(weight.ravel().dot(losses.ravel())) / total
    # A position's gradient is weight.size times its part of that of the mean.
    return value, _scaled(gradient, weight * (weight.size / total))


def _scaled(gradient: Any, factors: Array) -> Any:
    """Multiply a gradient, or each one of a dict, by a factor for each position."""
    if isinstance(gradient, Mapping):
        return {name: _scaled(part, factors) for name, part in gradient.items()}
    axes = [1] * (gradient.ndim - factors.ndim)
    return gradient * factors.astype(gradient.dtype).reshape(*factors.shape, *axes)
