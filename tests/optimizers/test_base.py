import inspect

import numpy as np
import pytest

import layerkit
from layerkit import (
    SGD,
    Adam,
    ArgumentError,
    Dense,
    HalfSquaredError,
    LambdaCallback,
    Optimizer,
    Sequential,
    Trainer,
)


def test_steps_are_counted():
    optimizer, values = SGD(0.1), np.ones(2)
    for _ in range(3):
        optimizer.step(values, values)
    assert optimizer.n_steps == 3


def test_another_goes_on_by_state_and_attributes():
    first, values = Adam(0.1), np.ones(3)
    for _ in range(4):
        first.step(values, 2 * values)
    first.learning_rate = 0.05
    second, there = Adam(0.3), values.copy()
    second.set_state(first.state, first.attributes())
    for optimizer, x in ((first, values), (second, there)):
        for _ in range(3):
            optimizer.step(x, 2 * x)
    assert values.tobytes() == there.tobytes()
    assert second.learning_rate == 0.05
    assert not np.shares_memory(first.state["mean"], second.state["mean"])


def test_attributes_of_a_class_of_ones_own():
    class Counting(Optimizer):
        def __init__(self):
            self.learning_rate, self.seen, self.room = 1.0, 3, np.ones(2)

        def update(self, values, grads, state):
            pass

    assert Counting().attributes() == {"learning_rate": 1.0, "n_steps": 0, "seen": 3}


WITH_EPSILON = [
    kind
    for kind in (getattr(layerkit, name) for name in layerkit.optimizers.__all__)
    if "epsilon" in inspect.signature(kind).parameters
]


def test_those_with_an_epsilon():
    assert len(WITH_EPSILON) == 12


@pytest.mark.parametrize("kind", WITH_EPSILON)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_smallest_epsilon_leaves_a_zero_gradient_without_a_step(kind, dtype):
    tiny = float(np.finfo(dtype).tiny)
    values = np.ones(3, dtype)
    optimizer = kind(epsilon=tiny)
    for _ in range(2):
        optimizer.step(values, np.zeros(3, dtype))
    assert np.isfinite(values).all()
    message = f"{kind.__name__}.step: epsilon must be at least .* in {values.dtype}, .*; got"
    with pytest.raises(ArgumentError, match=message):
        kind(epsilon=tiny * 0.99).step(values, np.zeros(3, dtype))
    kind(epsilon=1e-46).step(np.ones(3), np.zeros(3))


@pytest.mark.parametrize("width", [1, 3000])  # the longer vector's step may be compiled
def test_an_epsilon_that_is_0_in_float32_is_refused_at_each_fit(width):
    model = Sequential([Dense(width, 1)], dtype=np.float32, seed=0)
    begun = []
    hook = LambdaCallback(on_train_begin=begun.append)
    trainer = Trainer(model, HalfSquaredError(), Adam(epsilon=1e-46), callbacks=[hook])
    x, before = np.zeros((4, width)), model.values.tobytes()
    for _ in range(2):
        with pytest.raises(ArgumentError, match=r"Adam.step: epsilon must be .* 1.17549e-38 in"):
            trainer.fit(x, x[:, :1], epochs=2)
    with pytest.raises(ArgumentError, match="epsilon must be"):
        trainer.train_step(x, x[:, :1])
    assert model.values.tobytes() == before
    assert trainer.optimizer.n_steps == 0
    assert not begun
    trainer.fit(x, x[:, :1], epochs=0)


ALL = [
    kind
    for kind in (getattr(layerkit, name) for name in layerkit.optimizers.__all__)
    if kind is not layerkit.Optimizer
]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e5, 1e-30, 0.0])
def test_extreme_gradients_leave_finite_values_and_are_silent(kind, dtype, scale):
    rng = np.random.default_rng(0)
    for start in (1e5, 1e-30, 0.0):
        optimizer, values = kind(0.01), start * rng.normal(size=24).astype(dtype)
        values = values.astype(dtype)
        optimizer.shapes = [(4, 3), (3,), (1, 5), (2, 2)]
        with np.errstate(all="raise"):
            for _ in range(3):
                optimizer.step(values, (scale * rng.normal(size=24)).astype(dtype))
        assert np.isfinite(values).all()
        assert values.dtype == dtype


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not layerkit.LBFGS])
def test_frozen_parameters_stay_and_the_others_move_as_if_alone(kind):
    x = np.random.default_rng(0).normal(size=(6, 4))
    ends = []
    for thaws in (False, True):
        layers = [layerkit.Dense(4, 3, layerkit.Tanh(), name="a"), layerkit.Dense(3, 2, name="b")]
        model = layerkit.Sequential(layers, seed=0)
        start = model.values.copy()
        model.freeze("a.bias", "b.kernel")
        trainer = layerkit.Trainer(model, layerkit.HalfSquaredError(), kind(0.01))
        for _ in range(3):
            trainer.train_step(x, x[:, :2])
        assert (model["a"].bias.value == start[12:15]).all()
        assert (model["b"].kernel.value == start[15:21].reshape(3, 2)).all()
        assert not (model["a"].kernel.value == start[:12].reshape(4, 3)).any()
        ends.append(model.values.copy())
        if thaws:
            model.unfreeze()
            trainer.train_step(x, x[:, :2])
            assert not (model.values == ends[0]).any()
    assert ends[0].tobytes() == ends[1].tobytes()
