"""Focal losses: cross-entropies in which what is known already counts less."""

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import CONSTANTS, sigmoid
from layerkit._support.validation import Array, Shape
from layerkit.losses.base import ElementwiseLoss, share_of
from layerkit.losses.targets import check_probabilities

__all__ = ["Focal"]


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
