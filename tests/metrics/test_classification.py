import numpy as np
import pytest
import sklearn.metrics as sk

import layerkit
from layerkit import Accuracy

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
        lambda: layerkit.Precision("mean"),
        lambda: layerkit.F1Score("micro", "a"),
    ],
)
def test_settings_that_they_refuse(make):
    with pytest.raises(ValueError, match="must be"):
        make()
