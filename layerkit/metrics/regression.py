"""Metrics of predicted numbers."""

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

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import R2Score
    >>> R2Score()(np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]]))
    0.5
    """

    greater_is_better = True

    def total(self, y_pred: Array, y_true: Array) -> Array:
        """Sum errors² and the targets' powers, by output; see `Metric.total`."""
        truth = y_true.reshape(len(y_true), -1).astype(np.float64)
        errors = y_pred.reshape(truth.shape) - truth
        return np.stack(
            [np.square(errors).sum(axis=0), truth.sum(axis=0), np.square(truth).sum(axis=0)]
        )

    def result(self, total: Array, n_samples: int) -> float:
        """Compare both sums; see `Metric.result`."""
        errors, sums, squares = total
        spread = squares - sums * sums / n_samples
        # What is left of equal numbers is rounding.
        is_flat = spread <= 1e-14 * squares
        scores = 1 - errors / np.where(is_flat, 1, spread)
        return float(np.where(is_flat, errors <= 1e-14 * squares, scores).mean())
