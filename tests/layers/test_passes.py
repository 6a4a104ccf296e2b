import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_layers import PassOn, Scale

from layerkit import (
    Add,
    Chain,
    Dense,
    Graph,
    Maxout,
    Parallel,
    Residual,
    Sequential,
    SwiGLU,
    Tanh,
    TimeDistributed,
    go_back,
)
from layerkit.layers.passes import go_back_through, is_trained

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))


class Counts(PassOn):
    """Counts the passes back."""

    def __init__(self):
        self.asked = []

    def compute_backward(self, dy, cache, *, need_dx=True, skip_frozen=False):
        self.asked.append((need_dx, skip_frozen))
        return dy if need_dx else None


def test_only_what_a_layer_takes_is_passed_on():
    plain, counts = Scale(), Counts()
    model = Sequential([plain, counts], input_shape=(3,))
    _, cache = plain.compute_forward(X, training=True)
    assert_array_equal(go_back(plain, X, cache, need_dx=False, skip_frozen=True), 2 * X)
    assert go_back(counts, X, None, need_dx=False) is None
    go_back(counts, X, None, skip_frozen=True)
    go_back(counts, X, None)
    assert counts.asked == [(False, False), (True, True), (True, False)]
    model.freeze()
    plain.factor.grad = np.full(3, 7.0)
    assert go_back(plain, X, None, need_dx=False, skip_frozen=True) is None
    assert go_back(counts, X, None, need_dx=False, skip_frozen=True) is None
    assert len(counts.asked) == 3
    assert_array_equal(plain.factor.grad, 7)


def test_a_row_is_gone_back_through_as_far_as_something_trains():
    layers = [Dense(3, 4, Tanh()), Counts(), Dense(4, 4), Counts(), Dense(4, 2)]
    model = Sequential(layers, seed=0)
    dy = RNG.normal(size=(5, 2))
    model.compute_backward(dy, model.compute_forward(X, training=True)[1])
    full = model.grads.copy()
    layers[2].trainable = False
    layers[0].trainable = False
    layers[2].bias.trainable = True
    for layer in (layers[1], layers[3]):
        layer.asked.clear()
    model.grads.fill(0)
    _, caches = model.compute_forward(X, training=True)
    assert go_back_through(layers, dy, caches, need_dx=False, skip_frozen=True) is None
    assert caches == []
    assert layers[3].asked == [(True, True)]
    assert layers[1].asked == []
    expected = np.zeros_like(full)
    expected[-14:] = full[-14:]  # the bias before, and the last layer
    assert_array_equal(model.grads, expected)
    # Whoever reads dx has it, through all layers.
    _, caches = model.compute_forward(X, training=True)
    dx = go_back_through(layers, dy, caches, skip_frozen=True)
    assert_array_equal(model.grads[-14:], full[-14:])
    assert not layers[0].kernel.grad.any()
    model.forward(X, training=True)
    assert_array_equal(dx, model.backward(dy))


def test_workspaces_that_nobody_goes_back_through_are_used_again():
    inner = Sequential([Dense(3, 3)])
    model = Sequential([inner, Dense(3, 2)], seed=0)
    inner.trainable = False
    rooms = set()
    for _ in range(4):
        y, cache = model.compute_forward(X, training=True)
        model.compute_backward(y, cache, need_dx=False, skip_frozen=True)
        rooms.add(id(inner[0]._workspace))
        assert not inner[0]._workspace.in_use
    assert len(rooms) == 1


def joined(layer):
    nodes = {
        "before": (Dense(3, 3), "x"),
        "other": (layer, "before"),
        "sum": (Add(), ("before", "other")),
        "y": (Dense(3, 2), "sum"),
    }
    return Graph({"x": (3,)}, nodes, "y", seed=0)


MODELS = {
    "Sequential": lambda: Sequential([Dense(3, 4, Tanh()), Dense(4, 2)], seed=0),
    "nested": lambda: Sequential([Sequential([Dense(3, 3), Dense(3, 4)]), Dense(4, 2)], seed=0),
    "Chain": lambda: Sequential([Chain([Dense(3, 3), Dense(3, 3)]), Dense(3, 2)], seed=0),
    "Residual": lambda: Sequential([Residual([Dense(3, 3), Dense(3, 3)]), Dense(3, 2)], seed=0),
    "Parallel": lambda: Sequential([Parallel([Dense(3, 2), Dense(3, 2)], Add())], seed=0),
    "TimeDistributed": lambda: Sequential(
        [TimeDistributed(Dense(3, 3)), TimeDistributed(Dense(3, 2))], input_shape=(2, 3), seed=0
    ),
    "gated": lambda: Sequential([SwiGLU(3, 4, use_bias=True), Maxout(4, 2)], seed=0),
    "Graph": lambda: joined(Dense(3, 3, Tanh())),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_gradients_of_what_trains_are_the_same_whatever_is_frozen(name):
    model = MODELS[name]()
    x = RNG.normal(size=(5, *model.input_shape))
    dy = RNG.normal(size=model.predict(x).shape)
    model.forward(x, training=True)
    model.backward(dy)
    full = [parameter.grad.copy() for parameter in model.parameters]
    for pattern in range(2 ** len(full)):
        for index, parameter in enumerate(model.parameters):
            parameter.trainable = bool(pattern >> index & 1)
        model.grads.fill(0)
        _, cache = model.compute_forward(x, training=True)
        assert model.compute_backward(dy, cache, need_dx=False, skip_frozen=True) is None
        for parameter, expected in zip(model.parameters, full, strict=True):
            if parameter.trainable:
                assert_allclose(parameter.grad, expected, rtol=1e-13)
    assert is_trained(model)
    model.freeze()
    assert not is_trained(model)


def test_a_frozen_kernel_costs_no_product():
    model = Sequential([Dense(3, 2)], seed=0)
    model[0].kernel.trainable = False
    model[0].kernel.grad = np.full((3, 2), 7.0)
    y, cache = model.compute_forward(X, training=True)
    model.compute_backward(y, cache, need_dx=False, skip_frozen=True)
    assert_array_equal(model[0].kernel.grad, 7)
    assert_allclose(model[0].bias.grad, y.sum(axis=0), rtol=1e-13)


def test_nodes_of_a_graph_that_nobody_needs_are_left_out():
    counts = [Counts() for _ in range(3)]
    nodes = {
        "frozen": (Dense(3, 3), "x"),
        "a": (counts[0], "frozen"),
        "trained": (Dense(3, 3), "x"),
        "b": (counts[1], "trained"),
        "sum": (Add(), ("a", "b")),
        "c": (counts[2], "sum"),
    }
    model = Graph({"x": (3,)}, nodes, "c", seed=0)
    model.freeze("frozen")
    model["frozen"].kernel.grad = np.full((3, 3), 7.0)
    y, cache = model.compute_forward({"x": X}, training=True)
    model.compute_backward(y, cache, need_dx=False, skip_frozen=True)
    assert [len(each.asked) for each in counts] == [0, 1, 1]
    assert model["trained"].kernel.grad.any()
    assert_array_equal(model["frozen"].kernel.grad, 7)
    assert not model["frozen"]._workspace.in_use
    model.backward(np.ones_like(model.forward(X, training=True)))
    assert [len(each.asked) for each in counts] == [1, 2, 2]
    assert (model["frozen"].kernel.grad != 7).all()
