"""Metrics of predicted numbers."""

from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.metrics.base import Metric
from layerkit.metrics.moments import merged_moments, moments
from layerkit.metrics.weights import mean_sum

__all__ = [
    "MAPE",
    "ExplainedVariance",
    "MeanAbsoluteError",
    "R2Score",
    "RootMeanSquaredError",
    "SquaredDistance",
]


class NumberMetric(Metric):
    """Base of the metrics of predicted numbers, whose samples may have weights."""

    takes_weight = True


class SquaredDistance(NumberMetric):
    """Σ ‖y_pred − y_true‖² over the samples: a sum, not a mean.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SquaredDistance
    >>> SquaredDistance()(np.array([[1.0, 2.0], [0.0, 3.0]]), np.zeros((2, 2)))
    14.0
    """

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> float:
        """Sum the squares of a batch; see `Metric.total`."""
        if weight is not None:
            return mean_sum(np.square(y_pred - y_true), weight) * int(y_pred[0].size)
        error = np.subtract(y_pred, y_true).ravel()
        return float(error.dot(error))

    def result(self, total: float, n_samples: int) -> float:
        """Return the sum as it is; see `Metric.result`."""
        return total


class MeanAbsoluteError(NumberMetric):
    """The mean of |y_pred − y_true| over outputs and samples.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MeanAbsoluteError
    >>> MeanAbsoluteError()(np.array([[1.0, -2.0]]), np.zeros((1, 2)))
    1.5
    """

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> float:
        """Sum the samples' mean errors; see `Metric.total`."""
        return mean_sum(np.abs(y_pred - y_true), weight)


class MAPE(NumberMetric):
    """The mean absolute percentage error: that of |y_pred − y_true| / |y_true|, over all outputs.

    A share, as in scikit-learn: 0.05 is 5 %. A target of 0 counts as 2.2e-16, the rounding of a
    number near 1, and makes the figure huge.

    References
    ----------
    Hyndman & Koehler (2006), "Another look at measures of forecast accuracy", section 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MAPE
    >>> MAPE()(np.array([[90.0], [25.0]]), np.array([[100.0], [20.0]]))
    0.175
    """

    @property
    def name(self) -> str:
        """Name of the figure in a `History`."""
        return "mape"

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> float:
        """Sum the samples' mean errors; see `Metric.total`."""
        truth = np.abs(y_true.astype(np.float64))
        errors = np.abs(y_pred.astype(np.float64) - y_true)
        return mean_sum(errors / np.maximum(truth, np.finfo(np.float64).eps), weight)


class RootMeanSquaredError(NumberMetric):
    """√ of the mean of (y_pred − y_true)² over outputs and samples.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import RootMeanSquaredError
    >>> RootMeanSquaredError()(np.array([[3.0], [5.0]]), np.array([[0.0], [4.0]])) ** 2
    5.000000000000001
    """

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> float:
        """Sum the samples' mean squares; see `Metric.total`."""
        error = np.subtract(y_pred, y_true, dtype=np.float64)
        if weight is not None:
            return mean_sum(np.square(error), weight)
        error = error.ravel()
        return float(error.dot(error)) * len(y_pred) / y_pred.size

    def result(self, total: float, n_samples: int) -> float:
        """Compute the root of the mean, not the mean of roots; see `Metric.result`."""
        return float(np.sqrt(total / n_samples))


class R2Score(NumberMetric):
    """R², the share of the targets' variance that the predictions explain.

    1 − Σ (y_true − y_pred)² / Σ (y_true − mean)² for each output, and its mean over the outputs;
    1 is perfect, 0 what the mean alone gives. An output whose targets are all equal counts 1 if
    it is predicted exactly, and else 0.

    Batches are put together by their means and sums of squared deviations, so nothing is lost
    where the mean is much larger than the spread.

    References
    ----------
    Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance", eq. 2.1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import R2Score
    >>> R2Score()(np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]]))
    0.5
    """

    greater_is_better = True

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> Array:
        """Compute, by output, the moments of the targets and Σ errors²; see `Metric.total`."""
        truth = y_true.reshape(len(y_true), -1).astype(np.float64)
        errors = y_pred.reshape(truth.shape) - truth
        # From one of the targets on: of equal ones nothing is left, not even rounding.
        deviations = truth - truth[0]
        weights = np.ones(len(truth)) if weight is None else weight
        n_counted = float(weights.sum())
        shift = weights @ deviations / (n_counted or 1.0)
        deviations -= shift
        sums = [weights @ np.square(deviations), weights @ np.square(errors)]
        return np.stack([np.full(shift.shape, n_counted), truth[0] + shift, *sums])

    def merge(self, total: Any, other: Any) -> Any:
        """Put together the moments of two sets of targets; see `Metric.merge`."""
        if np.ndim(total) == 0:
            return other
        if np.ndim(other) == 0:
            return total
        first, second = total[0], other[0]
        together = total + other
        shift = other[1] - total[1]
        together[1] = total[1] + shift * (second / together[0])
        together[2] += np.square(shift) * (first * second / together[0])
        return together

    def result(self, total: Array, n_samples: int) -> float:
        """Compare both sums; see `Metric.result`."""
        _, _, spread, errors = total
        return float(_shares_explained(spread, errors).mean())


class ExplainedVariance(NumberMetric):
    """The share of the targets' variance that is left when the errors' mean is taken off.

    1 − Var(y_true − y_pred) / Var(y_true) for each output, and its mean over the outputs: `R2Score`
    of predictions whose mean error is 0. An output whose targets are all equal counts 1 if its
    errors are all equal too, and else 0. Batches are put together as for `R2Score`.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import ExplainedVariance
    >>> ExplainedVariance()(np.array([[6.0], [7.0], [8.0]]), np.array([[1.0], [2.0], [3.0]]))
    1.0
    """

    greater_is_better = True

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> Array:
        """Compute, by output, the moments of targets and errors; see `Metric.total`."""
        truth = y_true.reshape(len(y_true), -1).astype(np.float64)
        return moments(truth, truth - y_pred.reshape(truth.shape), weight)

    def merge(self, total: Any, other: Any) -> Any:
        """Put together the moments of two sets of samples; see `Metric.merge`."""
        return merged_moments(total, other)

    def result(self, total: Array, n_samples: int) -> float:
        """Compare both variances; see `Metric.result`."""
        return float(_shares_explained(total[3], total[4]).mean())


def _shares_explained(spread: Array, errors: Array) -> Array:
    """Compute 1 − errors / spread; of no spread, 1 for no errors, 0 for some, NaN for NaN."""
    is_flat = spread == 0
    scores = 1 - errors / np.where(is_flat, 1, spread)
    flat_scores = np.where(np.isnan(errors), errors, errors == 0)
    return np.where(is_flat, flat_scores, scores)
