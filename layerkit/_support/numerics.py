"""Numerical functions shared by activations and losses, and the errors that none of them means."""

import functools
import math
import types
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
    # As a decorator, NumPy 2's own is quicker than a with statement.
    is_quick = int(np.__version__.partition(".")[0]) >= 2
    guard = np.errstate(**settings) if is_quick else functools.partial(_entering, settings)

    def decorate(function: F) -> F:
        guarded: Any = guard(function)
        guarded.inside_of_guard = function
        return guarded  # type: ignore[no-any-return]

    return decorate


def unguarded(method: F) -> F:
    """Return a bound method without the guard of `ignoring`, for those who stand in one already."""
    inner = getattr(getattr(method, "__func__", None), "inside_of_guard", None)
    return method if inner is None else types.MethodType(inner, method.__self__)  # type: ignore


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


# Of Φ(−x) exp(x²/2) / w with w = s / (s + x), by powers of w from the highest down: s and those
# whose error is some 1e-17 for float64, and 1e-7 for float32. Found by Chebyshev interpolation in
# 50 digits, and by least squares that are weighted again until the largest error is the least.
_TAILS: dict[np.dtype[Any], tuple[float, tuple[float, ...]]] = {
    np.dtype(np.float64): (
        4 * math.sqrt(2),
        (
            0.0008218202868357732,
            -0.010545234109077036,
            0.06162825806614898,
            -0.21704395814104693,
            0.515499434811569,
            -0.8808855506730855,
            1.1356411446142811,
            -1.1431965942186946,
            0.9127572916120787,
            -0.5874555902642914,
            0.31148452292882395,
            -0.1229213100679417,
            0.06014319910502749,
            0.009525767071620606,
            0.034172092533683376,
            0.04000234638849427,
            0.04959348654312742,
            0.05749892352408797,
            0.06391275678357454,
            0.06831979609949856,
            0.07052369918138492,
            0.07052369792390044,
        ),
    ),
    np.dtype(np.float32): (
        3.3,
        (
            0.036633011,
            -0.15601428,
            0.19598004,
            -0.045958005,
            0.12490476,
            0.10177566,
            0.12183373,
            0.12084506,
        ),
    ),
}
_TAILS_BY_DTYPE: Any = {
    dtype: [np.array(number, dtype) for number in (scale, *coefficients)]
    for dtype, (scale, coefficients) in _TAILS.items()
}


def normal_tail(x: Array) -> Array:
    """Return Φ(−x) of the standard normal distribution, for x of at least 0.

    ½ erfc(x / √2), which keeps its digits far below 1: the error is that of exp(−x²/2) there,
    and an ulp or two elsewhere.

    References
    ----------
    Shepherd & Laframboise (1981), "Chebyshev approximation of (1 + 2x) exp(x²) erfc x in
    0 ≤ x < ∞": the mapping to one polynomial for all x.
    """
    scale, highest, *middle, lowest = _TAILS_BY_DTYPE[x.dtype]
    w = np.divide(scale, x + scale)
    tail: Array = w * highest
    for coefficient in middle:
        tail += coefficient
        tail *= w
    tail += lowest
    tail *= w
    square = x * x
    square *= -0.5
    tail *= np.exp(square, square)
    return tail


# Numbers that an elementwise function works on together, so that what it computes on the way stays
# in a processor's first caches.
_BLOCK = 1 << 15


def blockwise(
    function: Callable[..., Array], arrays: tuple[Array, ...], out: Array | None = None
) -> Array:
    """Compute an elementwise function of arrays of one shape, block by block if they are large.

    It is called with a block of each, and the array for its result or None. ``out`` may be one of
    the arrays.
    """
    first = arrays[0]
    if first.size <= _BLOCK:
        return function(*arrays, out)
    is_laid = out is not None and out.flags.c_contiguous
    y = out if is_laid and out is not None else np.empty(first.shape, first.dtype)
    rows, flat = y.reshape(-1), [array.reshape(-1) for array in arrays]
    for start in range(0, first.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        function(*(array[part] for array in flat), rows[part])
    if out is None or out is y:
        return y
    out[...] = y
    return out
