"""Figures of probabilities are those of scikit-learn, over batches, with weights, of logits too."""

import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from parts import agree, agree_weighted, weights_of
from scipy.special import expit, softmax
from sklearn.calibration import calibration_curve

from layerkit import ArgumentError, Brier, CalibrationError, LogLoss, Weighted

problems = {
    "seed": st.integers(0, 2**32),
    "n": st.integers(1, 30),
    "n_classes": st.integers(2, 5),
    "dtype": st.sampled_from([np.float32, np.float64]),
}


def probabilities(rng, n, n_classes, dtype):
    p = rng.dirichlet(rng.choice([0.05, 1.0], size=n_classes), size=n)
    certain = rng.random(n) < 0.2
    p[certain] = np.eye(n_classes)[rng.integers(n_classes, size=certain.sum())]
    return p.astype(dtype)


@given(**problems)
def test_of_classes(seed, n, n_classes, dtype):
    rng = np.random.default_rng(seed)
    y_pred, y_true = probabilities(rng, n, n_classes, dtype), rng.integers(n_classes, size=n)
    wide, weight, labels = y_pred.astype(float), weights_of(rng, n), range(n_classes)
    rows = np.eye(n_classes)[y_true]
    factor = 0.5 if n_classes == 2 else 1
    squares = factor * np.square(wide - rows).sum(axis=1)
    # scikit-learn wants rows that add up to 1 to the last digit of float64, and clips beforehand.
    tiny = np.finfo(float).eps
    logs = -np.log(np.clip(wide[np.arange(n), y_true], tiny, 1 - tiny))
    for metric, values in ((LogLoss(), logs), (Brier(), squares)):
        agree(metric, y_pred, y_true, values.mean(), rng)
        agree(metric, y_pred, rows, values.mean(), rng)
        expected = np.average(values, weights=weight)
        agree_weighted(metric, y_pred, y_true, weight, expected, rng)
    if dtype is np.float64:
        agree(LogLoss(), y_pred, y_true, sk.log_loss(y_true, y_pred, labels=labels), rng)
        expected = sk.log_loss(y_true, y_pred, labels=labels, sample_weight=weight)
        agree_weighted(LogLoss(), y_pred, y_true, weight, expected, rng)


@given(**problems)
def test_of_one_output_and_of_labels(seed, n, n_classes, dtype):
    rng = np.random.default_rng(seed)
    y_pred = rng.choice([0.0, 0.1, 0.4, 0.5, 0.9, 1.0], size=(n, n_classes)).astype(dtype)
    y_true, weight = rng.random((n, n_classes)) < 0.4, weights_of(rng, n)
    wide = y_pred.astype(float)
    for metric, function in (
        (LogLoss(multilabel=True), lambda t, p, **o: sk.log_loss(t, p, labels=[0, 1], **o)),
        (Brier(multilabel=True), lambda t, p, **o: sk.brier_score_loss(t, p, labels=[0, 1], **o)),
    ):
        own = [function(y_true[:, k], wide[:, k]) for k in range(n_classes)]
        agree(metric, y_pred, y_true, np.mean(own), rng)
        agree(type(metric)(), y_pred[:, :1], y_true[:, 0], own[0], rng)
        own = [function(y_true[:, k], wide[:, k], sample_weight=weight) for k in range(n_classes)]
        agree_weighted(metric, y_pred, y_true, weight, np.mean(own), rng)


def expected_error(confidence, right, weight, n_bins, norm):
    """Compute the calibration error sample by sample."""
    ends = np.linspace(0, 1, n_bins + 1)
    bins = [max(0, next(k for k in range(n_bins + 1) if c <= ends[k]) - 1) for c in confidence]
    distances, shares = [], []
    for k in set(bins):
        own = np.array(bins) == k
        mean = [np.average(v[own], weights=weight[own]) for v in (confidence, right)]
        distances.append(abs(mean[0] - mean[1]))
        shares.append(weight[own].sum() / weight.sum())
    distances, shares = np.array(distances), np.array(shares)
    if norm == "max":
        return distances.max()
    return shares @ distances if norm == "l1" else math.sqrt(shares @ distances**2)


@given(
    **problems,
    n_bins=st.integers(1, 15),
    norm=st.sampled_from(["l1", "l2", "max"]),
)
def test_calibration(seed, n, n_classes, dtype, n_bins, norm):
    rng = np.random.default_rng(seed)
    y_pred, y_true = probabilities(rng, n, n_classes, dtype), rng.integers(n_classes, size=n)
    weight = weights_of(rng, n)
    metric, wide = CalibrationError(n_bins, norm), y_pred.astype(float)
    confidence, right = wide.max(axis=1), (y_pred.argmax(axis=1) == y_true).astype(float)
    agree(metric, y_pred, y_true, expected_error(confidence, right, np.ones(n), n_bins, norm), rng)
    seen = weight != 0
    expected = expected_error(confidence[seen], right[seen], weight[seen], n_bins, norm)
    agree_weighted(metric, y_pred, y_true, weight, expected, rng)
    labels = np.eye(n_classes)[y_true]
    own = [expected_error(wide[:, k], labels[:, k], np.ones(n), n_bins, norm) for k in range(2)]
    agree(metric, y_pred[:, :1], labels[:, 0], own[0], rng)
    metric = CalibrationError(n_bins, norm, multilabel=True)
    agree(metric, y_pred[:, :2], labels[:, :2], np.mean(own), rng)


def test_calibration_has_the_bins_of_scikit_learn():
    rng = np.random.default_rng(0)
    p, y_true = rng.integers(41, size=300) / 40, rng.integers(2, size=300)
    right, mean = calibration_curve(y_true, p, n_bins=10)
    sums = CalibrationError(10).total(p[:, None], y_true)
    n, of_p, of_right = sums[:, 0]
    np.testing.assert_allclose(of_p / n, mean, rtol=1e-13)
    np.testing.assert_allclose(of_right / n, right, rtol=1e-13)


@given(seed=st.integers(0, 2**32), n_classes=st.integers(2, 4))
def test_of_logits(seed, n_classes):
    rng = np.random.default_rng(seed)
    z, labels = rng.normal(0, 3, size=(20, n_classes)), rng.integers(n_classes, size=20)
    answers = rng.integers(2, size=(20, n_classes))
    for kind in (LogLoss, Brier, CalibrationError):
        metric = kind().for_predictions("here", "class_logits")
        agree(metric, z, labels, kind()(softmax(z, axis=1), labels), rng)
        metric = kind(from_logits=True, multilabel=True)
        agree(metric, z, answers, kind(multilabel=True)(expit(z), answers), rng)


def test_logits_lose_no_digits():
    z = np.array([[1e5, -1e5], [-800.0, 800.0]])
    assert LogLoss(from_logits=True)(z, [1, 1]) == 1e5
    assert LogLoss(from_logits=True)(np.array([[40.0, 0]]), [0]) == pytest.approx(np.exp(-40))
    assert LogLoss(from_logits=True)(np.array([[40.0]]), [1]) == pytest.approx(np.exp(-40))
    assert LogLoss(from_logits=True)(np.array([[-1e5]]), [1]) == 1e5
    assert LogLoss()(np.array([[0.0]]), [1]) == -math.log(np.finfo(float).eps)


def test_positions_are_averaged():
    rng = np.random.default_rng(0)
    y_pred, y_true = rng.dirichlet(np.ones(3), size=(4, 5)), rng.integers(3, size=(4, 5))
    for metric in (LogLoss(), Brier(), CalibrationError()):
        flat = metric(y_pred.reshape(20, 3), y_true.reshape(20))
        assert metric(y_pred, y_true) == pytest.approx(flat, rel=1e-14)
        weight = np.array([1.0, 2.0, 0.0, 0.5])
        flat = Weighted(metric)(
            y_pred.reshape(20, 3), y_true.reshape(20), np.repeat(weight, 5)
        )  # fmt: skip
        assert Weighted(metric)(y_pred, y_true, weight) == pytest.approx(flat, rel=1e-14)


@pytest.mark.parametrize("metric", [LogLoss(), Brier(), CalibrationError()], ids=repr)
def test_nan(metric):
    with pytest.raises(ArgumentError, match="y_pred must be numbers; got nan in sample 1"):
        metric(np.array([[0.5], [np.nan]]), [0, 1])
    total = metric.total(np.array([[0.5]]), np.array([1])) * math.nan
    assert math.isnan(metric.result(total, 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CalibrationError(0), "CalibrationError.__init__: n_bins must be a whole number"),
        (
            lambda: CalibrationError(norm="l3"),
            "CalibrationError.__init__: norm must be 'l1' or 'l2'",
        ),
    ],
)
def test_settings_that_they_refuse(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()


def test_they_read_like_what_made_them():
    assert repr(CalibrationError(10, "max")) == "CalibrationError(10, 'max')"
    names = [metric.name for metric in (LogLoss(), Brier(), CalibrationError())]
    assert names == ["log_loss", "brier", "calibration_error"]
    assert not any(metric.greater_is_better for metric in (LogLoss(), Brier(), CalibrationError()))
