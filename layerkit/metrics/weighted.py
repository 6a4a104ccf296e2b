"""`Weighted`: a metric in which samples count as much as they weigh."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.samples import name_of
from layerkit._support.validation import Array
from layerkit.errors import ShapeError
from layerkit.metrics.base import Metric
from layerkit.metrics.totals import spoiled

__all__ = ["Weighted"]


class Weighted(Metric):
    """A metric in which each sample counts as much as its ``sample_weight``.

    Without it, metrics count all samples alike, whatever weights the loss has; both may stand in
    one `Trainer`. A mean becomes Σ weight · figure / Σ weight, and a count a sum of weights, so
    that a sample of weight 2 is like two of them, and one of weight 0 like none, whatever its
    predictions are. Where there are no weights, each is 1. Weights are those of the loss: of
    positions too, and in training times ``class_weight``.

    Parameters
    ----------
    metric : Metric
        Metric to weigh; one of layerkit's, or another whose `Metric.takes_weight` is True. For a
        model of several outputs, write ``ForOutput("kind", Weighted(Accuracy()))``.

    Raises
    ------
    ArgumentError
        If the metric is none, or can't be weighted.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Accuracy, Weighted
    >>> metric = Weighted(Accuracy())
    >>> metric.name
    'weighted_accuracy'
    >>> metric(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]), np.array([3.0, 1.0]))
    0.75
    """

    is_weighted = True

    def __init__(self, metric: Metric) -> None:
        where = "Weighted.__init__"
        self.metric = check.instance(where, "metric", metric, Metric)
        if not metric.takes_weight:
            remedy = "A class of your own sets takes_weight = True, and takes weight in total."
            if hasattr(metric, "output"):
                remedy = f"Write ForOutput({metric.output!r}, Weighted(...))."
            check.fail(where, "metric", "one whose samples can be weighted", metric, remedy)
        self.greater_is_better = metric.greater_is_better
        self.is_figure = metric.is_figure
        self.takes_targets = metric.takes_targets

    @property
    def name(self) -> str:
        """Name of the figure in a `History`: ``"weighted_accuracy"``."""
        return f"weighted_{self.metric.name}"

    def total(self, y_pred: Array, y_true: Any, weight: Array | None = None) -> tuple[Any, float]:
        """Compute the metric's total, and the sum of the weights; see `Metric.total`."""
        if weight is None:
            weight = np.ones(len(y_pred))
        counts = weight != 0
        if not counts.any():  # a total of nothing, which is like the others
            counts = np.arange(len(y_pred)) == 0
            y_pred = np.full_like(y_pred, 0.5)
        if not counts.all():
            y_pred, weight = y_pred[counts], weight[counts]
            y_true = None if y_true is None else y_true[counts]
        weight = weight.astype(np.float64, copy=False)
        weighing: Any = self.metric
        total = weighing.total(y_pred, y_true, weight)
        if self.metric.hides_nan(y_pred):
            total = spoiled(total)
        return total, float(weight.sum())

    def merge(self, total: Any, other: Any) -> Any:
        """Put together the metric's totals, and the weights; see `Metric.merge`."""
        # Of a weight of 0 there is nothing to add, nor a mean to add it to.
        if not isinstance(other, tuple) or (isinstance(total, tuple) and not other[1]):
            return total
        if not isinstance(total, tuple) or not total[1]:
            return other
        return self.metric.merge(total[0], other[0]), total[1] + other[1]

    def result(self, total: Any, n_samples: int) -> Any:
        """Compute the metric's figure, NaN if nothing weighs anything; see `Metric.result`."""
        if not isinstance(total, tuple) or not total[1]:
            return math.nan
        weight: Any = total[1]
        return self.metric.result(total[0], weight)

    def check_targets(self, where: str, y_true_shape: Any, output_shape: Any) -> None:
        """Refuse targets that the metric can't take; see `Metric.check_targets`."""
        self.metric.check_targets(where, y_true_shape, output_shape)

    def check_values(self, where: str, y_true: Any, output_shape: Any) -> None:
        """Refuse targets that the metric can't judge; see `Metric.check_values`."""
        self.metric.check_values(where, y_true, output_shape)

    def for_predictions(self, where: str, predictions: Any) -> Metric:
        """Return the one whose metric suits the loss; see `Metric.for_predictions`."""
        metric = self.metric.for_predictions(where, predictions)
        return self if metric is self.metric else Weighted(metric)

    @ignoring("under")
    def __call__(self, y_pred: Any, y_true: Any = None, sample_weight: Any = None) -> Any:
        """Compute the figure of one set of predictions.

        Parameters
        ----------
        y_pred : array_like of shape (n_samples, *output_shape)
            Predictions.
        y_true : array_like
            Targets; None for a metric that takes none.
        sample_weight : array_like of shape (n_samples,), optional
            Weight of each sample, at least 0; 1 unless given.

        Returns
        -------
        float
            Figure over all samples.

        Raises
        ------
        ShapeError
            If there is not one weight for each sample; else as for the metric.
        ArgumentError
            If a weight is below 0 or not finite, or none is above 0; else as for the metric.
        """
        where = "Weighted.__call__"
        if sample_weight is None:
            return self.metric(y_pred, y_true)
        y_pred, targets = check.predictions(where, y_pred, y_true if self.takes_targets else y_pred)
        weight = check.numeric_array(where, "sample_weight", sample_weight, np.dtype(np.float64))
        check.finite(where, "sample_weight", weight)
        if weight.shape != (len(y_pred),):
            got = check.Said(str(weight.shape))
            wanted = f"of shape {(len(y_pred),)}"
            check.fail(where, "sample_weight", wanted, got, error=ShapeError)
        if (weight < 0).any():
            bad = int((weight < 0).argmax())
            got = check.Said(f"{weight[bad]:g} for {name_of(bad)}")
            check.fail(where, "sample_weight", "at least 0", got)
        if not weight.any():
            check.fail(where, "sample_weight", "above 0 for some sample", check.Said("0 for all"))
        y_pred, counts = check.as_floats(y_pred), weight != 0
        self.metric(y_pred[counts], targets[counts])  # for its checks
        wide = check.as_wide(targets) if self.takes_targets else None
        return self.result(self.total(y_pred, wide, weight), len(y_pred))
