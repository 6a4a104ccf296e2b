"""`AssembledLayer`: how a model is put together from layers, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.errors import StateError
from layerkit.layers.base import Layer
from layerkit.models.first_values import FirstValues, as_they_are, put_back
from layerkit.models.packed import PackedLayer
from layerkit.models.ties import Tie, find_ties, parameters_of, ties_inside
from layerkit.parameters import Parameter

__all__ = ["AssembledLayer"]


class AssembledLayer(PackedLayer):
    """A layer whose layers are connected, drawn and packed as a whole; the base of `Model`."""

    seed: Any
    _drawn: FirstValues | None = None
    ties: Mapping[str, str] = MappingProxyType({})
    _tied: tuple[Tie, ...] = ()

    def _assemble(
        self,
        where: str,
        layers: Sequence[Layer],
        connect: Callable[[], None],
        rng: np.random.Generator,
    ) -> None:
        """Connect layers and pack their parameters; if that fails, leave the layers unchanged."""
        before = as_they_are(layers)
        start = rng.bit_generator.state
        try:
            again = _left_to_another(layer for layer, _ in before)
            unbuilt = as_they_are(layers)
            connect()
            ties = find_ties(where, self, self.ties)
            drawn: dict[Parameter, Array] = {}
            for layer in self._children:
                drawn |= self._draw(layer, rng, {tie.tied for tie in ties}, again)
        except BaseException:
            put_back(before)
            raise
        self._bind_ties(ties)
        self._pack(drawn)
        given = []
        for _, layer in self.walk():
            self.min_batch_size = max(self.min_batch_size, layer.min_batch_size)
            if layer.is_random and layer.rng is None:
                layer.rng = rng.spawn(1)[0]
                given.append(layer)
        self._drawn = FirstValues(self.seed, start, list(drawn), given, unbuilt)

    def _reassemble(
        self,
        where: str,
        layers: Sequence[Layer],
        leaving: Layer | None,
        connect: Callable[[], None],
        rng: np.random.Generator,
    ) -> None:
        """Connect other layers than before, those that stay with their parameters, or none."""
        self._check_may_change(where, leaving)
        before, tied = as_they_are([self]), self._tied
        try:
            for _, layer in self.walk():
                if isinstance(layer, AssembledLayer):
                    layer._drawn = None  # what may have been trained is not drawn again
            for layer in self._children:
                layer.is_owned = False
            self.ties, self.min_batch_size, self._cache = {}, 1, None
            self._assemble(where, layers, connect, rng)
        except BaseException:
            put_back(before)
            raise
        self._tied, self.ties = ties_inside(self, tied)
        self._drawn = None
        if leaving is not None:
            flat.pack(leaving.parameters, leaving.dtype, {})
            leaving.forget_workspace()

    def _check_may_change(self, where: str, leaving: Layer | None) -> None:
        """Refuse to take a model apart that others use as it is."""
        if self.is_owned:
            got, remedy = check.Said("part of another one"), "Change that one."
            check.fail(where, "the model", "a whole", got, remedy, error=StateError)
        if flat.training_key(self, self.parameters) in flat.in_training:
            got = check.Said("one that is being trained")
            check.fail(where, "the model", "out of training", got, error=StateError)
        own = set() if leaving is None else set(parameters_of(leaving).values())
        for (name, source), tie in zip(self.ties.items(), self._tied, strict=True):
            if {tie.tied, tie.source} & own:
                got = check.Said(f"{leaving!r}, since {name!r} is tied to {source!r}")
                remedy = "Build a new model, of copies of these layers."
                check.fail(where, "the layer", "one without ties", got, remedy)

    def _bind_ties(self, ties: Sequence[Tie]) -> None:
        """Make views of the parameters that are tied."""
        for tied, source, transposed in ties:
            tied.tie(source, transposed=transposed)
        self._tied = tuple(ties)

    def _draw(
        self,
        layer: Layer,
        rng: np.random.Generator,
        leave_out: Set[Parameter],
        again: Set[Parameter],
    ) -> dict[Parameter, Array]:
        """Draw first values for a layer, and again for models inside that have no seed."""
        again = again | _left_to_another(inner for _, inner in layer.walk())
        where = f"{type(layer).__name__}.build"
        return {
            parameter: flat.draw(parameter, where, rng)
            for parameter in layer.parameters
            if parameter not in leave_out and (parameter in again or not parameter.is_packed)
        }

    def leave_to_another(self) -> list[Parameter]:
        """Leave the first values to the seed of the model around this one.

        Returns
        -------
        list of Parameter
            The parameters to draw again: those that this model drew, if it did so without a seed
            and all still have these very values; else none.
        """
        drawn = self._drawn
        is_left = drawn is None or drawn.start is None
        if drawn is None or is_left or self.seed is not None or not drawn.are_kept():
            return []
        for layer in drawn.given:
            layer.rng = None
        self._drawn = drawn.left_to_another()
        return drawn.parameters


def _left_to_another(layers: Iterable[Layer]) -> set[Parameter]:
    """Return the parameters that the models among some layers leave to the one around them."""
    models = [layer for layer in layers if isinstance(layer, AssembledLayer)]
    return {parameter for model in models for parameter in model.leave_to_another()}
