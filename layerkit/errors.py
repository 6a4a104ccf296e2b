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
    """Base class of all errors that layerkit raises."""


class ArgumentError(LayerkitError, ValueError):
    """Raised for an argument of the wrong kind or out of its range."""


class ShapeError(ArgumentError):
    """Raised for an array of the wrong shape."""


class StateError(LayerkitError, RuntimeError):
    """Raised for a call at the wrong time, such as `backward` without a `forward`."""


class MissingExtraError(LayerkitError, ImportError):
    """Raised where an optional package is not installed; the message names the extra to install."""


class NonFiniteError(LayerkitError, ArithmeticError):
    """Raised for a NaN or an infinity in training, before it reaches the parameters."""


class SaveError(LayerkitError):
    """Raised for a failed save; an existing file keeps its contents."""


class LoadError(LayerkitError):
    """Raised for a file that is missing, damaged or of another kind."""
