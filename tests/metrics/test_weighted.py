"""Weighted metrics: like repeated samples, and those of scikit-learn, in training too."""

import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from parts import agree_weighted, in_parts, weights_of

import layerkit
from layerkit import (
    SGD,
    Accuracy,
    ArgumentError,
    ConfusionMatrix,
    Dense,
    F1Score,
    ForOutput,
    Losses,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    Precision,
    R2Score,
    RootMeanSquaredError,
    Sequential,
    ShapeError,
    SoftmaxCrossEntropy,
    SquaredDistance,
    Trainer,
    Weighted,
)
from layerkit.metrics.totals import totals

RNG = np.random.default_rng(0)
X, LABELS, WEIGHT = RNG.normal(size=(11, 3)), RNG.integers(3, size=11), weights_of(RNG, 11)

# Every metric that can be weighted, of classes, of one output or labels, and of numbers.
KINDS = [
    kind
    for name in layerkit.__all__
    if isinstance(kind := getattr(layerkit, name), type)
    and issubclass(kind, Metric)
    and kind.takes_weight
]
ARGUMENTS = {
    "FBeta": (2.0,),
    "TopKAccuracy": (2,),
    "PrecisionAtRecall": (0.4,),
    "RecallAtPrecision": (0.4,),
    "SensitivityAtSpecificity": (0.4,),
    "SpecificityAtSensitivity": (0.4,),
}
METRICS = [kind(*ARGUMENTS.get(kind.__name__, ())) for kind in KINDS]


def test_all_metrics_but_wrappers_take_weights():
    others = {
        name
        for name in layerkit.__all__
        if isinstance(kind := getattr(layerkit, name), type)
        and issubclass(kind, Metric)
        and not kind.takes_weight
    }
    assert others == {"ForOutput", "LossMetric", "Metric", "Weighted"}


@pytest.mark.parametrize("metric", METRICS, ids=repr)
@pytest.mark.parametrize("seed", range(5))
def test_a_weight_of_2_is_like_two_samples(metric, seed):
    rng = np.random.default_rng(seed)
    of_numbers = not hasattr(metric, "check_values") or type(metric).__module__.endswith(
        ("regression", "correlation")
    )
    y_pred = rng.dirichlet(np.ones(3), size=12).round(2)
    y_pred /= y_pred.sum(axis=1, keepdims=True)
    y_true = rng.normal(size=(12, 3)) if of_numbers else rng.integers(3, size=12)
    weight = rng.integers(3, size=12)
    weight[0] = 2
    expected = metric(np.repeat(y_pred, weight, axis=0), np.repeat(y_true, weight, axis=0))
    if isinstance(expected, list) or type(metric).__name__.endswith("Curve"):
        for got, own in zip(Weighted(metric)(y_pred, y_true, weight), expected, strict=True):
            np.testing.assert_allclose(got, own, rtol=1e-12)
        return
    agree_weighted(metric, y_pred, y_true, weight, expected, rng)


@given(seed=st.integers(0, 2**32), n=st.integers(2, 25))
def test_they_are_those_of_scikit_learn(seed, n):
    rng = np.random.default_rng(seed)
    weight = weights_of(rng, n)
    y_pred, labels = rng.random((n, 3)), rng.integers(3, size=n)
    called = y_pred.argmax(axis=1)
    options = {"sample_weight": weight, "zero_division": 0, "average": "macro"}
    seen = weight != 0  # classes that nothing with a weight has or is called are left out
    options["labels"] = np.unique([labels[seen], called[seen]])
    for metric, expected in (
        (Accuracy(), sk.accuracy_score(labels, called, sample_weight=weight)),
        (F1Score(), sk.f1_score(labels, called, **options)),
        (Precision(), sk.precision_score(labels, called, **options)),
        (
            ConfusionMatrix(),
            sk.confusion_matrix(labels, called, sample_weight=weight, labels=range(3)),
        ),
    ):
        agree_weighted(metric, y_pred, labels, weight, expected, rng)
    y_true = rng.normal(size=(n, 3))
    for metric, function in (
        (MeanAbsoluteError(), sk.mean_absolute_error),
        (RootMeanSquaredError(), lambda *a, **o: math.sqrt(sk.mean_squared_error(*a, **o))),
        (R2Score(), sk.r2_score),
    ):
        if isinstance(metric, R2Score) and seen.sum() < 2:
            continue
        expected = function(y_true, y_pred, sample_weight=weight)
        agree_weighted(metric, y_pred, y_true, weight, expected, rng, rtol=1e-11)
    expected = weight @ ((y_pred - y_true) ** 2).sum(axis=1)
    agree_weighted(SquaredDistance(), y_pred, y_true, weight, expected, rng)


def trainer_of(**options):
    model = Sequential([Dense(3, 3)], seed=0)
    metrics = [Accuracy(), Weighted(Accuracy()), Weighted(F1Score())]
    return Trainer(model, SoftmaxCrossEntropy(), SGD(0.1), metrics=metrics, seed=0, **options)


def test_in_training_and_evaluation():
    trainer = trainer_of()
    y_pred = trainer.model.predict(X)
    called = y_pred.argmax(axis=1)
    expected = {
        "accuracy": (called == LABELS).mean(),
        "weighted_accuracy": np.average(called == LABELS, weights=WEIGHT),
        "weighted_f1_score": Weighted(F1Score())(y_pred, LABELS, WEIGHT),
    }
    for batch_size in (1, 4, 11):
        found = trainer.evaluate(X, LABELS, sample_weight=WEIGHT, batch_size=batch_size)
        for name, figure in expected.items():
            assert found[name] == pytest.approx(figure, rel=1e-12)
    found = trainer.evaluate(X, LABELS)
    assert found["weighted_accuracy"] == found["accuracy"]
    history = trainer.fit(X, LABELS, epochs=1, batch_size=11, sample_weight=WEIGHT)
    for name, figure in expected.items():  # before the one update
        assert history[name][0] == pytest.approx(figure, rel=1e-12)


def test_weights_of_classes_count_in_training():
    of_classes = {0: 2.0, 2: 0.5}
    trainer = trainer_of()
    called = trainer.model.predict(X).argmax(axis=1)
    weight = np.array([of_classes.get(int(label), 1.0) for label in LABELS])
    history = trainer.fit(X, LABELS, epochs=1, batch_size=11, class_weight=of_classes)
    expected = np.average(called == LABELS, weights=weight)
    assert history["weighted_accuracy"][0] == pytest.approx(expected, rel=1e-12)


def test_positions_have_weights_of_their_own():
    y_pred, y_true = RNG.normal(size=(4, 5, 3)), RNG.integers(3, size=(4, 5))
    weight = RNG.choice([0.0, 0.5, 2.0], size=(4, 5))
    metric = Weighted(Accuracy())
    total, n_samples = totals([metric], y_pred, y_true, weight)
    expected = np.average(y_pred.argmax(axis=-1) == y_true, weights=weight)
    assert metric.result(total, n_samples) == pytest.approx(expected, rel=1e-14)
    # The weight of a sample is that of each of its positions.
    of_samples = np.array([1.0, 0.0, 2.0, 0.5])
    expected = np.average((y_pred.argmax(axis=-1) == y_true).mean(axis=1), weights=of_samples)
    assert metric(y_pred, y_true, of_samples) == pytest.approx(expected, rel=1e-14)
    flat = ConfusionMatrix()
    got = Weighted(flat)(y_pred, y_true, of_samples)
    at_each = np.repeat(of_samples, 5)
    called = y_pred.reshape(-1, 3).argmax(axis=1)
    expected = sk.confusion_matrix(y_true.ravel(), called, sample_weight=at_each)
    np.testing.assert_allclose(got, expected)


def test_of_one_of_several_outputs():
    metric = ForOutput("kind", Weighted(Accuracy()))
    assert metric.is_weighted
    y_pred = {"kind": RNG.normal(size=(11, 3)), "size": X[:, :1]}
    y_true = {"kind": LABELS, "size": X[:, :1]}
    total, n_samples = totals([metric], y_pred, y_true, WEIGHT)
    expected = Weighted(Accuracy())(y_pred["kind"], LABELS, WEIGHT)
    assert metric.result(total, n_samples) == expected
    with pytest.raises(ArgumentError, match=r"Write ForOutput\('kind', Weighted\(...\)\)"):
        Weighted(ForOutput("kind", Accuracy()))


def test_where_nothing_weighs_anything():
    metric = Weighted(R2Score())
    y_pred = np.full((3, 1), np.nan)
    nothing = metric.total(y_pred, np.ones((3, 1)), np.zeros(3))
    assert nothing[1] == 0
    assert math.isnan(metric.result(nothing, 3))
    assert math.isnan(metric.result(0.0, 0))
    something = metric.total(np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]]), np.ones(2))
    for merged in (metric.merge(nothing, something), metric.merge(something, nothing)):
        assert metric.result(merged, 5) == metric.result(something, 2) == 0.5
    assert metric.merge(0.0, nothing) is nothing
    assert metric.merge(nothing, 0.0) is nothing


def test_a_nan_that_counts_is_shown():
    metric = Weighted(Accuracy())
    y_pred = np.array([[np.nan, 0.0], [0.3, 0.7]])
    assert math.isnan(metric.result(metric.total(y_pred, np.array([0, 1]), np.ones(2)), 2))
    assert metric(y_pred, np.array([0, 1]), np.array([0.0, 1.0])) == 1
    with pytest.raises(ArgumentError, match="y_pred must be numbers; got nan in sample 0"):
        metric(y_pred, np.array([0, 1]), np.array([1.0, 1.0]))


def test_they_read_like_what_made_them():
    metric = Weighted(F1Score())
    assert repr(metric) == "Weighted(F1Score())"
    assert metric.name == "weighted_f1_score"
    assert metric.greater_is_better
    assert not Weighted(ConfusionMatrix()).is_figure
    assert Weighted(SquaredDistance())([[1.0]], [[3.0]]) == 4
    assert metric.for_predictions("here", "logits").metric.threshold == 0
    kept = Weighted(MeanAbsoluteError())
    assert kept.for_predictions("here", "logits") is kept


class OfPredictions(Metric):
    takes_targets = False
    takes_weight = True

    def total(self, y_pred, y_true, weight=None):
        return (y_pred[:, 0] * (1 if weight is None else weight)).sum()


def test_one_without_targets():
    assert Weighted(OfPredictions())([[1.0], [3.0]], None, [3, 1]) == 1.5
    got = in_parts(Weighted(OfPredictions()), X, LABELS, RNG, WEIGHT)
    assert got == pytest.approx(np.average(X[:, 0], weights=WEIGHT))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Weighted(Accuracy), r"Weighted.__init__: metric must be an instance of Metric"),
        (
            lambda: Weighted(Weighted(Accuracy())),
            r"metric must be one whose samples can be weighted; .* takes_weight = True",
        ),
        (
            lambda: Weighted(Accuracy())(X, LABELS, -WEIGHT),
            r"sample_weight must be at least 0; got",
        ),
        (lambda: Weighted(Accuracy())(X, LABELS, 0 * WEIGHT), "above 0 for some sample; got 0 for"),
        (lambda: Weighted(Accuracy())(X, LABELS, WEIGHT * np.nan), "sample_weight must be finite"),
        (lambda: Weighted(Accuracy())(X, LABELS + 1, WEIGHT), "a class from 0 to 2; got 3"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()


def test_one_weight_for_each_sample():
    with pytest.raises(ShapeError, match=r"sample_weight must be of shape \(11,\); got \(10,\)"):
        Weighted(Accuracy())(X, LABELS, WEIGHT[1:])


def test_a_loss_of_several_outputs_has_weights_of_its_own():
    loss = layerkit.LossMetric(Losses({"a": MeanSquaredError()}))
    with pytest.raises(ArgumentError, match="whose samples can be weighted"):
        Weighted(loss)
