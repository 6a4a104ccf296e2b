"""Losses of embeddings: what belongs together is to be near, and what doesn't, far apart.

The embeddings that are compared stand side by side in one array, as `Concatenate` joins them.
"""

from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.losses.base import BuiltInLoss, refuse_named_outputs
from layerkit.losses.targets import check_probabilities, length_of_parts

__all__ = ["Contrastive", "Triplet"]


class EmbeddingLoss(BuiltInLoss):
    """A loss of distances between embeddings, the parts of the predictions' last axis."""

    _n_parts: int
    _names: str

    def _split(self, y_pred: Array) -> list[Array]:
        where = f"{type(self).__name__}.value_and_gradient"
        length_of_parts(where, y_pred.shape[1:], self._n_parts, self._names)
        return np.split(y_pred, self._n_parts, axis=-1)

    def position_shape(self, output_shape: Shape) -> Shape:
        """Return the axes before the last, that of the embeddings."""
        return output_shape[:-1]


def _distance(first: Array, second: Array) -> tuple[Array, Array]:
    """Compute ‖first − second‖, and its gradient with respect to the first: 0 where they meet."""
    difference = first - second
    distance = np.sqrt(np.square(difference).sum(axis=-1, keepdims=True))
    slope = np.divide(difference, distance, out=np.zeros_like(difference), where=distance > 0)
    return distance, slope


class Triplet(EmbeddingLoss):
    """max(0, ‖a − p‖ − ‖a − n‖ + margin): the anchor a is to be nearer to p than to n.

    The outputs are ``anchor, positive, negative = np.split(y_pred, 3, axis=-1)``, embeddings
    of three samples by the same layers: predictions of shape (n_samples, 3 · length). There are
    no targets: ``y`` is left out in `Trainer.fit`. The three come from one model, as the axis of
    inputs of shape (n_samples, 3, ...) that `TimeDistributed` goes along and `Flatten` joins, or as
    three branches of a `Graph` with ``ties`` that end in `Concatenate`.

    The mean over the samples; axes between the samples and the last are positions, which may
    have weights of their own. Where the loss is above 0, the gradient is that of the
    distances, unit vectors, divided by n_samples; that of a distance of 0 is 0.

    Parameters
    ----------
    margin : float
        Length by which the positive is to be nearer; above 0.
    swap : bool
        Whether the negative is compared with the nearer of a and p: ‖a − n‖ becomes
        min(‖a − n‖, ‖p − n‖).

    Raises
    ------
    ArgumentError
        If the margin is not above 0, or ``swap`` is not True or False.
    ShapeError
        By `value` and `gradient`, for predictions that are not three embeddings long.

    References
    ----------
    Schroff et al. (2015), "FaceNet: a unified embedding for face recognition and clustering",
    section 3.1, of distances instead of their squares; Balntas et al. (2016), "Learning local
    feature descriptors with triplets and shallow convolutional neural networks", section 3
    (``swap``).

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Triplet
    >>> y_pred = np.array([[0.0, 0.0, 3.0, 4.0, 0.0, 2.0]])  # distances of 5 and 2
    >>> Triplet(margin=1).value(y_pred, None)
    4.0
    """

    takes_targets = False
    _n_parts, _names = 3, "anchor, positive and negative"

    def __init__(self, margin: float = 1.0, *, swap: bool = False) -> None:
        self.margin = check.number("Triplet.__init__", "margin", margin, above=0)
        self.swap = check.boolean("Triplet.__init__", "swap", swap)

    def _terms(self, y_pred: Array) -> tuple[Array, Array]:
        """Compute the loss of each position, and the gradient of each."""
        anchor, positive, negative = self._split(y_pred)
        near, near_slope = _distance(anchor, positive)
        far, far_slope = _distance(anchor, negative)
        losses = near - far + self.margin
        to_anchor, to_positive = near_slope - far_slope, -near_slope
        if self.swap:
            other, other_slope = _distance(positive, negative)
            is_nearer = other < far
            losses = np.where(is_nearer, near - other + self.margin, losses)
            to_anchor = np.where(is_nearer, near_slope, to_anchor)
            to_positive = np.where(is_nearer, -near_slope - other_slope, to_positive)
            far_slope = np.where(is_nearer, other_slope, far_slope)
        slopes = np.concatenate([to_anchor, to_positive, far_slope], axis=-1)
        return np.maximum(losses, 0)[..., 0], slopes * (losses > 0)

    def _compute(self, y_pred: Array, y_true: Any) -> tuple[float, Array]:
        losses, slopes = self._terms(y_pred)
        return float(losses.mean()), slopes / losses.size

    def _per_position(self, y_pred: Array, y_true: Any) -> Array:
        return self._terms(y_pred)[0]


class Contrastive(EmbeddingLoss):
    """½ y D² + ½ (1 − y) max(0, margin − D)², with the distance D of two embeddings.

    The outputs are ``first, second = np.split(y_pred, 2, axis=-1)``, embeddings of two samples by
    the same layers: predictions of shape (n_samples, 2 · length). Targets y of shape
    (n_samples, 1) are 1 for a pair that belongs together, and 0 for one that doesn't. How
    two embeddings come from one model, see `Triplet`.

    The mean over the samples; axes between the samples and the last are positions, which may
    have weights of their own. The gradient with respect to the first is
    (y D − (1 − y) max(0, margin − D)) (first − second) / D / n_samples, and 0 for a D of 0.

    Parameters
    ----------
    margin : float
        Distance beyond which a pair that doesn't belong together costs nothing; above 0.

    Raises
    ------
    ArgumentError
        If the margin is not above 0; by `check_targets`, for targets outside [0, 1].

    References
    ----------
    Hadsell et al. (2006), "Dimensionality reduction by learning an invariant mapping", eq. 4,
    where Y = 1 − y.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Contrastive
    >>> y_pred = np.array([[0.0, 0.0, 0.3, 0.4], [0.0, 0.0, 0.3, 0.4]])  # distances of 0.5
    >>> Contrastive(margin=2).per_sample(y_pred, np.array([[1.0], [0.0]]))
    array([0.125, 1.125])
    """

    _n_parts, _names = 2, "two embeddings"

    def __init__(self, margin: float = 1.0) -> None:
        self.margin = check.number("Contrastive.__init__", "margin", margin, above=0)

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets but one in [0, 1] for each pair; see `Loss.check_targets`."""
        if not isinstance(output_shape, tuple):
            refuse_named_outputs(where, self, output_shape)
        length_of_parts(where, output_shape, self._n_parts, self._names)
        super().check_targets(where, y_true, (*output_shape[:-1], 1))
        check_probabilities(where, y_true)

    def _terms(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        """Compute the loss of each position, and the gradient of each."""
        distance, slope = _distance(*self._split(y_pred))
        room = np.maximum(self.margin - distance, 0)
        losses = (y_true * np.square(distance) + (1 - y_true) * np.square(room)) / 2
        slope *= y_true * distance - (1 - y_true) * room
        return losses[..., 0], np.concatenate([slope, -slope], axis=-1)

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        losses, slopes = self._terms(y_pred, y_true)
        return float(losses.mean()), slopes / losses.size

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        return self._terms(y_pred, y_true)[0]
