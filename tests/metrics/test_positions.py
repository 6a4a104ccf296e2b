"""Metrics of outputs with positions, of positions that have weights, and of named outputs."""

import numpy as np
import pytest

from layerkit import (
    Accuracy,
    ArgumentError,
    ConfusionMatrix,
    F1Score,
    ForOutput,
    MeanAbsoluteError,
    Precision,
    R2Score,
    RootMeanSquaredError,
    SquaredDistance,
    TopKAccuracy,
)
from layerkit.metrics import Metric
from layerkit.metrics.base import totals

RNG = np.random.default_rng(0)
LOGITS, CLASSES = RNG.normal(size=(6, 5, 4)), RNG.integers(4, size=(6, 5))
SCORES, ANSWERS = RNG.normal(size=(6, 5, 1)), RNG.integers(2, size=(6, 5))
NUMBERS, TRUTHS = RNG.normal(size=(6, 5, 2)), RNG.normal(size=(6, 5, 2))
SEEN = RNG.uniform(size=(6, 5)) > 0.4
CASES = [
    (Accuracy(), LOGITS, CLASSES),
    (Accuracy(0), SCORES, ANSWERS),
    (Accuracy(0), SCORES, ANSWERS[..., None]),
    (TopKAccuracy(2), LOGITS, CLASSES),
    (Precision(), LOGITS, CLASSES),
    (Precision(threshold=0.0), SCORES, ANSWERS),
    (F1Score("micro"), LOGITS, CLASSES),
    (ConfusionMatrix(), LOGITS, CLASSES),
    (ConfusionMatrix(0.0), SCORES, ANSWERS),
    (MeanAbsoluteError(), NUMBERS, TRUTHS),
    (RootMeanSquaredError(), NUMBERS, TRUTHS),
    (SquaredDistance(), NUMBERS, TRUTHS),
]
each = pytest.mark.parametrize(("metric", "y_pred", "y_true"), CASES)


@each
def test_positions_are_like_samples(metric, y_pred, y_true):
    flat = metric(y_pred.reshape(30, -1), y_true.reshape(30, *y_true.shape[2:]))
    assert metric(y_pred, y_true) == pytest.approx(flat, rel=1e-14)


@pytest.mark.parametrize("metric", [Accuracy(), TopKAccuracy(3), F1Score(), ConfusionMatrix()])
def test_one_hot_rows_are_class_indices_at_each_position(metric):
    by_row = metric(LOGITS, np.eye(4)[CLASSES])
    assert by_row == pytest.approx(metric(LOGITS, CLASSES))


@each
@pytest.mark.parametrize("cuts", [[], [1], [2, 3]])
def test_positions_of_weight_0_do_not_count(metric, y_pred, y_true, cuts):
    weight = SEEN * RNG.uniform(0.5, 2, size=SEEN.shape)
    total, n_samples = 0.0, 0
    for batch in zip(*(np.split(a, cuts) for a in (y_pred, y_true, weight)), strict=True):
        (added,), n = totals([metric], *batch)
        total, n_samples = total + added, n_samples + n
    assert n_samples == SEEN.sum()
    expected = metric(y_pred[SEEN], y_true[SEEN])
    assert metric.result(total, n_samples) == pytest.approx(expected, rel=1e-13)


def test_a_number_at_each_position_is_one_output():
    y_pred, y_true = NUMBERS[..., 0], TRUTHS[..., 0]
    for metric in (MeanAbsoluteError(), R2Score(), Accuracy(0)):
        (total,), n_samples = totals([metric], y_pred, y_true, SEEN.astype(float))
        expected = metric(y_pred[SEEN][:, None], y_true[SEEN][:, None])
        assert metric.result(total, n_samples) == pytest.approx(expected)


def test_weights_of_samples_are_not_looked_at():
    plain = totals([Accuracy()], LOGITS, CLASSES)
    assert totals([Accuracy()], LOGITS, CLASSES, np.arange(6.0)) == plain
    assert plain[1] == 6


def test_where_nothing_counts_there_is_nothing_to_add():
    assert totals([Accuracy(), F1Score()], LOGITS, CLASSES, np.zeros((6, 5))) == ([0.0, 0.0], 0)


class MeanSize(Metric):
    """A figure of the predictions alone."""

    takes_targets = False

    def total(self, y_pred, y_true):
        assert y_true is None
        return abs(y_pred).mean(axis=1).sum()


def test_a_metric_without_targets():
    assert MeanSize()(np.array([[1.0, -3.0]])) == 2
    outputs = {"code": np.array([[1.0, -3.0], [0.0, 2.0]])}
    assert ForOutput("code", MeanSize())(outputs) == 1.5
    assert totals([ForOutput("code", MeanSize())], outputs, None) == ([3.0], 2)


def test_a_metric_of_one_output():
    y_pred, y_true = {"kind": LOGITS, "size": NUMBERS}, {"kind": CLASSES, "size": TRUTHS}
    kind, size = ForOutput("kind", Accuracy()), ForOutput("size", SquaredDistance())
    assert (kind.name, size.name) == ("kind_accuracy", "size_squared_distance")
    assert kind.greater_is_better
    assert not size.greater_is_better
    assert not ForOutput("kind", ConfusionMatrix()).is_figure
    assert repr(kind) == "ForOutput('kind', Accuracy())"
    assert kind(y_pred, y_true) == Accuracy()(LOGITS, CLASSES)
    assert totals([kind, size], y_pred, y_true) == (
        [Accuracy().total(LOGITS, CLASSES), SquaredDistance().total(NUMBERS, TRUTHS)],
        6,
    )
    (right, _), n_samples = totals([kind, size], y_pred, y_true, SEEN.astype(float))
    assert kind.result(right, n_samples) == Accuracy()(LOGITS[SEEN], CLASSES[SEEN])
    shapes = {"kind": (5, 4), "size": (5, 2)}
    kind.check_targets("here", {"kind": (6, 5), "size": (6, 5, 2)}, shapes)
    Accuracy().check_targets("here", (6, 7), (None, 4))
    Accuracy().check_targets("here", (6, 7, 4), (None, 4))


SHAPES = {"kind": (4,), "size": (2,)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ForOutput(3, Accuracy()), "output must be the name of an output of the model; go"),
        (lambda: ForOutput("kind", Accuracy), "metric must be an instance of Metric"),
        (lambda: ForOutput("kind", Accuracy())(LOGITS, CLASSES), "y_pred must be a dict of arrays"),
        (
            lambda: ForOutput("kind", Accuracy())({"kind": LOGITS}, CLASSES),
            "y_true must be a dict of arrays with 'kind' in it",
        ),
        (
            lambda: ForOutput("kind", Accuracy()).check_targets("here", (6,), (4,)),
            r"here: the model's output must be a dict; .* \(4,\). Pass the metric itself: Accuracy",
        ),
        (
            lambda: ForOutput("kin", Accuracy()).check_targets("here", {"kind": (6,)}, SHAPES),
            r"the output of ForOutput\('kin', Accuracy\(\)\) must be one of 'kind', 'size'; got 'k",
        ),
        (
            lambda: ForOutput("size", SquaredDistance()).check_targets(
                "here", {"kind": (6,)}, SHAPES
            ),
            "must be one of 'kind'; got 'size'",
        ),
        (
            lambda: ForOutput("kind", Accuracy()).check_targets("here", {"kind": (6, 1)}, SHAPES),
            r"y_true must be of shape \(6, 4\); got \(6, 1\), which Accuracy can't take",
        ),
        (
            lambda: Accuracy().check_targets("here", {"kind": (6,)}, SHAPES),
            r"metrics must be each for one output.* Write ForOutput\('kind', Accuracy\(\)\)",
        ),
        (
            lambda: SquaredDistance().check_targets("here", {"kind": (6,)}, SHAPES),
            r"Write ForOutput\('kind', SquaredDistance\(\)\)",
        ),
        (
            lambda: Accuracy().check_targets("here", (6, 3), (5, 4)),
            r"y_true must be of shape \(6, 5, 4\); got \(6, 3\), which Accuracy can't take",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
