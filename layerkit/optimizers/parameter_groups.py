"""`ParameterGroup`: optimizer settings for some of the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array, Shape
from layerkit.models.base import Model
from layerkit.models.selection import select
from layerkit.optimizers import Optimizer

__all__ = ["ParameterGroup"]


class ParameterGroup(ConstructorRepr):
    """Optimizer settings for the parameters of some layers.

    Parameters
    ----------
    layers : sequence of str
        Names of the layers, as in ``model.layer_names``; ``"inner.dense_0"`` for a layer inside
        another one. Names of parameters, such as ``"dense_0.bias"``, and patterns of names, such
        as ``"*.bias"``, are taken too.
    learning_rate : float, optional
        Initial learning rate of the group, above 0. A change of the optimizer's learning rate
        changes it by the same factor.
    weight_decay : float, optional
        Weight decay of the group in place of the optimizer's; at least 0.
    frozen : bool
        Whether the parameters of the group stay as they are. Their gradients are computed all the
        same; `Model.freeze` spares that work.
    max_axes : int, optional
        Leave parameters of more axes out of the group: with 1, it has the biases, and the scales
        and shifts of normalisation, but no kernels.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> from layerkit import ParameterGroup
    >>> ParameterGroup(["logits"], learning_rate=0.1)
    ParameterGroup(['logits'], learning_rate=0.1)
    """

    def __init__(
        self,
        layers: Sequence[str],
        *,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        frozen: bool = False,
        max_axes: int | None = None,
    ) -> None:
        where = "ParameterGroup.__init__"
        if not layers:
            check.fail(where, "layers", "the names of at least one layer", layers)
        self.layers = check.names(where, "layers", layers) or []
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        if learning_rate is not None:
            self.learning_rate = check.number(where, "learning_rate", learning_rate, above=0)
        if weight_decay is not None:
            self.weight_decay = check.number(where, "weight_decay", weight_decay, minimum=0)
        self.frozen = check.boolean(where, "frozen", frozen)
        self.max_axes = max_axes
        if max_axes is not None:
            self.max_axes = check.integer(where, "max_axes", max_axes, minimum=0)

    @classmethod
    def without_decay(cls, layers: Sequence[str] = ("*",)) -> ParameterGroup:
        """Return a group that leaves biases and scales of normalisation without weight decay.

        Those are the parameters of one axis. Other groups may have the same ones, if they set no
        weight decay.

        Parameters
        ----------
        layers : sequence of str
            Names or patterns of the layers; by default all of them.

        Returns
        -------
        ParameterGroup
            New group, for ``groups`` of `Trainer`.

        Examples
        --------
        >>> from layerkit import *
        >>> model = Sequential([Dense(3, 4, ReLU()), BatchNorm(), Dense(4, 2)])
        >>> groups = [ParameterGroup.without_decay()]
        >>> trainer = Trainer(model, MeanSquaredError(), AdamW(weight_decay=0.1), groups=groups)
        """
        return cls(list(layers), weight_decay=0.0, max_axes=1)

    def _has(self, parameter: flat.Parameter) -> bool:
        """Return whether a parameter of the layers has few enough axes to be in the group."""
        return self.max_axes is None or len(parameter.shape) <= self.max_axes

    def _settings(self) -> dict[str, Any]:
        """Return what the group sets in place of the optimizer's, by name."""
        given = {name: getattr(self, name) for name in ("learning_rate", "weight_decay", "frozen")}
        return {n: value for n, value in given.items() if value is not None and value is not False}


# Part of the vectors, the shapes of the parameters in it, and the group that they are in.
Span = tuple[slice, list[Shape], ParameterGroup | None]


def steps_by_parts(optimizer: Optimizer) -> bool:
    """Return whether an optimizer can make its step for a part of the parameters alone."""
    is_by_parts = optimizer.is_elementwise or optimizer.is_parameterwise
    return is_by_parts and not optimizer.needs_closure


def trained_spans(model: Model, owners: Mapping[flat.Parameter, ParameterGroup]) -> list[Span]:
    """Find the parts of the vectors that train: neighbours of one group are one part."""
    spans: list[Span] = []
    for p, start in flat.starts(model.parameters).items():
        group = owners.get(p)
        if not p.trainable or (group is not None and group.frozen):
            continue
        shapes, first = [p.shape], start
        if spans and spans[-1][0].stop == start and spans[-1][2] is group:
            span, before, _ = spans.pop()
            shapes, first = [*before, *shapes], span.start
        spans.append((slice(first, start + p.size), shapes, group))
    return spans


class GroupedStep:
    """A step of an optimizer, with the settings of each group for its part of the vectors."""

    def __init__(
        self, where: str, model: Model, optimizer: Optimizer, groups: Sequence[ParameterGroup]
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.initial_rate = optimizer.learning_rate
        if not steps_by_parts(optimizer):
            expectation = "empty for an optimizer that uses all parameters together"
            check.fail(where, "groups", expectation, check.Said(repr(optimizer)))
        self.owners: dict[flat.Parameter, ParameterGroup] = {}
        # Each pair of groups with parameters in common, as one.
        self._joined: dict[tuple[ParameterGroup, ParameterGroup], ParameterGroup] = {}
        for group in groups:
            if group.weight_decay is not None and not hasattr(optimizer, "weight_decay"):
                got = check.Said(f"{group!r} for {optimizer!r}, which has none")
                check.fail(where, "groups", "without weight_decay", got)
            # A parameter counts once, though several of a group's names may stand for it.
            chosen = {p: name for name in group.layers for p in select(where, model, name).values()}
            for parameter, name in chosen.items():
                if group._has(parameter):
                    self._add(where, name, parameter, group)

    def _add(self, where: str, name: str, parameter: flat.Parameter, group: ParameterGroup) -> None:
        """Add a parameter to a group; it may be in another one that has other settings."""
        other = self.owners.setdefault(parameter, group)
        if other is group:
            return
        first, second = other._settings(), group._settings()
        if not first or not second or first.keys() & second.keys():
            got = check.Said(f"{name!r} in two of them")
            check.fail(where, "groups", "of different layers, or of different settings", got)
        pair = other, group
        if pair not in self._joined:
            self._joined[pair] = ParameterGroup(group.layers, **first, **second)
        self.owners[parameter] = self._joined[pair]

    def prepare(self) -> list[tuple[float, float]]:
        """Find where the parameters lie, and return the rate and the decay of those that train."""
        self.spans = trained_spans(self.model, self.owners)
        self.groups = {group for *_, group in self.spans}
        coupled = getattr(self.optimizer, "coupled_decay", None) or 0.0
        settings = [self._settings_of(group) for *_, group in self.spans]
        return [(rate, decay + coupled) for rate, decay in settings]

    def _settings_of(self, group: ParameterGroup | None) -> tuple[float, float]:
        """Return a group's learning rate and weight decay, 0 where the optimizer has none."""
        rate, decay = (
            self.optimizer.learning_rate,
            getattr(self.optimizer, "weight_decay", None) or 0.0,
        )
        if group is not None and group.learning_rate is not None:
            rate = rate * group.learning_rate / self.initial_rate
        if group is not None and group.weight_decay is not None:
            decay = group.weight_decay
        return rate, decay

    def __call__(self, values: Array, grads: Array) -> None:
        """Update the parameters by one step."""
        optimizer: Any = self.optimizer
        rate, decay = optimizer.learning_rate, getattr(optimizer, "weight_decay", None)
        settings = {group: self._settings_of(group) for group in self.groups}
        optimizer.n_steps += 1
        try:
            for span, shapes, group in self.spans:
                own_rate, own = settings[group]
                if own_rate != optimizer.learning_rate:  # the check of a new one takes a while
                    optimizer.learning_rate = own_rate
                if decay is not None:
                    optimizer.weight_decay = own
                optimizer.update_part(values, grads, span, shapes)
        finally:
            optimizer.learning_rate = rate
            if decay is not None:
                optimizer.weight_decay = decay
