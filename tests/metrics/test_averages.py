"""Precision, recall and F1 are those of scikit-learn, over batches, averages and dtypes."""

import functools
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from layerkit import ArgumentError, F1Score, FBeta, MeanIoU, Precision, Recall, Specificity


def f_half(average, *arguments, **options):
    return FBeta(0.5, average, *arguments, **options)


PAIRS = [
    (f_half, functools.partial(sk.fbeta_score, beta=0.5)),
    (MeanIoU, sk.jaccard_score),
    (Precision, sk.precision_score),
    (Recall, sk.recall_score),
    (F1Score, sk.f1_score),
]
AVERAGES = ["macro", "micro", "weighted", None]
DTYPES = [np.uint8, np.int8, np.int64, np.uint64, np.float16, np.float64]
problems = {
    "seed": st.integers(0, 2**32),
    "n": st.integers(1, 30),
    "n_classes": st.integers(2, 5),
    "pair": st.sampled_from(PAIRS),
    "average": st.sampled_from(AVERAGES),
    "dtype": st.sampled_from(DTYPES),
}


def over_batches(metric, y_pred, y_true, rng):
    """Compute a figure at once and in batches, which must be the same."""
    cuts = np.sort(rng.integers(len(y_pred) + 1, size=3))
    parts = zip(np.split(y_pred, cuts), np.split(y_true, cuts), strict=True)
    parts = [metric.total(*part) for part in parts if len(part[0])]
    in_parts = metric.result(functools.reduce(metric.merge, parts, 0.0), len(y_pred))
    np.testing.assert_allclose(metric(y_pred, y_true), in_parts, rtol=1e-15)
    return in_parts


def reference(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels that nobody has
        return function(*arguments, zero_division=0, **options)


@given(**problems)
def test_of_classes(seed, n, n_classes, pair, average, dtype):
    kind, function = pair
    rng = np.random.default_rng(seed)
    classes = rng.integers(n_classes, size=rng.integers(1, n_classes + 1))  # some have no samples
    y_true = rng.choice(classes, size=n).astype(dtype)
    y_pred = rng.normal(size=(n, n_classes))
    got = over_batches(kind(average), y_pred, y_true, rng)
    labels = range(n_classes) if average is None else None
    predicted, true = y_pred.argmax(axis=1), y_true.astype(int)
    expected = reference(function, true, predicted, average=average, labels=labels)
    np.testing.assert_allclose(got, expected, rtol=1e-14)


@given(**problems)
def test_of_labels(seed, n, n_classes, pair, average, dtype):
    kind, function = pair
    rng = np.random.default_rng(seed)
    y_true = (rng.random((n, n_classes)) < rng.choice([0, 0.2, 0.7], size=n_classes)).astype(dtype)
    y_pred = rng.random((n, n_classes)) - rng.choice([0, 0.6], size=n_classes)
    threshold = rng.choice([0.0, 0.3, 0.5])
    got = over_batches(kind(average, threshold, multilabel=True), y_pred, y_true, rng)
    expected = reference(function, y_true.astype(int), y_pred >= threshold, average=average)
    np.testing.assert_allclose(got, expected, rtol=1e-14)


@given(**problems)
def test_of_one_output(seed, n, n_classes, pair, average, dtype):
    kind, function = pair
    rng = np.random.default_rng(seed)
    y_true = (rng.random((n, 1)) < rng.choice([0, 0.4, 1])).astype(dtype)
    y_pred = rng.random((n, 1))
    for options in ({}, {"multilabel": True}):
        metric = kind(average, 0.4, **options)
        got = over_batches(metric, y_pred, y_true, rng)
        expected = reference(function, y_true.astype(int), y_pred >= 0.4)
        np.testing.assert_allclose(got, expected if average else [expected], rtol=1e-14)


@given(**{name: problems[name] for name in ("seed", "n", "n_classes", "average")})
def test_specificity_is_the_recall_of_what_is_not_so(seed, n, n_classes, average):
    rng = np.random.default_rng(seed)
    y_true = rng.random((n, n_classes)) < rng.choice([0.2, 0.7, 1], size=n_classes)
    y_pred = rng.random((n, n_classes))
    metric = Specificity(average, multilabel=True)
    got = over_batches(metric, y_pred, y_true, rng)
    own = reference(sk.recall_score, ~y_true, y_pred < 0.5, average=None)
    expected = own
    if average == "micro":
        expected = reference(sk.recall_score, ~y_true, y_pred < 0.5, average="micro")
    elif average:
        weights = y_true.sum(axis=0) if average == "weighted" else np.ones(n_classes)
        expected = own @ weights / (weights.sum() or 1)
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    labels = rng.integers(n_classes, size=n)
    got = over_batches(Specificity(average), y_pred, labels, rng)
    true, called = (c[:, None] != np.arange(n_classes) for c in (labels, y_pred.argmax(axis=1)))
    own = reference(sk.recall_score, true, called, average=None)
    seen = (true | called).any(axis=0)
    expected = own
    if average == "micro":
        expected = reference(sk.recall_score, true, called, average="micro")
    elif average:
        expected = own @ (seen if average == "macro" else n - true.sum(axis=0))
        expected /= seen.sum() if average == "macro" else n
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    got = Specificity()(y_pred[:, :1], y_true[:, :1])
    expected = reference(sk.recall_score, ~y_true[:, 0], y_pred[:, 0] < 0.5)
    np.testing.assert_allclose(got, expected, rtol=1e-14)


@pytest.mark.parametrize("beta", [0, -1.0, np.nan, "1"])
def test_a_beta_that_there_is_not(beta):
    with pytest.raises(
        ArgumentError, match=r"FBeta.__init__: beta must be a finite number above 0"
    ):
        FBeta(beta)


def test_each_label_is_a_figure_of_its_own():
    metric = Recall(None, multilabel=True)
    assert not metric.is_figure
    got = metric([[0.9, 0.8, 0.1], [0.9, 0.1, 0.1]], [[1, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(got, [1, 0.5, 0])
    assert Recall("micro").is_figure


def test_labels_at_positions_are_like_samples():
    rng = np.random.default_rng(0)
    y_pred, y_true = rng.random((3, 4, 5)), rng.integers(2, size=(3, 4, 5))
    metric = F1Score("macro", multilabel=True)
    assert metric(y_pred, y_true) == metric(y_pred.reshape(-1, 5), y_true.reshape(-1, 5))


@pytest.mark.parametrize("average", ["samples", "mean", 3, True])
def test_averages_that_there_are_not(average):
    with pytest.raises(ArgumentError, match=r"Recall.__init__: average must be 'macro' or 'micro'"):
        Recall(average)


def test_they_read_like_what_made_them():
    assert repr(Recall()) == "Recall()"
    assert repr(Recall(None, 0.2, multilabel=True)) == "Recall(None, 0.2, multilabel=True)"
    assert Precision.from_config(Precision("weighted").get_config()).average == "weighted"
    assert repr(FBeta(2.0, "micro")) == "FBeta(2.0, 'micro')"
    metrics = [Precision(), Recall(), F1Score(), FBeta(2), FBeta(0.5), MeanIoU(), Specificity()]
    assert [metric.name for metric in metrics] == [
        "precision", "recall", "f1_score", "f2_score", "f0.5_score", "mean_iou", "specificity"
    ]  # fmt: skip
    assert all(metric.greater_is_better for metric in metrics)
