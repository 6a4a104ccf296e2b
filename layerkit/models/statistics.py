"""Statistics that layers keep of their inputs, computed again over all samples, layer by layer."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.layers.base import Layer

__all__ = ["batches_of", "layers_with_statistics", "statistics_kept", "update_statistics"]


def layers_with_statistics(model: Layer) -> list[Layer]:
    """List the layers, at any depth, that keep statistics, and are not frozen."""
    return [layer for _, layer in model.walk() if layer.keeps_statistics and layer.trainable]


@contextlib.contextmanager
def statistics_kept(model: Layer) -> Iterator[None]:
    """Set the states of the layers that keep statistics back after the ``with`` block."""
    layers = layers_with_statistics(model)
    states = [copy.deepcopy(layer.get_state()) for layer in layers]
    try:
        yield
    finally:
        for layer, state in zip(layers, states, strict=True):
            layer.set_state(state)


def batches_of(
    where: str, x: Any, input_shape: Any, batch_size: int, cast: Callable[[str, Any], Any]
) -> Iterator[Any]:
    """Yield inputs in batches that are checked and cast: arrays, or dicts of such.

    An array is cast batch by batch, since the data may be larger than memory.
    """
    if isinstance(input_shape, Mapping):
        x = cast(where, x)
        n_samples = len(next(iter(x.values())))
    else:
        x = check.numeric_array(where, "x", x, None)
        check.batch_shape(where, "x", x.shape, input_shape)
        n_samples = len(x)
    if not n_samples:
        check.fail(where, "x", "of at least one sample", check.Said("none"))
    for start in range(0, n_samples, batch_size):
        span = slice(start, min(start + batch_size, n_samples))
        for name, array in x.items() if isinstance(x, Mapping) else [("x", x)]:
            check.finite(where, name, array, span)
        own = {n: a[span] for n, a in x.items()} if isinstance(x, Mapping) else x[span]
        yield cast(where, own)


def update_statistics(model: Layer, passes: Callable[[], Iterable[Any]]) -> None:
    """Compute the statistics of each layer in turn, on a copy; then set them all.

    Parameters
    ----------
    model : Layer
        Model whose layers keep statistics.
    passes : callable
        Function that returns all batches of inputs, checked and cast, anew at each call.
    """
    layers = layers_with_statistics(model)
    if not layers:
        return
    twin = copy.deepcopy(model)  # so that nothing has changed if a batch is refused
    copies = layers_with_statistics(twin)
    with np.errstate(all="ignore"):  # layers refuse what overflows, by its name
        for layer in _in_order(twin, copies, passes):
            layer.compute_statistics(_inputs_of(twin, layer, passes))
    for layer, other in zip(layers, copies, strict=True):
        layer.set_state(copy.deepcopy(other.get_state()))


def _in_order(
    model: Layer, layers: list[Layer], passes: Callable[[], Iterable[Any]]
) -> list[Layer]:
    """Return the layers that a batch reaches, in the order in which it does so."""
    reached: list[Layer] = []
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(_watched(layer, lambda own, _: reached.append(own)))
        model.compute_forward(next(iter(passes())), training=False)
    return list(dict.fromkeys(reached))


def _inputs_of(model: Layer, layer: Layer, passes: Callable[[], Iterable[Any]]) -> Iterator[Array]:
    """Yield what reaches a layer; each of them, where a pass calls it several times."""
    seen: list[Array] = []
    with _watched(layer, lambda _, x: seen.append(x)):
        for x in passes():
            model.compute_forward(x, training=False)
            yield from seen
            seen.clear()


@contextlib.contextmanager
def _watched(layer: Layer, note: Callable[[Layer, Array], object]) -> Iterator[None]:
    """Show a function each input of a layer, with the layer."""
    compute_forward = layer.compute_forward

    def watched(x: Array, *, training: bool) -> tuple[Array, Any]:
        note(layer, x)
        return compute_forward(x, training=training)

    vars(layer)["compute_forward"] = watched
    try:
        yield
    finally:
        del vars(layer)["compute_forward"]
