"""Weights of samples: how they enter the sums of metrics."""

from __future__ import annotations

import math

import numpy as np

from layerkit._support.validation import Array

__all__ = ["at_positions", "count", "mean_sum"]


def mean_sum(values: Array, weight: Array | None) -> float:
    """Sum over the samples the mean of each one's values, times its weight."""
    if weight is None:
        return float(values.sum()) * len(values) / values.size
    means = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
    return float(means.dot(weight))


def at_positions(weight: Array | None, n_positions: int) -> Array:
    """Return the weight of each position, samples one after the other; 1 without weights."""
    if weight is None:
        return np.ones(n_positions)
    return np.repeat(weight.astype(np.float64, copy=False), n_positions // max(1, len(weight)))


def count(masks: Array, weight: Array | None) -> Array:
    """Count by column the rows that are marked, each as much as its sample weighs.

    Parameters
    ----------
    masks : ndarray of bool of shape (n_positions, n_columns)
        Marks of the positions of all samples, one sample after the other.
    weight : ndarray of shape (n_samples,), optional
        Weight of each sample.
    """
    if weight is None:
        counts: Array = masks.sum(axis=0)
        return counts
    # Not by a matrix product, whose sums of equal columns may differ in the last place.
    weights = at_positions(weight, len(masks))
    return np.array([math.fsum(weights[column]) for column in masks.T])
