import functools

import numpy as np
import pytest
import sklearn.metrics as sk

import layerkit
from layerkit import Accuracy, MeanAbsoluteError, SquaredDistance
from layerkit.metrics import Metric

RNG = np.random.default_rng(0)
Y_PRED, Y_TRUE = RNG.normal(size=(7, 3)), np.eye(3)[RNG.integers(3, size=7)]


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
    total = functools.reduce(metric.merge, (metric.total(*batch) for batch in batches))
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
    (
        layerkit.RootMeanSquaredError(),
        NUMBERS,
        TRUTHS_NEAR,
        lambda t, p: sk.root_mean_squared_error(t.ravel(), p.ravel()),
    ),
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
        batch = y_pred[start : start + size], y_true[start : start + size]
        total = metric.merge(total, metric.total(*batch))
        start += size
    assert metric.result(total, 60) == pytest.approx(reference(y_true, y_pred), rel=1e-13)
    assert metric(y_pred, y_true) == pytest.approx(reference(y_true, y_pred), rel=1e-13)


@pytest.mark.parametrize(
    ("dtype", "of_predictions", "of_targets"),
    [
        (np.bool_, np.float64, np.int64),
        (np.uint8, np.float64, np.int64),
        (np.int64, np.float64, np.int64),
        (np.uint64, np.float64, np.float64),
        (np.float16, np.float64, np.float64),
        (np.float32, np.float32, np.float32),
        (np.float64, np.float64, np.float64),
    ],
)
def test_a_metric_of_ones_own_sees_numbers_that_can_be_subtracted(
    dtype, of_predictions, of_targets
):
    seen = []

    class Sees(Metric):
        def total(self, y_pred, y_true):
            seen.append((y_pred.dtype, y_true.dtype))
            return 0.0

    Sees()(np.ones((2, 1), dtype), np.ones((2, 1), dtype))
    assert seen == [(of_predictions, of_targets)]
