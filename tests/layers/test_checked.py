import numpy as np
import pytest
from numpy.testing import assert_array_equal
from small_layers import PassOn, Residual, Scale

from layerkit import Dense, Sequential, Sigmoid, Tanh
from layerkit.layers.base import Workspace


@pytest.fixture
def scale():
    layer = Scale()
    Sequential([layer], input_shape=(3,))
    return layer


def test_forward_and_backward_of_a_subclass(scale):
    y = scale.forward([[1, 2, 3], [4, 5, 6]], training=True)
    assert_array_equal(y, [[2, 4, 6], [8, 10, 12]])
    dx = scale.backward([[1, 1, 1], [1, 0, -1]])
    assert_array_equal(dx, [[2, 2, 2], [2, 0, -2]])
    assert_array_equal(scale.factor.grad, [5, 2, -3])


def test_backward_overwrites_the_gradient(scale):
    for _ in range(2):
        scale.forward(np.ones((2, 3)), training=True)
        scale.backward(np.ones((2, 3)))
    assert_array_equal(scale.factor.grad, [2, 2, 2])


def test_backward_goes_through_the_last_forward_of_training(scale):
    scale.forward(np.full((1, 3), 5.0), training=True)
    scale.forward(np.full((1, 3), 7.0), training=True)
    scale.forward(np.full((4, 3), 9.0))  # evaluation in between leaves the cache alone
    scale.backward(np.ones((1, 3)))
    assert_array_equal(scale.factor.grad, [7, 7, 7])


@pytest.mark.parametrize("layer", [Scale(), PassOn(), Residual(Dense(3, 3, Tanh()))])
def test_what_goes_in_and_out_belongs_to_the_caller(layer):
    model = Sequential([layer], input_shape=(3,), seed=0)
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    y = layer.forward(x, training=True)
    expected = layer.backward(dy)
    grads = model.grads.copy()
    again = layer.forward(x, training=True)
    # The caller changes everything in between; the gradients stay what they were.
    x_then = x.copy()
    x += 100
    again += 100
    assert_array_equal(layer.backward(dy), expected)
    assert_array_equal(model.grads, grads)
    evaluated = layer.forward(x_then)
    assert_array_equal(evaluated, y)
    assert not np.shares_memory(evaluated, x_then)
    assert not np.shares_memory(layer.forward(dy, training=True), dy)
    assert not np.shares_memory(layer.backward(dy), dy)


def test_results_survive_later_calls():
    layer = Dense(3, 3, Sigmoid())
    Sequential([layer], seed=0)
    rng = np.random.default_rng(0)
    y = layer.forward(rng.normal(size=(2, 3)), training=True)
    dx = layer.backward(np.ones((2, 3)))
    kept = y.copy(), dx.copy()
    layer.forward(rng.normal(size=(2, 3)), training=True)
    layer.backward(np.ones((2, 3)))
    assert_array_equal(y, kept[0])
    assert_array_equal(dx, kept[1])


@pytest.mark.parametrize("nested", [False, True])
def test_steps_of_training_in_between_leave_a_forward_pass_alone(nested):
    layers = [Dense(3, 4, Sigmoid()), Dense(4, 2, Tanh())]
    model = Sequential([Sequential(layers)] if nested else layers, seed=0)
    rng = np.random.default_rng(0)
    x, other, dy = rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 2))
    model.forward(x, training=True)
    expected, grads = model.backward(dy), model.grads.copy()
    for _ in range(2):
        model.forward(x, training=True)
        model.compute_backward(dy, model.compute_forward(other, training=True)[1])
        assert_array_equal(model.backward(dy), expected)
        assert_array_equal(model.grads, grads)


def test_dx_in_a_workspace_is_not_what_a_later_pass_writes_to():
    class Buffered(PassOn):
        def compute_forward(self, x, *, training):
            return x, self.workspace(len(x), self.allocate)

        def compute_backward(self, dy, cache):
            cache.dx[:] = dy
            cache.in_use = False
            return cache.dx

        def allocate(self, n):
            workspace = Workspace()
            workspace.dx = np.empty((n, 3))
            return workspace

    layer = Buffered()
    Sequential([layer], input_shape=(3,))
    results = []
    for number in (1.0, 2.0):
        layer.forward(np.ones((1, 3)), training=True)
        results.append(layer.backward(np.full((1, 3), number)))
    assert_array_equal(results[0], [[1, 1, 1]])


def test_a_failed_backward_leaves_the_cache(scale):
    scale.forward(np.ones((2, 3)), training=True)
    with pytest.raises(ValueError, match=r"dy must be of shape \(2, 3\)"):
        scale.backward(np.ones((1, 3)))
    assert_array_equal(scale.backward(np.ones((2, 3))), np.full((2, 3), 2.0))
