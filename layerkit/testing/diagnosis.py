"""What the pattern of a wrong gradient says about its cause.

Each pattern is tried on the whole evidence, the exact ones first; the first that fits names the
cause.
"""

import numpy as np

from layerkit._support.validation import Array
from layerkit.testing.evidence import SAME, Evidence, every, pairs, same, wrong_and_right
from layerkit.testing.jacobian_patterns import jacobian_pattern, slope_pattern, transposed
from layerkit.testing.problems import LossProblem

__all__ = ["UNKNOWN", "diagnose"]

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


def _not_finite(evidence: list[Evidence]) -> str:
    if any(not np.isfinite(a).all() for _, a, _ in pairs(evidence)):
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
    if every(evidence, lambda e, a, n: e.before is not None and bool((a == e.before).all())):
        return "never written: the backward pass leaves the gradient as it was"
    return ""


def _accumulated(evidence: list[Evidence]) -> str:
    def holds(item: Evidence, analytic: Array, numeric: Array) -> bool:
        return item.before is not None and same(analytic - numeric, item.before)

    if every(evidence, holds):
        return "accumulated: added to what was there, where it should be overwritten"
    return ""


def _zero(evidence: list[Evidence]) -> str:
    if every(evidence, lambda e, a, n: not a.any()):
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
        right = same(gradient, item.comparison.numeric_gradient)
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
        if abs(ratio - ratio[0]).max() > SAME * abs(ratio[0]):
            return ""
    sizes = np.array([e.batch_size for e in evidence if len(_ratios([e]))], dtype=float)
    factors = np.array([np.median(r) for r in ratios])
    where = _where(evidence)
    is_loss = isinstance(evidence[0].problem, LossProblem)
    if len(set(sizes)) > 1 or (sizes > 1).any():
        if np.allclose(factors, sizes, rtol=SAME):
            if is_loss:
                return f"batch_size times too large{where}: the mean over the samples is missing"
            return f"batch_size times too large{where}: summed over the batch once too often"
        if np.allclose(factors, 1 / sizes, rtol=SAME):
            return (
                f"1 / batch_size of the true one{where}: the mean over the batch was taken twice; "
                "the loss divides by the number of samples already"
            )
        for power, words in ((1, "batch_size"), (-1, "1 / batch_size")):
            by_size = factors / sizes**power
            if len(set(sizes)) > 1 and by_size[0] and np.allclose(by_size, by_size[0], rtol=SAME):
                return f"{by_size[0]:.6g} · {words} times the true one{where}: a mean is mixed up"
    factor = float(factors[0])
    if not factor or not np.allclose(factors, factor, rtol=SAME):
        return ""
    if abs(factor + 1) < SAME:
        return f"the sign is flipped{where}"
    named = {2.0: "twice", 0.5: "half (½)", 3.0: "three times", -2.0: "minus twice"}
    for number, word in named.items():
        if abs(factor - number) < SAME * abs(number):
            return f"{word} the true one{where}: a factor of {number:g}"
    return f"a constant factor {factor:.6g} off{where}"


def _where(evidence: list[Evidence]) -> str:
    """Describe which coordinates are wrong, if it is not all of them."""
    if all(e.comparison.wrong.mean() > 0.999 for e in evidence):
        return ""
    if evidence[0].comparison.name in ("x", "z", "y_pred"):
        for words, sign in (("below", -1), ("above", 1)):
            if all(_only_on_side(item, sign) for item in evidence):
                return f", only where the input is {words} 0"
    else:
        union = np.any([wrong_and_right(e)[0] for e in evidence], axis=0)
        if union.mean() <= 0.5:
            indices = [str([int(i) for i in index]) for index in np.argwhere(union)[:4]]
            more = " and others" if union.sum() > 4 else ""
            return f", only at {', '.join(indices)}{more}"
    return ""


def _only_on_side(item: Evidence, sign: int) -> bool:
    wrong, _ = wrong_and_right(item)
    inputs = item.state["arrays"][item.comparison.name]
    return bool(wrong.any()) and bool((sign * inputs[wrong] > 0).all())


def _other_places(evidence: list[Evidence]) -> str:
    def holds(item: Evidence, analytic: Array, numeric: Array) -> bool:
        both = (analytic != 0) & (abs(numeric) > 0)
        one = (analytic != 0) ^ (abs(numeric) > 0)
        known = np.isfinite(numeric)
        if not (one & known).any() or not (both & known).any():
            return False
        return bool(np.allclose(analytic[both & known], numeric[both & known], rtol=SAME))

    if every(evidence, holds):
        return (
            "zero in other places than the true one: backward doesn't use the mask of the forward "
            "pass (drawn again?)"
        )
    return ""


def _moved(evidence: list[Evidence]) -> str:
    def holds(item: Evidence, analytic: Array, numeric: Array) -> bool:
        return analytic.size > 1 and same(np.sort(analytic, axis=None), np.sort(numeric, axis=None))

    if every(evidence, holds):
        return "the right numbers in the wrong places: an index or an order is mixed up"
    return ""


def _summed_over_samples(evidence: list[Evidence]) -> str:
    """See whether a sample's gradient is that of another, or of all."""

    def holds(item: Evidence, analytic: Array, numeric: Array) -> bool:
        n = item.batch_size
        if n < 2 or analytic.shape[:1] != (n,):
            return False
        total = numeric.sum(axis=0)
        return all(same(row, total) or same(row, total / n) for row in analytic)

    if evidence[0].comparison.name in ("x", "z"):
        many = [e for e in evidence if e.batch_size > 1]
        if many and every(many, holds):
            return "summed over the batch axis, where each sample has a gradient of its own"
        mirrored = all(
            same(e.comparison.gradient, e.comparison.numeric_gradient[::-1]) for e in many
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
        wrong, right = wrong_and_right(item)
        inputs = abs(item.state["arrays"][item.comparison.name])
        if isinstance(item.problem, LossProblem) and np.shape(item.state["y_true"]) == inputs.shape:
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
    differences = [a - n for _, a, n in pairs(evidence)]
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
        if all(np.ndim(t) == 1 for t in targets):
            width = differences[0].shape[1]
            targets = [np.eye(width)[t.astype(int)] for t in targets]
        if all(np.shape(t) == d.shape for t, d in zip(targets, differences, strict=True)):
            terms["off by the target in each sample: its own term is wrong"] = targets
    for words, sources in terms.items():
        if all(_along(d, s) for d, s in zip(differences, sources, strict=True)):
            return words
    return ""


def _along(difference: Array, source: Array) -> bool:
    """Test whether each row of the one is a multiple of the other's."""
    squares = (source**2).sum(axis=1, keepdims=True)
    factor = (difference * source).sum(axis=1, keepdims=True) / np.where(squares > 0, squares, 1)
    return same(difference, factor * source)


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
    transposed,
    slope_pattern,
    jacobian_pattern,
    _summed_over_samples,
    _other_places,
    _moved,
    _few,
    _left_out,
    _close,
)
