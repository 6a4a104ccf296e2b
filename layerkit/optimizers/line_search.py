"""`strong_wolfe`: a search along a direction for a step that lowers the loss far enough.

Nothing is known here of parameters: only of the loss and its slope as functions of a length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Point", "strong_wolfe"]

# The loss falls at least by this share of what the slope at the beginning promises, and the slope
# that is left is at most this share of it: the constants that the literature gives for
# quasi-Newton methods.
_DECREASE, _CURVATURE = 1e-4, 0.9
_MOST_EVALUATIONS = 25
# Each length is so many times the last, until one lies too far; and keeps so far from both ends of
# the interval, as a share of it, once there is one.
_GROWTH, _MARGIN = 4.0, 0.1


class Point(NamedTuple):
    """A length of the step, with the loss there and its derivative with respect to the length."""

    length: float
    loss: float
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, float]],
    start: Point,
    length: float,
    rounding: float = 0.0,
) -> Point:
    """Find a length with φ(α) ≤ φ(0) + c₁ α φ'(0) and |φ'(α)| ≤ c₂ |φ'(0)|.

    Parameters
    ----------
    evaluate : callable
        Computes loss φ(α) and slope φ'(α) at a length α above 0.
    start : Point
        Point of length 0, from where the slope leads down.
    length : float
        First length to try.
    rounding : float
        Difference of two losses below which they count as equal: their slopes decide then.

    Returns
    -------
    Point
        Such a point; if none was found, the lowest that was; ``start`` if that is none at all.

    References
    ----------
    Nocedal & Wright (2006), "Numerical optimization", algorithms 3.5 and 3.6, and eq. 3.59. Their
    two loops are one here: until some length is too far, the upper end of the interval is infinite.
    """
    low, high = start, None
    for _ in range(_MOST_EVALUATIONS):
        now = Point(length, *evaluate(length))
        bound = start.loss + _DECREASE * length * start.slope + rounding
        is_finite = math.isfinite(now.loss) and math.isfinite(now.slope)
        if not is_finite or now.loss > bound or (low.length and now.loss >= low.loss):
            high = now
        elif abs(now.slope) <= -_CURVATURE * start.slope:
            return now
        else:
            ahead = math.inf if high is None else high.length
            if now.slope * (ahead - low.length) >= 0:
                high = low
            low = now
        length = _GROWTH * length if high is None else _between(low, high)
        if length in (low.length, math.inf):
            break
    return low if low.loss < start.loss else start


def _between(low: Point, high: Point) -> float:
    """Return the minimum of the cubic through both ends, or the middle of the interval."""
    width = high.length - low.length
    share = 0.5
    if math.isfinite(high.loss) and math.isfinite(high.slope):
        # In lengths of the interval, beginning at its lower end, from where it leads down.
        rise, before, after = high.loss - low.loss, low.slope * width, high.slope * width
        bend = before + after - 3 * rise
        # Of no negative number: the slope at the upper end is above 0, or the loss is no lower.
        root = math.sqrt(bend * bend - before * after)
        divisor = after - before + 2 * root
        if divisor:
            share = 1 - (after + root - bend) / divisor
    return low.length + min(1 - _MARGIN, max(_MARGIN, share)) * width  # the margin if it is NaN
