"""Correlations of predicted and true numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.metrics.moments import merged_moments, moments
from layerkit.metrics.ranking import merged_parts
from layerkit.metrics.regression import NumberMetric

__all__ = ["ConcordanceCorrelation", "PearsonCorrelation", "SpearmanCorrelation"]


class PearsonCorrelation(NumberMetric):
    """Pearson's r of predictions and targets, from −1 to 1, for each output, and its mean.

    Σ (p − p̄)(t − t̄) / √(Σ (p − p̄)² · Σ (t − t̄)²). An output whose predictions or targets are
    all equal has none (NaN), and is left out of the mean. Batches are put together by their
    means and deviations, as for `R2Score`.

    References
    ----------
    Pearson (1895), "Note on regression and inheritance in the case of two parents"; Chan, Golub
    & LeVeque (1983), "Algorithms for computing the sample variance".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import PearsonCorrelation
    >>> y_pred = np.array([[1.0], [2.0], [4.0]])
    >>> round(PearsonCorrelation()(y_pred, np.array([[1.0], [2.0], [3.0]])), 4)
    0.982
    """

    greater_is_better = True

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> Array:
        """Compute, by output, the moments of both; see `Metric.total`."""
        truth = y_true.reshape(len(y_true), -1)
        return moments(y_pred.reshape(truth.shape), truth, weight)

    def merge(self, total: Any, other: Any) -> Any:
        """Put together the moments of two sets of samples; see `Metric.merge`."""
        return merged_moments(total, other)

    def result(self, total: Array, n_samples: int) -> float:
        """Compute the correlations, and their mean; see `Metric.result`."""
        return _mean_correlation(*total[3:])


class ConcordanceCorrelation(PearsonCorrelation):
    """Lin's concordance of predictions and targets, for each output, and its mean.

    2 · Cov(p, t) / (Var(p) + Var(t) + (p̄ − t̄)²): Pearson's r, less what the predictions are off in
    scale and in mean. An output whose predictions and targets are all the same number has none
    (NaN), and is left out of the mean. Batches are put together as for `PearsonCorrelation`.

    References
    ----------
    Lin (1989), "A concordance correlation coefficient to evaluate reproducibility", eq. 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import ConcordanceCorrelation
    >>> y_pred = np.array([[2.0], [3.0], [4.0]])
    >>> round(ConcordanceCorrelation()(y_pred, np.array([[1.0], [2.0], [3.0]])), 4)
    0.5714
    """

    def result(self, total: Array, n_samples: int) -> float:
        """Compute the concordances, and their mean; see `Metric.result`."""
        count, mean_pred, mean_true, spread_pred, spread_true, products = total
        whole = spread_pred + spread_true + count * np.square(mean_pred - mean_true)
        known = whole != 0
        return float((2 * products[known] / whole[known]).mean()) if known.any() else math.nan


class SpearmanCorrelation(NumberMetric):
    """Spearman's ρ, Pearson's correlation of the ranks, for each output, and its mean.

    Equal numbers have the mean of their ranks; a sample of weight 2 is like two of them. An
    output whose predictions or targets are all equal has none (NaN), and is left out of the mean.
    Keeps all predictions and targets of an epoch.

    References
    ----------
    Spearman (1904), "The proof and measurement of association between two things".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SpearmanCorrelation
    >>> y_pred = np.array([[1.0], [2.0], [400.0]])
    >>> SpearmanCorrelation()(y_pred, np.array([[1.0], [2.0], [3.0]]))
    1.0
    """

    greater_is_better = True

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> list[Array]:
        """Collect predictions, targets and weights; see `Metric.total`."""
        n = len(y_pred)
        weights = np.ones((n, 1)) if weight is None else weight.reshape(n, 1)
        columns = [y_pred.reshape(n, -1), y_true.reshape(n, -1), weights]
        return [np.concatenate(columns, axis=1, dtype=np.float64).T]

    def merge(self, total: Any, other: Any) -> Any:
        """Put together the numbers of two sets of samples; see `Metric.merge`."""
        return merged_parts(total, other)

    def result(self, total: list[Array], n_samples: int) -> float:
        """Compute the correlations of the ranks, and their mean; see `Metric.result`."""
        rows = np.concatenate(total, axis=1)
        if np.isnan(rows).any():
            return math.nan
        weights, half = rows[-1], len(rows) // 2
        ranks = np.stack([_ranks(row, weights) for row in rows[:-1]])
        return _mean_correlation(*moments(ranks[:half].T, ranks[half:].T, weights)[3:])

    def hides_nan(self, y_pred: Any) -> bool:
        """Return whether there is a NaN, which has no rank; see `Metric.hides_nan`."""
        return bool(np.isnan(y_pred).any())


def _ranks(values: Array, weights: Array) -> Array:
    """Return the weight of all that is less, and half of that which is equal."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    group = np.cumsum(np.append(False, ordered[1:] != ordered[:-1]))
    of_groups = np.bincount(group, weights[order])
    ranks = np.empty(len(values))
    ranks[order] = (np.cumsum(of_groups) - of_groups / 2)[group]
    return ranks


def _mean_correlation(first: Array, second: Array, products: Array) -> float:
    # By two ratios, as the product of two sums may overflow or be 0; exactly 1 for equal ones.
    known = (first != 0) & (second != 0)
    first, second = first[known], second[known]
    correlations = products[known] / first * (np.sqrt(first) / np.sqrt(second))
    return float(np.clip(correlations, -1, 1).mean()) if known.any() else math.nan
