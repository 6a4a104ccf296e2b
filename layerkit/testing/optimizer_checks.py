"""`check_optimizer`: whether an optimizer keeps every promise that an optimizer makes."""

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from layerkit._support import validation
from layerkit._support.validation import Array
from layerkit.errors import StateError
from layerkit.optimizers import Optimizer
from layerkit.testing.rebuilding import rebuilt
from layerkit.testing.suite import Check, equal, fail, maker, pickled, read_only, run_checks

__all__ = ["check_optimizer", "optimizer_checks"]

_SIZE, _STEPS = 40, 5
_SHAPES = [(5, 3), (3,), (1, 4), (2, 2, 3), ()]
Reference = Callable[[Array, Sequence[Array]], Array]


class Subject:
    """Makes optimizers, and lets them make steps."""

    def __init__(
        self, make: Callable[[], Optimizer], reference: Reference | None, seed: int
    ) -> None:
        self.make, self.seed, self.reference = make, seed, reference
        self.name = repr(self.optimizer())

    def optimizer(self) -> Optimizer:
        """Make one."""
        where = "check_optimizer.make"
        return validation.instance(where, "what make gives", self.make(), Optimizer)

    def values(self, size: int = _SIZE) -> Array:
        """Draw where to start."""
        return np.random.default_rng([self.seed, 1]).normal(size=size)

    def grads(self, size: int = _SIZE, n_steps: int = _STEPS) -> list[Array]:
        """Draw the gradients of some steps."""
        return list(np.random.default_rng([self.seed, 2]).normal(size=(n_steps, size)))

    def run(self, optimizer: Optimizer, values: Array, grads: Sequence[Array]) -> Array:
        """Make the steps, in place."""
        for gradient in grads:
            optimizer.step(values, gradient)
        return values


def check_follows_reference(subject: Subject) -> None:
    """Step by step the values are those of the reference."""
    if subject.reference is None:
        return
    values, grads = subject.values(), subject.grads()
    optimizer, moving = subject.optimizer(), subject.values()
    for step, gradient in enumerate(grads, 1):
        optimizer.step(moving, gradient)
        expected = np.asarray(subject.reference(values.copy(), [g.copy() for g in grads[:step]]))
        if not np.allclose(moving, expected, rtol=1e-10, atol=1e-13):
            made, due = moving - values, expected - values
            raised = f"after step {step} the values are not the reference's"
            with np.errstate(all="ignore"):
                ratio = made / due
            if np.allclose(ratio, ratio[0], rtol=1e-6):
                raised += f": they moved {ratio[0]:.6g} times as far"
            fail(raised)


def check_in_place(subject: Subject) -> None:
    """A step changes the values in place and leaves the gradients alone, read-only ones too."""
    values, gradient = subject.values(), subject.grads()[0]
    before = values.copy()
    given = gradient.copy()
    optimizer = subject.optimizer()
    for _ in range(2):
        optimizer.step(values, given)
        equal(given, gradient, "a step changes the gradients in place")
    if np.array_equal(values, before):
        fail("a step leaves the values as they are: they must change in place")
    again = subject.values()
    subject.run(subject.optimizer(), again, [read_only(gradient)] * 2)
    equal(again, values, "read-only gradients give another step")


def check_descends(subject: Subject) -> None:
    """The first step goes down the gradient, and further ones down a quadratic valley."""
    values, gradient = subject.values(), subject.grads()[0]
    before = values.copy()
    optimizer = subject.optimizer()
    optimizer.learning_rate *= 1e-3
    optimizer.step(values, gradient)
    if (values - before) @ gradient >= 0:
        fail("the first step doesn't go down the gradient: a sign is wrong")
    values = subject.values()
    optimizer = subject.optimizer()
    optimizer.learning_rate = min(optimizer.learning_rate, 0.01)
    start = values @ values
    for _ in range(50):
        optimizer.step(values, 2 * values)
    if not values @ values < start:
        fail("50 small steps don't lead down the valley x²")


def check_zero_gradient(subject: Subject) -> None:
    """Gradients of 0, from the first step on, leave the values finite, in float32 too."""
    for dtype in (np.float32, np.float64):
        values, optimizer = subject.values().astype(dtype), subject.optimizer()
        for gradient in (np.zeros_like(values), np.where(np.arange(_SIZE) % 2, values, 0)):
            with np.errstate(all="ignore"):
                optimizer.step(values, gradient)
            if not np.isfinite(values).all():
                fail(f"a gradient of 0 makes values of {values.dtype} NaN or infinite")


def check_closure(subject: Subject) -> None:
    """A step that may evaluate the loss leaves the gradients alone, and leads down the valley."""
    values, optimizer = subject.values(), subject.optimizer()
    optimizer.learning_rate = min(optimizer.learning_rate, 0.01)
    grads, start = np.empty_like(values), values @ values

    def closure() -> float:
        np.multiply(values, 2, grads)
        return float(values @ values)

    for _ in range(10):
        loss, before = closure(), 2 * values
        optimizer.step_with(values, grads, loss, closure)
        equal(grads, before, "step_with leaves other gradients than it was given")
    if not values @ values < start:
        fail("10 small steps by step_with don't lead down the valley x²")


def check_learning_rate(subject: Subject) -> None:
    """Twice the learning rate makes the first step twice as long; a change counts at once."""
    gradient = subject.grads()[0]
    moves = []
    for factor in (1.0, 2.0):
        values, optimizer = subject.values(), subject.optimizer()
        optimizer.learning_rate *= factor
        optimizer.step(values, gradient)
        moves.append(values - subject.values())
    equal(moves[1], 2 * moves[0], "the step does not follow learning_rate", rtol=1e-9)
    values, optimizer = subject.values(), subject.optimizer()
    optimizer.step(values, gradient)
    optimizer.learning_rate *= 1e-9
    before = values.copy()
    optimizer.step(values, gradient)
    if abs(values - before).max() > 1e-6 * abs(moves[0]).max():
        fail("a change of learning_rate between steps doesn't count")


def check_state(subject: Subject) -> None:
    """The state is named vectors as long as the values, and all that is remembered."""
    optimizer, values, grads = subject.optimizer(), subject.values(), subject.grads()
    subject.run(optimizer, values, grads[:3])
    for name, vector in optimizer.state.items():
        if not isinstance(vector, np.ndarray) or vector.shape != values.shape:
            got = validation.describe(vector)
            fail(f"state[{name!r}] must be of shape {values.shape}; got {got}")
        if vector.dtype != values.dtype:
            fail(f"state[{name!r}] must be of dtype {values.dtype}; got {vector.dtype}")
        if np.shares_memory(vector, values) or any(np.shares_memory(vector, g) for g in grads):
            fail(f"state[{name!r}] shares memory with the values or the gradients")


def check_resumes(subject: Subject) -> None:
    """A copy made on the way goes on to the same bytes."""
    expected = subject.run(subject.optimizer(), subject.values(), subject.grads())
    ways: dict[str, Callable[[Optimizer], Optimizer]] = {
        "copy.deepcopy": copy.deepcopy,
        "pickle": pickled,
    }
    for how, make_copy in ways.items():
        optimizer, values = subject.optimizer(), subject.values()
        subject.run(optimizer, values, subject.grads()[:2])
        copied, elsewhere = make_copy(optimizer), values.copy()
        subject.run(copied, elsewhere, subject.grads()[2:])
        equal(elsewhere, expected, f"a copy by {how} goes on differently")
        subject.run(optimizer, values, subject.grads()[2:])
        equal(values, expected, f"the original goes on differently beside a copy by {how}")


def check_instances_independent(subject: Subject) -> None:
    """Two optimizers share nothing."""
    expected = subject.run(subject.optimizer(), subject.values(), subject.grads())
    first, second = subject.optimizer(), subject.optimizer()
    values, other = subject.values(), -subject.values()
    for gradient in subject.grads():
        first.step(values, gradient)
        second.step(other, -2 * gradient)
    equal(values, expected, "another optimizer of the same class changes this one's steps")


def check_coordinates_independent(subject: Subject) -> None:
    """Each value follows from its own gradients alone, in vectors of any length."""
    # Longer than any block that an optimizer may step through.
    size = 70_001
    values, grads = subject.values(size), subject.grads(size, 3)
    subject.run(subject.optimizer(), values, grads)
    for start, stop in ((0, 7), (size // 2, size // 2 + 5), (size - 4, size)):
        part = subject.values(size)[start:stop].copy()
        subject.run(subject.optimizer(), part, [g[start:stop].copy() for g in grads])
        message = f"the steps of values {start} to {stop - 1} depend on the others"
        equal(values[start:stop], part, message, rtol=1e-12)
    subject.run(subject.optimizer(), np.empty(0), [np.empty(0)])


def check_parameters_independent(subject: Subject) -> None:
    """Each parameter follows from its shape and its own gradients alone."""
    sizes = [math.prod(shape) for shape in _SHAPES]
    values, grads = subject.values(sum(sizes)), subject.grads(sum(sizes))
    start, optimizer = values.copy(), subject.optimizer()
    optimizer.shapes = _SHAPES
    subject.run(optimizer, values, grads)
    for stop, size, shape in zip(itertools.accumulate(sizes), sizes, _SHAPES, strict=True):
        span, alone = slice(stop - size, stop), subject.optimizer()
        alone.shapes = [shape]
        part = subject.run(alone, start[span].copy(), [g[span].copy() for g in grads])
        message = f"the steps of a parameter of shape {shape} depend on others"
        equal(values[span], part, message, rtol=1e-12)


def check_float32(subject: Subject) -> None:
    """Values of float32 stay so, and close to float64."""
    values = subject.values().astype(np.float32)
    optimizer = subject.optimizer()
    subject.run(optimizer, values, [g.astype(np.float32) for g in subject.grads()])
    expected = subject.run(subject.optimizer(), subject.values(), subject.grads())
    equal(values.astype(float), expected, "in float32 it is far from float64", rtol=1e-4)
    for name, vector in optimizer.state.items():
        if vector.dtype != np.float32:
            fail(f"state[{name!r}] of a float32 model is {vector.dtype}")


def check_one_model(subject: Subject) -> None:
    """An optimizer that has been used on a model refuses another."""
    optimizer = subject.optimizer()
    optimizer.step(subject.values(), subject.grads()[0])
    try:
        optimizer.step(subject.values(7), subject.grads(7)[0])
    except StateError:
        return
    fail("a model of another size must be a StateError: the optimizer belongs to the first")


def check_config_round_trip(subject: Subject) -> None:
    """Made again from its arguments it makes the same steps."""
    twin = rebuilt(subject.optimizer())
    if repr(twin) != repr(subject.optimizer()):
        fail(f"made again from its arguments it is {twin!r}, not {subject.name}")
    expected = subject.run(subject.optimizer(), subject.values(), subject.grads())
    got = subject.run(twin, subject.values(), subject.grads())
    equal(got, expected, "made again from its arguments it makes other steps")


_CHECKS = [
    check_follows_reference,
    check_in_place,
    check_descends,
    check_zero_gradient,
    check_closure,
    check_learning_rate,
    check_state,
    check_resumes,
    check_instances_independent,
    check_coordinates_independent,
    check_parameters_independent,
    check_float32,
    check_one_model,
    check_config_round_trip,
]


def optimizer_checks(
    make: Optimizer | Callable[[], Optimizer], *, reference: Reference | None = None, seed: int = 0
) -> list[Check]:
    """List the checks of an optimizer, to be run one by one.

    Parameters
    ----------
    make : Optimizer or callable
        An optimizer that has made no step, of which copies are checked; or what makes one:
        ``lambda: SGD(0.1)``.
    reference : callable, optional
        ``reference(values, grads)`` gives where the values end after the gradients in the list:
        the equation once more, as plainly as can be. Without it no check knows how long a step is
        meant to be.
    seed : int
        Seed of the values and the gradients.

    Returns
    -------
    list of Check
        Each has a ``name``, and is called without arguments.

    Raises
    ------
    ArgumentError
        If ``make`` makes no optimizer, or the seed is not an integer of at least 0.

    Examples
    --------
    >>> from layerkit import SGD
    >>> from layerkit.testing import optimizer_checks
    >>> [check.name for check in optimizer_checks(SGD(0.1))][:2]
    ['in_place', 'descends']
    """
    seed = validation.integer("optimizer_checks", "seed", seed, minimum=0)
    subject = Subject(maker("check_optimizer.make", make, Optimizer), reference, seed)
    optimizer = subject.optimizer()
    left_out: set[Callable[[Subject], None]] = set()
    if reference is None:
        left_out.add(check_follows_reference)
    if not optimizer.is_elementwise:
        left_out.add(check_coordinates_independent)
    if not optimizer.is_parameterwise:
        left_out.add(check_parameters_independent)
    return [
        Check(check.__name__.removeprefix("check_"), subject.name, partial(check, subject))
        for check in _CHECKS
        if check not in left_out
    ]


def check_optimizer(
    make: Optimizer | Callable[[], Optimizer], *, reference: Reference | None = None, seed: int = 0
) -> None:
    """Check an optimizer: its steps, its state, and all that it promises.

    Parameters
    ----------
    make : Optimizer or callable
        An optimizer that has made no step, of which copies are checked; or what makes one:
        ``lambda: SGD(0.1)``.
    reference : callable, optional
        ``reference(values, grads)`` gives where the values end after the gradients in the list:
        the equation once more, as plainly as can be. Without it no check knows how long a step is
        meant to be.
    seed : int
        Seed of the values and the gradients.

    Raises
    ------
    CheckError
        If a check fails. The message holds the report of each; ``failures`` has them by name.

    Examples
    --------
    >>> from layerkit import SGD
    >>> from layerkit.testing import check_optimizer
    >>> check_optimizer(SGD(0.1), reference=lambda values, grads: values - 0.1 * sum(grads))
    """
    run_checks(optimizer_checks(make, reference=reference, seed=seed))
