"""All replicas at once give what single fits give."""

import itertools

import numpy as np
import pytest
from hypothesis import event, given, note, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from small_fits import of_one_class

from layerkit import (
    CTC,
    ELU,
    GELU,
    SGD,
    AbsoluteError,
    Accuracy,
    Activation,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    CategoricalFocal,
    CategoricalHinge,
    Constant,
    Contrastive,
    CosineDistance,
    Dense,
    Dice,
    F1Score,
    Focal,
    GaussianNLL,
    HalfSquaredError,
    Hinge,
    Huber,
    Identity,
    KLDivergence,
    LeakyReLU,
    Lion,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Metric,
    NAdam,
    NegativeBinomial,
    NonFiniteError,
    Poisson,
    Quantile,
    R2Score,
    RAdam,
    ReLU,
    RMSprop,
    RootMeanSquaredError,
    Rprop,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SiLU,
    Softmax,
    SoftmaxCrossEntropy,
    Softplus,
    SquaredDistance,
    SquaredHinge,
    StopAt,
    Tanh,
    Trainer,
    Triplet,
    Tversky,
)
from layerkit.activations import Activation as AnyActivation
from layerkit.losses.base import BuiltInLoss
from layerkit.losses.targets import ClassLoss
from layerkit.optimizers import Optimizer
from layerkit.replicas import Replicas, batched, stacked
from layerkit.replicas.fitting import Line
from layerkit.testing.strategies import concrete


class Square(Activation):
    def value(self, z):
        return z * z / 4

    def derivative(self, z, y):
        return z / 2


class WorstError(Metric):
    def total(self, y_pred, y_true):
        # Not a sum over samples: the batches have to be the same.
        return abs(y_pred - y_true).max() * len(y_pred)


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
    Square(),
    GELU(approximate=True),
]
ACTIVATIONS += [k() for k in concrete(AnyActivation) if k not in map(type, ACTIVATIONS)]
LOSSES = [
    HalfSquaredError(),
    MeanSquaredError(),
    AbsoluteError(),
    Huber(0.5),
    LogCosh(),
    Poisson(),
    CosineDistance(0.5),  # a smaller ε makes steps of the rounding of short predictions
    SigmoidCrossEntropy(),
    SigmoidCrossEntropy(0.1),
    SoftmaxCrossEntropy(),
    SoftmaxCrossEntropy("probabilities", 0.1),
    KLDivergence(),
    Hinge(),
    SquaredHinge(),
    CategoricalHinge(),
    MeanAbsolutePercentageError(100.0),  # a smaller ε makes steps so long that rounding grows
    MeanSquaredLogarithmicError(),
    Focal(1.5, 0.3),
    CategoricalFocal(alpha=0.5),
    SigmoidCrossEntropy(pos_weight=3.0),
    Quantile(0.7),
    GaussianNLL(full=True),
    NegativeBinomial(),
    Dice(),
    Dice("indices"),
    Tversky(0.3, 0.7),
    Contrastive(),
]
OPTIMIZERS = [
    lambda rate: SGD(rate),
    lambda rate: SGD(rate, momentum=0.9, weight_decay=0.1),
    lambda rate: SGD(rate, momentum=0.8, nesterov=True),
    # By default, ε is so small that the rounding of a gradient of 0 becomes a step.
    lambda rate: Adam(rate, epsilon=1e-3),
    lambda rate: Adam(rate, epsilon=1e-3, amsgrad=True),
    lambda rate: AdamW(rate, epsilon=1e-3, weight_decay=0.1),
    lambda rate: NAdam(rate, epsilon=1e-3),
    lambda rate: RMSprop(rate, momentum=0.5, epsilon=1e-3),
    lambda rate: RMSprop(rate, epsilon=1e-3),
    lambda rate: RMSprop(rate, epsilon=1e-3, centered=True),
    lambda rate: SGD(rate, momentum=0.9, dampening=0.5),
    lambda rate: Adamax(rate, epsilon=1e-3),
    lambda rate: RAdam(rate, epsilon=1e-3),
    lambda rate: Rprop(rate),
    lambda rate: Adagrad(rate, epsilon=1e-3),
    lambda rate: Adadelta(rate, epsilon=1e-3),
    lambda rate: Lion(rate, weight_decay=0.1),
]


def targets(loss, n, n_out, rng):
    if isinstance(loss, ClassLoss):
        classes = rng.integers(n_out, size=n)
        return classes if loss.targets == "indices" else np.eye(n_out)[classes]
    if isinstance(loss, SigmoidCrossEntropy | Focal):
        return rng.integers(2, size=(n, n_out))
    if isinstance(loss, Hinge):
        return 2 * rng.integers(2, size=(n, n_out)) - 1
    if isinstance(loss, Poisson | NegativeBinomial):
        return rng.poisson(2.0, size=(n, n_out))
    if isinstance(loss, MeanSquaredLogarithmicError):
        return rng.exponential(size=(n, n_out))
    if isinstance(loss, Contrastive):
        return rng.integers(2, size=(n, 1))
    return rng.normal(size=(n, n_out))


@st.composite
def problems(draw):
    """Give what builds a trainer, the seeds, the learning rates, and the arguments of a fit."""
    widths = draw(st.lists(st.integers(1, 20), min_size=2, max_size=4))
    activations = [draw(st.sampled_from(ACTIVATIONS)) for _ in widths[1:]]
    biases = [draw(st.booleans()) for _ in widths[1:]]
    loss = draw(st.sampled_from(LOSSES))
    has_parts = isinstance(loss, Contrastive | GaussianNLL | NegativeBinomial)
    widths[-1] *= 1 + has_parts  # two outputs stand for each target
    if (
        isinstance(loss, Poisson) or has_parts
    ):  # whose gradient grows exponentially, and training may diverge
        activations[-1] = Tanh()
    metrics = [Accuracy(), SquaredDistance(), MeanAbsoluteError(), RootMeanSquaredError()]
    metrics += [WorstError(), R2Score(), F1Score()]
    if isinstance(loss, ClassLoss) and loss.targets == "indices":
        metrics = [Accuracy(), F1Score()]
    elif isinstance(loss, SigmoidCrossEntropy | Focal) and draw(st.booleans()):
        metrics[0], metrics[-1] = Accuracy(multilabel=True), F1Score(multilabel=True)
    metrics = [] if has_parts else metrics  # which compare outputs with targets one by one
    metrics = draw(st.lists(st.sampled_from(metrics), unique=True, max_size=3)) if metrics else []
    # Gradients of these losses may add up to 0 but for rounding, and Lion steps by the sign of it.
    steady = AbsoluteError | CategoricalHinge | MeanAbsolutePercentageError | Quantile
    cancels = isinstance(loss, steady | CosineDistance | Hinge | Huber)
    optimizer = draw(st.sampled_from(OPTIMIZERS[:-1] if cancels else OPTIMIZERS))
    n_replicas = draw(st.integers(1, 6))
    rates = [draw(st.sampled_from([0.0005, 0.001, 0.003])) for _ in range(n_replicas)]
    seed = draw(st.integers(0, 2**31))
    seeds = [seed + k for k in range(n_replicas)]
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, widths[0])), targets(loss, n, widths[-1] // (1 + has_parts), rng)
    y = y if isinstance(loss, Hinge) and widths[-1] == 1 else of_one_class(y, metrics)
    y = 2 * y - 1 if isinstance(loss, Hinge | CosineDistance) and y.min() == 0 else y
    arguments = {
        "epochs": draw(st.integers(0, 12)),
        "batch_size": draw(st.sampled_from([1, 2, 3, 16])),
        "shuffle": draw(st.booleans()),
        "validation_data": draw(st.sampled_from([None, (x[:3], y[:3])])),
    }
    limits = [draw(st.sampled_from([0.3, 0.7, 1.5])) for _ in seeds] if draw(st.booleans()) else []

    def build(seed, rate):
        pairs = zip(widths, widths[1:], activations, biases, strict=False)
        layers = [Dense(a, b, f, use_bias=bias) for a, b, f, bias in pairs]
        nested = layers
        if len(layers) > 2:
            nested = [layers[0], Sequential(layers[1:], seed=seed)]
        model = Sequential(nested, seed=seed)
        callbacks = [StopAt("loss", limits[seed - seeds[0]])] if limits else []
        return Trainer(
            model, loss, optimizer(rate), metrics=metrics, callbacks=callbacks, seed=seed
        )

    note(repr(build(*next(zip(seeds, rates, strict=True))).model))
    note(repr((loss, optimizer(0.1), metrics, seeds, rates)))
    event(type(loss).__name__)
    return build, seeds, rates, (x, y), arguments


def figures(history):
    return np.array([history[name] for name in history])


def assert_same(replica, single):
    """Each update rounds differently in its last digit, which is enlarged by what follows."""
    assert_allclose(replica.model.values, single.model.values, rtol=1e-12, atol=1e-12)
    assert_allclose(figures(replica.history), figures(single.history), rtol=1e-11, atol=1e-12)
    assert list(replica.history) == list(single.history)
    assert replica.optimizer.n_steps == single.optimizer.n_steps
    assert replica.optimizer.learning_rate == single.optimizer.learning_rate
    assert set(replica.optimizer.state) == set(single.optimizer.state)
    for name, state in single.optimizer.state.items():
        assert_allclose(replica.optimizer.state[name], state, rtol=1e-11, atol=1e-11)
    assert replica.rng.bit_generator.state == single.rng.bit_generator.state
    assert (replica.epoch, replica.step, replica.epochs) == (
        single.epoch,
        single.step,
        single.epochs,
    )
    assert_allclose(replica.batch_loss, single.batch_loss, rtol=1e-11, atol=1e-12)
    ours, theirs = replica.setup.position.as_tree(), single.setup.position.as_tree()
    for name in ("loss_total", "batch_loss"):
        assert_allclose(ours.pop(name), theirs.pop(name), rtol=1e-11, atol=1e-12)
    if single.epochs:  # else there is no fit to go on with
        assert_equal(ours, theirs)
    for ours, theirs in zip(replica.callbacks, single.callbacks, strict=True):
        assert vars(ours) == vars(theirs)


@given(problem=problems(), replicas_last=st.sampled_from([None, False, True]))
@settings(max_examples=250, deadline=None)
def test_the_same_as_single_fits(problem, replicas_last):
    build, seeds, rates, data, arguments = problem
    replicas = Replicas(build, seeds, rates)
    fits, usual_run = [], batched.BatchedFit.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batched.BatchedFit, "run", lambda f: (fits.append(f), usual_run(f)))
        if replicas_last is not None:
            patch.setattr(batched, "SMALL_PRODUCT", 10**9 if replicas_last else 0)
        patch.setattr(stacked, "_BLOCK", 50)
        patch.setattr(batched, "_LARGEST_RECORD", 20)
        patch.setattr(batched, "_GROUP_BYTES", 20_000)
        results = replicas.fit(*data, **arguments, engine="numpy")
    assert "all replicas are trained at once" in results.engine_used.reason
    # None was left to its single fit, which would be right whatever is wrong here.
    assert [fit.strays for fit in fits] == ([[]] if arguments["epochs"] else [])
    for k, (seed, rate) in enumerate(zip(seeds, rates, strict=True)):
        single = build(seed, rate)
        single.engine = "numpy"
        history = single.fit(*data, **arguments)
        assert_same(replicas.trainers[k], single)
        assert results.n_epochs[k] == history.n_epochs
        assert results.reached[k] == any(stop.reached for stop in single.callbacks)
        assert_allclose(replicas.grads[k], single.model.grads, rtol=1e-11, atol=1e-12)
    assert results.errors == [None] * len(seeds)


def test_all_that_is_built_in_is_tried():
    others = {kind for kind in concrete(BuiltInLoss) if not kind.takes_targets}
    others |= {CTC}  # of sequences, which rows of Dense layers have not
    assert set(concrete(BuiltInLoss)) - others == {type(loss) for loss in LOSSES}
    tried = {type(make(0.1)) for make in OPTIMIZERS}
    assert tried == set(batched._OPTIMIZERS)
    assert all(issubclass(kind, Optimizer) and kind.is_elementwise for kind in tried)


def chain(seed, rate=0.1, stop=None, *, optimizer=SGD, engine="numpy", widths=(4, 6, 2), **options):
    n_in, n_hidden, n_out = widths
    model = Sequential([Dense(n_in, n_hidden, Tanh()), Dense(n_hidden, n_out)], seed=seed)
    callbacks = [] if stop is None else [StopAt("loss", stop)]
    options.setdefault("loss", HalfSquaredError())
    loss = options.pop("loss")
    return Trainer(
        model, loss, optimizer(rate), callbacks=callbacks, seed=seed, engine=engine, **options
    )


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(10, 4)), RNG.normal(size=(10, 2)) / 3
FIT = {"epochs": 20, "batch_size": 3}


def test_a_loss_without_targets_is_left_to_single_fits():
    def build(seed):
        return chain(seed, loss=Triplet(), widths=(4, 6, 6))

    replicas = Replicas(build, 2)
    reason = replicas.fit(X, None, **FIT).engine_used.reason
    assert "the loss, Triplet(), takes no targets" in reason
    single = build(1)
    single.fit(X, **FIT)
    assert_same(replicas.trainers[1], single)


def test_in_single_precision_too():
    def build(seed, dtype=np.float32):
        layers = [Dense(4, 6, Sigmoid()), Dense(6, 2)]
        model = Sequential(layers, seed=seed, dtype=dtype)
        return Trainer(model, MeanSquaredError(), Adam(0.01), seed=seed, engine="numpy")

    replicas = Replicas(build, 3)
    replicas.fit(X, Y, **FIT)
    assert replicas.values.dtype == np.float32
    for trainer in replicas.trainers:
        single = build(replicas.trainers.index(trainer))
        single.fit(X, Y, **FIT)
        # Some hundred roundings of 6e-8.
        assert_allclose(trainer.model.values, single.model.values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", [SGD, NAdam])
def test_a_second_fit_goes_on(optimizer):
    def build(seed):
        return chain(seed, 0.02, optimizer=optimizer)

    replicas = Replicas(build, 3)
    singles = [build(seed) for seed in range(3)]
    for _ in range(2):
        replicas.fit(X, Y, **FIT)
        for single in singles:
            single.fit(X, Y, **FIT)
    for replica, single in zip(replicas.trainers, singles, strict=True):
        assert_same(replica, single)


@pytest.mark.parametrize(("optimizer", "is_at_once"), [(SGD, True), (Adam, False)])
def test_replicas_may_have_stepped_unequally_where_steps_do_not_count(optimizer, is_at_once):
    def used(seed):
        trainer = chain(seed, 0.02, optimizer=optimizer)
        trainer.fit(X, Y, **FIT | {"epochs": seed})
        return trainer

    replicas, singles = Replicas(used, 3), [used(seed) for seed in range(3)]
    reason = replicas.fit(X, Y, **FIT).engine_used.reason
    assert ("all replicas are trained at once" in reason) == is_at_once
    assert ("the replicas differ in more than their numbers" in reason) != is_at_once
    for replica, single in zip(replicas.trainers, singles, strict=True):
        single.fit(X, Y, **FIT)
        assert_same(replica, single)


def test_a_single_fit_goes_on_from_replicas():
    replicas = Replicas(lambda seed: chain(seed, optimizer=Adam), 2)
    replicas.fit(X, Y, **FIT)
    replicas.trainers[1].fit(X, Y, **FIT)
    single = chain(1, optimizer=Adam)
    for _ in range(2):
        single.fit(X, Y, **FIT)
    assert_same(replicas.trainers[1], single)


def test_a_checkpoint_of_a_replica_is_one_of_its_trainer(tmp_path):
    path = tmp_path / "run.checkpoint"
    replicas = Replicas(lambda seed: chain(seed, optimizer=Adam), 2)
    replicas.fit(X, Y, **FIT)
    replicas.trainers[1].save_checkpoint(path)
    resumed, single = chain(1, optimizer=Adam), chain(1, optimizer=Adam)
    resumed.resume(path)
    resumed.fit(X, Y, **FIT | {"epochs": 30})
    single.fit(X, Y, **FIT | {"epochs": 30})
    assert_same(resumed, single)


def test_a_replica_that_has_reached_its_goal_stays_there_if_it_is_resumed(tmp_path):
    path, arguments = tmp_path / "run.checkpoint", {"epochs": 60, "batch_size": 2}
    replicas = Replicas(lambda seed: chain(seed, 0.05, 0.12), 2)
    n_epochs = replicas.fit(X, Y, **arguments).n_epochs
    replicas.trainers[1].save_checkpoint(path)
    resumed = chain(1, 0.05, 0.12)
    resumed.resume(path)
    assert resumed.fit(X, Y, **arguments).n_epochs == n_epochs[1] < 60
    assert_array_equal(resumed.model.values, replicas.values[1])


def test_replicas_that_have_ended_leave_the_others_alone(monkeypatch):
    told = []
    monkeypatch.setattr(Line, "tell", lambda line, n_ended, epoch: told.append((n_ended, epoch)))
    stops = [0.08, 1e9, 0.15, 0.0]
    replicas = Replicas(lambda seed: chain(seed, 0.05, stops[seed]), 4)
    results = replicas.fit(X, Y, epochs=60, batch_size=2)
    assert len(set(results.n_epochs.tolist())) > 2
    assert told[-1] == (4, 60)
    assert results.reached.tolist() == (results.n_epochs < 60).tolist()
    for seed, replica in enumerate(replicas.trainers):
        single = chain(seed, 0.05, stops[seed])
        single.fit(X, Y, epochs=60, batch_size=2)
        assert_same(replica, single)


def test_figures_that_rise_to_their_goal_and_those_that_fall():
    goals = [(0.2, 1e-9), (0.99, 0.12), (-50.0, 1e-9)]

    def build(seed):
        trainer = chain(seed, 0.05, metrics=[R2Score()])
        rise, fall = goals[seed]
        stops = [StopAt("r2_score", rise), StopAt("loss", fall)]
        return Trainer(
            trainer.model,
            trainer.loss,
            trainer.optimizer,
            metrics=trainer.metrics,
            callbacks=stops,
            seed=seed,
            engine="numpy",
        )

    replicas = Replicas(build, 3)
    results = replicas.fit(X, Y, epochs=200, batch_size=2)
    assert "at once" in results.engine_used.reason
    assert results.reached.all()
    assert len(set(results.n_epochs.tolist())) == 3
    reached = [[stop.reached for stop in trainer.callbacks] for trainer in replicas.trainers]
    assert reached == [[True, False], [False, True], [True, False]]
    for seed, replica in enumerate(replicas.trainers):
        single = build(seed)
        single.fit(X, Y, epochs=200, batch_size=2)
        assert_same(replica, single)


@pytest.mark.parametrize(("figure", "goal"), [("accuracy", 1.0), ("loss", 0.5)])
def test_a_figure_that_is_just_the_goal_reaches_it(figure, goal):
    def build(seed):
        model = Sequential([Dense(4, 2, kernel_initializer=Constant(0.0))], seed=seed)
        stop = StopAt(figure, goal)
        options = {"metrics": [Accuracy()], "callbacks": [stop], "seed": seed, "engine": "numpy"}
        # Its steps are too small to change a number.
        return Trainer(model, HalfSquaredError(), SGD(1e-300), **options)

    replicas = Replicas(build, 2)
    results = replicas.fit(X, np.eye(2)[np.zeros(10, int)], epochs=3, batch_size=10)
    assert "at once" in results.engine_used.reason
    assert results.n_epochs.tolist() == [1, 1]
    assert results.reached.tolist() == [True, True]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_a_replica_that_diverges_fails_alone(shuffle, optimizer):
    rates = [0.05, 1e6, 0.02, 1e200]
    arguments = FIT | {"shuffle": shuffle}

    def build(seed, rate):
        return chain(seed, rate, optimizer=optimizer)

    replicas = Replicas(build, 4, rates)
    results = replicas.fit(X, Y, **arguments)
    failed = [error is not None for error in results.errors]
    assert failed == [False, optimizer is SGD, False, True]
    for seed, rate in enumerate(rates):
        single = build(seed, rate)
        if failed[seed]:
            with pytest.raises(NonFiniteError) as caught:
                single.fit(X, Y, **arguments)
            assert str(results.errors[seed]) == str(caught.value)
            assert type(results.errors[seed]) is NonFiniteError
        else:
            single.fit(X, Y, **arguments)
        assert np.isfinite(replicas.values[seed]).all()
        # What grows without bound enlarges the rounding, too.
        size = abs(single.model.values).max()
        assert_allclose(replicas.values[seed] / size, single.model.values / size, atol=1e-9)
        assert results.n_epochs[seed] == single.history.n_epochs
        assert replicas.trainers[seed].rng.bit_generator.state == single.rng.bit_generator.state


@pytest.mark.parametrize("optimizer", [SGD, lambda rate: SGD(rate, momentum=0.9)])
@pytest.mark.parametrize("epochs", [1, 3])
def test_an_update_that_overflows_behind_a_finite_loss_fails_alone(epochs, optimizer):
    rates, arguments = [1e-5, 1e308], {"epochs": epochs, "batch_size": 10}
    replicas = Replicas(lambda seed, rate: chain(seed, rate, optimizer=optimizer), 2, rates)
    before = replicas.values.copy()
    results = replicas.fit(X, 100 * Y, **arguments)
    single = chain(1, 1e308, optimizer=optimizer)
    with pytest.raises(NonFiniteError) as caught:
        single.fit(X, 100 * Y, **arguments)
    assert [str(error) for error in results.errors] == ["None", str(caught.value)]
    assert_array_equal(replicas.values[1], before[1])
    assert results.n_epochs.tolist() == [epochs, 0]


def test_huge_numbers_that_stay_finite_are_trained_on():
    # Their sum overflows, which is looked at more closely, and is no reason to stop.
    def build(seed):
        layer = Dense(4, 6, kernel_initializer=Constant(1e308))
        return Trainer(Sequential([layer], seed=seed), HalfSquaredError(), SGD(0.1), engine="numpy")

    x, y = np.zeros((3, 4)), np.zeros((3, 6))
    results = Replicas(build, 2).fit(x, y, epochs=3)
    assert results.errors == [None, None]
    assert results.n_epochs.tolist() == [3, 3]


class Fragile(Metric):
    def total(self, y_pred, y_true):
        if abs(y_pred).max() > 10:
            raise ValueError("too large for me")
        return 1.0


@pytest.mark.parametrize("rate", [3.0, 0.9])  # in the first epoch, and in the fourth
def test_an_error_in_a_metric_is_that_of_its_replica(rate):
    rates = [0.05, rate, 0.02]
    replicas = Replicas(lambda seed, rate: chain(seed, rate, metrics=[Fragile()]), 3, rates)
    results = replicas.fit(X, Y, **FIT)
    assert [type(error) for error in results.errors] == [type(None), ValueError, type(None)]
    for seed in range(3):
        single = chain(seed, rates[seed], metrics=[Fragile()])
        if seed == 1:
            with pytest.raises(ValueError, match="too large for me"):
                single.fit(X, Y, **FIT)
            assert single.history.n_epochs == (3 if rate < 1 else 0)
        else:
            single.fit(X, Y, **FIT)
        assert_same(replicas.trainers[seed], single)


@pytest.mark.parametrize("step", [0, 3, 4, 5])
def test_where_it_is_stopped_each_has_its_last_whole_update(step, monkeypatch):
    n_calls = itertools.count()
    usual = stacked.StackedStep.__call__

    def stop_after(self):
        usual(self)
        if next(n_calls) == 5 * 4 + step:
            fits[0].is_stopped = True

    fits = []
    usual_run = batched.BatchedFit.run
    monkeypatch.setattr(stacked.StackedStep, "__call__", stop_after)
    monkeypatch.setattr(batched.BatchedFit, "run", lambda f: (fits.append(f), usual_run(f)))
    replicas = Replicas(lambda seed: chain(seed, stop=0.0), 3)  # which is not reached
    replicas.fit(X, Y, epochs=50, batch_size=2)
    n_updates = 5 * 4 + step + 1
    for seed, trainer in enumerate(replicas.trainers):
        assert trainer.optimizer.n_steps == n_updates
        assert trainer.history.n_epochs == n_updates // 5
        single = chain(seed)
        rng = np.random.default_rng(seed)
        done = 0
        while done < n_updates:
            order = rng.permutation(10)
            for start in range(0, 10, 2):
                if done < n_updates:
                    rows = order[start : start + 2]
                    single.train_step(X[rows], Y[rows])
                    done += 1
        assert_allclose(trainer.model.values, single.model.values, rtol=1e-12, atol=1e-12)
        # Stopped at the end of an epoch, it has drawn no order for the next.
        assert trainer.rng.bit_generator.state == rng.bit_generator.state
        assert trainer.step == (n_updates % 5 or 5)
        assert trainer.setup.position.as_tree()["totals"] == []  # there are no metrics


def test_what_is_stopped_as_others_leave_has_its_own_last_loss(monkeypatch):
    n_calls = itertools.count(1)
    usual, usual_run = stacked.StackedStep.__call__, batched.BatchedFit.run
    fits = []

    def stop_after(self):
        usual(self)
        if next(n_calls) == 5:
            fits[0].is_stopped = True

    stops = [1e9, 0.0, 0.0]
    replicas = Replicas(lambda seed: chain(seed, stop=stops[seed]), 3)
    with monkeypatch.context() as patch:
        patch.setattr(stacked.StackedStep, "__call__", stop_after)
        patch.setattr(batched.BatchedFit, "run", lambda f: (fits.append(f), usual_run(f)))
        replicas.fit(X, Y, epochs=50, batch_size=2)
    for seed, trainer in enumerate(replicas.trainers):
        single = chain(seed, stop=stops[seed])
        history = single.fit(X, Y, epochs=1, batch_size=2)
        assert_allclose(trainer.history["loss"], history["loss"], rtol=1e-12)
        assert_allclose(trainer.batch_loss, single.batch_loss, rtol=1e-12)


def test_groups_that_are_stopped_before_they_begin_are_as_they_were(monkeypatch):
    def stop_after(self):
        usual(self)
        fits[0].is_stopped = True

    fits, usual, usual_run = [], stacked.StackedStep.__call__, batched.BatchedFit.run
    monkeypatch.setattr(batched, "_GROUP_BYTES", 1)  # a group each, one after the other
    replicas = Replicas(lambda seed: chain(seed, metrics=[SquaredDistance()]), 3)
    before = replicas.values.copy()
    with monkeypatch.context() as patch:
        patch.setattr(stacked.StackedStep, "__call__", stop_after)
        patch.setattr(batched.BatchedFit, "run", lambda f: (fits.append(f), usual_run(f)))
        replicas.fit(X, Y, **FIT)
    assert [trainer.optimizer.n_steps for trainer in replicas.trainers] == [1, 0, 0]
    assert_array_equal(replicas.values[1:], before[1:])
    assert [(trainer.epoch, trainer.step) for trainer in replicas.trainers] == [
        (1, 1),
        (0, 0),
        (0, 0),
    ]
    assert not any(trainer.history.n_epochs for trainer in replicas.trainers)
    replicas.fit(X, Y, **FIT)
    single = chain(2, metrics=[SquaredDistance()])
    single.fit(X, Y, **FIT)
    assert_same(replicas.trainers[2], single)


@pytest.mark.parametrize("last", [22, 24])  # in the middle of an epoch, and at its end
def test_what_is_stopped_can_be_saved_and_goes_on(last, tmp_path, monkeypatch):
    n_calls = itertools.count()
    usual, usual_run = stacked.StackedStep.__call__, batched.BatchedFit.run
    fits = []

    def stop_after(self):
        usual(self)
        if next(n_calls) == last:
            fits[0].is_stopped = True

    monkeypatch.setattr(stacked.StackedStep, "__call__", stop_after)
    monkeypatch.setattr(batched.BatchedFit, "run", lambda f: (fits.append(f), usual_run(f)))
    metrics = [SquaredDistance(), R2Score()]
    replicas = Replicas(lambda seed: chain(seed, optimizer=Adam, metrics=metrics), 2)
    replicas.fit(X, Y, epochs=12, batch_size=2)
    path = tmp_path / "run.checkpoint"
    replicas.trainers[1].save_checkpoint(path)
    resumed = chain(1, optimizer=Adam, metrics=metrics)
    resumed.resume(path)
    resumed.fit(X, Y, epochs=12, batch_size=2)
    single = chain(1, optimizer=Adam, metrics=metrics)
    single.fit(X, Y, epochs=12, batch_size=2)
    assert_same(resumed, single)


def test_the_data_is_left_alone_whatever_its_form():
    forms = [X.astype(np.float32), np.asfortranarray(X), X[::-1][::-1], X.tolist()]
    for x in forms:
        before = np.array(x).tobytes()
        replicas = Replicas(chain, 2)
        replicas.fit(x, Y, **FIT)
        single = chain(1)
        single.fit(x, Y, **FIT)
        assert_same(replicas.trainers[1], single)
        assert np.array(x).tobytes() == before
    assert_array_equal(X[::-1][::-1], X)
