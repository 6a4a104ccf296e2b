"""Gradients of each sample's own loss: one pass for rows of layers that offer it, else many."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.layers.base import Layer
from layerkit.losses import Loss
from layerkit.models.ties import parameters_of


def per_sample_gradients(where: str, model: Any, x: Any, y_true: Any, loss: Loss) -> Array:
    """Compute the gradients of all samples on a copy of the model; see `Model`."""
    for name, layer in model.walk():
        if layer.mixes_samples:
            got = check.Said(f"{name!r}, {layer!r}, which mixes those of a batch")
            check.fail(where, "model", "one that treats each sample by itself", got)
    model = copy.deepcopy(model)
    chain = _row(model)
    is_tied = len(parameters_of(model)) > len(model.parameters)
    if not is_tied and all(map(_computes_by_sample, chain)):
        return _in_one_pass(model, chain, x, y_true, loss)
    n_samples = len(next(iter(x.values())) if isinstance(x, Mapping) else x)
    gradients = np.empty((n_samples, model.values.size), model.dtype)
    for index in range(n_samples):
        y_pred, cache = model.compute_forward(_one(x, index), training=True)
        model.compute_backward(loss.gradient(y_pred, _one(y_true, index)), cache)
        gradients[index] = model.grads
    return gradients


def _one(arrays: Any, index: int) -> Any:
    """Return a batch of one sample, of an array, or of each array of a dict."""
    if isinstance(arrays, Mapping):
        return {name: _one(array, index) for name, array in arrays.items()}
    return None if arrays is None else arrays[index : index + 1]


def _in_one_pass(model: Any, chain: list[Layer], x: Array, y_true: Array, loss: Loss) -> Array:
    n_samples, caches = len(x), []
    for layer in chain:
        x, cache = layer.compute_forward(x, training=True)
        caches.append(cache)
    # Of each sample by itself, as a loss is a mean over samples.
    own = [loss.gradient(_one(x, index), _one(y_true, index)) for index in range(n_samples)]
    dy: Any = np.concatenate([np.empty((0, *x.shape[1:]), x.dtype), *own])
    gradients = np.zeros((n_samples, model.values.size), model.dtype)
    starts = flat.starts(model.parameters)
    for layer, cache in zip(reversed(chain), reversed(caches), strict=True):
        if not layer.own_parameters:
            dy = layer.compute_backward(dy, cache)
            continue
        dy, by_name = layer.compute_sample_gradients(dy, cache)
        for name, gradient in by_name.items():
            parameter = layer.own_parameters[name]
            start = starts[parameter]
            gradients[:, start : start + parameter.size] = gradient.reshape(n_samples, -1)
    return gradients


def _row(layer: Layer) -> list[Layer]:
    """List the layers of a row of layers, and of rows inside, in their order."""
    row = getattr(layer, "row", None)  # of a model
    return [layer] if row is None else [inner for child in row for inner in _row(child)]


def _computes_by_sample(layer: Layer) -> bool:
    """Check whether a layer's gradients by sample are those of its own two passes."""
    if layer.is_random:
        return False  # numbers drawn for a batch need not be those of its samples
    if not layer.parameters:
        return not layer.children
    for kind in type(layer).__mro__:
        if "compute_sample_gradients" in vars(kind):
            return kind is not Layer and not layer.children
        if "compute_forward" in vars(kind) or "compute_backward" in vars(kind):
            return False
    return False
