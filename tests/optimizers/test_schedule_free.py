"""The steps themselves are compared with optax's in test_adaptive.py."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    Dense,
    HalfSquaredError,
    ParameterGroup,
    ScheduleFreeAdamW,
    Sequential,
    StateError,
    Tanh,
    Trainer,
)


def test_the_average_is_that_of_the_fast_sequence_with_squared_rates():
    optimizer, values = ScheduleFreeAdamW(0.1), np.array([1.0, -2.0])
    fast, weights = [], []
    for step in range(12):
        optimizer.learning_rate = 0.1 / (1 + step % 3)
        optimizer.step(values, np.sin(np.arange(2) + step))
        fast.append(optimizer.state["fast"].copy())
        weights.append(optimizer.learning_rate**2)
        expected = np.average(fast, axis=0, weights=weights)
        assert_allclose(optimizer.averaged(values), expected, rtol=1e-12)


def test_a_rate_whose_square_is_below_the_smallest_number():
    optimizer, values = ScheduleFreeAdamW(1e-30), np.ones(3, np.float32)
    optimizer.step(values, np.ones(3, np.float32))
    optimizer.learning_rate = 0.1
    optimizer.step(values, np.ones(3, np.float32))
    assert_allclose(values, np.full(3, 0.9), rtol=1e-6)


def test_the_average_is_applied_for_a_while():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3))
    model = Sequential([Dense(3, 8, Tanh()), Dense(8, 1)], seed=0)
    optimizer = ScheduleFreeAdamW(0.05)
    with pytest.raises(StateError, match=r"ScheduleFreeAdamW.averaged: the steps must be at least"):
        optimizer.averaged(model.values)
    trainer = Trainer(model, HalfSquaredError(), optimizer, seed=0)
    y = np.sin(x.sum(1, keepdims=True)) + rng.normal(size=(64, 1))  # noise: small batches disagree
    trainer.fit(x, y, epochs=60, batch_size=2)
    before = model.values.copy()
    model.values = optimizer.state["fast"]
    noisy = trainer.evaluate(x, y)["loss"]
    model.values = before
    with optimizer.applied(model):
        assert trainer.evaluate(x, y)["loss"] < noisy
        assert_array_equal(model.values, optimizer.averaged(before))
    assert_array_equal(model.values, before)


def test_groups_average_with_rates_of_their_own():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    model = Sequential([Dense(3, 2, Tanh(), name="a"), Dense(2, 1, name="b")], seed=0)
    optimizer = ScheduleFreeAdamW(0.1, weight_decay=0.1)
    groups = [ParameterGroup(["b"], learning_rate=0.02), ParameterGroup.without_decay()]
    trainer = Trainer(model, HalfSquaredError(), optimizer, groups=groups)
    own = {
        name: ScheduleFreeAdamW(rate, weight_decay=decay)
        for name, rate, decay in (
            ("a.kernel", 0.1, 0.1), ("a.bias", 0.1, 0), ("b.kernel", 0.02, 0.1), ("b.bias", 0.02, 0)
        )
    }  # fmt: skip
    expected = {n: p.value.reshape(-1).copy() for n, p in model.named_parameters().items()}
    for _ in range(5):
        trainer.train_step(x, y)
        for name, parameter in model.named_parameters().items():
            own[name].step(expected[name], parameter.grad.reshape(-1))
            assert_allclose(parameter.value.reshape(-1), expected[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_beta_1_is_above_0_and_below_1(beta):
    with pytest.raises(ValueError, match=r"ScheduleFreeAdamW.__init__: beta_1 must be a finite"):
        ScheduleFreeAdamW(beta_1=beta)
