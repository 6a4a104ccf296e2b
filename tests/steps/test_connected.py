"""Training over ranks, which are threads here; `tests/communication` has real jobs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import on_ranks

import layerkit.engines.choice
from layerkit import (
    FTRL,
    L2,
    LBFGS,
    SGD,
    Accuracy,
    Adafactor,
    Adam,
    ArgumentError,
    BatchNorm,
    Callback,
    ClipByGlobalNorm,
    CSVLogger,
    Dense,
    Dropout,
    EarlyStopping,
    HalfSquaredError,
    Lamb,
    LambdaCallback,
    Layer,
    Metric,
    ModelCheckpoint,
    NonFiniteError,
    ParameterGroup,
    R2Score,
    RecordLearningRate,
    SaveError,
    Sequential,
    SerialCommunicator,
    ShapeError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredDistance,
    StateError,
    Tanh,
    Trainer,
    WeightAverage,
)
from layerkit.replicas import Replicas

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(41, 4)), RNG.normal(size=(41, 2))
WEIGHT = RNG.uniform(0, 2, size=41)
# Sums in another order differ by some units in the last place a step.
ROUNDING = {"rtol": 1e-12, "atol": 1e-14}


class Rows:
    """A data set that notes which rows it is asked for."""

    def __init__(self, x=X, y=Y, weight=None):
        self.arrays = (x, y) if weight is None else (x, y, weight)
        self.asked = []

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, indices):
        self.asked.append(np.array(indices))
        return tuple(array[indices] for array in self.arrays)


def network(*between, seed=0):
    return Sequential([Dense(4, 6, Tanh()), *between, Dense(6, 2)], seed=seed)


def trainer_of(communicator=None, model=None, optimizer=None, **options):
    """A trainer whose ranks begin with what differs, where rank 0 decides."""
    rank = 0 if communicator is None else communicator.rank
    model = model or network(seed=rank)
    optimizer = optimizer or SGD(0.1, momentum=0.9)
    options = {"metrics": [SquaredDistance(), R2Score()], "engine": "numpy"} | options
    return Trainer(
        model, HalfSquaredError(), optimizer, seed=rank, communicator=communicator, **options
    )


def outcome(trainer):
    model = trainer.model
    states = [layer.get_state() for _, layer in model.walk()]
    return {
        "values": model.values.copy(),
        "optimizer": [trainer.optimizer.n_steps, *trainer.optimizer.state.values()],
        "history": {name: np.array(figures) for name, figures in trainer.history.items()},
        "rng": repr(trainer.rng.bit_generator.state),
        "states": [v for s in states for v in s.values() if isinstance(v, np.ndarray)],
    }


def assert_close(one, other, **tolerance):
    np.testing.assert_allclose(one["values"], other["values"], **tolerance)
    for a, b in zip(one["optimizer"], other["optimizer"], strict=True):
        np.testing.assert_allclose(a, b, **tolerance)
    assert one["history"].keys() == other["history"].keys()
    for name, figures in one["history"].items():
        np.testing.assert_allclose(figures, other["history"][name], **tolerance)
    for a, b in zip(one["states"], other["states"], strict=True):
        np.testing.assert_allclose(a, b, **tolerance)
    assert one["rng"] == other["rng"]


def assert_same(outcomes):
    first = outcomes[0]
    for other in outcomes[1:]:
        assert_close(first, other, rtol=0, atol=0)


def compare(size, fit, **options):
    """Hold ranks to one process; ``options`` make what each is to have of its own."""

    def program(communicator):
        made = {name: make() for name, make in options.items()}
        trainer = trainer_of(communicator, **made)
        fit(trainer)
        return outcome(trainer)

    alone = program(None)
    together = on_ranks(size, program)
    assert_same(together)
    assert_close(together[0], alone, **ROUNDING)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_ranks_make_the_steps_of_one_process(data):
    draw = data.draw
    size = draw(st.integers(2, 5), "size")
    n = draw(st.integers(size, 41), "samples")
    weight = WEIGHT[:n] if draw(st.booleans(), "weighted") else None
    as_dataset = draw(st.booleans(), "dataset")
    held_out = draw(st.sampled_from([None, "data", "dataset", "split"]), "validation")
    if held_out == "split":
        n = max(n, 2 * size + 2)
        weight = None if weight is None else WEIGHT[:n]
        as_dataset = False
    options = {
        "epochs": draw(st.integers(1, 4), "epochs"),
        "batch_size": draw(st.integers(size, 45), "batch_size"),
        "shuffle": draw(st.booleans(), "shuffle"),
        "accumulate": draw(st.integers(1, 3), "accumulate"),
    }
    if held_out in ("data", "dataset"):
        m = draw(st.integers(1, 41), "held out")
        options["validation_data"] = (X[:m], Y[:m]) if held_out == "data" else Rows(X[:m], Y[:m])
    elif held_out:
        options["validation_split"] = 0.5
    rules = draw(st.booleans(), "rules")
    adaptive = draw(st.booleans(), "adaptive")

    def fit(trainer):
        if as_dataset:
            trainer.fit(Rows(X[:n], Y[:n], weight), **options)
        else:
            trainer.fit(X[:n], Y[:n], sample_weight=weight, **options)

    compare(
        size,
        fit,
        optimizer=lambda: Adam(0.01, epsilon=1e-3) if adaptive else SGD(0.05, momentum=0.9),
        metrics=lambda: [SquaredDistance()],
        regularizers=lambda: [L2(0.01)] if rules else [],
        clipping=lambda: ClipByGlobalNorm(0.5) if rules else None,
    )


@pytest.mark.parametrize("size", [2, 3, 4])
def test_after_a_hundred_steps_too(size):
    compare(size, lambda trainer: trainer.fit(X, Y, epochs=17, batch_size=7))


def test_in_float32_up_to_its_own_rounding():
    def program(communicator):
        model = Sequential([Dense(4, 6, Tanh()), Dense(6, 2)], seed=0, dtype=np.float32)
        trainer = trainer_of(communicator, model)
        trainer.fit(X, Y, epochs=10, batch_size=7)
        return outcome(trainer)

    together = on_ranks(3, program)
    assert_same(together)
    # float32 has 7 digits, of which 60 steps may lose two.
    assert_close(together[0], program(None), rtol=1e-4, atol=1e-5)


def test_other_losses_metrics_and_class_weights():
    labels = RNG.integers(3, size=41)

    def program(communicator):
        trainer = Trainer(
            Sequential([Dense(4, 3)], seed=0),
            SoftmaxCrossEntropy(),
            SGD(0.1),
            metrics=[Accuracy()],
            seed=0,
            communicator=communicator,
        )
        trainer.fit(X, labels, epochs=5, batch_size=6, class_weight="balanced")
        return outcome(trainer) | {"evaluated": trainer.evaluate(X, labels)}

    alone, together = program(None), on_ranks(4, program)
    assert_close(together[3], alone, **ROUNDING)
    for name, figure in alone["evaluated"].items():
        assert together[2]["evaluated"][name] == pytest.approx(figure, rel=1e-12)


class Largest(Metric):
    """A figure whose totals are not added."""

    def total(self, y_pred, y_true):
        return np.float32(abs(y_pred - y_true).max())

    def merge(self, total, other):
        return max(total, other)

    def result(self, total, n_samples):
        return total


def test_each_metric_puts_the_ranks_totals_together_itself():
    answers = (X[:, :1] > 0).astype(float)

    def program(communicator):
        model = Sequential([Dense(4, 1)], seed=0)
        metrics = [Largest(), Accuracy(), R2Score()]
        trainer = Trainer(
            model,
            SigmoidCrossEntropy(),
            SGD(0.1),
            metrics=metrics,
            seed=0,
            communicator=communicator,
        )
        trainer.fit(X, answers, epochs=2, batch_size=6, shuffle=False)
        # 5 samples for 4 ranks a batch, the last of which has one alone.
        return outcome(trainer) | {"evaluated": trainer.evaluate(X, answers, batch_size=5)}

    alone = program(None)
    y_pred = X @ alone["values"][:4] + alone["values"][4]
    assert alone["evaluated"]["largest"] == pytest.approx(abs(y_pred - answers[:, 0]).max(), 1e-6)
    assert alone["evaluated"]["accuracy"] == ((y_pred > 0) == answers[:, 0]).mean()
    for together in on_ranks(4, program):
        assert_close(together, alone, **ROUNDING)
        assert together["evaluated"] == pytest.approx(alone["evaluated"], rel=1e-12)


def test_each_rank_reads_its_own_part():
    def program(communicator):
        rows = Rows()
        trainer_of(communicator).fit(rows, epochs=1, batch_size=7)
        return rows.asked

    asked = on_ranks(3, program)
    for step in range(6):
        numbers = np.concatenate([parts[step] for parts in asked])
        assert len(np.unique(numbers)) == len(numbers) == (7 if step < 5 else 6)
    read = np.concatenate([part for parts in asked for part in parts])
    np.testing.assert_array_equal(np.sort(read), np.arange(41))


def test_a_last_batch_of_fewer_samples_than_ranks_leaves_some_out():
    compare(5, lambda trainer: trainer.fit(X, Y, epochs=3, batch_size=8))  # the last has 1
    compare(5, lambda trainer: trainer.fit(Rows(), epochs=3, batch_size=8))


def test_streams_bring_a_part_on_each_rank():
    def stream(rank, size):
        for start in range(0, 40, 8):
            own = slice(start + rank * 8 // size, start + (rank + 1) * 8 // size)
            yield X[own], Y[own], WEIGHT[own]

    def program(communicator):
        rank, size = (0, 1) if communicator is None else (communicator.rank, communicator.size)
        trainer = trainer_of(communicator)
        trainer.fit(
            lambda: stream(rank, size), epochs=4, validation_data=lambda: stream(rank, size)
        )
        trainer.fit(stream(rank, size), epochs=1, steps_per_epoch=3)
        return outcome(trainer)

    alone, together = program(None), on_ranks(3, program)
    assert_same(together)
    assert_close(together[0], alone, **ROUNDING)


def test_a_stream_that_ends_earlier_than_others_is_named():
    def program(communicator):
        n = 3 if communicator.rank == 1 else 5
        with pytest.raises(
            StateError,
            match=r"Trainer.fit: x must be a batch on all ranks; got none on rank 1, whose stream "
            r"has ended. Pass steps_per_epoch",
        ):
            trainer_of(communicator).fit(lambda: ((X[:4], Y[:4]) for _ in range(n)), epochs=2)

    on_ranks(3, program)


@pytest.mark.parametrize("weighted", [False, True])
def test_train_step_takes_a_part_on_each_rank(weighted):
    def program(communicator):
        own = slice(None) if communicator is None else slice(communicator.rank, None, 3)
        weight = WEIGHT[own] if weighted else None
        trainer = trainer_of(communicator)
        losses = [trainer.train_step(X[own], Y[own], weight) for _ in range(10)]
        return losses, trainer.model.values.copy()

    losses, values = program(None)
    for other_losses, other_values in on_ranks(3, program):
        np.testing.assert_allclose(other_losses, losses, **ROUNDING)
        np.testing.assert_allclose(other_values, values, **ROUNDING)


def test_weights_that_are_0_for_a_whole_batch():
    weight = np.where(np.arange(41) < 20, 0.0, 1.0)
    compare(
        2,
        lambda trainer: trainer.fit(
            X, Y, epochs=2, batch_size=10, shuffle=False, sample_weight=weight
        ),
    )


def test_one_communicator_of_one_rank_changes_nothing():
    trainers = [trainer_of(), trainer_of(SerialCommunicator())]
    for trainer in trainers:
        trainer.fit(X, Y, epochs=3, batch_size=7)
    assert_same([outcome(trainer) for trainer in trainers])
    assert isinstance(trainers[0].communicator, SerialCommunicator)


def test_rank_0_decides_in_each_fit():
    def program(communicator):
        trainer = trainer_of(communicator)
        trainer.fit(X, Y, epochs=2, batch_size=8)
        if communicator is None or communicator.rank == 0:
            trainer.model.values *= 0.5
            trainer.optimizer.learning_rate = 0.05
            trainer.model[0].bias.trainable = False
        trainer.fit(X, Y, epochs=2, batch_size=8)
        return outcome(trainer)

    together = on_ranks(3, program)
    assert_same(together)
    assert_close(together[0], program(None), **ROUNDING)


def test_the_gradients_behind_a_part_of_a_model_stay():
    def program(communicator):
        model = Sequential([Dense(4, 2, Tanh()), Dense(2, 4)], seed=0)
        model.grads = np.arange(len(model.grads))
        part = model[:1]
        before = model[1].kernel.grad.copy(), model[1].bias.grad.copy()
        trainer_of(communicator, part).fit(X, Y, epochs=2, batch_size=8)
        np.testing.assert_array_equal(model[1].kernel.grad, before[0])
        np.testing.assert_array_equal(model[1].bias.grad, before[1])

    on_ranks(2, program)


def test_a_model_without_parameters():
    def program(communicator):
        model = Sequential([Dropout(0.5)], input_shape=(4,), seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.1), communicator=communicator, seed=0)
        return trainer.fit(X, X, epochs=1, batch_size=8, shuffle=False)["loss"]

    first, second = on_ranks(2, program)
    assert first == second


def test_a_step_is_one_exchange():
    def program(communicator):
        trainer, calls = trainer_of(communicator), []
        note = LambdaCallback(
            on_batch_begin=lambda t: calls.append(communicator.n_calls),
            on_batch_end=lambda t: calls.append(communicator.n_calls),
        )
        trainer.fit(X, Y, epochs=2, batch_size=8, callbacks=[note])
        steps = np.diff(calls)[::2]
        trainer = trainer_of(communicator)
        trainer.train_step(X, Y)
        before = communicator.n_calls
        trainer.train_step(X, Y)  # one more, for how many samples there are
        return steps.tolist(), communicator.n_calls - before

    assert on_ranks(2, program) == [([1] * 12, 2)] * 2


@pytest.mark.parametrize("make", [Adafactor, lambda: Lamb(0.01, epsilon=1e-3), FTRL])
def test_other_optimizers_and_figures_of_callbacks(make):
    options = {"epochs": 3, "batch_size": 8, "callbacks": [RecordLearningRate()]}
    groups = [ParameterGroup(["dense_1"], learning_rate=0.02)]
    compare(3, lambda t: t.fit(X, Y, **options), optimizer=make, groups=lambda: groups)


@pytest.mark.parametrize("size", [2, 5])
def test_a_search_evaluates_the_loss_of_all_ranks_together(size):
    def program(communicator):
        # The last batch has 2 samples: some of the ranks have no part in it.
        model = network(BatchNorm(synchronized=True))
        trainer = trainer_of(communicator, model, optimizer=LBFGS(), regularizers=[L2(0.01)])
        trainer.fit(X[:34], Y[:34], epochs=2, batch_size=8, sample_weight=WEIGHT[:34])
        return outcome(trainer)

    alone, together = program(None), on_ranks(size, program)
    assert_same(together)
    # Each step divides differences of gradients, and hands its rounding on to the next.
    assert_close(together[0], alone, rtol=1e-6, atol=1e-6)


def test_a_search_in_many_steps_leaves_all_ranks_the_same():
    def program(communicator):
        trainer = trainer_of(communicator, network(), optimizer=LBFGS())
        trainer.fit(X, Y, epochs=250, batch_size=len(X))
        return outcome(trainer)

    assert_same(on_ranks(3, program))


# Layers


@pytest.mark.parametrize("size", [2, 3, 5])
def test_synchronised_batch_norm_is_that_of_one_process(size):
    # 41 samples by 6 leave a last batch of 5, by 10 one of a single sample.
    compare(
        size,
        lambda trainer: trainer.fit(X[:40], Y[:40], epochs=5, batch_size=6),
        model=lambda: network(BatchNorm(synchronized=True)),
    )


def test_it_may_be_all_that_there_is():
    compare(
        2,
        lambda trainer: trainer.fit(X[:40], X[:40], epochs=3, batch_size=4),
        model=lambda: Sequential([BatchNorm(synchronized=True)], input_shape=(4,), seed=0),
        optimizer=lambda: SGD(0.01),
        metrics=lambda: [],
    )


def test_it_serves_loops_of_the_users_own_and_single_passes():
    def program(communicator):
        own = slice(None) if communicator is None else slice(communicator.rank, None, 2)
        trainer = trainer_of(communicator, network(BatchNorm(synchronized=True)))
        for _ in range(5):
            trainer.train_step(X[own], Y[own])
        trainer.fit(X[:40], Y[:40], epochs=1, batch_size=8)
        # Behind a fit it is a layer like any other.
        trainer.model.forward(X[:8], training=True)
        return outcome(trainer)

    alone, together = program(None), on_ranks(2, program)
    assert_same(together)
    assert_close(together[0], alone, **ROUNDING)


def test_a_rank_without_a_part_takes_part_in_the_exchange():
    def fit(trainer):
        trainer.fit(X[:34], Y[:34], epochs=3, batch_size=8)  # the last batch has 2 samples

    compare(5, fit, model=lambda: network(BatchNorm(synchronized=True)))


@pytest.mark.parametrize("synchronized", [False, True])
def test_a_frozen_batch_norm_keeps_its_figures_to_the_last_bit(synchronized):
    def program(communicator):
        trainer = trainer_of(communicator, network(BatchNorm(synchronized=synchronized)))
        layer = trainer.model[1]
        # A sum of three that are alike is rounded, and a third of it may be another number.
        layer.running_mean[:] = np.linspace(0.1, 0.7, 6)
        for parameter in layer.parameters:
            parameter.trainable = False
        trainer.fit(X[:40], Y[:40], epochs=2, batch_size=3)  # a sample for each rank
        np.testing.assert_array_equal(layer.running_mean, np.linspace(0.1, 0.7, 6))
        np.testing.assert_array_equal(layer.running_variance, np.ones(6))
        return outcome(trainer)

    alone, together = program(None), on_ranks(3, program)
    assert_same(together)
    assert_close(together[0], alone, **ROUNDING)


@pytest.mark.parametrize("synchronized", [False, True])
def test_averaged_weights_have_the_statistics_of_all_samples(synchronized):
    def program(communicator):
        model = network(BatchNorm(synchronized=synchronized))
        trainer = trainer_of(communicator, model, callbacks=[WeightAverage(0.9, apply=True)])
        trainer.fit(X[:40], Y[:40], epochs=2, batch_size=8)
        hidden = model[:1].predict(X[:40])
        np.testing.assert_allclose(model[1].running_mean, hidden.mean(axis=0), rtol=1e-10)
        variance = hidden.var(axis=0, ddof=1)
        np.testing.assert_allclose(model[1].running_variance, variance, rtol=1e-10)
        return outcome(trainer)

    assert_same(on_ranks(3, program))


def test_parts_of_a_stream_are_not_all_samples():
    def program(communicator):
        average = WeightAverage(0.9, apply=True)
        trainer = trainer_of(communicator, network(BatchNorm()), callbacks=[average])
        own = slice(communicator.rank, 40, 2)
        with pytest.raises(StateError, match="data that can be gone through again"):
            trainer.fit(lambda: [(X[own], Y[own])], epochs=1)

    on_ranks(2, program)


def test_local_batch_norm_averages_what_ranks_learned():
    def program(communicator):
        trainer = trainer_of(communicator, network(BatchNorm()))
        trainer.fit(X[:40], Y[:40], epochs=1, batch_size=40, shuffle=False)
        return trainer.model[1].running_mean

    first, second = on_ranks(2, program)
    np.testing.assert_array_equal(first, second)
    # 0.1 of the mean of the whole batch, which is the mean of the parts' means.
    hidden = network()[:1].predict(X[:40])
    np.testing.assert_allclose(first, 0.1 * hidden.mean(axis=0), **ROUNDING)


def test_what_is_no_array_is_averaged_too():
    class Counting(Layer):
        total, n, words = 0.0, 0, "none"

        def compute_forward(self, x, *, training):
            if training:
                self.total, self.n = self.total + float(x.sum()), self.n + 1
            return x, None

        def compute_backward(self, dy, cache):
            return dy

    def program(communicator):
        model = Sequential([Counting(), Dense(4, 2)], input_shape=(4,), seed=0)
        trainer = trainer_of(communicator, model)
        trainer.fit(X[:40], Y[:40], epochs=1, batch_size=10)
        return model[0].total, model[0].n

    (first, n), second = on_ranks(2, program)
    assert second == (first, 4) == (first, n)
    assert first == pytest.approx(X[:40].sum() / 2)


class Masks(Dropout):
    """Keeps the masks that it draws."""

    def compute_forward(self, x, *, training):
        y, cache = super().compute_forward(x, training=training)
        if training:
            self.__dict__.setdefault("drawn", []).append(cache.copy())
        return y, cache


def test_random_layers_draw_numbers_of_their_own_by_rank():
    def program(communicator):
        trainer = trainer_of(communicator, network(Masks(0.5)))
        trainer.fit(X[:40], Y[:40], epochs=2, batch_size=8)
        return np.concatenate(trainer.model[1].drawn), trainer.model.values.copy()

    drawn = on_ranks(3, program)
    again = on_ranks(3, program)
    for (masks, values), (same_masks, same_values) in zip(drawn, again, strict=True):
        np.testing.assert_array_equal(masks, same_masks)
        np.testing.assert_array_equal(values, same_values)
        np.testing.assert_array_equal(values, drawn[0][1])
    first = [masks[:20] for masks, _ in drawn]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert 0.4 < (first[one] == first[other]).mean() < 0.6
    alone = np.concatenate([mask for mask in program_alone()])
    np.testing.assert_array_equal(drawn[0][0][:2], alone[:2])  # rank 0 has the layer's own


def program_alone():
    trainer = trainer_of(None, network(Masks(0.5)))
    trainer.fit(X[:40], Y[:40], epochs=1, batch_size=8)
    return trainer.model[1].drawn


def test_a_generator_that_the_order_comes_from_too_stays_the_same():
    def program(communicator):
        shared = np.random.default_rng(5)
        orders = []
        model = network(Dropout(0.5, seed=shared), Dropout(0.5, seed=shared))
        trainer = Trainer(
            model, HalfSquaredError(), SGD(0.1), seed=shared, communicator=communicator
        )
        note = LambdaCallback(on_epoch_end=lambda t: orders.append(t.rng.bit_generator.state))
        trainer.fit(X, Y, epochs=4, batch_size=8, callbacks=[note])
        assert model[1].rng is model[2].rng
        return repr(orders), model.values.copy()

    (orders, values), *others = on_ranks(3, program)
    for other_orders, other_values in others:
        assert other_orders == orders
        np.testing.assert_array_equal(values, other_values)


# Callbacks, and ends of a training


def test_one_rank_that_stops_stops_all():
    class StopOnOne(Callback):
        def on_epoch_end(self, trainer):
            if trainer.communicator.rank == 1 and trainer.epoch == 3:
                trainer.stop()

    def program(communicator):
        return trainer_of(communicator, callbacks=[StopOnOne()]).fit(X, Y, epochs=9, batch_size=8)

    assert [history.n_epochs for history in on_ranks(3, program)] == [3, 3, 3]


def test_callbacks_that_write_do_so_on_rank_0(tmp_path):
    def program(communicator):
        rank = communicator.rank
        callbacks = [
            CSVLogger(tmp_path / f"{rank}.csv"),
            ModelCheckpoint(tmp_path / f"{rank}.layerkit"),
            ModelCheckpoint(tmp_path / f"{rank}.checkpoint", resumable=True),
            EarlyStopping("loss", patience=3),
            WeightAverage(apply=True),
        ]
        trainer = trainer_of(communicator, callbacks=callbacks)
        trainer.fit(X, Y, epochs=6, batch_size=8, progress=True)
        return outcome(trainer)

    assert_same(on_ranks(2, program))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0.checkpoint",
        "0.csv",
        "0.layerkit",
    ]


def test_parameters_that_drift_apart_are_named():
    class Drift(Callback):
        def on_batch_begin(self, trainer):
            if trainer.communicator.rank == 2 and trainer.optimizer.n_steps == 50:
                trainer.model[1].bias.value += 1e-12

    def program(communicator):
        trainer = trainer_of(communicator, callbacks=[Drift()])
        words = (
            r"step 100: the parameters must be the same on all ranks; got others on rank 2, first "
            r"in 'dense_1.bias'"
        )
        with pytest.raises(StateError, match=words):
            trainer.fit(lambda: ((X[:4], Y[:4]) for _ in range(500)), epochs=1)
        return trainer.optimizer.n_steps

    assert on_ranks(3, program) == [100, 100, 100]


def test_numbers_that_stop_being_finite_stop_all_ranks_before_the_update():
    huge = X.copy()
    huge[37] = 1e200

    def program(communicator):
        trainer = trainer_of(communicator)
        with pytest.raises(NonFiniteError) as caught:
            trainer.fit(huge, huge[:, :2], epochs=3, batch_size=20, shuffle=False)
        return str(caught.value), outcome(trainer)

    messages, outcomes = zip(*on_ranks(2, program), strict=True)
    assert_same(outcomes)
    assert messages[0] == messages[1]
    assert "epoch 1, step 2, samples [20, 21, " in messages[0]
    assert "got a loss of inf" in messages[0]


def test_what_is_compiled_on_some_ranks_only_is_used_on_none(monkeypatch):
    real, models = layerkit.engines.choice.compiled_parts, {}

    def on_rank_0_alone(model, loss, optimizer, n_steps):
        return real(model, loss, optimizer, np.inf) if models[id(model)] == 0 else (None, None)

    monkeypatch.setattr(layerkit.engines.choice, "compiled_parts", on_rank_0_alone)

    def program(communicator):
        trainer = trainer_of(communicator, engine="auto")
        models[id(trainer.model)] = communicator.rank
        trainer.fit(X, Y, epochs=2, batch_size=8)
        assert trainer.engine_used.reason == "the fit has 2 ranks"
        return outcome(trainer)

    assert_same(on_ranks(2, program))


# Checkpoints


class Interrupted(Exception):
    pass


class InterruptAt(Callback):
    """Saves behind some step of a batch, and stops there."""

    runs_last = True

    def __init__(self, path, batch):
        self.path, self.batch, self.n_batches = path, batch, 0

    def on_batch_end(self, trainer):
        self.n_batches += 1
        if self.n_batches == self.batch:
            trainer.save_checkpoint(self.path)
            raise Interrupted

    def get_state(self):
        return {}


def resumable(communicator, path, batch, random, resume):
    between = [Dropout(0.3), BatchNorm()] if random else []
    trainer = trainer_of(communicator, network(*between))
    if resume:
        trainer.resume(path)
    callback = InterruptAt(path, batch)
    trainer.fit(X, Y, epochs=4, batch_size=9, accumulate=2, callbacks=[callback])
    return outcome(trainer)


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 6, 13])
@pytest.mark.parametrize("random", [False, True])
def test_a_resumed_training_ends_with_the_same_bytes(batch, random, tmp_path):
    path = tmp_path / "checkpoint"
    undisturbed = on_ranks(2, lambda c: resumable(c, path, 0, random, False))
    with pytest.raises(Interrupted):
        on_ranks(2, lambda c: resumable(c, path, batch, random, False))
    resumed = on_ranks(2, lambda c: resumable(c, path, 0, random, True))
    assert_same([*undisturbed, *resumed])


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("behind", [1, 2, 4])
# Behind an update, at the end of an epoch before its last update, and in the middle of one.
@pytest.mark.parametrize("batch", [2, 5, 8])
def test_or_as_close_as_sums_can_be_on_another_number_of_ranks(before, behind, batch, tmp_path):
    path = tmp_path / "checkpoint"

    def on(size, *arguments):
        if size == 1:
            return [resumable(None, path, *arguments)]
        return on_ranks(size, lambda communicator: resumable(communicator, path, *arguments))

    with pytest.raises(Interrupted):
        on(before, batch, False, False)
    for resumed in on(behind, 0, False, True):
        assert_close(resumed, on(1, 0, False, False)[0], **ROUNDING)


def test_a_file_on_rank_0_alone_is_enough(tmp_path):
    path = tmp_path / "checkpoint"
    undisturbed = on_ranks(2, lambda c: resumable(c, path, 0, True, False))
    with pytest.raises(Interrupted):
        on_ranks(2, lambda c: resumable(c, path, 7, True, False))
    resumed = on_ranks(2, lambda c: resumable(c, path, 0, True, c.rank == 0))
    assert_same([*undisturbed, *resumed])


def test_a_checkpoint_that_can_not_be_written_fails_on_all_ranks(tmp_path):
    def program(communicator):
        trainer = trainer_of(communicator)
        trainer.fit(X, Y, epochs=1, batch_size=8)
        expected = SaveError if communicator.rank == 0 else StateError
        with pytest.raises(expected, match=r"Trainer.save_checkpoint: .*got a folder"):
            trainer.save_checkpoint(tmp_path)

    on_ranks(2, program)


# What is refused


def refused(size, fit, error, words):
    def program(communicator):
        trainer = trainer_of(communicator)
        before = trainer.model.values.copy()
        with pytest.raises(error, match=words):
            fit(trainer, communicator.rank)
        np.testing.assert_array_equal(trainer.model.values, before)

    on_ranks(size, program)


def test_data_of_different_lengths():
    refused(
        3,
        lambda trainer, rank: trainer.fit(X[: 41 - (rank == 2)], Y[: 41 - (rank == 2)], epochs=1),
        StateError,
        r"Trainer.fit: the number of samples must be the same on all ranks; got 41 on rank 0 and "
        r"40 on rank 2. Hand the same to all of them; of data, each takes its part itself.",
    )


def test_models_of_different_shapes():
    def program(communicator):
        width = 5 if communicator.rank == 1 else 6
        model = Sequential([Dense(4, width, Tanh()), Dense(width, 2)], seed=0)
        words = r"model must be the same on all ranks; got .*\(4, 6\).* on rank 0 and .*\(4, 5\)"
        with pytest.raises(StateError, match=words):
            trainer_of(communicator, model).fit(X, Y, epochs=1)
        with pytest.raises(StateError, match=r"Trainer.train_step: model must be the same"):
            trainer_of(communicator, model).train_step(X, Y)

    on_ranks(2, program)


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("epochs", 3, "epochs must be the same on all ranks; got 2 on rank 0 and 3 on rank 1"),
        ("batch_size", 9, "batch_size must be the same on all ranks; got 8 on rank 0 and 9"),
        ("shuffle", False, "shuffle must be the same on all ranks; got True on rank 0 and False"),
        ("accumulate", 2, "accumulate must be the same on all ranks; got 1 on rank 0 and 2"),
        (
            "callbacks",
            [EarlyStopping("loss")],
            r"got \[\] on rank 0 and \['EarlyStopping'\] on rank 1. For one on rank 0 alone, its",
        ),
        ("validation_split", 0.5, "validation must be the same on all ranks; got "),
    ],
)
def test_other_arguments_on_other_ranks(argument, value, words):
    def fit(trainer, rank):
        options = {"epochs": 2, "batch_size": 8} | ({argument: value} if rank == 1 else {})
        trainer.fit(X, Y, **options)

    refused(2, fit, StateError, words)


def test_a_batch_smaller_than_the_number_of_ranks():
    words = (
        r"Trainer.fit: the samples in a batch must be at least 4, one for each rank; got 3. Pass a "
        r"larger batch_size, or start fewer ranks \(at most 3\)."
    )
    refused(
        4, lambda trainer, rank: trainer.fit(X, Y, epochs=1, batch_size=3), ArgumentError, words
    )
    refused(4, lambda trainer, rank: trainer.fit(X[:3], Y[:3], epochs=1), ArgumentError, words)
    refused(
        4, lambda trainer, rank: trainer.fit(Rows(X[:3], Y[:3]), epochs=1), ArgumentError, words
    )


def test_parts_too_small_for_a_layer():
    def program(communicator):
        trainer = trainer_of(communicator, network(BatchNorm()))
        words = (
            r"batch_size must be one that gives each rank at least 2 samples, as a layer needs "
            r"them; got a batch of 5 for 3 ranks. Choose another batch_size, or BatchNorm"
        )
        with pytest.raises(ArgumentError, match=words):
            trainer.fit(X, Y, epochs=1, batch_size=9)
        trainer.fit(X[:36], Y[:36], epochs=1, batch_size=9)

    on_ranks(3, program)


def test_an_error_on_one_rank_is_one_on_all():
    def program(communicator):
        trainer = trainer_of(communicator)
        x = X[:, :3] if communicator.rank == 1 else X
        if communicator.rank == 1:
            with pytest.raises(ShapeError, match=r"Trainer.fit: x must be of shape"):
                trainer.fit(x, Y, epochs=1)
        else:
            words = (
                r"Trainer.fit: what the ranks are given must be usable on all of them; got an "
                r"error on rank 1: ShapeError: Trainer.fit: x must be of shape"
            )
            with pytest.raises(StateError, match=words):
                trainer.fit(x, Y, epochs=1)
        trainer.fit(X, Y, epochs=1)  # nothing is left of it

    on_ranks(3, program)


@pytest.mark.parametrize("bad", [3, 20, 40])
def test_a_sample_that_is_not_finite_is_found_by_the_rank_whose_part_it_is(bad):
    x = X.copy()
    x[bad, 1] = np.nan

    def program(communicator):
        with pytest.raises((ArgumentError, StateError), match=f"got nan in sample {bad}"):
            trainer_of(communicator).evaluate(x, Y)

    on_ranks(3, program)


def test_what_is_no_communicator():
    with pytest.raises(
        ArgumentError,
        match=r"Trainer.__init__: communicator must be an instance of Communicator; got 3",
    ):
        Trainer(network(), HalfSquaredError(), SGD(0.1), communicator=3)


def test_replicas_are_fitted_one_after_the_other():
    def program(communicator):
        replicas = Replicas(lambda seed: trainer_of(communicator, network(seed=seed)), 2)
        results = replicas.fit(X, Y, epochs=2, batch_size=8)
        return str(results.engine_used), replicas.values.copy()

    (reason, values), (_, others) = on_ranks(2, program)
    assert "the trainers have other ranks to train with" in reason
    np.testing.assert_array_equal(values, others)


def test_ranks_skip_what_is_frozen_together():
    """A rank without samples, in the last batch, goes back just as far as those with some."""

    def program(communicator):
        layers = [BatchNorm(synchronized=True), Dense(4, 4, Tanh()), Dense(4, 2)]
        model = Sequential(layers, input_shape=(4,), seed=0)
        model.freeze("batchnorm_0.gamma", "batchnorm_0.beta", "dense_1")
        trainer = Trainer(model, HalfSquaredError(), SGD(0.1), seed=0, communicator=communicator)
        trainer.fit(X, Y, epochs=2, batch_size=len(X) - 2)
        return outcome(trainer)

    together = on_ranks(3, program)
    assert_same(together)
    assert_close(together[0], program(None), **ROUNDING)
