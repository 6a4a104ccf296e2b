"""The one training step, against the same computed by hand."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    L2,
    SGD,
    ClipByGlobalNorm,
    Dense,
    HalfSquaredError,
    Sequential,
    SquaredDistance,
    Tanh,
    Trainer,
)
from layerkit.steps.position import Position
from layerkit.steps.step import TrainingStep

RNG = np.random.default_rng(0)
X, Y, WEIGHT = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2)), RNG.uniform(size=5)


def trainer_of(**options):
    model = Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=0)
    return Trainer(model, HalfSquaredError(), SGD(0.1), metrics=[SquaredDistance()], **options)


def make(trainer, weight=None, position=None):
    step, position = trainer.setup.step, position or Position()
    step.updates.prepare()
    loss = step(X, Y, weight, position, lambda: "the loss")
    step.updates.release()
    return loss, position


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_forward_loss_backward_and_update(weight):
    trainer = trainer_of()
    model = trainer.model
    before = model.values.copy()
    w = np.ones(5) if weight is None else weight
    y_pred = model.forward(X, training=True)
    model.backward((y_pred - Y) * (w / w.sum())[:, None])
    expected = before - 0.1 * model.grads
    loss, position = make(trainer, weight)
    assert loss == pytest.approx((w * ((y_pred - Y) ** 2).sum(axis=1) / 2).sum() / w.sum())
    assert_allclose(model.values, expected, rtol=1e-13)
    assert (position.n_samples, position.total_weight) == (5, pytest.approx(w.sum()))


def test_rules_come_before_the_update_and_penalties_into_the_loss():
    plain, _ = make(trainer_of())
    trainer = trainer_of(regularizers=[L2(0.1)], clipping=ClipByGlobalNorm(0.01))
    before = trainer.model.values.copy()
    loss, _ = make(trainer)
    kernels = [before[:12], before[16:24]]
    assert loss == pytest.approx(plain + 0.1 * sum((k**2).sum() for k in kernels))
    assert np.linalg.norm(trainer.model.values - before) == pytest.approx(0.1 * 0.01)


def test_metrics_are_taken_where_an_epoch_counts_them():
    trainer, position = trainer_of(), Position()
    distance = ((trainer.model.predict(X) - Y) ** 2).sum()
    position.epoch = 1
    position.begin_epoch(1)
    make(trainer, position=position)
    assert position.totals == [pytest.approx(distance), 5]
    _, scratch = make(trainer)  # as for train_step
    assert scratch.totals == []


def test_gradients_wait_until_enough_batches_are_together():
    trainer = trainer_of()
    before = trainer.model.values.copy()
    step, position = trainer.setup.step, Position()
    position.batches_per_update = 2
    step.updates.prepare()
    step(X[:2], Y[:2], None, position, str)
    assert_array_equal(trainer.model.values, before)
    assert (position.n_accumulated, position.accumulated_weight) == (1, 2.0)
    step(X[2:], Y[2:], None, position, str)
    step.updates.release()
    assert position.n_accumulated == 0
    whole = trainer_of()
    make(whole)
    assert_allclose(trainer.model.values, whole.model.values, rtol=1e-13)


def test_it_is_short():
    source = inspect.getsource(TrainingStep.__call__)
    body = source.split('"""')[2].strip().splitlines()
    assert len(body) < 25
