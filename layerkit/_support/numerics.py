"""Numerical functions shared by activations and losses, and the errors that none of them means."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array

F = TypeVar("F", bound=Callable[..., Any])


def ignoring(*errors: str) -> Callable[[F], F]:
    """Return a decorator of functions in which NumPy is to ignore some floating-point errors.

    A number too small for its dtype is 0, and no error of anybody's: exp(−1000) in a sigmoid.
    Users who let NumPy raise, or warn, want to hear of others. The decorator stands at what users
    call, once around all layers, as it costs some tenths of a microsecond.

    Parameters
    ----------
    *errors : {"over", "under", "divide", "invalid", "all"}
        Errors to ignore, as in `numpy.errstate`.
    """
    settings: Any = dict.fromkeys(errors, "ignore")
    if int(np.__version__.partition(".")[0]) >= 2:
        return np.errstate(**settings)  # in C, quicker than a with statement
    return functools.partial(_entering, settings)


def _entering(settings: dict[str, Any], function: F) -> F:
    """Wrap a function by a context of each call's own, as NumPy 1 needs it."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        with np.errstate(**settings):
            return function(*args, **options)

    return call  # type: ignore[return-value]


class _Constants:
    """Numbers as 0-d arrays of one dtype, which NumPy handles twice as fast as Python's floats."""

    def __init__(self, dtype: type[np.floating[Any]]) -> None:
        self.zero = np.array(0, dtype)
        self.one = np.array(1, dtype)
        # The largest whole number whose exponential is finite: 709, or 88 for float32.
        self.exp_limit = np.array(np.floor(np.log(np.finfo(dtype).max)), dtype)


class _ByDtype(dict[np.dtype[Any], _Constants]):
    """The constants of each dtype that a model may have."""

    def __missing__(self, dtype: np.dtype[Any]) -> _Constants:
        check.fail("Activation.forward", "z", "of dtype float32 or float64", check.Said(str(dtype)))


CONSTANTS = _ByDtype({np.dtype(kind): _Constants(kind) for kind in (np.float32, np.float64)})


def sigmoid(z: Array, out: Array | None = None) -> Array:
    """Return 1 / (1 + exp(−z)), with −z clipped where exp would overflow and y is 0 already."""
    constants = CONSTANTS[z.dtype]
    y = np.negative(z, out)
    np.minimum(y, constants.exp_limit, out=y)
    np.exp(y, y)
    np.add(y, constants.one, y)
    return np.reciprocal(y, y)
