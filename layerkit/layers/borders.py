"""Layers that put zeros around samples, cut their borders off, or repeat their places."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer

__all__ = ["Cropping", "UpSampling", "ZeroPadding"]

Amounts = int | tuple[Any, ...]


def _ends(where: str, argument: str, value: Any) -> Amounts:
    """Check for a number for all ends, or for each inner axis a number or a pair, its two ends."""
    if not isinstance(value, tuple | list):
        return check.integer(where, argument, value, minimum=0)
    ends: list[Any] = []
    for each in value:
        if isinstance(each, tuple | list):
            if len(each) != 2:
                remedy = "Write ((1, 2), (0, 3)) for 1 above, 2 below, and 3 on the right."
                wanted = "a number, or for each inner axis a number or a pair"
                check.fail(where, argument, wanted, value, remedy)
            ends.append(tuple(check.integer(where, argument, n, minimum=0) for n in each))
        else:
            ends.append(check.integer(where, argument, each, minimum=0))
    return tuple(ends)


def _for_axes(layer: Layer, amounts: Amounts, n_axes: int) -> list[Any]:
    """Return what there is for each inner axis, and refuse samples of other axes."""
    if isinstance(amounts, int):
        amounts = (amounts,) * n_axes
    if n_axes < 1 or len(amounts) != n_axes:
        wanted = f"of {len(amounts) or 1} axes and the channels, as {layer!r} has amounts for"
        where, got = f"{type(layer).__name__}.build", check.Said(f"{n_axes} and the channels")
        check.fail(where, "input_shape", wanted, got, error=ShapeError)
    return list(amounts)


def _inside(layer: Layer, amounts: Amounts, shape: Shape) -> tuple[slice, ...]:
    """Return where the inner places of a larger array are, of this shape with batch axis."""
    ends = [
        (each, each) if isinstance(each, int) else each
        for each in _for_axes(layer, amounts, len(shape) - 2)
    ]
    inner = zip(ends, shape[1:-1], strict=True)
    return (slice(None), *(slice(before, n - after) for (before, after), n in inner))


def _sums(layer: Layer, amounts: Amounts, input_shape: Shape) -> list[int]:
    """Return the sum of both ends of each inner axis."""
    each = _for_axes(layer, amounts, len(input_shape) - 1)
    return [2 * ends if isinstance(ends, int) else sum(ends) for ends in each]


class ZeroPadding(Layer):
    """Zeros around each sample: (batch_size, length, …, channels) → (batch_size, length', …).

    The axes between the first and the last may be any number, and open: one for series, two for
    images. length' = before + length + after. Backwards, dx is dy without the borders.

    Parameters
    ----------
    padding : int or tuple
        Number of zeros at all ends; or for each inner axis that at both ends, or a pair (before,
        after).
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build`, if samples have other axes than there are numbers for.

    Examples
    --------
    >>> from layerkit import Sequential, ZeroPadding
    >>> model = Sequential([ZeroPadding(((1, 2),))], input_shape=(None, 1))
    >>> model.predict([[[7], [8]]])[0, :, 0]
    array([0., 7., 8., 0., 0.])
    """

    def __init__(self, padding: int | tuple[Any, ...] = 1, *, name: str | None = None) -> None:
        self.padding = _ends("ZeroPadding.__init__", "padding", padding)
        self.name = check.name("ZeroPadding.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Add the zeros to the lengths."""
        added = _sums(self, self.padding, input_shape)
        flat.check_growth("ZeroPadding.build", (1,), tuple(1 + n for n in added))
        lengths = zip(input_shape, added, strict=False)
        return (*(None if n is None else n + more for n, more in lengths), input_shape[-1])

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Copy x into zeros."""
        added = _sums(self, self.padding, x.shape[1:])
        lengths = (n + more for n, more in zip(x.shape[1:-1], added, strict=True))
        y = np.zeros((len(x), *lengths, x.shape[-1]), x.dtype)
        y[_inside(self, self.padding, y.shape)] = x
        return y, None

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Cut the borders off."""
        return dy[_inside(self, self.padding, dy.shape)]


class Cropping(Layer):
    """Cuts the borders of each sample off.

    x is of shape (batch_size, length, …, channels), and length' = length − before − after. The
    axes between the first and the last may be any number, and open: one for series, two for
    images. Backwards, dx is 0 in the borders.

    Parameters
    ----------
    cropping : int or tuple
        Number of places to cut off at all ends; or for each inner axis that at both ends, or a
        pair (before, after).
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build`, if samples have other axes than there are numbers for; there or in a pass, if
        nothing would be left.

    Examples
    --------
    >>> from layerkit import Cropping, Sequential
    >>> model = Sequential([Cropping(((1, 2),))], input_shape=(None, 1))
    >>> model.predict([[[6], [7], [8], [9], [0]]])[0, :, 0]
    array([7., 8.])
    """

    def __init__(self, cropping: int | tuple[Any, ...] = 1, *, name: str | None = None) -> None:
        self.cropping = _ends("Cropping.__init__", "cropping", cropping)
        self.name = check.name("Cropping.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Subtract what is cut off from the lengths."""
        return (*self._left("build", "input_shape", input_shape), input_shape[-1])

    def _left(self, method: str, argument: str, sample_shape: Shape) -> Shape:
        """Return the lengths that are left."""
        cut = _sums(self, self.cropping, sample_shape)
        for axis, (length, n_cut) in enumerate(zip(sample_shape, cut, strict=False), start=1):
            if length is not None and length <= n_cut:
                wanted = f"longer than the {n_cut} places cut off along axis {axis}"
                got = check.Said(f"samples of shape {sample_shape}")
                check.fail(f"Cropping.{method}", argument, wanted, got, error=ShapeError)
        lengths = zip(sample_shape, cut, strict=False)
        return tuple(None if n is None else n - n_cut for n, n_cut in lengths)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Cut the borders off."""
        self._left("compute_forward", "x", x.shape[1:])
        return x[_inside(self, self.cropping, x.shape)], x.shape

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Copy dy into zeros."""
        dx = np.zeros(cache, dy.dtype)
        dx[_inside(self, self.cropping, cache)] = dy
        return dx


class UpSampling(Layer):
    """Repeats each place, side by side: (batch_size, length, …) → (batch_size, size · length, …).

    The axes between the first and the last may be any number, and open: one for series, two for
    images, which grow to each pixel's nearest neighbour. Backwards, dx is the sum over all copies.

    Parameters
    ----------
    size : int or tuple of int
        Number of copies along each inner axis; one number for all.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build`, if samples have other axes than there are numbers for.

    Examples
    --------
    >>> from layerkit import Sequential, UpSampling
    >>> model = Sequential([UpSampling(2)], input_shape=(None, None, 1))
    >>> model.predict([[[[1], [2]]]])[0, :, :, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
    """

    def __init__(self, size: int | tuple[int, ...] = 2, *, name: str | None = None) -> None:
        where = "UpSampling.__init__"
        self.size: Amounts
        if isinstance(size, tuple | list):
            self.size = tuple(check.integer(where, "size", n, minimum=1) for n in size)
        else:
            self.size = check.integer(where, "size", size, minimum=1)
        self.name = check.name(where, name)

    def build(self, input_shape: Shape) -> Shape:
        """Multiply the lengths."""
        sizes = _for_axes(self, self.size, len(input_shape) - 1)
        flat.check_growth("UpSampling.build", (1,), tuple(sizes))
        lengths = zip(input_shape, sizes, strict=False)
        return (*(None if n is None else n * size for n, size in lengths), input_shape[-1])

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Repeat all places."""
        lengths, sizes = x.shape[1:-1], _for_axes(self, self.size, x.ndim - 2)
        apart = itertools.chain(*zip(lengths, sizes, strict=True))
        y = np.empty((len(x), *apart, x.shape[-1]), x.dtype)
        y[...] = x.reshape(len(x), *itertools.chain(*((n, 1) for n in lengths)), x.shape[-1])
        whole = (n * size for n, size in zip(lengths, sizes, strict=True))
        return y.reshape(len(x), *whole, x.shape[-1]), x.shape

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Add up the gradients of all copies."""
        lengths, sizes = cache[1:-1], _for_axes(self, self.size, len(cache) - 2)
        apart = itertools.chain(*zip(lengths, sizes, strict=True))
        copies = dy.reshape(len(dy), *apart, cache[-1])
        dx: Array = copies.sum(axis=tuple(range(2, copies.ndim, 2)))
        return dx
