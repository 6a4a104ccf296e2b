"""Moments of pairs of numbers, which batches and ranks put together without cancellation."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerkit._support.validation import Array

__all__ = ["merged_moments", "moments"]


def moments(first: Array, second: Array, weight: Array | None) -> Array:
    """Compute the moments of the columns of two matrices of shape (n_samples, n_columns).

    Parameters
    ----------
    first, second : ndarray of shape (n_samples, n_columns)
        Pairs of numbers.
    weight : ndarray of shape (n_samples,), optional
        Weight of each sample.

    Returns
    -------
    ndarray of shape (6, n_columns)
        Sum of the weights, means of both, sums of squared deviations of both, and the sum of the
        products of the deviations.
    """
    weights = np.ones(len(first)) if weight is None else weight.astype(np.float64, copy=False)
    count = float(weights.sum())
    # From one of the numbers on: of equal ones nothing is left, not even rounding.
    a, b = (values.astype(np.float64) - values[0] for values in (first, second))
    mean_a, mean_b = (weights @ values / (count or 1.0) for values in (a, b))
    a -= mean_a
    b -= mean_b
    sums = [weights @ (a * a), weights @ (b * b), weights @ (a * b)]
    return np.stack([np.full(len(mean_a), count), first[0] + mean_a, second[0] + mean_b, *sums])


def merged_moments(total: Any, other: Any) -> Any:
    """Put together the moments of two sets of pairs; each may be 0.0, for none.

    References
    ----------
    Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance", eq. 2.1.
    """
    if np.ndim(total) == 0:
        return other
    if np.ndim(other) == 0:
        return total
    together: Array = total + other
    share = other[0] / together[0]
    shifts = other[1:3] - total[1:3]
    together[1:3] = total[1:3] + shifts * share
    together[3:5] += np.square(shifts) * (total[0] * share)
    together[5] += shifts[0] * shifts[1] * (total[0] * share)
    return together
