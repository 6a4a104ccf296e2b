import signal
import threading
from itertools import pairwise

import numpy as np
import pytest

from layerkit import (
    SGD,
    AdamW,
    Callback,
    Constant,
    Dense,
    HalfSquaredError,
    Identity,
    Layer,
    Lion,
    MeanSquaredError,
    NonFiniteError,
    Optimizer,
    ParameterGroup,
    ReLU,
    Sequential,
    Trainer,
)


class Spoil(Layer):
    """Passes on, but for a NaN in the output or the gradient when asked."""

    def __init__(self, where=None):
        self.where = where
        self.n_steps = 0

    def build(self, input_shape):
        self.factor = self.add_parameter("factor", input_shape, Constant(1.0))
        return input_shape

    def compute_forward(self, x, *, training):
        self.n_steps += training
        y = x * self.factor.value
        return y * np.nan if self.where == "output" and self.n_steps >= 3 else y, x

    def compute_backward(self, dy, cache):
        self.factor.grad = (dy * cache).sum(axis=0)
        if self.where == "gradient" and self.n_steps >= 3:
            self.factor.grad = np.full(self.factor.shape, np.inf)
        return dy * self.factor.value


@pytest.mark.parametrize("where", ["output", "gradient"])
def test_a_non_finite_number_stops_before_the_update(where):
    model = Sequential([Dense(2, 3), Spoil(where), Dense(3, 1)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.01), seed=4)
    kept = []

    class Keep(Callback):
        def on_batch_begin(self, trainer):
            kept.append(trainer.model.values.tobytes())

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 2)), rng.normal(size=(4, 1))
    order = np.random.default_rng(4)
    order.permutation(4)
    samples = order.permutation(4)[:2].tolist()  # the third batch of two is the second epoch's
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(x, y, epochs=5, batch_size=2, callbacks=[Keep()])
    message = str(caught.value)
    assert f"epoch 2, step 1, samples {samples}" in message
    culprit = "the output of" if where == "output" else "the gradient of 'factor' of"
    assert f"first in {culprit} layers[1], Spoil('{where}')" in message
    assert model.values.tobytes() == kept[-1]
    assert np.isfinite(model.values).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("learning_rate", [1e30, 1e300])
@pytest.mark.parametrize("optimizer", [SGD, lambda rate: SGD(rate, momentum=0.9)])
def test_a_diverging_run_ends_at_finite_parameters(dtype, learning_rate, optimizer):
    model = Sequential([Dense(2, 3, ReLU()), Dense(3, 1, Identity())], dtype=dtype, seed=0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 2)), rng.normal(size=(8, 1))
    trainer = Trainer(model, MeanSquaredError(), optimizer(learning_rate))
    with pytest.raises(NonFiniteError, match="finite"):
        trainer.fit(x, y, epochs=1000, batch_size=2)
    assert np.isfinite(model.values).all()


def test_an_update_that_overflows_is_taken_back():
    model = Sequential([Dense(1, 1, use_bias=False)])
    model.set_weights([np.array([[1.0]])])
    trainer = Trainer(model, HalfSquaredError(), SGD(1e308))
    with pytest.raises(NonFiniteError, match="must lead to a finite update"):
        trainer.train_step([[10.0]], [[0.0]])
    assert model.values.tolist() == [1.0]


def test_large_but_finite_gradients_are_no_reason_to_stop():
    model = Sequential([Dense(1, 1, use_bias=False)])
    model.set_weights([np.array([[1e100]])])
    trainer = Trainer(model, HalfSquaredError(), SGD(1e-3))
    # Squares overflow at 1e154: here the gradient of 1e180 is finite, and so is the step.
    loss = trainer.train_step([[1e40]], [[0.0]])
    assert loss == pytest.approx(5e279)
    assert np.isfinite(model.values).all()
    assert model.values[0] != 1e100


def test_an_optimizer_without_a_learning_rate():
    class Halve(Optimizer):
        weight_decay = None

        def update(self, values, grads, state):
            values *= 0.5

    model = Sequential([Dense(2, 1)], seed=0)
    before = model.values.copy()
    Trainer(model, HalfSquaredError(), Halve()).train_step([[1, 2]], [[3]])
    np.testing.assert_array_equal(model.values, before / 2)


def fit_once():
    model = Sequential([Dense(2, 1)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1))
    return trainer.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2)


def test_a_handler_of_the_users_own_stays_in_charge():
    def handler(number, frame):
        pass

    before = signal.signal(signal.SIGINT, handler)
    try:
        fit_once()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_a_thread_leaves_signals_alone():
    histories = []
    thread = threading.Thread(target=lambda: histories.append(fit_once()))
    thread.start()
    thread.join()
    assert histories[0].n_epochs == 2


GROWING = [
    lambda: SGD(1.0, weight_decay=1e10),
    lambda: SGD(1.0, 0.9, weight_decay=1e10),
    lambda: AdamW(1.0, weight_decay=1e10),
    lambda: Lion(1.0, weight_decay=1e10),
]


@pytest.mark.parametrize("make", GROWING)
def test_parameters_that_a_decay_makes_grow_stay_finite(make):
    model = Sequential([Dense(2, 1)], seed=0)
    x = np.zeros((4, 2))  # no gradient: nothing but the decay
    trainer = Trainer(model, HalfSquaredError(), make(), seed=0)
    with pytest.raises(NonFiniteError, match=r"epoch 3\d, .* must lead to a finite update"):
        trainer.fit(x, x[:, :1], epochs=60, batch_size=4)
    assert np.isfinite(model.values).all()
    assert abs(model.values).max() > 1e290


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_a_rate_beyond_the_models_dtype_makes_no_step(engine):
    model = Sequential([Dense(2, 1)], seed=0, dtype=np.float32)
    before, x = model.values.tobytes(), np.zeros((4, 2))
    trainer = Trainer(model, HalfSquaredError(), SGD(1e40), engine=engine)
    with pytest.raises(NonFiniteError, match="must lead to a finite update"):
        trainer.fit(x, x[:, :1], epochs=2, batch_size=4)
    assert model.values.tobytes() == before


@pytest.mark.parametrize("setting", [{"learning_rate": 1e33}, {"weight_decay": 1e41}])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_settings_of_a_group_count(setting, frozen):
    layers = [Dense(2, 2), Dense(2, 1)]
    model = Sequential(layers, seed=0, dtype=np.float32)
    groups = [ParameterGroup(["dense_0"], **setting), ParameterGroup(["dense_1"], frozen=frozen)]
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), groups=groups)
    before, x = model.values.tobytes(), np.full((4, 2), 1e5)
    with pytest.raises(NonFiniteError, match="must lead to a finite update"):
        trainer.fit(x, x[:, :1], epochs=2, batch_size=4)
    assert model.values.tobytes() == before


class Notes(Layer):
    """Notes the passes back, and whether dx was asked for."""

    def __init__(self):
        self.asked = []

    def compute_forward(self, x, *, training):
        return x, None

    def compute_backward(self, dy, cache, *, need_dx=True):
        self.asked.append(need_dx)
        return dy


def deep(seed=0):
    layers = [Notes(), Dense(3, 4, ReLU()), Notes(), Dense(4, 4), Notes(), Dense(4, 2)]
    return Sequential(layers, input_shape=(3,), seed=seed)


FROZEN_X = np.random.default_rng(0).normal(size=(12, 3))
FROZEN_Y = FROZEN_X[:, :2]


@pytest.mark.parametrize("make", [lambda: SGD(0.1, momentum=0.9), lambda: AdamW(0.01), Lion])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_frozen_costs_nothing_and_the_rest_is_as_ever(make, accumulate):
    """With zero gradients and their values put back, the others' steps would be the same."""
    model, full = deep(), deep()
    model.freeze("dense_1", "dense_3.kernel")
    trainer, other = (
        Trainer(each, HalfSquaredError(), make(), seed=0, engine="numpy") for each in (model, full)
    )
    frozen = {n: p.value.copy() for n, p in model.named_parameters().items() if not p.trainable}

    class PutBack(Callback):
        def on_update_end(self, trainer):
            for name, value in frozen.items():
                full.named_parameters()[name].value = value

    options = {"epochs": 2, "batch_size": 4, "accumulate": accumulate, "progress": False}
    trainer.fit(FROZEN_X, FROZEN_Y, **options)
    other.fit(FROZEN_X, FROZEN_Y, callbacks=[PutBack()], **options)
    np.testing.assert_array_equal(model.values, full.values)
    assert trainer.optimizer.n_steps == other.optimizer.n_steps
    assert not model.grads[:32].any()  # dense_1 and the kernel of dense_3
    for vector in trainer.optimizer.state.values():
        assert not vector[:32].any()
        assert vector[32:].any()
    assert model[0].asked == model[2].asked == []
    assert set(model[4].asked) == {True}


def test_what_is_frozen_or_freed_in_a_fit_counts_from_the_next_step():
    class Change(Callback):
        def on_batch_end(self, trainer):
            values.append(model.values.copy())
            if trainer.step == 1:
                model.freeze("dense_1", "dense_5")
            if trainer.step == 2:
                model["dense_1"].trainable = True
                trainer.model.freeze("dense_3")

    model, values = deep(), []
    values.append(model.values.copy())
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[Change()], seed=0)
    trainer.fit(FROZEN_X, FROZEN_Y, epochs=1, batch_size=4)
    moved = [
        [bool((a[span] != b[span]).any()) for span in (slice(16), slice(16, 36), slice(36, 46))]
        for a, b in pairwise(values)
    ]
    assert moved == [[True, True, True], [False, True, False], [True, False, False]]


def test_a_step_that_overflows_beside_what_is_frozen_is_taken_back():
    model = deep()
    model.freeze("dense_1")
    trainer = Trainer(model, HalfSquaredError(), SGD(1e308, momentum=0.9), engine="numpy")
    before = model.values.copy()
    with pytest.raises(NonFiniteError, match="got one that overflows"):
        trainer.train_step(1e3 * FROZEN_X, 1e3 * FROZEN_Y)
    np.testing.assert_array_equal(model.values, before)
    assert trainer.optimizer.n_steps == 0
    assert all(np.isfinite(vector).all() for vector in trainer.optimizer.state.values())


def test_gradients_of_before_that_are_not_finite_do_no_harm_where_it_is_frozen():
    model = deep()
    model.freeze("dense_1")
    model["dense_1"].kernel.grad = np.full((3, 4), np.nan)
    Trainer(model, HalfSquaredError(), SGD(0.1), engine="numpy").train_step(FROZEN_X, FROZEN_Y)
    assert not model["dense_1"].kernel.grad.any()


def test_all_may_be_frozen():
    model = deep()
    model.freeze()
    before = model.values.copy()
    trainer = Trainer(model, HalfSquaredError(), AdamW(0.1), engine="numpy")
    trainer.fit(FROZEN_X, FROZEN_Y, epochs=2, batch_size=4)
    np.testing.assert_array_equal(model.values, before)


def test_groups_leave_what_is_frozen_as_it_is():
    model = deep()
    groups = [ParameterGroup(["*.bias"], learning_rate=0.01), ParameterGroup(["dense_5.kernel"])]
    trainer = Trainer(model, HalfSquaredError(), AdamW(0.1), groups=groups, seed=0)
    trainer.fit(FROZEN_X, FROZEN_Y, epochs=1, batch_size=4)
    model.freeze("dense_3")
    before = model["dense_3"].kernel.value.copy(), model["dense_3"].bias.value.copy()
    state = {name: vector[16:36].copy() for name, vector in trainer.optimizer.state.items()}
    last = model["dense_5"].kernel.value.copy()
    trainer.fit(FROZEN_X, FROZEN_Y, epochs=1, batch_size=4)
    np.testing.assert_array_equal(model["dense_3"].kernel.value, before[0])
    np.testing.assert_array_equal(model["dense_3"].bias.value, before[1])
    for name, vector in state.items():
        np.testing.assert_array_equal(trainer.optimizer.state[name][16:36], vector)
    assert (model["dense_5"].kernel.value != last).any()
