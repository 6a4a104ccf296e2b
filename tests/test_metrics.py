import numpy as np
import pytest
import sklearn.metrics as sk

import layerkit
from layerkit import Accuracy, MeanAbsoluteError, SquaredDistance
from layerkit.metrics import Metric

RNG = np.random.default_rng(0)
Y_PRED, Y_TRUE = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 3))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (SquaredDistance(), ((Y_PRED - Y_TRUE) ** 2).sum()),
        (MeanAbsoluteError(), abs(Y_PRED - Y_TRUE).mean()),
        (Accuracy(), (Y_PRED.argmax(axis=1) == Y_TRUE.argmax(axis=1)).mean()),
    ],
    ids=repr,
)
@pytest.mark.parametrize("cuts", [[], [3], [1, 2, 6]])
def test_totals_of_uneven_batches_make_the_whole(metric, expected, cuts):
    batches = zip(np.split(Y_PRED, cuts), np.split(Y_TRUE, cuts), strict=True)
    total = sum(metric.total(y_pred, y_true) for y_pred, y_true in batches)
    assert metric.result(total, 7) == pytest.approx(expected, rel=1e-14)
    assert metric(Y_PRED, Y_TRUE) == pytest.approx(expected, rel=1e-14)


def test_names_are_in_snake_case():
    class R2Score(Metric):
        def total(self, y_pred, y_true):
            return 0.0

    class Named(R2Score):
        name = "other"

    metrics = (SquaredDistance(), MeanAbsoluteError(), Accuracy(), R2Score(), Named())
    names = [metric.name for metric in metrics]
    assert names == ["squared_distance", "mean_absolute_error", "accuracy", "r2_score", "other"]


def test_accuracy_of_indices_and_one_hot():
    y_pred = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    for y_true in ([1, 1, 0], np.eye(2)[[1, 1, 0]], np.array([1, 1, 0], np.uint8)):
        assert Accuracy()(y_pred, y_true) == pytest.approx(1 / 3)


def test_accuracy_of_one_output():
    y_pred = np.array([[0.2], [0.5], [0.9], [-3.0]])
    for y_true in ([[0], [1], [0], [0]], [0, 1, 0, 0]):
        assert Accuracy()(y_pred, y_true) == 0.75
        assert Accuracy(threshold=0)(y_pred, y_true) == 0.5


def test_totals_may_be_arrays():
    class PerOutput(Metric):
        def total(self, y_pred, y_true):
            return abs(y_pred - y_true).sum(axis=0)

        def result(self, total, n_samples):
            return float(total.max() / n_samples)

    total = 0.0 + PerOutput().total(Y_PRED[:4], Y_TRUE[:4])
    total = total + PerOutput().total(Y_PRED[4:], Y_TRUE[4:])
    expected = abs(Y_PRED - Y_TRUE).mean(axis=0).max()
    assert PerOutput().result(total, 7) == pytest.approx(expected)


def test_which_way_is_better():
    assert Accuracy.greater_is_better
    assert not SquaredDistance.greater_is_better


RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(size=(60, 4)).round(1), RNG.integers(4, size=60)
SCORES, ANSWERS = RNG.uniform(size=(60, 1)), RNG.integers(2, size=(60, 1))
NUMBERS, TRUTHS = RNG.normal(size=(60, 3)), RNG.normal(2000, 1, size=(60, 3))
TRUTHS_NEAR = NUMBERS + RNG.normal(0, 0.3, size=(60, 3))
REFERENCES = [
    (layerkit.RootMeanSquaredError(), NUMBERS, TRUTHS, sk.root_mean_squared_error),
    (layerkit.R2Score(), NUMBERS, TRUTHS_NEAR, sk.r2_score),
    (layerkit.R2Score(), NUMBERS, TRUTHS, sk.r2_score),
    (MeanAbsoluteError(), NUMBERS, TRUTHS, sk.mean_absolute_error),
]
for average in ("macro", "micro"):
    for metric, function in (
        (layerkit.Precision, sk.precision_score),
        (layerkit.Recall, sk.recall_score),
        (layerkit.F1Score, sk.f1_score),
    ):
        REFERENCES.append(
            (metric(average), LOGITS, LABELS,
             lambda t, p, f=function, a=average: f(t, p.argmax(axis=1), average=a))
        )  # fmt: skip
for metric, function in (
    (layerkit.Precision, sk.precision_score),
    (layerkit.Recall, sk.recall_score),
    (layerkit.F1Score, sk.f1_score),
):
    REFERENCES.append((metric(), SCORES, ANSWERS, lambda t, p, f=function: f(t, p >= 0.5)))


@pytest.mark.parametrize(("metric", "y_pred", "y_true", "reference"), REFERENCES)
@pytest.mark.parametrize("sizes", [(60,), (1,) * 60, (7, 50, 3)])
def test_figures_are_those_of_scikit_learn_whatever_the_batches(
    metric, y_pred, y_true, reference, sizes
):
    total, start = 0.0, 0
    for size in sizes:
        total = total + metric.total(y_pred[start : start + size], y_true[start : start + size])
        start += size
    # Sums of squares of numbers near 2000 leave about 1e-9 of their spread.
    assert metric.result(total, 60) == pytest.approx(reference(y_true, y_pred), rel=1e-8)
    assert metric(y_pred, y_true) == pytest.approx(reference(y_true, y_pred), rel=1e-8)


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


def test_targets_that_are_all_equal():
    y_true = np.full((4, 1), 0.1)
    assert layerkit.R2Score()(y_true, y_true) == 1
    assert layerkit.R2Score()(y_true + 0.1, y_true) == 0


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
