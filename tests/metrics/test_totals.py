"""Totals: in double precision whatever a metric returns, put together by the metric itself."""

import math

import numpy as np
import pytest

from layerkit import Accuracy, ArgumentError, ForOutput, R2Score, SquaredDistance
from layerkit.metrics import Metric
from layerkit.metrics.totals import figure, merged, suited, totals


class Narrow(Metric):
    """A metric whose totals and figures are numbers of a dtype."""

    def __init__(self, dtype):
        self.dtype = dtype

    def total(self, y_pred, y_true):
        return self.dtype(0.1) * self.dtype(len(y_pred))

    def result(self, total, n_samples):
        return self.dtype(total / n_samples)


class Largest(Metric):
    """A metric whose totals are not added."""

    def total(self, y_pred, y_true):
        return float(abs(y_pred - y_true).max())

    def merge(self, total, other):
        return max(total, other)

    def result(self, total, n_samples):
        return total


class Strange(Metric):
    def total(self, y_pred, y_true):
        return 1.0

    def result(self, total, n_samples):
        return np.zeros(2)


def test_sums_are_taken_in_double():
    metric, sums = Narrow(np.float32), [0.0, 0]
    for _ in range(20_000):
        sums = merged([metric], sums, [*totals([metric], np.zeros((1, 1)), None)])
    assert type(sums[0]) is float
    # In float32, such a sum would be wrong in the fourth digit.
    assert sums[0] / 20_000 == pytest.approx(float(np.float32(0.1)), rel=1e-12)
    assert sums[1] == 20_000


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8, np.bool_, np.int64])
def test_arrays_are_widened(dtype):
    total = 0.0
    for _ in range(300):
        (total,) = merged([SquaredDistance()], [total], [np.ones(2, dtype)])
    assert (total.dtype, total.tolist()) == (np.float64, [300, 300])
    (total,) = merged([SquaredDistance()], [np.full(2, 250, np.int64)], [np.ones(2, np.uint8)])
    assert (total.dtype, total.tolist()) == (np.int64, [251, 251])


@pytest.mark.parametrize("found", [np.float32(3), np.int8(3), np.array(3, np.uint8), 3, 3.0])
def test_numbers_are_those_of_python(found):
    (total,) = merged([SquaredDistance()], [0.0], [found])
    assert (type(total), total) == (float, 3.0)


def test_each_metric_puts_its_own_totals_together():
    metrics = [Largest(), ForOutput("a", Largest()), SquaredDistance()]
    assert merged(metrics, [1.0, 5.0, 1.0, 2, 0.5], [4.0, 3.0, 1.0, 3, 0.25]) == [
        4.0, 5.0, 2.0, 5, 0.75
    ]  # fmt: skip
    assert merged([], [1, 2.0], [3, 4.0]) == [4, 6.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.array])
def test_a_figure_is_a_float(dtype):
    metric = Narrow(dtype)
    assert type(figure(metric, 3.0, 2)) is float
    assert figure(metric, 3.0, 2) == 1.5
    if dtype is not np.array:
        assert type(metric(np.zeros((2, 1)), np.zeros((2, 1)))) is float


def test_what_is_no_number_is_no_figure():
    with pytest.raises(ArgumentError, match=r"Strange.result: the figure must be one number; got"):
        figure(Strange(), 1.0, 1)
    with pytest.raises(ArgumentError, match=r"Strange.result: the figure must be one number; got"):
        Strange()(np.zeros((2, 1)), np.zeros((2, 1)))


def test_no_samples_have_no_figure():
    assert math.isnan(figure(SquaredDistance(), 0.0, 0))
    assert math.isnan(figure(R2Score(), 0.0, 0))


def test_a_nan_that_comparisons_pass_over_is_shown():
    y_pred = np.array([[0.9, 0.1], [np.nan, 0.2]])
    y_true = np.array([0, 1])
    total, n_samples = totals([Accuracy()], y_pred, y_true)
    assert math.isnan(Accuracy().result(total, n_samples))
    assert totals([Accuracy()], y_pred[:1], y_true[:1]) == [1.0, 1]
    both = {"a": y_pred, "b": y_pred[:, ::-1] * 0}
    found = totals([ForOutput("a", Accuracy())], both, {"a": y_true})
    assert math.isnan(found[0])
    # Padding may be anything.
    found = totals([Accuracy()], y_pred[None], y_true[None], np.array([[1.0, 0.0]]))
    assert found == [1.0, 1]


def test_metrics_learn_what_predictions_are():
    metrics = [Accuracy(), Accuracy(0.3), SquaredDistance(), ForOutput("a", Accuracy())]
    for predictions, threshold in [
        ("logits", 0.0), ("class_logits", 0.0), ("scores", 0.0), ("probabilities", 0.5), (None, 0.5)
    ]:  # fmt: skip
        found = suited("here", metrics, predictions)
        assert found[0].threshold == found[3].metric.threshold == threshold
        assert found[1:3] == metrics[1:3]
        assert found[3].name == "a_accuracy"
    assert metrics[0].threshold is None
    by_name = suited("here", metrics[3:], {"a": "logits", "b": None})
    assert by_name[0].metric.threshold == 0
    kept = ForOutput("b", Accuracy(0.2))
    assert suited("here", [kept], {"a": "logits", "b": None}) == [kept]


@pytest.mark.parametrize("predictions", ["logit", {"a": None, "b": 3}])
def test_a_word_for_predictions_that_there_is_not(predictions):
    with pytest.raises(ArgumentError, match="here: predictions of the loss must be 'logits' or"):
        suited("here", [], predictions)
