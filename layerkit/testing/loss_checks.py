"""`check_loss`: whether a loss keeps every promise that a loss makes."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from layerkit._support import validation
from layerkit._support.validation import Array, Shape
from layerkit.errors import ArgumentError
from layerkit.losses import Loss
from layerkit.testing.gradient_check import gradient_report, verdict
from layerkit.testing.problems import LossProblem
from layerkit.testing.rebuilding import rebuilt
from layerkit.testing.suite import (
    Check,
    equal,
    fail,
    maker,
    pickled,
    read_only,
    run_checks,
    state_of,
)

__all__ = ["check_loss", "loss_checks"]

_ROUNDING = 1e-12
Targets = Callable[[np.random.Generator, int], Any]  # None of a loss without targets


class Subject:
    """Makes losses, predictions, and targets that the loss takes."""

    def __init__(
        self, make: Callable[[], Loss], output_shape: Shape, targets: Targets | None, seed: int
    ) -> None:
        self.make, self.seed = make, seed
        self.output_shape = validation.sample_shape("check_loss", "output_shape", output_shape)
        self.name = repr(self.loss())
        self.targets = targets or self._find_targets()

    def loss(self) -> Loss:
        """Make one."""
        return validation.instance("check_loss.make", "what make gives", self.make(), Loss)

    def _find_targets(self) -> Targets:
        """Find a kind of targets that the loss takes; the most particular kinds come last."""
        if not self.loss().takes_targets:
            return lambda rng, n: None
        kinds: list[Targets] = [
            lambda rng, n: rng.normal(size=(n, *self.output_shape)),
            lambda rng, n: rng.uniform(size=(n, *self.output_shape)),
            lambda rng, n: rng.dirichlet(
                np.ones(self.output_shape[-1]), (n, *self.output_shape[:-1])
            ),
            lambda rng, n: rng.integers(self.output_shape[-1], size=(n, *self.output_shape[:-1])),
            lambda rng, n: rng.choice([-1.0, 1.0], size=(n, *self.output_shape)),
        ]
        for kind in kinds:
            try:
                y_true = kind(np.random.default_rng(self.seed), 5)
                self.loss().check_targets("check_loss", y_true, self.output_shape)
            except ArgumentError:
                continue
            return kind
        remedy = "Write targets=lambda rng, n: ..., which gives those of n samples."
        got = validation.Said("none of numbers, probabilities, class indices or signs")
        validation.fail("check_loss", "targets", "what the loss takes", got, remedy)

    def batch(self, n_samples: int = 5, salt: int = 0, scale: float = 1.0) -> tuple[Array, Any]:
        """Draw predictions and targets."""
        rng = np.random.default_rng([self.seed, salt])
        y_pred = scale * rng.normal(size=(n_samples, *self.output_shape))
        return y_pred, self.targets(rng, n_samples)


def _each_of(batch: tuple[Array, Any]) -> list[tuple[Array, Any]]:
    """Return the samples of a batch as batches of one."""
    y_pred, y_true = batch
    rows = [slice(i, i + 1) for i in range(len(y_pred))]
    return [(y_pred[row], None if y_true is None else y_true[row]) for row in rows]


def check_gradients(subject: Subject) -> None:
    """The gradient is that of the value, for small predictions and for large ones."""
    problem = LossProblem(subject.loss(), subject.batch()[0], subject.targets)
    replay = f"check_loss(lambda: {subject.name}, {subject.output_shape}, seed={subject.seed})"
    points = [(1, 1, 5), (2.5, 1, 3), (1, 1, 1), (8, 1, 2), (30, 1, 4)]
    verdict(gradient_report(problem, points, subject.name, seed=subject.seed, replay=replay))


def check_value_is_a_float(subject: Subject) -> None:
    """The value is one finite float."""
    for n_samples in (1, 4):
        value: Any = subject.loss().value(*subject.batch(n_samples))
        if not isinstance(value, float) or not np.isfinite(value):
            fail(f"value must give a finite float; got {validation.describe(value)}")


def check_mean_over_samples(subject: Subject) -> None:
    """The loss of a batch is the mean of the samples' losses, and so is its gradient."""
    loss = subject.loss()
    y_pred, y_true = subject.batch()
    single = _each_of((y_pred, y_true))
    values = np.array([loss.value(*pair) for pair in single])
    message = "the loss of a batch is not the mean of the samples' losses"
    equal(np.array(loss.value(y_pred, y_true)), np.array(values.mean()), message, rtol=_ROUNDING)
    parts = np.concatenate([loss.gradient(*pair) for pair in single]) / len(single)
    message = "the gradient of a batch is not the mean of the samples' gradients"
    equal(loss.gradient(y_pred, y_true), parts, message, rtol=_ROUNDING)


def check_per_sample(subject: Subject) -> None:
    """The losses of the samples, as weighted means take them, are those of each on its own."""
    loss = subject.loss()
    y_pred, y_true = subject.batch()
    single = [loss.value(*pair) for pair in _each_of((y_pred, y_true))]
    got = loss.per_sample(y_pred, y_true)
    message = "per_sample gives other losses than value does for each sample"
    equal(np.asarray(got), np.array(single), message, rtol=_ROUNDING)


def check_inputs_untouched(subject: Subject) -> None:
    """Predictions and targets keep their bytes, may be read-only, and are not given out."""
    loss = subject.loss()
    y_pred, y_true = subject.batch()
    for call in (loss.value, loss.gradient, loss.value_and_gradient):
        given: tuple[Array, Any] = y_pred.copy(), copy.copy(y_true)
        result: Any = call(*given)
        equal(given[0], y_pred, f"{call.__name__} changes y_pred in place")
        if y_true is not None:
            equal(given[1], y_true, f"{call.__name__} changes y_true in place")
        kept: Any = y_true if y_true is None else read_only(y_true)
        call(read_only(y_pred), kept)
        gradient = result[1] if isinstance(result, tuple) else result
        arrays = [array for array in given if array is not None]
        if isinstance(gradient, np.ndarray) and any(np.shares_memory(gradient, g) for g in arrays):
            fail(f"what {call.__name__} gives shares memory with its arguments")


def check_value_and_gradient(subject: Subject) -> None:
    """Both at once are the two one by one."""
    loss = subject.loss()
    y_pred, y_true = subject.batch()
    value, gradient = loss.value_and_gradient(y_pred, copy.copy(y_true))
    message = "value_and_gradient gives another value than value"
    equal(np.array(value), np.array(loss.value(y_pred, y_true)), message, rtol=_ROUNDING)
    message = "value_and_gradient gives another gradient than gradient"
    equal(gradient, loss.gradient(y_pred, y_true), message, rtol=_ROUNDING)


def check_stateless(subject: Subject) -> None:
    """A loss keeps nothing from call to call."""
    loss = subject.loss()
    batch, other = subject.batch(), subject.batch(3, salt=1)
    before = state_of(loss)
    value, gradient = loss.value(*batch), loss.gradient(*batch)
    kept = gradient.copy()
    loss.value_and_gradient(*other)
    loss.gradient(*other)
    equal(gradient, kept, "a gradient changes with the next call: a buffer is used again")
    loss.value(*other)
    equal(loss.gradient(*batch), kept, "gradient depends on an earlier call")
    loss.gradient(*other)
    equal(np.array(loss.value(*batch)), np.array(value), "value depends on an earlier call")
    changed = [name for name, kept in state_of(loss).items() if kept != before.get(name)]
    if changed:
        fail(f"a call changes the loss: self.{', self.'.join(changed)}")


def check_float32(subject: Subject) -> None:
    """The gradient has the predictions' dtype and shape."""
    y_pred, y_true = subject.batch()
    loss = subject.loss()
    narrow = y_true
    if y_true is not None:
        narrow = y_true.astype(loss.target_dtype(np.dtype(np.float32)))
    gradient = loss.gradient(y_pred.astype(np.float32), narrow)
    if gradient.dtype != np.float32:
        fail(f"the gradient of float32 predictions is {gradient.dtype}")
    expected = loss.gradient(y_pred, y_true)
    equal(gradient.astype(float), expected, "in float32 it is far from float64", rtol=1e-4)


def check_finite(subject: Subject) -> None:
    """Predictions up to 1e5 in size give a finite loss and gradient, without a warning."""
    loss = subject.loss()
    for scale in (30.0, 1e3, 1e5):
        y_pred, y_true = subject.batch(scale=scale)
        y_pred.flat[0], y_pred.flat[-1] = scale, -scale
        y_pred = np.clip(y_pred, -1e5, 1e5)
        try:
            with np.errstate(all="raise", under="ignore"):
                value, gradient = loss.value_and_gradient(y_pred, y_true)
        except FloatingPointError as error:
            fail(f"predictions up to {scale:g}: {error}; a formula that overflows on the way")
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            fail(f"predictions up to {scale:g}: the value or its gradient is not finite")


def check_targets_are_checked(subject: Subject) -> None:
    """Targets of another shape, and NaN among them, are refused and never broadcast."""
    loss = subject.loss()
    _, y_true = subject.batch()
    if y_true is None:
        return
    bad: dict[str, Array] = {"of another shape": y_true[..., None]}
    if y_true.dtype.kind == "f":
        bad["with a NaN"] = np.where(
            np.arange(y_true.size).reshape(y_true.shape) == 1, np.nan, y_true
        )
    for words, wrong in bad.items():
        try:
            loss.check_targets("check_loss", wrong, subject.output_shape)
        except ArgumentError:
            continue
        fail(f"check_targets takes targets {words}")


def check_copies(subject: Subject) -> None:
    """A copy, by copy.deepcopy or pickle or from its arguments, is the same."""
    loss = subject.loss()
    batch = subject.batch()
    copies = {
        "copy.deepcopy": copy.deepcopy(loss),
        "pickle": pickled(loss),
        "its arguments": rebuilt(loss),
    }
    for how, copied in copies.items():
        if repr(copied) != repr(loss) or copied.value(*batch) != loss.value(*batch):
            fail(f"made from {how} it is another loss: {copied!r}")


_CHECKS = [
    check_gradients,
    check_value_is_a_float,
    check_mean_over_samples,
    check_per_sample,
    check_inputs_untouched,
    check_value_and_gradient,
    check_stateless,
    check_float32,
    check_finite,
    check_targets_are_checked,
    check_copies,
]


def loss_checks(
    make: Loss | Callable[[], Loss],
    output_shape: Shape = (3,),
    *,
    targets: Targets | None = None,
    seed: int = 0,
) -> list[Check]:
    """List the checks of a loss, to be run one by one.

    Parameters
    ----------
    make : Loss or callable
        A loss, of which copies are checked; or what makes one: ``lambda: MyLoss(0.5)``, or the
        class.
    output_shape : tuple of int
        The shape of one sample's prediction.
    targets : callable, optional
        ``targets(rng, n_samples)`` gives targets that the loss takes; by default numbers,
        probabilities or class indices, the first that its `check_targets` does not refuse, and
        None for a loss without targets.
    seed : int
        Seed of the predictions and the targets.

    Returns
    -------
    list of Check
        Each has a ``name``, and is called without arguments.

    Raises
    ------
    ArgumentError
        If ``make`` makes no loss, or another argument is wrong; if no
        targets are found that the loss takes.

    Examples
    --------
    >>> from layerkit import HalfSquaredError
    >>> from layerkit.testing import loss_checks
    >>> [check.name for check in loss_checks(HalfSquaredError)][:2]
    ['gradients', 'value_is_a_float']
    """
    seed = validation.integer("loss_checks", "seed", seed, minimum=0)
    subject = Subject(maker("check_loss.make", make, Loss), output_shape, targets, seed)
    return [
        Check(check.__name__.removeprefix("check_"), subject.name, partial(check, subject))
        for check in _CHECKS
    ]


def check_loss(
    make: Loss | Callable[[], Loss],
    output_shape: Shape = (3,),
    *,
    targets: Targets | None = None,
    seed: int = 0,
) -> None:
    """Check a loss: its gradient, its mean over the samples, and all that it promises.

    Parameters
    ----------
    make : Loss or callable
        A loss, of which copies are checked; or what makes one: ``lambda: MyLoss(0.5)``, or the
        class.
    output_shape : tuple of int
        The shape of one sample's prediction.
    targets : callable, optional
        ``targets(rng, n_samples)`` gives targets that the loss takes; by default numbers,
        probabilities or class indices, the first that its `check_targets` does not refuse, and
        None for a loss without targets.
    seed : int
        Seed of the predictions and the targets.

    Raises
    ------
    CheckError
        If a check fails. The message holds the report of each; ``failures`` has them by name.
    InconclusiveError
        If nothing is wrong, but a gradient can't be told.

    Examples
    --------
    >>> from layerkit import SoftmaxCrossEntropy
    >>> from layerkit.testing import check_loss
    >>> check_loss(SoftmaxCrossEntropy("indices"), (4,))
    """
    run_checks(loss_checks(make, output_shape, targets=targets, seed=seed))
