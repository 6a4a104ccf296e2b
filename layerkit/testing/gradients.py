"""Gradients by finite differences, each with a measured bound on its own error."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from layerkit import _validation as check
from layerkit._validation import Array

__all__ = ["NumericGradient", "numeric_gradient"]

# Relative to the array's size. Large steps suffer from curvature, small ones from rounding;
# which of them sees a coordinate best is measured for each.
_STEPS = (1e-2, 1e-3, 1e-4, 1e-5)
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class NumericGradient:
    """A gradient found by finite differences.

    Attributes
    ----------
    value : ndarray
        The gradient, in the shape of the array.
    error : ndarray
        How far each coordinate may be off: rounding and curvature, both measured. Infinite
        where no step gave an answer, as at a kink.
    """

    value: Array
    error: Array


def numeric_gradient(
    function: Callable[[], float], array: Array, *, magnitude: float | None = None
) -> NumericGradient:
    """Differentiate a function of an array by finite differences.

    The five-point central difference D(h) = [8 (f(h) − f(−h)) − f(2h) + f(−2h)] / 12h is taken
    at h and h/2 on a ladder of steps; what the two differ by bounds the error of the second.
    A kink shows in the two one-sided slopes, whose gap does not halve with the step.

    Parameters
    ----------
    function : callable
        Takes nothing, reads ``array``, gives a float; always the same for the same array.
    array : ndarray of float64
        Changed one coordinate at a time, and given back as it was.
    magnitude : float, optional
        The sum of the sizes of the numbers that ``function`` adds up, from which its rounding
        follows; by default the size of its value.

    Returns
    -------
    NumericGradient
        The gradient and its error, coordinate by coordinate.

    Raises
    ------
    ArgumentError
        If the array is not one of float64, whose coordinates can be changed.

    References
    ----------
    Fornberg (1988), "Generation of finite difference formulas on arbitrarily spaced grids",
    table 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit.testing import numeric_gradient
    >>> x = np.array([1.0, 2.0])
    >>> gradient = numeric_gradient(lambda: float((x**3).sum()), x)
    >>> bool(np.allclose(gradient.value, [3, 12], rtol=1e-9))
    True
    >>> bool((gradient.error < 1e-9).all())
    True
    """
    where = "numeric_gradient.function"
    if not isinstance(array, np.ndarray) or array.dtype != np.float64 or not array.flags.writeable:
        check.fail(where, "array", "a writeable array of float64", array)
    centre = function()
    rounding = 8 * _EPSILON * (abs(centre) if magnitude is None else magnitude)
    scale = float(np.sqrt(np.mean(array**2))) or 1.0
    value, error = np.zeros(array.shape), np.full(array.shape, np.inf)
    for index in np.ndindex(array.shape):
        before = float(array[index])

        def at(offset: float, index: tuple[int, ...] = index, before: float = before) -> float:
            array[index] = before + offset
            return function()

        try:
            for step in _STEPS:
                slope, bound = _slope(at, centre, step * scale, rounding)
                if bound < error[index]:
                    value[index], error[index] = slope, bound
                if bound <= 1e-9 * abs(slope):
                    break
        finally:
            array[index] = before
    return NumericGradient(value, error)


def _slope(
    at: Callable[[float], float], centre: float, step: float, rounding: float
) -> tuple[float, float]:
    """Give the slope at a step, and a bound on its error; infinity at a kink."""
    half = step / 2
    plus, minus = [at(k * half) for k in (1, 2, 4)], [at(-k * half) for k in (1, 2, 4)]
    noise = rounding / half
    wide = (8 * (plus[1] - minus[1]) - (plus[2] - minus[2])) / (12 * step)
    narrow = (8 * (plus[0] - minus[0]) - (plus[1] - minus[1])) / (12 * half)
    gap_wide = abs((plus[1] - centre) - (centre - minus[1])) / step
    gap_narrow = abs((plus[0] - centre) - (centre - minus[0])) / half
    if gap_narrow > 0.75 * gap_wide + 4 * noise:
        return narrow, np.inf
    # For a smooth function a fifteenth of the difference would do. Where the second derivative
    # jumps, as ELU's at 0, the error only halves with the step: it is all of the difference.
    return narrow, 2 * abs(narrow - wide) + noise
