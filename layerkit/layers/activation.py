"""Activations as layers of their own, fixed and learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.activations import Activation
from layerkit.errors import ShapeError
from layerkit.initializers import Constant, Initializer
from layerkit.layers.base import Layer

__all__ = ["ActivationLayer", "PReLU"]

_QUARTER = Constant(0.25)


class ActivationLayer(Layer):
    """An activation on its own: y = f(x), over any axes.

    Parameters
    ----------
    activation : Activation
        Function to apply; over the last axis for those that mix units, such as `Softmax`.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> from layerkit import ActivationLayer, ReLU, Sequential
    >>> Sequential([ActivationLayer(ReLU())], input_shape=(3,)).predict([[-1, 0, 2]])
    array([[0., 0., 2.]])
    """

    def __init__(self, activation: Activation, *, name: str | None = None) -> None:
        where = "ActivationLayer.__init__"
        self.activation = check.instance(where, "activation", activation, Activation)
        self.name = check.name(where, name)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute y = f(x)."""
        y = self.activation.forward(x)
        return y, (x, y)

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Compute dx = dy · f'(x)."""
        return self.activation.backward(dy, *cache)


class PReLU(Layer):
    """y = x where x ≥ 0, else alpha · x, with a slope alpha that is learned for each feature.

    At x = 0 the derivative is taken as 1.

    Parameters
    ----------
    shared_axes : sequence of int
        Axes of the batch, 1 for the first of a sample, along which one slope serves: (1, 2) for
        one a channel of images. An open axis has to be among them.
    alpha_initializer : Initializer
        Initializer of the slopes.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    alpha : Parameter of shape input_shape, with length 1 along shared axes
        Slopes below 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build`, if a sample has no such axis, or an axis that is open and not shared.

    References
    ----------
    He et al. (2015), "Delving deep into rectifiers", eq. 1 and 3.

    Examples
    --------
    >>> from layerkit import PReLU, Sequential
    >>> Sequential([PReLU()], input_shape=(3,)).predict([[-1, 0, 2]])
    array([[-0.25,  0.  ,  2.  ]])
    """

    def __init__(
        self,
        shared_axes: Sequence[int] = (),
        *,
        alpha_initializer: Initializer = _QUARTER,
        name: str | None = None,
    ) -> None:
        where = "PReLU.__init__"
        if not isinstance(shared_axes, tuple | list):
            check.fail(where, "shared_axes", "a tuple of axes, such as (1, 2)", shared_axes)
        self.shared_axes = tuple(
            check.integer(where, "shared_axes", axis, minimum=1) for axis in shared_axes
        )
        self.alpha_initializer = check.instance(
            where, "alpha_initializer", alpha_initializer, Initializer
        )
        self.name = check.name(where, name)

    def build(self, input_shape: Shape) -> Shape:
        """Declare the slopes."""
        if max(self.shared_axes, default=0) > len(input_shape):
            wanted = f"of at least {max(self.shared_axes)} axes, as shared_axes has them"
            check.fail("PReLU.build", "input_shape", wanted, input_shape, error=ShapeError)
        shape = tuple(
            1 if axis in self.shared_axes else length
            for axis, length in enumerate(input_shape, start=1)
        )
        self.alpha = self.add_parameter("alpha", shape, self.alpha_initializer)
        return input_shape

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute y = max(x, 0) + alpha · min(x, 0)."""
        y: Array = np.where(x >= 0, x, self.alpha.value * x)
        return y, x

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Compute dx, and the gradient Σ dy · min(x, 0) of each slope."""
        terms = dy * np.minimum(cache, 0)
        self.alpha.grad = terms.sum(axis=(0, *self.shared_axes), keepdims=True)[0]
        dx: Array = dy * np.where(cache >= 0, dy.dtype.type(1), self.alpha.value)
        return dx
