"""Pooling of all places: the largest or the mean number of each channel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer

__all__ = ["GlobalAveragePooling", "GlobalMaxPooling"]


class GlobalMaxPooling(Layer):
    """The largest number of each channel over all places.

    x is of shape (batch_size, …, channels), y of (batch_size, channels). The axes between may be
    any number, and open: one for series, two for images. Of several
    largest numbers, the first receives the gradient.

    Parameters
    ----------
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ShapeError
        By `build`, if a sample has no places, but the channels alone.

    References
    ----------
    Lin, Chen & Yan (2014), "Network in network", section 3.2.

    Examples
    --------
    >>> from layerkit import GlobalMaxPooling, Sequential
    >>> model = Sequential([GlobalMaxPooling()], input_shape=(None, 2))
    >>> model.predict([[[1, 8], [3, 4]]])
    array([[3., 8.]])
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = check.name("GlobalMaxPooling.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Leave out the places."""
        if len(input_shape) < 2:
            wanted = "of two axes or more, places and channels"
            where = "GlobalMaxPooling.build"
            check.fail(where, "input_shape", wanted, input_shape, error=ShapeError)
        return input_shape[-1:]

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Find the largest number of each channel."""
        rows = _rows(x, "GlobalMaxPooling")
        first = rows.argmax(axis=1)[:, None]
        return np.take_along_axis(rows, first, axis=1)[:, 0], (first, x.shape)

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Carry dy back to the first of the largest numbers."""
        first, shape = cache
        dx = np.zeros((len(dy), math.prod(shape[1:-1]), shape[-1]), dy.dtype)
        np.put_along_axis(dx, first, dy[:, None], axis=1)
        return dx.reshape(shape)


class GlobalAveragePooling(Layer):
    """The mean of each channel over all places.

    x is of shape (batch_size, …, channels), y of (batch_size, channels). The axes between may be
    any number, and open: one for series, two for images. Each place
    receives its share of the gradient.

    Parameters
    ----------
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ShapeError
        By `build`, if a sample has no places, but the channels alone.

    References
    ----------
    Lin, Chen & Yan (2014), "Network in network", section 3.2.

    Examples
    --------
    >>> from layerkit import GlobalAveragePooling, Sequential
    >>> model = Sequential([GlobalAveragePooling()], input_shape=(None, 2))
    >>> model.predict([[[1, 8], [3, 4]]])
    array([[2., 6.]])
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = check.name("GlobalAveragePooling.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Leave out the places."""
        if len(input_shape) < 2:
            wanted = "of two axes or more, places and channels"
            where = "GlobalAveragePooling.build"
            check.fail(where, "input_shape", wanted, input_shape, error=ShapeError)
        return input_shape[-1:]

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute the mean of each channel."""
        y: Array = _rows(x, "GlobalAveragePooling").mean(axis=1)
        return y, x.shape

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Divide dy among all places."""
        n_places = math.prod(cache[1:-1])
        dx = np.repeat((dy / n_places)[:, None], n_places, axis=1)
        return dx.reshape(cache)


def _rows(x: Array, kind: str) -> Array:
    """Lay all places into one axis, of which there has to be something."""
    rows = x.reshape(len(x), math.prod(x.shape[1:-1]), x.shape[-1])
    if not rows.shape[1]:
        where = f"{kind}.compute_forward"
        check.fail(where, "x", "of one place or more", check.Said(str(x.shape)), error=ShapeError)
    return rows
