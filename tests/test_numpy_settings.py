"""Whatever a user has set NumPy to do about floating-point errors, harmless ones are none."""

import copy
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import layerkit
from layerkit import (
    AUC,
    CTC,
    ELU,
    GELU,
    L1,
    L2,
    SGD,
    AbsoluteError,
    AveragePrecision,
    BatchNorm,
    Brier,
    CalibrationError,
    CategoricalFocal,
    CategoricalHinge,
    ClipByGlobalNorm,
    Contrastive,
    CosineDistance,
    Dense,
    Dice,
    Dropout,
    Focal,
    GaussianNLL,
    Graph,
    HalfSquaredError,
    Hinge,
    Huber,
    KLDivergence,
    LambdaCallback,
    LogCosh,
    LogLoss,
    Losses,
    LossMetric,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Multiply,
    NegativeBinomial,
    Poisson,
    Quantile,
    R2Score,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SiLU,
    Softmax,
    SoftmaxCrossEntropy,
    Softplus,
    SquaredHinge,
    Standardize,
    Tanh,
    Trainer,
    Triplet,
    Tversky,
    Weighted,
)
from layerkit.replicas import Replicas

RNG = np.random.default_rng(0)
# Sums of these are far below −745, where the exponential is 0; products of the small ones are 0.
X = np.concatenate([RNG.normal(size=(6, 4)) * 2000, RNG.normal(size=(6, 4)) * 1e-200])
Y = RNG.integers(2, size=(12, 3))
WEIGHT = X[:, 0] ** 2
ACTIVATIONS = [Sigmoid(), Tanh(), ELU(), Softplus(), SiLU(), GELU(), Softmax(), ReLU()]
OPTIMIZERS = [
    getattr(layerkit, name) for name in layerkit.optimizers.__all__ if name != "Optimizer"
]


@pytest.fixture(params=["raise", "warn", "call"])
def strict(request):
    """Let NumPy be as strict as it can be, about everything."""

    def call(error, flag):
        raise AssertionError(f"a call about {error}")

    before = np.seterrcall(call)
    with np.errstate(all=request.param), warnings.catch_warnings():
        warnings.simplefilter("error")
        settings = np.geterr()
        yield
        assert np.geterr() == settings
    np.seterrcall(before)


def reference(function):
    with np.errstate(all="ignore"):
        return function()


def network(activation=None, dtype=np.float64, *layers):
    activation = activation or Sigmoid()
    return Sequential([Dense(4, 5, activation), *layers, Dense(5, 3)], seed=0, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_predict_forward_and_backward(strict, activation, dtype):
    model, dy = network(activation, dtype), Y * 1e-300

    def passes():
        y = model.forward(X, training=True)
        return y, model.backward(dy), model.grads.copy(), model[0].forward(X, training=True)

    for one, other in zip(passes(), reference(passes), strict=True):
        assert_array_equal(one, other)
    expected = reference(lambda: model.predict(X))
    assert_array_equal(model.predict(X), expected)
    assert_array_equal(model.predict(X, batch_size=5)[:5], model.predict(X[:5]))
    assert_array_equal(model[:1].predict(X), model[0].forward(X))


def test_other_layers_and_graphs(strict):
    model = network(Tanh(), np.float64, BatchNorm(), Dropout(0.5, seed=0), Standardize())
    model.forward(X, training=True)
    model.backward(Y * 1e-300)
    nodes = {
        "left": (Dense(4, 2, Sigmoid()), "x"),
        "right": (Dense(4, 2, Softmax()), "x"),
        "y": (Multiply(), ["left", "right"]),
    }
    graph = Graph({"x": (4,)}, nodes, "y", seed=0)
    assert_array_equal(graph.predict(X), reference(lambda: graph.predict(X)))
    graph.forward(X, training=True)
    graph.backward(np.full((12, 2), 1e-310))
    join, tiny = graph["y"], np.full((12, 2), 1e-200)
    assert not join.forward((tiny, tiny), training=True).any()
    assert not join.backward(tiny)[0].any()


def test_what_looks_into_a_model(strict):
    model, loss = network(), MeanSquaredError()
    for look in (
        lambda: model.per_sample_gradients(X, Y, loss),
        lambda: model.trace(X, Y, loss)["dense_0"].dy,
    ):
        assert_array_equal(look(), reference(look))


PROBABILITIES = np.eye(3)[[0, 1, 2, 0]]
LOSSES = [
    (AbsoluteError(), 1),
    (CTC(), [[1, 0], [2, 1], [1, 1], [2, 0]]),
    (CategoricalFocal(), [0, 1, 2, 0]),
    (CategoricalHinge(), [0, 1, 2, 0]),
    (Contrastive(), 1),
    (CosineDistance(), 1),
    (Dice(), 1),
    (Focal(), 1),
    (GaussianNLL(), 1),
    (HalfSquaredError(), 1),
    (Hinge(), 1),
    (Huber(), 1),
    (KLDivergence(), PROBABILITIES),
    (LogCosh(), 1),
    (MeanAbsolutePercentageError(), 1),
    (MeanSquaredError(), 1),
    (MeanSquaredLogarithmicError(), 1),
    (NegativeBinomial(), 1),
    (Poisson(), 1),
    (Quantile(), 1),
    (SigmoidCrossEntropy(), 1),
    (SigmoidCrossEntropy(pos_weight=2.0), 1),
    (SoftmaxCrossEntropy(), [0, 1, 2, 0]),
    (SoftmaxCrossEntropy(class_weight=[1, 2, 3]), [0, 1, 2, 0]),
    (SoftmaxCrossEntropy("probabilities"), PROBABILITIES),
    (SquaredHinge(), 1),
    (Triplet(), None),
    (Tversky(), 1),
]


def test_all_losses_are_here():
    kinds = {type(loss).__name__ for loss, _ in LOSSES} | {"Loss", "LossMetric", "Losses"}
    assert kinds == set(layerkit.losses.__all__)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-300, 1e-30, 1.0, 700.0, 1e5, 1e10])
@pytest.mark.parametrize(("loss", "targets"), LOSSES, ids=lambda value: str(value)[:20])
def test_losses(strict, loss, targets, size, dtype):
    with np.errstate(under="ignore"):
        y_pred = (np.array([[-1, 0.3, 1], [1, 1, 1], [0, 0, 0], [2, -3, 0.5]]) * size).astype(dtype)
    if isinstance(targets, int):
        targets = np.ones((4, 1 if isinstance(loss, Contrastive) else 3))
    if isinstance(loss, Contrastive | GaussianNLL | NegativeBinomial):
        y_pred = np.concatenate([y_pred, y_pred[:, ::-1]], axis=1)
    if isinstance(loss, GaussianNLL | NegativeBinomial | Poisson) and size > 80:
        return  # the exponential of these is infinite, which is no harmless thing
    if isinstance(loss, CTC):
        y_pred = np.stack([y_pred, y_pred[:, ::-1], y_pred], axis=1)
    whole = Losses({"a": loss, "b": loss}, weights={"a": 1e-300, "b": 1.0})
    for method in ("value", "gradient", "per_sample", "per_position"):
        compute = getattr(loss, method)
        expected = reference(lambda: compute(y_pred, targets))  # noqa: B023 - called at once
        assert_array_equal(compute(y_pred, targets), expected)
        getattr(whole, method)({"a": y_pred, "b": y_pred}, {"a": targets, "b": targets})
    whole.parts({"a": y_pred, "b": y_pred}, {"a": targets, "b": targets})


@pytest.mark.parametrize("loss", [HalfSquaredError(), MeanSquaredError()], ids=repr)
def test_a_gradient_is_finite_where_the_value_is_not(strict, loss):
    gradient = loss.gradient(np.full((1, 2), 1e200), np.zeros((1, 2)))
    assert np.isfinite(gradient).all()
    assert gradient.all()


METRIC_ARGUMENTS = {"FBeta": (2.0,), "TopKAccuracy": (2,), "ConfusionMatrix": (3,)} | dict.fromkeys(
    ("PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity",
     "SpecificityAtSensitivity"), (0.4,)
)  # fmt: skip
METRICS = [
    kind(*METRIC_ARGUMENTS.get(name, ()))
    for name in layerkit.metrics.__all__
    if (kind := getattr(layerkit, name)).takes_weight
]
METRICS += [
    kind(from_logits=True, **options)
    for kind in (AUC, AveragePrecision, Brier, CalibrationError, LogLoss)
    for options in ({}, {"multilabel": True})
]
METRICS += [LossMetric(MeanSquaredError()), AUC(n_thresholds=9, from_logits=True)]


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_metrics(strict, metric):
    with np.errstate(under="ignore"):
        y_pred = RNG.normal(size=(12, 3)) * np.logspace(-300, 5, 12)[:, None]
        if getattr(metric, "from_logits", True) is None:
            y_pred = np.clip(np.abs(y_pred), 0, 1)
    y_true = np.eye(3)[np.arange(12) % 3]
    assert_array_equal(metric(y_pred, y_true), reference(lambda: metric(y_pred, y_true)))
    metric = Weighted(metric)
    got = metric(y_pred, y_true, WEIGHT)
    assert_array_equal(got, reference(lambda: metric(y_pred, y_true, WEIGHT)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_of_optimizers(strict, kind, dtype):
    with np.errstate(under="ignore"):
        grads = np.array([1.0, 1e-20, 1e-30, 1e-200, 0.0, -1e-310]).astype(dtype)
    optimizer = kind(0.1)
    values, twin, other = np.ones(6, dtype), np.ones(6, dtype), copy.deepcopy(optimizer)
    for _ in range(3):
        optimizer.step(values, grads)
        reference(lambda: other.step(twin, grads))
    assert values.tobytes() == twin.tobytes()


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_and_evaluation(strict, dtype, engine):
    seen = []
    hook = LambdaCallback(
        on_epoch_begin=lambda t: seen.append(np.geterr()),
        on_batch_end=lambda t: seen.append(np.geterr()),
    )

    def results(callbacks=()):
        model = network(dtype=dtype)
        trainer = Trainer(
            model, MeanSquaredError(), SGD(1e-4), metrics=[R2Score()], seed=0, engine=engine
        )
        history = trainer.fit(
            X, Y, epochs=3, batch_size=3, validation_data=(X, Y), callbacks=callbacks
        )
        figures = trainer.evaluate(X, Y), trainer.evaluate(X, Y, sample_weight=WEIGHT)
        weighted = Trainer(
            model, SoftmaxCrossEntropy("probabilities"), SGD(1e-4), engine="numpy", seed=0,
            regularizers=[L1(1e-300), L2(1e-10)], clipping=ClipByGlobalNorm(1e-3),
        )  # fmt: skip
        y = np.eye(3)[np.arange(12) % 3]
        losses = [weighted.train_step(X, y, WEIGHT) for _ in range(2)]
        weighted.fit(X, y, epochs=2, validation_split=0.5, sample_weight=WEIGHT, accumulate=2)
        return history["loss"], *figures, losses, model.values.tobytes()

    expected = reference(results)
    assert results() == expected
    results([hook])
    assert seen == [np.geterr()] * len(seen)  # a callback's own errors are the user's to set
    assert seen


def test_replicas(strict):
    def make(seed):
        return Trainer(network(), HalfSquaredError(), SGD(1e-4), seed=seed)

    replicas = Replicas(make, 2)
    replicas.fit(X, Y, epochs=2, batch_size=3)
    replicas.predict(X)


@pytest.mark.parametrize("call", ["predict", "train_step", "evaluate", "fit"])
def test_an_error_leaves_the_settings_alone(strict, call):
    trainer = Trainer(network(), HalfSquaredError(), SGD(1e-4))
    arguments = {"predict": (X[:, :3],)}.get(call, (X[:, :3], Y))
    target = trainer.model if call == "predict" else trainer
    with pytest.raises(layerkit.ShapeError):
        getattr(target, call)(*arguments, **({"epochs": 1} if call == "fit" else {}))


def test_what_overflows_is_still_the_users_to_hear_of():
    model = network(ReLU())
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        model.predict(np.full((1, 4), 1e308))
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        HalfSquaredError().value(np.full((1, 1), 1e200), np.zeros((1, 1)))
