"""`CheckedPasses`: the passes of a layer that users call, which check what goes in and out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.validation import Array, Shape
from layerkit.errors import StateError
from layerkit.layers.stateful import Stateful

__all__ = ["CheckedPasses"]

_INTEGERS = np.dtype(np.int64)


class CheckedPasses(Stateful):
    """Forward and backward passes around those that a layer defines; the base of `Layer`."""

    input_shape: Shape | None = None
    output_shape: Shape | None = None
    dtype: np.dtype[Any] = np.dtype(np.float64)
    takes_integers: bool = False
    _cache: tuple[Any, Shape, Shape] | None = None

    @abstractmethod
    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute y and a cache; see `Layer.compute_forward`."""

    @abstractmethod
    def compute_backward(self, dy: Array, cache: Any) -> Any:
        """Compute dx and the gradients; see `Layer.compute_backward`."""

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """The dtype of x: the model's, or int64 for a layer that takes integers."""
        return _INTEGERS if self.takes_integers else self.dtype

    @ignoring("under")
    def forward(self, x: Any, training: bool = False) -> Array:
        """Compute the output of a batch.

        Parameters
        ----------
        x : array_like of shape (batch_size, *input_shape)
            The input; cast to the layer's dtype. For a layer that takes integers, integers.
        training : bool
            Whether to keep what `backward` needs.

        Returns
        -------
        ndarray of shape (batch_size, *output_shape)
            The output, the caller's to keep and to change.

        Raises
        ------
        ShapeError
            If x has another shape.
        StateError
            If the layer is not part of a model yet.
        """
        where = f"{type(self).__name__}.forward"
        if self.output_shape is None or self.input_shape is None:
            self._check_built("forward")
        # As `input_dtype` says, without a call: a row is predicted in some microseconds.
        dtype = _INTEGERS if self.takes_integers else self.dtype
        batch = check.batch(where, "x", x, self.input_shape, dtype)  # type: ignore[arg-type]
        # The cache must not change when the caller's array does, nor that when the layer errs.
        batch = batch.copy() if training else batch.view()
        batch.setflags(write=False)
        y, cache = self.compute_forward(batch, training=training)
        computed = f"{type(self).__name__}.compute_forward"
        check.computed(computed, "y", y, (len(batch), *self.output_shape), self.dtype)  # type: ignore[misc]
        if training:
            self._cache = (cache, batch.shape, y.shape)
        # An array that owns its memory shares it with nobody; asking NumPy takes longer.
        is_shared = y.base is not None and np.may_share_memory(y, batch)
        return y.copy() if training or is_shared else y

    @ignoring("under")
    def backward(self, dy: Any) -> Any:
        """Carry a gradient back through the last ``forward(x, training=True)``.

        Parameters
        ----------
        dy : array_like of shape (batch_size, *output_shape)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray of shape (batch_size, *input_shape), or None
            The gradient with respect to the input; None for a layer that takes integers. Each
            parameter's is in its ``grad``.

        Raises
        ------
        ShapeError
            If dy does not have the output's shape.
        StateError
            If no forward pass came before, or its backward pass is done already.
        """
        where = f"{type(self).__name__}.backward"
        cache, x_shape, y_shape = self._last_pass(where)
        gradient = check.numeric_array(where, "dy", dy, self.dtype)
        check.exact_shape(where, "dy", gradient, y_shape)
        self._cache = None
        dx = self.compute_backward(gradient, cache)
        computed = f"{type(self).__name__}.compute_backward"
        if self.takes_integers:
            if dx is not None:
                check.fail(computed, "dx", "None, as x are integers", dx)
            return None
        check.computed(computed, "dx", dx, x_shape, self.dtype)
        return dx.copy()  # it may be dy, or in a workspace

    def _last_pass(self, where: str) -> tuple[Any, Any, Any]:
        """Return what the last forward pass has kept, and the shapes of its x and y."""
        if self._cache is None:
            remedy = "Call forward(x, training=True) first, once for each backward."
            got = check.Said("no forward pass to go back through")
            check.fail(where, "cache", "that of a forward pass", got, remedy, error=StateError)
        return self._cache

    def _check_built(self, method: str) -> None:
        """Refuse a layer that does not know the shape of its samples yet."""
        if self.output_shape is None:
            where = f"{type(self).__name__}.{method}"
            remedy = "Put it into one: model = Sequential([layer])."
            got = check.Said("a layer on its own")
            check.fail(where, "layer", "part of a model", got, remedy, error=StateError)
