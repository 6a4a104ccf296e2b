"""Areas and curves are those of scikit-learn and Keras, over batches, with ties and weights."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from parts import agree, agree_weighted, in_parts, weights_of
from scipy.special import softmax

from layerkit import AUC, ArgumentError, AveragePrecision, PrecisionRecallCurve, ROCCurve, Weighted

problems = {
    "seed": st.integers(0, 2**32),
    "n": st.integers(1, 40),
    "n_classes": st.integers(2, 5),
    "n_values": st.sampled_from([1, 2, 6, 1000]),  # few make ties
    "kind": st.sampled_from([AUC, AveragePrecision]),
    "average": st.sampled_from(["macro", "micro", "weighted", None]),
    "dtype": st.sampled_from([np.float32, np.float64]),
}


def one(kind, true, scores, weight=None):
    """The figure of one label, by scikit-learn."""
    if kind is AUC and len(np.unique(true if weight is None else true[weight != 0])) < 2:
        return math.nan
    function = sk.roc_auc_score if kind is AUC else sk.average_precision_score
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels that nobody has
        return function(true, scores, sample_weight=weight)


def averaged(kind, true, scores, average, *, of_classes, weight=None):
    """The figure of several labels or classes, from those of each by scikit-learn."""
    if average == "micro":
        of_all = None if weight is None else np.repeat(weight, true.shape[1])
        return one(kind, true.ravel(), scores.ravel(), of_all)
    own = np.array([one(kind, t, s, weight) for t, s in zip(true.T, scores.T, strict=True)])
    if average is None:
        return own
    support = true.sum(axis=0) if weight is None else weight @ true
    shares = support if average == "weighted" and support.any() else np.ones(len(own))
    if of_classes:
        shares = shares * (support > 0)
    known = ~np.isnan(own) & (shares > 0)
    return own[known] @ shares[known] / shares[known].sum() if known.any() else math.nan


def scores_of(rng, n, n_classes, n_values, dtype):
    values = np.append(rng.normal(size=n_values), [np.inf, -np.inf][: n_values % 3])
    return rng.choice(values, size=(n, n_classes)).astype(dtype)


@given(**problems)
def test_of_labels(seed, n, n_classes, n_values, kind, average, dtype):
    rng = np.random.default_rng(seed)
    scores = np.clip(scores_of(rng, n, n_classes, n_values, dtype), -1e3, 1e3)
    true = rng.random((n, n_classes)) < rng.choice([0, 0.4, 1], size=n_classes)
    metric = kind(average, multilabel=True)
    agree(metric, scores, true, averaged(kind, true, scores, average, of_classes=False), rng)
    weight = weights_of(rng, n)
    expected = averaged(kind, true, scores, average, of_classes=False, weight=weight)
    agree_weighted(metric, scores, true, weight, expected, rng)


@given(**problems)
def test_of_classes(seed, n, n_classes, n_values, kind, average, dtype):
    rng = np.random.default_rng(seed)
    scores = np.clip(scores_of(rng, n, n_classes, n_values, dtype), -1e3, 1e3)
    labels = rng.choice(rng.integers(n_classes, size=n_classes), size=n)
    true = np.eye(n_classes, dtype=bool)[labels]
    agree(
        kind(average), scores, labels, averaged(kind, true, scores, average, of_classes=True), rng
    )
    weight = weights_of(rng, n)
    expected = averaged(kind, true, scores, average, of_classes=True, weight=weight)
    agree_weighted(kind(average), scores, labels, weight, expected, rng)


@given(**problems)
def test_of_one_output(seed, n, n_classes, n_values, kind, average, dtype):
    rng = np.random.default_rng(seed)
    scores = scores_of(rng, n, 1, n_values, dtype)
    true = rng.random(n) < rng.choice([0, 0.4, 1])
    expected = one(kind, true, np.clip(scores[:, 0], -1e30, 1e30))
    agree(kind(average), scores, true, expected if average else [expected], rng)
    reversed_scores = -np.clip(scores, -1e30, 1e30)
    agree(kind(), reversed_scores, true, one(kind, true, reversed_scores[:, 0]), rng)


def test_the_averages_of_scikit_learn():
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(60, 4)), rng.integers(4, size=60)
    p = softmax(z, axis=1)
    for average in ("macro", "weighted", "micro"):
        expected = sk.roc_auc_score(labels, p, multi_class="ovr", average=average)
        assert AUC(average)(p, labels) == pytest.approx(expected, rel=1e-12)
        logits = AUC(average).for_predictions("here", "class_logits")
        assert logits(z, labels) == pytest.approx(expected, rel=1e-12)
        expected = sk.average_precision_score(np.eye(4)[labels], p, average=average)
        assert AveragePrecision(average)(p, labels) == pytest.approx(expected, rel=1e-12)


def keras_auc(scores, true, n, weight):
    """Sum as Keras's AUC does: the strict comparison, and thresholds beyond both ends."""
    thresholds = np.concatenate([[-1e-7], np.arange(1, n - 1) / (n - 1), [1 + 1e-7]])
    above = scores[None] > thresholds[:, None]
    hits = (above * true * weight).sum(axis=1) / (true * weight).sum()
    alarms = (above * ~true * weight).sum(axis=1) / (~true * weight).sum()
    return ((hits[:-1] + hits[1:]) / 2 * (alarms[:-1] - alarms[1:])).sum()


@given(seed=st.integers(0, 2**32), n=st.integers(2, 30), n_thresholds=st.integers(2, 60))
def test_binned_areas_are_those_of_keras(seed, n, n_thresholds):
    rng = np.random.default_rng(seed)
    scores = rng.choice([0.0, 1.0, 0.5, rng.random(), rng.random()], size=n)
    true, weight = rng.random(n) < 0.5, rng.integers(1, 4, size=n) / 2
    true[:2] = True, False
    metric = AUC(n_thresholds=n_thresholds)
    agree(metric, scores[:, None], true, keras_auc(scores, true, n_thresholds, np.ones(n)), rng)
    expected = keras_auc(scores, true, n_thresholds, weight)
    agree_weighted(metric, scores[:, None], true, weight, expected, rng)


@given(**problems)
def test_binned_figures_are_the_exact_ones_of_binned_scores(
    seed, n, n_classes, n_values, kind, average, dtype
):
    """Where all scores lie in the middle of bins, nothing is lost."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(8, size=(n, n_classes)) + 0.5) / 8
    true = rng.random((n, n_classes)) < rng.choice([0, 0.4, 1], size=n_classes)
    for options, y_true in (({"multilabel": True}, true), ({}, true.argmax(axis=1))):
        exact = kind(average, **options)(scores, y_true)
        agree(kind(average, n_thresholds=9, **options), scores, y_true, exact, rng)
    exact = kind(average)(scores[:, :1], true[:, 0])
    agree(kind(average, n_thresholds=9), scores[:, :1], true[:, 0], exact, rng)


@given(seed=st.integers(0, 2**32), n=st.integers(2, 30))
def test_curves(seed, n):
    rng = np.random.default_rng(seed)
    scores, true = rng.choice([0.1, 0.2, 0.5, 0.7, 0.9], size=n), rng.random(n) < 0.5
    true[:2], weight = (True, False), rng.integers(1, 4, size=n) / 2
    for of in (None, weight):
        roc = in_parts(Weighted(ROCCurve()), scores[:, None], true, rng, of)
        expected = sk.roc_curve(true, scores, sample_weight=of, drop_intermediate=False)
        np.testing.assert_allclose(roc, expected, rtol=1e-12)
        assert sk.auc(roc[0], roc[1]) == pytest.approx(
            sk.roc_auc_score(true, scores, sample_weight=of)
        )
        curve = in_parts(Weighted(PrecisionRecallCurve()), scores[:, None], true, rng, of)
        precision, recall, thresholds = sk.precision_recall_curve(true, scores, sample_weight=of)
        np.testing.assert_allclose(curve[0], recall[::-1], rtol=1e-12)
        np.testing.assert_allclose(curve[1], precision[::-1], rtol=1e-12)
        np.testing.assert_array_equal(curve[2, 1:], thresholds[::-1])


def test_curves_of_several_outputs_and_at_thresholds():
    rng = np.random.default_rng(0)
    y_pred, labels = rng.dirichlet(np.ones(3), size=20), rng.integers(3, size=20)
    curves = ROCCurve()(y_pred, labels)
    for k, curve in enumerate(curves):
        np.testing.assert_array_equal(curve, ROCCurve()(y_pred[:, k : k + 1], labels == k))
    assert len(PrecisionRecallCurve(multilabel=True)(y_pred, np.eye(3)[labels])) == 3
    binned = ROCCurve(n_thresholds=5)(y_pred[:, :1], labels == 0)
    np.testing.assert_array_equal(binned[2], [1, 0.75, 0.5, 0.25, 0])
    assert binned[:2, 0].tolist() == [0, 0]
    assert binned[:2, -1].tolist() == [1, 1]
    alone = ROCCurve()(y_pred[:, :1], np.ones(20))
    assert np.isnan(alone[0]).all()
    assert not np.isnan(alone[1]).any()


def test_a_curve_can_not_show_a_nan():
    for kind in (ROCCurve, PrecisionRecallCurve):
        words = rf"{kind.__name__}.result: the predictions must be numbers; got nan"
        with pytest.raises(ArgumentError, match=words):
            kind().result([np.full((3, 2), np.nan)], 2)
        assert not kind().is_figure


def test_infinite_scores_have_an_order():
    scores = np.array([[np.inf], [np.inf], [0.0], [-np.inf]])
    assert (
        AUC()(scores, [1, 0, 1, 0]) == AUC()([[9.0], [9.0], [0.0], [-9.0]], [1, 0, 1, 0]) == 0.625
    )


def test_names():
    metrics = [AUC(), AveragePrecision(), ROCCurve(), PrecisionRecallCurve()]
    names = [metric.name for metric in metrics]
    assert names == ["auc", "average_precision", "roc_curve", "precision_recall_curve"]
    assert repr(AUC(None, n_thresholds=7)) == "AUC(None, n_thresholds=7)"
    assert AUC().greater_is_better
