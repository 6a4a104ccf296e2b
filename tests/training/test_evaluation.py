"""Losses and metrics over batches of any size, weighted or not."""

import json
import math

import numpy as np
import pytest

from layerkit import (
    L2,
    SGD,
    Accuracy,
    ArgumentError,
    ConfusionMatrix,
    Dense,
    F1Score,
    Focal,
    ForOutput,
    Graph,
    HalfSquaredError,
    Hinge,
    JSONLogger,
    Loss,
    Losses,
    MeanSquaredError,
    Metric,
    R2Score,
    Regularizer,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredDistance,
    Trainer,
)
from layerkit.data.batches import ArrayBatches
from layerkit.training.evaluation import evaluate, figure_names

RNG = np.random.default_rng(0)
X, Y, WEIGHT = RNG.normal(size=(7, 2)), RNG.normal(size=(7, 1)), RNG.uniform(size=7)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_the_mean_over_samples_whatever_the_batches(batch_size, weight):
    model = Sequential([Dense(2, 1)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), regularizers=[L2(0.5)])
    data = ArrayBatches(X, Y, batch_size, X.dtype, Y.dtype, weight)
    before = model.values.copy()
    found = evaluate(trainer.setup.step, data, [SquaredDistance()])
    errors = ((model.predict(X) - Y) ** 2)[:, 0]
    penalty = 0.5 * (model[0].kernel.value ** 2).sum()
    assert found["loss"] == pytest.approx(np.average(errors / 2, weights=weight) + penalty)
    assert found["squared_distance"] == pytest.approx(errors.sum())
    np.testing.assert_array_equal(model.values, before)


def test_names_of_what_is_recorded():
    assert figure_names([SquaredDistance()], is_validated=False) == ["loss", "squared_distance"]
    assert figure_names([], is_validated=True) == ["loss", "val_loss"]


N = 64
POINTS = RNG.normal(size=(N, 2))
ANSWERS = (POINTS[:, :1] + 0.3 * POINTS[:, 1:] > 0).astype(float)


def judge(activation=None, n_outputs=1):
    """A model that is right, in logits or in probabilities."""
    model = Sequential([Dense(2, n_outputs, activation)], seed=0)
    model[0].kernel.value = np.array([[1.0], [0.3]])
    model[0].bias.value = [0.0]
    return model


class OnProbabilities(Loss):
    """Binary cross-entropy of probabilities, which does not say what its predictions are."""

    def value(self, y_pred, y_true):
        return float(-np.log(np.where(y_true > 0.5, y_pred, 1 - y_pred)).mean())

    def gradient(self, y_pred, y_true):
        return np.where(y_true > 0.5, -1 / y_pred, 1 / (1 - y_pred)) / y_pred.size


class Said(OnProbabilities):
    predictions = "probabilities"


class MyLogits(SigmoidCrossEntropy):
    pass


@pytest.mark.parametrize(
    ("loss", "activation", "coding"),
    [
        (SigmoidCrossEntropy(), None, 0),
        (MyLogits(), None, 0),
        (Focal(), None, 0),
        (Hinge(), None, -1),
        (MeanSquaredError(), Sigmoid(), 0),
        (OnProbabilities(), Sigmoid(), 0),
        (Said(), Sigmoid(), 0),
    ],
)
@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_metrics_know_what_the_loss_takes_for_predictions(loss, activation, coding, engine):
    metrics = [Accuracy(), F1Score()]
    y = np.where(ANSWERS > 0, 1.0, coding)
    trainer = Trainer(judge(activation), loss, SGD(1e-9), metrics=metrics, engine=engine, seed=0)
    assert trainer.metrics == metrics
    assert metrics[0].threshold is None
    history = trainer.fit(POINTS, y, epochs=1, batch_size=8, validation_data=(POINTS, y))
    figures = trainer.evaluate(POINTS, y)
    for name in ("accuracy", "f1_score"):
        assert history[name] == history[f"val_{name}"] == [1.0]
        assert figures[name] == 1
    found = trainer.evaluate(POINTS, y, metrics=[ConfusionMatrix(), Accuracy(0.9)])
    assert np.trace(found["confusion_matrix"]) == N
    assert found["accuracy"] < 1


def test_the_compiled_engine_knows_it_too():
    trainer = Trainer(
        judge(), SigmoidCrossEntropy(), SGD(1e-9), metrics=[Accuracy()], engine="numba", seed=0
    )
    history = trainer.fit(POINTS, ANSWERS, epochs=1, batch_size=1)
    assert trainer.engine_used.name == "numba"
    assert history["accuracy"] == [1.0]
    labels = np.hstack([ANSWERS, 1 - ANSWERS])
    model = Sequential([Dense(2, 2)], seed=0)
    model[0].kernel.value = np.array([[1.0, -1.0], [0.3, -0.3]])
    subset = Accuracy(multilabel=True)
    trainer = Trainer(
        model, SigmoidCrossEntropy(), SGD(1e-9), metrics=[subset], engine="numba", seed=0
    )
    labels[:9] = 1 - labels[:9] * [1, 0]  # both, or none
    expected = subset.for_predictions("here", "logits")(model.predict(POINTS), labels)
    assert trainer.fit(POINTS, labels, epochs=1, batch_size=1)["accuracy"] == [expected]


def test_metrics_follow_another_loss_and_other_metrics():
    trainer = Trainer(judge(), SigmoidCrossEntropy(), SGD(1e-9), metrics=[Accuracy()], seed=0)
    assert trainer.setup.step.metrics[0].threshold == 0
    trainer.loss = HalfSquaredError()
    assert trainer.setup.step.metrics[0].threshold == 0.5
    trainer.metrics.append(F1Score())
    assert [type(metric) for metric in trainer.setup.step.metrics] == [Accuracy, F1Score]
    trainer.loss, trainer.metrics = Hinge(), [Accuracy(0.25)]
    assert trainer.setup.step.metrics == trainer.metrics


def test_each_output_has_a_loss_that_says_it():
    model = Graph(
        {"x": (2,)}, {"a": (Dense(2, 1), "x"), "b": (Dense(2, 1, Sigmoid()), "x")}, ["a", "b"]
    )
    for name in "ab":
        model[name].kernel.value, model[name].bias.value = np.array([[1.0], [0.3]]), [0.0]
    loss = Losses({"a": SigmoidCrossEntropy(), "b": MeanSquaredError()})
    metrics = [ForOutput("a", Accuracy()), ForOutput("b", Accuracy())]
    trainer = Trainer(model, loss, SGD(1e-9), metrics=metrics)
    history = trainer.fit(POINTS, {"a": ANSWERS, "b": ANSWERS}, epochs=1)
    assert history["a_accuracy"] == history["b_accuracy"] == [1.0]


def test_what_can_not_be_judged_is_refused_before_training():
    model = Sequential([Dense(2, 3)], seed=0)
    metrics = [Accuracy(multilabel=True)]
    with pytest.raises(ArgumentError, match=r"Trainer.__init__: metrics must be of one class in"):
        Trainer(model, SoftmaxCrossEntropy(), SGD(0.1), metrics=metrics)
    trainer = Trainer(model, SigmoidCrossEntropy(), SGD(0.1), metrics=[Accuracy()])
    several = np.ones((N, 3))
    words = r"Trainer.fit: y_true must be one class in each row.*write Accuracy\(multilabel=True\)"
    with pytest.raises(ArgumentError, match=words):
        trainer.fit(POINTS, several, epochs=1)
    trainer.metrics = metrics
    trainer.fit(POINTS, several, epochs=1)
    plain = Trainer(model, SoftmaxCrossEntropy(), SGD(0.1))
    with pytest.raises(ArgumentError, match=r"Trainer.evaluate: metrics must be of one class in"):
        plain.evaluate(POINTS, np.zeros(N, int), metrics=metrics)


class Unheard(HalfSquaredError):
    predictions = "logit"


def test_a_loss_that_says_a_word_which_there_is_not():
    with pytest.raises(ArgumentError, match="predictions of the loss must be 'logits' or 'class_"):
        Trainer(judge(), Unheard(), SGD(0.1), metrics=[Accuracy()])


def test_predictions_of_nan_have_no_accuracy():
    model = judge()
    model.values[:] = np.nan
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1))
    figures = trainer.evaluate(POINTS, ANSWERS, metrics=[Accuracy(), F1Score(), R2Score()])
    assert all(math.isnan(figure) for figure in figures.values())
    with pytest.raises(ArgumentError, match="the predictions must be numbers; got nan"):
        trainer.evaluate(POINTS, ANSWERS, metrics=[ConfusionMatrix()])


class Narrow(Loss):
    """A loss of numbers of float32."""

    def value(self, y_pred, y_true):
        return np.float32(0.1)

    def gradient(self, y_pred, y_true):
        return 0 * y_pred


class NarrowMetric(Metric):
    def total(self, y_pred, y_true):
        return np.float32(0.1) * np.float32(len(y_pred))

    def result(self, total, n_samples):
        return np.float32(total / n_samples)


class NarrowPenalty(Regularizer):
    def penalty(self, value):
        return np.float32(0.1)

    def slope(self, value):
        return 0 * value


def test_figures_are_summed_in_double_and_recorded_as_floats(tmp_path):
    n = 20_000
    x, y = np.zeros((n, 2)), np.zeros((n, 1))
    loss, path = Losses({"a": Narrow()}), tmp_path / "log.jsonl"
    assert type(loss.value({"a": y}, {"a": y})) is float
    assert type(loss.value_and_gradient({"a": y}, {"a": y})[0]) is float
    assert type(loss.parts({"a": y}, {"a": y})["a"]) is float
    assert loss.per_sample({"a": y[:2]}, {"a": y[:2]}).dtype == np.float64
    trainer = Trainer(
        judge(), Narrow(), SGD(0.1), metrics=[NarrowMetric()],
        regularizers=[NarrowPenalty(0.1)], callbacks=[JSONLogger(path)],
    )  # fmt: skip
    history = trainer.fit(x, y, epochs=1, batch_size=1, validation_data=(x, y))
    tenth = float(np.float32(0.1))
    # As many additions in float32 are wrong in the fourth digit.
    assert history["loss"][0] == pytest.approx(1.1 * tenth, rel=1e-12)
    assert history["val_loss"][0] == pytest.approx(1.1 * tenth, rel=1e-12)
    assert history["narrow_metric"][0] == tenth
    figures = trainer.evaluate(x, y, batch_size=3)
    position = trainer.setup.position
    numbers = [f for each in history.values() for f in each]
    numbers += [*figures.values(), trainer.train_step(x[:3], y[:3]), trainer.batch_loss]
    numbers += [position.loss_total, position.total_weight]
    assert {type(number) for number in numbers} == {float}
    assert json.loads(path.read_text())["loss"] == history["loss"][0]


class Several(Narrow):
    def value(self, y_pred, y_true):
        return np.ones(len(y_pred))


def test_a_loss_is_one_number():
    trainer = Trainer(judge(), Several(), SGD(0.1))
    for call in (trainer.train_step, trainer.evaluate):
        with pytest.raises(ArgumentError, match=r"Several.value: the loss must be one number; got"):
            call(POINTS, ANSWERS)


def test_r2_in_training_and_evaluation_has_no_part_lost():
    y = 1e9 + POINTS @ [[1.0], [2.0]]
    model = judge()
    model[0].kernel.value, model[0].bias.value = np.array([[1.0], [2.0]]), [1e9 + 1.0]
    metric = R2Score()
    expected = 1 - N / ((y - y.mean()) ** 2).sum()
    trainer = Trainer(model, HalfSquaredError(), SGD(1e-30), metrics=[metric], engine="numpy")
    history = trainer.fit(POINTS, y, epochs=1, batch_size=7, validation_data=(POINTS, y))
    # A deviation of about 1 from 1e9 has 7 digits.
    assert history["r2_score"] == [pytest.approx(expected, rel=1e-6)]
    assert history["val_r2_score"] == [pytest.approx(expected, rel=1e-6)]
    assert trainer.evaluate(POINTS, y, batch_size=5)["r2_score"] == pytest.approx(
        expected, rel=1e-6
    )
