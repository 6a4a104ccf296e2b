"""Every loss as a metric: over any batches, ranks and weights, the loss of all samples."""

import functools
import math

import numpy as np
import pytest
from parts import in_parts, weights_of
from ranks import on_ranks

import layerkit
from layerkit import (
    SGD,
    AbsoluteError,
    ArgumentError,
    Dense,
    ForOutput,
    Hinge,
    Huber,
    KLDivergence,
    Loss,
    Losses,
    LossMetric,
    MeanSquaredError,
    Sequential,
    ShapeError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Trainer,
    Triplet,
    Weighted,
)
from layerkit.losses.base import weighted
from layerkit.metrics.totals import totals

RNG = np.random.default_rng(0)
X, Y, LABELS = RNG.normal(size=(17, 3)), RNG.normal(size=(17, 3)), RNG.integers(3, size=17)
SHARES = RNG.dirichlet(np.ones(3), size=17)
WEIGHT = weights_of(RNG, 17)
WIDE, COUNTS = RNG.normal(size=(17, 6)), RNG.integers(9, size=(17, 3)).astype(float)
# Predictions and targets of the losses that don't take any numbers of one shape.
SPECIAL = {
    "CTC": (RNG.normal(size=(17, 6, 4)), RNG.integers(1, 4, size=(17, 2))),
    "CategoricalFocal": (X, LABELS),
    "CategoricalHinge": (X, LABELS),
    "Contrastive": (WIDE, RNG.integers(2, size=(17, 1)).astype(float)),
    "Dice": (X, SHARES),
    "Focal": (X, SHARES),
    "GaussianNLL": (WIDE, Y),
    "Hinge": (X, np.sign(Y)),
    "KLDivergence": (X, SHARES),
    "MeanSquaredLogarithmicError": (X, SHARES),
    "NegativeBinomial": (WIDE, COUNTS),
    "Poisson": (X, COUNTS),
    "SigmoidCrossEntropy": (X, SHARES),
    "SoftmaxCrossEntropy": (X, LABELS),
    "SquaredHinge": (X, np.sign(Y)),
    "Tversky": (X, SHARES),
}
LOSSES = [
    kind
    for name in layerkit.__all__
    if isinstance(kind := getattr(layerkit, name), type)
    and issubclass(kind, Loss)
    and kind not in (Loss, Losses, Triplet)  # without targets: see NoTargets, below
]


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_loss_of_all_samples(kind, dtype):
    loss = kind()
    metric = LossMetric(loss)
    y_pred, y_true = SPECIAL.get(kind.__name__, (X, Y))
    y_pred = y_pred.astype(dtype)
    loss.check_targets("here", y_true, y_pred.shape[1:])
    # Batches of float32 are rounded each to 6e-8, and a sample's loss to some ulps.
    tolerance = {"rel": 1e-12 if dtype is np.float64 else 2e-6}
    expected = loss.value(y_pred, y_true)
    assert metric(y_pred, y_true) == pytest.approx(expected, **tolerance)
    for _ in range(3):
        assert in_parts(metric, y_pred, y_true, RNG) == pytest.approx(expected, **tolerance)
    cast = y_true.astype(loss.target_dtype(y_pred.dtype))
    expected, _ = weighted(loss, y_pred, cast, WEIGHT.astype(dtype))
    assert Weighted(metric)(y_pred, y_true, WEIGHT) == pytest.approx(expected, **tolerance)
    got = in_parts(Weighted(metric), y_pred, y_true, RNG, WEIGHT)
    assert got == pytest.approx(expected, **tolerance)


def trainer_of(communicator=None, **options):
    model = Sequential([Dense(3, 3)], seed=0)
    metrics = [LossMetric(Huber()), LossMetric(AbsoluteError()), Weighted(LossMetric(Huber()))]
    loss = MeanSquaredError()
    options |= {"seed": 0, "metrics": metrics, "communicator": communicator}
    return Trainer(model, loss, SGD(0.1), **options)


def test_in_training_and_over_ranks():
    def program(communicator):
        trainer = trainer_of(communicator)
        trainer.fit(X, Y, epochs=2, batch_size=5, sample_weight=WEIGHT)
        return trainer.evaluate(X, Y, sample_weight=WEIGHT)

    alone = program(None)
    assert set(alone) == {"loss", "huber", "absolute_error", "weighted_huber"}
    for together in on_ranks(3, program):
        assert together == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_the_engines_agree(engine):
    history = trainer_of(engine=engine).fit(X, Y, epochs=1, batch_size=17)
    y_pred = Sequential([Dense(3, 3)], seed=0).predict(X)
    assert history["huber"][0] == pytest.approx(Huber().value(y_pred, Y), rel=1e-12)


def test_positions_that_count():
    y_pred, y_true = RNG.normal(size=(4, 5, 3)), RNG.integers(3, size=(4, 5))
    weight = RNG.choice([0.0, 0.5, 2.0], size=(4, 5))
    loss = SoftmaxCrossEntropy()
    for metric, w in (
        (LossMetric(loss), (weight != 0) * 1.0),
        (Weighted(LossMetric(loss)), weight),
    ):
        total, n_samples = totals([metric], y_pred, y_true, weight)
        expected, _ = weighted(loss, y_pred, y_true, w)
        assert metric.result(total, n_samples) == pytest.approx(expected, rel=1e-12)


def test_of_one_of_several_outputs_and_of_all():
    y_pred, y_true = {"a": X, "b": Y}, {"a": Y, "b": LABELS}
    losses = Losses({"a": Huber(), "b": SoftmaxCrossEntropy()})
    metric = ForOutput("a", LossMetric(Huber()))
    assert metric(y_pred, y_true) == LossMetric(Huber())(X, Y)
    total, n = totals([LossMetric(losses)], y_pred, y_true)
    assert total / n == pytest.approx(losses.value(y_pred, y_true))
    LossMetric(losses).check_targets("here", {"a": (17, 3), "b": (17,)}, {"a": (3,), "b": (3,)})


class NoTargets(Loss):
    takes_targets = False

    def value(self, y_pred, y_true):
        return np.float32((y_pred**2).mean())

    def gradient(self, y_pred, y_true):
        return 2 * y_pred / y_pred.size


def test_a_loss_without_targets():
    metric = LossMetric(NoTargets())
    assert not metric.takes_targets
    assert metric(np.array([[1.0, 3.0]])) == 5
    assert type(metric.total(X, None)) is float


def test_beside_a_loss_of_other_predictions():
    words = (
        r"metrics must be of losses of logits, .* is; got LossMetric\(SoftmaxCross.*class_logits"
    )
    metric = LossMetric(SoftmaxCrossEntropy(), "other")
    with pytest.raises(ArgumentError, match=words):
        Trainer(Sequential([Dense(3, 3)]), SigmoidCrossEntropy(), SGD(0.1), metrics=[metric])
    signs = LossMetric(Hinge())
    assert signs.for_predictions("here", "logits") is signs
    assert metric.for_predictions("here", None) is metric


def test_what_it_refuses():
    with pytest.raises(
        ArgumentError, match=r"LossMetric.__init__: loss must be an instance of Loss"
    ):
        LossMetric(Huber)
    with pytest.raises(ArgumentError, match="name must be a text that is not empty"):
        LossMetric(Huber(), "")
    with pytest.raises(ShapeError, match=r"y_true must be of shape \(17, 3\)"):
        LossMetric(Huber())(X, LABELS)
    with pytest.raises(ArgumentError, match=r"LossMetric.__call__: y_true must be"):
        LossMetric(KLDivergence())(X, Y)


def test_they_read_like_what_made_them():
    assert LossMetric(Huber(), "robust").name == "robust"
    assert repr(LossMetric(Huber(2.0), "robust")) == "LossMetric(Huber(2.0), 'robust')"
    again = LossMetric.from_config(LossMetric(Huber(2.0)).get_config())
    assert (again.name, again.loss.delta) == ("huber", 2.0)
    assert not again.greater_is_better


def test_nan():
    values = [
        LossMetric(Huber()).total(np.full((1, 1), v), np.zeros((1, 1))) for v in (1.0, np.nan)
    ]
    assert math.isnan(functools.reduce(LossMetric(Huber()).merge, values, 0.0))
