"""Correlations are those of scipy, over batches, with ties, weights and equal numbers."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from parts import agree, agree_weighted, weights_of

from layerkit import (
    ArgumentError,
    ConcordanceCorrelation,
    PearsonCorrelation,
    SpearmanCorrelation,
)

PAIRS = [
    (PearsonCorrelation(), scipy.stats.pearsonr),
    (SpearmanCorrelation(), scipy.stats.spearmanr),
]
each = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: repr(pair[0]))


def mean_of(function, y_pred, y_true):
    columns = zip(y_pred.T, y_true.T, strict=True)
    found = [
        function(*own).statistic if all(np.ptp(c) > 0 for c in own) else math.nan for own in columns
    ]
    known = [r for r in found if not math.isnan(r)]
    return np.mean(known) if known else math.nan


@each
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(2, 40),
    width=st.integers(1, 3),
    n_values=st.sampled_from([1, 2, 5, 1000]),
)
def test_they_are_those_of_scipy(pair, seed, n, width, n_values):
    rng = np.random.default_rng(seed)
    metric, function = pair
    values = rng.normal(size=n_values)
    y_pred, y_true = (rng.choice(values, size=(n, width)) for _ in range(2))
    # A correlation near 0 is a difference of sums near 1.
    agree(metric, y_pred, y_true, mean_of(function, y_pred, y_true), rng, 1e-12, 1e-12)
    weight = rng.integers(4, size=n)
    weight[0] = 2
    repeated = [np.repeat(values, weight, axis=0) for values in (y_pred, y_true)]
    agree_weighted(metric, y_pred, y_true, weight, mean_of(function, *repeated), rng, 1e-12, 1e-12)


@given(seed=st.integers(0, 2**32), n=st.integers(3, 20))
def test_pearson_with_weights_that_are_not_whole(seed, n):
    rng = np.random.default_rng(seed)
    y_pred, y_true, weight = rng.normal(size=(n, 1)), rng.normal(size=(n, 1)), weights_of(rng, n)
    if (weight != 0).sum() < 2:
        return
    matrix = np.cov(y_pred[:, 0], y_true[:, 0], aweights=weight, ddof=0)
    expected = matrix[0, 1] / math.sqrt(matrix[0, 0] * matrix[1, 1])
    agree_weighted(PearsonCorrelation(), y_pred, y_true, weight, expected, rng, 1e-11, 1e-12)


@each
def test_equal_numbers_have_none(pair):
    metric, _ = pair
    y_pred, y_true = np.full((5, 1), 0.1), np.arange(5.0)[:, None]
    assert math.isnan(metric(y_pred, y_true))
    assert math.isnan(metric(y_true, y_pred))
    both = metric(np.hstack([y_pred, y_true]), np.hstack([y_true, 2 * y_true]))
    assert both == 1
    assert metric(-y_true, y_true) == -1


@each
@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_extreme_numbers(pair, size):
    metric, function = pair
    y_pred, y_true = np.array([[1.0], [3], [2], [7]]), np.array([[1.0], [2], [4], [5]])
    expected = function(y_pred[:, 0], y_true[:, 0]).statistic
    assert metric(y_pred * size, y_true * size) == pytest.approx(expected, rel=1e-12)


def test_means_that_are_much_larger_than_the_spread():
    rng = np.random.default_rng(0)
    years = 1.7e9 + np.arange(60.0)[:, None]
    noise = rng.integers(9, size=(60, 1))
    expected = scipy.stats.pearsonr((years + noise - 1.7e9)[:, 0], (years - 1.7e9)[:, 0]).statistic
    assert PearsonCorrelation()(years + noise, years) == pytest.approx(expected, rel=1e-13)


def test_nan():
    y_pred, y_true = np.array([[1.0], [np.nan], [2.0]]), np.arange(3.0)[:, None]
    assert math.isnan(PearsonCorrelation()(y_pred, y_true))
    with pytest.raises(ArgumentError, match="y_pred must be numbers; got nan in sample 1"):
        SpearmanCorrelation()(y_pred, y_true)
    assert math.isnan(SpearmanCorrelation().result([np.full((3, 2), np.nan)], 2))


def test_names():
    names = [metric.name for metric, _ in PAIRS]
    assert names == ["pearson_correlation", "spearman_correlation"]
    assert all(metric.greater_is_better for metric, _ in PAIRS)


def concordance(p, t):
    """Lin's equation, from means over all samples."""
    return 2 * np.cov(p, t, ddof=0)[0, 1] / (p.var() + t.var() + (p.mean() - t.mean()) ** 2)


@given(seed=st.integers(0, 2**32), n=st.integers(2, 30), width=st.integers(1, 3))
def test_concordance(seed, n, width):
    rng = np.random.default_rng(seed)
    y_pred, y_true = rng.normal(size=(n, width)), rng.normal(0.5, 2, size=(n, width))
    expected = np.mean([concordance(*own) for own in zip(y_pred.T, y_true.T, strict=True)])
    agree(ConcordanceCorrelation(), y_pred, y_true, expected, rng, 1e-12, 1e-12)
    weight = rng.integers(4, size=n)
    weight[0] = 2
    columns = zip(y_pred.T, y_true.T, strict=True)
    own = [concordance(*(np.repeat(c, weight) for c in pair)) for pair in columns]
    agree_weighted(
        ConcordanceCorrelation(), y_pred, y_true, weight, np.mean(own), rng, 1e-12, 1e-12
    )


def test_concordance_of_equal_numbers():
    ones = np.ones((3, 1))
    assert math.isnan(ConcordanceCorrelation()(ones, ones))
    assert ConcordanceCorrelation()(2 * ones, ones) == 0
    assert ConcordanceCorrelation()(np.hstack([ones, ones]), np.hstack([ones, 2 * ones])) == 0
    y_true = np.arange(4.0)[:, None]
    assert ConcordanceCorrelation()(y_true, y_true) == 1
    assert math.isnan(ConcordanceCorrelation()(ones * np.nan, ones))
    assert ConcordanceCorrelation().name == "concordance_correlation"
