"""The errors that layerkit raises: every one is a `LayerkitError`.

A message reads ``<Class>.<method>: <argument> must be <expectation>; got <value>. <remedy>``;
`layerkit._support.validation` words it.
"""

__all__ = [
    "ArgumentError",
    "LayerkitError",
    "LoadError",
    "MissingExtraError",
    "NonFiniteError",
    "SaveError",
    "ShapeError",
    "StateError",
]


class LayerkitError(Exception):
    """Base of every error that layerkit raises."""


class ArgumentError(LayerkitError, ValueError):
    """An argument is not what the method takes."""


class ShapeError(ArgumentError):
    """An array does not have the shape that its place asks for."""


class StateError(LayerkitError, RuntimeError):
    """A method was called before, or after, it makes sense."""


class MissingExtraError(LayerkitError, ImportError):
    """A package is missing that an optional part of layerkit needs; the message names the extra."""


class NonFiniteError(LayerkitError, ArithmeticError):
    """Training met a NaN or an infinity, and stopped before it reached the parameters."""


class SaveError(LayerkitError):
    """Something could not be saved; what was in the file before is there still."""


class LoadError(LayerkitError):
    """A file can't be loaded: it is missing, damaged, or not what is asked for."""
