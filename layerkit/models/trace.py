"""A look inside a model: what every layer takes and gives, forward and back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

from layerkit._support.validation import Array
from layerkit.layers.base import Layer
from layerkit.layers.dense import Dense
from layerkit.losses import Loss

__all__ = ["LayerTrace"]


class LayerTrace(NamedTuple):
    """What one layer took and gave, in one pass forward and back; `Sequential.trace` gives it.

    Parameters
    ----------
    name : str
        The layer's dotted name.
    x, y : ndarray of shape (batch_size, ...)
        Its input and output.
    z : ndarray or None
        For a `Dense`, what its activation was applied to.
    dx, dy : ndarray of shape (batch_size, ...)
        The gradients of the loss with respect to x and y; dx is None where x are integers.
    dz : ndarray or None
        The gradient with respect to z.
    grads : dict of str to ndarray
        The gradient of each parameter, by its name.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Dense, HalfSquaredError, Sequential, Sigmoid
    >>> model = Sequential([Dense(2, 3, Sigmoid(), name="hidden"), Dense(3, 1)], seed=0)
    >>> traced = model.trace(np.ones((4, 2)), np.zeros((4, 1)), HalfSquaredError())
    >>> traced["hidden"].z.shape, traced["hidden"].grads["kernel"].shape
    ((4, 3), (2, 3))
    """

    name: str
    x: Array
    y: Array
    z: Array | None
    dx: Array | None
    dy: Array
    dz: Array | None
    grads: dict[str, Array]


def leaves(model: Layer, is_chain: type[Layer], name: str = "") -> Iterator[tuple[str, Layer]]:
    """List the layers in the order of the pass, those of chains inside chains too."""
    for inner, layer in zip(model.layer_names, model.children, strict=True):
        path = f"{name}.{inner}".removeprefix(".")
        if type(layer) is is_chain:
            yield from leaves(layer, is_chain, path)
        else:
            yield path, layer


def trace_layers(
    model: Layer, is_chain: type[Layer], x: Array, y_true: Array, loss: Loss
) -> dict[str, LayerTrace]:
    """Go forward and back through a copy of the model, and keep everything."""
    model = copy.deepcopy(model)
    chain = list(leaves(model, is_chain))
    passes = []
    for _, layer in chain:
        y, cache = layer.compute_forward(x, training=True)
        # Copies: on the way back, layers use these arrays again.
        z = cache[1].reshape(y.shape).copy() if isinstance(layer, Dense) else None
        passes.append((x.copy(), z, y.copy(), cache))
        x = y
    dy = loss.gradient(x, y_true)
    traced = {}
    for (name, layer), (x, z, y, cache) in zip(reversed(chain), reversed(passes), strict=True):
        dy = dy.copy()
        dz = layer.activation.backward(dy, z, y) if isinstance(layer, Dense) else None
        dx = layer.compute_backward(dy, cache)
        dx = None if dx is None else dx.copy()  # of a first layer that takes integers
        grads = {inner: p.grad.copy() for inner, p in layer.named_parameters().items()}
        traced[name] = LayerTrace(name, x, y, z, dx, dy, dz, grads)
        dy = dx  # type: ignore[assignment]
    return {name: traced[name] for name, _ in chain}
