"""Pooling: the largest or the mean number of each window."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer, Workspace
from layerkit.layers.correlation import Scratch
from layerkit.layers.windows import Windows, images_of, padding_of, sizes_of

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "MaxPooling1D",
    "MaxPooling2D",
]

# What goes from one tap to the next stays in a processor's cache.
_BLOCK_BYTES = 1 << 19
Places = tuple[slice, slice, slice]


class Pooling(Layer):
    """Base of layers that make one number of each window, for each channel."""

    n_axes: ClassVar[int] = 2

    def __init__(
        self,
        pool_size: int | tuple[int, ...] = 2,
        *,
        stride: int | tuple[int, ...] | None = None,
        padding: str | int | tuple[int, ...] = "valid",
        name: str | None = None,
    ) -> None:
        where, n_axes = f"{type(self).__name__}.__init__", self.n_axes
        self.pool_size = sizes_of(where, "pool_size", pool_size, n_axes)
        self.stride = None if stride is None else sizes_of(where, "stride", stride, n_axes)
        self.padding = padding_of(where, padding, n_axes)
        if not self.windows.are_never_empty:
            remedy = "A window would hold padding alone."
            check.fail(where, "padding", "below pool_size", padding, remedy)
        self.name = check.name(where, name)

    @property
    def windows(self) -> Windows:
        """Places of the windows."""
        stride = self.pool_size if self.stride is None else self.stride
        return Windows(self.pool_size, stride, self.padding, 1, n_axes=self.n_axes)

    def build(self, input_shape: Shape) -> Shape:
        """Count the windows."""
        where, kind = f"{type(self).__name__}.build", "a series" if self.n_axes == 1 else "images"
        if len(input_shape) != self.n_axes + 1:
            wanted = f"of {self.n_axes + 1} axes, those of {kind} and the channels"
            check.fail(where, "input_shape", wanted, input_shape, error=ShapeError)
        return (*self.windows.lengths(where, "input_shape", input_shape), input_shape[-1])

    def counted(self, x: Array) -> Shape:
        """Return the shape of the output of a batch, as that of images."""
        where = f"{type(self).__name__}.compute_forward"
        places = self.windows.lengths(where, "x", x.shape[1:])
        return (len(x), *(1,) * (2 - self.n_axes), *places, x.shape[-1])

    def taps(self, lengths: Shape) -> Iterator[tuple[Places, Places]]:
        """Go through the taps of a window: which windows have it inside, and where it then is."""
        windows = self.windows
        rows, columns = (windows.places(axis, length) for axis, length in enumerate(lengths))
        for (_, down, row), (_, across, column) in itertools.product(rows, columns):
            yield (slice(None), down, across), (slice(None), row, column)

    def new_gradient(self, shape: Shape, dtype: np.dtype[Any]) -> tuple[Array, bool]:
        """Return an array for dx, and whether no place is in two windows, and none has margins."""
        windows, lengths = self.windows, shape[1:3]
        counts = windows.counts(lengths)
        is_apart = all(
            size <= stride and windows.margins(axis, length) == (0, 0)
            for axis, (size, stride, length) in enumerate(
                zip(windows.size, windows.stride, lengths, strict=True)
            )
        )
        covered = tuple(n * size for n, size in zip(counts, windows.size, strict=True))
        return (np.empty if is_apart and covered == lengths else np.zeros)(shape, dtype), is_apart


class MaxPooling(Pooling):
    """Base of the layers that take the largest number of each window."""

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute the largest number of each window."""
        shape = self.counted(x)
        room = self.workspace(len(x), _Room) if training else _Room(len(x))
        room.in_use = True
        whole, of_all = images_of(x), room.scratch.array("y", shape, x.dtype)
        first, *others = self.taps(whole.shape[1:3])
        for block in self.blocks(whole):
            images, y = whole[block], of_all[block]
            if images[first[1]].shape != y.shape:
                y[...] = -np.inf  # where the tap is outside
            y[first[0]] = images[first[1]]
            for windows, places in others:
                np.maximum(y[windows], images[places], out=y[windows])
        y = of_all.reshape(len(x), *shape[3 - self.n_axes :])
        return y, (x, y, room)

    def blocks(self, images: Array) -> Iterator[slice]:
        """Go through some samples at a time."""
        step = max(1, _BLOCK_BYTES // max(1, images[:1].nbytes))
        for start in range(0, len(images), step):
            yield slice(start, min(start + step, len(images)))

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Carry dy back to the first of the largest numbers of each window."""
        *arrays, room = cache
        x, y, dy = (images_of(array) for array in (*arrays, dy))
        dx, is_apart = self.new_gradient(x.shape, x.dtype)
        *taps, last = self.taps(x.shape[1:3])
        if not is_apart:
            taps.append(last)
        for block in self.blocks(x):
            images, largest, gradient = x[block], y[block], dx[block]
            left = room.scratch.array("left", largest.shape, x.dtype)
            share_of_all = room.scratch.array("share", largest.shape, x.dtype)
            left[...] = dy[block]
            for windows, places in taps:
                part, share = left[windows], share_of_all[windows]
                np.multiply(part, images[places] == largest[windows], out=share)
                part -= share
                if is_apart:
                    gradient[places] = share
                else:
                    gradient[places] += share
            if is_apart:
                gradient[last[1]] = left  # where no tap before was the largest, it is the last
        room.in_use = False
        return dx.reshape(cache[0].shape)


class _Room(Workspace):
    """Memory for the outputs, and for what is left of their gradient."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size, self.scratch = batch_size, Scratch()


class AveragePooling(Pooling):
    """Base of the layers that take the mean of each window."""

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Add up the numbers of each window, and divide by how many there are."""
        images, shape = images_of(x), self.counted(x)
        y = np.zeros(shape, x.dtype)
        for windows, places in self.taps(images.shape[1:3]):
            y[windows] += images[places]
        y *= self.shares(images.shape[1:3]).astype(x.dtype)
        return y.reshape(len(x), *shape[3 - self.n_axes :]), x.shape

    def shares(self, lengths: Shape) -> Array:
        """Return one over the number of places that each window has inside the image."""
        counts = []
        for axis, length in enumerate(lengths):
            inside = np.zeros(self.windows.count(axis, length))
            for _, windows, _ in self.windows.places(axis, length):
                inside[windows] += 1
            counts.append(inside)
        down, across = counts
        shares: Array = 1 / (down[:, None, None] * across[:, None])
        return shares

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Divide dy among the places of its window."""
        shape = cache if len(cache) == 4 else (cache[0], 1, *cache[1:])
        share = images_of(dy) * self.shares(shape[1:3]).astype(dy.dtype)
        dx, is_apart = self.new_gradient(shape, dy.dtype)
        for windows, places in self.taps(shape[1:3]):
            if is_apart:
                dx[places] = share[windows]
            else:
                dx[places] += share[windows]
        return dx.reshape(cache)


class MaxPooling2D(MaxPooling):
    """The largest number of each window of images.

    x is of shape (batch_size, height, width, channels),
    y of (batch_size, height', width', channels):

    y[n, i, j, c] = max over x[n, i·s + a − p, j·s + b − p, c] for the a and b of a
    window, with stride s and padding p; what lies outside the image does not count. length' is
    ⌊(length + padding − pool_size) / stride⌋ + 1.

    Backwards, dy goes to the largest number of its window; of several, to the first.

    Parameters
    ----------
    pool_size : int or tuple of int
        Height and width of the windows; one number for both.
    stride : int or tuple of int, optional
        Places from window to window, down and across; by default the size, so that windows don't
        overlap.
    padding : {"valid", "same"}, int or tuple of int
        Margin that windows may reach into: none; as much as gives ⌈length / stride⌉ windows, the
        odd place at the end; or numbers of rows above and below, and of columns on both sides,
        below the size.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build` or a pass, if an image is smaller than a window.

    References
    ----------
    Ranzato et al. (2007), "Unsupervised learning of invariant feature hierarchies with
    applications to object recognition", section 2.

    Examples
    --------
    >>> from layerkit import MaxPooling2D, Sequential
    >>> model = Sequential([MaxPooling2D(2)], input_shape=(2, 4, 1))
    >>> model.predict([[[[1], [2], [5], [0]], [[3], [4], [0], [7]]]])[0, 0, :, 0]
    array([4., 7.])
    """


class MaxPooling1D(MaxPooling):
    """The largest number of each window of series.

    x is of shape (batch_size, length, channels), y of (batch_size, length', channels). It is as
    `MaxPooling2D`, along one axis.

    Parameters
    ----------
    pool_size : int
        Length of the windows.
    stride : int, optional
        Places from window to window; by default the size, so that windows don't overlap.
    padding : {"valid", "same"} or int
        Margin that windows may reach into: none; as much as gives ⌈length / stride⌉ windows, the
        odd place at the end; or its length at both ends, below the size.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build` or a pass, if a series is shorter than a window.

    Examples
    --------
    >>> from layerkit import MaxPooling1D, Sequential
    >>> model = Sequential([MaxPooling1D(2)], input_shape=(4, 1))
    >>> model.predict([[[1], [3], [5], [0]]])[0, :, 0]
    array([3., 5.])
    """

    n_axes = 1


class AveragePooling2D(AveragePooling):
    """The mean of each window of images.

    x is of shape (batch_size, height, width, channels),
    y of (batch_size, height', width', channels):

    y[n, i, j, c] = mean over x[n, i·s + a − p, j·s + b − p, c] for the a and b of a
    window, with stride s and padding p; what lies outside the image does not count. length' is
    ⌊(length + padding − pool_size) / stride⌋ + 1.

    Backwards, each place of a window receives its share of dy.

    Parameters
    ----------
    pool_size : int or tuple of int
        Height and width of the windows; one number for both.
    stride : int or tuple of int, optional
        Places from window to window, down and across; by default the size, so that windows don't
        overlap.
    padding : {"valid", "same"}, int or tuple of int
        Margin that windows may reach into: none; as much as gives ⌈length / stride⌉ windows, the
        odd place at the end; or numbers of rows above and below, and of columns on both sides,
        below the size.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build` or a pass, if an image is smaller than a window.

    References
    ----------
    LeCun et al. (1998), "Gradient-based learning applied to document recognition", section II.B.

    Examples
    --------
    >>> from layerkit import AveragePooling2D, Sequential
    >>> model = Sequential([AveragePooling2D(2)], input_shape=(2, 4, 1))
    >>> model.predict([[[[1], [2], [5], [0]], [[3], [4], [0], [7]]]])[0, 0, :, 0]
    array([2.5, 3. ])
    """


class AveragePooling1D(AveragePooling):
    """The mean of each window of series.

    x is of shape (batch_size, length, channels), y of (batch_size, length', channels). It is as
    `AveragePooling2D`, along one axis.

    Parameters
    ----------
    pool_size : int
        Length of the windows.
    stride : int, optional
        Places from window to window; by default the size, so that windows don't overlap.
    padding : {"valid", "same"} or int
        Margin that windows may reach into: none; as much as gives ⌈length / stride⌉ windows, the
        odd place at the end; or its length at both ends, below the size.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build` or a pass, if a series is shorter than a window.

    Examples
    --------
    >>> from layerkit import AveragePooling1D, Sequential
    >>> model = Sequential([AveragePooling1D(2)], input_shape=(4, 1))
    >>> model.predict([[[1], [3], [5], [0]]])[0, :, 0]
    array([2. , 2.5])
    """

    n_axes = 1
