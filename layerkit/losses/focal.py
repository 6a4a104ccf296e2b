"""Focal losses: cross-entropies in which what is known already counts less."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import CONSTANTS, sigmoid
from layerkit._support.validation import Array, Shape
from layerkit.losses.base import ElementwiseLoss, share_of
from layerkit.losses.targets import ClassLoss, check_length, check_probabilities, weights_of

__all__ = ["CategoricalFocal", "Focal"]


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
        check_probabilities(where, y_true)

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


class CategoricalFocal(ClassLoss):
    """Cross-entropy of classes in which what is known already counts less.

    −Σ α y (1 − p)^γ log p over the classes, with p = softmax(y_pred). Takes logits: the last layer
    has no activation. The mean over the samples of the mean over the positions, which are the
    axes before the classes; weights of positions are those of `SoftmaxCrossEntropy`.

    The gradient with respect to the logits is (a − p Σ a) / (n_samples · n_positions), with
    a = α y (1 − p)^γ (γ p log p / (1 − p) − 1).

    Parameters
    ----------
    targets : {"indices", "probabilities"}
        Whether y_true holds the class of each sample, as integers of shape
        (n_samples, *positions), or the probability of each class, as one-hot rows for example,
        of shape (n_samples, *positions, n_classes).
    gamma : float
        γ, at least 0; 0 is the cross-entropy.
    alpha : float or sequence of float, optional
        α, the weight of all classes or of each, above 0; by default 1.
    label_smoothing : float
        ε, from 0 to below 1: y becomes (1 − ε) y + ε / n_classes, so that no class is certain.

    Raises
    ------
    ArgumentError
        If an argument is out of range; by `check_targets`, for targets of the other kind, classes
        out of range, and probabilities that don't add up to 1.

    References
    ----------
    Lin et al. (2017), "Focal loss for dense object detection", eq. 5, of more than two classes.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import CategoricalFocal
    >>> logits = np.log([[0.7, 0.2, 0.1]])
    >>> loss = CategoricalFocal(gamma=2)
    >>> round(loss.value(logits, np.array([0])), 6)  # −0.3² · log 0.7
    0.032101
    """

    predictions = "class_logits"

    def __init__(
        self,
        targets: Literal["indices", "probabilities"] = "indices",
        gamma: float = 2.0,
        alpha: float | Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(targets)
        where = "CategoricalFocal.__init__"
        self.gamma = check.number(where, "gamma", gamma, minimum=0)
        self.alpha = weights_of(where, "alpha", alpha)
        self.label_smoothing = check.number(
            where, "label_smoothing", label_smoothing, minimum=0, below=1
        )

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets of the other kind or out of range; see `Loss.check_targets`."""
        super().check_targets(where, y_true, output_shape)
        check_length(where, "alpha", self.alpha, output_shape)

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        shares, surprise, rest, factor = self._softmax(y_pred)
        weights = self._weights(y_pred, y_true)
        losses = share_of(factor * surprise, weights).sum(axis=-1)
        # Beyond the bound, the share is 0 but for rounding, and so is the product.
        bounded = np.minimum(surprise, CONSTANTS[y_pred.dtype].exp_limit)
        # −log p / (1 − p), which is 1 for p of 1.
        ratio = np.divide(bounded, rest, out=np.ones_like(rest), where=rest > 0)
        own = -weights * factor * (self.gamma * shares * ratio + 1)
        gradient = own - shares * own.sum(axis=-1, keepdims=True)
        return float(losses.mean()), gradient / losses.size

    def _softmax(self, y_pred: Array) -> tuple[Array, Array, Array, Array]:
        """Compute p, −log p, 1 − p and (1 − p)^γ, to all digits where p is near 1."""
        best = y_pred.argmax(axis=-1)[..., None]
        shifted = y_pred - np.take_along_axis(y_pred, best, axis=-1)
        powers = np.exp(shifted)
        np.put_along_axis(powers, best, 0, axis=-1)
        others = powers.sum(axis=-1, keepdims=True)
        np.put_along_axis(powers, best, 1, axis=-1)
        shares = powers / (1 + others)
        rest = 1 - shares
        np.put_along_axis(rest, best, others / (1 + others), axis=-1)
        return shares, np.log1p(others) - shifted, rest, rest**self.gamma

    def _weights(self, y_pred: Array, y_true: Array) -> Array:
        weights = self.as_probabilities(y_true, y_pred)
        if self.label_smoothing:
            smoothing = self.label_smoothing
            weights = weights * (1 - smoothing) + smoothing / y_pred.shape[-1]
        return weights if self.alpha is None else weights * np.asarray(self.alpha, weights.dtype)

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        _, surprise, _, factor = self._softmax(y_pred)
        losses: Array = share_of(factor * surprise, self._weights(y_pred, y_true)).sum(axis=-1)
        return losses
