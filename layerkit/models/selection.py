"""Parameters of a model by name: of layers, of their own, or by patterns."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from layerkit._support import validation as check
from layerkit.layers.base import Layer
from layerkit.models.ties import parameters_of
from layerkit.parameters import Parameter

__all__ = ["select", "select_all"]


def select(where: str, model: Layer, name: str) -> dict[str, Parameter]:
    """Return the parameters of a model that a name or a pattern stands for, by their own names.

    Parameters
    ----------
    where : str
        Name of the call, for errors.
    model : Layer
        Model, or another layer.
    name : str
        Dotted name of a layer (all parameters in it) or of a parameter, or a pattern of such
        names, in which ``*`` stands for any text.

    Raises
    ------
    ArgumentError
        If no layer and no parameter has such a name.
    """
    known = parameters_of(model)
    layers = [path for path, _ in model.walk() if path]
    if name in known or name in layers:
        chosen = {name}
    else:
        fnmatch: Any = importlib.import_module("fnmatch")  # few programs need it
        chosen = {own for own in (*layers, *known) if fnmatch.fnmatchcase(own, name)}
    if not chosen:
        names = ", ".join(map(repr, (*layers, *known)))
        remedy = "A pattern has a *, as in '*.bias'."
        check.fail(where, "a name", f"one of {names}, or a pattern of such", name, remedy)
    return {
        own: parameter
        for own, parameter in known.items()
        if own in chosen or any(own.startswith(f"{layer}.") for layer in chosen)
    }


def select_all(where: str, model: Layer, names: Sequence[str]) -> dict[str, Parameter]:
    """Return the parameters that several names or patterns stand for; all if there is none."""
    if not names:
        return parameters_of(model)
    for name in names:
        if not isinstance(name, str):
            check.fail(where, "a name", "a text such as 'encoder' or '*.bias'", name)
    found = [select(where, model, name) for name in names]
    return {name: parameter for each in found for name, parameter in each.items()}
