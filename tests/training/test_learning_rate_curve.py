import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    LBFGS,
    SGD,
    Adam,
    ArgumentError,
    BatchNorm,
    Callback,
    Dense,
    Dropout,
    HalfSquaredError,
    LearningRateCurve,
    MeanSquaredError,
    ParameterGroup,
    Sequential,
    Tanh,
    Trainer,
    find_learning_rate,
)

X = np.random.default_rng(0).normal(size=(96, 3))
Y = X.sum(axis=1, keepdims=True)


class Never(Callback):
    def on_batch_end(self, trainer):
        raise AssertionError


def trainer_with(optimizer, *, random=False, **options):
    layers = [Dense(3, 8, Tanh()), *([BatchNorm(), Dropout(0.2)] if random else []), Dense(8, 1)]
    return Trainer(Sequential(layers, seed=0), MeanSquaredError(), optimizer, seed=0, **options)


@pytest.mark.parametrize("steps_before", [0, 3])
def test_nothing_of_the_trainer_changes(steps_before):
    trainer = trainer_with(Adam(0.01), random=True)
    for _ in range(steps_before):
        trainer.train_step(X, Y)
    twin = copy.deepcopy(trainer)
    before = pickle.dumps((trainer.model, trainer.optimizer, trainer.rng, dict(trainer.history)))
    trainer.callbacks.append(Never())
    curve = find_learning_rate(trainer, X, Y, n_steps=20, largest=0.01)
    del trainer.callbacks[:]
    assert len(curve.losses) == 20
    after = pickle.dumps((trainer.model, trainer.optimizer, trainer.rng, dict(trainer.history)))
    assert after == before
    trainer.fit(X, Y, epochs=2)
    twin.fit(X, Y, epochs=2)
    assert trainer.model.values.tobytes() == twin.model.values.tobytes()
    again = find_learning_rate(twin, X, Y, n_steps=20), find_learning_rate(twin, X, Y, n_steps=20)
    assert_array_equal(again[0].losses, again[1].losses)


@pytest.mark.parametrize("make", [lambda: SGD(0.1), lambda: SGD(0.1, 0.9), Adam])
def test_the_suggestion_trains(make):
    trainer = trainer_with(make())
    curve = find_learning_rate(trainer, X, Y)
    assert_allclose(curve.learning_rates, np.geomspace(1e-6, 10, 100)[: len(curve.losses)])
    assert len(curve.losses) < 100  # it ended before the largest rates
    assert 1e-3 < curve.suggestion < 0.5
    trainer.optimizer.learning_rate = curve.suggestion
    history = trainer.fit(X, Y, epochs=20)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert repr(curve).startswith(f"<LearningRateCurve of {len(curve.losses)} steps, suggestion 0.")


def test_each_step_has_its_rate():
    """Of one parameter and ½ (w − 1)², each step takes w a share η of the way."""
    model = Sequential([Dense(1, 1, use_bias=False)], seed=0)
    w = float(model.values[0])
    x, trainer = np.ones((4, 1)), Trainer(model, HalfSquaredError(), SGD(1.0))
    curve = find_learning_rate(
        trainer, x, x, smallest=0.01, largest=0.5, n_steps=10, batch_size=4, smoothing=0.0
    )
    for rate, loss in zip(np.geomspace(0.01, 0.5, 10), curve.losses, strict=True):
        assert loss == pytest.approx((w - 1) ** 2 / 2)
        w += rate * (1 - w)


def test_groups_grow_in_proportion():
    groups = [ParameterGroup(["dense_1"], learning_rate=0.2)]
    plain = find_learning_rate(trainer_with(SGD(0.1), groups=groups), X, Y, n_steps=30, largest=0.1)
    other = [ParameterGroup(["dense_1"], learning_rate=2e-4)]
    slow = find_learning_rate(trainer_with(SGD(1e-4), groups=other), X, Y, n_steps=30, largest=0.1)
    assert_allclose(slow.losses, plain.losses, rtol=1e-12)


def test_streams_weights_and_overflow():
    trainer = trainer_with(SGD(0.1))
    batches = [(X[:8], Y[:8]), (X[8:16], Y[8:16])]
    assert (
        len(find_learning_rate(trainer, lambda: iter(batches), n_steps=10, largest=0.1).losses)
        == 10
    )
    weight = np.r_[np.ones(48), np.zeros(48)]
    weighted = find_learning_rate(trainer, X, Y, sample_weight=weight, n_steps=10, batch_size=96)
    half = find_learning_rate(trainer, X[:48], Y[:48], n_steps=10, batch_size=48)
    assert_allclose(weighted.losses, half.losses, rtol=1e-10)
    wild = find_learning_rate(trainer, X, Y, n_steps=10, largest=1e300, rise=1e300)
    assert len(wild.losses) < 10
    assert np.isfinite(wild.losses).all()


def test_a_loss_that_does_not_fall_has_no_suggestion():
    rates = np.geomspace(1e-3, 1, 20)
    for losses in (np.ones(20), np.linspace(1, 2, 20)):
        for smoothing in (0.0, 0.9):
            curve = LearningRateCurve(rates, losses, smoothing)
            assert curve.suggestion is None
            assert repr(curve) == "<LearningRateCurve of 20 steps, suggestion none>"
    assert LearningRateCurve(np.zeros(0), np.zeros(0)).suggestion is None


def test_the_smoothed_loss_and_the_steepest_slope():
    rates = np.geomspace(1e-4, 1e4, 9)
    losses = np.array([5.0, 5.0, 4.0, 1.0, 0.5, 0.4, 0.6, 9.0, 9.0])
    assert LearningRateCurve(rates, losses, 0.0).suggestion == pytest.approx(10**-1.5)
    curve = LearningRateCurve(rates, losses, 0.5)
    m = 0.0
    for step, loss in enumerate(losses):
        m = 0.5 * m + 0.5 * loss
        assert curve.smoothed[step] == pytest.approx(m / (1 - 0.5 ** (step + 1)))
    assert curve.suggestion == pytest.approx(0.1)


def test_it_draws_itself():
    ax = LearningRateCurve(np.array([0.1, 1.0]), np.array([2.0, 1.0]), 0.0).plot()
    assert ax.get_xlabel() == "learning rate"
    assert len(ax.lines) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"smallest": 0}, "smallest must be"),
        ({"largest": 1e-6}, "largest must be"),
        ({"n_steps": 9}, "n_steps must be"),
        ({"smoothing": 1}, "smoothing must be"),
        ({"rise": 0}, "rise must be"),
        ({"trainer": 3}, "trainer must be an instance of Trainer"),
        (
            {"trainer": trainer_with(LBFGS())},
            r"trainer must be one whose optimizer takes its learning rate as it is; got .*LBFGS",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ArgumentError, match=f"find_learning_rate: {message}"):
        find_learning_rate(**{"trainer": trainer_with(SGD(0.1)), "x": X, "y": Y} | arguments)


def test_bad_curves():
    with pytest.raises(ArgumentError, match=r"LearningRateCurve.__init__: losses must be of shape"):
        LearningRateCurve(np.ones(3), np.ones(2))
    with pytest.raises(ArgumentError, match="smoothing must be"):
        LearningRateCurve(np.ones(3), np.ones(3), smoothing=1.0)
