"""Metrics of outputs with positions, and of positions that have weights."""

import numpy as np
import pytest

from layerkit import (
    AUC,
    MAPE,
    Accuracy,
    AveragePrecision,
    BalancedAccuracy,
    Brier,
    CalibrationError,
    CohenKappa,
    ConfusionMatrix,
    F1Score,
    FBeta,
    LogLoss,
    MatthewsCorrelation,
    MeanAbsoluteError,
    MeanIoU,
    Precision,
    R2Score,
    RecallAtPrecision,
    RootMeanSquaredError,
    Specificity,
    SquaredDistance,
    TopKAccuracy,
)
from layerkit.metrics.totals import totals

RNG = np.random.default_rng(0)
LOGITS, CLASSES = RNG.normal(size=(6, 5, 4)), RNG.integers(4, size=(6, 5))
SCORES, ANSWERS = RNG.normal(size=(6, 5, 1)), RNG.integers(2, size=(6, 5))
NUMBERS, TRUTHS = RNG.normal(size=(6, 5, 2)), RNG.normal(size=(6, 5, 2))
SEEN = RNG.uniform(size=(6, 5)) > 0.4
CASES = [
    (Accuracy(), LOGITS, CLASSES),
    (Accuracy(0), SCORES, ANSWERS),
    (Accuracy(0), SCORES, ANSWERS[..., None]),
    (TopKAccuracy(2), LOGITS, CLASSES),
    (Precision(), LOGITS, CLASSES),
    (Precision(threshold=0.0), SCORES, ANSWERS),
    (F1Score("micro"), LOGITS, CLASSES),
    (ConfusionMatrix(), LOGITS, CLASSES),
    (ConfusionMatrix(0.0), SCORES, ANSWERS),
    (MeanAbsoluteError(), NUMBERS, TRUTHS),
    (RootMeanSquaredError(), NUMBERS, TRUTHS),
    (SquaredDistance(), NUMBERS, TRUTHS),
    (FBeta(2.0), LOGITS, CLASSES),
    (MeanIoU(), LOGITS, CLASSES),
    (Specificity("weighted"), LOGITS, CLASSES),
    (BalancedAccuracy(), LOGITS, CLASSES),
    (MatthewsCorrelation(), LOGITS, CLASSES),
    (CohenKappa(threshold=0.0), SCORES, ANSWERS),
    (AUC(from_logits=True), LOGITS, CLASSES),
    (AUC(), SCORES, ANSWERS),
    (AUC(n_thresholds=7, from_logits=True), LOGITS, CLASSES),
    (AveragePrecision(), SCORES, ANSWERS),
    (RecallAtPrecision(0.5), SCORES, ANSWERS),
    (LogLoss(from_logits=True), LOGITS, CLASSES),
    (Brier(from_logits=True), LOGITS, CLASSES),
    (CalibrationError(from_logits=True), LOGITS, CLASSES),
    (MAPE(), NUMBERS, TRUTHS),
]
each = pytest.mark.parametrize(("metric", "y_pred", "y_true"), CASES)


@each
def test_positions_are_like_samples(metric, y_pred, y_true):
    flat = metric(y_pred.reshape(30, -1), y_true.reshape(30, *y_true.shape[2:]))
    assert metric(y_pred, y_true) == pytest.approx(flat, rel=1e-14)


@pytest.mark.parametrize("metric", [Accuracy(), TopKAccuracy(3), F1Score(), ConfusionMatrix()])
def test_one_hot_rows_are_class_indices_at_each_position(metric):
    by_row = metric(LOGITS, np.eye(4)[CLASSES])
    assert by_row == pytest.approx(metric(LOGITS, CLASSES))


@each
@pytest.mark.parametrize("cuts", [[], [1], [2, 3]])
def test_positions_of_weight_0_do_not_count(metric, y_pred, y_true, cuts):
    weight = SEEN * RNG.uniform(0.01, 2, size=SEEN.shape)
    total, n_samples = 0.0, 0
    for batch in zip(*(np.split(a, cuts) for a in (y_pred, y_true, weight)), strict=True):
        added, n = totals([metric], *batch)
        total, n_samples = metric.merge(total, added), n_samples + n
    assert n_samples == SEEN.sum()
    expected = metric(y_pred[SEEN], y_true[SEEN])
    assert metric.result(total, n_samples) == pytest.approx(expected, rel=1e-13)


def test_a_number_at_each_position_is_one_output():
    y_pred, y_true = NUMBERS[..., 0], (TRUTHS[..., 0] > 0).astype(float)
    for metric in (MeanAbsoluteError(), R2Score(), Accuracy(0)):
        total, n_samples = totals([metric], y_pred, y_true, SEEN.astype(float))
        expected = metric(y_pred[SEEN][:, None], y_true[SEEN][:, None])
        assert metric.result(total, n_samples) == pytest.approx(expected)


def test_weights_of_samples_are_not_looked_at():
    plain = totals([Accuracy()], LOGITS, CLASSES)
    assert totals([Accuracy()], LOGITS, CLASSES, np.arange(6.0)) == plain
    assert plain[-1] == 6


def test_where_nothing_counts_there_is_nothing_to_add():
    assert totals([Accuracy(), F1Score()], LOGITS, CLASSES, np.zeros((6, 5))) == [0.0, 0.0, 0]


def test_targets_at_positions_are_checked():
    Accuracy().check_targets("here", (6, 7), (None, 4))
    Accuracy().check_targets("here", (6, 7, 4), (None, 4))
    words = r"y_true must be of shape \(6, 5, 4\); got \(6, 3\), which Accuracy can't take"
    with pytest.raises(ValueError, match=words):
        Accuracy().check_targets("here", (6, 3), (5, 4))
