"""Passes through layers: with the mask for those that take one, and without needless work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerkit._support.validation import Array
from layerkit.layers.base import Layer

__all__ = ["go_back", "go_back_through", "go_forth", "is_trained"]


def is_trained(layer: Layer) -> bool:
    """Return whether training changes a parameter of a layer, or of those inside it."""
    return any(p.trainable for _, one in layer.walk() for p in one.own_parameters.values())


def go_forth(
    layer: Layer, x: Array, *, training: bool, mask: Array | None = None
) -> tuple[Array, Any]:
    """Call a layer's `compute_forward`, with the mask if there is one and it takes one.

    Parameters
    ----------
    layer : Layer
        Layer to go through.
    x : ndarray of shape (batch_size, *input_shape)
        Inputs.
    training : bool
        Whether a backward pass may follow.
    mask : ndarray of shape (batch_size, time), optional
        1 where an element is real, 0 where it only fills up.

    Returns
    -------
    y : ndarray of shape (batch_size, *output_shape)
        Outputs.
    cache : object
        Cache for `go_back`.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Dense, Sequential, go_forth
    >>> model = Sequential([Dense(2, 3)])
    >>> go_forth(model, np.ones((4, 2)), training=False, mask=np.ones((4, 2)))[0].shape
    (4, 3)
    """
    if mask is None or not layer.takes_mask:
        return layer.compute_forward(x, training=training)
    return layer.compute_forward(x, training=training, mask=mask)  # type: ignore[call-arg]


def go_back(
    layer: Layer, dy: Any, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
) -> Any:
    """Call a layer's `compute_backward`, with the options that it takes.

    Parameters
    ----------
    layer : Layer
        Layer to go back through.
    dy : ndarray of shape (batch_size, *output_shape)
        Gradient with respect to its output.
    cache : object
        Cache of its forward pass.
    need_dx : bool
        Whether anybody reads the gradient with respect to its input.
    skip_frozen : bool
        Whether gradients of parameters that are not trainable may be left out.

    Returns
    -------
    ndarray of shape (batch_size, *input_shape), or None
        Gradient with respect to its input.

    Examples
    --------
    >>> from layerkit import Layer, go_back
    >>> class Halved(Layer):
    ...     def __init__(self, layer):
    ...         self.layer = layer
    ...     def build(self, input_shape):
    ...         return self.add_layer(self.layer, input_shape)
    ...     def compute_forward(self, x, *, training):
    ...         y, cache = self.layer.compute_forward(x, training=training)
    ...         return y / 2, cache
    ...     def compute_backward(self, dy, cache, *, need_dx=True, skip_frozen=False):
    ...         return go_back(
    ...             self.layer, dy / 2, cache, need_dx=need_dx, skip_frozen=skip_frozen
    ...         )
    """
    if skip_frozen and not need_dx and not is_trained(layer):
        layer.release_workspace()
        return None
    options = {}
    if not need_dx and layer.takes_need_dx:
        options["need_dx"] = False
    if skip_frozen and layer.takes_skip_frozen:
        options["skip_frozen"] = True
    return layer.compute_backward(dy, cache, **options)


def go_back_through(
    layers: Sequence[Layer],
    dy: Array,
    caches: list[Any],
    *,
    need_dx: bool = True,
    skip_frozen: bool = False,
) -> Any:
    """Send a gradient through layers in a row, last to first, as far as anybody needs it.

    Parameters
    ----------
    layers : sequence of Layer
        Layers, first to last.
    dy : ndarray
        Gradient with respect to the output of the last.
    caches : list
        Caches of their forward passes; empty afterwards.
    need_dx, skip_frozen : bool
        See `go_back`.

    Returns
    -------
    ndarray, or None
        Gradient with respect to the input of the first, if it is needed.
    """
    first = 0
    if skip_frozen and not need_dx:
        first = next((k for k, layer in enumerate(layers) if is_trained(layer)), len(layers))
    dx: Any = dy
    for index in range(len(layers) - 1, -1, -1):
        is_read = need_dx or index > first
        dx = go_back(layers[index], dx, caches.pop(), need_dx=is_read, skip_frozen=skip_frozen)
    return dx if need_dx else None
