"""How the totals of metrics are computed, put together and turned into figures.

A list of totals has that of each metric, and then numbers that are simply added, such as how many
samples they are over.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.metrics.base import Metric

__all__ = ["PREDICTIONS", "figure", "merged", "spoiled", "suited", "totals", "widened"]

# What a loss can say of its predictions.
PREDICTIONS = ("logits", "class_logits", "probabilities", "scores")


def suited(where: str, metrics: Sequence[Metric], predictions: Any) -> list[Metric]:
    """Return the metrics to compute beside a loss, which know what its predictions are.

    Parameters
    ----------
    where : str
        Name of the call, for errors.
    metrics : sequence of Metric
        Metrics as the user made them.
    predictions : str, dict of str to str, or None
        `Loss.predictions` of the loss.

    Raises
    ------
    ArgumentError
        If the loss says a word that there is not, or a metric can't judge such predictions.
    """
    of_all = predictions.values() if isinstance(predictions, Mapping) else [predictions]
    for kind in of_all:
        if kind is not None:
            check.choice(where, "predictions of the loss", kind, PREDICTIONS)
    return [metric.for_predictions(where, predictions) for metric in metrics]


def totals(
    metrics: Sequence[Metric], y_pred: Any, y_true: Any, weight: Array | None = None
) -> list[Any]:
    """Compute the totals of a batch, and the number of samples that they are over.

    Weights of samples are for a metric that `Metric.is_weighted` alone. Where positions have
    weights, of shape (n_samples, *positions), those that weigh something count like samples of
    their own, and the others, such as padding, don't. A NaN that a metric would not notice makes
    its total NaN.

    Parameters
    ----------
    metrics : sequence of Metric
        Metrics to compute.
    y_pred : ndarray of shape (n_samples, *output_shape), or a dict of such
        Predictions.
    y_true : ndarray, dict of ndarray or None
        Targets.
    weight : ndarray, optional
        Weights of the samples or positions.

    Returns
    -------
    list
        Total of each metric, then the number of samples or positions.
    """
    if weight is None or weight.ndim == 1:
        n_counted = len(next(iter(y_pred.values())) if isinstance(y_pred, Mapping) else y_pred)
    else:
        counts = weight != 0
        n_counted = int(counts.sum())
        if not n_counted:
            return [*[0.0] * len(metrics), 0]
        y_pred, y_true = _counted(y_pred, counts), _counted(y_true, counts)
        weight = weight[counts]
    found: list[Any] = []
    for metric in metrics:
        takes_it: Any = metric  # which then has a third argument
        given = (y_pred, y_true, weight) if metric.is_weighted else (y_pred, y_true)
        total = takes_it.total(*given)
        found.append(spoiled(total) if metric.hides_nan(y_pred) else total)
    return [*found, n_counted]


def spoiled(total: Any) -> Any:
    """Return a total like this one, in which every number is NaN."""
    if isinstance(total, list | tuple):
        return type(total)(map(spoiled, total))
    return total * math.nan


def _counted(values: Any, counts: Array) -> Any:
    """Select the positions that count, one after the other, of an array or a dict of arrays."""
    if values is None:
        return None
    if isinstance(values, Mapping):
        return {name: _counted(array, counts) for name, array in values.items()}
    taken = values[counts]
    # A number for each position is an output of one number; a class stays a class.
    is_number = taken.ndim == 1 and values.dtype.kind == "f"
    return taken[:, None] if is_number else taken


def merged(metrics: Sequence[Metric], totals: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Put together the totals of two sets of samples, such as two batches or two ranks.

    Parameters
    ----------
    metrics : sequence of Metric
        Metrics of the first totals; the numbers after those are added.
    totals, others : sequence
        Totals of each set, 0.0 for a metric that has seen no sample.
    """
    result: list[Any] = []
    for metric, total, other in zip(metrics, totals, others, strict=False):
        # A sum of float32 numbers would stay one, as Python's floats give way to it.
        result.append(metric.merge(total, other if type(other) is float else widened(other)))
    for k in range(len(result), len(totals)):
        result.append(totals[k] + others[k])
    return result


def widened(total: Any) -> Any:
    """Return a total as Python's number or, of several numbers, as an array of 64 bits."""
    if isinstance(total, np.generic) or (isinstance(total, np.ndarray) and not total.ndim):
        return total.item()
    if isinstance(total, np.ndarray) and total.dtype.itemsize < 8 and total.dtype.kind in "biuf":
        return total.astype(np.float64 if total.dtype.kind == "f" else np.int64)
    return total


def figure(metric: Metric, total: Any, n_samples: int) -> Any:
    """Return the figure of a metric, a Python float unless it is none of one number.

    NaN over no samples.
    """
    if not n_samples:
        return math.nan
    result = metric.result(total, n_samples)
    if type(result) is float or not metric.is_figure:
        return result
    return check.one_float(f"{type(metric).__name__}.result", "the figure", result)
