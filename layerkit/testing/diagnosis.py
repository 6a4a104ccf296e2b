"""What the pattern of a wrong gradient says about its cause.

Each pattern is tried on the whole evidence, the exact ones first; the first that fits names the
cause.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.activations import Activation
from layerkit.testing.comparison import Comparison
from layerkit.testing.problems import ActivationProblem, LossProblem, ModelProblem, Problem

__all__ = ["UNKNOWN", "Evidence", "diagnose"]

# How close two numbers are that are "the same": far above what differences leave, far below
# what tells one cause from another.
_SAME = 1e-4
# Jacobians of up to so many elements are looked at whole.
_MOST = 20_000


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
        return len(next(iter(self.state["arrays"].values())))

    @property
    def before(self) -> Array | None:
        """What the gradient held before the backward pass."""
        return self.before_all.get(self.comparison.name)


UNKNOWN = "no pattern that is known: neither a factor, a sign, a transpose nor a stale cache"


def diagnose(evidence: list[Evidence], right_for_one: bool) -> str:
    """Name the cause of the errors in one array's gradient.

    ``right_for_one`` tells that batches of a single sample came out right.
    """
    with np.errstate(all="ignore"):
        for pattern in _PATTERNS:
            words = pattern(evidence)
            if words:
                return words
    if right_for_one:
        return (
            "wrong for batches, right for a single sample: a sum over the batch or an axis is "
            "mixed up"
        )
    return UNKNOWN


def _same(first: Array, second: Array) -> bool:
    """Tell whether two arrays are the same where both are known, and not all zeros."""
    if first.shape != second.shape:
        return False
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any():
        return False
    first, second = first[known], second[known]
    size = max(abs(first).max(), abs(second).max())
    return bool(size > 0 and abs(first - second).max() <= _SAME * size)


def _pairs(evidence: list[Evidence]) -> Iterator[tuple[Evidence, Array, Array]]:
    for item in evidence:
        yield item, item.comparison.gradient, item.comparison.numeric_gradient


def _every(evidence: list[Evidence], holds: Callable[[Evidence, Array, Array], bool]) -> bool:
    return all(holds(*item) for item in _pairs(evidence))


def _not_finite(evidence: list[Evidence]) -> str:
    if any(not np.isfinite(a).all() for _, a, _ in _pairs(evidence)):
        return "NaN or an infinity is computed where the true gradient is finite"
    return ""


def _low_precision(evidence: list[Evidence]) -> str:
    noise = float(np.median([item.comparison.noise for item in evidence]))
    unresolved = [item for item in evidence if item.comparison.inconclusive.any()]
    if unresolved and 1e-9 < noise < 1e-3:
        return (
            f"the outputs carry noise of {noise:.0e} of their size, as of float32 (6e-08): "
            "something on the way is computed, or kept, in less than float64"
        )
    return ""


def _unresolved(evidence: list[Evidence]) -> str:
    if any(item.comparison.wrong.any() for item in evidence):
        return ""
    return (
        "finite differences give no answer here: the outputs jump, or have a kink wherever one "
        "looks, or change from call to call"
    )


def _never_written(evidence: list[Evidence]) -> str:
    if _every(evidence, lambda e, a, n: e.before is not None and bool((a == e.before).all())):
        return "never written: the backward pass leaves the gradient as it was"
    return ""


def _accumulated(evidence: list[Evidence]) -> str:
    def holds(item: Evidence, analytic: Array, numeric: Array) -> bool:
        return item.before is not None and _same(analytic - numeric, item.before)

    if _every(evidence, holds):
        return "accumulated: added to what was there, where it should be overwritten"
    return ""


def _zero(evidence: list[Evidence]) -> str:
    if _every(evidence, lambda e, a, n: not a.any()):
        return "zero everywhere: nothing is carried back"
    return ""


def _stale(evidence: list[Evidence]) -> str:
    """Ask a copy that has seen nothing else; the first point may be as fresh as the copy."""
    stale = 0
    for item in evidence:
        fresh = item.problem.fresh()
        if fresh is None:
            return ""
        gradient = fresh.gradients(item.dy)[item.comparison.name]
        computed = item.comparison.gradient
        right = _same(gradient, item.comparison.numeric_gradient)
        stale += right and not np.allclose(gradient, computed, rtol=1e-9, atol=0)
    if stale == len(evidence):
        return (
            "stale: right on a fresh copy, wrong after another batch; something of an earlier "
            "batch is kept (the cache)"
        )
    return ""


def _ratios(evidence: list[Evidence]) -> list[Array]:
    ratios = []
    for item in evidence:
        c = item.comparison
        size = np.nanmax(abs(c.numeric[c.wrong]), initial=0)
        told = c.wrong & (abs(c.numeric) > 1e-3 * size)
        ratios.append(c.analytic[told] / c.numeric[told])
    return [r for r in ratios if len(r)]


def _factor(evidence: list[Evidence]) -> str:
    ratios = _ratios(evidence)
    if not ratios:
        return ""
    for ratio in ratios:
        if abs(ratio - ratio[0]).max() > _SAME * abs(ratio[0]):
            return ""
    sizes = np.array([e.batch_size for e in evidence if len(_ratios([e]))], dtype=float)
    factors = np.array([np.median(r) for r in ratios])
    where = _where(evidence)
    is_loss = isinstance(evidence[0].problem, LossProblem)
    if len(set(sizes)) > 1 or (sizes > 1).any():
        if np.allclose(factors, sizes, rtol=_SAME):
            if is_loss:
                return f"batch_size times too large{where}: the mean over the samples is missing"
            return f"batch_size times too large{where}: summed over the batch once too often"
        if np.allclose(factors, 1 / sizes, rtol=_SAME):
            return (
                f"1 / batch_size of the true one{where}: the mean over the batch was taken twice; "
                "the loss divides by the number of samples already"
            )
        for power, words in ((1, "batch_size"), (-1, "1 / batch_size")):
            by_size = factors / sizes**power
            if len(set(sizes)) > 1 and by_size[0] and np.allclose(by_size, by_size[0], rtol=_SAME):
                return f"{by_size[0]:.6g} · {words} times the true one{where}: a mean is mixed up"
    factor = float(factors[0])
    if not factor or not np.allclose(factors, factor, rtol=_SAME):
        return ""
    if abs(factor + 1) < _SAME:
        return f"the sign is flipped{where}"
    named = {2.0: "twice", 0.5: "half (½)", 3.0: "three times", -2.0: "minus twice"}
    for number, word in named.items():
        if abs(factor - number) < _SAME * abs(number):
            return f"{word} the true one{where}: a factor of {number:g}"
    return f"a constant factor {factor:.6g} off{where}"


def _where(evidence: list[Evidence]) -> str:
    """Say which coordinates are wrong, if it is not all of them."""
    if all(e.comparison.wrong.mean() > 0.999 for e in evidence):
        return ""
    if evidence[0].comparison.name in ("x", "z", "y_pred"):
        for words, sign in (("below", -1), ("above", 1)):
            if all(_only_on_side(item, sign) for item in evidence):
                return f", only where the input is {words} 0"
    else:
        union = np.any([_wrong_and_right(e)[0] for e in evidence], axis=0)
        if union.mean() <= 0.5:
            indices = [str([int(i) for i in index]) for index in np.argwhere(union)[:4]]
            more = " and others" if union.sum() > 4 else ""
            return f", only at {', '.join(indices)}{more}"
    return ""


def _only_on_side(item: Evidence, sign: int) -> bool:
    wrong, _ = _wrong_and_right(item)
    inputs = item.state["arrays"][item.comparison.name]
    return bool(wrong.any()) and bool((sign * inputs[wrong] > 0).all())


def _wrong_and_right(item: Evidence) -> tuple[Array, Array]:
    """Mark which coordinates came out wrong, and which right; not all were looked at."""
    c = item.comparison
    wrong, right = np.zeros((2, c.gradient.size), bool)
    for move, is_wrong, unclear in zip(c.moves, c.wrong, c.inconclusive, strict=True):
        if not isinstance(move, np.ndarray):
            wrong[move], right[move] = is_wrong, not (is_wrong or unclear or c.is_given_up)
    return wrong.reshape(c.gradient.shape), right.reshape(c.gradient.shape)


def _transposed(evidence: list[Evidence]) -> str:
    words = "transposed: a transpose is missing, or one too many"
    if _every(evidence, lambda e, a, n: a.ndim == 2 and not _same(a, n) and _same(a, n.T)):
        return words

    def swapped(item: Evidence, analytic: Array, numeric: Array) -> bool:
        """Tell whether dx = dz · K for dx = dz · Kᵀ: the same dz explains both."""
        if analytic.ndim != 2 or item.comparison.name != "x":
            return False
        for name, kernel in item.state["arrays"].items():
            if name != "x" and kernel.shape == (analytic.shape[1],) * 2:
                for true, other in ((kernel.T, kernel), (kernel, kernel.T)):
                    dz = np.linalg.lstsq(true.T, numeric.T, rcond=None)[0].T
                    if _same(dz @ other, analytic):
                        return True
        return False

    if _every(evidence, swapped):
        return "transposed: the weight is used where its transpose belongs, or the reverse"
    return ""


def _jacobians(item: Evidence) -> tuple[Array, Array] | None:
    """Compute d outputs / d array, row by row, by the code and by differences."""
    problem, name = item.problem, item.comparison.name
    array = problem.arrays[name]
    n_outputs = len(problem.evaluate())
    if n_outputs * array.size > _MOST:
        return None
    rows = [problem.gradients(unit)[name].reshape(-1).copy() for unit in np.eye(n_outputs)]
    columns = []
    for index in np.ndindex(array.shape):
        before = float(array[index])
        step = 1e-5 * max(1.0, abs(before))
        sides = []
        for sign in (1, -1):
            array[index] = before + sign * step
            sides.append(problem.evaluate().copy())
        array[index] = before
        columns.append((sides[0] - sides[1]) / (2 * step))
    return np.array(rows), np.array(columns).T


def _jacobian_pattern(evidence: list[Evidence]) -> str:
    name = evidence[0].comparison.name
    found = [_jacobians(item) for item in evidence[:3]]
    pairs = [pair for pair in found if pair is not None]
    if not pairs or any(a.shape != n.shape or a.shape[0] != a.shape[1] for a, n in pairs):
        return ""
    if name not in ("x", "z"):
        return ""

    def diagonal(computed: Array, true: Array) -> bool:
        off = ~np.eye(len(true), dtype=bool)
        largest = abs(true).max()
        return bool(
            abs(computed[off]).max(initial=0) <= 1e-9 * largest
            and abs(true[off]).max(initial=0) > _SAME * largest
        )

    mixing = [pair for pair in pairs if len(pair[1]) > 1 and pair[1].any()]
    if mixing and all(diagonal(*pair) for pair in mixing):
        return (
            "only the diagonal of the Jacobian: each output is taken to depend on its own input "
            "alone, but it depends on the others too"
        )
    if all(_same(a, n.T) and not _same(a, n) for a, n in pairs):
        return "transposed: the Jacobian is applied where its transpose belongs, or the reverse"
    return ""


def _elementwise(item: Evidence) -> tuple[Array, Array, Array, Array] | None:
    """Find f, as it were, elementwise: computed and true slopes by element, and y = f(z).

    Either the array itself goes elementwise into the outputs, or, at a batch of one sample, it
    is a bias that does.
    """
    analytic, numeric = item.comparison.gradient, item.comparison.numeric_gradient
    y = item.problem.evaluate().copy()
    if isinstance(item.problem, LossProblem) or len(y) != analytic.size or item.dy.size != len(y):
        return None
    is_input = item.comparison.name in ("x", "z")
    if not is_input and item.batch_size != 1:
        return None
    dy = item.dy.reshape(analytic.shape)
    return analytic / dy, numeric / dy, y.reshape(analytic.shape), dy


def _slope_pattern(evidence: list[Evidence]) -> str:
    samples = [(item, _elementwise(item)) for item in evidence]
    told = [(item, found) for item, found in samples if found is not None]
    if not told:
        return ""
    if all(_same(a, n * n) for _, (a, n, _, _) in told):
        return "the derivative is applied twice"
    if all(_same(a, np.ones_like(a)) for _, (a, n, _, _) in told):
        return "the derivative is missing: dy is passed on as it is"
    if all(_same(a, y) for _, (a, n, y, _) in told):
        return "the value y is used where the derivative belongs"
    offsets = [_offset(item, a, n) for item, (a, n, _, _) in told]
    if None not in offsets and len({round(float(o), 4) for o in offsets if o}) == 1:
        return f"the derivative is off by the constant {offsets[0]:+.4g}: a term is missing"
    for words, function in (
        ("at the output y, where it belongs at the input z", _slope_at_output),
        ("at the input z, where the formula is one of the output y", _slope_of_y),
    ):
        pairs = [(function(item, y), a) for item, (a, n, y, _) in told]
        if all(at is not None and _same(at, a) for at, a in pairs):
            return f"the derivative is taken {words}"
    return ""


def _offset(item: Evidence, analytic: Array, numeric: Array) -> float | None:
    wrong, _ = _wrong_and_right(item)
    if not wrong.any():
        return None
    off = (analytic - numeric)[wrong]
    return float(np.median(off)) if abs(off - np.median(off)).max() < _SAME * abs(off[0]) else None


def _activation(problem: Problem) -> Activation | None:
    if isinstance(problem, ActivationProblem):
        return problem.activation
    if isinstance(problem, ModelProblem):
        layer: Any = problem.model.layers[-1]
        found = getattr(layer, "activation", None)
        return found if isinstance(found, Activation) else None
    return None


def _slope_at_output(item: Evidence, y: Array) -> Array | None:
    """Differentiate the function at its own output, where it is an elementwise one."""
    activation = _activation(item.problem)
    step = 1e-5
    z = y.reshape(1, -1)
    if activation is not None:
        sides = activation.forward(z + step) - activation.forward(z - step)
        return (sides / (2 * step)).reshape(y.shape)
    if item.comparison.name != "x":
        return None
    array = item.problem.arrays["x"]
    before = array.copy()
    try:
        ends = []
        for sign in (1, -1):
            array[...] = y + sign * step
            ends.append(item.problem.evaluate().copy())
    finally:
        array[...] = before
    return ((ends[0] - ends[1]) / (2 * step)).reshape(y.shape)


def _slope_of_y(item: Evidence, y: Array) -> Array | None:
    """Give y (1 − y) or 1 − y² at z instead: the usual formulas of the output."""
    z = item.problem.arrays.get("z", item.problem.arrays.get("x"))
    if z is None or z.shape != y.shape:
        return None
    for formula in (z * (1 - z), 1 - z * z):
        if _same(item.comparison.gradient / item.dy.reshape(y.shape), formula):
            return formula
    return None


def _other_places(evidence: list[Evidence]) -> str:
    def holds(item: Evidence, analytic: Array, numeric: Array) -> bool:
        both = (analytic != 0) & (abs(numeric) > 0)
        one = (analytic != 0) ^ (abs(numeric) > 0)
        known = np.isfinite(numeric)
        if not (one & known).any() or not (both & known).any():
            return False
        return bool(np.allclose(analytic[both & known], numeric[both & known], rtol=_SAME))

    if _every(evidence, holds):
        return (
            "zero in other places than the true one: backward doesn't use the mask of the forward "
            "pass (drawn again?)"
        )
    return ""


def _moved(evidence: list[Evidence]) -> str:
    def holds(item: Evidence, analytic: Array, numeric: Array) -> bool:
        return analytic.size > 1 and _same(
            np.sort(analytic, axis=None), np.sort(numeric, axis=None)
        )

    if _every(evidence, holds):
        return "the right numbers in the wrong places: an index or an order is mixed up"
    return ""


def _summed_over_samples(evidence: list[Evidence]) -> str:
    """See whether a sample's gradient is that of another, or of all."""

    def holds(item: Evidence, analytic: Array, numeric: Array) -> bool:
        n = item.batch_size
        if n < 2 or analytic.shape[:1] != (n,):
            return False
        total = numeric.sum(axis=0)
        return all(_same(row, total) or _same(row, total / n) for row in analytic)

    if evidence[0].comparison.name in ("x", "z"):
        many = [e for e in evidence if e.batch_size > 1]
        if many and _every(many, holds):
            return "summed over the batch axis, where each sample has a gradient of its own"
        mirrored = all(
            _same(e.comparison.gradient, e.comparison.numeric_gradient[::-1]) for e in many
        )
        if many and mirrored:
            return "the samples' gradients are in the wrong order"
    return ""


def _few(evidence: list[Evidence]) -> str:
    where = _where(evidence)
    if where.startswith(", only at"):
        return f"wrong{where[1:]}; the rest of the array is right"
    if where:
        return f"wrong{where[1:]}: the two sides don't belong to one function"
    return ""


def _large_only(evidence: list[Evidence]) -> str:
    """Recognise what shows at large inputs alone: a clip that one of the passes ignores."""
    words = ("the input", "a clip or a limit in one of the two passes that the other ignores")
    smallest_wrong, largest_right, n_wrong, n_right = np.inf, 0.0, 0, 0
    for item in evidence:
        if item.comparison.name not in ("x", "z", "y_pred"):
            return ""
        wrong, right = _wrong_and_right(item)
        inputs = abs(item.state["arrays"][item.comparison.name])
        if isinstance(item.problem, LossProblem) and item.state["y_true"].shape == inputs.shape:
            inputs = abs(item.state["arrays"]["y_pred"] - item.state["y_true"])
            words = ("the error y_pred − y_true", "one of value and gradient has a case of its own")
        smallest_wrong = min(smallest_wrong, float(inputs[wrong].min(initial=np.inf)))
        largest_right = max(largest_right, float(inputs[right].max(initial=0)))
        n_wrong, n_right = n_wrong + int(wrong.sum()), n_right + int(right.sum())
    # That so many lie apart by chance is out of the question.
    # Nor is a clip so narrow: next to 0 a wrong formula may be right by its expansion.
    if 0.5 < largest_right < smallest_wrong and min(n_wrong, n_right) >= 3:
        return f"wrong only where {words[0]} is larger than {largest_right:.2g} in size: {words[1]}"
    return ""


def _left_out(evidence: list[Evidence]) -> str:
    """Recognise a term that is missing by what the difference is proportional to."""
    if evidence[0].comparison.name not in ("x", "z", "y_pred"):
        return ""
    differences = [a - n for _, a, n in _pairs(evidence)]
    if any(d.ndim != 2 or d.shape[1] < 3 or not np.isfinite(d).all() for d in differences):
        return ""
    terms: dict[str, list[Array]] = {
        "off by one number in each sample: a term with the sample's mean or sum is missing": [
            np.ones_like(d) for d in differences
        ]
    }
    outputs = [item.problem.evaluate().copy() for item in evidence]
    if all(y.size == d.size for y, d in zip(outputs, differences, strict=True)):
        words = (
            "off by a multiple of the output in each sample: the term of what it is divided by "
            "(a norm, a deviation, a sum) is wrong"
        )
        terms[words] = [y.reshape(d.shape) for y, d in zip(outputs, differences, strict=True)]
    if isinstance(evidence[0].problem, LossProblem):
        targets = [item.state["y_true"] for item in evidence]
        if all(t.ndim == 1 for t in targets):
            width = differences[0].shape[1]
            targets = [np.eye(width)[t.astype(int)] for t in targets]
        if all(t.shape == d.shape for t, d in zip(targets, differences, strict=True)):
            terms["off by the target in each sample: its own term is wrong"] = targets
    for words, sources in terms.items():
        if all(_along(d, s) for d, s in zip(differences, sources, strict=True)):
            return words
    return ""


def _along(difference: Array, source: Array) -> bool:
    """Tell whether each row of the one is a multiple of the other's."""
    squares = (source**2).sum(axis=1, keepdims=True)
    factor = (difference * source).sum(axis=1, keepdims=True) / np.where(squares > 0, squares, 1)
    return _same(difference, factor * source)


def _close(evidence: list[Evidence]) -> str:
    worst = 0.0
    for item in evidence:
        c = item.comparison
        size = np.nanmax(abs(c.numeric), initial=0)
        worst = max(worst, float(np.nanmax(abs(c.analytic - c.numeric), initial=0) / size))
    if worst < 0.05:
        return (
            f"close, within {worst:.1g} of the largest, but not the same: the derivative of "
            "another formula, a rounded constant or a small term left out"
        )
    return ""


_PATTERNS = (
    _not_finite,
    _low_precision,
    _unresolved,
    _never_written,
    _accumulated,
    _zero,
    _stale,
    _large_only,
    _factor,
    _transposed,
    _slope_pattern,
    _jacobian_pattern,
    _summed_over_samples,
    _other_places,
    _moved,
    _few,
    _left_out,
    _close,
)
