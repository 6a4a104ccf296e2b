"""Trace of a model: the arrays of every layer, forward and back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from layerkit._support.validation import Array
from layerkit.layers.base import Layer
from layerkit.layers.dense import Dense
from layerkit.losses import Loss

__all__ = ["LayerTrace"]


class LayerTrace(NamedTuple):
    """Arrays of one layer in one pass forward and back; see `Model.trace`.

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


def leaves(model: Layer, kind: type[Layer], name: str = "") -> Iterator[tuple[str, Layer]]:
    """List the layers that are not models, those of models inside models too."""
    for inner, layer in zip(model.layer_names, model.children, strict=True):
        path = f"{name}.{inner}".removeprefix(".")
        if isinstance(layer, kind):
            yield from leaves(layer, kind, path)
        else:
            yield path, layer


def trace_layers(
    model: Layer, kind: type[Layer], x: Any, y_true: Array, loss: Loss
) -> dict[str, LayerTrace]:
    """Go forward and back through a copy of the model, and keep what each layer computes."""
    model = copy.deepcopy(model)
    traced: dict[str, LayerTrace] = {}
    names = []
    for name, layer in leaves(model, kind):
        names.append(name)
        _record(name, layer, traced)
    y, cache = model.compute_forward(x, training=True)
    model.compute_backward(loss.gradient(y, y_true), cache)
    return {name: traced[name] for name in names if name in traced}


def _record(name: str, layer: Layer, traced: dict[str, LayerTrace]) -> None:
    """Replace a layer's two passes by ones that also keep copies of what they compute.

    Copies: on the way back, layers use these arrays again.
    """
    inner_forward, inner_backward = layer.compute_forward, layer.compute_backward
    passes: list[tuple[Any, Array | None, Array]] = []

    def compute_forward(x: Any, *, training: bool) -> tuple[Array, Any]:
        y, cache = inner_forward(x, training=training)
        z = cache[1].reshape(y.shape).copy() if isinstance(layer, Dense) else None
        passes.append((copy.deepcopy(x), z, y.copy()))
        # Until a gradient reaches it: nothing flows back to what only a mask reads.
        grads = {inner: np.zeros_like(p.value) for inner, p in layer.named_parameters().items()}
        traced[name] = LayerTrace(name, *passes[-1][::2], z, None, np.zeros_like(y), None, grads)
        return y, cache

    def compute_backward(dy: Array, cache: Any) -> Any:
        x, z, y = passes.pop()
        kept = dy.copy()
        dz = None
        if isinstance(layer, Dense) and z is not None:
            dz = layer.activation.backward(kept, z, y)
        dx = inner_backward(dy, cache)
        grads = {inner: p.grad.copy() for inner, p in layer.named_parameters().items()}
        traced[name] = LayerTrace(name, x, y, z, copy.deepcopy(dx), kept, dz, grads)
        return dx

    vars(layer).update(compute_forward=compute_forward, compute_backward=compute_backward)
