import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from layerkit import Constant, Dense, Layer, Sequential, Sigmoid, StateError, Tanh


class Scale(Layer):
    """y = factor · x: written as a subclasser would, without super().__init__()."""

    def __init__(self, start=2.0):
        self.start = start

    def build(self, input_shape):
        self.factor = self.add_parameter("factor", input_shape, Constant(self.start))
        return input_shape

    def compute_forward(self, x, *, training):
        return x * self.factor.value, x

    def compute_backward(self, dy, cache):
        self.factor.grad = (dy * cache).sum(axis=0)
        return dy * self.factor.value


class Residual(Layer):
    """y = x + inner(x): a layer around another."""

    def __init__(self, inner):
        self.inner = inner

    def build(self, input_shape):
        return self.add_layer(self.inner, input_shape)

    def compute_forward(self, x, *, training):
        y, cache = self.inner.compute_forward(x, training=training)
        return x + y, cache

    def compute_backward(self, dy, cache):
        return dy + self.inner.compute_backward(dy, cache)


class PassOn(Layer):
    """y is x, the very same array."""

    def compute_forward(self, x, *, training):
        return x, None

    def compute_backward(self, dy, cache):
        return dy


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


def test_dx_in_a_workspace_is_the_callers_all_the_same():
    class Buffered(PassOn):
        def compute_backward(self, dy, cache):
            dx = self.workspace(len(dy), lambda n: np.empty((n, 3)))
            dx[:] = dy
            return dx

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


@pytest.mark.parametrize(
    "make_copy", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_has_parameters_of_its_own_and_no_cache(make_copy, scale):
    scale.forward(np.ones((1, 3)), training=True)
    copied = make_copy(scale)
    copied.factor.value += 1
    assert_array_equal(scale.factor.value, [2, 2, 2])
    with pytest.raises(StateError):
        copied.backward(np.ones((1, 3)))
    # It works alone, and keeps its parameters in a model of its own.
    assert_array_equal(copied.forward([[1, 1, 1]]), [[3, 3, 3]])
    assert_array_equal(Sequential([copied]).predict([[1, 1, 1]]), [[3, 3, 3]])


def test_a_wrapping_layer_has_the_parameters_inside():
    inner = Dense(3, 3, Tanh())
    model = Sequential([Residual(inner), Dense(3, 1)], input_shape=(3,), seed=0)
    assert [p.name for p in model[0].parameters] == ["kernel", "bias"]
    assert model.values.size == 12 + 4
    assert np.shares_memory(inner.kernel.value, model.values)
    copied = copy.deepcopy(model)
    assert np.shares_memory(copied[0].inner.kernel.value, copied.values)
    assert not np.shares_memory(copied.values, model.values)


def test_add_parameter_draws_from_the_models_seed():
    class Noise(Scale):
        def build(self, input_shape):
            from layerkit import Normal

            self.factor = self.add_parameter("factor", input_shape, Normal())
            return input_shape

    def draw(seed):
        return Sequential([Noise()], input_shape=(3,), seed=seed).values

    assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).all()


def test_workspace_is_kept_for_a_batch_size_and_forgotten_by_forward(scale):
    made = []

    def allocate(batch_size):
        made.append(batch_size)
        return np.empty(batch_size)

    first = scale.workspace(4, allocate)
    assert scale.workspace(4, allocate) is first
    scale.workspace(3, allocate)
    assert made == [4, 3]
    scale.forward(np.ones((3, 3)))
    scale.workspace(3, allocate)
    assert made == [4, 3]
    scale.forward(np.ones((3, 3)), training=True)
    scale.workspace(3, allocate)
    assert made == [4, 3, 3]
    scale.forget_workspace()
    scale.workspace(3, allocate)
    assert made == [4, 3, 3, 3]


def test_need_dx_is_read_from_the_signature():
    class Without(Dense):
        def compute_backward(self, dy, cache):
            return super().compute_backward(dy, cache)

    assert Dense.takes_need_dx
    assert not Without.takes_need_dx
    assert not Scale.takes_need_dx


def test_repr_reads_like_the_code():
    assert repr(Residual(Dense(3, 3, Tanh()))) == "Residual(Dense(3, 3, Tanh()))"
    assert repr(Scale(3.0)) == "Scale(3.0)"
    assert repr(Scale()) == "Scale()"
