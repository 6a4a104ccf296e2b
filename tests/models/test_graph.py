import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    Add,
    ArgumentError,
    Concatenate,
    Dense,
    Dropout,
    Graph,
    HalfSquaredError,
    Join,
    Layer,
    Model,
    Multiply,
    Normal,
    Sequential,
    ShapeError,
    Sigmoid,
    StateError,
    Tanh,
)
from layerkit.testing import numeric_gradient


class Lookup(Layer):
    """Rows of a table, by number."""

    takes_integers = True

    def build(self, input_shape):
        self.table = self.add_parameter("table", (5, 3), Normal(1.0))
        return (*input_shape, 3)

    def compute_forward(self, x, *, training):
        return self.table.value[x], x

    def compute_backward(self, dy, cache):
        self.table.grad[...] = 0
        np.add.at(self.table.grad, cache, dy)


class Switched(Join):
    """x · mask, without a gradient for the mask."""

    def build(self, input_shapes):
        return input_shapes[0]

    def compute_forward(self, x, *, training):
        return x[0] * x[1], x[1]

    def compute_backward(self, dy, cache):
        return dy * cache, None


def two_heads(**options):
    """Nodes in the wrong order, an input that two nodes read, and an output that is read too."""
    return Graph(
        {"image": (4,), "place": (2,)},
        {
            "size": (Dense(5, 1), "both"),
            "kind": (Dense(1, 2, Tanh()), "size"),
            "both": (Concatenate(), ("seen", "place")),
            "seen": (Add(), ("left", "right")),
            "left": (Dense(4, 3, Tanh()), "image"),
            "right": (Dense(4, 3, Sigmoid()), "image"),
        },
        ("kind", "size"),
        **{"seed": 0, **options},
    )


def batch(n=5):
    rng = np.random.default_rng(1)
    return {"image": rng.normal(size=(n, 4)), "place": rng.normal(size=(n, 2))}


def by_hand(model, x):
    def dense(name, value):
        layer = model[name]
        return value @ layer.kernel.value + layer.bias.value

    seen = np.tanh(dense("left", x["image"])) + 1 / (1 + np.exp(-dense("right", x["image"])))
    size = dense("size", np.concatenate([seen, x["place"]], axis=1))
    return {"kind": np.tanh(dense("kind", size)), "size": size}


def test_outputs_as_by_hand():
    model, x = two_heads(), batch()
    y = model.predict(x)
    assert list(y) == ["kind", "size"]
    for name, expected in by_hand(model, x).items():
        assert_allclose(y[name], expected, rtol=1e-13)  # a few roundings
    for size in (1, 2, 5, 9):
        for name, part in model.predict(x, size).items():
            assert_allclose(part, y[name], rtol=1e-13)
    assert model.predict(batch(0), 3)["kind"].shape == (0, 2)
    assert model.order == ("left", "right", "seen", "both", "size", "kind")
    assert model.input_shape == {"image": (4,), "place": (2,)}
    assert model.output_shape == {"kind": (2,), "size": (1,)}


def test_gradients_of_parameters_and_inputs():
    model, x = two_heads(), batch()
    rng = np.random.default_rng(2)
    model.values += rng.normal(size=model.values.shape)
    dy = {"kind": rng.normal(size=(5, 2)), "size": rng.normal(size=(5, 1))}

    def total():
        return sum((by_hand(model, x)[name] * dy[name]).sum() for name in dy)

    model.forward(x, training=True)
    model.grads = np.full(model.grads.shape, 7.0)  # overwritten, not added to
    dx = model.backward(dy)
    # Central differences: about 1e-9 of the sums, which are of size 1 to 100.
    for array, gradient in [
        *((p.value, p.grad) for p in model.parameters),
        *((x[name], dx[name]) for name in x),
    ]:
        assert_allclose(gradient, numeric_gradient(total, array).value, rtol=1e-6, atol=1e-7)


def test_need_dx_changes_no_parameter_gradient():
    model, x = two_heads(), batch()
    y, cache = model.compute_forward(x, training=True)
    assert set(model.compute_backward(y, cache)) == {"image", "place"}
    grads = model.grads.copy()
    y, cache = model.compute_forward(x, training=True)
    assert model.compute_backward(y, cache, need_dx=False) is None
    assert_array_equal(model.grads, grads)


@st.composite
def chains(draw):
    """Draw what each node reads, among the input x and the nodes before it, and its kind."""
    n_nodes = draw(st.integers(1, 6))
    nodes, unread = [], {"x"}
    for index in range(n_nodes):
        known = ["x", *(name for name, _, _ in nodes)]
        kind = draw(st.sampled_from(["dense", "add", "multiply"]))
        n_read = 1 if kind == "dense" else draw(st.integers(1, 3))
        reads = [draw(st.sampled_from(known)) for _ in range(n_read)]
        unread.difference_update(reads)
        unread.add(f"n{index}")
        nodes.append((f"n{index}", kind, reads))
    nodes.append(("y", "add", sorted(unread)))  # so that everything is in use
    return nodes, draw(st.permutations(nodes))


@given(chains(), st.integers(0, 2**16))
def test_drawn_graphs_as_by_hand(drawn, seed):
    nodes, shuffled = drawn
    kinds = {"dense": lambda: Dense(2, 2, Tanh()), "add": Add, "multiply": Multiply}
    model = Graph(
        {"x": (2,)},
        {name: (kinds[kind](), tuple(reads)) for name, kind, reads in shuffled},
        "y",
        seed=seed,
    )
    x = np.random.default_rng(seed).uniform(-1, 1, (3, 2))

    def values():
        known = {"x": x}
        for name, kind, reads in nodes:
            own = [known[read] for read in reads]
            if kind == "dense":
                layer = model[name]
                known[name] = np.tanh(own[0] @ layer.kernel.value + layer.bias.value)
            else:
                known[name] = np.sum(own, axis=0) if kind == "add" else np.prod(own, axis=0)
        return known["y"]

    y = model.forward(x, training=True)
    assert_allclose(y, values(), rtol=1e-9, atol=1e-9)
    dy = np.random.default_rng(seed + 1).uniform(0.5, 1.5, y.shape)
    dx = model.backward(dy)
    for array, gradient in [(x, dx), *((p.value, p.grad) for p in model.parameters)]:
        numeric = numeric_gradient(lambda: (values() * dy).sum(), array)
        # What rounding and curvature do to the differences is measured with them.
        allowed = numeric.error + 1e-7 * (1 + np.abs(numeric.value).max(initial=0))
        assert (np.abs(gradient - numeric.value) <= allowed).all()


def test_a_chain_is_a_sequential_to_the_bit():
    def layers():
        return [Dense(3, 4, Tanh()), Dropout(0.5), Dense(4, 2)]

    row = Sequential(layers(), input_shape=(3,), seed=3)
    first, drop, last = layers()
    nodes = {"c": (last, "b"), "a": (first, "x"), "b": (drop, "a")}
    graph = Graph({"x": (3,)}, nodes, "c", seed=3)
    assert_array_equal(graph.values, row.values)
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert_array_equal(graph.forward(x, training=True), row.forward(x, training=True))
    dy = np.ones((4, 2))
    assert_array_equal(graph.backward({"c": dy}), row.backward(dy))
    assert_array_equal(graph.grads, row.grads)


def test_graphs_and_rows_nest():
    inner = Graph(
        {"x": (3,)}, {"a": (Dense(3, 3, Tanh()), "x"), "y": (Add(), ("x", "a"))}, "y", seed=1
    )
    row = Sequential([Dense(2, 3), inner, Dense(3, 1)], seed=2)
    outer = Graph({"x": (2,)}, {"row": (row, "x"), "y": (Add(), ("row", "row"))}, "y")
    assert [*outer.named_parameters()][2:4] == [
        "row.graph_1.a.kernel",
        "row.graph_1.a.bias",
    ]
    x = np.random.default_rng(0).normal(size=(4, 2))
    hidden = x @ row[0].kernel.value + row[0].bias.value
    hidden = hidden + np.tanh(hidden @ inner["a"].kernel.value + inner["a"].bias.value)
    expected = 2 * (hidden @ row[2].kernel.value + row[2].bias.value)
    assert_allclose(outer.predict(x), expected, rtol=1e-12)
    outer.forward(x, training=True)
    outer.backward(np.ones((4, 1)))
    numeric = numeric_gradient(lambda: outer.predict(x).sum(), outer.values).value
    assert_allclose(outer.grads, numeric, rtol=1e-6, atol=1e-8)
    assert np.shares_memory(inner["a"].kernel.value, outer.values)


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "astype": lambda model: model.astype(np.float64),
}


@pytest.mark.parametrize("how", [*COPIES, "file"])
def test_a_copy_computes_the_same_and_shares_nothing(how, tmp_path):
    model, x = two_heads(), batch()
    model.values += 1
    model["left"].kernel.trainable = False
    if how == "file":
        model.save(tmp_path / "m")
        copied = Graph.load(tmp_path / "m")
    else:
        copied = COPIES[how](model)
    assert repr(copied) == repr(model)
    assert copied.order == model.order
    assert not copied["left"].kernel.trainable
    for name, expected in model.predict(x).items():
        assert_array_equal(copied.predict(x)[name], expected)
    start = 0
    for parameter in copied.parameters:
        assert np.shares_memory(parameter.value, copied.values[start : start + parameter.size])
        assert np.shares_memory(parameter.grad, copied.grads[start : start + parameter.size])
        start += parameter.size
    assert start == copied.values.size
    copied.values[:] = 0
    assert model.values.all()


def test_float32_and_weights():
    model, x = two_heads().astype(np.float32), batch()
    assert {y.dtype for y in model.predict(x).values()} == {np.dtype(np.float32)}
    weights = [np.full_like(weight, 2) for weight in model.get_weights()]
    model.set_weights(weights)
    assert (model.values == 2).all()


def test_integers_and_a_mask():
    model = Graph(
        {"tokens": (4,), "mask": (4, 3)},
        {"words": (Lookup(), "tokens"), "seen": (Switched(), ("words", "mask"))},
        "seen",
        dtype=np.float32,
        seed=0,
    )
    tokens, mask = np.array([[0, 4, 1, 1]]), np.ones((1, 4, 3))
    mask[0, 1] = 0
    y = model.forward({"tokens": tokens, "mask": mask}, training=True)
    assert_array_equal(y, model["words"].table.value[tokens] * mask)
    assert model.backward(np.ones((1, 4, 3))) == {"tokens": None, "mask": None}
    assert_array_equal(model["words"].table.grad[:, 0], [1, 2, 0, 0, 0])
    with pytest.raises(ArgumentError, match=r"^Graph.predict|^Graph.forward: x\['tokens'\] .* int"):
        model.predict({"tokens": tokens * 1.0, "mask": mask})


def test_parameters_that_no_gradient_reaches_get_zeros():
    nodes = {"gate": (Dense(2, 2), "x"), "y": (Switched(), ("x", "gate"))}
    model = Graph({"x": (2,)}, nodes, "y", seed=0)
    for _ in range(3):
        model.forward(np.ones((3, 2)), training=True)
        model.grads = np.ones(model.grads.shape)
        dx = model.backward(np.ones((3, 2)))
        assert not model.grads.any()
    assert_allclose(dx, model["gate"].forward(np.ones((3, 2))))


def test_trace_names_what_each_node_computes():
    nodes = {"a": (Dense(2, 3, Tanh()), "x"), "y": (Concatenate(), ("a", "x"))}
    model = Graph({"x": (2,)}, nodes, "y", seed=0)
    x = np.ones((4, 2))
    traced = model.trace(x, np.zeros((4, 5)), HalfSquaredError())
    assert list(traced) == ["a", "y"]
    assert_array_equal(traced["y"].x[0], traced["a"].y)
    assert_array_equal(traced["y"].dx[0], traced["a"].dy)
    assert_array_equal(traced["y"].y, model.predict(x))


def test_the_repr_makes_the_same_model():
    model = two_heads(dtype="float32", name="heads")
    again = eval(repr(model))
    assert_array_equal(again.values, model.values)
    assert repr(again) == repr(model)


def test_layers_by_name():
    model = two_heads()
    assert isinstance(model, Model)
    assert model["both"] is model.layers[3]
    assert len(model) == 6
    assert list(model) == list(model.layers)
    with pytest.raises(ArgumentError, match=r"^Graph.__getitem__: name must be one of 'size', "):
        model["bath"]


USED = Dense(2, 2)
Sequential([USED])
D = Dense(2, 2)


@pytest.mark.parametrize(
    ("nodes", "outputs", "message"),
    [
        ({}, "y", r"nodes must be a dict of at least one name"),
        ({"y": Dense(2, 2)}, "y", r"nodes\['y'\] must be a layer and what it reads"),
        ({"y": (Dense, "x")}, "y", r"nodes\['y'\] must be an instance of Layer; .* instance"),
        ({"y": (Dense(2, 2), ())}, "y", r"a layer and the names that it reads"),
        ({"y": (Dense(2, 2), "z")}, "y", r"reads 'x'; got 'z', which is neither an input nor"),
        ({"y": (Dense(2, 2), ("x", "x"))}, "y", r"a Join, if it reads several; .*Join them first"),
        ({"x": (Dense(2, 2), "x")}, "x", r"names that are not taken; got 'x' for an input and"),
        ({"a.b": (Dense(2, 2), "x")}, "a.b", r"nodes must be named by texts without a dot"),
        ({3: (Dense(2, 2), "x")}, "y", r"nodes must be named by texts without a dot; got 3"),
        ({"y": (USED, "x")}, "y", r"part of a model already\. Use copy.deepcopy"),
        ({"a": (D, "x"), "y": (D, "a")}, "y", r"which is nodes\['a'\] again\. Use copy"),
        ({"y": (Dense(2, 2), "x")}, (), r"outputs must be at least one node; got none"),
        ({"y": (Dense(2, 2), "x")}, "z", r"outputs must be among the nodes, 'y'; got 'z'"),
        ({"y": (Dense(2, 2), "x")}, "x", r"outputs must be among the nodes, 'y'; got 'x'"),
        ({"y": (Dense(2, 2), "x")}, ("y", "y"), r"outputs must be of different names; got 'y' tw"),
        (
            {"a": (Add(), ("x", "b")), "b": (Dense(2, 2), "a"), "y": (Dense(2, 2), "b")},
            "y",
            r"without a cycle; got 'a' reads 'b' reads 'a'\. Take one of these readings out",
        ),
        ({"y": (Add(), ("y", "x"))}, "y", r"without a cycle; got 'y' reads 'y'"),
        (
            {"y": (Dense(2, 2), "x"), "a": (Dense(2, 2), "x"), "b": (Dense(2, 2), "a")},
            "y",
            r"nodes must be in use; got 'a', 'b', which no output depends on\. Leave it out, or",
        ),
        ({"y": (two_heads(), "x")}, "y", r"a graph of one input and one output"),
        ({"a": (Dense(2, 2), "x"), "y": (Lookup(), "a")}, "y", r"reads an input, if it takes int"),
        (
            {"a": (Lookup(), "x"), "b": (Dense(2, 3), "x"), "y": (Concatenate(1), ("a", "a")),
             "z": (Dense(3, 3), "b")},
            ("y", "z"),
            r"inputs\['x'\] must be read by layers of integers alone.* Add another input",
        ),
    ],
)  # fmt: skip
def test_nodes_that_are_refused(nodes, outputs, message):
    with pytest.raises(ArgumentError, match=r"^Graph.__init__: .*" + message):
        Graph({"x": (2,)}, nodes, outputs)


def test_what_else_is_refused_at_construction():
    with pytest.raises(ArgumentError, match=r"^Graph.__init__: inputs must be in use; got 'z'"):
        Graph({"x": (2,), "z": (2,)}, {"y": (Dense(2, 2), "x")}, "y")
    with pytest.raises(ArgumentError, match=r"^Graph.__init__: inputs must be a dict"):
        Graph((2,), {"y": (Dense(2, 2), "x")}, "y")
    layer = Dense(3, 2)
    before = dict(vars(layer))
    with pytest.raises(ShapeError, match=r"^Graph.__init__: nodes\['y'\] .* of shape \(2,\); got"):
        Graph({"x": (2,)}, {"y": (layer, "x")}, "y")
    assert vars(layer) == before
    with pytest.raises(ArgumentError, match=r"^Graph.__init__: nodes\['y'\] must be of dtype"):
        Graph({"x": (2,)}, {"y": (Sequential([Dense(2, 2)], dtype="float32"), "x")}, "y")


def test_inputs_and_gradients_that_are_refused():
    model, x = two_heads(), batch()
    for call, wrong, error, message in [
        (model.predict, x["image"], ArgumentError, r"x must be a dict of arrays for 'image', 'pl"),
        (model.predict, {"image": 1}, ArgumentError, r"for 'image', 'place'; got one for 'image'"),
        (model.predict, {}, ArgumentError, r"got an empty one"),
        (model.predict, {**x, "z": 1}, ArgumentError, r"got one for 'image', 'place', 'z'"),
        (model.predict, {**x, "place": np.ones((5, 3))}, ShapeError, r"x\['place'\] must be of"),
        (model.predict, {**x, "place": np.ones((4, 2))}, ShapeError, r"the same number of sampl"),
        (model.backward, {}, StateError, r"cache must be that of a forward pass"),
    ]:
        with pytest.raises(error, match=r"^Graph\.\w+: .*" + message):
            call(wrong)
    with pytest.raises(ShapeError, match=r"the same number of samples"):
        model.predict({**x, "place": np.ones((9, 2))}, 2)
    y = model.forward(x, training=True)
    with pytest.raises(ArgumentError, match=r"^Graph.backward: dy must be a dict of arrays for"):
        model.backward(y["kind"])
    with pytest.raises(ShapeError, match=r"^Graph.backward: dy\['kind'\] must be of shape"):
        model.backward({**y, "kind": y["size"]})
    model.backward(y)
    with pytest.raises(StateError, match=r"^Graph.backward: cache"):
        model.backward(y)


class Short(Switched):
    def compute_backward(self, dy, cache):
        return (dy,)


class Wide(Switched):
    def compute_forward(self, x, *, training):
        return np.concatenate(x, axis=1), x[1]


class Fails(Switched):
    def compute_forward(self, x, *, training):
        raise RuntimeError("no")


def test_joins_that_break_their_promise():
    def model(join):
        return Graph({"a": (2,), "b": (2,)}, {"y": (join, ("a", "b"))}, "y")

    x = {"a": np.ones((3, 2)), "b": np.ones((3, 2))}
    short = model(Short())
    short.forward(x, training=True)
    message = r"^Short.compute_backward, in node 'y': dx must be a tuple of 2"
    with pytest.raises(ArgumentError, match=message):
        short.backward(np.ones((3, 2)))
    for call in (model(Wide()).forward, model(Wide()).check_layers):
        with pytest.raises(ShapeError, match=r"^Wide.compute_forward, in node 'y': y must be of"):
            call(x)
    with pytest.raises(RuntimeError) as caught:
        model(Fails()).predict(x)
    assert caught.value.__notes__ == ["in node 'y', Fails()"]


def test_nodes_may_be_called_like_other_layers():
    nodes = {"dense_1": (Dense(2, 2, name="y"), "x"), "y": (Dense(2, 2, name="dense_1"), "dense_1")}
    model = Graph({"x": (2,)}, nodes, "y")
    assert next(iter(model.named_parameters())) == "dense_1.kernel"
    assert model["y"].name == "dense_1"


def test_a_graph_of_several_outputs_is_no_layer_of_a_row():
    two = {"a": (Dense(2, 3), "x"), "b": (Dense(2, 1), "x")}
    words = r"layers\[1\] must be a graph of one input and one output, as a part of another"
    with pytest.raises(ArgumentError, match=words):
        Sequential([Dense(2, 2), Graph({"x": (2,)}, two, ("a", "b"))])


@pytest.mark.parametrize(
    ("reads", "outputs", "message"),
    [
        ("x", 3, "outputs must be the name of a node, or a tuple of them; got 3"),
        ("x", ("y", []), r"outputs must be among the nodes, 'y'; got \[\]"),
        (([], "x"), "y", r"nodes\['y'\] must be one that reads 'x'; got \[\], which is neither"),
    ],
)
def test_names_that_are_no_texts(reads, outputs, message):
    with pytest.raises(ArgumentError, match=message):
        Graph({"x": (2,)}, {"y": (Add(), reads)}, outputs)
