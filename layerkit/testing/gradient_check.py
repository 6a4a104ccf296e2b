"""`check_gradients`: all gradients of a model against finite differences, at several points."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.layers.base import Layer
from layerkit.losses import Loss
from layerkit.models.base import Model
from layerkit.models.graph import Graph
from layerkit.models.sequential import Sequential
from layerkit.models.wiring import bare, check_batch
from layerkit.testing.comparison import compare, cotangent
from layerkit.testing.complex_step import ComplexModelProblem, compare_complex
from layerkit.testing.diagnosis import UNKNOWN, diagnose
from layerkit.testing.evidence import Evidence
from layerkit.testing.problems import ModelProblem, Problem, each_input
from layerkit.testing.report import ArrayReport, CheckError, GradientReport, InconclusiveError

__all__ = ["EXTREMES", "POINTS", "check_gradients", "gradient_report", "verdict"]

# How large the inputs and the parameters are, times their own size, and how many samples: up to
# saturation, and with batch sizes that differ, so that a factor of the batch size shows as such.
Point = tuple[float, float, int]
POINTS: tuple[Point, ...] = ((1, 1, 5), (2.5, 2.5, 3), (1, 1, 1))
EXTREMES: tuple[Point, ...] = ((8, 1, 4), (30, 1, 6), (1, 8, 4), (1, 30, 1))
# How often a point is drawn again for the coordinates that have a kink beside them.
_REDRAWS = 12


def check_gradients(
    model: Layer,
    *data: Any,
    seed: int = 0,
    raise_on_failure: bool = True,
    complex_step: bool = False,
) -> GradientReport:
    """Compare the gradients of a layer or a model with finite differences.

    With ``(model, x)`` those of Σ dy · y, for dy random in sign and size; with
    ``(model, loss, x, y_true)`` those of the loss. First at ``x`` and the parameters as they are,
    then at random inputs and parameters, 1 to 30 times as large, with other batch sizes. The
    check works on a copy in float64; the model and the data stay as they are.

    Parameters
    ----------
    model : Layer
        A layer, on its own or part of a model, or a whole model.
    *data : array_like of shape (batch_size, *input_shape)
        ``x``; or the loss, ``x`` and ``y_true``. Of a `Graph` of several inputs or outputs, dicts
        of arrays by name; an input whose gradient is None, such as a mask, is left out.
    seed : int
        Seed of the random points.
    raise_on_failure : bool
        Whether to raise an error if a gradient is wrong or can't be told.
    complex_step : bool
        Whether to differentiate by complex steps, which have no rounding error; for code that is
        analytic: it has to take complex arrays, without abs, maximum or comparisons.

    Returns
    -------
    GradientReport
        Findings, array by array, to print.

    Raises
    ------
    CheckError
        If a gradient is wrong; its ``report`` is the report.
    InconclusiveError
        If none is wrong, but some can't be told, as where every point has a kink.
    ArgumentError
        If the arguments are none of the two sets above.

    References
    ----------
    Squire & Trapp (1998), "Using complex variables to estimate derivatives of real functions",
    for complex steps.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Dense, Sequential, Sigmoid
    >>> from layerkit.testing import check_gradients
    >>> model = Sequential([Dense(2, 3, Sigmoid())], seed=0)
    >>> print(check_gradients(model, np.ones((4, 2))))
    gradients of Sequential([Dense(2, 3, Sigmoid())], seed=0): right
      x: right at 56 places
      layers[0].kernel: right at 48 places
      layers[0].bias: right at 24 places
    """
    where = "check_gradients.model"
    check.instance(where, "model", model, Layer)
    seed = check.integer(where, "seed", seed, minimum=0)
    loss, x, y_true = _arguments(data)
    subject, x = _checked_inputs(where, model, x)
    if loss is not None:
        y_true = _checked_targets(where, loss, y_true, subject) if loss.takes_targets else None
    whole = isinstance(model, Model)
    kind = ComplexModelProblem if complex_step else ModelProblem
    problem = kind(subject, x, loss, y_true, str if whole else lambda name: name.partition(".")[2])
    names = "model, loss, x, y_true" if loss is not None else "model, x" if whole else "layer, x"
    replay = f"check_gradients({names}, seed={seed}{', complex_step=True' * complex_step})"
    report = gradient_report(
        problem,
        [(0, 0, len(x)), *POINTS, *EXTREMES],
        repr(model),
        seed=seed,
        replay=replay,
        notes=_notes(model, problem),
        compare=compare_complex if complex_step else compare,
    )
    if raise_on_failure:
        verdict(report)
    return report


def _arguments(data: tuple[Any, ...]) -> tuple[Loss | None, Any, Any]:
    if len(data) == 1 and not isinstance(data[0], Loss):
        return None, data[0], None
    if len(data) == 3 and isinstance(data[0], Loss):
        return data
    got = check.Said(f"{len(data)} arguments after the model")
    check.fail("check_gradients.data", "data", "x, or a loss, x and y_true", got)


def _checked_inputs(where: str, model: Layer, x: Any) -> tuple[Model, Any]:
    """Check the inputs, and copy what is to be checked into a model of its own."""
    if isinstance(model, Graph):
        graph = model.astype(np.float64)
        x = bare(check_batch(where, x, graph.inputs, graph.input_dtypes))
        each_input(lambda label, array: _check_samples(where, label.removeprefix("d"), array), x)
        return graph, x
    x = check.numeric_array(where, "x", x, None if model.takes_integers else np.dtype(float))
    _check_samples(where, "x", x)
    subject = _float64_model(model, x.shape[1:])
    return subject, check.batch(where, "x", x, subject.input_shape, subject.input_dtype)


def _check_samples(where: str, name: str, array: Array) -> None:
    if array.ndim == 0 or len(array) == 0:
        check.fail(where, name, "at least one sample", array)
    check.finite(where, name, array)


def _checked_targets(where: str, loss: Loss, y_true: Any, model: Model) -> Any:
    """Check the targets, an array or a dict of arrays, and cast them."""
    dtype: Any = loss.target_dtype(model.dtype)
    if not isinstance(y_true, Mapping):
        y_true = check.numeric_array(where, "y_true", y_true, None)
        loss.check_targets(where, y_true, model.output_shape)
        return y_true.astype(dtype, copy=False)
    y_true = {n: check.numeric_array(where, f"y_true[{n!r}]", y, None) for n, y in y_true.items()}
    loss.check_targets(where, y_true, model.output_shape)
    dtypes = dtype if isinstance(dtype, Mapping) else dict.fromkeys(y_true, dtype)
    return {name: y.astype(dtypes[name], copy=False) for name, y in y_true.items()}


def _notes(model: Layer, problem: ModelProblem) -> list[str]:
    """List what the reader should know before reading on."""
    notes = []
    if model.dtype != np.float64:
        notes.append(f"a float64 copy was checked; the {model.dtype} one has the same code")
    if isinstance(model, Graph):
        nodes = enumerate(zip(model.order, model.layers, strict=True))
        found = [f"layers[{i}] is node {name!r}" for i, (name, node) in nodes if node.parameters]
        notes += [", ".join(found)] if found else []
        if problem.without_gradient:
            notes.append(f"left out, as None is computed: {', '.join(problem.without_gradient)}")
    return notes


def _float64_model(model: Layer, sample_shape: Shape) -> Model:
    """Copy what is to be checked into a model of its own."""
    copied = copy.deepcopy(model)
    if isinstance(copied, Model):
        return copied.astype(np.float64)
    built = copied.output_shape is not None
    wrapped = Sequential([copied], input_shape=sample_shape, dtype=model.dtype if built else float)
    return wrapped.astype(np.float64)


def verdict(report: GradientReport) -> None:
    """Raise what a report that has not passed calls for."""
    if not report.passed:
        error = InconclusiveError if report.inconclusive else CheckError
        raise error(str(report), report)


def gradient_report(
    problem: Problem,
    points: Sequence[Point],
    subject: str,
    *,
    seed: int = 0,
    replay: str = "",
    notes: Sequence[str] = (),
    compare: Any = compare,
) -> GradientReport:
    """Compare a problem's gradients at points, and put together what was found."""
    rng = np.random.default_rng(seed)
    evidence: dict[str, list[Evidence]] = {name: [] for name in problem.arrays}
    checked = dict.fromkeys(problem.arrays, 0)
    right_for_one = dict.fromkeys(problem.arrays, False)
    left_out = []
    with np.errstate(all="ignore"):
        for point in points:
            seen = [name for name, failing in evidence.items() if failing]
            compared = _at_point(problem, point, rng, compare, seen)
            if compared is None:
                left_out.append(point)
            for item in compared or ():
                name = item.comparison.name
                checked[name] += item.comparison.n_checked
                if item.comparison.wrong.any() or item.comparison.inconclusive.any():
                    evidence[name].append(item)
                else:
                    right_for_one[name] |= item.batch_size == 1
        for name, failing in evidence.items():
            right_for_one[name] &= all(e.batch_size > 1 for e in failing)
        reports = [
            _array_report(name, checked[name], evidence[name], right_for_one[name])
            for name in checked
        ]
        # An error upstream shows in every array; the one whose pattern is plain speaks for all.
        telling = [r.name for r in reports if r.diagnosis not in ("", UNKNOWN)]
        if telling:
            reports = [
                replace(r, diagnosis=f"see {telling[0]}") if r.diagnosis == UNKNOWN else r
                for r in reports
            ]
    told = tuple(report for report in reports if report.n_checked)
    if left_out:
        scales = ", ".join(f"{scale:g} and {spread:g}" for scale, spread, _ in left_out)
        notes = [*notes, f"left out, as not finite: inputs and parameters of the size {scales}"]
    return GradientReport(subject, told, tuple(notes), seed, replay)


def _at_point(
    problem: Problem, point: Point, rng: np.random.Generator, compare: Any, seen: Sequence[str]
) -> list[Evidence] | None:
    """Compare at one point; what has a kink beside it, at others like it."""
    scale, spread, n_samples = point
    found: list[Evidence] = []
    only: dict[str, list[int | Array]] | None = None
    given = problem.snapshot()
    for look in range(_REDRAWS):
        if scale:
            problem.move(rng, scale, spread, n_samples)
        elif look:
            problem.restore(given)
            problem.jitter(rng)
        y = problem.evaluate().copy()
        if not np.isfinite(y).all():
            continue
        for item in found:
            item.comparison.give_up()
        dy = cotangent(rng, len(y))
        state = problem.snapshot()
        computed = problem.gradients(dy)
        comparisons = compare(problem, rng, dy=dy, computed=computed, only=only, seen=seen)
        found += [Evidence(problem, state, problem.before, c, dy) for c in comparisons]
        if not scale and not look:
            # Zeros are common in data, and kinks at zero: two of them in a row may look smooth,
            # and no code can know. What is wrong indeed is so beside the point too.
            for c in comparisons:
                c.doubt()
        unclear = [c for c in comparisons if c.inconclusive.any()]
        if not unclear:
            break
        only = {
            c.name: [move for move, flag in zip(c.moves, c.inconclusive, strict=True) if flag]
            for c in unclear
        }
    return found or None


def _array_report(
    name: str, n_checked: int, evidence: list[Evidence], right_for_one: bool
) -> ArrayReport:
    if not evidence:
        return ArrayReport(name, n_checked, 0, 0)
    n_wrong = sum(int(e.comparison.wrong.sum()) for e in evidence)
    n_inconclusive = sum(int(e.comparison.inconclusive.sum()) for e in evidence)
    telling = [e for e in evidence if e.comparison.wrong.any()] or evidence
    worst = [w for w in (e.comparison.worst() for e in telling) if w is not None]
    largest = max(worst, key=lambda w: w.relative_error if np.isfinite(w.relative_error) else 9e9)
    return ArrayReport(
        name, n_checked, n_wrong, n_inconclusive, largest, diagnose(telling, right_for_one)
    )
