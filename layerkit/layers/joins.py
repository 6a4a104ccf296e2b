"""Joins: nodes of a graph that read several arrays and compute one."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer

__all__ = ["Add", "Concatenate", "Dot", "Join", "Multiply"]


class Join(Layer):
    """Base class of the nodes of several inputs, in a `Graph`.

    As a `Layer`, except that x, the input shapes and dx are tuples, one item for each input.
    A None in dx means that there is no gradient for that input, such as a mask.

    Parameters
    ----------
    name : str, optional
        Name of the layer.

    Raises
    ------
    ShapeError
        By `build`, if the input shapes don't fit together.

    Examples
    --------
    >>> from layerkit import Dense, Graph, Join
    >>> class Subtract(Join):
    ...     def build(self, input_shapes):
    ...         return input_shapes[0]
    ...     def compute_forward(self, x, *, training):
    ...         return x[0] - x[1], None
    ...     def compute_backward(self, dy, cache):
    ...         return dy, -dy
    >>> inputs = {"left": (2,), "right": (2,)}
    >>> model = Graph(inputs, {"gap": (Subtract(), ("left", "right"))}, "gap")
    >>> model.predict({"left": [[3, 4]], "right": [[1, 1]]})
    array([[2., 3.]])
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = check.name(f"{type(self).__name__}.__init__", name)

    def accepts(self, input_shape: Any) -> bool:
        """Return whether these are the shapes of several inputs, and those it was built for."""
        several = bool(input_shape) and all(isinstance(shape, tuple) for shape in input_shape)
        return several and self.input_shape in (None, input_shape)

    @abstractmethod
    def build(self, input_shapes: tuple[Shape, ...]) -> Shape:
        """Declare the parameters, and return the shape of one sample's output."""

    @abstractmethod
    def compute_forward(self, x: Any, *, training: bool) -> tuple[Array, Any]:
        """Compute y and a cache from a tuple of arrays; see `Layer.compute_forward`."""

    @abstractmethod
    def compute_backward(self, dy: Array, cache: Any) -> Any:
        """Compute a tuple of gradients, one for each input; see `Layer.compute_backward`."""

    @ignoring("under")
    def forward(self, x: Any, training: bool = False) -> Array:
        """Compute the output of a batch.

        Parameters
        ----------
        x : tuple of array_like of shape (batch_size, *input_shape[i])
            Inputs; cast to the layer's dtype.
        training : bool
            Whether to keep what `backward` needs.

        Returns
        -------
        ndarray of shape (batch_size, *output_shape)
            Output, the caller's to keep and to change.

        Raises
        ------
        ShapeError
            If an input has another shape or another number of samples, or there are more or fewer.
        StateError
            If the join is not part of a graph yet.
        """
        self._check_built("forward")
        where = f"{type(self).__name__}.forward"
        shapes: Any = self.input_shape
        if not isinstance(x, tuple | list) or len(x) != len(shapes):
            check.fail(where, "x", f"a tuple of {len(shapes)} arrays", x, error=ShapeError)
        batches = []
        for index, (array, shape) in enumerate(zip(x, shapes, strict=True)):
            batches.append(check.batch(where, f"x[{index}]", array, shape, self.dtype))
            if len(batches[-1]) != len(batches[0]):
                got = check.Said(f"{len(batches[-1])} and {len(batches[0])} samples")
                check.fail(where, f"x[{index}]", "as long as x[0]", got, error=ShapeError)
        # The caller's arrays may change before the backward pass.
        batches = [batch.copy() for batch in batches]
        y, cache = self.compute_forward(tuple(batches), training=training)
        expected = (len(batches[0]), *(self.output_shape or ()))
        check.computed(f"{type(self).__name__}.compute_forward", "y", y, expected, self.dtype)
        if training:
            self._cache = (cache, tuple(batch.shape for batch in batches), y.shape)
        return y.copy() if training else y

    @ignoring("under")
    def backward(self, dy: Any) -> Any:
        """Compute the gradients of the last ``forward(x, training=True)``.

        Parameters
        ----------
        dy : array_like of shape (batch_size, *output_shape)
            Gradient of the loss with respect to the output.

        Returns
        -------
        tuple of (ndarray or None)
            Gradient with respect to each input. Each parameter's is in its ``grad``.

        Raises
        ------
        ShapeError
            If dy does not have the output's shape.
        StateError
            If no forward pass came before, or its backward pass is done already.
        """
        where = f"{type(self).__name__}.backward"
        cache, shapes, y_shape = self._last_pass(where)
        gradient = check.numeric_array(where, "dy", dy, self.dtype)
        check.exact_shape(where, "dy", gradient, y_shape)
        self._cache = None
        dx = self.compute_backward(gradient, cache)
        computed = f"{type(self).__name__}.compute_backward"
        if not isinstance(dx, tuple) or len(dx) != len(shapes):
            check.fail(computed, "dx", f"a tuple of {len(shapes)}, one for each input", dx)
        for index, (part, shape) in enumerate(zip(dx, shapes, strict=True)):
            if part is not None:
                check.computed(computed, f"dx[{index}]", part, shape, self.dtype)
        return tuple(None if part is None else part.copy() for part in dx)


def _check_lengths(join: Join, x: tuple[Array, ...]) -> None:
    """Refuse lengths of open axes that differ, which NumPy would broadcast."""
    for index, array in enumerate(x):
        if array.shape != x[0].shape:
            where = f"{type(join).__name__}.compute_forward"
            check.exact_shape(where, f"x[{index}]", array, x[0].shape)


def _check_alike(join: Join, input_shapes: tuple[Shape, ...]) -> Shape:
    if any(shape != input_shapes[0] for shape in input_shapes):
        where = f"{type(join).__name__}.build"
        got = check.Said(", ".join(map(str, input_shapes)))
        check.fail(where, "input_shapes", "all the same", got, error=ShapeError)
    return input_shapes[0]


class Add(Join):
    """Sum of its inputs: y = Σ xᵢ, and dxᵢ = dy.

    Parameters
    ----------
    name : str, optional
        Name of the layer.

    Raises
    ------
    ShapeError
        By `build`, if the inputs have different shapes.

    Examples
    --------
    >>> from layerkit import Add, Dense, Graph
    >>> nodes = {"branch": (Dense(3, 3), "x"), "y": (Add(), ("x", "branch"))}
    >>> Graph({"x": (3,)}, nodes, "y", seed=0).predict([[1, 2, 3]]).shape
    (1, 3)
    """

    def build(self, input_shapes: tuple[Shape, ...]) -> Shape:
        """Check that all inputs have the same shape, the output's."""
        return _check_alike(self, input_shapes)

    def compute_forward(self, x: Any, *, training: bool) -> tuple[Array, Any]:
        """Compute y = Σ xᵢ."""
        _check_lengths(self, x)
        y = x[0].copy()
        for term in x[1:]:
            y += term
        return y, len(x)

    def compute_backward(self, dy: Array, cache: Any) -> Any:
        """Compute dxᵢ = dy."""
        return (dy,) * cache


class Multiply(Join):
    """Product of its inputs, element by element: y = Π xᵢ, and dxᵢ = dy · Π xⱼ over j ≠ i.

    Parameters
    ----------
    name : str, optional
        Name of the layer.

    Raises
    ------
    ShapeError
        By `build`, if the inputs have different shapes.

    Examples
    --------
    >>> from layerkit import Graph, Multiply
    >>> model = Graph({"x": (2,), "gate": (2,)}, {"y": (Multiply(), ("x", "gate"))}, "y")
    >>> model.predict({"x": [[3, 4]], "gate": [[0, 1]]})
    array([[0., 4.]])
    """

    def build(self, input_shapes: tuple[Shape, ...]) -> Shape:
        """Check that all inputs have the same shape, the output's."""
        return _check_alike(self, input_shapes)

    def compute_forward(self, x: Any, *, training: bool) -> tuple[Array, Any]:
        """Compute y = Π xᵢ."""
        _check_lengths(self, x)
        return _product(x), x

    def compute_backward(self, dy: Array, cache: Any) -> Any:
        """Compute dxᵢ from the other factors: a quotient y / xᵢ would fail at zero."""
        return tuple(_product((dy, *cache[:i], *cache[i + 1 :])) for i in range(len(cache)))


def _product(factors: tuple[Array, ...]) -> Array:
    y = factors[0].copy()
    for factor in factors[1:]:
        y *= factor
    return y


class Concatenate(Join):
    """Inputs one after the other along an axis; dy is split in the same places.

    Parameters
    ----------
    axis : int
        Axis of the batch, not 0, which counts samples; the inputs may differ in its length alone.
    name : str, optional
        Name of the layer.

    Raises
    ------
    ArgumentError
        If the axis is 0 or not an integer.
    ShapeError
        By `build`, if the inputs differ in another axis, or have no such axis.

    Examples
    --------
    >>> from layerkit import Concatenate, Graph
    >>> model = Graph({"a": (2,), "b": (1,)}, {"y": (Concatenate(), ("a", "b"))}, "y")
    >>> model.predict({"a": [[1, 2]], "b": [[3]]})
    array([[1., 2., 3.]])
    """

    def __init__(self, axis: int = -1, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.axis = check.integer("Concatenate.__init__", "axis", axis, minimum=-32)
        if self.axis == 0:
            remedy = "Axis 0 counts the samples of the batch; the first of a sample is 1."
            check.fail("Concatenate.__init__", "axis", "an axis of a sample", axis, remedy)

    def build(self, input_shapes: tuple[Shape, ...]) -> Shape:
        """Add up the lengths along the axis."""
        where = "Concatenate.build"
        n_axes = len(input_shapes[0]) + 1
        axis = self.axis % n_axes if -n_axes <= self.axis < n_axes else 0
        if axis == 0:
            got = check.Said(str(input_shapes[0]))
            wanted = f"shapes of samples with axis {self.axis}"
            check.fail(where, "input_shapes", wanted, got, error=ShapeError)
        rests = [(*shape[: axis - 1], *shape[axis:]) for shape in input_shapes]
        if any(
            rest != rests[0] or len(shape) != n_axes - 1
            for rest, shape in zip(rests, input_shapes, strict=True)
        ):
            got = check.Said(", ".join(map(str, input_shapes)))
            wanted = f"alike in all axes but {self.axis}"
            check.fail(where, "input_shapes", wanted, got, error=ShapeError)
        lengths = [shape[axis - 1] for shape in input_shapes]
        total = None if None in lengths else sum(lengths)
        return (*input_shapes[0][: axis - 1], total, *input_shapes[0][axis:])

    def compute_forward(self, x: Any, *, training: bool) -> tuple[Array, Any]:
        """Put the inputs one after the other."""
        return np.concatenate(x, self.axis), [part.shape[self.axis] for part in x]

    def compute_backward(self, dy: Array, cache: Any) -> Any:
        """Split dy where one input ends and the next begins."""
        return tuple(np.split(dy, np.cumsum(cache)[:-1], self.axis))


class Dot(Join):
    """Inner product of two inputs along the last axis, which keeps length 1: y = Σ a · b.

    Parameters
    ----------
    normalize : bool
        Whether to divide by the lengths |a| and |b|, each at least 1e-12: the cosine of the angle.
    name : str, optional
        Name of the layer.

    Raises
    ------
    ArgumentError
        If ``normalize`` is not True or False, or, by `build`, there are not two inputs.
    ShapeError
        By `build`, if the inputs have different shapes.

    Examples
    --------
    >>> from layerkit import Dot, Graph
    >>> model = Graph({"a": (2,), "b": (2,)}, {"y": (Dot(), ("a", "b"))}, "y")
    >>> model.predict({"a": [[1, 2]], "b": [[3, 4]]})
    array([[11.]])
    """

    _LEAST = 1e-12

    def __init__(self, *, normalize: bool = False, name: str | None = None) -> None:
        super().__init__(name=name)
        self.normalize = check.boolean("Dot.__init__", "normalize", normalize)

    def build(self, input_shapes: tuple[Shape, ...]) -> Shape:
        """Check that there are two inputs of one shape."""
        if len(input_shapes) != 2:
            got = check.Said(f"{len(input_shapes)} of them")
            check.fail("Dot.build", "input_shapes", "those of two inputs", got)
        return (*_check_alike(self, input_shapes)[:-1], 1)

    def compute_forward(self, x: Any, *, training: bool) -> tuple[Array, Any]:
        """Compute y = Σ a · b, or the cosine."""
        _check_lengths(self, x)
        if not self.normalize:
            return (x[0] * x[1]).sum(axis=-1, keepdims=True), (x, None, None)
        # By the largest number first, so that no square overflows.
        lengths = []
        for each in x:
            largest = np.maximum(np.abs(each).max(axis=-1, keepdims=True), self._LEAST)
            scaled = each / largest
            length = largest * np.sqrt(np.square(scaled).sum(axis=-1, keepdims=True))
            lengths.append(np.maximum(length, self._LEAST))
        units = tuple(each / length for each, length in zip(x, lengths, strict=True))
        y: Array = (units[0] * units[1]).sum(axis=-1, keepdims=True)
        return y, (units, lengths, y)

    def compute_backward(self, dy: Array, cache: Any) -> Any:
        """Compute da = dy · b and db = dy · a; of a cosine, without the part along the input."""
        (a, b), lengths, y = cache
        if lengths is None:
            return dy * b, dy * a
        dx = []
        for own, other, length in ((a, b, lengths[0]), (b, a, lengths[1])):
            # At the least length, |a| is a constant.
            along = np.where(length > self._LEAST, y * own, 0)
            dx.append(dy * (other - along) / length)
        return tuple(dx)
