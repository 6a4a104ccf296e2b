"""The one training step, against the same computed by hand."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    L2,
    LBFGS,
    SGD,
    ArgumentError,
    BatchNorm,
    ClipByGlobalNorm,
    Dense,
    Dropout,
    HalfSquaredError,
    Layer,
    Optimizer,
    ParameterGroup,
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


class Explore(Optimizer):
    """Evaluates the loss at other parameters, keeps what it found, and goes one step down."""

    needs_closure = True

    def __init__(self, learning_rate=0.1):
        self.learning_rate = learning_rate

    def update(self, values, grads, state):
        raise AssertionError("a step is made with the closure")

    def step_with(self, values, grads, loss, closure):
        self.bind(values, grads)
        self.n_steps += 1
        gradient, before = grads.copy(), values.copy()
        self.found = [(loss, gradient.copy(), values.copy())]
        for length in (0.0, 0.5, 0.0):
            values[:] = before - length * gradient
            self.found.append((closure(), grads.copy(), values.copy()))
        grads[:] = gradient
        values[:] = before - self.learning_rate * gradient


def explore(model=None, weight=None, prepare=lambda model: None, **options):
    model = model or Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=0)
    prepare(model)
    trainer = Trainer(model, HalfSquaredError(), Explore(), **options)
    loss, _ = make(trainer, weight)
    return trainer, loss, trainer.optimizer.found


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("regularizers", [[], [L2(0.1)]])
def test_a_closure_is_the_batchs_whole_loss_at_other_parameters(weight, regularizers):
    trainer, loss, found = explore(weight=weight, regularizers=regularizers)
    for value, gradient, values in found:
        other = trainer_of(regularizers=regularizers)
        other.model.values = values
        expected, _ = make(other, weight)
        assert value == pytest.approx(expected, rel=1e-14)
        assert_allclose(gradient, other.model.grads, rtol=1e-13)
    assert found[0][0] == found[1][0] == found[3][0] == loss > found[2][0]
    assert_array_equal(found[0][1], found[3][1])
    assert_allclose(trainer.model.values, found[0][2] - 0.1 * found[0][1], rtol=1e-15)
    assert_array_equal(trainer.model.grads, found[0][1])


def test_frozen_parameters_stay_as_they_are_in_a_closure_too():
    def freeze(model):
        model[0].kernel.trainable = False

    trainer, _, found = explore(prepare=freeze)
    before = trainer_of().model.values
    assert_array_equal(trainer.model.values[:12], before[:12])
    assert (trainer.model.values[12:] != before[12:]).any()
    for value, gradient, values in found:
        assert_array_equal(gradient[:12], 0)
        assert gradient[12:].any()
        model = trainer_of().model
        model.values = values
        assert_array_equal(values[:12], before[:12])
        assert value == HalfSquaredError().value(model.forward(X), Y)

    class Pushes(Explore):
        def step_with(self, values, grads, loss, closure):
            values += 1  # frozen ones as well, as a memory from before may
            assert closure() != loss
            self.frozen = values[:12].copy()

    model = trainer_of().model
    freeze(model)
    trainer = Trainer(model, HalfSquaredError(), Pushes())
    make(trainer)
    assert_array_equal(trainer.optimizer.frozen, before[:12])


def test_what_layers_learn_besides_they_learn_from_the_steps_own_pass():
    class Counts(Layer):
        def build(self, input_shape):
            self.n_passes, self.seen = np.zeros(1), [0]
            return input_shape

        def compute_forward(self, x, *, training):
            if training:
                self.n_passes += 1
                self.seen.append(len(self.seen))
            return x, None

        def compute_backward(self, dy, cache):
            return dy

    def network():
        return Sequential([Dense(3, 4), BatchNorm(), Counts(), Dense(4, 2)], seed=0)

    model, other = network(), network()
    explore(model)
    make(Trainer(other, HalfSquaredError(), SGD(0.1)))
    assert_array_equal(model[1].running_mean, other[1].running_mean)
    assert_array_equal(model[1].running_variance, other[1].running_variance)
    assert model[1].running_mean.any()
    assert (model[2].n_passes, model[2].seen) == (1, [0, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"clipping": ClipByGlobalNorm(1.0)},
            r"Trainer.__init__: clipping must be None for LBFGS\(\), which compares the batch's "
            r"loss at different parameters; got ClipByGlobalNorm\(1.0\). Use an optimizer that",
        ),
        (
            {"model": [Dense(3, 2), Sequential([Dropout(0.5)], input_shape=(2,))]},
            r"Trainer.__init__: model must be without random layers for LBFGS\(\), .*; got "
            r"Dropout\(0.5\), at 'sequential_1.dropout_0', .* or LBFGS\(line_search=None\)",
        ),
        (
            {"groups": [ParameterGroup(["dense_0"], learning_rate=1.0)]},
            "groups must be empty for an optimizer that uses all parameters together",
        ),
        (
            {"accumulate": 2},
            r"Trainer.fit: accumulate must be 1 for LBFGS\(\), which evaluates the loss of one "
            r"batch again; got 2. Or pass LBFGS\(line_search=None\)",
        ),
    ],
)
def test_what_has_no_loss_to_compare_is_refused(options, message):
    fit = {"accumulate": options.pop("accumulate", 1)}
    model = Sequential(copy.deepcopy(options.pop("model", [Dense(3, 2)])), seed=0)
    before = model.values.tobytes()
    with pytest.raises(ArgumentError, match=message):
        Trainer(model, HalfSquaredError(), LBFGS(), **options).fit(X, Y, epochs=1, **fit)
    assert model.values.tobytes() == before
    if "groups" not in options:
        optimizer = LBFGS(0.01, line_search=None)
        Trainer(model, HalfSquaredError(), optimizer, **options).fit(X, Y, epochs=1, **fit)
        assert model.values.tobytes() != before


def test_groups_and_closures_do_not_go_together():
    groups = [ParameterGroup(["dense_0"], learning_rate=1.0)]
    with pytest.raises(ArgumentError, match="groups must be empty"):
        explore(groups=groups)


def test_an_error_in_a_closure_leaves_the_parameters_as_they_were():
    passes = []

    class Breaks(Layer):
        def compute_forward(self, x, *, training):
            passes.append(training)
            if passes.count(True) == 3:
                raise KeyError("no more")
            return x, None

        def compute_backward(self, dy, cache):
            return dy

    model = Sequential([Dense(3, 2), Breaks()], seed=0)
    before = model.values.tobytes()
    # The first step evaluates more than once: its length is as small as can be.
    trainer = Trainer(model, HalfSquaredError(), LBFGS(1e-9))
    with pytest.raises(KeyError):
        trainer.train_step(X, Y)
    assert model.values.tobytes() == before


@pytest.mark.parametrize("trains", ["deepcopy", "pickle"])
def test_a_trainer_that_has_searched_can_be_copied(trains):
    trainer = Trainer(
        Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=0), HalfSquaredError(), LBFGS(), seed=0
    )
    trainer.fit(X, Y, epochs=3, batch_size=5)
    twin = copy.deepcopy(trainer) if trains == "deepcopy" else pickle.loads(pickle.dumps(trainer))
    assert twin.fit(X, Y, epochs=3)["loss"] == trainer.fit(X, Y, epochs=3)["loss"]
