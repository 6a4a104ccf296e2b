import numpy as np
import pytest
from numpy.testing import assert_array_equal

from layerkit import Add, ArgumentError, Concatenate, Dense, Graph, Multiply, Sequential, ShapeError

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
