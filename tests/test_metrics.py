import numpy as np
import pytest

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
