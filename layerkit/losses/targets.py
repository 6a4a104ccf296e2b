"""What targets and outputs must be: checks of several losses, and the losses of class targets."""

from collections.abc import Callable
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.samples import name_of
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.losses.base import BuiltInLoss, refuse_named_outputs

__all__ = [
    "Weights",
    "check_indices",
    "check_length",
    "check_probabilities",
    "check_totals",
    "length_of_parts",
    "refuse_where",
    "weights_of",
]


class ClassLoss(BuiltInLoss):
    """A loss of classes that exclude each other, the last axis of the predictions.

    Targets are the class of each position, or the probability of each class.
    """

    def __init__(self, targets: str) -> None:
        choices = ("indices", "probabilities")
        self.targets = check.choice(f"{type(self).__name__}.__init__", "targets", targets, choices)

    def target_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return intp for class indices; see `Loss.target_dtype`."""
        return np.dtype(np.intp) if self.targets == "indices" else dtype

    def check_targets(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets of the other kind or out of range; see `Loss.check_targets`."""
        if not isinstance(output_shape, tuple):
            refuse_named_outputs(where, self, output_shape)
        name = type(self).__name__
        if self.targets == "indices":
            check_indices(where, name, y_true, output_shape)
        elif y_true.ndim == len(output_shape):
            check.fail(
                where,
                "y_true",
                f"probabilities of shape {_of_samples(output_shape)}",
                y_true,
                f'For class indices, write {name}("indices").',
                error=ShapeError,
            )
        else:
            super().check_targets(where, y_true, output_shape)
            check_probabilities(where, y_true)
            check_totals(where, y_true)

    def as_probabilities(self, y_true: Array, y_pred: Array) -> Array:
        """Return the probability of each class, of targets of either kind."""
        if self.targets == "indices":
            return np.eye(y_pred.shape[-1], dtype=y_pred.dtype)[y_true]
        return y_true

    def position_shape(self, output_shape: Shape) -> Shape:
        """Return the axes before that of the classes."""
        return output_shape[:-1]


Weights = float | tuple[float, ...] | None


def weights_of(where: str, argument: str, value: Any) -> Weights:
    """Check for a weight, one for each output or class, or None."""
    if value is None:
        return None
    if isinstance(value, list | tuple | np.ndarray):
        each = enumerate(value)
        return tuple(check.number(where, f"{argument}[{i}]", number, above=0) for i, number in each)
    return check.number(where, argument, value, above=0)


def check_length(where: str, argument: str, weights: Weights, output_shape: Shape) -> None:
    """Refuse weights but one for each number of the outputs' last axis."""
    if isinstance(weights, tuple) and len(weights) != output_shape[-1]:
        wanted = f"{output_shape[-1]} numbers, one for each output of the last axis"
        check.fail(where, argument, wanted, check.Said(str(len(weights))), error=ShapeError)


def length_of_parts(where: str, output_shape: Shape, n_parts: int, parts: str) -> int:
    """Return how long each part of the last axis is; refuse one that has no such parts."""
    length, rest = divmod(output_shape[-1], n_parts)
    if rest:
        wanted = f"a multiple of {n_parts} long, for {parts}"
        got = check.Said(str(output_shape[-1]))
        remedy = "Give the last layer as many units."
        check.fail(where, "y_pred's last axis", wanted, got, remedy, error=ShapeError)
    return int(length)


def refuse_where(
    where: str,
    y_true: Array,
    is_wrong: Callable[[Array], Array],
    wanted: str,
    remedy: str = "",
) -> None:
    """Refuse targets of which some are wrong, and name the first of them and its sample."""
    for start, rows in check.row_blocks(y_true):
        wrong = is_wrong(rows)
        if wrong.any():
            first = np.argwhere(wrong)[0]
            got = check.Said(f"{rows[tuple(first)]} in {name_of(start + int(first[0]))}")
            check.fail(where, "y_true", wanted, got, remedy)


def check_probabilities(where: str, y_true: Array) -> None:
    """Refuse numbers outside [0, 1]."""
    refuse_where(where, y_true, lambda rows: (rows < 0) | (rows > 1), "between 0 and 1")


def check_totals(where: str, y_true: Array) -> None:
    """Refuse rows that don't add up to 1."""
    for start, rows in check.row_blocks(y_true):
        totals = rows.sum(axis=-1, dtype=np.float64)
        # Far above float32's rounding over thousands of classes, far below a real mistake.
        off = abs(totals - 1) > 1e-3
        if off.any():
            first = tuple(np.argwhere(off)[0].tolist())
            got = check.Said(f"a total of {totals[first]} in {_place(start, first)}")
            each = "sample" if off.ndim == 1 else "position"
            check.fail(where, "y_true", f"probabilities that add up to 1 in each {each}", got)


def check_indices(where: str, name: str, y_true: Array, output_shape: Shape) -> None:
    """Refuse targets that are no class indices, for the loss of this name."""
    n_classes = output_shape[-1]
    wanted = (
        f"class indices, integers of shape {_of_samples(output_shape[:-1])} "
        f"from 0 to {n_classes - 1}"
    )
    if y_true.ndim == len(output_shape) + 1:
        remedy = f'For one-hot rows or probabilities, write {name}("probabilities").'
        check.fail(where, "y_true", wanted, y_true, remedy, error=ShapeError)
    if not check.fits(y_true.shape[1:], output_shape[:-1]):
        remedy = "Each position before the classes, the last axis of the outputs, has one."
        check.fail(where, "y_true", wanted, y_true, remedy, error=ShapeError)
    if y_true.dtype.kind not in "iu":
        check.fail(where, "y_true", wanted, y_true, "Convert them: y_true.astype(int).")
    for start, rows in check.row_blocks(y_true):
        outside = (rows < 0) | (rows >= n_classes)
        if outside.any():
            first = tuple(np.argwhere(outside)[0].tolist())
            got = check.Said(f"{rows[first]} in {_place(start, first)}")
            remedy = "Padding takes any class, and 0 in sample_weight." if rows.ndim > 1 else ""
            check.fail(where, "y_true", wanted, got, remedy)


def _of_samples(shape: Shape) -> str:
    """Write the shape of a batch of samples of this shape."""
    lengths = ", ".join(map(str, shape))
    return f"(n_samples, {lengths})" if lengths else "(n_samples,)"


def _place(start: int, index: tuple[int, ...]) -> str:
    """Name a sample, and a position in it, in a block of samples that begins at ``start``."""
    position = f", position {', '.join(map(str, index[1:]))}" if index[1:] else ""
    return f"{name_of(start + index[0])}{position}"
