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


# Of (1 + 2x) exp(x²) erfc(x), by powers of (x − 3.75) / (x + 3.75), from the highest down.
_ERFC = (
    4.25147144479637e-10,
    3.1114333809799115e-10,
    -5.173990214011299e-09,
    -3.744210080962012e-09,
    3.867533424222233e-08,
    2.3263508708859107e-08,
    -2.5866850716155884e-07,
    -5.7218230603224066e-08,
    1.751637648849062e-06,
    -9.73559896736775e-07,
    -1.1444146237700524e-05,
    2.238423915508223e-05,
    5.164909889268241e-05,
    -0.0002901540805408417,
    0.0002937136655913448,
    0.0017556258528952954,
    -0.009746579558029276,
    0.028362277418956406,
    -0.05869339858963677,
    0.09230432116037748,
    -0.10880393014174886,
    0.0822767384901452,
    0.0035854154854644293,
    -0.14024059858554697,
    1.2375126308378275,
)
# Beyond these, the normal distribution function is 0 or 1, and exp(−z²/2) is 0.
_NORMAL_LIMIT = 40.0


def normal_distribution(z: Array) -> tuple[Array, Array]:
    """Compute the standard normal distribution function Φ(z), and its density φ(z).

    Φ(z) = ½ erfc(−z / √2) keeps its digits far below 0: there the error is that of exp(−z²/2),
    some 1e-14 of the value; elsewhere it is an ulp or two.

    References
    ----------
    Shepherd & Laframboise (1981), "Chebyshev approximation of (1 + 2x) exp(x²) erfc x in
    0 ≤ x < ∞": the mapping to one polynomial for all x. Its coefficients have been computed anew.
    """
    kind = z.dtype.type
    x = np.minimum(np.abs(z), kind(_NORMAL_LIMIT))
    density = np.exp(x * x * kind(-0.5))
    x *= kind(math.sqrt(0.5))
    t = (x - kind(3.75)) / (x + kind(3.75))
    tail = np.full_like(t, _ERFC[0])
    for coefficient in _ERFC[1:]:
        tail *= t
        tail += kind(coefficient)
    tail *= density
    tail /= 2 + 4 * x  # Φ(−|z|)
    below = np.where(z > 0, 1 - tail, tail)
    density *= kind(1 / math.sqrt(2 * math.pi))
    return below, density
