"""What is known of an array's wrong gradients, and how such arrays are compared."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.testing.comparison import Comparison
from layerkit.testing.problems import Problem

__all__ = ["SAME", "Evidence", "every", "pairs", "same", "wrong_and_right"]

# How close two numbers are that are "the same": far above what differences leave, far below
# what tells one cause from another.
SAME = 1e-4


@dataclass
class Evidence:
    """An array's gradients at a point where some are wrong, and the way back to that point."""

    _problem: Problem
    state: dict[str, Any]
    before_all: dict[str, Array]
    comparison: Comparison
    dy: Array

    @property
    def problem(self) -> Problem:
        """The problem, at this point."""
        self._problem.restore(self.state)
        return self._problem

    @property
    def batch_size(self) -> int:
        """The number of samples at this point."""
        arrays = self.state["arrays"]
        x = self.state.get("x", arrays)
        return len(next(iter(x.values())) if isinstance(x, Mapping) else x)

    @property
    def before(self) -> Array | None:
        """Contents of the gradient before the backward pass."""
        return self.before_all.get(self.comparison.name)


def same(first: Array, second: Array) -> bool:
    """Test whether two arrays are the same where both are known, and not all zeros."""
    if first.shape != second.shape:
        return False
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any():
        return False
    first, second = first[known], second[known]
    size = max(abs(first).max(), abs(second).max())
    return bool(size > 0 and abs(first - second).max() <= SAME * size)


def pairs(evidence: list[Evidence]) -> Iterator[tuple[Evidence, Array, Array]]:
    """Go through the evidence with the gradients computed and numeric."""
    for item in evidence:
        yield item, item.comparison.gradient, item.comparison.numeric_gradient


def every(evidence: list[Evidence], holds: Callable[[Evidence, Array, Array], bool]) -> bool:
    """Test whether something holds of all the evidence."""
    return all(holds(*item) for item in pairs(evidence))


def wrong_and_right(item: Evidence) -> tuple[Array, Array]:
    """Mark which coordinates came out wrong, and which right; not all were looked at."""
    c = item.comparison
    wrong, right = np.zeros((2, c.gradient.size), bool)
    for move, is_wrong, unclear in zip(c.moves, c.wrong, c.inconclusive, strict=True):
        if not isinstance(move, np.ndarray):
            wrong[move], right[move] = is_wrong, not (is_wrong or unclear or c.is_given_up)
    return wrong.reshape(c.gradient.shape), right.reshape(c.gradient.shape)
