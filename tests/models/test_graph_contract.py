"""Graphs are models and layers like any other: drawn ones, against a recursion without an order."""

import copy
import itertools
import os
import pickle
import tempfile
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from vectors import assert_in_place

from layerkit import (
    SGD,
    Adam,
    Add,
    ArgumentError,
    BatchNorm,
    Concatenate,
    Dense,
    Dropout,
    Graph,
    HalfSquaredError,
    Identity,
    Join,
    Layer,
    LoadError,
    Losses,
    MeanSquaredError,
    Model,
    Multiply,
    Sequential,
    ShapeError,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
)
from layerkit.data.fields import Fields
from layerkit.testing import check_gradients, check_layer

RNG = np.random.default_rng(0)


class Switched(Join):
    """x₀ · x₁, of which the second is a mask, without a gradient."""

    def build(self, input_shape):
        return input_shape[0]

    def compute_forward(self, x, *, training):
        return x[0] * x[1], x[1]

    def compute_backward(self, dy, cache):
        return dy * cache, None


class Through(Layer):
    """A layer that hands on the very array that it is handed."""

    def compute_forward(self, x, *, training):
        return x, None

    def compute_backward(self, dy, cache):
        return dy


# Each kind of node: how it is made, from the widths of what it reads; its output and its
# gradients, from the parameters, what it reads, and dy; and how many arrays it reads.
def dense(widths):
    return Dense(widths[0], 3, Tanh())


def plain_dense(p, x):
    return np.tanh(x[0] @ p["kernel"] + p["bias"])


def plain_dense_back(p, x, dy):
    dz = dy * (1 - plain_dense(p, x) ** 2)
    return [dz @ p["kernel"].T], {"kernel": x[0].T @ dz, "bias": dz.sum(axis=0)}


def without_parameters(gradients):
    return lambda p, x, dy: (gradients(x, dy), {})


def halves(x, dy):
    return [dy[:, : x[0].shape[1]], dy[:, x[0].shape[1] :]]


KINDS = {
    "dense": (1, dense, plain_dense, plain_dense_back),
    "linear": (
        1,
        lambda widths: Dense(widths[0], 3, use_bias=False),
        lambda p, x: x[0] @ p["kernel"],
        lambda p, x, dy: ([dy @ p["kernel"].T], {"kernel": x[0].T @ dy}),
    ),
    "through": (1, lambda w: Through(), lambda p, x: x[0], without_parameters(lambda x, dy: [dy])),
    "add": (
        2,
        lambda widths: Add(),
        lambda p, x: x[0] + x[1],
        without_parameters(lambda x, dy: [dy, dy]),
    ),
    "multiply": (
        2,
        lambda widths: Multiply(),
        lambda p, x: x[0] * x[1],
        without_parameters(lambda x, dy: [dy * x[1], dy * x[0]]),
    ),
    "masked": (
        2,
        lambda widths: Switched(),
        lambda p, x: x[0] * x[1],
        without_parameters(lambda x, dy: [dy * x[1], None]),
    ),
    "concatenate": (
        2,
        lambda widths: Concatenate(),
        lambda p, x: np.concatenate(x, axis=1),
        without_parameters(halves),
    ),
}


class Plan:
    """A graph as data, and what it computes: by recursion, without an order of the nodes."""

    def __init__(self, inputs, nodes, outputs):
        self.inputs, self.nodes, self.outputs = inputs, nodes, outputs

    def __repr__(self):
        return f"Plan({self.inputs}, {self.nodes}, {self.outputs})"

    def build(self, order=None, **options):
        widths = self.widths()
        nodes = {}
        for name in order or self.nodes:
            kind, sources = self.nodes[name]
            layer = KINDS[kind][1]([widths[source] for source in sources])
            nodes[name] = (layer, sources if len(sources) > 1 else sources[0])
        shapes = {name: (width,) for name, width in self.inputs.items()}
        return Graph(shapes, nodes, self.outputs, **{"seed": 0, **options})

    def widths(self):
        widths = dict(self.inputs)
        for name, (kind, sources) in self.nodes.items():
            read = [widths[source] for source in sources]
            widths[name] = {"concatenate": sum(read), "dense": 3, "linear": 3}.get(kind, read[0])
        return widths

    def value(self, name, x, parameters):
        if name in self.inputs:
            return x[name]
        kind, sources = self.nodes[name]
        return KINDS[kind][2](parameters[name], [self.value(s, x, parameters) for s in sources])

    def gradient(self, name, x, parameters, dy):
        """The sum over the outputs that it is, and all places where it is read."""
        total = dy.get(name)
        for reader, (kind, sources) in self.nodes.items():
            if name in sources:
                above = self.gradient(reader, x, parameters, dy)
                if above is None:
                    continue
                read = [self.value(s, x, parameters) for s in sources]
                parts, _ = KINDS[kind][3](parameters[reader], read, above)
                for source, part in zip(sources, parts, strict=True):
                    if source == name and part is not None:
                        total = part if total is None else total + part
        return total

    def parameter_gradients(self, name, x, parameters, dy):
        kind, sources = self.nodes[name]
        own = self.gradient(name, x, parameters, dy)
        if own is None:
            return {inner: 0 * value for inner, value in parameters[name].items()}
        read = [self.value(s, x, parameters) for s in sources]
        return KINDS[kind][3](parameters[name], read, own)[1]


@st.composite
def plans(draw):
    inputs = {f"x{i}": draw(st.sampled_from([2, 3])) for i in range(draw(st.integers(1, 3)))}
    plan = Plan(inputs, {}, ())
    for index in range(draw(st.integers(1, 6))):
        widths = plan.widths()
        kind = draw(st.sampled_from(sorted(KINDS)))
        first = draw(st.sampled_from(sorted(widths)))
        alike = sorted(n for n in widths if widths[n] == widths[first] or kind == "concatenate")
        sources = (first, draw(st.sampled_from(alike)))[: KINDS[kind][0]]
        plan.nodes[f"n{index}"] = (kind, sources)
    read = {source for _, sources in plan.nodes.values() for source in sources}
    ends = [name for name in plan.nodes if name not in read]
    others = [name for name in plan.nodes if name in read]
    outputs = ends + (draw(st.lists(st.sampled_from(others), unique=True)) if others else [])
    plan.outputs = tuple(draw(st.permutations(outputs)))
    plan.inputs = {name: width for name, width in inputs.items() if name in read}
    return plan


def alone(arrays):
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def as_dict(arrays, names):
    return arrays if len(names) > 1 else {next(iter(names)): arrays}


def parameters_of(model, plan):
    return {name: {p.name: p.value for p in model[name].parameters} for name in plan.nodes}


@settings(max_examples=150, deadline=None)
@given(plan=plans(), data=st.data())
def test_drawn_graphs_compute_what_a_recursion_does(plan, data):
    model = plan.build(data.draw(st.permutations(list(plan.nodes))))
    assert_in_place(model)
    model.values[:] = RNG.normal(size=model.values.shape)
    parameters = parameters_of(model, plan)
    n = data.draw(st.integers(1, 4))
    x = {name: RNG.normal(size=(n, width)) for name, width in plan.inputs.items()}
    expected = {name: plan.value(name, x, parameters) for name in plan.outputs}
    for y in (model.predict(alone(x)), model.predict(x, batch_size=2), model.forward(x)):
        for name, array in as_dict(y, plan.outputs).items():
            assert_allclose(array, expected[name], rtol=1e-11, atol=1e-12)
    for _ in range(2):  # the gradients of a pass are its own
        y = as_dict(model.forward(x, training=True), plan.outputs)
        assert list(y) == list(plan.outputs)
        dy = {name: RNG.normal(size=array.shape) for name, array in y.items()}
        before = {name: array.copy() for name, array in dy.items()}
        model.grads[:] = 7  # overwritten, also where nothing flows back
        dx = as_dict(model.backward(alone(dy)), plan.inputs)
        assert list(dx) == list(plan.inputs)
        for name, array in dx.items():
            wanted = plan.gradient(name, x, parameters, dy)
            assert (array is None) == (wanted is None)
            if wanted is not None:
                assert_allclose(array, wanted, rtol=1e-9, atol=1e-11)
        for name in plan.nodes:
            wanted = plan.parameter_gradients(name, x, parameters, dy)
            for parameter in model[name].parameters:
                assert_allclose(parameter.grad, wanted[parameter.name], rtol=1e-9, atol=1e-11)
        assert all(map(np.array_equal, dy.values(), before.values()))
        # In a step of training nobody asks for dx.
        grads = model.grads.copy()
        _, cache = model.compute_forward(x, training=True)
        model.compute_backward(alone(dy), cache, need_dx=False)
        assert_array_equal(model.grads, grads)


@settings(max_examples=40, deadline=None)
@given(plan=plans())
def test_drawn_graphs_survive_copies_and_files(plan):
    model = plan.build()
    x = {name: RNG.normal(size=(3, width)) for name, width in plan.inputs.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m")
        if not any(kind in ("masked", "through") for kind, _ in plan.nodes.values()):
            model.save(path)
            loaded = Graph.load(path)
        else:
            model.save(path)
            loaded = Model.load(path, custom_objects={"Switched": Switched, "Through": Through})
    names = {"Switched": Switched, "Through": Through, **vars(__import__("layerkit"))}
    for other in (
        loaded,
        copy.copy(model),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        eval(repr(model), names),
    ):
        assert_in_place(other)
        assert repr(other) == repr(model)
        assert other.values.tobytes() == model.values.tobytes()
        assert not np.shares_memory(other.values, model.values) or not model.values.size
        assert list(other.named_parameters()) == list(model.named_parameters())
        for ours, theirs in zip(
            as_dict(model.predict(x), plan.outputs).values(),
            as_dict(other.predict(x), plan.outputs).values(),
            strict=True,
        ):
            assert_array_equal(ours, theirs)


def network(**options):
    """Two inputs, two outputs, and a layer of each kind that has something to remember."""
    dtype = options.get("dtype", "float64")
    inner = Sequential([Dense(4, 4, Tanh(), name="middle"), Dropout(0.3)], seed=1, dtype=dtype)
    return Graph(
        {"x": (3,), "mask": (4,)},
        {
            "size": (Dense(4, 1), "seen"),
            "first": (Dense(3, 4, Tanh()), "x"),
            "normed": (BatchNorm(), "first"),
            "inner": (inner, "normed"),
            "sum": (Add(), ("inner", "first")),
            "seen": (Switched(), ("sum", "mask")),
            "kind": (Dense(4, 3), "seen"),
        },
        ("kind", "size"),
        **{"seed": 0, **options},
    )


X = {"x": RNG.normal(size=(6, 3)), "mask": RNG.integers(2, size=(6, 4))}
Y = {"kind": RNG.integers(3, size=6), "size": RNG.normal(size=(6, 1))}
LOSS = Losses({"kind": SoftmaxCrossEntropy(), "size": MeanSquaredError()}, weights={"size": 0.5})
OWN = {"Switched": Switched}


def step(model, optimizer, x=X, y=Y, loss=LOSS):
    """A step of training, as a loop of one's own makes it."""
    y_pred, cache = model.compute_forward(model_batch(model, x), training=True)
    value, dy = loss.value_and_gradient(y_pred, y | {"size": y["size"].astype(model.dtype)})
    model.compute_backward(dy, cache, need_dx=False)
    optimizer.step(model.values, model.grads)
    return value


def model_batch(model, x):
    return {name: np.asarray(array, model.dtype) for name, array in x.items()}


def test_what_a_graph_says_of_itself():
    model = network(name="two")
    assert model.layer_names[0] == "first"
    assert model.layer_names[-2:] == ["size", "kind"]
    assert model.input_shape == {"x": (3,), "mask": (4,)}
    assert model.output_shape == {"kind": (3,), "size": (1,)}
    assert model.input_dtype == {"x": np.float64, "mask": np.float64}
    assert model.nodes["seen"] == (model["seen"], ("sum", "mask"))
    assert model.nodes["first"] == (model["first"], "x")
    assert model.inputs == {"x": (3,), "mask": (4,)}
    assert model.outputs == ("kind", "size")
    assert model["first"] is model.layers[0]
    assert list(model) == list(model.layers)
    assert len(model) == 7
    assert "inner.middle.kernel" in model.named_parameters()
    assert model.min_batch_size == 2
    assert model.get_state() == {}  # nothing of a graph's own is changed by training
    with pytest.raises(ArgumentError, match=r"Graph.__getitem__: name must be one of "):
        model["x"]


def test_the_order_of_nodes_changes_nothing_but_the_order_of_what_is_free():
    def reversed_network():
        model = network()
        nodes = {n: (copy.deepcopy(layer), r) for n, (layer, r) in reversed(model.nodes.items())}
        return Graph(model.inputs, nodes, model.outputs)

    other, model = reversed_network(), network()
    assert other.layer_names[-2:] == ["kind", "size"]
    y, twin = model.predict(X), other.predict(X)
    assert_array_equal(y["kind"], twin["kind"])
    assert_array_equal(y["size"], twin["size"])


def test_the_same_seed_leads_to_the_same_bytes():
    assert network().values.tobytes() == network().values.tobytes()
    assert network(seed=1).values.tobytes() != network().values.tobytes()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_graph_is_trained_and_goes_on_from_its_file(dtype, tmp_path):
    model = network(dtype=dtype)
    optimizer = Adam(0.02)
    losses = [step(model, optimizer) for _ in range(60)]
    assert losses[-1] < 0.6 * losses[0]
    assert_in_place(model)
    model["first"].bias.trainable = False
    model.save(tmp_path / "m", extra={"epochs": 60})
    loaded, extra = Graph.load_extra(tmp_path / "m", custom_objects=OWN)
    assert extra == {"epochs": 60}
    assert loaded.dtype == dtype
    assert not loaded["first"].bias.trainable
    assert_array_equal(loaded["normed"].running_mean, model["normed"].running_mean)
    first, second = Adam(0.02), Adam(0.02)
    assert [step(model, first) for _ in range(3)] == [step(loaded, second) for _ in range(3)]
    assert loaded.values.tobytes() == model.values.tobytes()
    assert all(array.dtype == dtype for array in model.predict(X).values())


def test_weights_and_dtypes():
    model = network()
    weights = model.get_weights()
    model.set_weights([2 * weight for weight in weights])
    assert_array_equal(model.values, 2 * np.concatenate([w.ravel() for w in weights]))
    narrow = model.astype("float32")
    assert_in_place(narrow)
    assert narrow.predict(X)["kind"].dtype == np.float32
    assert_allclose(narrow.predict(X)["kind"], model.predict(X)["kind"], rtol=1e-4, atol=1e-5)


def test_weights_go_to_safetensors_by_the_nodes_names(tmp_path):
    model, other = network(), network(seed=3)
    model.save_weights(tmp_path / "w")
    other.load_weights(tmp_path / "w")
    assert other.values.tobytes() == model.values.tobytes()


def test_a_single_input_or_output_may_be_an_array():
    model = Graph({"x": (3,)}, {"y": (Dense(3, 2), "x")}, "y", seed=0)
    x = RNG.normal(size=(4, 3))
    assert_array_equal(model.predict(x), model.predict({"x": x}))
    assert (model.input_shape, model.output_shape) == ((3,), (2,))
    assert model.input_dtype == np.float64
    for inputs, dy in ((x, np.ones((4, 2))), ({"x": x}, {"y": np.ones((4, 2))})):
        assert model.forward(inputs, training=True).shape == (4, 2)
        assert model.backward(dy).shape == (4, 3)
    several = Graph(
        {"x": (3,)}, {"a": (Dense(3, 2), "x"), "b": (Dense(3, 1), "x")}, ["a", "b"], seed=0
    )
    assert list(several.predict(x)) == ["a", "b"]
    assert several.predict(x, batch_size=3)["b"].shape == (4, 1)


def test_named_samples_are_read_like_a_dict():
    model = network()
    assert_array_equal(model.predict(Fields(X))["size"], model.predict(X)["size"])
    y, _ = model.compute_forward(Fields(model_batch(model, X)), training=False)
    assert_array_equal(y["size"], model.predict(X)["size"])
    model.check_layers(Fields(model_batch(model, X)))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 99])
def test_predict_by_batches(batch_size):
    model = network()
    whole, parts = model.predict(X), model.predict(X, batch_size=batch_size)
    for name in whole:
        # 1e-14: BLAS adds in another order for another batch.
        assert_allclose(parts[name], whole[name], rtol=1e-13, atol=1e-15)
    nothing = {name: array[:0] for name, array in X.items()}
    assert model.predict(nothing, batch_size=2)["kind"].shape == (0, 3)
    assert model.predict(nothing)["size"].shape == (0, 1)


def test_an_evaluation_changes_nothing_and_keeps_no_memory():
    model = network()
    before = pickle.dumps(model)
    model.predict(X)
    model.predict(X, batch_size=4)
    assert pickle.dumps(model) == before
    outputs, alive = [], []

    class Watched(Through):
        def compute_forward(self, x, *, training):
            alive.append(sum(reference() is not None for reference in outputs))
            y = x.copy()
            outputs.append(weakref.ref(y))
            return y, None

    nodes = {f"n{index}": (Watched(), f"n{index - 1}" if index else "x") for index in range(4)}
    Graph({"x": (2,)}, nodes, "n3").predict(np.ones((3, 2)))
    assert alive == [0, 1, 1, 1]  # what a node reads, and nothing older


def residual(width=4):
    return Graph(
        {"x": (width,)},
        {"change": (Dense(width, width, Tanh()), "x"), "y": (Add(), ("x", "change"))},
        "y",
    )


def test_graphs_are_layers_where_they_have_one_input_and_one_output():
    inner = residual()
    outer = Graph(
        {"x": (4,)},
        {"a": (inner, "x"), "b": (Sequential([residual(), Dense(4, 4)]), "a")},
        "b",
        seed=3,
    )
    model = Sequential([Dense(3, 4), outer, residual(), Dense(4, 2)], seed=2)
    for part in (model, model[1], model[1]["a"], model[1]["b"], model[1]["b"][0], model[1:3]):
        assert_in_place(part)
        assert np.shares_memory(part.values, model.values)
    assert "graph_1.b.graph_0.change.kernel" in model.named_parameters()
    x = RNG.normal(size=(5, 3))
    y = model[0].forward(x)
    for kernel, bias in [
        (model[1]["a"]["change"].kernel, model[1]["a"]["change"].bias),
        (model[1]["b"][0]["change"].kernel, model[1]["b"][0]["change"].bias),
    ]:
        y = y + np.tanh(y @ kernel.value + bias.value)
    y = model[1]["b"][1].forward(y)
    assert_allclose(model[1].forward(model[0].forward(x)), y, rtol=1e-12)
    copied = copy.deepcopy(model)
    assert np.shares_memory(copied[1]["a"].values, copied.values)
    check_gradients(model, x)
    history = Trainer(model, HalfSquaredError(), SGD(0.1), seed=0).fit(x, x[:, :2], epochs=20)
    assert history["loss"][-1] < history["loss"][0]
    assert_in_place(model)


def test_a_graph_passes_the_checks_of_layers():
    check_layer(residual)
    check_layer(
        lambda: Graph(
            {"x": (3,)},
            {
                "a": (Dense(3, 4, Tanh()), "x"),
                "b": (Dense(3, 4), "x"),
                "product": (Multiply(), ("a", "b")),
                "all": (Concatenate(), ("product", "x", "a")),
                "y": (Dense(11, 2), "all"),
            },
            "y",
        )
    )


def test_gradients_of_a_graph_in_one_call():
    x = RNG.normal(size=(4, 4))
    assert check_gradients(residual(), x).passed
    assert check_gradients(residual(), HalfSquaredError(), x, RNG.normal(size=(4, 4))).passed


def two_towers(**options):
    return Graph(
        {"x": (3,), "mask": (3,)},
        {
            "a": (Dense(3, 3, Tanh()), "x"),
            "seen": (Switched(), ("a", "mask")),
            "kind": (Dense(3, 3), "seen"),
            "size": (Dense(3, 1), "a"),
        },
        ("kind", "size"),
        **{"seed": 0, **options},
    )


@pytest.mark.parametrize("ties", [None, {"kind.kernel": "a.kernel.T"}])
def test_gradients_of_several_inputs_and_outputs_in_one_call(ties):
    x = {"x": RNG.normal(size=(4, 3)), "mask": RNG.integers(2, size=(4, 3))}
    y = {"kind": RNG.integers(3, size=4), "size": RNG.normal(size=(4, 1))}
    model = two_towers(ties=ties)
    assert check_gradients(model, x).passed
    assert check_gradients(model, LOSS, x, y).passed


@pytest.mark.parametrize("ties", [None, {"kind.kernel": "a.kernel.T"}])
def test_gradients_of_samples_of_several_inputs_and_outputs(ties):
    x = {"x": RNG.normal(size=(4, 3)), "mask": RNG.integers(2, size=(4, 3))}
    y = {"kind": RNG.integers(3, size=4), "size": RNG.normal(size=(4, 1))}
    model = two_towers(ties=ties)
    rows = model.per_sample_gradients(x, y, LOSS)
    for index in range(4):
        one = [{n: array[index : index + 1] for n, array in arrays.items()} for arrays in (x, y)]
        model.backward(LOSS.gradient(model.forward(one[0], training=True), one[1]))
        assert_allclose(rows[index], model.grads, rtol=1e-10, atol=1e-13)


def test_a_trace_shows_every_node():
    model = network()
    before = pickle.dumps(model)
    traced = model.trace(X, Y, LOSS)
    assert pickle.dumps(model) == before
    assert list(traced) == [
        "first", "normed", "inner.middle", "inner.dropout_1", "sum", "seen", "size", "kind",
    ]  # fmt: skip
    seen = traced["seen"]
    assert_array_equal(seen.x[0], traced["sum"].y)
    assert_array_equal(seen.x[1], X["mask"])
    assert_array_equal(seen.y, traced["sum"].y * X["mask"])
    assert_allclose(seen.dy, traced["kind"].dx + traced["size"].dx, rtol=1e-13)
    assert_array_equal(seen.dx[0], seen.dy * X["mask"])
    assert seen.dx[1] is None
    assert_allclose(traced["first"].dy, traced["normed"].dx + traced["sum"].dx[1], rtol=1e-12)
    assert_allclose(traced["first"].y, np.tanh(traced["first"].z), rtol=1e-13)
    assert traced["size"].grads["kernel"].shape == (4, 1)


def test_a_trace_of_what_no_gradient_reaches():
    model = Graph(
        {"x": (3,)},
        {"gate": (Dense(3, 3), "x"), "y": (Switched(), ("x", "gate"))},
        "y",
        seed=0,
    )
    traced = model.trace(X["x"], X["x"], HalfSquaredError())
    assert traced["gate"].dx is None
    assert not traced["gate"].dy.any()
    assert not traced["gate"].grads["kernel"].any()


def test_a_trace_without_targets():
    class Size(HalfSquaredError):
        takes_targets = False

        def value(self, y_pred, y_true):
            return super().value(y_pred, 0 * y_pred)

        def gradient(self, y_pred, y_true):
            assert y_true is None
            return super().gradient(y_pred, 0 * y_pred)

    x = RNG.normal(size=(2, 4))
    traced = residual().trace(x, None, Size())
    assert_allclose(traced["y"].dy, traced["y"].y / 2)


def test_layers_are_checked_by_name():
    class Short(Layer):
        def compute_forward(self, x, *, training):
            return x[:, :1], None

        def compute_backward(self, dy, cache):
            return dy

    model = Graph({"x": (3,)}, {"a": (Short(), "x"), "y": (Dense(3, 2), "a")}, "y")
    words = r"Short.compute_forward, in node 'a': y must be of shape \(2, 3\); got \(2, 1\)"
    with pytest.raises(ShapeError, match=words):
        model.check_layers(np.ones((2, 3)))


def test_an_error_inside_a_node_names_it():
    class Broken(Layer):
        def compute_forward(self, x, *, training):
            raise RuntimeError("no idea")

        def compute_backward(self, dy, cache):
            return dy

    model = Graph({"x": (2,)}, {"a": (Dense(2, 2), "x"), "y": (Broken(), "a")}, "y")
    for training in (False, True):
        with pytest.raises(RuntimeError, match="no idea") as caught:
            model.forward(np.ones((1, 2)), training=training)
        assert caught.value.__notes__ == ["in node 'y', Broken()"]


def test_a_refused_graph_gives_the_layers_back():
    first, second = Dense(3, 2), Dense(3, 2)
    before = [dict(vars(first)), dict(vars(second))]
    nodes = {"a": (first, "x"), "b": (second, "a"), "y": (Add(), ("a", "b"))}
    with pytest.raises(ShapeError):
        Graph({"x": (3,)}, nodes, "y")
    assert [vars(first), vars(second)] == before


class Tokens(Layer):
    """A table of rows, looked up by integers."""

    takes_integers = True

    def build(self, input_shape):
        self.table = self.add_parameter("table", (5, 2), Dense(1, 1).kernel_initializer)
        return (*input_shape, 2)

    def compute_forward(self, x, *, training):
        assert x.dtype.kind == "i"
        return self.table.value[x], x

    def compute_backward(self, dy, cache):
        self.table.grad[:] = 0
        np.add.at(self.table.grad, cache, dy)


def test_a_layer_of_integers_reads_them_whatever_the_dtype():
    model = Graph(
        {"tokens": (3,), "size": (3, 2)},
        {"words": (Tokens(), "tokens"), "y": (Add(), ("words", "size"))},
        "y",
        dtype="float32",
        seed=0,
    )
    x = {"tokens": np.array([[0, 4, 4]]), "size": np.ones((1, 3, 2))}
    assert model.input_dtype == {"tokens": np.intp, "size": np.float32}
    y = model.forward(x, training=True)
    assert_allclose(y[0, 1], 1 + model["words"].table.value[4])
    dx = model.backward(np.ones((1, 3, 2)))
    assert dx["tokens"] is None
    assert_array_equal(model["words"].table.grad[:, 0], [1, 0, 0, 0, 2])
    with pytest.raises(ArgumentError, match=r"x\['tokens'\] must be an array of integers"):
        model.predict({**x, "tokens": [[0.5, 1, 2]]})


def test_the_kinds_of_models_are_not_taken_for_each_other(tmp_path):
    residual().save(tmp_path / "g")
    Sequential([Dense(2, 2)]).save(tmp_path / "s")
    with pytest.raises(
        LoadError, match=r"a file with a Sequential; got Graph.* Write Graph.load, or Model"
    ):
        Sequential.load(tmp_path / "g")
    with pytest.raises(LoadError, match="a file with a Graph; got Sequential"):
        Graph.load(tmp_path / "s")
    assert type(Model.load(tmp_path / "g")) is Graph


def test_what_comes_out_is_the_callers():
    model = Graph({"x": (2,)}, {"a": (Through(), "x"), "b": (Through(), "x")}, ("a", "b"))
    x = np.ones((1, 2))
    for training in (False, True):
        y = model.forward(x, training=training)
        y["a"] += 1
        assert_array_equal(x, np.ones((1, 2)))
    dy = {"a": np.ones((1, 2)), "b": np.ones((1, 2))}
    model.backward(dy)[:] = 7
    assert_array_equal(dy["a"], np.ones((1, 2)))


def test_graphs_of_many_nodes():
    nodes = {"n0": (Dense(2, 2, Identity()), "x")}
    for index in range(1, 300):
        nodes[f"n{index}"] = (Dense(2, 2), f"n{index - 1}")
    shuffled = list(itertools.chain(list(nodes.items())[::2], list(nodes.items())[1::2]))
    model = Graph({"x": (2,)}, dict(shuffled[::-1]), "n299", seed=0)
    assert model.layer_names == list(nodes)
    assert_in_place(pickle.loads(pickle.dumps(model)))
