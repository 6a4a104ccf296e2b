"""Mechanical mutants of every shipped backward pass: each is killed, or equivalent for a reason.

Each operator, sign, comparison, axis, transpose, number and NumPy function, and each use of z
and y, in `compute_backward`, `backward` and `derivative` is changed, one at a time.
"""

import ast
import copy
import inspect
import sys
import textwrap
from collections import Counter

import numpy as np
import pytest
from held_inputs import Begun, Held

from layerkit import (
    CELU,
    ELU,
    GELU,
    GLU,
    GRU,
    LSTM,
    SELU,
    Activation,
    ActivationLayer,
    Add,
    ArgumentError,
    BatchNorm,
    Bidirectional,
    Carried,
    Chain,
    Concatenate,
    Dense,
    Dot,
    Dropout,
    Embedding,
    Flatten,
    Graph,
    HardShrink,
    HardSigmoid,
    HardSiLU,
    HardTanh,
    Join,
    Layer,
    LeakyReLU,
    Masked,
    Maxout,
    Mish,
    Parallel,
    Permute,
    PReLU,
    ReLU,
    ReLU6,
    RepeatVector,
    Reshape,
    Residual,
    Sequential,
    Sigmoid,
    SiLU,
    SimpleRNN,
    SoftShrink,
    Squareplus,
    Standardize,
    SwiGLU,
    Tanh,
    Threshold,
    TimeDistributed,
    WithState,
)
from layerkit.layers.recurrence import Recurrent
from layerkit.testing import CheckError, activation_checks, layer_checks

OPERATORS = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div, ast.Add],
    ast.Div: [ast.Mult],
    ast.Pow: [ast.Mult],
}
COMPARISONS = {ast.GtE: [ast.Gt, ast.Lt], ast.Gt: [ast.GtE, ast.LtE], ast.Lt: [ast.GtE]}
FUNCTIONS = {
    "multiply": ["add", "divide"],
    "subtract": ["add"],
    "add": ["subtract"],
    "minimum": ["maximum"],
    "maximum": ["minimum"],
    "exp": ["expm1"],
}
NAMES = {"z": ["y"], "y": ["z"], "dy": ["y"]}


def changes(node):
    """Each way to change a node, as a word and a function that does it to a copy of the node."""
    if isinstance(node, ast.BinOp | ast.AugAssign):
        for kind in OPERATORS.get(type(node.op), []):
            yield kind.__name__, lambda n, kind=kind: setattr(n, "op", kind())
    if isinstance(node, ast.Compare):
        for kind in COMPARISONS.get(type(node.ops[0]), []):
            yield kind.__name__, lambda n, kind=kind: setattr(n, "ops", [kind()])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "no minus", lambda n: setattr(n, "op", ast.UAdd())
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        for value in (node.value + 1, 0 if node.value else -1):
            yield f"{value}", lambda n, value=value: setattr(n, "value", value)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield f"{not node.value}", lambda n: setattr(n, "value", not n.value)
    if isinstance(node, ast.Attribute):
        for name in FUNCTIONS.get(node.attr, []):
            yield name, lambda n, name=name: setattr(n, "attr", name)
        if node.attr in ("zero", "one"):
            other = {"zero": "one", "one": "zero"}[node.attr]
            yield other, lambda n, other=other: setattr(n, "attr", other)
        if node.attr == "T":
            yield "no transpose", lambda n: setattr(n, "attr", "real")
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        for name in NAMES.get(node.id, []):
            yield f"{name} for {node.id}", lambda n, name=name: setattr(n, "id", name)
    symmetric = ("np.multiply", "np.add", "np.maximum", "np.minimum")
    if (
        isinstance(node, ast.Call)
        and len(node.args) > 1
        and ast.unparse(node.func) not in symmetric
    ):
        yield "swapped arguments", lambda n: n.args.insert(0, n.args.pop(1))


def body_of(tree):
    """The nodes of a function that run when it is called: no arguments, no docstring."""
    for statement in tree.body[0].body:
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield from ast.walk(statement)


def mutants_of(kind, method):
    """Each mutant of a method: where and what, and the function."""
    function = vars(kind)[method]
    source = textwrap.dedent(inspect.getsource(function))
    tree = ast.parse(source)
    for index, node in enumerate(body_of(tree)):
        for word, _ in changes(node):
            mutated = copy.deepcopy(tree)
            twin = list(body_of(mutated))[index]
            before = ast.unparse(twin)
            dict(changes(twin))[word](twin)
            ast.fix_missing_locations(mutated)
            names = {}
            exec(
                compile(mutated, f"<{method}>", "exec"),
                sys.modules[kind.__module__].__dict__,
                names,
            )
            yield f"{before} -> {ast.unparse(twin)} ({word})", names[method]


def concrete(base):
    for kind in base.__subclasses__():
        if kind.__module__.startswith("layerkit."):
            yield kind
            yield from concrete(kind)


def is_stub(kind, method):
    return "NotImplementedError" in inspect.getsource(vars(kind)[method])


SUBJECTS = [
    (kind, method)
    for base in (Layer, Activation)
    for kind in [base, *sorted(concrete(base), key=lambda kind: kind.__name__)]
    for method in ("compute_backward", "backward", "derivative", "backward_step")
    if method in vars(kind)
    and not is_stub(kind, method)
    # A layer's `backward` computes nothing: it checks, and calls `compute_backward`.
    and not (issubclass(kind, Layer) and method == "backward")
    and not inspect.isabstract(vars(kind)[method])
    and not getattr(vars(kind)[method], "__isabstractmethod__", False)
]


class Leaning(Activation):
    """y = z + tanh(z), with a derivative of both z and y, and a backward that takes no ``out``."""

    def value(self, z):
        return z + np.tanh(z)

    def derivative(self, z, y):
        return 2 - np.tanh(z) * (y - z)


class LeaningBack(Leaning):
    def backward(self, dy, z, y):
        return dy * self.derivative(z, y)


class Adapted(Standardize):
    """One that has seen data."""

    def build(self, input_shape):
        shape = super().build(input_shape)
        self.adapt(np.random.default_rng(0).normal(5, 3, size=(20, *input_shape)))
        return shape


def joined(join, widths=(3, 3, 3)):
    """A layer around a join, and around what the join reads besides the input."""
    nodes = {
        "first": (Dense(3, widths[0], Tanh()), "x"),
        "second": (Dense(3, widths[1], Tanh()), "x"),
        "third": (Dense(widths[0], widths[2]), "first"),
        "all": (join, ("first", "second", "third", "second")),
    }
    return Graph({"x": (3,)}, nodes, "all")


class Switched(Join):
    """x₀ · x₁, of which the second only switches, without a gradient."""

    def build(self, input_shape):
        return input_shape[0]

    def compute_forward(self, x, *, training):
        return x[0] * x[1], x[1]

    def compute_backward(self, dy, cache):
        return dy * cache, None


def gradients_of_a_graph():
    """Two inputs, two outputs, one of them read on, a gate that no gradient reaches, and a tie."""
    model = Graph(
        {"x": (3,), "z": (3,)},
        {
            "a": (Dense(3, 3, Tanh()), "x"),
            "gate": (Dense(3, 3), "z"),
            "seen": (Switched(), ("a", "gate")),
            "sum": (Add(), ("seen", "z")),
            "b": (Dense(3, 3), "sum"),
        },
        ("sum", "b"),
        ties={"b.kernel": "a.kernel"},
        seed=0,
    )
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(4, 3)) for name in "xz"}
    dy = {name: rng.normal(size=(4, 3)) for name in ("sum", "b")}
    model.grads[:] = model["gate"].bias.grad[:] = 7
    model.forward(x, training=True)
    dx = model.backward(dy)
    kernel, bias = model["a"].kernel.value, model["a"].bias.value
    a = np.tanh(x["x"] @ kernel + bias)
    gate = x["z"] @ model["gate"].kernel.value + model["gate"].bias.value
    total = dy["sum"] + dy["b"] @ kernel.T
    dz = total * gate * (1 - a * a)
    np.testing.assert_allclose(dx["z"], total, rtol=1e-12)
    np.testing.assert_allclose(dx["x"], dz @ kernel.T, rtol=1e-12)
    own = x["x"].T @ dz + (a * gate + x["z"]).T @ dy["b"]
    np.testing.assert_allclose(model["a"].kernel.grad, own, rtol=1e-12)
    np.testing.assert_allclose(model["b"].bias.grad, dy["b"].sum(axis=0), rtol=1e-12)
    assert not model["gate"].kernel.grad.any()
    assert not model["gate"].bias.grad.any()
    grads = model.grads.copy()
    _, cache = model.compute_forward(x, training=True)
    assert model.compute_backward(dy, cache, need_dx=False) is None
    np.testing.assert_array_equal(model.grads, grads)


def gradients_of_nothing():
    """An input that no gradient comes back to has one of zeros, if it is the only one."""
    nodes = {"gate": (Dense(3, 3), "x"), "y": (Switched(), ("gate", "gate"))}
    whole = Graph({"x": (3,)}, nodes, "y", seed=0)
    stopped = Graph({"x": (3,)}, {"y": (Stop(), ("x", "x"))}, "y")
    for model in (whole, stopped):
        x = np.random.default_rng(0).normal(size=(2, 3))
        model.forward(x, training=True)
        dx = model.backward(x)
        assert dx.shape == (2, 3)
        assert dx.any() == (model is whole)


class Stop(Switched):
    def compute_backward(self, dy, cache):
        return None, None


class Short(Switched):
    def compute_backward(self, dy, cache):
        return (dy,)


class Spied(Dense):
    """Notes whether dx was asked for."""

    def compute_backward(self, dy, cache, *, need_dx=True):
        self.asked = need_dx
        return super().compute_backward(dy, cache, need_dx=need_dx)


def what_reads_inputs_alone_need_not_compute_dx():
    for inputs in ({"x": (2,)}, {"x": (2,), "z": (2,)}):
        nodes = {
            "a": (Spied(2, 2), "x"),
            "b": (Spied(2, 2), "a"),
            "y": (Add(), ("b", [*inputs][-1])),
        }
        model = Graph(inputs, nodes, "y")
        for need_dx in (False, True):
            x = dict.fromkeys(inputs, np.ones((1, 2)))
            _, cache = model.compute_forward(x, training=True)
            model.compute_backward(np.ones((1, 2)), cache, need_dx=need_dx)
            assert model["b"].asked
            assert model["a"].asked == need_dx


def a_short_join_is_named():
    model = Graph({"x": (3,)}, {"y": (Short(), ("x", "x"))}, "y")
    model.forward(np.ones((1, 3)), training=True)
    words = "Short.compute_backward, in node 'y': dx must be a tuple of 2"
    with pytest.raises(ArgumentError, match=words):
        model.backward(np.ones((1, 3)))


def conventions(kind, function):
    """What the docstrings say and no gradient shows: the function, and its slope at the kink."""

    def check():
        activation = kind()
        z = np.array([[-0.5, 0.0, 3.0]])
        y = activation.forward(z)
        np.testing.assert_allclose(y, [[function(-0.5), 0, 3]], rtol=1e-12)
        assert activation.backward(np.ones_like(z), z.copy(), y)[0, 1] == 1
        assert activation.derivative(z, y)[0, 1] == 1

    return check


def slopes(activation, points):
    """What the docstrings say of the slope at kinks, by the inputs."""

    def check():
        z = np.array([[*points]], float)
        found = activation.derivative(z, activation.forward(z))
        np.testing.assert_allclose(found, [[*points.values()]], rtol=1e-12)

    return check


def limits(activation):
    """A slope is finite far away, where NumPy's infinity times 0 is not."""

    def check():
        z = np.array([[-np.inf, np.inf]])
        with np.errstate(all="ignore"):
            assert np.isfinite(activation.derivative(z, activation.forward(z))).all()

    return check


def without_dx(make, shape):
    """Without dx, the gradients of the parameters are the same, and nothing is returned."""

    def check():
        model = Sequential([make()], input_shape=shape, seed=0)
        x = np.random.default_rng(0).normal(size=(4, *shape))
        model.backward(model.forward(x, training=True))
        grads = model.grads.copy()
        y, cache = model[0].compute_forward(x, training=True)
        assert model[0].compute_backward(y.copy(), cache, need_dx=False) is None
        np.testing.assert_allclose(model.grads, grads, rtol=1e-12)

    return check


def at_zero(layer, slope):
    """What dx is where x is 0, which finite differences can't tell at a kink."""

    def check():
        model = Sequential([layer], input_shape=(1,))
        model.forward([[0.0]], training=True)
        np.testing.assert_allclose(model.backward([[1.0]]), slope)

    return check


def two_joined(join):
    """A layer around a join of two."""
    nodes = {"a": (Dense(3, 4, Tanh()), "x"), "b": (Dense(3, 4), "x"), "y": (join, ("a", "b"))}
    return Graph({"x": (3,)}, nodes, "y")


def a_vector_without_direction():
    """The gradient of a cosine where one length is below the least: the other, over that least."""
    model = Graph({"a": (2,), "b": (2,)}, {"y": (Dot(normalize=True), ("a", "b"))}, "y")
    model.forward({"a": [[0.0, 3e-13]], "b": [[3.0, 4.0]]}, training=True)
    dx = model.backward([[1.0]])
    np.testing.assert_allclose(dx["a"], [[0.6e12, 0.8e12]], rtol=1e-12)


def ids(rng, n_samples, sample_shape=(4,)):
    return rng.integers(5, size=(n_samples, *sample_shape))


class Passed(Layer):
    """The real steps alone."""

    def compute_forward(self, x, *, training, mask):
        return x * mask[..., None], mask[..., None]

    def compute_backward(self, dy, cache, *, need_dx=True):
        return dy * cache if need_dx else None


def through_a_mask():
    """The gradient of the layer inside, if it is needed, and none for the mask."""
    nodes = {"y": (Masked(Passed()), ("x", "mask"))}
    model = Graph({"x": (2, 1), "mask": (2,)}, nodes, "y")
    x = {"x": np.ones((1, 2, 1)), "mask": np.array([[0.0, 1.0]])}
    for need_dx in (True, False):
        _, cache = model["y"].compute_forward((x["x"], x["mask"]), training=True)
        dx = model["y"].compute_backward(np.full((1, 2, 1), 3.0), cache, need_dx=need_dx)
        assert isinstance(dx, tuple)
        assert dx[1] is None
        assert (dx[0] is None) != need_dx
        assert not need_dx or dx[0].ravel().tolist() == [0, 3]
    assert model["y"].compute_backward(np.ones((1, 2, 1)), cache)[0] is not None


def through_a_state():
    """The gradients of both layers are those of the layer inside."""
    rng = np.random.default_rng(0)
    x = {"x": rng.normal(size=(2, 3, 2)), "state": rng.normal(size=(2, 3)), "mask": np.ones((2, 3))}
    dy = rng.normal(size=(2, 3))
    for names in (("x", "state"), ("x", "state", "mask")):
        for need_dx in (True, False):
            shapes = {name: x[name].shape[1:] for name in names}
            model = Graph(shapes, {"y": (WithState(GRU(2, 3)), names)}, "y", seed=0)
            joined, inner = model["y"], model["y"].layer
            _, cache = inner.compute_forward(x["x"], training=True, initial_state=x["state"])
            expected = inner.compute_backward(dy, cache, need_dx=need_dx)
            _, cache = joined.compute_forward(tuple(x[n] for n in names), training=True)
            found = joined.compute_backward(dy, cache, need_dx=need_dx)
            assert len(found) == len(names)
            for got, own in zip(found, (*expected, None), strict=False):
                assert (got is None) == (own is None or not need_dx)
                assert got is None or np.array_equal(got, own)
    for state in ((), (x["state"],)):
        carried = Sequential([Carried(GRU(2, 3))], seed=0)[0]
        for need_dx in (True, False, None):
            carried.carried = state
            given = {"initial_state": state[0]} if state else {}
            _, cache = carried.layer.compute_forward(x["x"], training=True, **given)
            dx = carried.layer.compute_backward(dy, cache, need_dx=need_dx is not False)
            dx = dx[0] if state else dx
            _, cache = carried.compute_forward(x["x"], training=True)
            asked = {} if need_dx is None else {"need_dx": need_dx}
            found = carried.compute_backward(dy, cache, **asked)
            assert (found is None) == (dx is None)
            assert dx is None or np.array_equal(found, dx)


# Of each kind, layers that reach all of its backward pass, and the shapes of their inputs.
SHAPED = {
    ActivationLayer: [(lambda: ActivationLayer(Leaning()), (3,))],
    Bidirectional: [
        (lambda: Bidirectional(LSTM(3, 2)), (3, 3)),
        (lambda: Bidirectional(GRU(3, 2, return_sequences=True)), (3, 3)),
    ],
    Chain: [(lambda: Chain([Dense(3, 4, Tanh()), Dense(4, 2)]), (3,))],
    Flatten: [(Flatten, (2, 3))],
    GLU: [(GLU, (4, 6)), (GLU, (4,))],
    Maxout: [(lambda: Maxout(3, 2, 3), (4, 3)), (lambda: Maxout(3, 2), (3,))],
    GRU: [(lambda: GRU(3, 2), (3, 3))],
    LSTM: [(lambda: LSTM(3, 2), (3, 3))],
    PReLU: [(PReLU, (2, 3)), (lambda: PReLU((1,)), (4, 3))],
    Parallel: [
        (lambda: Parallel([Dense(3, 2, Tanh()), Dense(3, 3), Dense(3, 1)]), (3,)),
        (lambda: Parallel([Dense(3, 2, Tanh()), Dense(3, 2)], Add()), (3,)),
    ],
    Permute: [(lambda: Permute((2, 3, 1)), (2, 3, 4))],
    RepeatVector: [(lambda: RepeatVector(3), (2, 2))],
    Reshape: [(lambda: Reshape((3, 2)), (6,))],
    Residual: [(lambda: Residual([Dense(3, 4, Tanh()), Dense(4, 3)]), (3,))],
    SimpleRNN: [(lambda: SimpleRNN(3, 2), (3, 3)), (lambda: SimpleRNN(3, 2, SiLU()), (3, 3))],
    SwiGLU: [(lambda: SwiGLU(3, 4), (3,))],
    TimeDistributed: [(lambda: TimeDistributed(Sequential([Flatten(), Dense(4, 3)])), (3, 2, 2))],
}
NEED_DX = (Bidirectional, Chain, Maxout, Parallel, Recurrent, Residual, SwiGLU, TimeDistributed)
SHAPED[Recurrent] = [
    *SHAPED[LSTM],
    *((lambda kind=kind: Held(kind(3, 2, return_sequences=True)), (5, 3)) for kind in (GRU, LSTM)),
    (lambda: Begun(LSTM(4, 2), 4), (2, 4)),
]
# Activations with other arguments than the defaults, and the slopes at their kinks.
SLOPES = {
    CELU: (CELU(0.5), {0: 1, -0.5: np.exp(-1)}),
    GELU: (GELU(), {}),
    HardShrink: (HardShrink(0.3), {-0.3: 0, 0.3: 0, 2: 1}),
    HardSiLU: (HardSiLU(), {-3: 0, 0: 0.5, 3: 1, 4: 1, -4: 0}),
    HardSigmoid: (HardSigmoid(), {-3: 1 / 6, 3: 1 / 6, 3.5: 0}),
    HardTanh: (HardTanh(-0.5, 2), {-0.5: 1, 2: 1, 2.5: 0, -1: 0}),
    Mish: (Mish(), {}),
    ReLU6: (ReLU6(), {0: 1, 6: 1, 6.5: 0, -0.5: 0}),
    SELU: (SELU(), {0: 1.0507009873554805}),
    SiLU: (SiLU(), {}),
    SoftShrink: (SoftShrink(0.3), {-0.3: 0, 0.3: 0, 2: 1}),
    Squareplus: (Squareplus(0.5), {0: 0.5}),
    Threshold: (Threshold(0.5, -1.0), {0.5: 0, 0.6: 1, 0: 0}),
}


def checks_for(kind):
    """Suites that reach the methods of a class."""
    if kind in SHAPED:
        found = [check for make, shape in SHAPED[kind] for check in layer_checks(make, shape)]
        found += [without_dx(*case) for case in SHAPED[kind] if kind in NEED_DX]
        return [*found, at_zero(PReLU(), 1)] if kind is PReLU else found
    if kind is Dot:
        return [
            *layer_checks(lambda: two_joined(Dot())),
            *layer_checks(lambda: two_joined(Dot(normalize=True))),
            a_vector_without_direction,
        ]
    if kind in SLOPES:
        activation, points = SLOPES[kind]
        more = activation_checks(lambda: GELU(approximate=True)) if kind is GELU else []
        more += [limits(GELU(approximate=True))] if kind is GELU else []
        return [
            *activation_checks(activation),
            *more,
            limits(activation),
            slopes(activation, points),
        ]
    if kind is Activation:
        return activation_checks(Leaning)
    if kind is ELU:
        return [
            *activation_checks(lambda: ELU(0.5)),
            conventions(lambda: ELU(0.5), lambda z: 0.5 * np.expm1(z)),
        ]
    if issubclass(kind, Activation):
        kinks = {ReLU: lambda z: 0.0, LeakyReLU: lambda z: 0.01 * z}
        own = [conventions(kind, kinks[kind])] if kind in kinks else []
        return [*activation_checks(kind), *own]
    if kind is Dense:
        return [
            *layer_checks(lambda: Dense(4, 4, Tanh())),
            *layer_checks(lambda: Dense(3, 2, LeaningBack(), use_bias=False)),
            *layer_checks(lambda: Dense(3, 2), (4, 3)),
        ]
    if kind is Dropout:
        return layer_checks(lambda: Dropout(0.4), (4,))
    if kind is Standardize:
        return layer_checks(Adapted, (3,))
    if kind is BatchNorm:
        return [*layer_checks(BatchNorm, (3,)), *layer_checks(lambda: BatchNorm(0.5, 0.1), (2, 3))]
    if kind is Concatenate:
        return [
            *layer_checks(lambda: joined(Concatenate(), (2, 3, 1))),
            *layer_checks(lambda: joined(Concatenate(1), (2, 3, 1))),
        ]
    if kind is Embedding:
        return [
            *layer_checks(lambda: Embedding(5, 3), (None,), inputs=ids),
            *layer_checks(lambda: Embedding(5, 3, 2), (4,), inputs=ids),
        ]
    if kind in (Carried, WithState):
        return [through_a_state]
    if kind is Masked:
        return [through_a_mask]
    if issubclass(kind, Join):
        return layer_checks(lambda: joined(kind()))
    if kind is Graph:
        own = [
            gradients_of_a_graph,
            gradients_of_nothing,
            what_reads_inputs_alone_need_not_compute_dx,
            a_short_join_is_named,
        ]
        return [*own, *layer_checks(lambda: joined(Add()))]
    return layer_checks(
        lambda: Sequential([Dense(3, 4, Tanh()), Dense(4, 4, Sigmoid()), Dense(4, 2)], seed=0)
    )


CLIPPED = "of the two bounds and z, the middle one is taken whatever their order"

# What is left: how many of each, and why they change nothing.
EQUIVALENT = {
    "GRU.backward_step": {
        "0 -> -1 (-1)": (2, "the state before and its gradient are the only ones"),
    },
    "SimpleRNN.backward_step": {
        "0 -> -1 (-1)": (2, "the state after and its gradient are the only ones"),
    },
    "Recurrent.compute_backward": {
        "False -> True (True)": (1, "another workspace is made, which costs time alone"),
        "check.fail(where, 'cache', 'that of a forward pass, once', got, error=StateError) -> "
        "check.fail('cache', where, 'that of a forward pass, once', got, error=StateError) "
        "(swapped arguments)": (1, "words, which tests/layers/test_recurrence.py reads"),
    },
    "Dense.compute_backward": {
        "z -> y (y for z)": (1, "the buffer for dz is y's, which is not read any more either"),
        "1 -> 2 (2)": (1, "of -1 in a reshape: NumPy takes any negative number for the rest"),
        "False -> True (True)": (1, "another workspace is made, which costs time alone"),
        "check.fail('Dense.compute_backward', 'cache', _ONCE, got, error=StateError) -> "
        "check.fail('cache', 'Dense.compute_backward', _ONCE, got, error=StateError) "
        "(swapped arguments)": (1, "words, which tests/layers/test_base.py reads"),
    },
    "Embedding.compute_backward": {
        "1 -> 2 (2)": (5, "of -1 in a reshape: NumPy takes any negative number for the rest"),
    },
    "Standardize.compute_backward": {
        "False -> True (True)": (1, "dx is a copy where it is float64 already: time alone"),
    },
    "PReLU.compute_backward": {
        "0 -> -1 (-1)": (1, "the first of the one that is left is the last"),
    },
    "Parallel.compute_backward": {
        "True -> False (False)": (1, "nothing is zipped but what is equally long"),
    },
    "TimeDistributed.compute_backward": {
        "1 -> 2 (2)": (1, "of -1 in a reshape: NumPy takes any negative number for the rest"),
    },
    "CELU.derivative": {
        "z -> y (y for z)": (1, "z.dtype is y's"),
    },
    "GELU.derivative": {
        "np.clip(z, -limit, limit) -> np.clip(-limit, z, limit) (swapped arguments)": (1, CLIPPED),
        "z -> y (y for z)": (1, "z.dtype is y's"),
    },
    "HardShrink.derivative": {
        "z -> y (y for z)": (2, "z.dtype is y's; |z| is above the threshold where |y| is"),
    },
    "HardSiLU.derivative": {
        "0 -> -1 (-1)": (1, "of z > 0, where |z| is at least 3"),
        "0 -> 1 (1)": (1, "of z > 0, where |z| is at least 3"),
        "3 -> 4 (4)": (2, "of the bounds of z, where only |z| < 3 is taken"),
        "z -> y (y for z)": (3, "z.dtype is y's, twice; z > 0 where y is"),
        "z > 0 -> z >= 0 (GtE)": (1, "where |z| is at least 3"),
    },
    "HardSigmoid.derivative": {
        "z -> y (y for z)": (1, "z.dtype is y's"),
    },
    "HardTanh.derivative": {
        "z -> y (y for z)": (1, "z.dtype is y's"),
    },
    "LogSoftmax.backward": {
        "-1 -> +1 (no minus)": (1, "axis 1 is the last of (batch_size, units)"),
    },
    "Mish.derivative": {
        "np.clip(z, -limit, limit) -> np.clip(-limit, z, limit) (swapped arguments)": (1, CLIPPED),
        "z -> y (y for z)": (1, "z.dtype is y's"),
    },
    "ReLU6.derivative": {
        "z -> y (y for z)": (1, "z.dtype is y's"),
    },
    "SELU.derivative": {
        "z -> y (y for z)": (3, "z.dtype is y's, twice; z >= 0 where y is"),
    },
    "SiLU.derivative": {
        "np.clip(z, -limit, limit) -> np.clip(-limit, z, limit) (swapped arguments)": (1, CLIPPED),
        "z -> y (y for z)": (1, "z.dtype is y's"),
    },
    "SoftShrink.derivative": {
        "z -> y (y for z)": (1, "z.dtype is y's"),
    },
    "Sparsemax.backward": {
        "-1 -> +1 (no minus)": (2, "axis 1 is the last of (batch_size, units)"),
        "z -> y (y for z)": (1, "z.dtype is y's"),
    },
    "Squareplus.derivative": {
        "z > 0 -> z >= 0 (GtE)": (1, "at 0, both are a half"),
    },
    "Threshold.derivative": {
        "z -> y (y for z)": (2, "z.dtype is y's; y is above the threshold where z is"),
    },
    "Graph.compute_backward": {
        "0 -> -1 (-1)": (1, "of the outputs where there is one"),
        "True -> False (False)": (2, "nothing is zipped but what is equally long"),
    },
    "Sequential.compute_backward": {
        "False -> True (True)": (1, "dx of the first layer is computed, and not read"),
    },
    "ELU.derivative": {
        "z -> y (y for z)": (3, "z.dtype is y's, twice; z >= 0 where y is"),
    },
    "LeakyReLU.derivative": {
        "z -> y (y for z)": (3, "z.dtype is y's, twice; z >= 0 where y is"),
    },
    "ReLU.derivative": {
        "z -> y (y for z)": (1, "z.dtype is y's"),
    },
    "ReLU.backward": {
        "z -> y (y for z)": (2, "z.dtype and the shape of z are y's"),
    },
    "Sigmoid.backward": {
        "y -> z (z for y)": (1, "y.dtype is z's"),
    },
    "Softmax.backward": {
        "-1 -> +1 (no minus)": (1, "axis 1 is the last of (batch_size, units)"),
    },
    "Tanh.backward": {
        "y -> z (z for y)": (1, "y.dtype is z's"),
    },
}


def survives(kind, method, mutant, monkeypatch):
    checks = checks_for(kind)
    monkeypatch.setattr(kind, method, mutant)
    try:
        for check in checks:
            check()
    except (CheckError, AssertionError):
        return False
    except Exception:
        # Checks of our own, unlike the suites, let the errors of a mutant through.
        if kind in (Carried, Graph, Masked, WithState):
            return False
        raise
    finally:
        monkeypatch.undo()
    return True


@pytest.mark.parametrize(
    ("kind", "method"), SUBJECTS, ids=[f"{kind.__name__}.{method}" for kind, method in SUBJECTS]
)
def test_each_mutant_is_killed_or_equivalent(kind, method, monkeypatch):
    found = list(mutants_of(kind, method))
    alive = [what for what, mutant in found if survives(kind, method, mutant, monkeypatch)]
    equivalent = EQUIVALENT.get(f"{kind.__name__}.{method}", {})
    assert Counter(alive) == {what: count for what, (count, _) in equivalent.items()}


def test_there_are_mutants_of_every_backward_pass():
    names = {f"{kind.__name__}.{method}" for kind, method in SUBJECTS}
    assert {"Dense.compute_backward", "Sequential.compute_backward", "Softmax.backward"} <= names
    assert len(names) >= 14
    assert sum(len(list(mutants_of(*subject))) for subject in SUBJECTS) >= 150
