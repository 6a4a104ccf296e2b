import signal
import threading

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
