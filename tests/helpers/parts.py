"""Figures of metrics over parts of the samples, put together as batches and ranks do."""

import numpy as np

from layerkit import Weighted
from layerkit.metrics.totals import figure, merged, totals
from layerkit.storage.models import tree_from_bytes, tree_to_bytes


def sent(total):
    """Send a total as one rank does to another."""
    return tree_from_bytes("here", tree_to_bytes("here", {"total": total}))["total"]


def in_parts(metric, y_pred, y_true, rng, weight=None, n_cuts=3):
    """Compute a figure from parts of random sizes, some empty, put together in random order."""
    cuts = np.sort(rng.integers(len(y_pred) + 1, size=n_cuts))
    arrays = (y_pred, y_true, np.ones(len(y_pred)) if weight is None else weight)
    parts = []
    for p, t, w in zip(*(np.split(a, cuts) for a in arrays), strict=True):
        parts.append(totals([metric], p, t, w) if len(p) else [0.0, 0])
    while len(parts) > 1:
        k = int(rng.integers(len(parts) - 1))
        parts[k : k + 2] = [merged([metric], parts[k], sent(parts[k + 1]))]
    return figure(metric, *parts[0])


def agree(metric, y_pred, y_true, expected, rng, rtol=1e-12, atol=1e-13):
    """Compare the figure of all samples, and of parts of them, with the one expected."""
    for got in (metric(y_pred, y_true), in_parts(metric, y_pred, y_true, rng)):
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


def agree_weighted(metric, y_pred, y_true, weight, expected, rng, rtol=1e-12, atol=1e-13):
    """Compare a weighted figure; NaN where samples weigh nothing must not be looked at."""
    metric = Weighted(metric)
    y_pred = np.where((weight == 0).reshape(-1, *[1] * (y_pred.ndim - 1)), np.nan, y_pred)
    got = metric(y_pred, y_true, weight)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
    got = in_parts(metric, y_pred, y_true, rng, weight)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


def weights_of(rng, n):
    """Return weights of samples, some of them 0, but not all."""
    weight = rng.choice([0.0, 0.25, 1.0, 3.0], size=n)
    weight[rng.integers(n)] = 1.5
    return weight
