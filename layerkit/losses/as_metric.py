"""`LossMetric`: any loss as a figure that is reported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.losses.base import Loss
from layerkit.losses.combined import Losses
from layerkit.metrics import Metric

__all__ = ["LossMetric"]

# Of both kinds the sign decides, and a loss of one can be taken of the other.
_SIGNED = {"logits", "scores"}


class LossMetric(Metric):
    """The mean of a loss over the samples, as a metric beside another loss that is minimised.

    Over any batches and ranks it is the loss of all samples together. The loss sees predictions
    as they are: one of logits needs a model whose outputs are logits.

    Parameters
    ----------
    loss : Loss
        Loss to report.
    name : str, optional
        Name of the figure in a `History`; unless given, that of the loss's class in snake_case.

    Raises
    ------
    ArgumentError
        If ``loss`` is no loss, or the name no text; when called, for targets that the loss does
        not take; beside a loss of another kind of predictions.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Huber, LossMetric
    >>> metric = LossMetric(Huber())
    >>> metric.name
    'huber'
    >>> metric(np.array([[1.0], [3.0]]), np.zeros((2, 1)))
    1.5
    """

    def __init__(self, loss: Loss, name: str | None = None) -> None:
        where = "LossMetric.__init__"
        self.loss = check.instance(where, "loss", loss, Loss)
        named = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(loss).__name__).lower()
        self._name = named if name is None else check.name(where, name) or ""
        self.takes_targets = loss.takes_targets
        self.takes_weight = not isinstance(loss, Losses)

    @property
    def name(self) -> str:
        """Name of the figure in a `History`."""
        return self._name

    def total(self, y_pred: Any, y_true: Any, weight: Array | None = None) -> float:
        """Sum the losses of the samples; see `Metric.total`."""
        if y_true is not None and not isinstance(y_true, Mapping):
            y_true = y_true.astype(self.loss.target_dtype(y_pred.dtype), copy=False)
        if weight is not None:
            losses = self.loss.per_sample(y_pred, y_true)
            return float(losses.astype(float).dot(weight))
        value = check.one_float(
            f"{type(self.loss).__name__}.value", "the loss", self.loss.value(y_pred, y_true)
        )
        size = len(next(iter(y_pred.values())) if isinstance(y_pred, Mapping) else y_pred)
        return value * size

    def check_targets(self, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
        """Leave the shape of the targets to the loss; see `Metric.check_targets`."""

    def check_values(self, where: str, y_true: Any, output_shape: Shape) -> None:
        """Refuse targets that the loss does not take; see `Metric.check_values`."""
        self.loss.check_targets(where, y_true, output_shape)

    def for_predictions(self, where: str, predictions: Any) -> Metric:
        """Refuse a loss of another kind of predictions; see `Metric.for_predictions`."""
        own = self.loss.predictions
        are_known = isinstance(own, str) and isinstance(predictions, str)
        if are_known and own != predictions and not {own, predictions} <= _SIGNED:
            wanted = f"of losses of {predictions}, as that which is minimised is"
            check.fail(where, "metrics", wanted, check.Said(f"{self!r}, of {own}"))
        return self
