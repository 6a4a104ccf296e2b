"""Rates at the best threshold are those found by looking at every one of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts import agree, agree_weighted, weights_of

from layerkit import (
    ArgumentError,
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)

KINDS = [PrecisionAtRecall, RecallAtPrecision, SensitivityAtSpecificity, SpecificityAtSensitivity]


def expected_of(kind, level, scores, true, weight):
    """Try each score as the threshold, and one that nothing reaches."""
    if not (weight @ true and weight @ ~true):
        return math.nan
    best = 0.0
    for threshold in [*scores, np.inf]:
        called = scores >= threshold
        hits, alarms = (weight[called & own].sum() for own in (true, ~true))
        recall = hits / weight[true].sum()
        specificity = (weight[~true].sum() - alarms) / weight[~true].sum()
        precision = hits / (hits + alarms) if called.any() else 0.0
        found, other = {
            PrecisionAtRecall: (precision, recall),
            RecallAtPrecision: (recall, precision),
            SensitivityAtSpecificity: (recall, specificity),
            SpecificityAtSensitivity: (specificity, recall),
        }[kind]
        best = max(best, found if other >= level else 0.0)
    return best


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(2, 25),
    kind=st.sampled_from(KINDS),
    level=st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.9, 1.0]),
)
def test_the_best_threshold_is_found(seed, n, kind, level):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(8, size=(n, 3)) + 0.5) / 8
    true = rng.random((n, 3)) < 0.5
    weight = weights_of(rng, n)
    own = [expected_of(kind, level, scores[:, k], true[:, k], np.ones(n)) for k in range(3)]
    metric = kind(level)
    agree(metric, scores[:, :1], true[:, 0], own[0], rng)
    agree(kind(level, n_thresholds=9), scores[:, :1], true[:, 0], own[0], rng)
    agree(kind(level, None, multilabel=True), scores, true, own, rng)
    known = [figure for figure in own if not math.isnan(figure)]
    agree(kind(level, multilabel=True), scores, true, np.mean(known) if known else math.nan, rng)
    seen = weight != 0
    expected = expected_of(kind, level, scores[seen, 0], true[seen, 0], weight[seen])
    agree_weighted(metric, scores[:, :1], true[:, 0], weight, expected, rng)


def test_a_level_is_reached_by_rates_that_are_equal_to_it():
    scores, true = np.arange(20.0)[::-1, None], np.arange(20) % 2 == 0
    for tenths in range(11):
        for kind in (SensitivityAtSpecificity, SpecificityAtSensitivity, PrecisionAtRecall):
            figure = expected_of(kind, tenths / 10, scores[:, 0], true, np.ones(20))
            assert kind(tenths / 10)(scores, true) == figure


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [-0.1, 1.1, np.nan, "0.5", None])
def test_levels_that_there_are_not(kind, level):
    argument = kind.__name__.partition("At")[2].lower()
    words = rf"{kind.__name__}.__init__: {argument} must be a finite number of at least 0"
    with pytest.raises(ArgumentError, match=words):
        kind(level)


def test_names():
    assert [kind(0.9).name for kind in KINDS] == [
        "precision_at_recall_0.9",
        "recall_at_precision_0.9",
        "sensitivity_at_specificity_0.9",
        "specificity_at_sensitivity_0.9",
    ]
    assert repr(RecallAtPrecision(0.9, "micro")) == "RecallAtPrecision(0.9, 'micro')"
