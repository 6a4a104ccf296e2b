"""Models inside models: which seed decides, and what can be done before a shape is known."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from layerkit import (
    SGD,
    ArgumentError,
    BatchNorm,
    Dense,
    Dropout,
    HalfSquaredError,
    Layer,
    Normal,
    Sequential,
    ShapeError,
    StateError,
    Tanh,
    Trainer,
)


class Scale(Layer):
    def build(self, input_shape):
        self.factor = self.add_parameter("factor", input_shape[-1:], Normal())
        return input_shape

    def compute_forward(self, x, *, training):
        return x * self.factor.value, x

    def compute_backward(self, dy, cache):
        self.factor.grad = (dy * cache).reshape(-1, dy.shape[-1]).sum(axis=0)
        return dy * self.factor.value


class Wrapper(Layer):
    def __init__(self, inner):
        self.inner = inner

    def build(self, input_shape):
        return self.add_layer(self.inner, input_shape)

    def compute_forward(self, x, *, training):
        return self.inner.compute_forward(x, training=training)

    def compute_backward(self, dy, cache):
        return self.inner.compute_backward(dy, cache)


KINDS = {
    "dense": lambda: Dense(3, 3, Tanh()),
    "scale": Scale,
    "dropout": lambda: Dropout(0.5),
    "norm": BatchNorm,
}
TREES = st.recursive(
    st.sampled_from(sorted(KINDS)),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3), st.tuples(st.just("wrap"), inner)
    ),
    max_leaves=6,
)


def make(tree, dtype):
    if isinstance(tree, str):
        return KINDS[tree]()
    if isinstance(tree, tuple):
        return Wrapper(make(tree[1], dtype))
    return Sequential([make(inner, dtype) for inner in tree], dtype=dtype)


def leaves(tree):
    if isinstance(tree, str):
        return [tree]
    return [leaf for inner in tree if inner != "wrap" for leaf in leaves(inner)]


@settings(deadline=None, max_examples=60)
@given(
    trees=st.lists(TREES, min_size=1, max_size=3),
    dtype=st.sampled_from(["float32", "float64"]),
    axes=st.sampled_from([(), (5,), (2, 5)]),
)
def test_the_outer_seed_decides_whatever_the_nesting(trees, dtype, axes):
    settings = {"input_shape": (*axes, 3), "seed": 5, "dtype": dtype}
    flat = Sequential([make(leaf, dtype) for leaf in leaves(trees)], **settings)
    model = Sequential([make(tree, dtype) for tree in trees], **settings)
    assert_array_equal(model.values, flat.values)
    assert model.output_shape == (*axes, 3)
    x = np.random.default_rng(0).normal(size=(4, *axes, 3))
    # Those that are random draw alike.
    assert_array_equal(model.forward(x, training=True), flat.forward(x, training=True))


def test_a_seed_inside_decides_for_its_own_model():
    inner = Sequential([Dense(3, 2), Dense(2, 3)], seed=1)
    values = inner.values.copy()
    assert_array_equal(Sequential([Dense(3, 3), inner], seed=0)[1].values, values)
    waiting = Sequential([Scale(), Dense(3, 2)], seed=1)
    expected = Sequential([Scale(), Dense(3, 2)], input_shape=(3,), seed=1).values
    assert_array_equal(Sequential([Dense(3, 3), waiting], seed=0)[1].values, expected)


def test_what_has_changed_is_not_drawn_again(tmp_path):
    def untouched():
        return Sequential([Dense(3, 2), Dropout(0.5), Dense(2, 3)])

    fitted = untouched()
    trainer = Trainer(fitted, HalfSquaredError(), SGD(0.1), seed=0)
    trainer.train_step(np.ones((2, 3)), np.ones((2, 3)))
    one_number = untouched()
    one_number[2].bias.value[1] = 1e-300
    untouched().save(tmp_path / "m")
    models = [fitted, one_number, copy.deepcopy(untouched()), Sequential.load(tmp_path / "m")]
    for inner in models:
        values = inner.values.copy()
        for _ in range(2):  # nor when it is put into another one again
            outer = Sequential([Wrapper(inner)], input_shape=(3,), seed=0)
            assert_array_equal(outer[0].inner.values, values)
            inner = copy.deepcopy(outer[0].inner)


def test_a_nested_model_is_drawn_once():
    inner = Sequential([Dense(3, 2)])
    middle = Sequential([inner], seed=1)
    values = middle.values.copy()
    assert_array_equal(Sequential([middle], seed=2).values, values)


def test_a_model_waits_for_its_shape():
    inner = Sequential([Scale(), Dense(3, 2)])
    model = Sequential([Dense(4, 3), Wrapper(inner)], seed=0)
    assert inner.input_shape == (3,)
    assert repr(inner) == "Sequential([Scale(), Dense(3, 2)], input_shape=(3,))"
    expected = Sequential([Dense(4, 3), Scale(), Dense(3, 2)], seed=0)
    assert_array_equal(model.values, expected.values)
    assert np.shares_memory(inner.values, model.values)
    x = np.ones((2, 4))
    assert_array_equal(model.predict(x), expected.predict(x))
    open_ended = Sequential([Sequential([Scale()])], input_shape=(None, 3))
    assert open_ended[0].input_shape == (None, 3)


USES = {
    "predict": lambda model: model.predict(np.ones((1, 3))),
    "predict ": lambda model: model.predict(np.ones((1, 3)), batch_size=1),
    "forward": lambda model: model.forward(np.ones((1, 3)), training=True),
    "vectors": lambda model: model.values,
    "vectors ": lambda model: model.grads,
    "parameters": lambda model: model.get_weights(),
    "parameters ": lambda model: model.set_weights([]),
    "parameters  ": lambda model: model.summary(),
    "trace": lambda model: model.trace(np.ones((1, 3)), np.ones((1, 3)), HalfSquaredError()),
    "astype": lambda model: model.astype("float32"),
    "save": lambda model: model.save("never"),
    "save_weights": lambda model: model.save_weights("never"),
    "load_weights": lambda model: model.load_weights("never"),
    "__getitem__": lambda model: model[:1],
}


@pytest.mark.parametrize("method", USES)
@pytest.mark.parametrize(
    "make_copy", [lambda x: x, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_model_without_a_shape_says_so(method, make_copy):
    model = make_copy(Sequential([Scale()]))
    message = (
        rf"Sequential.{method.strip()}: input_shape must be known by then; got None\. "
        r"Write input_shape=\(8,\) for 8 features, or put the model into another one\."
    )
    with pytest.raises(StateError, match=message):
        USES[method](model)
    with pytest.raises(StateError):
        Trainer(model, HalfSquaredError(), SGD(0.1)).train_step(np.ones((1, 3)), np.ones((1, 3)))
    assert repr(model) == "Sequential([Scale()])"
    assert len(model) == 1
    # None of it has done harm.
    assert Sequential([model], input_shape=(3,)).predict(np.ones((1, 3))).shape == (1, 3)


def test_the_layers_of_a_waiting_model_are_its_own():
    layer = Scale()
    Sequential([layer])
    with pytest.raises(ArgumentError, match="which is part of a model already"):
        Sequential([layer], input_shape=(3,))


def test_a_waiting_model_that_does_not_fit_waits_on():
    inner = Sequential([Scale(), Dense(3, 2)])
    message = r"Sequential.build: layers\[1\] must be a layer that takes inputs of shape \(4,\)"
    with pytest.raises(ShapeError, match=message):
        Sequential([inner], input_shape=(4,))
    late = Sequential([Scale(), Dense(3, 2)])
    with pytest.raises(ShapeError, match=r"layers\[1\] must be a layer that takes inputs"):
        Sequential([late, Dense(7, 1)], input_shape=(3,))
    for model in (inner, late):
        assert model.output_shape is None
        assert Sequential([model], input_shape=(3,)).output_shape == (2,)


def test_a_first_dense_inside_computes_no_dx(monkeypatch):
    asked = []
    backward = Dense.compute_backward

    def record(self, dy, cache, *, need_dx=True):
        asked.append(need_dx)
        return backward(self, dy, cache, need_dx=need_dx)

    monkeypatch.setattr(Dense, "compute_backward", record)
    model = Sequential([Sequential([Sequential([Dense(3, 2)]), Dense(2, 2)]), Dense(2, 1)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), seed=0)
    trainer.train_step(np.ones((1, 3)), np.ones((1, 1)))
    assert asked == [True, True, False]
