"""The compiled engine gives what the NumPy engine gives."""

import math
import signal
import threading

import numpy as np
import pytest
from hypothesis import event, given, note, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from small_fits import Snake, WorstError, X, autoencoder, figures, fit, of_one_class, targets

from layerkit import (
    ELU,
    GELU,
    SGD,
    Accuracy,
    Activation,
    Callback,
    Dense,
    HalfSquaredError,
    Identity,
    LambdaCallback,
    LeakyReLU,
    MeanAbsoluteError,
    MeanSquaredError,
    NonFiniteError,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SiLU,
    Softmax,
    SoftmaxCrossEntropy,
    Softplus,
    SquaredDistance,
    StopAt,
    Tanh,
    Trainer,
    Zeros,
)
from layerkit.testing.strategies import concrete

ACTIVATIONS = [
    Identity(),
    Sigmoid(),
    Tanh(),
    ReLU(),
    LeakyReLU(0.1),
    ELU(0.7),
    Softplus(),
    SiLU(),
    GELU(),
    Softmax(),
    Snake(1.5),
    GELU(approximate=True),
]
KNOWN = [type(activation) for activation in ACTIVATIONS]
OTHERS = [kind() for kind in concrete(Activation) if kind not in KNOWN]
ACTIVATIONS += [activation for activation in OTHERS if activation.scalar_functions()]
OPTIMIZERS = [
    lambda: SGD(0.003),
    lambda: SGD(0.001, momentum=0.9),
    lambda: SGD(0.001, momentum=0.8, nesterov=True),
]


@st.composite
def problems(draw):
    """Give a function that makes a trainer on an engine, and the arguments of its fit."""
    widths = draw(st.lists(st.integers(1, 20), min_size=2, max_size=5))
    activations = [draw(st.sampled_from(ACTIVATIONS)) for _ in widths[1:]]
    biases = [draw(st.booleans()) for _ in widths[1:]]
    losses = [HalfSquaredError(), MeanSquaredError(), SigmoidCrossEntropy()]
    losses += [SoftmaxCrossEntropy(), SoftmaxCrossEntropy("probabilities")]
    loss = draw(st.sampled_from(losses))
    metrics = [Accuracy(), SquaredDistance(), MeanAbsoluteError(), WorstError()]
    if isinstance(loss, SoftmaxCrossEntropy) and loss.targets == "indices":
        metrics = metrics[:1]
    elif isinstance(loss, SigmoidCrossEntropy) and draw(st.booleans()):
        metrics[0] = Accuracy(multilabel=True)
    metrics = draw(st.lists(st.sampled_from(metrics), unique=True))
    optimizer = draw(st.sampled_from(OPTIMIZERS))
    n = draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, widths[0])) * (rng.random((n, widths[0])) < 0.7)
    y = of_one_class(targets(loss, n, widths[-1], rng), metrics)
    fit = {
        "epochs": draw(st.integers(1, 30)),
        "batch_size": draw(st.sampled_from([1, 1, 2, 3, 16])),
        "shuffle": draw(st.booleans()),
    }

    def make(name, dtype=np.float64):
        pairs = zip(widths, widths[1:], activations, biases, strict=False)
        layers = [Dense(a, b, f, use_bias=bias) for a, b, f, bias in pairs]
        nested = layers
        if len(layers) > 2:
            nested = [layers[0], Sequential(layers[1:], seed=seed, dtype=dtype)]
        model = Sequential(nested, seed=seed, dtype=dtype)
        return Trainer(model, loss, optimizer(), metrics=metrics, seed=seed, engine=name)

    note(repr(make("numpy").model) + repr((loss, optimizer(), metrics, seed)))
    event(type(loss).__name__)
    return make, (x, y), fit


# Each update rounds differently in its last digit. Training at a rate near where it diverges
# enlarges that without bound, in either engine; at the rates above, it doesn't. The absolute part
# is for what is 0 but for rounding.
@given(problem=problems())
@settings(max_examples=200, deadline=None)
def test_both_engines_give_the_same(problem):
    make, data, fit = problem
    compiled, numpys = make("numba"), make("numpy")
    histories = [trainer.fit(*data, **fit) for trainer in (compiled, numpys)]
    assert compiled.engine_used.name == "numba"
    assert numpys.engine_used.name == "numpy"
    assert_allclose(compiled.model.values, numpys.model.values, rtol=1e-12, atol=1e-12)
    assert_allclose(compiled.model.grads, numpys.model.grads, rtol=1e-11, atol=1e-12)
    for name, state in numpys.optimizer.state.items():
        assert_allclose(compiled.optimizer.state[name], state, rtol=1e-11, atol=1e-11)
    assert_allclose(figures(histories[0]), figures(histories[1]), rtol=1e-11, atol=1e-12)
    assert compiled.rng.bit_generator.state == numpys.rng.bit_generator.state
    assert (compiled.epoch, compiled.step) == (numpys.epoch, numpys.step)
    assert_allclose(compiled.batch_loss, numpys.batch_loss, rtol=1e-11, atol=1e-12)


@given(problem=problems())
@settings(max_examples=60, deadline=None)
def test_in_single_precision_too(problem):
    make, data, fit = problem
    fit = fit | {"epochs": min(fit["epochs"], 5)}
    compiled, numpys = make("numba", np.float32), make("numpy", np.float32)
    for trainer in (compiled, numpys):
        trainer.fit(*data, **fit)
    assert compiled.model.values.dtype == np.float32
    # Some hundred roundings of 6e-8.
    assert_allclose(compiled.model.values, numpys.model.values, rtol=1e-4, atol=1e-5)


def test_the_same_after_many_epochs():
    pair = [autoencoder(name) for name in ("numba", "numpy")]
    first, second = (t.fit(X, X, epochs=2000, batch_size=1) for t in pair)
    assert_allclose(pair[0].model.values, pair[1].model.values, rtol=1e-12)
    assert_allclose(first["loss"], second["loss"], rtol=1e-12)
    assert pair[0].rng.bit_generator.state == pair[1].rng.bit_generator.state


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_derivatives_at_exactly_0_are_the_same(activation):
    # Where a kink is, and a choice was made.
    grads = []
    for name in ("numba", "numpy"):
        layers = [Dense(2, 3, activation, kernel_initializer=Zeros()), Dense(3, 2)]
        model = Sequential(layers, seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(1e-30), engine=name)
        trainer.fit(np.ones((1, 2)), np.ones((1, 2)), epochs=1, batch_size=1)
        grads.append(model.grads)
    assert_allclose(*grads, rtol=1e-14, atol=1e-15)


def test_the_same_seed_gives_the_same_bytes():
    def values(epochs):
        trainer = autoencoder("numba")
        for n in epochs:
            trainer.fit(X, X, epochs=n, batch_size=1)
        return trainer.model.values.tobytes()

    # However the epochs are cut into calls of the kernel.
    assert values([300]) == values([300]) == values([1] * 300) == values([123, 177])


class Recorder(Callback):
    """Writes down each call, and what may be seen there."""

    def __init__(self, batches=True, period=1):
        self.period = period
        self.seen = []
        if not batches:
            self.on_batch_begin = self.on_batch_end = None

    def _record(self, trainer, hook):
        loss = trainer.batch_loss if hook == "on_batch_end" else 0.0
        last = trainer.history["loss"][-1:] if hook.startswith("on_epoch") else []
        self.seen.append((hook, trainer.epoch, trainer.step, loss, *last))

    def on_train_begin(self, trainer):
        self._record(trainer, "on_train_begin")

    def on_train_end(self, trainer):
        self._record(trainer, "on_train_end")

    def on_epoch_begin(self, trainer):
        self._record(trainer, "on_epoch_begin")

    def on_epoch_end(self, trainer):
        self._record(trainer, "on_epoch_end")


class BatchRecorder(Recorder):
    def on_batch_begin(self, trainer):
        self._record(trainer, "on_batch_begin")

    def on_batch_end(self, trainer):
        self._record(trainer, "on_batch_end")
        self.seen.append(("grads", *trainer.model.grads[:3]))


@pytest.mark.parametrize("kind", [Recorder, BatchRecorder])
@pytest.mark.parametrize("period", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_callbacks_are_called_alike(kind, period, batch_size):
    seen = []
    for name in ("numba", "numpy"):
        recorder = kind(period=period)
        trainer = autoencoder(name, callbacks=[recorder])
        trainer.fit(X, X, epochs=7, batch_size=batch_size, validation_data=(X, X))
        seen.append(recorder.seen)
    assert [[part for part in call if not isinstance(part, float)] for call in seen[0]] == [
        [part for part in call if not isinstance(part, float)] for call in seen[1]
    ]
    numbers = [[part for call in calls for part in call[1:]] for calls in seen]
    assert_allclose(numbers[0], numbers[1], rtol=1e-11, atol=1e-13)
    hooks = [call[0] for call in seen[0]]
    assert hooks.count("on_epoch_end") == 7 // period
    assert hooks.count("on_epoch_begin") == -(-7 // period)


@pytest.mark.parametrize("name", ["numba", "numpy"])
def test_a_callback_may_change_what_is_trained(name):
    class Change(Callback):
        def on_epoch_end(self, trainer):
            if trainer.epoch == 3:
                trainer.optimizer.learning_rate = 0.1
                trainer.model[0].activation = Tanh()
            if trainer.epoch == 5:
                trainer.model[0].kernel.trainable = False
                self.kernel = trainer.model[0].kernel.value.copy()
                self.used = trainer.engine_used
            if trainer.epoch == 8:
                trainer.stop()

    change = Change()
    trainer = autoencoder(name, callbacks=[change])
    history = trainer.fit(X, X, epochs=20, batch_size=1)
    assert history.n_epochs == 8
    assert_array_equal(trainer.model[0].kernel.value, change.kernel)
    assert change.used.name == name
    assert trainer.engine_used.name == "numpy"  # which is the one that knows frozen parameters

    expected = autoencoder("numpy", callbacks=[Change()])
    expected.fit(X, X, epochs=20, batch_size=1)
    assert_allclose(trainer.model.values, expected.model.values, rtol=1e-12)


@pytest.mark.parametrize("name", ["numba", "numpy"])
def test_stop_at_stops_at_the_very_epoch(name):
    stop = StopAt("squared_distance", 1.0)
    trainer = autoencoder(name, callbacks=[stop])
    history = trainer.fit(X, X, epochs=5000, batch_size=1)
    distances = history["squared_distance"]
    assert stop.reached
    assert distances[-1] <= 1.0 < min(distances[:-1])
    assert trainer.epoch == history.n_epochs == 329
    # As if the orders of the epochs that did not begin had not been drawn.
    rng = np.random.default_rng(0)
    for _ in range(329):
        rng.permutation(8)
    assert trainer.rng.bit_generator.state == rng.bit_generator.state


def test_stop_at_for_a_figure_that_grows():
    x = np.random.default_rng(0).normal(size=(60, 2))
    labels = (x.sum(axis=1) > 0).astype(int)
    ended = []
    for name in ("numba", "numpy"):
        trainer = Trainer(
            Sequential([Dense(2, 4, Tanh()), Dense(4, 2)], seed=0),
            SoftmaxCrossEntropy(),
            SGD(0.02),
            metrics=[Accuracy()],
            callbacks=[StopAt("accuracy", 0.95)],
            seed=0,
            engine=name,
        )
        history = trainer.fit(x, labels, epochs=500, batch_size=1)
        assert history["accuracy"][-1] >= 0.95 > max(history["accuracy"][:-1])
        ended.append(history.n_epochs)
    assert ended[0] == ended[1] > 1


def test_a_stop_at_of_ones_own_is_asked_each_epoch():
    class Impatient(StopAt):
        n_calls = 0

        def on_epoch_end(self, trainer):
            self.n_calls += 1
            super().on_epoch_end(trainer)

    class Curious(StopAt):
        n_calls = 0

        def on_epoch_begin(self, trainer):
            self.n_calls += 1

    for stop in (Impatient("loss", 0.0), Curious("loss", 0.0)):
        autoencoder("numba", callbacks=[stop]).fit(X, X, epochs=20, batch_size=1)
        assert stop.n_calls == 20


def test_the_first_non_finite_number_is_found_where_numpy_finds_it():
    x = np.random.default_rng(0).normal(size=(16, 3))
    messages, states = [], []
    for name in ("numba", "numpy"):
        model = Sequential([Dense(3, 4), Dense(4, 3)], seed=0)
        trainer = Trainer(
            model, HalfSquaredError(), SGD(0.8), metrics=[SquaredDistance()], seed=0, engine=name
        )
        with pytest.raises(NonFiniteError) as caught:
            trainer.fit(x, x, epochs=500, batch_size=1)
        assert np.isfinite(model.values).all()
        messages.append(str(caught.value).split("and its gradient")[0])
        states.append((trainer.rng.bit_generator.state, trainer.history.n_epochs))
    assert messages[0] == messages[1]
    assert "the loss in epoch" in messages[0]
    assert states[0] == states[1]


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_parameters_keep_their_last_finite_bytes(batch_size, momentum):
    x = np.random.default_rng(0).normal(size=(16, 3))

    def make():
        model = Sequential([Dense(3, 4), Dense(4, 3)], seed=0)
        return Trainer(model, HalfSquaredError(), SGD(0.8, momentum), engine="numba")

    trainer = make()
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(x, x, epochs=500, batch_size=batch_size, shuffle=False)
    epoch, step = trainer.epoch, trainer.step
    assert f"epoch {epoch}, step {step}, samples [{(step - 1) * batch_size}" in str(caught.value)
    # Step by step, up to the one before.
    again = make()
    for _ in range(epoch - 1):
        again.fit(x, x, epochs=1, batch_size=batch_size, shuffle=False)
    head = x[: (step - 1) * batch_size]
    if len(head):
        again.fit(head, head, epochs=1, batch_size=batch_size, shuffle=False)
    assert trainer.model.values.tobytes() == again.model.values.tobytes()
    assert trainer.history.n_epochs == epoch - 1


def test_huge_numbers_that_stay_finite_are_trained_on():
    # The NumPy engine looks closer at such a step too, and finds nothing wrong.
    x, y = np.array([[1e-160]]), np.array([[1e150]])
    for name in ("numba", "numpy"):
        model = Sequential([Dense(1, 1, use_bias=False)], seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(1.0), engine=name)
        trainer.fit(x, y, epochs=3, batch_size=1)
        assert_allclose(trainer.history["loss"], 5e299, rtol=1e-12)


def test_ctrl_c_comes_through_between_calls_of_the_kernel():
    class Interrupt(Callback):
        def on_epoch_end(self, trainer):
            if trainer.epoch == 4:
                signal.raise_signal(signal.SIGINT)

    trainer = autoencoder("numba", callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, X, epochs=10, batch_size=1)
    assert trainer.history.n_epochs == 4
    trainer = autoencoder("numba")
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, X, epochs=10**9, batch_size=1, shuffle=False)
    # What is done is on record, and was done as ever.
    n_epochs = trainer.history.n_epochs
    assert n_epochs > 0
    history = autoencoder("numba").fit(X, X, epochs=n_epochs, batch_size=1, shuffle=False)
    assert history["loss"] == trainer.history["loss"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_does_not_wait_for_a_long_epoch():
    x = np.tile(X, (200_000, 1))
    trainer = autoencoder("numba")
    # From inside of the fit, which may begin late on a busy machine.
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    begin = LambdaCallback(on_train_begin=lambda state: timer.start())
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(x, x, epochs=10**6, batch_size=1, shuffle=False, callbacks=[begin])
    assert np.isfinite(trainer.model.values).all()
    assert len(trainer.history["loss"]) == trainer.history.n_epochs


def test_a_part_of_a_model_trains_in_place():
    model = Sequential([Dense(3, 4, Tanh()), Dense(4, 3, Tanh()), Dense(3, 2)], seed=0)
    before = model.values.copy()
    part = model[1:]
    x, y = np.random.default_rng(0).normal(size=(2, 6, 4))
    trainer = Trainer(part, HalfSquaredError(), SGD(0.1), engine="numba")
    trainer.fit(x, y[:, :2], epochs=3, batch_size=1)
    n_head = 3 * 4 + 4
    assert_array_equal(model.values[:n_head], before[:n_head])
    assert (model.values[n_head:] != before[n_head:]).any()
    assert np.shares_memory(part.values, model.values)


def test_a_batch_size_beyond_all_numbers():
    assert fit("numba", batch_size=10**30).name == "numba"


class NaiveInNumbers(Softplus):
    """Whose function of single numbers overflows where that of arrays does not."""

    def scalar_functions(self):
        def value(z):
            return math.log(1 + math.exp(z))

        return value, lambda z, y: 1 / (1 + math.exp(-z))


@pytest.mark.parametrize("hooks", [False, True])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_step_that_only_numpy_can_make(place, hooks):
    x = np.linspace(-1, 1, 5)[:, None]
    x[place] = 900.0
    results = []
    for name in ("numba", "numpy"):
        model = Sequential([Dense(1, 1, NaiveInNumbers()), Dense(1, 1)], seed=0)
        model.values = [1.0, 0.1, 0.5, 0.2]
        metrics = [SquaredDistance(), WorstError()]
        trainer = Trainer(model, HalfSquaredError(), SGD(1e-9), metrics=metrics, engine=name)
        recorder = BatchRecorder()
        callbacks = [recorder] if hooks else []
        history = trainer.fit(
            x, np.cos(x), epochs=4, batch_size=1, shuffle=False, callbacks=callbacks
        )
        assert trainer.engine_used.name == name
        seen = [part for call in recorder.seen for part in call if isinstance(part, float)]
        results.append((model.values.copy(), figures(history), trainer.batch_loss, seen))
        assert [call[:3] for call in recorder.seen if call[0] == "on_batch_end"] == [
            ("on_batch_end", epoch, step) for epoch in range(1, 5) for step in range(1, 6)
        ] * hooks
    for compiled, numpys in zip(*results, strict=True):
        assert_allclose(compiled, numpys, rtol=1e-12)


def test_orders_are_given_back_after_a_step_that_only_numpy_can_make():
    x = np.linspace(-1, 1, 5)[:, None]
    x[2] = 900.0
    states = []
    for name in ("numba", "numpy"):
        model = Sequential([Dense(1, 1, NaiveInNumbers()), Dense(1, 1)], seed=0)
        model.values = [1.0, 0.1, 0.5, 0.2]
        stop = StopAt("loss", 1e9)  # reached after the first epoch of many begun together
        trainer = Trainer(model, HalfSquaredError(), SGD(1e-9), seed=0, engine=name)
        assert trainer.fit(x, np.cos(x), epochs=50, batch_size=1, callbacks=[stop]).n_epochs == 1
        states.append(trainer.rng.bit_generator.state)
    assert states[0] == states[1]


def test_accuracy_compares_in_the_models_own_precision():
    # 0.1 of float32 is above 0.1 of float64.
    x = np.full((4, 1), 0.1, np.float32)
    for name in ("numba", "numpy"):
        model = Sequential([Dense(1, 1, use_bias=False)], dtype=np.float32)
        model.values = [1.0]
        metrics = [Accuracy(threshold=0.1)]
        trainer = Trainer(model, HalfSquaredError(), SGD(1e-30), metrics=metrics, engine=name)
        history = trainer.fit(x, np.ones((4, 1)), epochs=1, batch_size=1)
        assert history["accuracy"] == [1.0]
