"""Losses of margins: the score of the right answer is to be above the others by 1."""

from typing import Literal

import numpy as np

from layerkit._support.validation import Array, Shape
from layerkit.losses.base import ElementwiseLoss, share_of
from layerkit.losses.targets import ClassLoss, refuse_where

__all__ = ["CategoricalHinge", "Hinge", "SquaredHinge"]


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
        remedy = "For 0 and 1, write 2.0 * y - 1."
        refuse_where(where, y_true, lambda rows: abs(rows) != 1, "-1 or 1", remedy)

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        room = 1 - y_true * y_pred
        return np.maximum(room, 0), np.where(room > 0, -y_true, 0).astype(y_pred.dtype)


class SquaredHinge(Hinge):
    """max(0, 1 − y_true · y_pred)², for targets of −1 and 1: a hinge without an edge.

    The mean over outputs and samples; the gradient is
    −2 y_true · max(0, 1 − y_true · y_pred) / (n_outputs · n_samples).

    Raises
    ------
    ArgumentError
        By `check_targets`, for targets but −1 and 1.

    References
    ----------
    Lee & Mangasarian (2001), "SSVM: a smooth support vector machine for classification";
    Tang (2013), "Deep learning using linear support vector machines" (L2-SVM).

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SquaredHinge
    >>> SquaredHinge().value(np.array([[0.5], [2.0]]), np.array([[1.0], [1.0]]))
    0.125
    """

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        room = np.maximum(1 - y_true * y_pred, 0)
        return np.square(room), -2 * y_true * room


class CategoricalHinge(ClassLoss):
    """max(0, 1 + n − p): the score p of the right class is to be above n, the best of the others.

    p = Σ y · y_pred over the classes and n = max (1 − y) · y_pred, for one-hot rows y. So n is the
    largest score of the wrong classes, or 0 if all of them are below 0, as in Keras: a right
    score is to be above 1 in any case. Probabilities that are not certain are put into the same
    equations.

    The mean over the samples of the mean over the positions, which are the axes before the
    classes; weights of positions are those of `SoftmaxCrossEntropy`. Where the loss is above 0,
    the gradient is −y, and 1 − y more for the class of n, divided by n_samples · n_positions.

    Parameters
    ----------
    targets : {"indices", "probabilities"}
        Whether y_true holds the class of each sample, as integers of shape
        (n_samples, *positions), or one-hot rows or probabilities of shape
        (n_samples, *positions, n_classes).

    Raises
    ------
    ArgumentError
        If ``targets`` is another word; by `check_targets`, for targets of the other kind, classes
        out of range, and probabilities that don't add up to 1.

    References
    ----------
    Crammer & Singer (2001), "On the algorithmic implementation of multiclass kernel-based vector
    machines".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import CategoricalHinge
    >>> CategoricalHinge().value(np.array([[0.5, 1.25, -3.0]]), np.array([0]))
    1.75
    >>> CategoricalHinge().gradient(np.array([[0.5, 1.25, -3.0]]), np.array([0]))
    array([[-1.,  1.,  0.]])
    """

    predictions = "class_logits"

    def __init__(self, targets: Literal["indices", "probabilities"] = "indices") -> None:
        super().__init__(targets)

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        shares = self.as_probabilities(y_true, y_pred)
        losses, best = self._losses(y_pred, shares)
        gradient = 0 - shares
        at_best = np.take_along_axis(gradient, best, -1) + 1 - np.take_along_axis(shares, best, -1)
        np.put_along_axis(gradient, best, at_best, -1)
        gradient *= (losses > 0)[..., None]
        gradient /= losses.size
        return float(losses.mean()), gradient

    def _losses(self, y_pred: Array, shares: Array) -> tuple[Array, Array]:
        """Compute the loss of each position, and the class of the largest wrong score."""
        wrong = share_of(y_pred, 1 - shares)
        best = wrong.argmax(axis=-1)[..., None]
        others = np.take_along_axis(wrong, best, -1)[..., 0]
        right = share_of(y_pred, shares).sum(axis=-1)
        return np.maximum(1 + others - right, 0), best

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        return self._losses(y_pred, self.as_probabilities(y_true, y_pred))[0]
