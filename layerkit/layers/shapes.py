"""Layers that change the shape of a sample, and none of its numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer

__all__ = ["Flatten", "Permute", "RepeatVector", "Reshape"]


class Flatten(Layer):
    """Lays all axes of a sample into one: (batch_size, a, b, …) → (batch_size, a · b · …).

    The last axis runs fastest, as in NumPy's C order.

    Parameters
    ----------
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ShapeError
        By `build`, if an axis is open.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Flatten, Sequential
    >>> model = Sequential([Flatten()], input_shape=(2, 2))
    >>> model.predict([[[1, 2], [3, 4]]])
    array([[1., 2., 3., 4.]])
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = check.name("Flatten.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Multiply the lengths of the axes."""
        if None in input_shape:
            remedy = "Use a pooling layer, or give the axis a length."
            wanted = "without an open axis, as a width is a fixed number"
            check.fail(
                "Flatten.build", "input_shape", wanted, input_shape, remedy, error=ShapeError
            )
        return (math.prod(input_shape),)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Reshape x."""
        return x.reshape(len(x), *self.output_shape), x.shape  # type: ignore[misc]

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Reshape dy as x was."""
        return dy.reshape(cache)


class Reshape(Layer):
    """Lays the numbers of a sample into other axes, in their order (the last axis runs fastest).

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample afterwards; -1, once, for the length that fits.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If the shape is no tuple of integers above 0, but for one of -1.
    ShapeError
        By `build`, if a sample has another number of elements, or an open axis.

    Examples
    --------
    >>> from layerkit import Reshape, Sequential
    >>> model = Sequential([Reshape((2, -1))], input_shape=(6,))
    >>> model.predict([[1, 2, 3, 4, 5, 6]])
    array([[[1., 2., 3.],
            [4., 5., 6.]]])
    """

    def __init__(self, shape: Shape, *, name: str | None = None) -> None:
        where = "Reshape.__init__"
        if not isinstance(shape, tuple | list):
            check.fail(where, "shape", "a tuple, the shape of one sample", shape)
        self.shape = tuple(check.integer(where, "shape", length, minimum=-1) for length in shape)
        if 0 in self.shape or self.shape.count(-1) > 1:
            check.fail(where, "shape", "of lengths above 0, with -1 at most once", self.shape)
        self.name = check.name(where, name)

    def build(self, input_shape: Shape) -> Shape:
        """Find the length that is -1, and compare the numbers of elements."""
        known = math.prod(length for length in self.shape if length > 0)
        size = 0 if None in input_shape else math.prod(input_shape)
        fits = size == known if -1 not in self.shape else size > 0 and size % known == 0
        if not fits:
            wanted = f"of as many elements as {self.shape}, without an open axis"
            check.fail("Reshape.build", "input_shape", wanted, input_shape, error=ShapeError)
        return tuple(size // known if length == -1 else length for length in self.shape)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Reshape x."""
        return x.reshape(len(x), *self.output_shape), x.shape  # type: ignore[misc]

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Reshape dy as x was."""
        return dy.reshape(cache)


class Permute(Layer):
    """Puts the axes of a sample into another order.

    Parameters
    ----------
    axes : tuple of int
        Axes of the batch in their new order, 1 for the first of a sample: (2, 1) swaps two.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If the axes are not the numbers from 1 on, each once.
    ShapeError
        By `build`, if a sample has more or fewer axes.

    Examples
    --------
    >>> from layerkit import Permute, Sequential
    >>> model = Sequential([Permute((2, 1))], input_shape=(1, 3))
    >>> model.predict([[[1, 2, 3]]])
    array([[[1.],
            [2.],
            [3.]]])
    """

    def __init__(self, axes: tuple[int, ...], *, name: str | None = None) -> None:
        where = "Permute.__init__"
        numbers = list(axes) if isinstance(axes, tuple | list) else []
        if not numbers or sorted(numbers) != list(range(1, len(numbers) + 1)):
            check.fail(where, "axes", "the numbers from 1 on, each once, such as (2, 1)", axes)
        self.axes = tuple(check.integer(where, "axes", axis, minimum=1) for axis in numbers)
        self.name = check.name(where, name)

    def build(self, input_shape: Shape) -> Shape:
        """Put the lengths into the new order."""
        if len(input_shape) != len(self.axes):
            wanted = f"of {len(self.axes)} axes, as {self!r} orders"
            check.fail("Permute.build", "input_shape", wanted, input_shape, error=ShapeError)
        return tuple(input_shape[axis - 1] for axis in self.axes)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Order the axes anew."""
        return x.transpose(0, *self.axes), None

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Order them as they were."""
        return dy.transpose(0, *(int(axis) for axis in np.argsort(self.axes) + 1))


class RepeatVector(Layer):
    """Repeats a sample along a new first axis: (batch_size, …) → (batch_size, n, …).

    Parameters
    ----------
    n : int
        Number of times.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    Examples
    --------
    >>> from layerkit import RepeatVector, Sequential
    >>> Sequential([RepeatVector(2)], input_shape=(3,)).predict([[1, 2, 3]])
    array([[[1., 2., 3.],
            [1., 2., 3.]]])
    """

    def __init__(self, n: int, *, name: str | None = None) -> None:
        self.n = check.integer("RepeatVector.__init__", "n", n, minimum=1)
        self.name = check.name("RepeatVector.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Put the new axis first."""
        return (self.n, *input_shape)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Repeat x."""
        return np.repeat(x[:, None], self.n, axis=1), None

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Add up the gradients of all copies."""
        dx: Array = dy.sum(axis=1)
        return dx
