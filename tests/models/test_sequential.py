import copy
import multiprocessing
import os
import pickle
import sys
import tempfile
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from numpy.testing import assert_allclose, assert_array_equal
from vectors import assert_in_place

from layerkit import (
    SGD,
    ArgumentError,
    BatchNorm,
    Dense,
    Dropout,
    HalfSquaredError,
    Layer,
    Normal,
    ReLU,
    Sequential,
    Sigmoid,
    StateError,
    Tanh,
    Trainer,
)


@pytest.fixture
def model():
    return Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid(), name="decoder")], seed=0)


def test_same_seed_same_bytes():
    def draw(seed):
        return Sequential([Dense(4, 3), Dense(3, 2)], seed=seed).values.tobytes()

    assert draw(5) == draw(5) == draw(np.random.default_rng(5))
    assert draw(5) != draw(6)
    assert draw(None) != draw(None)


def test_drawing_leaves_numpys_global_state_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    Sequential([Dense(4, 3)])
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "astype": lambda model: model.astype(np.float64),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_packed_and_independent(model, how):
    x = np.eye(8)
    model.grads[:] = 3
    copied = COPIES[how](model)
    assert_in_place(copied)
    assert_array_equal(copied.grads, model.grads)
    assert_array_equal(copied.predict(x), model.predict(x))
    assert copied[0].kernel is copied.parameters[0]
    assert not np.shares_memory(copied.values, model.values)
    copied.values += 1
    assert not np.array_equal(copied.predict(x), model.predict(x))
    Trainer(copied, HalfSquaredError(), SGD(0.1)).fit(x, x, epochs=2)
    assert_in_place(copied)
    assert_in_place(model)
    with pytest.raises(ArgumentError):  # the copied layers are the copied model's
        Sequential([copied[0]])


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_slice_is_a_model_of_its_own(model, how):
    encoder = COPIES[how](model[:1])
    assert_in_place(encoder)
    assert encoder.values.size == 27
    encoder.values[:] = 0
    assert model.values.any()


def test_a_slice_shares_the_parameters(model):
    encoder, decoder = model[:1], model[1:]
    for part in (encoder, decoder, model[:], model[-1:]):
        assert_in_place(part)
        assert np.shares_memory(part.values, model.values)
    hidden = encoder.predict(np.eye(8))
    assert_array_equal(decoder.predict(hidden), model.predict(np.eye(8)))
    Trainer(model, HalfSquaredError(), SGD(1.0)).fit(np.eye(8), np.eye(8), epochs=1)
    assert_array_equal(encoder.values, model.values[:27])
    assert not np.array_equal(encoder.predict(np.eye(8)), hidden)


def test_training_a_slice_trains_the_model(model):
    encoder = model[:1]
    before = model.values.copy()
    x, y = np.eye(8), np.zeros((8, 3))
    Trainer(encoder, HalfSquaredError(), SGD(1.0)).fit(x, y, epochs=1)
    assert (model.values[:27] != before[:27]).any()
    assert_array_equal(model.values[27:], before[27:])


def test_nested_models_share_one_vector():
    inner = Sequential([Dense(4, 3, Tanh()), Dense(3, 3)], seed=1)
    weights, x = inner.get_weights(), np.random.default_rng(0).normal(size=(2, 4))
    alone = inner.predict(x)
    part = inner[:1]
    outer = Sequential([inner, Sequential([Dense(3, 2)], seed=2)], seed=3)
    for model in (inner, outer, outer[0], outer[1], part, outer[0][:1]):
        assert_in_place(model)
        assert np.shares_memory(model.values, outer.values)
    assert all(map(np.array_equal, inner.get_weights(), weights))
    assert_array_equal(inner.predict(x), alone)
    copied = copy.deepcopy(outer)
    assert_in_place(copied[0])
    assert np.shares_memory(copied.values, copied[0].values)


def test_nested_computes_what_flat_does():
    layers = [Dense(4, 5, Tanh()), Dense(5, 3, Sigmoid()), Dense(3, 2)]
    flat = Sequential(layers, seed=0)
    a, b, c = copy.deepcopy(layers)
    nested = Sequential([Sequential([a]), Sequential([Sequential([b]), c])])
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    assert_array_equal(nested.forward(x, training=True), flat.forward(x, training=True))
    assert_array_equal(nested.backward(dy), flat.backward(dy))
    assert_array_equal(nested.grads, flat.grads)
    assert_array_equal(nested.values, flat.values)
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    for model in (nested, flat):
        Trainer(model, HalfSquaredError(), SGD(0.1), seed=0).fit(x, y, epochs=3, batch_size=2)
    assert_array_equal(nested.values, flat.values)


def test_layers_may_be_driven_one_by_one(model):
    x = np.eye(8)
    y = model.forward(x, training=True)
    dx = model.backward(y - x)
    grads = model.grads.copy()
    model.grads[:] = 0
    for layer in model:
        x = layer.forward(x, training=True)
    assert_array_equal(x, y)
    dy = y - np.eye(8)
    for layer in reversed(list(model)):
        dy = layer.backward(dy)
    assert_array_equal(dy, dx)
    assert_array_equal(model.grads, grads)


def test_predict_by_batches(model):
    x = np.random.default_rng(0).normal(size=(10, 8))
    for batch_size in (1, 3, 10, 99):
        # 1e-15: BLAS adds in another order for another batch.
        assert_allclose(model.predict(x, batch_size=batch_size), model.predict(x), rtol=1e-14)
    assert model.predict(np.empty((0, 8)), batch_size=4).shape == (0, 8)


@pytest.mark.parametrize("data", [np.eye(8, dtype=int), np.eye(8, dtype=bool), np.eye(8).tolist()])
def test_integers_booleans_and_lists_are_cast(model, data):
    assert_array_equal(model.predict(data), model.predict(np.eye(8)))


def test_float32_models():
    model = Sequential([Dense(3, 4, Sigmoid()), Dense(4, 2)], dtype="float32", seed=0)
    assert_in_place(model)
    assert model.predict(np.ones((1, 3))).dtype == np.float32
    wide = model.astype(np.float64)
    assert_in_place(wide)
    assert_array_equal(wide.values, model.values)
    assert_allclose(wide.predict(np.ones((1, 3))), model.predict(np.ones((1, 3))), rtol=1e-6)
    assert_array_equal(wide.astype("float32").values, model.values)
    x, y = np.ones((4, 3)), np.ones((4, 2))
    history = Trainer(model, HalfSquaredError(), SGD(0.1, momentum=0.9)).fit(x, y, epochs=3)
    assert history["loss"][-1] < history["loss"][0]
    assert_in_place(model)


def test_predict_writes_nothing(model):
    model.forward(np.eye(8), training=True)

    def state(layer):
        held = {k: v for k, v in vars(layer).items() if k != "_children"}
        return [(name, id(value)) for name, value in sorted(held.items())]

    parts = [model, *model]
    before = [state(part) for part in parts], pickle.dumps(model)
    model.predict(np.ones((3, 8)))
    model.predict(np.ones((3, 8)), batch_size=2)
    assert ([state(part) for part in parts], pickle.dumps(model)) == before


def test_predict_from_many_threads_equals_one(model):
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(1 + i % 5, 8)) for i in range(40)]
    expected = [model.predict(x) for x in inputs]
    wrong = []

    def work(offset):
        for turn in range(200):
            i = (offset + turn) % len(inputs)
            if not np.array_equal(model.predict(inputs[i]), expected[i]):
                wrong.append(i)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(7 * k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert wrong == []


def test_access_by_place_and_name(model):
    assert len(model) == 2
    assert list(model) == [model[0], model[-1]]
    assert model["decoder"] is model[1]
    assert model["dense_0"] is model[0]
    assert model.layer_names == ["dense_0", "decoder"]
    assert model[np.int64(1)] is model[1]


def test_repr_reads_like_the_code(model):
    text = "Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8)], dtype='float32', seed=0, name='ae')"
    assert repr(eval(text)) == text
    long = eval(repr(Sequential([Dense(8, 8, ReLU()) for _ in range(5)], seed=1)))
    assert repr(long).splitlines()[1] == "    Dense(8, 8, ReLU()),"
    assert repr(long).endswith("], seed=1)")
    assert repr(eval(repr(long))) == repr(long)
    assert repr(model[:1]) == "Sequential([Dense(8, 3, Sigmoid())])"

    class Flip(Layer):
        def compute_forward(self, x, *, training):
            return -x, None

        def compute_backward(self, dy, cache):
            return -dy

    assert repr(Sequential([Flip()], input_shape=(3,))) == "Sequential([Flip()], input_shape=(3,))"
    assert repr(Sequential([Dense(3, 3)], input_shape=(3,))) == "Sequential([Dense(3, 3)])"


def test_a_refused_model_gives_the_layers_back():
    class Wrong(Normal):
        def __call__(self, shape, rng):
            return np.full(shape, np.nan)

    first, second = Dense(3, 2), Dense(2, 2, kernel_initializer=Wrong())
    before = [dict(vars(first)), dict(vars(second))]
    with pytest.raises(ArgumentError, match="'kernel' must be finite"):
        Sequential([first, second])
    assert [vars(first), vars(second)] == before
    assert Sequential([first, Dense(2, 1)]).predict(np.ones((1, 3))).shape == (1, 1)


def test_an_error_inside_a_layer_names_it():
    class Broken(Layer):
        def compute_forward(self, x, *, training):
            raise RuntimeError("no idea")

        def compute_backward(self, dy, cache):
            return dy

    model = Sequential([Dense(2, 2), Broken()])
    with pytest.raises(RuntimeError, match="no idea") as caught:
        model.predict(np.ones((1, 2)))
    assert caught.value.__notes__ == ["in layers[1], Broken()"]


def test_a_model_without_parameters():
    class Flip(Layer):
        def compute_forward(self, x, *, training):
            return -x, None

        def compute_backward(self, dy, cache):
            return -dy

    model = Sequential([Flip()], input_shape=(2,))
    assert model.values.shape == (0,)
    history = Trainer(model, HalfSquaredError(), SGD(1.0)).fit(
        np.ones((2, 2)), np.ones((2, 2)), epochs=1
    )
    assert history["loss"] == [4.0]


class ModelMachine(RuleBasedStateMachine):
    """Whatever is done to a model, it computes what its parameters say, and stays packed."""

    def __init__(self):
        super().__init__()
        self.model = Sequential([Dense(3, 4, Tanh()), Dense(4, 4, Sigmoid()), Dense(4, 2)], seed=0)
        self.weights = self.model.get_weights()
        self.rng = np.random.default_rng(0)
        self.x = self.grads = None
        self.has_cache = False

    def plain(self, x):
        """The model as one expression, in NumPy alone."""
        k1, b1, k2, b2, k3, b3 = self.weights
        return 1 / (1 + np.exp(-(np.tanh(x @ k1 + b1) @ k2 + b2))) @ k3 + b3

    def plain_gradients(self, x, dy):
        k1, b1, k2, b2, k3, _ = self.weights
        y1 = np.tanh(x @ k1 + b1)
        y2 = 1 / (1 + np.exp(-(y1 @ k2 + b2)))
        dz2 = dy @ k3.T * y2 * (1 - y2)
        dz1 = dz2 @ k2.T * (1 - y1**2)
        grads = [x.T @ dz1, dz1.sum(0), y1.T @ dz2, dz2.sum(0), y2.T @ dy, dy.sum(0)]
        return dz1 @ k1.T, grads

    @rule(n=st.integers(1, 4))
    def forward(self, n):
        self.x = self.rng.normal(size=(n, 3))
        self.has_cache = True
        assert_allclose(self.model.forward(self.x, training=True), self.plain(self.x), rtol=1e-12)

    @rule(n=st.integers(0, 4))
    def predict(self, n):
        x = self.rng.normal(size=(n, 3))
        assert_allclose(self.model.predict(x), self.plain(x), rtol=1e-12)

    @precondition(lambda self: self.x is not None)
    @rule()
    def backward(self):
        dy = self.rng.normal(size=(len(self.x), 2))
        dx, self.grads = self.plain_gradients(self.x, dy)
        assert_allclose(self.model.backward(dy), dx, rtol=1e-9, atol=1e-12)
        for parameter, grad in zip(self.model.parameters, self.grads, strict=True):
            assert_allclose(parameter.grad, grad, rtol=1e-9, atol=1e-12)
        self.x = None
        self.has_cache = False

    @precondition(lambda self: not self.has_cache)
    @rule()
    def backward_without_forward(self):
        with pytest.raises(StateError):
            self.model.backward(np.ones((1, 2)))

    @precondition(lambda self: self.grads is not None)
    @rule()
    def step(self):
        SGD(0.1).step(self.model.values, self.model.grads)
        self.weights = [w - 0.1 * g for w, g in zip(self.weights, self.grads, strict=True)]
        self.x = None

    @rule()
    def fit(self):
        x, y = self.rng.normal(size=(5, 3)), self.rng.normal(size=(5, 2))
        Trainer(self.model, HalfSquaredError(), SGD(0.1)).fit(x, y, epochs=1, batch_size=2)
        self.weights = self.model.get_weights()
        self.x = self.grads = None

    @rule()
    def set_weights(self):
        self.weights = [self.rng.normal(size=w.shape) for w in self.weights]
        self.model.set_weights(self.weights)
        self.x = None

    @rule(index=st.integers(0, 5))
    def assign(self, index):
        self.model.parameters[index].value += 0.5
        self.weights[index] = self.weights[index] + 0.5
        self.x = None

    @rule(how=st.sampled_from(sorted(COPIES)))
    def copied(self, how):
        self.model = COPIES[how](self.model)
        self.x = None
        self.has_cache = False

    @rule()
    def saved_and_loaded(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model")
            self.model.save(path)
            self.model = Sequential.load(path)
        self.x = self.grads = None
        self.has_cache = False

    @rule()
    def looked_into(self):
        x, y = self.rng.normal(size=(3, 3)), self.rng.normal(size=(3, 2))
        traced = self.model.trace(x, y, HalfSquaredError())
        assert_allclose(traced["dense_2"].y, self.plain(x), rtol=1e-12)
        _, grads = self.plain_gradients(x, traced["dense_2"].dy)
        assert_allclose(traced["dense_0"].grads["kernel"], grads[0], rtol=1e-9, atol=1e-12)

    @rule(cut=st.integers(1, 2))
    def sliced(self, cut):
        x = self.rng.normal(size=(2, 3))
        head, tail = self.model[:cut], self.model[cut:]
        assert_allclose(tail.predict(head.predict(x)), self.plain(x), rtol=1e-12)
        assert np.shares_memory(head.values, self.model.values)

    @invariant()
    def stays_packed(self):
        assert_in_place(self.model)
        for parameter, weight in zip(self.model.parameters, self.weights, strict=True):
            assert_allclose(parameter.value, weight, rtol=1e-12, atol=1e-14)


TestModelMachine = ModelMachine.TestCase
TestModelMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def _predict(model, x, connection):
    connection.send((model.predict(x), model[1].rng.random()))


def test_models_go_to_other_processes_by_spawn():
    model = Sequential([Dense(3, 4, Tanh()), Dropout(0.5), BatchNorm(), Dense(4, 2)], seed=0)
    x = np.random.default_rng(0).normal(size=(5, 3))
    model.forward(x, training=True)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_predict, args=(model, x, there))
    process.start()
    predicted, drawn = here.recv()
    process.join()
    np.testing.assert_array_equal(predicted, model.predict(x))
    assert drawn == model[1].rng.random()


def test_children_of_a_generator_have_streams_of_their_own():
    children = np.random.default_rng(0).spawn(3)
    models = [Sequential([Dense(3, 4), Dropout(0.5)], seed=child) for child in children]
    values = [model.values for model in models]
    masks = [model[1].rng.random(10) for model in models]
    for i in range(3):
        for j in range(i):
            assert (values[i] != values[j]).any()
            assert not np.isin(masks[i], masks[j]).any()
    # And the same ones again from the same seed.
    again = np.random.default_rng(0).spawn(3)[1]
    twin = Sequential([Dense(3, 4), Dropout(0.5)], seed=again)
    assert twin.values.tobytes() == values[1].tobytes()
