"""`Model.update_statistics`: over which inputs, in which order, and what stays."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import (
    Add,
    ArgumentError,
    BatchNorm,
    Chain,
    Dense,
    Dropout,
    Graph,
    Layer,
    Residual,
    Sequential,
    ShapeError,
    Standardize,
    Tanh,
    TimeDistributed,
)

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, size=(50, 4))


def chain(**options):
    layers = [BatchNorm(), Dense(4, 6, Tanh()), Dropout(0.5), BatchNorm(), Dense(6, 2)]
    return Sequential(layers, input_shape=(4,), seed=0, **options)


def figures(model):
    norms = [layer for _, layer in model.walk() if isinstance(layer, BatchNorm)]
    return [array for norm in norms for array in (norm.running_mean, norm.running_variance)]


@pytest.mark.parametrize("batch_size", [1, 7, 49, 50, 1000])
def test_each_layer_has_those_of_what_reaches_it_in_evaluation(batch_size):
    model = chain()
    model.forward(X, training=True)
    before, rng = model.values.copy(), model[2].rng.bit_generator.state
    model.update_statistics(X, batch_size=batch_size)
    # Sums of 50 numbers in another order.
    assert_allclose(model[0].running_mean, X.mean(axis=0), rtol=1e-13)
    assert_allclose(model[0].running_variance, X.var(axis=0, ddof=1), rtol=1e-13)
    hidden = model[:2].predict(X)
    assert_allclose(model[3].running_mean, hidden.mean(axis=0), rtol=1e-12)
    assert_allclose(model[3].running_variance, hidden.var(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_array_equal(model.values, before)
    assert model[2].rng.bit_generator.state == rng


def test_what_they_were_before_does_not_matter():
    model, other = chain(), chain()
    other.forward(1000 * X, training=True)
    for each in (model, other):
        each.update_statistics(X)
    for one, two in zip(figures(model), figures(other), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_single_batch_of_training_without_momentum_leaves_the_same():
    updated, trained = (Sequential([BatchNorm(0)], input_shape=(4,)) for _ in range(2))
    updated.update_statistics(X, batch_size=3)
    trained.forward(X, training=True)
    for one, two in zip(figures(updated), figures(trained), strict=True):
        assert_allclose(one, two, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_large_mean_leaves_the_variance_alone(dtype):
    x = np.arange(40.0).reshape(20, 2) + 2**20  # exact in float32 too
    model = Sequential([BatchNorm()], input_shape=(2,), dtype=dtype)
    model.update_statistics(x, batch_size=3)
    assert_allclose(model[0].running_variance, x.var(axis=0, ddof=1), rtol=1e-12)


def test_images_and_steps_count_all_places():
    x = RNG.normal(2, 3, size=(6, 3, 2, 4))
    model = Sequential([TimeDistributed(BatchNorm())], input_shape=(None, 2, 4))
    model.update_statistics(x, batch_size=4)
    mean, variance = figures(model)
    assert_allclose(mean, x.mean(axis=(0, 1, 2)), rtol=1e-12)
    assert_allclose(variance, x.var(axis=(0, 1, 2), ddof=1), rtol=1e-12)


def test_a_graph_is_gone_through_in_the_order_of_its_nodes():
    x = {"a": X, "b": RNG.normal(size=(50, 3))}
    nodes = {
        "sum": (Add(), ("norm", "dense")),
        "last": (BatchNorm(), "sum"),
        "norm": (BatchNorm(), "a"),
        "dense": (Chain([Dense(3, 4), Residual([Dense(4, 4), BatchNorm()])]), "b"),
    }
    graph = Graph({"a": (4,), "b": (3,)}, nodes, ("last", "sum"), seed=0)
    graph.update_statistics(x, batch_size=8)
    reached = graph.predict(x)["sum"]
    assert_allclose(graph["last"].running_mean, reached.mean(axis=0), rtol=1e-10, atol=1e-14)
    assert_allclose(graph["last"].running_variance, reached.var(axis=0, ddof=1), rtol=1e-10)


def test_frozen_and_other_layers_stay_as_they_are():
    model = Sequential([Standardize(), BatchNorm(), BatchNorm(), Dense(4, 1)], input_shape=(4,))
    model[0].adapt(X)
    for parameter in model[1].parameters:
        parameter.trainable = False
    before = copy.deepcopy(model[0].get_state()), figures(model)[0].copy()
    model.update_statistics(10 * X)
    np.testing.assert_equal(model[0].get_state(), before[0])
    np.testing.assert_array_equal(model[1].running_mean, before[1])
    assert_allclose(model[2].running_mean, model[:2].predict(10 * X).mean(axis=0), rtol=1e-12)


class Largest(Layer):
    """Divides by the largest number of training; a layer of one's own that keeps a statistic."""

    keeps_statistics = True

    def __init__(self):
        self.largest = 1.0

    def compute_forward(self, x, *, training):
        if training:
            self.largest = max(self.largest, float(abs(x).max()))
        return x / self.largest, self.largest

    def compute_backward(self, dy, cache):
        return dy / cache

    def compute_statistics(self, batches):
        self.largest = max(float(abs(x).max()) for x in batches)


class Twice(Layer):
    """Calls the layer inside twice in a pass."""

    def __init__(self, layer):
        self.layer = layer

    def build(self, input_shape):
        return self.add_layer(self.layer, input_shape)

    def compute_forward(self, x, *, training):
        first, one = self.layer.compute_forward(x, training=training)
        second, two = self.layer.compute_forward(x + 10, training=training)
        return first + second, (one, two)

    def compute_backward(self, dy, cache):
        two, one = (self.layer.compute_backward(dy, own) for own in reversed(cache))
        return one + two


def test_a_layer_of_ones_own_joins_in():
    model = Sequential([Largest(), BatchNorm()], input_shape=(4,))
    model.update_statistics(X, batch_size=8)
    assert model[0].largest == abs(X).max()
    assert_allclose(model[1].running_mean, X.mean(axis=0) / abs(X).max(), rtol=1e-12)


def test_one_that_is_frozen_keeps_its_own():
    model = Sequential([Largest(), BatchNorm()], input_shape=(4,))
    model[0].trainable = False
    model.update_statistics(X)
    assert model[0].largest == 1
    assert_allclose(model[1].running_mean, X.mean(axis=0), rtol=1e-12)


def test_a_layer_that_is_called_twice_has_those_of_both():
    model = Sequential([Twice(BatchNorm())], input_shape=(4,))
    model.update_statistics(X, batch_size=8)
    both = np.concatenate([X, X + 10])
    assert_allclose(model[0].layer.running_mean, both.mean(axis=0), rtol=1e-12)
    assert_allclose(model[0].layer.running_variance, both.var(axis=0, ddof=1), rtol=1e-12)


def test_a_layer_without_the_method_is_found_out():
    class Forgetful(Largest):
        compute_statistics = Layer.compute_statistics

    with pytest.raises(NotImplementedError):
        Sequential([Forgetful()], input_shape=(4,)).update_statistics(X)


def test_a_model_without_such_layers_is_left_alone():
    model = Sequential([Dense(4, 2)], seed=0)
    before = model.values.copy()
    model.update_statistics(X)
    np.testing.assert_array_equal(model.values, before)


def with_nan(x, row):
    x = x.copy()
    x[row, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("x", "batch_size", "error", "message"),
    [
        (X[:, :3], 8, ShapeError, r"Sequential.update_statistics: x must be"),
        (X[:0], 8, ArgumentError, r"x must be of at least one sample; got none"),
        (with_nan(X, 43), 8, ArgumentError, r"x must be finite; got nan in sample 43"),
        (X, 0, ArgumentError, r"Sequential.update_statistics: batch_size must be"),
        (X[:1], 8, ArgumentError, r"BatchNorm.compute_statistics: batches must be of at least 2 n"),
        (1e300 * X, 8, ArgumentError, r"compute_statistics: their mean and variance must be fin"),
    ],
)
def test_bad_input_changes_nothing(x, batch_size, error, message):
    model = chain()
    model.forward(X, training=True)
    before = [array.copy() for array in figures(model)]
    with pytest.raises(error, match=message):
        model.update_statistics(x, batch_size=batch_size)
    for one, two in zip(figures(model), before, strict=True):
        np.testing.assert_array_equal(one, two)


def test_named_inputs_are_checked_too():
    nodes = {"a": (BatchNorm(), "x"), "sum": (Add(), ("a", "z"))}
    graph = Graph({"x": (4,), "z": (4,)}, nodes, "sum")
    with pytest.raises(ArgumentError, match="z must be finite; got nan in sample 30"):
        graph.update_statistics({"x": X, "z": with_nan(X, 30)}, batch_size=8)
    with pytest.raises(ShapeError, match="z"):
        graph.update_statistics({"x": X, "z": X[:9]})
    assert not graph["a"].running_mean.any()
