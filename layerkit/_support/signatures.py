"""Names and default values of a function's arguments.

`inspect` knows more, but importing it takes a sixth of the time that importing NumPy takes.
"""

from typing import Any, NamedTuple

MISSING = object()


class Argument(NamedTuple):
    """An argument of a function; ``default`` is `MISSING` if there is none."""

    name: str
    default: Any
    keyword_only: bool


def arguments_of(function: Any) -> list[Argument]:
    """Return a method's arguments, without the first (``self``), ``*args`` and ``**kwargs``."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    if code is None:  # written in C, as object's own __init__
        return []
    n_names = code.co_argcount
    names = code.co_varnames[:n_names]
    keywords = code.co_varnames[n_names : n_names + code.co_kwonlyargcount]
    defaults = function.__defaults__ or ()
    by_name = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    by_name |= function.__kwdefaults__ or {}
    return [Argument(name, by_name.get(name, MISSING), False) for name in names[1:]] + [
        Argument(name, by_name.get(name, MISSING), True) for name in keywords
    ]


def takes(function: Any, name: str) -> bool:
    """Return whether a method has an argument of this name."""
    return any(argument.name == name for argument in arguments_of(function))
