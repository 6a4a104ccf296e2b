"""Gradients by finite differences, each with a measured bound on its own error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array

__all__ = ["NumericGradient", "Slopes", "measured_noise", "numeric_gradient", "slopes"]

# Relative to the array's size. Large steps suffer from curvature, small ones from rounding;
# which of them sees a coordinate best is measured for each.
STEPS = (1e-2, 1e-3, 1e-4, 1e-5)
EPSILON = float(np.finfo(np.float64).eps)
# Where the function is looked at, in halves of a step.
_OFFSETS = (1, 2, 4, -1, -2, -4)
# How many numbers of outputs to hold at once.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class NumericGradient:
    """A gradient found by finite differences.

    Parameters
    ----------
    value : ndarray
        The gradient, in the shape of the array.
    error : ndarray
        Bound on the error of each coordinate: rounding and curvature, both measured. Infinite
        where no step gave an answer, as at a kink.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit.testing import numeric_gradient
    >>> x = np.array([0.0, 2.0])
    >>> np.isfinite(numeric_gradient(lambda: float(abs(x).sum()), x).error)
    array([False,  True])
    """

    value: Array
    error: Array


@dataclass(frozen=True)
class Slopes:
    """The slopes of a weighted sum of outputs in several directions, all at one step.

    Attributes
    ----------
    step : float
        The step.
    value, error, noise : ndarray of shape (n_moves,)
        The slopes; how far each may be off, infinite at a kink; how much of that is rounding.
    left, right : ndarray of shape (n_moves,)
        The one-sided slopes.
    """

    step: float
    value: Array
    error: Array
    noise: Array
    left: Array
    right: Array


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

    def evaluate() -> Array:
        return np.array([function()])

    centre = evaluate()
    level = 8 * EPSILON * (abs(centre) if magnitude is None else np.array([magnitude]))
    value, error = np.zeros(array.size), np.full(array.size, np.inf)
    pending = np.arange(array.size)
    for step in STEPS:
        found = slopes(evaluate, array, list(pending), np.ones(1), centre, level, step * rms(array))
        better = found.error < error[pending]
        value[pending[better]] = found.value[better]
        error[pending[better]] = found.error[better]
        pending = pending[error[pending] > 1e-9 * abs(value[pending])]
        if not len(pending):
            break
    return NumericGradient(value.reshape(array.shape), error.reshape(array.shape))


def rms(array: Array) -> float:
    """Return the size that an array's elements have; 1 for nothing but zeros."""
    return float(np.sqrt(np.mean(array**2))) or 1.0 if array.size else 1.0


def slopes(
    evaluate: Callable[[], Array],
    array: Array,
    moves: Sequence[int | Array],
    weights: Array,
    centre: Array,
    level: Array,
    step: float,
) -> Slopes:
    """Differentiate Σ weights · outputs in several directions of one array, at one step.

    ``evaluate`` gives the outputs as a vector; ``centre`` is what it gives now. A move is a
    coordinate of the flattened array, or a direction of the array's shape. ``level`` is how far
    rounding may put each output off.
    """
    rows = max(1, _CHUNK // (6 * max(1, len(centre))))
    parts = [
        _slopes(evaluate, array, moves[start : start + rows], weights, centre, level, step)
        for start in range(0, len(moves), rows)
    ]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Slopes(step, *columns)


def _slopes(
    evaluate: Callable[[], Array],
    array: Array,
    moves: Sequence[int | Array],
    weights: Array,
    centre: Array,
    level: Array,
    step: float,
) -> tuple[Array, ...]:
    half = step / 2
    outputs = np.empty((6, len(moves), len(centre)))
    flat: Any = array.flat if not array.flags.c_contiguous else array.reshape(-1)
    for row, move in enumerate(moves):
        if isinstance(move, np.ndarray):
            place, direction = slice(None), move
        else:
            place, direction = slice(move, move + 1), np.ones(1)
        before = flat[place].copy()
        try:
            for column, offset in enumerate(_OFFSETS):
                flat[place] = before + offset * half * direction.reshape(-1)
                outputs[column, row] = evaluate()
        finally:
            flat[place] = before
    plus, minus = outputs[:3], outputs[3:]
    spread = plus - minus
    narrow = (8 * spread[0] - spread[1]) / (12 * half)
    wide = (8 * spread[1] - spread[2]) / (12 * step)
    bend = abs(plus[:2] + minus[:2] - 2 * centre)
    noise = level / half
    # A smooth function's one-sided slopes close as the step halves; at a kink they don't.
    kink = bend[0] / half > 0.75 * bend[1] / step + 4 * noise
    # For a smooth function a fifteenth of the difference would do. Where the second derivative
    # jumps, as ELU's at 0, the error only halves with the step: it is all of the difference.
    error = np.where(kink, np.inf, 2 * abs(narrow - wide) + noise)
    error[np.isnan(error)] = np.inf
    sizes = abs(weights)
    # An output of weight 0 has no say, at a kink either.
    error = np.where(sizes > 0, error, 0.0)
    return (
        narrow @ weights,
        error @ sizes,
        np.full(len(moves), noise @ sizes),
        ((centre - minus[0]) / half) @ weights,
        ((plus[0] - centre) / half) @ weights,
    )


def measured_noise(evaluate: Callable[[], Array], array: Array, rng: np.random.Generator) -> Array:
    """Measure how far rounding puts each output off.

    At steps far too small for the function to bend, high differences of its values hold nothing
    but noise.

    References
    ----------
    Moré & Wild (2011), "Estimating computational noise", section 3.
    """
    before = array.copy()
    direction = rng.choice([-1.0, 1.0], size=array.shape) * (1e-7 * rms(array))
    differences = []
    try:
        for k in range(7):
            array[...] = before + k * direction
            differences.append(evaluate().copy())
    finally:
        array[...] = before
    table = np.array(differences)
    largest = np.zeros(table.shape[1])
    # The root of the sum of squared binomial coefficients: what independent noise grows by.
    growth = {3: 20.0, 4: 70.0, 5: 252.0, 6: 924.0}
    for order in range(1, 7):
        table = np.diff(table, axis=0)
        if order in growth:
            np.maximum(largest, abs(table).max(axis=0) / np.sqrt(growth[order]), out=largest)
    return largest
