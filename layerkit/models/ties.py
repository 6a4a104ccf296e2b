"""Ties: parameters that share the values of others, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from layerkit._support import validation as check
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer
from layerkit.parameters import Parameter

_EXAMPLE = 'Write ties={"decoder.kernel": "encoder.kernel.T"}.'


class Tie(NamedTuple):
    """A parameter that becomes a view of another one's value, which may be transposed."""

    tied: Parameter
    source: Parameter
    transposed: bool


def check_ties(where: str, ties: Any) -> dict[str, str]:
    """Check for a dict from names of parameters to names of others, or None."""
    if ties is None:
        return {}
    if not isinstance(ties, Mapping) or not all(
        isinstance(name, str) for pair in ties.items() for name in pair
    ):
        check.fail(where, "ties", "a dict from names of parameters to names", ties, _EXAMPLE)
    return dict(ties)


def find_ties(where: str, model: Layer, ties: Mapping[str, str]) -> list[Tie]:
    """Find the parameters that ties name, and refuse ties that can't be; nothing changes.

    Raises
    ------
    ArgumentError
        If a name is unknown, or a parameter is tied to itself, twice, or to a tied one.
    ShapeError
        If the shapes differ.
    """
    known = parameters_of(model)
    sources = {
        name: source if source in known else source.removesuffix(".T")
        for name, source in ties.items()
    }
    found = []
    for name, source in sources.items():
        for argument, given in (("ties", name), (f"ties[{name!r}]", source)):
            if given not in known:
                wanted = f"made of names of parameters: {_listed(known)}"
                check.fail(where, argument, wanted, given)
        _check_chain(where, name, sources, known)
        tie = Tie(known[name], known[source], transposed=source != ties[name])
        _check_shapes(where, name, ties[name], tie)
        found.append(tie)
    return found


def _check_chain(
    where: str, name: str, sources: Mapping[str, str], known: Mapping[str, Parameter]
) -> None:
    """Refuse a tie to a parameter that is tied itself, and so circles."""
    path = [name, sources[name]]
    while path[-1] in sources and path[-1] not in path[:-1]:
        path.append(sources[path[-1]])
    argument = f"ties[{name!r}]"
    if path[-1] in path[:-1]:
        got = check.Said(" tied to ".join(map(repr, path)))
        check.fail(where, argument, "a parameter that is not tied to this one", got)
    if len(path) > 2:
        got = check.Said(f"{path[1]!r}, which is tied to {path[2]!r}")
        remedy = f"Tie it to {path[-1]!r} as well."
        check.fail(where, argument, "a parameter that is not tied itself", got, remedy)
    for place, own in (("ties", name), (argument, path[1])):
        if known[own].is_tied:
            got = check.Said(f"{own!r}, which a model inside this one ties")
            check.fail(where, place, "made of parameters that are not tied yet", got)


def _check_shapes(where: str, name: str, written: str, tie: Tie) -> None:
    shape = tie.source.shape[::-1] if tie.transposed else tie.source.shape
    if tie.tied.shape == shape:
        return
    remedy = ""
    if tie.tied.shape == shape[::-1]:
        other = written.removesuffix(".T") if tie.transposed else f"{written}.T"
        remedy = f"Write {other!r}."
    wanted = f"of shape {tie.tied.shape}, as {name!r} is"
    got = check.Said(f"{written!r} of shape {shape}")
    check.fail(where, f"ties[{name!r}]", wanted, got, remedy, error=ShapeError)


def parameters_of(model: Layer) -> dict[str, Parameter]:
    """Return all parameters by name, those included that are tied."""
    return {
        f"{path}.{name}".removeprefix("."): parameter
        for path, layer in model.walk()
        for name, parameter in layer.own_parameters.items()
    }


def ties_inside(model: Layer, ties: Iterable[Tie]) -> tuple[tuple[Tie, ...], dict[str, str]]:
    """Return those of some ties of which a model has both ends, and what it would name them."""
    names = {parameter: name for name, parameter in parameters_of(model).items()}
    inside = tuple(tie for tie in ties if tie.tied in names and tie.source in names)
    named = {names[t.tied]: names[t.source] + (".T" if t.transposed else "") for t in inside}
    return inside, named


def add_gradients(ties: Iterable[Tie]) -> None:
    """Add the gradients of tied parameters to those of their sources."""
    for tied, source, transposed in ties:
        source.grad += tied.grad.T if transposed else tied.grad


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
