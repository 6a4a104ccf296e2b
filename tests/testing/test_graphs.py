"""`check_gradients` of graphs: several inputs and outputs, and joins that are wrong."""

import copy

import numpy as np
import pytest

from layerkit import (
    Add,
    ArgumentError,
    Concatenate,
    Dense,
    Graph,
    Join,
    Layer,
    Losses,
    MeanSquaredError,
    Multiply,
    Normal,
    Sequential,
    ShapeError,
    SoftmaxCrossEntropy,
    Tanh,
)
from layerkit.testing import CheckError, check_gradients

rng = np.random.default_rng(0)
A, B = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
MASK = np.array([[1.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]])
TWO = {"a": A, "b": B}


class Table(Layer):
    """A row of a table for each token."""

    takes_integers = True

    def build(self, input_shape):
        self.rows = self.add_parameter("rows", (6, 3), Normal(1.0))
        return (3,)

    def compute_forward(self, x, *, training):
        return self.rows.value[x], x

    def compute_backward(self, dy, cache):
        self.rows.grad[...] = 0
        np.add.at(self.rows.grad, cache, dy)


class Switched(Join):
    """x · mask; the mask has no gradient."""

    def build(self, input_shapes):
        return input_shapes[0]

    def compute_forward(self, x, *, training):
        assert np.isin(x[1], (0, 1)).all(), "a mask of random numbers"
        return x[0] * x[1], x[1]

    def compute_backward(self, dy, cache):
        return dy * cache, None


class Forgetful(Multiply):
    def compute_backward(self, dy, cache):
        return (dy, *super().compute_backward(dy, cache)[1:])


class Swapped(Concatenate):
    def compute_backward(self, dy, cache):
        return super().compute_backward(dy, cache)[::-1]


class Doubled(Add):
    def compute_backward(self, dy, cache):
        *rest, last = super().compute_backward(dy, cache)
        return (*rest, 2 * last)


class Silent(Add):
    """No gradient for the last input, which has one."""

    def compute_backward(self, dy, cache):
        return (*super().compute_backward(dy, cache)[:-1], None)


def joined(join, *, on=("a", "b")):
    return Graph({"a": (3,), "b": (3,)}, {"y": (join, on)}, "y")


def two_outputs(**options):
    """Two inputs, one read twice, and two outputs of different widths."""
    nodes = {
        "left": (Dense(3, 3, Tanh()), "a"),
        "right": (Dense(3, 3), "b"),
        "gated": (Multiply(), ("left", "right")),
        "sum": (Add(), ("gated", "a")),
        "both": (Concatenate(), ("sum", "b")),
        "kind": (Dense(6, 4), "both"),
        "size": (Dense(3, 1), "sum"),
    }
    return Graph({"a": (3,), "b": (3,)}, nodes, ("kind", "size"), seed=0, **options)


def names(report):
    return [array.name for array in report.arrays]


def wrong_in(model, x):
    """Check a wrong model, and list the arrays whose gradients are found to be wrong."""
    with pytest.raises(CheckError) as caught:
        check_gradients(model, x)
    return {array.name for array in caught.value.report.arrays if array.n_wrong}


@pytest.mark.parametrize("join", [Add, Multiply, Concatenate])
def test_joins_are_right(join):
    report = check_gradients(joined(join()), TWO)
    assert names(report) == ["dx['a']", "dx['b']"]
    assert report.passed
    assert all(array.n_checked >= A.size for array in report.arrays)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_several_inputs_and_outputs(dtype):
    model = two_outputs(dtype=dtype)
    before, given = model.values.copy(), copy.deepcopy(TWO)
    report = check_gradients(model, TWO)
    layers = [(i, layer) for i, layer in enumerate(model.layers) if layer.parameters]
    own = [f"layers[{i}].{name}" for i, _ in layers for name in ("kernel", "bias")]
    assert names(report) == ["dx['a']", "dx['b']", *own]
    assert report.passed
    for i, layer in layers:
        name = model.order[i]
        assert model[name] is layer
        assert f"layers[{i}] is node {name!r}" in str(report)
    assert (model.values == before).all()
    assert all((TWO[name] == given[name]).all() for name in TWO)


def test_losses():
    loss = Losses(
        {"kind": SoftmaxCrossEntropy(), "size": MeanSquaredError()}, weights={"size": 0.5}
    )
    y_true = {"kind": np.array([0, 3, 1, 2]), "size": rng.normal(size=(4, 1))}
    report = check_gradients(two_outputs(), loss, TWO, y_true)
    assert report.passed
    assert names(report)[:2] == ["dx['a']", "dx['b']"]


def test_wrong_losses_are_found():
    class Heavy(Losses):
        def gradient(self, y_pred, y_true):
            gradient = super().gradient(y_pred, y_true)
            return {**gradient, "size": 2 * gradient["size"]}

    loss = Heavy({"kind": MeanSquaredError(), "size": MeanSquaredError()})
    y_true = {"kind": rng.normal(size=(4, 4)), "size": rng.normal(size=(4, 1))}
    model = two_outputs()
    with pytest.raises(CheckError, match="twice the true one") as caught:
        check_gradients(model, loss, TWO, y_true)
    wrong = {array.name for array in caught.value.report.arrays if array.n_wrong}
    place = {name: f"layers[{i}].kernel" for i, name in enumerate(model.order)}
    assert place["size"] in wrong
    assert place["kind"] not in wrong


def test_an_input_read_twice():
    x = {"a": A}
    twice = Graph({"a": (3,)}, {"y": (Multiply(), ("a", "a"))}, "y")
    assert names(check_gradients(twice, x)) == ["x"]
    assert check_gradients(twice, A).passed
    assert check_gradients(joined(Multiply(), on=("a", "b", "a")), TWO).passed
    assert wrong_in(joined(Doubled(), on=("a", "b", "a")), TWO) == {"dx['a']"}


def test_a_graph_inside_another_model():
    inner = Graph({"x": (3,)}, {"h": (Dense(3, 3), "x"), "y": (Add(), ("x", "h"))}, "y", seed=0)
    report = check_gradients(Sequential([inner, Dense(3, 2)], seed=0), A)
    assert names(report)[:2] == ["x", "layers[0].layers[0].kernel"]
    assert report.passed


def test_integers_and_masks_are_left_out():
    nodes = {
        "embedded": (Table(), "tokens"),
        "seen": (Switched(), ("embedded", "mask")),
        "y": (Add(), ("seen", "b")),
    }
    inputs = {"tokens": (), "mask": (3,), "b": (3,)}
    x = {"tokens": np.array([1, 5, 1, 0]), "mask": MASK, "b": B}
    report = check_gradients(Graph(inputs, nodes, "y", seed=0), x)
    assert report.passed
    assert names(report)[0] == "dx['b']"
    assert len(report.arrays) == 2
    assert "left out, as None is computed: dx['tokens'], dx['mask']" in report.notes


@pytest.mark.parametrize(
    ("join", "wrong"),
    [
        (Forgetful, {"dx['a']"}),
        (Swapped, {"dx['a']", "dx['b']"}),
        (Doubled, {"dx['b']"}),
    ],
)
def test_wrong_joins_are_found_and_named(join, wrong):
    assert wrong_in(joined(join()), TWO) == wrong


def test_a_doubled_term_is_diagnosed():
    report = check_gradients(joined(Doubled()), TWO, raise_on_failure=False)
    assert "factor of 2" in report.diagnoses["dx['b']"]
    assert not check_gradients(joined(Doubled()), TWO, raise_on_failure=False).passed


def test_a_gradient_that_is_not_passed_on_shows_in_the_parameters_before():
    nodes = {"before": (Dense(3, 3), "b"), "y": (Silent(), ("a", "before"))}
    model = Graph({"a": (3,), "b": (3,)}, nodes, "y", seed=0)
    assert wrong_in(model, TWO) == {"layers[0].kernel", "layers[0].bias"}


def test_an_output_whose_gradient_is_mixed_up_with_another():
    class Crossed(Graph):
        def backward(self, dy):
            first, second = self.outputs
            return super().backward({first: dy[second], second: dy[first]})

    nodes = {"left": (Dense(3, 2), "a"), "right": (Dense(3, 2), "b")}
    model = Crossed({"a": (3,), "b": (3,)}, nodes, ("left", "right"), seed=0)
    assert {"dx['a']", "dx['b']"} <= wrong_in(model, TWO)


def test_complex_steps():
    report = check_gradients(two_outputs(), TWO, complex_step=True)
    assert report.passed
    assert names(report)[:2] == ["dx['a']", "dx['b']"]
    wrong = check_gradients(joined(Doubled()), TWO, complex_step=True, raise_on_failure=False)
    assert [array.name for array in wrong.arrays if array.n_wrong] == ["dx['b']"]


def test_complex_steps_through_losses_are_refused():
    loss = Losses({"kind": MeanSquaredError(), "size": MeanSquaredError()})
    y_true = {"kind": rng.normal(size=(4, 4)), "size": rng.normal(size=(4, 1))}
    with pytest.raises(ArgumentError, match="False for code that does not take complex numbers"):
        check_gradients(two_outputs(), loss, TWO, y_true, complex_step=True)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (A, ArgumentError, r"check_gradients.model: x must be a dict of arrays for 'a', 'b'"),
        ({"a": A}, ArgumentError, r"x must be a dict of arrays for 'a', 'b'; got one for 'a'"),
        ({"a": A, "b": B[:2]}, ShapeError, "same number of samples"),
        ({"a": A[:, :2], "b": B}, ShapeError, r"x\['a'\]"),
        ({"a": A[:0], "b": B[:0]}, ArgumentError, r"x\['a'\] must be at least one sample"),
        ({"a": A, "b": B * np.nan}, ArgumentError, r"x\['b'\]"),
    ],
)
def test_wrong_inputs_are_refused(x, error, words):
    with pytest.raises(error, match=words):
        check_gradients(two_outputs(), x)


def test_wrong_targets_are_refused():
    y_true = {"kind": rng.normal(size=(4, 4)), "size": rng.normal(size=(4, 1))}
    loss = Losses({"kind": MeanSquaredError(), "size": MeanSquaredError()})
    with pytest.raises(ArgumentError, match="none for 'size'"):
        check_gradients(two_outputs(), loss, TWO, {"kind": y_true["kind"]})
    with pytest.raises(ShapeError, match="output 'size'"):
        check_gradients(two_outputs(), loss, TWO, {**y_true, "size": np.zeros((4, 2))})
    with pytest.raises(ArgumentError, match=r"y_true\['size'\]"):
        check_gradients(two_outputs(), loss, TWO, {**y_true, "size": "none"})
    with pytest.raises(ShapeError, match="samples"):
        check_gradients(two_outputs(), loss, TWO, {**y_true, "size": np.zeros((2, 1))})
