"""What metrics of probabilities share: how they are made of outputs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring, sigmoid
from layerkit._support.validation import Array
from layerkit.metrics.base import Metric
from layerkit.metrics.classes import LabelMetric

__all__ = ["ScoreMetric"]

# How far outside of 0 and 1 rounding, of half precision too, may leave a probability.
_OFF = 2e-3


class ScoreMetric(LabelMetric):
    """Base of the metrics of probabilities, of one output, of several classes or of labels.

    Attributes
    ----------
    from_logits : bool or None
        Whether outputs are logits, and no probabilities; None for what suits the loss.
    """

    from_logits: bool | None = None
    needs_probabilities = True

    def __init__(self, multilabel: bool, from_logits: bool | None) -> None:
        super().__init__(multilabel)
        self.from_logits = from_logits
        if from_logits is not None:
            where = f"{type(self).__name__}.__init__"
            self.from_logits = check.boolean(where, "from_logits", from_logits)

    def for_predictions(self, where: str, predictions: Any) -> Metric:
        """Return it for logits or probabilities, as the loss has; see `Metric.for_predictions`."""
        super().for_predictions(where, predictions)
        if self.from_logits is not None:
            return self
        if predictions == "scores" and self.needs_probabilities:
            wanted = "of scores, as the loss's predictions are no probabilities"
            remedy = "Use SigmoidCrossEntropy(), or metrics such as AUC()."
            check.fail(where, "metrics", wanted, self, remedy)
        suited = copy.copy(self)
        suited.from_logits = predictions in ("logits", "class_logits")
        return suited

    def excludes(self, y_pred: Array) -> bool:
        """Return whether the outputs are of classes, of which each sample has one."""
        return not self.multilabel and y_pred.shape[-1] > 1

    def probabilities(self, y_pred: Array) -> Array:
        """Compute the probabilities, in double precision, of shape (n_positions, n_outputs)."""
        outputs = y_pred.reshape(-1, y_pred.shape[-1]).astype(np.float64)
        if not self.from_logits:
            self._refuse_others(outputs)
            return np.clip(outputs, 0, 1)
        return np.exp(log_softmax(outputs)) if self.excludes(y_pred) else sigmoid(outputs)

    def _refuse_others(self, outputs: Array) -> None:
        other = (outputs < -_OFF) | (outputs > 1 + _OFF)
        if other.any():
            got = check.Said(f"{outputs[tuple(np.argwhere(other)[0])]:g}")
            remedy = f"Of logits, write {type(self).__name__}(from_logits=True)."
            where = f"{type(self).__name__}.total"
            check.fail(where, "y_pred", "probabilities, from 0 to 1", got, remedy)


@ignoring("under", "invalid")  # ∞ − ∞ of the largest is 0
def log_softmax(logits: Array) -> Array:
    """Return log softmax over the last axis, to all digits also where a probability is near 1."""
    best = logits.argmax(axis=-1)[..., None]
    shifted: Array = logits - np.take_along_axis(logits, best, axis=-1)
    np.put_along_axis(shifted, best, 0, axis=-1)  # of infinite ones, too
    others = np.exp(shifted)
    np.put_along_axis(others, best, 0, axis=-1)
    shifted -= np.log1p(others.sum(axis=-1, keepdims=True))
    return shifted
