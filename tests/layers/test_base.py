import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from small_layers import PassOn, Residual, Scale

from layerkit import (
    ArgumentError,
    Dense,
    Identity,
    Layer,
    Normal,
    Sequential,
    ShapeError,
    Sigmoid,
    Softmax,
    StateError,
    Tanh,
    Zeros,
)
from layerkit.layers import dense


@pytest.fixture
def scale():
    layer = Scale()
    Sequential([layer], input_shape=(3,))
    return layer


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


class Twice(Layer):
    """y = inner(inner(x) + x) + inner(2 x): a layer that is called three times in a step."""

    def __init__(self, inner):
        self.inner = inner

    def build(self, input_shape):
        return self.add_layer(self.inner, input_shape)

    def compute_forward(self, x, *, training):
        first, cache_1 = self.inner.compute_forward(x, training=training)
        second, cache_2 = self.inner.compute_forward(first + x, training=training)
        third, cache_3 = self.inner.compute_forward(2 * x, training=training)
        return second + third, (cache_1, cache_2, cache_3)

    def compute_backward(self, dy, cache):
        total = [np.zeros(p.shape) for p in self.parameters]

        def back(dy, cache):
            dx = self.inner.compute_backward(dy, cache)
            for grad, parameter in zip(total, self.parameters, strict=True):
                grad += parameter.grad
            return dx

        dx = 2 * back(dy, cache[2])
        inner = back(dy, cache[1])
        dx = dx + inner + back(inner, cache[0])
        for grad, parameter in zip(total, self.parameters, strict=True):
            parameter.grad = grad
        return dx


ACTIVATIONS = st.sampled_from([Identity(), Sigmoid(), Tanh(), Softmax()])


@settings(deadline=None, max_examples=40)
@given(
    first=ACTIVATIONS,
    second=ACTIVATIONS,
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    nested=st.booleans(),
)
def test_a_layer_called_several_times_in_a_step(first, second, sizes, nested):
    def make_inner():
        if nested:
            return Sequential([Dense(3, 3, first), Dense(3, 3, second)], seed=1)
        return Dense(3, 3, first)

    model = Sequential([Twice(make_inner()), Dense(3, 2)], input_shape=(3,), seed=0)
    inner = model[0].inner
    # The same function without sharing: three copies, whose gradients are added.
    copies = [copy.deepcopy(inner) for _ in range(3)]
    rng = np.random.default_rng(0)
    for size in sizes:
        x, dy = rng.normal(size=(size, 3)), rng.normal(size=(size, 2))
        y, cache = model.compute_forward(x, training=True)
        a = copies[0].forward(x, training=True)
        expected = copies[1].forward(a + x, training=True) + copies[2].forward(2 * x, training=True)
        assert_allclose(y, model[1].forward(expected), rtol=1e-12)
        dx = model.compute_backward(dy, cache)
        d = dy @ model[1].kernel.value.T
        d_second = copies[1].backward(d)
        expected_dx = 2 * copies[2].backward(d) + d_second + copies[0].backward(d_second)
        # 1e-12 of numbers about 1: the sums are added up in another order.
        assert_allclose(dx, expected_dx, rtol=1e-12, atol=1e-12)
        for parameter, *others in zip(
            inner.parameters, *(layer.parameters for layer in copies), strict=True
        ):
            expected_grad = sum(other.grad for other in others)
            assert_allclose(parameter.grad, expected_grad, rtol=1e-12, atol=1e-12)


def test_dx_stays_while_the_layer_is_called_again():
    layer = Dense(3, 3, Tanh())
    Sequential([layer], seed=0)
    kept = []
    for number in (1.0, 2.0):
        _, cache = layer.compute_forward(np.full((1, 3), number), training=True)
        kept.append(layer.compute_backward(np.full((1, 3), number), cache))
    assert_array_equal(kept[0], layer_dx(layer, 1.0))
    assert_array_equal(kept[1], layer_dx(layer, 2.0))


def layer_dx(layer, number):
    layer.forward(np.full((1, 3), number), training=True)
    return layer.backward(np.full((1, 3), number))


def test_a_cache_serves_one_backward_pass():
    layer = Dense(3, 3, Tanh())
    Sequential([layer], seed=0)
    _, cache = layer.compute_forward(np.ones((1, 3)), training=True)
    layer.compute_backward(np.ones((1, 3)), cache)
    message = (
        r"Dense.compute_backward: cache must be the cache of a forward pass, once; "
        r"got one that has been used\."
    )
    with pytest.raises(StateError, match=message):
        layer.compute_backward(np.ones((1, 3)), cache)


def test_a_pass_that_was_begun_before_the_parameters_moved_leaves_no_trace():
    inner = Sequential([Dense(3, 3)], seed=0)
    _, cache = inner.compute_forward(np.ones((1, 3)), training=True)
    outer = Sequential([inner])  # the parameters move into its vectors
    inner.compute_backward(np.ones((1, 3)), cache)
    outer.grads = np.zeros(12)
    outer.compute_backward(
        np.ones((1, 3)), outer.compute_forward(np.ones((1, 3)), training=True)[1]
    )
    assert_array_equal(outer.grads, np.ones(12))


def test_batches_of_two_sizes_allocate_once_each(monkeypatch):
    layer = Dense(3, 2, Tanh())
    model = Sequential([layer, Dense(2, 1)], seed=0)
    made = []
    room = dense._Room
    monkeypatch.setattr(dense, "_Room", lambda *given: made.append(given[1]) or room(*given))
    for size in (4, 4, 2, 4, 4, 2):
        _, cache = model.compute_forward(np.ones((size, 3)), training=True)
        model.compute_backward(np.ones((size, 1)), cache)
    assert made == [4, 4, 2, 2]  # one for each of the two layers


class Embedding(Layer):
    """y = table[x]."""

    takes_integers = True

    def __init__(self, n_words, n_out, name=None):
        self.n_words, self.n_out, self.name = n_words, n_out, name

    def build(self, input_shape):
        self.table = self.add_parameter("table", (self.n_words, self.n_out), Normal())
        return (*input_shape, self.n_out)

    def compute_forward(self, x, *, training):
        assert x.dtype == np.int64
        return self.table.value[x], x

    def compute_backward(self, dy, cache):
        self.table.grad[:] = 0
        np.add.at(self.table.grad, cache, dy)


class Parity(PassOn):
    """1 for odd ids, 0 for even ones."""

    takes_integers = True

    def compute_forward(self, x, *, training):
        return (x % 2).astype(self.dtype), None

    def compute_backward(self, dy, cache):
        return None


@pytest.mark.parametrize("dtype", [np.int64, np.uint32, np.int32, ">i4", bool])
def test_integers_arrive_as_they_are(dtype):
    model = Sequential([Parity()], input_shape=(2,), dtype=np.float32)
    x = np.array([[2**24 + 1, 3], [4, 2**24 + 3]]).astype(dtype)
    expected = (x.astype(int) % 2).astype(np.float32)
    for nested in (model, Sequential([model], dtype=np.float32)):
        assert nested.takes_integers
        assert nested.input_dtype == np.int64
        assert_array_equal(nested.predict(x), expected)
        assert_array_equal(nested.predict(x, batch_size=1), expected)
        y = nested.forward(x.tolist(), training=True)
        assert y.dtype == np.float32
        assert nested.backward(np.ones((2, 2))) is None
    assert Sequential([Dense(2, 1)], dtype=np.float32).input_dtype == np.float32


@pytest.mark.parametrize("x", [[[1.0, 2.0]], [[0.5, 1.0]], np.ones((1, 2), np.float32)])
def test_fractions_are_refused_where_integers_are_taken(x):
    model = Sequential([Embedding(5, 3)], input_shape=(2,), seed=0)
    message = (
        r"Sequential.\w+: x must be an array of integers, as a layer takes them; got an array of "
        r"shape \(1, 2\) and dtype float\d\d\. Convert them: x.astype\(int\)\."
    )
    for call in (model.forward, model.predict):
        with pytest.raises(ArgumentError, match=message):
            call(x)


def test_gradients_through_an_embedding():
    model = Sequential([Embedding(5, 3), Dense(3, 2, Tanh())], input_shape=(4,), seed=0)
    x = np.array([[0, 1, 1, 4], [4, 4, 2, 0]])
    dy = np.random.default_rng(0).normal(size=(2, 4, 2))
    y = model.forward(x, training=True)
    assert model.backward(dy) is None
    d = (dy * (1 - y**2)) @ model[1].kernel.value.T
    for word in range(5):
        assert_allclose(model[0].table.grad[word], d[x == word].sum(axis=0), atol=1e-15)


def test_only_the_first_layer_takes_integers():
    message = (
        r"Sequential.__init__: layers\[1\] must be one that takes floats, which layers\[0\], "
        r"Dense\(2, 2\), gives; got .*Embedding\(5, 3\).*, which takes integers\. Put it first"
    )
    for later in (Embedding(5, 3), Sequential([Embedding(5, 3)], input_shape=(2,))):
        with pytest.raises(ArgumentError, match=message):
            Sequential([Dense(2, 2), later])


def test_a_layer_of_integers_has_no_gradient_of_them():
    class Gives(Parity):
        def compute_backward(self, dy, cache):
            return dy

    model = Sequential([Gives()], input_shape=(2,))
    model[0].forward([[1, 2]], training=True)
    with pytest.raises(
        ArgumentError, match=r"Gives.compute_backward: dx must be None, as x are integers; got"
    ):
        model[0].backward([[1.0, 1.0]])


def test_an_open_axis_takes_any_length():
    layers = [Dense(4, 3, Tanh()), Dense(3, 2)]
    model = Sequential(layers, input_shape=(None, 4), seed=0)
    assert model.input_shape == (None, 4)
    assert model[0].output_shape == (None, 3)
    assert model.output_shape == (None, 2)
    assert "(n, None, 3)" in model.summary()
    assert repr(model).endswith("input_shape=(None, 4), seed=0)")
    rng = np.random.default_rng(0)
    for length in (3, 5, 1, 3):
        x = rng.normal(size=(5, length, 4))
        y = model.predict(x)
        kernels = [layer.kernel.value for layer in model]
        assert_allclose(y, np.tanh(x @ kernels[0]) @ kernels[1], rtol=1e-12)
        assert_array_equal(model.predict(x, batch_size=2), y)
        assert_array_equal(model.forward(x, training=True), y)
        assert model.backward(np.ones(y.shape)).shape == x.shape
    assert model.predict(np.empty((0, 7, 4)), batch_size=2).shape == (0, 7, 2)
    with pytest.raises(
        ShapeError, match=r"x must be of shape \(batch_size, None, 4\); got \(2, 4\)"
    ):
        model.predict(np.ones((2, 4)))
    with pytest.raises(ShapeError, match=r"For a batch of one sample, write x\[None\]"):
        model.predict(np.ones((3, 4)))


def test_dx_has_the_length_of_x():
    class Shortens(PassOn):
        def compute_backward(self, dy, cache):
            return dy[:, 1:]

    model = Sequential([Shortens()], input_shape=(None,))
    model[0].forward(np.ones((1, 3)), training=True)
    with pytest.raises(ShapeError, match=r"dx must be of shape \(1, 3\); got \(1, 2\)"):
        model[0].backward(np.ones((1, 3)))


def test_a_parameter_has_no_open_axis():
    message = (
        r"Scale.add_parameter: shape must be without an open axis; got \(None, 2\)\. "
        r"A parameter's size can't depend on an axis whose length differs\."
    )
    with pytest.raises(ShapeError, match=message):
        Sequential([Scale()], input_shape=(None, 2))


class Two(Layer):
    def __init__(self, first, second):
        self.first, self.second = first, second

    def build(self, input_shape):
        self.offset = self.add_parameter("offset", (1,), Zeros())
        return self.add_layer(self.second, self.add_layer(self.first, input_shape))

    def compute_forward(self, x, *, training):
        raise NotImplementedError

    def compute_backward(self, dy, cache):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [("a", "a", "a"), ("offset", None, "offset"), ("dense_1", None, "dense_1")],
)
def test_a_taken_name_is_refused(first, second, taken):
    layers = [Dense(2, 2, name=first), Dense(2, 2, name=second)]
    message = (
        rf"Two.add_layer: layer must be of a name that is not taken; got Dense\(.*\), called "
        rf"'{taken}'\. Pass it another name\."
    )
    with pytest.raises(ArgumentError, match=message):
        Sequential([Two(*layers)], input_shape=(2,))


def test_a_parameter_does_not_take_the_name_of_a_layer():
    class Late(Two):
        def build(self, input_shape):
            self.add_layer(self.first, input_shape)
            self.add_parameter("a", (1,), Zeros())

    with pytest.raises(ArgumentError, match="a name that the layer does not have yet; got 'a'"):
        Sequential([Late(Dense(2, 2, name="a"), None)], input_shape=(2,))


@pytest.mark.parametrize("training", [False, True])
def test_a_layer_that_changes_its_input_is_refused(training):
    class AddsOne(PassOn):
        def compute_forward(self, x, *, training):
            x += 1
            return x, None

    model = Sequential([AddsOne()], input_shape=(2,))
    x = np.zeros((1, 2))
    with pytest.raises(ValueError, match="read-only") as error:
        model.forward(x, training=training)
    assert error.value.__notes__ == ["in layers[0], AddsOne()"]
    assert_array_equal(x, [[0, 0]])
    assert x.flags.writeable


class Centres(PassOn):
    """Has a parameter that training never changes."""

    def build(self, input_shape):
        self.mean = self.add_parameter("mean", input_shape, Zeros(), trainable=False)
        self.factor = self.add_parameter("factor", input_shape, Zeros())
        return input_shape


def test_a_layer_is_frozen_and_freed_as_a_whole():
    model = Sequential([Residual(Sequential([Dense(3, 3), Centres()])), PassOn()], input_shape=(3,))
    parameters = model.parameters
    assert [p.trainable for p in parameters] == [True, True, False, True]
    assert model.trainable
    assert model[0].trainable
    model[0].trainable = False
    assert not any(p.trainable for p in parameters)
    assert not model.trainable
    assert not model[0].inner.trainable
    model[0].inner[0].bias.trainable = True
    assert model.trainable
    assert [p.trainable for p in copy.deepcopy(model).parameters] == [False, True, False, False]
    model[0].trainable = True
    assert [p.trainable for p in parameters] == [True, True, False, True]
    again = pickle.loads(pickle.dumps(model))
    again.trainable = False
    again.trainable = True
    assert [p.trainable for p in again.parameters] == [True, True, False, True]
    assert model[1].trainable  # there is nothing in it that would not be
    with pytest.raises(ArgumentError, match=r"Dense.trainable: trainable must be True or False"):
        model[0].inner[0].trainable = None
    with pytest.raises(ArgumentError, match=r"Parameter.trainable: bias must be True or False"):
        model[0].inner[0].bias.trainable = 1


def test_a_layer_may_be_frozen_before_it_is_built():
    alone, inner = Dense(3, 3), Sequential([PassOn(), Dense(3, 3)])
    for layer in (alone, inner):
        layer.trainable = False
        assert not layer.trainable
    freed = Dense(3, 3)
    freed.trainable = False
    freed.trainable = True
    model = Sequential([alone, Residual(inner), freed])
    assert [p.trainable for p in model.parameters] == [False] * 4 + [True] * 2
    assert not model[:2].trainable
    assert "_is_frozen" not in alone.get_state()


def test_skip_frozen_is_read_from_the_signature():
    assert Dense.takes_skip_frozen
    assert not Scale.takes_skip_frozen

    class Plain(Dense):
        def compute_backward(self, dy, cache):
            return super().compute_backward(dy, cache)

    assert not Plain.takes_skip_frozen
