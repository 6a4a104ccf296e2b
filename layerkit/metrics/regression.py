"""Metrics of predicted numbers."""

from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.metrics.base import Metric

__all__ = ["MeanAbsoluteError", "R2Score", "RootMeanSquaredError", "SquaredDistance"]


class SquaredDistance(Metric):
    """Σ ‖y_pred − y_true‖² over the samples: a sum, not a mean.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SquaredDistance
    >>> SquaredDistance()(np.array([[1.0, 2.0], [0.0, 3.0]]), np.zeros((2, 2)))
    14.0
    """

    def total(self, y_pred: Array, y_true: Array) -> float:
        """Sum the squares of a batch; see `Metric.total`."""
        error = np.subtract(y_pred, y_true).ravel()
        return float(error.dot(error))

    def result(self, total: float, n_samples: int) -> float:
        """Return the sum as it is; see `Metric.result`."""
        return total


class MeanAbsoluteError(Metric):
    """The mean of |y_pred − y_true| over outputs and samples.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MeanAbsoluteError
    >>> MeanAbsoluteError()(np.array([[1.0, -2.0]]), np.zeros((1, 2)))
    1.5
    """

    def total(self, y_pred: Array, y_true: Array) -> float:
        """Sum the samples' mean errors; see `Metric.total`."""
        return float(np.abs(y_pred - y_true).sum()) * len(y_pred) / y_pred.size


class RootMeanSquaredError(Metric):
    """√ of the mean of (y_pred − y_true)² over outputs and samples.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import RootMeanSquaredError
    >>> RootMeanSquaredError()(np.array([[3.0], [5.0]]), np.array([[0.0], [4.0]])) ** 2
    5.000000000000001
    """

    def total(self, y_pred: Array, y_true: Array) -> float:
        """Sum the samples' mean squares; see `Metric.total`."""
        error = np.subtract(y_pred, y_true, dtype=np.float64).ravel()
        return float(error.dot(error)) * len(y_pred) / y_pred.size

    def result(self, total: float, n_samples: int) -> float:
        """Compute the root of the mean, not the mean of roots; see `Metric.result`."""
        return float(np.sqrt(total / n_samples))


class R2Score(Metric):
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

    def total(self, y_pred: Array, y_true: Array) -> Array:
        """Compute, by output, the moments of the targets and Σ errors²; see `Metric.total`."""
        truth = y_true.reshape(len(y_true), -1).astype(np.float64)
        errors = y_pred.reshape(truth.shape) - truth
        # From one of the targets on: of equal ones nothing is left, not even rounding.
        deviations = truth - truth[0]
        shift = deviations.mean(axis=0)
        deviations -= shift
        count = np.full(shift.shape, float(len(truth)))
        return np.stack(
            [
                count,
                truth[0] + shift,
                np.square(deviations).sum(axis=0),
                np.square(errors).sum(axis=0),
            ]
        )

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
        is_flat = spread == 0
        scores = 1 - errors / np.where(is_flat, 1, spread)
        flat_scores = np.where(np.isnan(errors), errors, errors == 0)
        return float(np.where(is_flat, flat_scores, scores).mean())
