"""Metrics of numbers: exact where the mean is far from 0, and whatever the batches and dtypes."""

import functools

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from parts import agree, agree_weighted, weights_of

from layerkit import (
    MAPE,
    ExplainedVariance,
    MeanAbsoluteError,
    R2Score,
    RootMeanSquaredError,
    SquaredDistance,
    Weighted,
)

YEARS = 1.7e9 + np.arange(60.0)[:, None]
WHOLE = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64]


def test_targets_that_are_all_equal():
    y_true = np.full((4, 1), 0.1)
    assert R2Score()(y_true, y_true) == 1
    assert R2Score()(y_true + 0.1, y_true) == 0
    assert R2Score()(np.full((5, 1), 1e8 + 5), np.full((5, 1), 1e8)) == 0
    assert np.isnan(R2Score()(np.full((4, 1), np.nan), y_true))
    assert R2Score()(np.full((4, 1), np.inf), y_true) == 0


def test_a_small_spread_is_one():
    y_true = 1e-9 * np.arange(3.0)[:, None]
    assert R2Score()(y_true + 1e-9, y_true) == pytest.approx(-0.5, rel=1e-15)


def test_a_mean_that_is_much_larger_than_the_spread():
    metric = R2Score()
    # Σ errors² = 60 · 100², Σ (t − mean)² = 60 · (60² − 1) / 12.
    expected = 1 - 60 * 1e4 / (60 * 3599 / 12)
    assert round(expected, 2) == -32.34
    assert metric(YEARS + 100, YEARS) == pytest.approx(expected, rel=1e-15)
    one_by_one = [metric.total(row[None] + 100, row[None]) for row in YEARS]
    got = metric.result(functools.reduce(metric.merge, one_by_one), 60)
    assert got == pytest.approx(expected, rel=1e-12)  # means of 1.7e9 round by 2e-7


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(2, 40),
    width=st.integers(1, 3),
    mean=st.sampled_from([0.0, -3.0, 1e4]),
    n_cuts=st.integers(0, 6),
)
def test_r2_is_that_of_scikit_learn_however_it_is_put_together(seed, n, width, mean, n_cuts):
    rng = np.random.default_rng(seed)
    y_true = mean + rng.normal(size=(n, width)) * rng.choice([0.01, 1, 100], size=width)
    y_pred = y_true + rng.normal(size=(n, width))
    cuts = np.sort(rng.integers(1, n, size=n_cuts))
    metric = R2Score()
    parts = zip(np.split(y_pred, cuts), np.split(y_true, cuts), strict=True)
    parts = [metric.total(*part) if len(part[0]) else 0.0 for part in parts]
    while len(parts) > 1:  # as ranks and batches may do, in any order
        k = int(rng.integers(len(parts) - 1))
        parts[k : k + 2] = [metric.merge(*parts[k : k + 2])]
    expected = sk.r2_score(y_true, y_pred)
    # Spreads of 0.01 around 1e4 have 1e-16 · 1e4 / 0.01 of rounding in each deviation.
    tolerance = {"rel": 1e-8, "abs": 1e-12}
    assert metric.result(parts[0], n) == pytest.approx(expected, **tolerance)
    assert metric(y_pred, y_true) == pytest.approx(expected, **tolerance)


def test_merging_changes_neither_total():
    metric = R2Score()
    totals = [metric.total(YEARS[:9], YEARS[:9] + 1), metric.total(YEARS[9:], YEARS[9:])]
    kept = [total.copy() for total in totals]
    metric.merge(*totals)
    np.testing.assert_array_equal(totals, kept)


def test_several_outputs_are_averaged():
    y_true = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    y_pred = np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    assert R2Score()(y_pred, y_true) == 0.75
    assert R2Score()(y_pred + np.array([0, 1]), y_true) == 0.25


@pytest.mark.parametrize("dtype", [*WHOLE, np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (MeanAbsoluteError(), 2.0),
        (SquaredDistance(), 8.0),
        (RootMeanSquaredError(), 2.0),
        (R2Score(), -0.28),
        (ExplainedVariance(), 1.0),
        (MAPE(), (2 / 3 + 2 / 102) / 2),
    ],
    ids=repr,
)
def test_numbers_of_any_dtype_do_not_wrap_around(metric, expected, dtype):
    y_pred, y_true = np.array([[1], [100]], dtype), np.array([[3], [102]], dtype)
    if isinstance(metric, R2Score):
        y_pred, y_true = np.array([[1], [100]], dtype), np.array([[100], [1]], dtype)
        expected = -3.0
    assert metric(y_pred, y_true) == pytest.approx(expected, rel=1e-15)


def test_numbers_of_whole_dtypes_that_overflow():
    y_pred, y_true = np.array([[50_000]], np.int32), np.array([[0]], np.int32)
    assert SquaredDistance()(y_pred, y_true) == 2.5e9
    assert SquaredDistance()(np.array([[4_000_000_000]]), np.array([[0]])) == 1.6e19
    assert MeanAbsoluteError()(np.array([[250]], np.uint8), [[-6]]) == 256
    assert MeanAbsoluteError()(np.array([[0.0]]), np.array([[2**63]], np.uint64)) == 2.0**63
    assert MeanAbsoluteError()(np.array([[False], [True]]), np.array([[True], [True]])) == 0.5
    assert MeanAbsoluteError()(np.array([[6e4]], np.float16), np.array([[-6e4]], np.float16)) > 1e5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_that_are_not_finite(bad):
    with pytest.raises(ValueError, match=r"R2Score.__call__: y_true must be finite; got .* sample"):
        R2Score()(np.zeros((2, 1)), np.array([[0.0], [bad]]))


@given(seed=st.integers(0, 2**32), n=st.integers(2, 30), width=st.integers(1, 3))
def test_shares_are_those_of_scikit_learn(seed, n, width):
    rng = np.random.default_rng(seed)
    # Of numbers of few bits scikit-learn's mean is exact too, and equal ones have no deviations.
    y_true = rng.choice([-2.0, 0.5, 3.0, 7.25], size=(n, width)) * rng.choice([1.0, 2**-10, 2**10])
    y_pred = y_true + rng.choice([0.0, 0.25, 2.0], size=(n, width))
    weight = weights_of(rng, n)
    for metric, function in (
        (ExplainedVariance(), sk.explained_variance_score),
        (MAPE(), sk.mean_absolute_percentage_error),
    ):
        expected = function(y_true, y_pred)
        agree(metric, y_pred, y_true, expected, rng)
        seen = weight != 0
        expected = function(y_true[seen], y_pred[seen], sample_weight=weight[seen])
        agree_weighted(metric, y_pred, y_true, weight, expected, rng)


def test_errors_that_are_all_equal_are_explained():
    assert ExplainedVariance()(YEARS + 100, YEARS) == 1
    assert ExplainedVariance()(np.full((4, 1), 0.3), np.full((4, 1), 0.1)) == 1
    assert ExplainedVariance()(np.arange(4.0)[:, None], np.full((4, 1), 0.1)) == 0
    assert np.isnan(ExplainedVariance()(np.full((4, 1), np.nan), np.ones((4, 1))))
    assert ExplainedVariance().name == "explained_variance"
    assert (MAPE().name, MAPE().greater_is_better) == ("mape", False)


def test_rounding_of_weighted_means_is_no_deviation():
    """Where scikit-learn has 0.5: its weighted mean of equal errors is not equal to them."""
    y_pred, y_true = np.array([[5.0, 0.8], [0.0, 0.8]]), np.array([[3.0, 0.5], [-2.0, 0.5]])
    assert Weighted(ExplainedVariance())(y_pred, y_true, np.array([1.5, 0.25])) == 1


def test_percentages_of_0():
    assert MAPE()(np.array([[0.0]]), np.array([[0.0]])) == 0
    assert MAPE()(np.array([[1.0]]), np.array([[0.0]])) == 1 / np.finfo(float).eps
