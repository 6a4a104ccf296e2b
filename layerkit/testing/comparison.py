"""The comparison of computed gradients with finite differences, at one point.

A coordinate is right if some step resolves it and agrees; wrong if two steps in a row agree with
each other and not with it; and inconclusive otherwise.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from layerkit._support.validation import Array
from layerkit.testing.gradients import EPSILON, STEPS, Slopes, measured_noise, rms, slopes
from layerkit.testing.problems import Problem
from layerkit.testing.report import Mismatch

__all__ = ["Comparison", "along", "choose_moves", "compare", "cotangent"]

# What the computed gradient may be off by beside the numeric one's own error: relative to the
# coordinate, and to the largest of its array. Rounding in a backward pass stays far below.
RTOL, ATOL = 1e-6, 1e-9
# All coordinates of an array up to this size, as many of a larger one, and some directions.
MOST, N_DIRECTIONS = 256, 4
# Where all arrays together are larger than this, each is looked at in a few places only. The
# directions go through every coordinate, so that one wrong gradient among thousands shows in
# them; then that array is looked at more closely, which tells the cause.
LARGE, FEW, CLOSER = 600, 5, 64


@dataclass
class Comparison:
    """One array's gradients at one point.

    Attributes
    ----------
    name : str
        The array's.
    moves : list
        The coordinates and directions that were compared.
    analytic, numeric : ndarray of shape (n_moves,)
        The gradients; the numeric one is NaN where no step gave an answer.
    wrong, inconclusive : ndarray of bool of shape (n_moves,)
        The verdicts.
    noise : float
        The noise of the outputs that was measured, over their size.
    gradient : ndarray
        The whole gradient that was computed.
    """

    name: str
    moves: list[int | Array]
    analytic: Array
    numeric: Array
    wrong: Array
    inconclusive: Array
    noise: float
    gradient: Array
    found: list[tuple[Array, Slopes]]
    _given_up: int = 0

    @property
    def numeric_gradient(self) -> Array:
        """The numeric gradient in the array's shape, NaN where it was not looked at."""
        whole = np.full(self.gradient.size, np.nan)
        for move, value in zip(self.moves, self.numeric, strict=True):
            if not isinstance(move, np.ndarray):
                whole[move] = value
        return whole.reshape(self.gradient.shape)

    @property
    def n_checked(self) -> int:
        """How many coordinates have a verdict, or none after all."""
        return len(self.moves) - self._given_up

    @property
    def is_given_up(self) -> bool:
        """Whether some coordinates here were left to another point."""
        return self._given_up > 0

    def doubt(self) -> None:
        """Call inconclusive what is wrong, but for what is not even a number."""
        finite = np.isfinite(self.analytic)
        self.inconclusive |= self.wrong & finite
        self.wrong &= ~finite

    def give_up(self) -> None:
        """Leave what is inconclusive here to another point."""
        self.numeric[self.inconclusive] = np.nan
        self._given_up += int(self.inconclusive.sum())
        self.inconclusive[:] = False

    def worst(self) -> Mismatch | None:
        """Describe the coordinate that is furthest off."""
        failing = np.flatnonzero(self.wrong if self.wrong.any() else self.inconclusive)
        if not len(failing):
            return None
        with np.errstate(all="ignore"):
            larger = np.maximum(abs(self.analytic), abs(self.numeric))
            relative = abs(self.analytic - self.numeric) / np.where(larger > 0, larger, 1)
            off = abs(self.analytic - self.numeric)
        off = np.where(np.isnan(off), np.inf, off)
        index = int(failing[np.argmax(off[failing])])
        move = self.moves[index]
        if isinstance(move, np.ndarray):
            place = "along a random direction"
        else:
            place = str([int(i) for i in np.unravel_index(move, self.gradient.shape)])
        at = [(s, int(np.flatnonzero(rows == index)[0])) for rows, s in self.found if index in rows]
        best, row = min(at, key=lambda pair: float(pair[0].error[pair[1]]))
        return Mismatch(
            f"{self.name}{' ' if place.startswith('along') else ''}{place}",
            float(self.analytic[index]),
            float(self.numeric[index])
            if np.isfinite(self.numeric[index])
            else float(best.value[row]),
            float(relative[index]),
            best.step,
            float(best.noise[row]),
            float(best.left[row]),
            float(best.right[row]),
        )


def cotangent(rng: np.random.Generator, size: int) -> Array:
    """Draw dy, random in sign and size: sums of equal weights hide errors."""
    return rng.choice([-1.0, 1.0], size=size) * rng.uniform(0.5, 1.5, size=size)


def choose_moves(array: Array, rng: np.random.Generator, most: int = MOST) -> list[int | Array]:
    """Choose what to look at: every coordinate, or some of many and directions through all."""
    if array.size <= most:
        return list(range(array.size))
    sample: list[int | Array] = sorted(int(i) for i in rng.choice(array.size, most, replace=False))
    for _ in range(N_DIRECTIONS):
        sample.append(rng.choice([-1.0, 1.0], size=array.shape) / np.sqrt(array.size))
    return sample


def along(gradient: Array, moves: Sequence[int | Array]) -> Array:
    """Return a whole gradient's part in each move."""
    flat = gradient.reshape(-1)
    return np.array(
        [float((gradient * m).sum()) if isinstance(m, np.ndarray) else flat[m] for m in moves]
    )


def compare(
    problem: Problem,
    rng: np.random.Generator,
    *,
    dy: Array,
    computed: dict[str, Array],
    only: dict[str, Sequence[int | Array]] | None = None,
    seen: Container[str] = (),
) -> list[Comparison]:
    """Compare all gradients at the present point, or those of the moves ``only``.

    Of a large problem a few places are looked at; an array that is wrong there is looked at
    closely, unless ``seen`` has it: that has been done at another point.
    """
    is_large = sum(array.size for array in problem.arrays.values()) > LARGE
    comparisons = []
    for name, array in problem.arrays.items():
        most = FEW if is_large else MOST
        moves = choose_moves(array, rng, most) if only is None else list(only.get(name, ()))
        if not moves:
            continue
        found = _compare(problem, name, computed[name], dy, moves, rng)
        if is_large and only is None and found.wrong.any() and name not in seen:
            moves = choose_moves(array, rng, CLOSER)
            found = _closer(found, _compare(problem, name, computed[name], dy, moves, rng))
        comparisons.append(found)
    return comparisons


def _closer(first: Comparison, second: Comparison) -> Comparison:
    """Choose the closer look, unless what is wrong was seen by the first one alone."""
    return second if second.wrong.any() else first


def _compare(
    problem: Problem,
    name: str,
    gradient: Array,
    dy: Array,
    moves: list[int | Array],
    rng: np.random.Generator,
) -> Comparison:
    array = problem.arrays[name]
    centre = problem.evaluate().copy()
    measured = measured_noise(problem.evaluate, array, rng)
    # Digits that cancel on the way (1 + tanh far below 0, a loss of almost 0) leave more noise
    # than the outputs' size suggests: as much as that of what went in.
    size = np.maximum(abs(centre), max(map(_largest, problem.arrays.values())))
    level = 4 * EPSILON * size + 6 * measured
    unit = rms(array)
    largest = _largest(gradient)
    verdicts = _Verdicts(along(gradient, moves), largest, float(abs(dy) @ size) / unit)
    for step in STEPS:
        pending = [moves[i] for i in verdicts.pending]
        verdicts.judge(slopes(problem.evaluate, array, pending, dy, centre, level, step * unit))
        if not len(verdicts.pending):
            break
    right, wrong = verdicts.right, verdicts.settled_wrong
    with np.errstate(all="ignore"):
        noise = float(
            np.max(measured / np.maximum(abs(centre), 1e-3 * _largest(centre)), initial=0)
        )
    return Comparison(
        name,
        moves,
        verdicts.analytic,
        verdicts.numeric,
        wrong,
        ~(right | wrong),
        noise,
        gradient,
        verdicts.found,
    )


class _Verdicts:
    """What the steps taken so far say of each move.

    ``largest`` is the size of the computed gradient, and ``outputs`` that of the outputs over
    that of the array: what is far below both is nothing.
    """

    def __init__(self, analytic: Array, largest: float, outputs: float) -> None:
        count = len(analytic)
        self.analytic = analytic
        self.natural = max(largest, outputs)
        self.allowed = ATOL * min(largest, self.natural)
        self.numeric, self.best = np.full(count, np.nan), np.full(count, np.inf)
        self.right, self.wrong = np.zeros(count, bool), ~np.isfinite(analytic)
        self.pending = np.arange(count)
        self.found: list[tuple[Array, Slopes]] = []
        self._previous: tuple[Array, Array, Array] | None = None

    def judge(self, at: Slopes) -> None:
        """Judge the pending moves by their slopes at a further step."""
        pending = self.pending
        self.found.append((pending, at))
        off = abs(at.value - self.analytic[pending])
        allowed = RTOL * abs(at.value) + self.allowed
        resolved = at.error <= np.maximum(1e-5 * abs(at.value), 1e-9 * self.natural)
        self.right[pending] = resolved & (off <= allowed + at.error)
        apart = np.isfinite(at.error) & (off > allowed + 3 * at.error)
        better = at.error < self.best[pending]
        self.numeric[pending[better]] = at.value[better]
        self.best[pending[better]] = at.error[better]
        if self._previous is not None:
            value, error, was_apart = (column[pending] for column in self._previous)
            agree = abs(at.value - value) <= at.error + error + RTOL * abs(at.value)
            self.wrong[pending] |= apart & (was_apart > 0) & agree
        whole = np.zeros((3, len(self.analytic)))
        whole[:, pending] = at.value, at.error, apart
        self._previous = (whole[0], whole[1], whole[2])
        self.pending = pending[~self.right[pending]]

    @property
    def settled_wrong(self) -> Array:
        """Which moves are wrong: right at no step, or not even a number."""
        return self.wrong & (~self.right | ~np.isfinite(self.analytic))


def _largest(array: Array) -> float:
    finite = abs(array[np.isfinite(array)]) if array.size else array
    return float(finite.max()) if finite.size else 0.0
