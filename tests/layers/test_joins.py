import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from recorded_layers import compare

from layerkit import (
    Add,
    ArgumentError,
    Concatenate,
    Dense,
    Dot,
    Graph,
    Join,
    Multiply,
    Sequential,
    ShapeError,
    StateError,
)
from layerkit.testing import check_gradients

SHAPES = {"a": (2, 3), "b": (2, 3), "c": (2, 3)}
ARRAYS = {
    name: np.random.default_rng(seed).integers(-3, 4, (4, 2, 3)).astype(float)
    for seed, name in enumerate(SHAPES)
}


def joined(join):
    return Graph(SHAPES, {"y": (join, tuple(SHAPES))}, "y")


REFERENCES = {
    "Add()": lambda a, b, c: a + b + c,
    "Multiply()": lambda a, b, c: a * b * c,
    "Concatenate()": lambda a, b, c: np.concatenate([a, b, c], axis=2),
    "Concatenate(1)": lambda a, b, c: np.concatenate([a, b, c], axis=1),
}


@pytest.mark.parametrize("join", [Add(), Multiply(), Concatenate(), Concatenate(1)], ids=repr)
def test_outputs_and_gradients_with_zeros_among_the_factors(join):
    reference = REFERENCES[repr(join)]
    model = joined(join)
    y = model.forward(ARRAYS, training=True)
    assert_array_equal(y, reference(**ARRAYS))
    assert model.output_shape == y.shape[1:]
    dy = np.random.default_rng(9).normal(size=y.shape)
    dx = model.backward(dy)
    for name in SHAPES:  # each is linear in each input: a difference is exact up to rounding
        for index in np.ndindex(ARRAYS[name].shape):
            moved = {own: array.copy() for own, array in ARRAYS.items()}
            moved[name][index] += 1
            difference = ((reference(**moved) - y) * dy).sum()
            # Sums of 12 to 72 terms of size 1 to 30.
            assert abs(difference - dx[name][index]) < 1e-12


def test_inputs_stay_as_they_are():
    for join in (Add(), Multiply(), Concatenate()):
        model, before = joined(join), {name: array.copy() for name, array in ARRAYS.items()}
        y = model.forward(ARRAYS, training=True)
        dy = np.ones_like(y)
        dx = model.backward(dy)
        for array in dx.values():
            array += 7  # the caller's own
        assert (dy == 1).all()
        for name, array in before.items():
            assert_array_equal(ARRAYS[name], array)


def test_lengths_that_differ_along_the_axis():
    model = Graph({"a": (2, 3), "b": (5, 3)}, {"y": (Concatenate(1), ("a", "b"))}, "y")
    assert model.output_shape == (7, 3)
    model.forward({"a": np.ones((1, 2, 3)), "b": np.ones((1, 5, 3))}, training=True)
    dx = model.backward(np.arange(21.0).reshape(1, 7, 3))
    assert_array_equal(dx["a"].ravel(), np.arange(6))
    assert_array_equal(dx["b"].ravel(), np.arange(6, 21))


@pytest.mark.parametrize(
    ("join", "shapes", "message"),
    [
        (Add(), [(2,), (3,)], r"^Add.build: input_shapes must be all the same; got \(2,\), \(3,\)"),
        (Multiply(), [(2,), (2, 1)], r"^Multiply.build: input_shapes .* all the same"),
        (Concatenate(1), [(2, 3), (2, 4)], r"^Concatenate.build: .* alike in all axes but 1; got"),
        (Concatenate(), [(2, 3), (3,)], r"^Concatenate.build: .* alike in all axes but -1"),
        (Concatenate(2), [(3,), (3,)], r"^Concatenate.build: .* samples with axis 2; got \(3,\)"),
        (Concatenate(-2), [(3,), (3,)], r"^Concatenate.build: .* samples with axis -2"),
    ],
)
def test_shapes_that_do_not_fit(join, shapes, message):
    inputs = {f"x{index}": shape for index, shape in enumerate(shapes)}
    with pytest.raises(ShapeError, match=message):
        Graph(inputs, {"y": (join, tuple(inputs))}, "y")


@pytest.mark.parametrize("axis", [0, 1.5, "1", True])
def test_an_axis_that_is_none(axis):
    with pytest.raises(ArgumentError, match=r"^Concatenate.__init__: axis must be"):
        Concatenate(axis)


def test_a_join_is_no_layer_of_a_row():
    message = r"^Sequential.__init__: layers must be layers of one input; .* node of a Graph"
    with pytest.raises(ArgumentError, match=message):
        Sequential([Dense(2, 2), Add()])


# A join by itself: tuples of arrays, as it is driven outside of a graph.
RNG = np.random.default_rng(0)
JOINS = {
    "add": (Add, lambda x: sum(x)),
    "multiply": (Multiply, lambda x: np.prod(x, axis=0)),
    "concatenate": (Concatenate, lambda x: np.concatenate(x, axis=-1)),
}


class Weighted(Join):
    """y = a · x₀ · x₁ with a parameter a; x₁ is a mask, without a gradient."""

    def build(self, input_shape):
        self.factor = self.add_parameter("factor", input_shape[0], Dense(1, 1).kernel_initializer)
        return input_shape[0]

    def compute_forward(self, x, *, training):
        return self.factor.value * x[0] * x[1], x

    def compute_backward(self, dy, cache):
        self.factor.grad = (dy * cache[0] * cache[1]).sum(axis=0)
        return dy * self.factor.value * cache[1], None


def alone(join, shape=(3,), n=2, dtype=np.float64):
    """A graph of one join, and the join."""
    names = [f"x{index}" for index in range(n)]
    graph = Graph(dict.fromkeys(names, shape), {"y": (join, names)}, "y", seed=0, dtype=dtype)
    return graph["y"]


@pytest.mark.parametrize("name", JOINS)
@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("shape", [(3,), (2, 3), ()])
def test_joins_compute_what_they_say(name, n, shape):
    kind, plain = JOINS[name]
    if name == "concatenate" and not shape:
        return
    join = alone(kind(), shape, n)
    x = [RNG.normal(size=(5, *shape)) for _ in range(n)]
    expected = plain(x)
    assert_allclose(join.forward(x), expected, rtol=1e-14)
    assert join.output_shape == expected.shape[1:]
    y = join.forward(tuple(x), training=True)
    dy = RNG.normal(size=y.shape)
    dx = join.backward(dy)
    assert isinstance(dx, tuple)
    for array, part in zip(x, dx, strict=True):
        for place in np.ndindex(array.shape):
            kept, totals = array[place], []
            for step in (0.5, -0.5):
                array[place] = kept + step
                totals.append(float((plain(x) * dy).sum()))
            array[place] = kept
            # All are linear in each input: a difference is the gradient but for rounding.
            assert part[place] == pytest.approx(totals[0] - totals[1], rel=1e-10, abs=1e-12)


def test_the_product_with_zeros_has_gradients():
    join = alone(Multiply(), (1,), 3)
    join.forward(([[0.0]], [[2.0]], [[0.0]]), training=True)
    assert [part.item() for part in join.backward([[1.0]])] == [0, 0, 0]
    join.forward(([[0.0]], [[2.0]], [[3.0]]), training=True)
    assert [part.item() for part in join.backward([[1.0]])] == [6, 0, 0]


def test_arrays_are_concatenated_along_any_axis_but_the_first():
    a, b = RNG.normal(size=(4, 2, 3)), RNG.normal(size=(4, 5, 3))
    for axis in (1, -2):
        graph = Graph({"a": (2, 3), "b": (5, 3)}, {"y": (Concatenate(axis), ("a", "b"))}, "y")
        assert graph.output_shape == (7, 3)
        assert_array_equal(graph.predict({"a": a, "b": b}), np.concatenate([a, b], axis=1))
        graph.forward({"a": a, "b": b}, training=True)
        dx = graph.backward(np.concatenate([a, b], axis=1))
        assert_array_equal(dx["a"], a)
        assert_array_equal(dx["b"], b)
    assert repr(Concatenate(1)) == "Concatenate(1)"
    assert repr(Concatenate()) == "Concatenate()"


def test_a_join_of_ones_own_may_have_parameters_and_let_no_gradient_through():
    join = alone(Weighted())
    x, mask = RNG.normal(size=(4, 3)), RNG.integers(2, size=(4, 3))
    y = join.forward((x, mask), training=True)
    assert_allclose(y, join.factor.value * x * mask)
    dx, none = join.backward(np.ones((4, 3)))
    assert none is None
    assert_allclose(dx, join.factor.value * mask)
    assert_allclose(join.factor.grad, (x * mask).sum(axis=0))
    copied = copy.deepcopy(join)
    assert_allclose(copied.forward((x, mask)), y)


def test_what_comes_out_is_the_callers():
    class First(Add):
        def compute_forward(self, x, *, training):
            return x[0], len(x)

    join, x = alone(First()), np.ones((2, 3))
    for training in (False, True):
        y = join.forward((x, x), training=training)
        y += 1
        assert_array_equal(x, np.ones((2, 3)))
    dy = np.ones((2, 3))
    first, second = join.backward(dy)
    first += 1
    assert_array_equal(dy, second)
    product, a = alone(Multiply()), np.ones((2, 3))
    product.forward((a, a), training=True)
    a += 1  # the caller's, of which the cache holds nothing
    assert_array_equal(product.backward(dy)[0], np.ones((2, 3)))


def test_float32_stays():
    for kind, _ in JOINS.values():
        join = alone(kind(), dtype=np.float32)
        y = join.forward(([[1, 2, 3]], [[4.0, 5.0, 6.0]]), training=True)
        assert y.dtype == np.float32
        assert {part.dtype for part in join.backward(y)} == {np.dtype(np.float32)}


class Wrong(Add):
    def __init__(self, dx):
        super().__init__()
        self.dx = dx

    def compute_backward(self, dy, cache):
        return self.dx


def backward_of(dx):
    join = alone(Wrong(dx))
    join.forward((np.ones((1, 3)), np.ones((1, 3))), training=True)
    return join.backward(np.ones((1, 3)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Add().forward(([[1]], [[1]])), StateError, "Add.forward: layer must be part of a"),
        (lambda: alone(Add()).backward([[1]]), StateError, "Add.backward: cache must be that of"),
        (lambda: alone(Add()).forward([[1, 2, 3]]), ShapeError, "x must be a tuple of 2 arrays"),
        (lambda: alone(Add()).forward(1), ShapeError, "x must be a tuple of 2 arrays; got 1"),
        (
            lambda: alone(Add()).forward((np.ones((2, 3)), np.ones((2, 4)))),
            ShapeError,
            r"Add.forward: x\[1\] must be of shape \(batch_size, 3\); got \(2, 4\)",
        ),
        (
            lambda: alone(Add()).forward((np.ones((2, 3)), np.ones((1, 3)))),
            ShapeError,
            r"x\[1\] must be as long as x\[0\]; got 1 and 2 samples",
        ),
        (lambda: backward_of(np.ones((1, 3))), ArgumentError, "dx must be a tuple of 2, one for e"),
        (lambda: backward_of((None,)), ArgumentError, "Wrong.compute_backward: dx must be a tuple"),
        (
            lambda: backward_of((None, np.ones((1, 2)))),
            ShapeError,
            r"Wrong.compute_backward: dx\[1\] must be of shape \(1, 3\); got \(1, 2\)",
        ),
    ],
)
def test_what_a_join_by_itself_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("kind", [Add, Multiply])
def test_open_axes_of_different_lengths_are_not_broadcast(kind):
    graph = Graph({"a": (None,), "b": (None,)}, {"y": (kind(), ("a", "b"))}, "y")
    assert graph.predict({"a": np.ones((2, 3)), "b": np.ones((2, 3))}).shape == (2, 3)
    words = rf"{kind.__name__}.compute_forward: x\[1\] must be of shape \(2, 3\); got \(2, 1\)"
    with pytest.raises(ShapeError, match=words):
        graph.predict({"a": np.ones((2, 3)), "b": np.ones((2, 1))})


def dotted(join):
    return Graph({"a": (2, 3), "b": (2, 3)}, {"y": (join, ("a", "b"))}, "y")


def test_dot_is_the_sum_of_products():
    a, b = ARRAYS["a"], ARRAYS["b"]
    y = dotted(Dot()).predict({"a": a, "b": b})
    assert_array_equal(y, np.einsum("nij,nij->ni", a, b)[..., None])


def test_cosines_are_those_of_torch():
    compare("Dot(normalize=True)")


@pytest.mark.parametrize("join", [Dot(), Dot(normalize=True)], ids=repr)
def test_gradients_of_dot(join):
    rng = np.random.default_rng(0)
    check_gradients(
        dotted(join), {"a": rng.normal(size=(4, 2, 3)), "b": rng.normal(size=(4, 2, 3))}
    )


def test_cosines_at_any_length():
    model = dotted(Dot(normalize=True))
    a = np.full((1, 2, 3), 1e200)
    a[0, 1] = 0  # without a direction
    y = model.forward({"a": a, "b": np.ones((1, 2, 3))}, training=True)
    assert_allclose(y, [[[1], [0]]])
    dx = model.backward(np.ones((1, 2, 1)))
    assert all(np.isfinite(gradient).all() for gradient in dx.values())


def test_what_dot_refuses():
    with pytest.raises(ArgumentError, match=r"Dot.__init__: normalize must be"):
        Dot(normalize=1)
    message = r"Dot.build: input_shapes must be those of two inputs; got 3 of them"
    with pytest.raises(ArgumentError, match=message):
        joined(Dot())
    with pytest.raises(ShapeError, match=r"Dot.build: input_shapes must be all the same"):
        Graph({"a": (2,), "b": (3,)}, {"y": (Dot(), ("a", "b"))}, "y")
