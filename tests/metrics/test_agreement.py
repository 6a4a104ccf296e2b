"""Figures of confusion matrices are those of scikit-learn, over batches and with weights."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from parts import agree, agree_weighted, weights_of

from layerkit import ArgumentError, BalancedAccuracy, CohenKappa, MatthewsCorrelation


def kappa(weights, n_classes):
    return lambda t, p, **o: sk.cohen_kappa_score(
        t, p, weights=weights, labels=range(n_classes), **o
    )


def pairs(n_classes):
    """Each metric, and the function of scikit-learn."""
    return [
        (BalancedAccuracy(), sk.balanced_accuracy_score),
        (BalancedAccuracy(adjusted=True), lambda t, p, **o: sk.balanced_accuracy_score(
            t, p, adjusted=True, **o)),
        (MatthewsCorrelation(), sk.matthews_corrcoef),
        (CohenKappa(), kappa(None, n_classes)),
        (CohenKappa("linear"), kappa("linear", n_classes)),
        (CohenKappa("quadratic"), kappa("quadratic", n_classes)),
    ]  # fmt: skip


def reference(function, true, called, **options):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of classes that nobody has
        return function(true, called, **options)


problems = {
    "seed": st.integers(0, 2**32),
    "n": st.integers(1, 30),
    "n_classes": st.integers(2, 5),
    "which": st.integers(0, 5),
}


@given(**problems)
def test_of_classes(seed, n, n_classes, which):
    rng = np.random.default_rng(seed)
    classes = rng.integers(n_classes, size=rng.integers(1, n_classes + 1))
    y_true, y_pred = rng.choice(classes, size=n), rng.normal(size=(n, n_classes))
    metric, function = pairs(n_classes)[which]
    called = y_pred.argmax(axis=1)
    if type(metric) is BalancedAccuracy and metric.adjusted and len(np.unique(y_true)) == 1:
        assert math.isnan(metric(y_pred, y_true))  # where scikit-learn divides by 0
        return
    agree(metric, y_pred, y_true, reference(function, y_true, called), rng)
    weight = weights_of(rng, n)
    if len(np.unique(y_true[weight != 0])) < 2:
        return
    seen = weight != 0  # scikit-learn counts classes of weight 0, too
    expected = reference(function, y_true[seen], called[seen], sample_weight=weight[seen])
    agree_weighted(metric, y_pred, y_true, weight, expected, rng)


@given(**problems)
def test_of_one_output_and_of_labels(seed, n, n_classes, which):
    rng = np.random.default_rng(seed)
    y_true = rng.random((n, n_classes)) < rng.choice([0.2, 0.5, 1], size=n_classes)
    y_pred = rng.random((n, n_classes))
    kind, function = pairs(2)[which]
    called = y_pred >= 0.3
    figures = []
    for label in range(n_classes):
        metric = type(kind)(**kind.get_config() | {"threshold": 0.3})
        own = y_pred[:, label : label + 1], y_true[:, label : label + 1]
        if type(kind) is BalancedAccuracy and len(np.unique(own[1])) == 1 and kind.adjusted:
            figures.append(math.nan)
            continue
        figures.append(reference(function, own[1][:, 0], called[:, label]))
        agree(metric, *own, figures[-1], rng)
    metric = type(kind)(**kind.get_config() | {"threshold": 0.3, "multilabel": True})
    known = [figure for figure in figures if not math.isnan(figure)]
    agree(metric, y_pred, y_true, np.mean(known) if known else math.nan, rng)


def test_counts_that_are_large_do_not_overflow():
    matrix = np.array([[3e200, 1e200], [1e200, 3e200]])
    assert MatthewsCorrelation().result(matrix, 8) == pytest.approx(0.5)
    assert CohenKappa().result(matrix, 8) == pytest.approx(0.5)


def test_a_rare_class_keeps_its_digits():
    matrix = np.array([[10**9, 0], [1, 1]], float)
    n = 1e9 + 2
    expected = 1e9 / math.sqrt(1e9 * (1e9 + 1) * 2)
    assert MatthewsCorrelation().result(matrix, n) == pytest.approx(expected, rel=1e-7)


def test_one_class_alone():
    y_pred, y_true = np.ones((3, 1)), np.ones((3, 1))
    assert BalancedAccuracy()(y_pred, y_true) == 1
    assert MatthewsCorrelation()(y_pred, y_true) == 0
    assert math.isnan(CohenKappa()(y_pred, y_true))
    assert CohenKappa()(1 - y_pred, y_true) == 0
    assert math.isnan(CohenKappa().result(np.full((2, 2), np.nan), 3))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CohenKappa("cubic"), r"CohenKappa.__init__: weights must be 'linear' or 'quad"),
        (lambda: BalancedAccuracy(adjusted=1), r"BalancedAccuracy.__init__: adjusted must be True"),
    ],
)
def test_settings_that_they_refuse(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()


def test_they_read_like_what_made_them():
    assert repr(CohenKappa("linear", 0.3)) == "CohenKappa('linear', 0.3)"
    assert repr(BalancedAccuracy(adjusted=True)) == "BalancedAccuracy(adjusted=True)"
    names = [metric.name for metric, _ in pairs(2)[::2]]
    assert names == ["balanced_accuracy", "matthews_correlation", "cohen_kappa"]
