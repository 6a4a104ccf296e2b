"""`CTC`: the loss of label sequences of which it is not known where in time each label stands."""

from typing import Any, NamedTuple

import numpy as np

from layerkit._support import validation as check
from layerkit._support.samples import name_of
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.losses.base import BuiltInLoss, refuse_named_outputs
from layerkit.losses.targets import refuse_where

__all__ = ["CTC"]

# The logarithm of what can't be: far below that of any path, and finite, so that differences are.
_NEVER = -1e30


class Problem(NamedTuple):
    """The paths of a batch: labels with a blank before, between and after them are the states."""

    labels: Array  # (n_samples, n_labels), padded with the blank
    lengths: Array  # of the labels, (n_samples,)
    emitted: Array  # log p of each state's label, (n_steps, n_samples, n_states)
    skip_cost: Array  # of leaving out the state before, (n_samples, n_states): 0 or never
    is_padding: Array  # steps that don't count, (n_steps, n_samples)


class CTC(BuiltInLoss):
    """Connectionist temporal classification: −log of the probability of a sequence of labels.

    Predictions are logits of shape (n_samples, n_steps, n_classes), one class of which is the
    blank. A path chooses a class at each step; what it says are its classes without repetitions
    of one step to the next, and then without blanks. The probability of the labels is the sum of
    Π softmax(y_pred) over all paths that say them, computed by the forward-backward algorithm in
    logarithms, in float64.

    Targets are class indices of shape (n_samples, n_labels), integers; shorter sequences are padded
    with the blank at the end. The loss is the mean over the samples of −log p: a sum over the
    steps of each, which is not divided by the number of labels. Weights are those of samples.

    The gradient is (softmax(y_pred) − γ) / n_samples, where γ is the probability that a path which
    says the labels is at a class at a step.

    Parameters
    ----------
    blank : int
        Class that stands for no label; at least 0.
    step_counts : bool
        Whether the first column of the targets is the number of steps of each sample, for inputs
        that are padded in time. The logits of later steps don't count, and have a gradient of 0.

    Raises
    ------
    ArgumentError
        If an argument is out of range; by `check_targets`, for labels out of range, labels after
        padding, and sequences that no path can say in so many steps: there has to be one for each
        label, and one more between two labels that are the same.
    ShapeError
        By `check_targets`, for outputs or targets of another shape.

    References
    ----------
    Graves et al. (2006), "Connectionist temporal classification: labelling unsegmented sequence
    data with recurrent neural networks", eq. 3 and 6 to 16.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import CTC
    >>> logits = np.zeros((1, 2, 3))  # of 9 paths, the three 1 1, 1 0 and 0 1 say 1
    >>> round(float(np.exp(-CTC().value(logits, np.array([[1]])))), 12)
    0.333333333333
    """

    predictions = "class_logits"

    def __init__(self, blank: int = 0, *, step_counts: bool = False) -> None:
        self.blank = check.integer("CTC.__init__", "blank", blank, minimum=0)
        self.step_counts = check.boolean("CTC.__init__", "step_counts", step_counts)

    def target_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return intp, of class indices; see `Loss.target_dtype`."""
        return np.dtype(np.intp)

    def position_shape(self, output_shape: Shape) -> Shape:
        """Return (): a sample is one position."""
        return ()

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse what no path can say, or is no sequence of labels; see `Loss.check_targets`."""
        if not isinstance(output_shape, tuple):
            refuse_named_outputs(where, self, output_shape)
        if len(output_shape) != 2 or output_shape[1] <= self.blank:
            wanted = (
                f"of shape (n_samples, n_steps, n_classes), with more than {self.blank} classes"
            )
            got = check.Said(f"samples of shape {output_shape}")
            check.fail(where, "y_pred", wanted, got, error=ShapeError)
        n_steps, n_classes = output_shape
        wanted = f"class indices from 0 to {n_classes - 1}, integers of shape (n_samples, n_labels)"
        if y_true.ndim != 2 or y_true.shape[1] < self.step_counts:
            check.fail(where, "y_true", wanted, y_true, error=ShapeError)
        if y_true.dtype.kind not in "iu":
            check.fail(where, "y_true", wanted, y_true, "Convert them: y_true.astype(int).")
        labels = y_true[:, 1:] if self.step_counts else y_true
        counts = None if n_steps is None else np.full(len(y_true), n_steps)
        if self.step_counts:
            counts = y_true[:, 0]
            self._check_counts(where, counts, n_steps)
        remedy = f"Pad with {self.blank}, the blank."
        refuse_where(where, labels, lambda rows: (rows < 0) | (rows >= n_classes), wanted, remedy)
        self._check_sequences(where, labels, counts)

    def _check_counts(self, where: str, counts: Array, n_steps: int | None) -> None:
        most, upto = (np.inf, "") if n_steps is None else (n_steps, f" to {n_steps}")
        wanted = f"a number of steps from 0{upto} in the first column"
        refuse_where(where, counts, lambda rows: (rows < 0) | (rows > most), wanted)

    def _check_sequences(self, where: str, labels: Array, counts: Array | None) -> None:
        """Refuse labels after padding, and more of them than there are steps."""
        is_label = labels != self.blank
        after = is_label[:, 1:] & ~is_label[:, :-1]
        if after.any():
            got = check.Said(f"a label after it in {name_of(int(np.argmax(after.any(axis=1))))}")
            check.fail(where, "y_true", f"padded with {self.blank} at the end alone", got)
        if counts is None:
            return
        repeated = (labels[:, 1:] == labels[:, :-1]) & is_label[:, 1:]
        needed = is_label.sum(axis=1) + repeated.sum(axis=1)
        short = needed > counts
        if short.any():
            first = int(np.argmax(short))
            got = check.Said(f"{counts[first]} for the {needed[first]} of {name_of(first)}")
            remedy = "Two labels that are the same need a blank between them."
            check.fail(where, "the steps", "as many as the labels need", got, remedy)

    def _problem(self, y_pred: Array, y_true: Array) -> tuple[Problem, Array]:
        """Return the states and their emissions, and the logarithms of the probabilities."""
        n_samples, n_steps, _ = y_pred.shape
        labels = y_true[:, 1:] if self.step_counts else y_true
        counts = y_true[:, 0] if self.step_counts else np.full(n_samples, n_steps)
        lengths = (labels != self.blank).sum(axis=1)
        labels = labels[:, : lengths.max()]
        n_states = 2 * labels.shape[1] + 1
        states = np.full((n_samples, n_states), self.blank)
        states[:, 1::2] = labels
        logits = y_pred.transpose(1, 0, 2).astype(np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        np.maximum(log_p, _NEVER, out=log_p)
        emitted = np.take_along_axis(log_p, np.broadcast_to(states, (n_steps, *states.shape)), 2)
        # Steps that don't count are sure blanks, which change no probability.
        is_padding = np.arange(n_steps)[:, None] >= counts
        emitted[is_padding] = np.where(np.arange(n_states) % 2, _NEVER, 0)
        skip_cost = np.full((n_samples, n_states), _NEVER)
        skip_cost[:, 1:2] = 0  # a path may begin with a label
        skip_cost[:, 3::2][labels[:, 1:] != labels[:, :-1]] = 0
        return Problem(labels, lengths, emitted, skip_cost, is_padding), log_p

    def _compute(self, y_pred: Array, y_true: Array) -> tuple[float, Array]:
        problem, log_p = self._problem(y_pred, y_true)
        ahead = _forward(problem)
        totals = _totals(problem, ahead)
        ahead += _backward(problem)
        ahead -= totals[:, None]
        # By rounding alone, a probability is above 1.
        shares = np.exp(np.minimum(ahead, 0, out=ahead), out=ahead)
        gradient = np.exp(log_p)
        gradient[..., self.blank] -= shares[..., ::2].sum(axis=-1)
        samples = np.arange(len(y_pred))
        for place, label in enumerate(problem.labels.T):  # which may come twice in a sample
            gradient[:, samples, label] -= shares[..., 2 * place + 1]
        gradient[problem.is_padding | (totals < _NEVER / 2)] = 0
        gradient /= len(y_pred)
        own = gradient.transpose(1, 0, 2).astype(y_pred.dtype, order="C")
        return float(_losses(totals).mean()), own

    def _per_position(self, y_pred: Array, y_true: Array) -> Array:
        problem, _ = self._problem(y_pred, y_true)
        return _losses(_totals(problem, _forward(problem)))


def _sum_of_three(stay: Array, step: Array, skip: Array) -> Array:
    """Compute log(exp(stay) + exp(step) + exp(skip))."""
    largest = np.maximum(np.maximum(stay, step), skip)
    total = np.exp(stay - largest)
    total += np.exp(step - largest)
    total += np.exp(skip - largest)
    largest += np.log(total, out=total)
    return largest


def _forward(problem: Problem) -> Array:
    """Compute log α: all paths' ways to a state at a step, what is emitted there included."""
    emitted, (n_samples, n_states) = problem.emitted, problem.skip_cost.shape
    ahead = np.empty_like(emitted)
    # Two states before the first, where no path is.
    before = np.full((n_samples, n_states + 2), _NEVER)
    before[:, 1] = 0
    for t, own in enumerate(emitted):
        ways = _sum_of_three(before[:, 2:], before[:, 1:-1], before[:, :-2] + problem.skip_cost)
        before[:, 1] = _NEVER
        before[:, 2:] = np.add(ways, own, out=ahead[t])
    return ahead


def _backward(problem: Problem) -> Array:
    """Compute log β: all paths' ways from a state at a step to an end, of later steps alone."""
    emitted, (n_samples, n_states) = problem.emitted, problem.skip_cost.shape
    behind = np.full_like(emitted, _NEVER)
    samples, ends = np.arange(n_samples), 2 * problem.lengths
    behind[-1, samples, ends] = 0
    behind[-1, samples, np.maximum(ends - 1, 0)] = 0
    after = np.full((n_samples, n_states + 2), _NEVER)
    skip_cost = np.full_like(after, _NEVER)
    skip_cost[:, :n_states] = problem.skip_cost
    for t in range(len(emitted) - 1, 0, -1):
        np.add(behind[t], emitted[t], out=after[:, :-2])
        skipped = after[:, 2:] + skip_cost[:, 2:]
        behind[t - 1] = _sum_of_three(after[:, :-2], after[:, 1:-1], skipped)
    return behind


def _totals(problem: Problem, ahead: Array) -> Array:
    """Compute log p of each sample's labels, which end in the last label or in a blank."""
    samples, ends = np.arange(len(problem.lengths)), 2 * problem.lengths
    in_blank = ahead[-1, samples, ends]
    in_label = ahead[-1, samples, np.maximum(ends - 1, 0)]
    in_label = np.where(problem.lengths > 0, in_label, _NEVER)
    totals: Array = _sum_of_three(in_blank, in_label, np.full_like(in_blank, _NEVER))
    return totals


def _losses(totals: Array) -> Array:
    losses: Array = np.where(totals < _NEVER / 2, np.inf, -totals)
    return losses
