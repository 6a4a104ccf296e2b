"""How a model came to its first values, so that a model around it can begin again."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit.layers.base import Layer
from layerkit.parameters import Parameter

__all__ = ["FirstValues", "as_they_are", "put_back"]

Snapshot = list[tuple[Layer, dict[str, Any]]]


class FirstValues(NamedTuple):
    """What a model drew when it was built, and what its layers were before.

    Parameters
    ----------
    seed : int, numpy.random.Generator or None
        Seed of the model.
    start : mapping or None
        State of the generator before; None if the model around this one drew the values.
    parameters : list of Parameter
        Parameters that were drawn, in their order.
    given : list of Layer
        Layers that got a generator.
    unbuilt : list of tuple of Layer and dict
        Layers as they were before, for `put_back`.
    """

    seed: Any
    start: Any
    parameters: list[Parameter]
    given: list[Layer]
    unbuilt: Snapshot

    def are_kept(self) -> bool:
        """Return whether all parameters still have the very values that were drawn for them."""
        if flat.is_loading():
            return False
        if self.start is None:
            return True  # the model around this one compares them
        rng = self.generator()
        for parameter in self.parameters:
            drawn = flat.draw(parameter, "Model.__init__", rng)
            if not np.array_equal(drawn.astype(parameter.value.dtype), parameter.value):
                return False
        return True

    def left_to_another(self) -> FirstValues:
        """Return the same for a model whose values the one around it draws."""
        return self._replace(start=None)

    def generator(self) -> np.random.Generator:
        """Return a generator of its own that draws the same numbers once more."""
        rng = copy.deepcopy(check.generator("Model.__init__", "seed", self.seed))
        if self.start is not None:
            rng.bit_generator.state = self.start
        return rng


def as_they_are(layers: Iterable[Layer]) -> Snapshot:
    """Return layers, and those in their attributes, with the attributes that they have now."""
    found: dict[int, tuple[Layer, dict[str, Any]]] = {}
    waiting: list[Any] = list(layers)
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, Layer) and id(thing) not in found:
            found[id(thing)] = thing, dict(vars(thing))
            waiting += vars(thing).values()
        elif isinstance(thing, list | tuple):
            waiting += thing
        elif isinstance(thing, Mapping):
            waiting += thing.values()
    return list(found.values())


def put_back(before: Snapshot) -> None:
    """Make layers what they were before."""
    for layer, attributes in before:
        vars(layer).clear()
        vars(layer).update(attributes)
