"""Making an object again from its constructor's arguments, kept as attributes."""

import inspect
from typing import Any

from layerkit._support.repr import ConstructorRepr
from layerkit.testing.suite import fail

__all__ = ["rebuilt"]


def rebuilt(thing: Any) -> Any:
    """Make an object of the same class with the same arguments, and of those inside it too."""
    arguments, positional = {}, []
    for name, parameter in inspect.signature(type(thing)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not hasattr(thing, name):
            fail(
                f"the argument {name!r} of {type(thing).__name__}.__init__ is not kept; "
                f"write self.{name} = {name}, so that the object can be shown, saved and rebuilt"
            )
        value = _argument(getattr(thing, name))
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(value)
        else:
            arguments[name] = value
    return type(thing)(*positional, **arguments)


def _argument(value: Any) -> Any:
    if isinstance(value, ConstructorRepr):
        return rebuilt(value)
    if isinstance(value, dict):  # the nodes of a graph
        return {name: _argument(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_argument(item) for item in value)
    return value
