"""Losses of regions: how little the predicted one and the true one overlap."""

from typing import Any, Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import sigmoid
from layerkit._support.validation import Array, Shape
from layerkit.losses.base import BuiltInLoss
from layerkit.losses.targets import ClassLoss, check_probabilities

__all__ = ["Dice", "Tversky"]

Targets = Literal["labels", "indices", "probabilities"]


class OverlapLoss(ClassLoss):
    """1 − (c · C + ε) / (c · C + α · F + β · M + ε), of what regions share, add and miss."""

    common: float
    alpha: float
    beta: float

    def __init__(self, targets: Targets, per_class: bool, epsilon: float) -> None:
        where = f"{type(self).__name__}.__init__"
        choices = ("labels", "indices", "probabilities")
        self.targets = check.choice(where, "targets", targets, choices)
        self.per_class = check.boolean(where, "per_class", per_class)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)
        self.predictions = "logits" if targets == "labels" else "class_logits"

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets of another kind or out of range; see `Loss.check_targets`."""
        if self.per_class and isinstance(output_shape, tuple) and len(output_shape) == 1:
            wanted = "False for outputs of one axis, whose classes are single numbers"
            check.fail(where, "per_class", wanted, True)
        if self.targets != "labels":
            super().check_targets(where, y_true, output_shape)
            return
        BuiltInLoss.check_targets(self, where, y_true, output_shape)
        check_probabilities(where, y_true)

    def _shares(self, y_pred: Array) -> tuple[Array, Array]:
        """Compute the probabilities of the logits, and what they lack to 1."""
        if self.targets == "labels":
            return sigmoid(y_pred), sigmoid(-y_pred)
        best = y_pred.argmax(axis=-1)[..., None]
        powers = np.exp(y_pred - np.take_along_axis(y_pred, best, axis=-1))
        shares = powers / powers.sum(axis=-1, keepdims=True)
        lacking = 1 - shares
        # Of the largest, 1 − p would be rounding.
        np.put_along_axis(powers, best, 0, axis=-1)
        others = powers.sum(axis=-1, keepdims=True) / (1 + powers.sum(axis=-1, keepdims=True))
        np.put_along_axis(lacking, best, others, axis=-1)
        return shares, lacking

    def _overlaps(self, y_pred: Array, y_true: Array) -> tuple[Any, ...]:
        """Compute probabilities, targets, and the two sums of each region."""
        shares, lacking = self._shares(y_pred)
        wanted = y_true if self.targets == "labels" else self.as_probabilities(y_true, y_pred)
        axes = tuple(range(1, y_pred.ndim - self.per_class))
        common = self.common * (wanted * shares).sum(axis=axes, keepdims=True)
        added = ((1 - wanted) * shares).sum(axis=axes, keepdims=True)
        missed = (wanted * lacking).sum(axis=axes, keepdims=True)
        apart = self.alpha * added + self.beta * missed
        return shares, lacking, wanted, common + self.epsilon, apart

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        shares, lacking, wanted, common, apart = self._overlaps(y_pred, y_true)
        whole = common + apart
        losses = apart / whole
        # Of apart / (common + apart), with respect to each probability.
        slopes = (self.alpha * (1 - wanted) - self.beta * wanted) * (common / whole)
        slopes -= self.common * wanted * losses
        slopes /= whole * losses.size
        if self.targets == "labels":
            return float(losses.mean()), slopes * shares * lacking
        along = (slopes * shares).sum(axis=-1, keepdims=True)
        return float(losses.mean()), shares * (slopes - along)

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        *_, common, apart = self._overlaps(y_pred, y_true)
        losses: Array = (apart / (common + apart)).reshape(len(y_pred), -1).mean(axis=1)
        return losses

    def position_shape(self, output_shape: Shape) -> Shape:
        """Return (): a sample is one position."""
        return ()


class Dice(OverlapLoss):
    """1 − (2 Σ y p + ε) / (Σ y + Σ p + ε): how little two regions overlap, of their sizes.

    The sums are over all outputs of a sample, such as the pixels of an image, and the loss is the
    mean over the samples. Takes logits: p is their sigmoid, or their softmax over the last axis for
    classes that exclude each other. A sample is one position: weights are those of samples.

    With s = Σ y + Σ p + ε, the gradient with respect to p is
    ((2 Σ y p + ε) / s − 2 y) / s / n_samples.

    Parameters
    ----------
    targets : {"labels", "indices", "probabilities"}
        ``"labels"`` are answers to yes-or-no questions, in [0, 1] and of the shape of the
        predictions. ``"indices"`` and ``"probabilities"`` are of classes that exclude each
        other, as in `SoftmaxCrossEntropy`: the class of each position, or one-hot rows.
    per_class : bool
        Whether each channel of the last axis is a region of its own, over which the loss is
        a mean; for predictions of shape (n_samples, *positions, n_channels).
    epsilon : float
        ε, above 0: where neither prediction nor target has a region, the loss is 0. If many
        targets have none, a larger number such as 1 tells predictions apart that are nearly so.

    Raises
    ------
    ArgumentError
        If an argument is out of range; by `check_targets`, for targets of another kind.

    References
    ----------
    Milletari et al. (2016), "V-Net: fully convolutional neural networks for volumetric medical
    image segmentation", section 3, of which the squares in the denominator are left out, as in
    Sudre et al. (2017), "Generalised Dice overlap as a deep learning loss function".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Dice
    >>> logits = np.zeros((1, 2, 2, 1))  # an image of 2 × 2 pixels, of p = ½
    >>> y_true = np.array([[[[1.0], [1.0]], [[0.0], [0.0]]]])
    >>> round(Dice().value(logits, y_true), 6)
    0.5
    """

    common, alpha, beta = 2.0, 1.0, 1.0

    def __init__(
        self, targets: Targets = "labels", *, per_class: bool = False, epsilon: float = 1e-7
    ) -> None:
        super().__init__(targets, per_class, epsilon)


class Tversky(OverlapLoss):
    """1 − (C + ε) / (C + α F + β M + ε), of what is common, falsely found, and missed.

    C = Σ y p, F = Σ (1 − y) p and M = Σ y (1 − p) over all outputs of a sample; the loss is the
    mean over the samples. Takes logits: p is their sigmoid, or their softmax over the last axis for
    classes that exclude each other. With β above α, what is missed costs more than what is
    falsely found. Weights are those of samples.

    With s = C + α F + β M + ε, the gradient with respect to p is
    ((α (1 − y) − β y) (C + ε) − y (α F + β M)) / s² / n_samples.

    Parameters
    ----------
    alpha : float
        α, at least 0; ½ for both is `Dice`, and 1 the index of Jaccard.
    beta : float
        β, at least 0.
    targets : {"labels", "indices", "probabilities"}
        Kind of the targets; see `Dice`.
    per_class : bool
        Whether each channel of the last axis is a region of its own; see `Dice`.
    epsilon : float
        ε, above 0.

    Raises
    ------
    ArgumentError
        If an argument is out of range, or α and β are both 0; by `check_targets`, for targets of
        another kind.

    References
    ----------
    Salehi et al. (2017), "Tversky loss function for image segmentation using 3D fully
    convolutional deep networks". In Keras 3.15, α is in effect the weight of what is
    missed, and β of what is falsely found.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Tversky
    >>> logits, y_true = np.zeros((1, 4)), np.array([[1.0, 1.0, 0.0, 0.0]])
    >>> round(Tversky(alpha=0.2, beta=0.8).value(logits, y_true), 6)
    0.5
    """

    common = 1.0

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        *,
        targets: Targets = "labels",
        per_class: bool = False,
        epsilon: float = 1e-7,
    ) -> None:
        self.alpha = check.number("Tversky.__init__", "alpha", alpha, minimum=0)
        self.beta = check.number("Tversky.__init__", "beta", beta, minimum=0)
        if not self.alpha + self.beta:
            got = check.Said("0 for both")
            check.fail("Tversky.__init__", "alpha or beta", "above 0", got)
        super().__init__(targets, per_class, epsilon)
