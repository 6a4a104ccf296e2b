import numpy as np
import pytest

from layerkit import (
    Accuracy,
    ArgumentError,
    ConfusionMatrix,
    ForOutput,
    SquaredDistance,
)
from layerkit.metrics import Metric
from layerkit.metrics.totals import totals

RNG = np.random.default_rng(0)
LOGITS, CLASSES = RNG.normal(size=(6, 5, 4)), RNG.integers(4, size=(6, 5))
NUMBERS, TRUTHS = RNG.normal(size=(6, 5, 2)), RNG.normal(size=(6, 5, 2))
SEEN = RNG.uniform(size=(6, 5)) > 0.4


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
    assert totals([ForOutput("code", MeanSize())], outputs, None) == [3.0, 2]


def test_a_metric_of_one_output():
    y_pred, y_true = {"kind": LOGITS, "size": NUMBERS}, {"kind": CLASSES, "size": TRUTHS}
    kind, size = ForOutput("kind", Accuracy()), ForOutput("size", SquaredDistance())
    assert (kind.name, size.name) == ("kind_accuracy", "size_squared_distance")
    assert kind.greater_is_better
    assert not size.greater_is_better
    assert not ForOutput("kind", ConfusionMatrix()).is_figure
    assert repr(kind) == "ForOutput('kind', Accuracy())"
    assert kind(y_pred, y_true) == Accuracy()(LOGITS, CLASSES)
    assert totals([kind, size], y_pred, y_true) == [
        Accuracy().total(LOGITS, CLASSES),
        SquaredDistance().total(NUMBERS, TRUTHS),
        6,
    ]
    right, _, n_samples = totals([kind, size], y_pred, y_true, SEEN.astype(float))
    assert kind.result(right, n_samples) == Accuracy()(LOGITS[SEEN], CLASSES[SEEN])
    shapes = {"kind": (5, 4), "size": (5, 2)}
    kind.check_targets("here", {"kind": (6, 5), "size": (6, 5, 2)}, shapes)


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
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
