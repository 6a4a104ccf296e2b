import functools

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

import layerkit
from layerkit import Accuracy, ConfusionMatrix, HammingLoss, TopKAccuracy, Weighted

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(size=(60, 4)).round(1), RNG.integers(4, size=60)
SCORES, ANSWERS = RNG.uniform(size=(60, 1)), RNG.integers(2, size=(60, 1))


def test_accuracy_of_indices_and_one_hot():
    y_pred = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    for y_true in ([1, 1, 0], np.eye(2)[[1, 1, 0]], np.array([1, 1, 0], np.uint8)):
        assert Accuracy()(y_pred, y_true) == pytest.approx(1 / 3)


def test_accuracy_of_one_output():
    y_pred = np.array([[0.2], [0.5], [0.9], [-3.0]])
    for y_true in ([[0], [1], [0], [0]], [0, 1, 0, 0]):
        assert Accuracy()(y_pred, y_true) == 0.75
        assert Accuracy(threshold=0)(y_pred, y_true) == 0.5


def test_top_k():
    logits = RNG.normal(size=(60, 4))
    for k in (1, 2, 4):
        expected = sk.top_k_accuracy_score(LABELS, logits, k=k, labels=range(4)) if k < 4 else 1
        metric = layerkit.TopKAccuracy(k)
        assert metric(logits, LABELS) == expected == metric(logits, np.eye(4)[LABELS])
    assert layerkit.TopKAccuracy(1)(np.zeros((5, 4)), np.zeros(5, int)) == 0
    assert layerkit.TopKAccuracy(3).name == "top_3_accuracy"
    assert layerkit.TopKAccuracy().name == "top_5_accuracy"


def test_confusion():
    got = layerkit.ConfusionMatrix()(LOGITS, LABELS)
    np.testing.assert_array_equal(got, sk.confusion_matrix(LABELS, LOGITS.argmax(axis=1)))
    got = layerkit.ConfusionMatrix(0.3)(SCORES, ANSWERS)
    np.testing.assert_array_equal(got, sk.confusion_matrix(ANSWERS, SCORES >= 0.3))
    np.testing.assert_array_equal(
        layerkit.ConfusionMatrix()(LOGITS, np.eye(4)[LABELS]),
        sk.confusion_matrix(LABELS, LOGITS.argmax(axis=1)),
    )


def test_classes_that_nobody_has_or_predicts_are_left_out():
    y_pred = np.eye(4)[[0, 1, 1]]
    assert layerkit.Recall()(y_pred, np.array([0, 1, 1])) == 1
    assert layerkit.Precision()(y_pred, np.array([0, 1, 2])) == pytest.approx((1 + 0.5 + 0) / 3)
    assert layerkit.Precision()(np.zeros((2, 1)), np.zeros((2, 1))) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: layerkit.TopKAccuracy(0),
        lambda: layerkit.F1Score("micro", "a"),
        lambda: ConfusionMatrix(np.inf),
    ],
)
def test_settings_that_they_refuse(make):
    with pytest.raises(ValueError, match="must be"):
        make()


def test_the_matrix_of_many_classes_in_a_small_dtype():
    for dtype in (np.uint8, np.int8, np.uint16, np.float16, np.uint64):
        matrix = ConfusionMatrix()(np.eye(26), np.arange(26).astype(dtype))
        np.testing.assert_array_equal(matrix, np.eye(26))
    assert ConfusionMatrix()(np.array([[0.2], [0.7]]), [False, True]).tolist() == [[1, 0], [0, 1]]


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 30),
    n_labels=st.integers(2, 5),
    dtype=st.sampled_from([np.bool_, np.uint8, np.uint64, np.float16, np.float64]),
    n_cuts=st.integers(0, 3),
)
def test_labels_are_judged_as_scikit_learn_does(seed, n, n_labels, dtype, n_cuts):
    rng = np.random.default_rng(seed)
    y_true = rng.random((n, n_labels)) < 0.5
    y_pred = np.where(rng.random((n, n_labels)) < 0.8, y_true, ~y_true) + rng.uniform(
        -0.49, 0.49, size=(n, n_labels)
    )
    cuts = np.sort(rng.integers(n + 1, size=n_cuts))
    for metric, function in (
        (Accuracy(multilabel=True), sk.accuracy_score),
        (HammingLoss(multilabel=True), sk.hamming_loss),
        (ConfusionMatrix(multilabel=True), sk.multilabel_confusion_matrix),
    ):
        expected = function(y_true, y_pred >= 0.5)
        np.testing.assert_allclose(metric(y_pred, y_true.astype(dtype)), expected, rtol=1e-15)
        parts = zip(np.split(y_pred, cuts), np.split(y_true, cuts), strict=True)
        parts = [metric.total(*part) for part in parts if len(part[0])]
        total = functools.reduce(metric.merge, parts, 0.0)
        np.testing.assert_allclose(metric.result(total, n), expected, rtol=1e-15)


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 30),
    n_classes=st.integers(2, 5),
    dtype=st.sampled_from([np.uint8, np.int8, np.uint64, np.float16, np.int64]),
)
def test_classes_are_judged_as_scikit_learn_does(seed, n, n_classes, dtype):
    rng = np.random.default_rng(seed)
    labels = range(n_classes)
    y_pred, y_true = rng.normal(size=(n, n_classes)), rng.integers(n_classes, size=n)
    predicted, given_labels = y_pred.argmax(axis=1), y_true.astype(dtype)
    assert Accuracy()(y_pred, given_labels) == sk.accuracy_score(y_true, predicted)
    assert HammingLoss()(y_pred, given_labels) == sk.hamming_loss(y_true, predicted)
    np.testing.assert_array_equal(
        ConfusionMatrix()(y_pred, given_labels),
        sk.confusion_matrix(y_true, predicted, labels=labels),
    )
    for k in labels[1:]:
        scores = y_pred if n_classes > 2 else y_pred[:, 1] - y_pred[:, 0]
        expected = (
            sk.top_k_accuracy_score(y_true, scores, k=k, labels=labels)
            if n_classes > 2
            else sk.accuracy_score(y_true, predicted)
        )
        assert TopKAccuracy(k)(y_pred, given_labels) == expected


def test_a_matrix_can_not_show_a_nan():
    words = r"ConfusionMatrix.result: the predictions must be numbers; got nan"
    with pytest.raises(ValueError, match=words):
        ConfusionMatrix().result(np.array([[np.nan, 1], [0, 1]]), 2)


def test_all_labels_of_a_sample_have_to_be_right():
    y_true = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    assert Accuracy(multilabel=True)(y_true * 0.9, y_true) == 1
    y_pred = y_true * 0.9
    y_pred[0, 0] = 0.1
    assert Accuracy(multilabel=True)(y_pred, y_true) == pytest.approx(2 / 3)
    positions = Accuracy(multilabel=True)(y_pred[None], y_true[None])
    assert positions == pytest.approx(2 / 3)


def test_hamming_loss_of_one_output_and_at_positions():
    y_pred, y_true = RNG.random((4, 5, 3)), RNG.integers(2, size=(4, 5, 3))
    expected = sk.hamming_loss(y_true.reshape(20, 3), y_pred.reshape(20, 3) >= 0.3)
    assert HammingLoss(0.3, multilabel=True)(y_pred, y_true) == pytest.approx(expected, rel=1e-15)
    assert HammingLoss(0.3)(SCORES, ANSWERS) == sk.hamming_loss(ANSWERS, SCORES >= 0.3)
    weight = RNG.random(60)
    expected = sk.hamming_loss(ANSWERS, SCORES >= 0.5, sample_weight=weight)
    assert Weighted(HammingLoss())(SCORES, ANSWERS, weight) == pytest.approx(expected, rel=1e-13)
    assert not HammingLoss().greater_is_better
    assert HammingLoss().name == "hamming_loss"
