"""Patterns of wrong gradients that take the function apart: its Jacobian, or its slopes."""

from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.activations import Activation
from layerkit.testing.evidence import SAME, Evidence, every, same, wrong_and_right
from layerkit.testing.problems import ActivationProblem, LossProblem, ModelProblem, Problem

__all__ = ["jacobian_pattern", "slope_pattern", "transposed"]

# Jacobians of up to so many elements are looked at whole.
_MOST = 20_000


def transposed(evidence: list[Evidence]) -> str:
    """Recognise a transpose that is missing, or one too many."""
    words = "transposed: a transpose is missing, or one too many"
    if every(evidence, lambda e, a, n: a.ndim == 2 and not same(a, n) and same(a, n.T)):
        return words

    def swapped(item: Evidence, analytic: Array, numeric: Array) -> bool:
        """Test whether dx = dz · K for dx = dz · Kᵀ: the same dz explains both."""
        if analytic.ndim != 2 or item.comparison.name != "x":
            return False
        for name, kernel in item.state["arrays"].items():
            if name != "x" and kernel.shape == (analytic.shape[1],) * 2:
                for true, other in ((kernel.T, kernel), (kernel, kernel.T)):
                    dz = np.linalg.lstsq(true.T, numeric.T, rcond=None)[0].T
                    if same(dz @ other, analytic):
                        return True
        return False

    if every(evidence, swapped):
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


def jacobian_pattern(evidence: list[Evidence]) -> str:
    """Recognise a Jacobian of which the diagonal alone is used, or the transpose."""
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
            and abs(true[off]).max(initial=0) > SAME * largest
        )

    mixing = [pair for pair in pairs if len(pair[1]) > 1 and pair[1].any()]
    if mixing and all(diagonal(*pair) for pair in mixing):
        return (
            "only the diagonal of the Jacobian: each output is taken to depend on its own input "
            "alone, but it depends on the others too"
        )
    if all(same(a, n.T) and not same(a, n) for a, n in pairs):
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


def slope_pattern(evidence: list[Evidence]) -> str:
    """Recognise an elementwise derivative that is applied twice, or not, or at another place."""
    samples = [(item, _elementwise(item)) for item in evidence]
    told = [(item, found) for item, found in samples if found is not None]
    if not told:
        return ""
    if all(same(a, n * n) for _, (a, n, _, _) in told):
        return "the derivative is applied twice"
    if all(same(a, np.ones_like(a)) for _, (a, n, _, _) in told):
        return "the derivative is missing: dy is passed on as it is"
    if all(same(a, y) for _, (a, n, y, _) in told):
        return "the value y is used where the derivative belongs"
    offsets = [_offset(item, a, n) for item, (a, n, _, _) in told]
    if None not in offsets and len({round(float(o), 4) for o in offsets if o}) == 1:
        return f"the derivative is off by the constant {offsets[0]:+.4g}: a term is missing"
    for words, function in (
        ("at the output y, where it belongs at the input z", _slope_at_output),
        ("at the input z, where the formula is one of the output y", _slope_of_y),
    ):
        pairs = [(function(item, y), a) for item, (a, n, y, _) in told]
        if all(at is not None and same(at, a) for at, a in pairs):
            return f"the derivative is taken {words}"
    return ""


def _offset(item: Evidence, analytic: Array, numeric: Array) -> float | None:
    wrong, _ = wrong_and_right(item)
    if not wrong.any():
        return None
    off = (analytic - numeric)[wrong]
    return float(np.median(off)) if abs(off - np.median(off)).max() < SAME * abs(off[0]) else None


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
    problem = item.problem  # asked for once: each time it goes back to its point
    array = problem.arrays["x"]
    before = array.copy()
    try:
        ends = []
        for sign in (1, -1):
            array[...] = y + sign * step
            ends.append(problem.evaluate().copy())
    finally:
        array[...] = before
    return ((ends[0] - ends[1]) / (2 * step)).reshape(y.shape)


def _slope_of_y(item: Evidence, y: Array) -> Array | None:
    """Return y (1 − y) or 1 − y² at z instead: the usual formulas of the output."""
    z = item.problem.arrays.get("z", item.problem.arrays.get("x"))
    if z is None or z.shape != y.shape:
        return None
    for formula in (z * (1 - z), 1 - z * z):
        if same(item.comparison.gradient / item.dy.reshape(y.shape), formula):
            return formula
    return None
