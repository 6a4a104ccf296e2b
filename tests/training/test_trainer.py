import ast
import copy
import pickle
import re
import signal
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from memory import held
from numpy.testing import assert_allclose, assert_array_equal

import layerkit
from layerkit import (
    SGD,
    Accuracy,
    ArgumentError,
    Callback,
    Dense,
    HalfSquaredError,
    Layer,
    MeanAbsoluteError,
    MeanSquaredError,
    ReLU,
    Sequential,
    ShapeError,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredDistance,
    StateError,
    Tanh,
    Trainer,
)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(10, 3)), rng.normal(size=(10, 2))


def make_trainer(**options):
    model = Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=0)
    # test_engine.py has the same for the other engine, whose numbers differ by rounding.
    return Trainer(model, HalfSquaredError(), SGD(0.1), seed=0, engine="numpy", **options)


def test_fit_is_train_step_over_the_batches(data):
    x, y = data
    fitted, stepped = make_trainer(), make_trainer()
    history = fitted.fit(x, y, epochs=3, batch_size=4, shuffle=False)
    losses = []
    for _ in range(3):
        total = 0.0
        for start in range(0, 10, 4):
            batch = slice(start, start + 4)
            total += stepped.train_step(x[batch], y[batch]) * len(x[batch])
        losses.append(total / 10)
    assert_array_equal(fitted.model.values, stepped.model.values)
    assert history["loss"] == losses


def test_train_step_gives_the_loss_before_the_update(data):
    x, y = data
    trainer = make_trainer()
    before = trainer.evaluate(x, y)["loss"]
    assert trainer.train_step(x, y) == pytest.approx(before, rel=1e-14)
    assert trainer.evaluate(x, y)["loss"] < before


def test_same_seed_same_bytes(data):
    def run(seed):
        trainer = make_trainer()
        trainer.rng = np.random.default_rng(seed)
        trainer.fit(*data, epochs=3, batch_size=3)
        return trainer.model.values.tobytes()

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_shuffled_epochs_differ_and_hold_each_sample_once(data):
    x = np.arange(10.0)[:, None]
    seen = []

    class Watch(Layer):
        def compute_forward(self, x, *, training):
            if training:
                seen.append(x.ravel().tolist())
            return x, None

        def compute_backward(self, dy, cache):
            return dy

    model = Sequential([Watch()], input_shape=(1,))
    Trainer(model, HalfSquaredError(), SGD(0.1), seed=0).fit(x, x, epochs=2, batch_size=4)
    first, second = np.concatenate(seen[:3]).tolist(), np.concatenate(seen[3:]).tolist()
    assert sorted(first) == sorted(second) == x.ravel().tolist()
    assert first != second
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 4, 99])
def test_the_users_arrays_keep_their_bytes(data, shuffle, batch_size):
    x, y = data
    kept = x.tobytes(), y.tobytes()
    for array in data:
        array.flags.writeable = False
    make_trainer().fit(x, y, epochs=2, batch_size=batch_size, shuffle=shuffle)
    assert (x.tobytes(), y.tobytes()) == kept


@pytest.mark.parametrize("kind", [int, bool, np.float32, np.uint8, "list"])
def test_other_dtypes_train_as_their_numbers(kind):
    numbers = np.eye(3)[[0, 1, 2, 0]]
    given = numbers.tolist() if kind == "list" else numbers.astype(kind)
    values = []
    for x in (numbers, given):
        trainer = make_trainer()
        trainer.fit(x, x[:, :2] if kind != "list" or x is numbers else numbers[:, :2], epochs=2)
        values.append(trainer.model.values)
    assert_array_equal(*values)


def test_memmap_and_fortran_order_train_the_same(data, tmp_path):
    x, y = data
    mapped = np.memmap(tmp_path / "x", dtype=float, mode="w+", shape=x.shape)
    mapped[:] = x
    values = []
    for given in (x, mapped, np.asfortranarray(x)):
        trainer = make_trainer()
        trainer.fit(given, y, epochs=3, batch_size=3)
        values.append(trainer.model.values)
    assert_allclose(values[1], values[0], rtol=1e-13)
    assert_allclose(values[2], values[0], rtol=1e-12)


def test_zero_epochs_do_nothing(data):
    calls = []

    class Watch(Callback):
        def on_train_begin(self, trainer):
            calls.append("begin")

    trainer = make_trainer(callbacks=[Watch()])
    before = trainer.model.values.tobytes()
    history = trainer.fit(*data, epochs=0)
    assert trainer.model.values.tobytes() == before
    assert history.n_epochs == 0
    assert history["loss"] == []
    assert calls == []


def test_history_has_loss_metrics_and_validation(data):
    x, y = data
    trainer = make_trainer(metrics=[SquaredDistance(), MeanAbsoluteError()])
    history = trainer.fit(x[:7], y[:7], epochs=2, batch_size=3, validation_data=(x[7:], y[7:]))
    names = ["loss", "squared_distance", "mean_absolute_error"]
    assert list(history) == names + [f"val_{name}" for name in names]
    assert all(len(numbers) == 2 for numbers in history.values())
    evaluated = trainer.evaluate(x[7:], y[7:])
    assert {name: history[f"val_{name}"][-1] for name in names} == evaluated


def test_metrics_in_training_are_taken_before_each_update(data):
    x, y = data
    trainer = make_trainer(metrics=[SquaredDistance()])
    watched, expected = copy.deepcopy(trainer.model), 0.0
    history = trainer.fit(x, y, epochs=1, batch_size=1, shuffle=False)
    stepped = Trainer(watched, HalfSquaredError(), SGD(0.1))
    for i in range(10):
        expected += ((watched.predict(x[i : i + 1]) - y[i : i + 1]) ** 2).sum()
        stepped.train_step(x[i : i + 1], y[i : i + 1])
    assert history["squared_distance"] == [pytest.approx(expected, rel=1e-13)]


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_evaluate_is_exact_whatever_the_batch_size(data, batch_size):
    x, y = data
    trainer = make_trainer(metrics=[SquaredDistance(), MeanAbsoluteError()])
    y_pred = trainer.model.predict(x)
    before = trainer.model.values.tobytes(), trainer.model.grads.tobytes()
    figures = trainer.evaluate(x, y, batch_size=batch_size)
    assert figures == {
        "loss": pytest.approx(((y_pred - y) ** 2).sum() / 20, rel=1e-13),
        "squared_distance": pytest.approx(((y_pred - y) ** 2).sum(), rel=1e-13),
        "mean_absolute_error": pytest.approx(abs(y_pred - y).mean(), rel=1e-13),
    }
    assert (trainer.model.values.tobytes(), trainer.model.grads.tobytes()) == before


def test_a_classifier_learns_from_indices():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    labels = (x[:, 0] * x[:, 1] > 0).astype(np.uint8)
    model = Sequential([Dense(2, 16, ReLU()), Dense(16, 2)], seed=0)
    trainer = Trainer(
        model, SoftmaxCrossEntropy(), SGD(0.3, momentum=0.9), metrics=[Accuracy()], seed=0
    )
    history = trainer.fit(x, labels, epochs=60, batch_size=10)
    assert history["accuracy"][-1] > 0.95
    one_hot = SoftmaxCrossEntropy("probabilities")
    other = Trainer(copy.deepcopy(model), one_hot, SGD(0.3), metrics=[Accuracy()])
    evaluated = other.evaluate(x, np.eye(2)[labels])
    assert evaluated == pytest.approx(trainer.evaluate(x, labels), rel=1e-12)


def test_a_stream_of_batches(data):
    x, y = data

    def forever():
        while True:
            for start in range(0, 10, 5):
                yield x[start : start + 5], y[start : start + 5]

    streamed, fitted = make_trainer(), make_trainer()
    history = streamed.fit(forever(), epochs=3, steps_per_epoch=2)
    expected = fitted.fit(x, y, epochs=3, batch_size=5, shuffle=False)
    assert history["loss"] == expected["loss"]
    assert_array_equal(streamed.model.values, fitted.model.values)


def whole_updates(x, y, n_steps):
    """The parameters after so many single-sample updates in order."""
    trainer = make_trainer()
    for i in range(n_steps):
        trainer.train_step(x[i : i + 1], y[i : i + 1])
    return trainer.model.values


def assert_interrupted_after(trainer, data, n_steps):
    model = trainer.model
    assert_array_equal(model.values, whole_updates(*data, n_steps))
    for parameter in model.parameters:
        assert np.shares_memory(parameter.value, model.values)
        assert np.shares_memory(parameter.grad, model.grads)
    assert not any(layer._workspace for _, layer in model.walk())
    trainer.fit(*data, epochs=1)  # and may go on


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize(("hook", "n_steps"), [("on_batch_begin", 4), ("on_batch_end", 5)])
def test_an_error_in_a_callback_leaves_the_last_whole_update(data, error, hook, n_steps):
    ended = []

    class Raise(Callback):
        def on_train_end(self, trainer):
            ended.append(trainer.epoch)

    def fail(self, trainer):
        if trainer.step == 5:
            raise error("stop")

    setattr(Raise, hook, fail)
    trainer = make_trainer()
    with pytest.raises(error, match="stop"):
        trainer.fit(*data, epochs=1, batch_size=1, shuffle=False, callbacks=[Raise()])
    assert ended == [1]
    assert_interrupted_after(trainer, data, n_steps)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_in_a_stream_leaves_the_last_whole_update(data, error):
    x, y = data

    def stream():
        for i in range(3):
            yield x[i : i + 1], y[i : i + 1]
        raise error("gone")

    trainer = make_trainer()
    with pytest.raises(error, match="gone"):
        trainer.fit(stream(), epochs=1, steps_per_epoch=10)
    assert_interrupted_after(trainer, data, 3)


def test_history_is_kept_as_far_as_it_got(data):
    class Raise(Callback):
        def on_epoch_begin(self, trainer):
            if trainer.epoch == 3:
                raise KeyboardInterrupt

    trainer = make_trainer(callbacks=[Raise()])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*data, epochs=5)
    assert trainer.history.n_epochs == 2


def test_frozen_parameters_keep_their_bytes(data):
    trainer = make_trainer()
    trainer.optimizer = SGD(0.1, momentum=0.9)
    trainer = Trainer(trainer.model, HalfSquaredError(), trainer.optimizer, seed=0)
    model = trainer.model
    for parameter in model[0].parameters:
        parameter.trainable = False
    frozen, free = model[0].kernel.value.tobytes(), model[1].kernel.value.copy()
    trainer.fit(*data, epochs=3, batch_size=2)
    assert model[0].kernel.value.tobytes() == frozen
    assert (model[1].kernel.value != free).all()
    # Thawed, it starts from rest: no momentum was gathered meanwhile.
    assert not trainer.optimizer.state["velocity"][:16].any()
    for parameter in model[0].parameters:
        parameter.trainable = True
    trainer.train_step(*data)
    assert model[0].kernel.value.tobytes() != frozen


def test_frozen_parameters_resist_an_optimizer_that_decays_them(data):
    class Decay(SGD):
        def update(self, values, grads, state):
            values *= 0.9

    trainer = make_trainer()
    trainer.model[0].kernel.trainable = False
    before = trainer.model.get_weights()
    Trainer(trainer.model, HalfSquaredError(), Decay(0.1)).fit(*data, epochs=1)
    after = trainer.model.get_weights()
    assert_array_equal(after[0], before[0])
    assert_allclose(after[2], 0.9 * before[2])


def test_data_is_not_copied_and_only_one_batch_is_held():
    x = np.zeros((20_000, 50))
    y = np.zeros((20_000, 4))
    model = Sequential([Dense(50, 30, Tanh()), Dense(30, 4)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1, momentum=0.9), seed=0)
    trainer.fit(x[:64], y[:64], epochs=1, batch_size=64)  # imports and caches of Python's
    batch = 8 * 64 * (50 + 4 + 2 * 30 + 2 * 4 + 30)
    parameters = 8 * model.values.size
    order = 8 * len(x)
    seen = []

    class Watch(Callback):
        def on_batch_end(self, trainer):
            if trainer.step % 25 == 0:  # a look takes its time
                seen.append(held())

    tracemalloc.start()
    try:
        trainer.fit(x, y, epochs=1, batch_size=64, callbacks=[Watch()])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    arrays, objects = map(max, zip(*seen, strict=True))
    # Held: the order, one batch with its caches and dx, and a block of the optimizer's step (here
    # all of it). The data set is 8.6 MB.
    assert order < arrays < order + batch + parameters
    # Some hundred objects, 7.6 kB with Python 3.11; one a sample would be 480 kB or more.
    assert objects < 100_000
    # For a moment: the gradients on their way back (no wider than the caches), the finite check.
    # 4 MB leave room for what the interpreter and the snapshots take.
    assert peak < (1 << 22) + order + 2 * batch + parameters


def test_a_trainer_can_be_copied(data):
    trainer = make_trainer(metrics=[SquaredDistance()])
    trainer.optimizer.momentum = 0.9
    trainer.fit(*data, epochs=2)
    copies = [copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))]
    expected = trainer.fit(*data, epochs=2)
    for copied in copies:
        assert copied.fit(*data, epochs=2)["loss"] == expected["loss"]
        assert_array_equal(copied.model.values, trainer.model.values)


def test_user_settings_of_numpy_errors_hold_in_callbacks(data):
    seen = []

    class Watch(Callback):
        def on_batch_end(self, trainer):
            seen.append(np.geterr()["over"])

    with np.errstate(over="raise"):
        make_trainer(callbacks=[Watch()]).fit(*data, epochs=1)
    assert seen == ["raise"]


def test_layers_that_break_their_promise_are_named():
    class Wrong(Layer):
        def build(self, input_shape):
            return (3,)

        def compute_forward(self, x, *, training):
            return x[:, :1], None

        def compute_backward(self, dy, cache):
            return dy

    model = Sequential([Dense(2, 4), Wrong(), Dense(3, 2)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1))
    with pytest.raises(ShapeError, match=r"Wrong.compute_forward, in layers\[1\]: y must be"):
        trainer.fit(np.ones((5, 2)), np.ones((5, 2)), epochs=1)


def test_sigint_waits_for_the_update_to_be_whole(data):
    class Slow(SGD):
        n_updates = 0

        def update(self, values, grads, state):
            self.n_updates += 1
            values[:5] -= 0.1 * grads[:5]
            if self.n_updates == 3:
                signal.raise_signal(signal.SIGINT)
            values[5:] -= 0.1 * grads[5:]

    trainer = make_trainer()
    slow = Trainer(trainer.model, HalfSquaredError(), Slow(0.1))
    with pytest.raises(KeyboardInterrupt):
        slow.fit(*data, epochs=1, batch_size=1, shuffle=False)
    assert slow.optimizer.n_updates == 3
    assert_array_equal(slow.model.values, whole_updates(*data, 3))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigint_between_updates_comes_through_at_once(data):
    class Interrupt(Callback):
        def on_batch_begin(self, trainer):
            if trainer.step == 3:
                signal.raise_signal(signal.SIGINT)
                pytest.fail("it did not come through")

    trainer = make_trainer()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*data, epochs=1, batch_size=1, shuffle=False, callbacks=[Interrupt()])
    assert_interrupted_after(trainer, data, 2)


def test_an_optimizer_in_use_is_refused_before_anything_changes(data):
    trainer = make_trainer()
    trainer.fit(*data, epochs=1)
    other = Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=1)
    before = other.values.tobytes(), other.grads.tobytes()
    velocity = trainer.optimizer.state
    for run in (
        lambda: Trainer(other, HalfSquaredError(), trainer.optimizer).fit(*data, epochs=1),
        lambda: Trainer(other, HalfSquaredError(), trainer.optimizer).train_step(*data),
    ):
        with pytest.raises(StateError, match="Make another SGD"):
            run()
    assert (other.values.tobytes(), other.grads.tobytes()) == before
    assert trainer.optimizer.state == velocity


def test_metrics_must_fit_the_targets():
    x, labels = np.ones((4, 2)), np.zeros(4, int)
    trainer = Trainer(
        Sequential([Dense(2, 3)]), SoftmaxCrossEntropy(), SGD(0.1), metrics=[SquaredDistance()]
    )
    with pytest.raises(ArgumentError, match="SquaredDistance can't take"):
        trainer.fit(x, labels, epochs=1)


def test_online_training_of_a_sigmoid_network_falls(data):
    x = np.eye(4)
    model = Sequential([Dense(4, 2, Sigmoid()), Dense(2, 4, Sigmoid())], seed=0)
    history = Trainer(model, HalfSquaredError(), SGD(1.0), seed=0).fit(
        x, x, epochs=300, batch_size=1
    )
    assert history["loss"][-1] < 0.3 * history["loss"][0]


def test_another_loss_from_now_on(data):
    x, y = data
    trainer = make_trainer()
    trainer.fit(x, y, epochs=1)
    trainer.loss = MeanSquaredError()
    expected = MeanSquaredError().value(trainer.model.predict(x), y)
    assert trainer.train_step(x, y) == pytest.approx(expected, rel=1e-12)


def test_the_way_from_fit_to_the_weights_is_as_short_as_the_readme_says():
    package = Path(layerkit.__file__).parent
    contributing = (package.parent / "CONTRIBUTING.md").read_text()
    files = re.findall(r"(?m)^\d\. `([\w/]+\.py)`: ", contributing)
    assert len(files) == 5
    n_lines = sum(len((package / name).read_text().splitlines()) for name in files)
    assert f"five files of {n_lines:,} lines" in (package.parent / "README.md").read_text()
    # Line by line what runs in a fit of one process, without weights and accumulation.
    way = {
        "training/trainer.py": {"fit"},
        "training/fit.py": {"run", "_begin", "_train", "_validate", "_end"},
        "engines/numpy.py": {"train", "_figures"},
        "steps/step.py": {"__call__", "_lose", "_update", "_totals"},
        "steps/updates.py": {"apply"},
    }
    assert list(way) == files
    n_body = 0
    for name, methods in way.items():
        for node in ast.walk(ast.parse((package / name).read_text())):
            if isinstance(node, ast.FunctionDef) and node.name in methods:
                first = node.body[bool(ast.get_docstring(node))]
                n_body += node.end_lineno - first.lineno + 1
    assert 100 < n_body <= 200
