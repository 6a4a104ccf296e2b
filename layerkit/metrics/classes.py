"""What metrics of predicted classes share: which targets they can judge, and a threshold."""

import copy
from typing import Any, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.samples import name_of
from layerkit._support.validation import Array, Shape
from layerkit.metrics.base import Metric
from layerkit.metrics.weights import at_positions

__all__ = ["ClassMetric", "LabelMetric", "ThresholdMetric"]

# How far from 1 a row of probabilities may add up: float16's rounding, far below a real mistake.
_OFF = 2e-3


class ClassMetric(Metric):
    """Base of the metrics of one class for each sample or position.

    Targets are class indices, or rows with one largest number: one-hot rows in any coding (0 and
    1, −1 and 1, 0.1 and 0.9), or probabilities. For a single output they are 0 or 1, −1 or 1, or
    a probability between.
    """

    def check_targets(self, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
        """Refuse targets but class indices and one-hot rows; see `Metric.check_targets`."""
        by_index = isinstance(output_shape, tuple) and check.fits(
            y_true_shape[1:], output_shape[:-1]
        )
        if not by_index:
            super().check_targets(where, y_true_shape, output_shape)

    def check_values(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse labels of no class, and rows of several classes; see `Metric.check_values`."""
        n_classes = output_shape[-1]
        if n_classes == 1:
            check_answers(where, y_true)
        elif y_true.ndim == len(output_shape):
            _check_indices(where, y_true, n_classes)
        else:
            self._check_rows(where, y_true)

    def _check_rows(self, where: str, y_true: Array) -> None:
        for start, rows in check.row_blocks(y_true):
            largest, smallest = rows.max(axis=-1), rows.min(axis=-1)
            is_largest = rows == largest[..., None]
            is_coded = (is_largest | (rows == smallest[..., None])).all(axis=-1)
            totals = rows.sum(axis=-1, dtype=np.float64)
            is_share = (smallest >= 0) & (np.abs(totals - 1) <= _OFF)
            right = (is_largest.sum(axis=-1) == 1) & (is_coded | is_share)
            if not right.all():
                place = tuple(np.argwhere(~right)[0].tolist())
                self._refuse_row(where, rows[place], place_of(start, place))

    def _refuse_row(self, where: str, row: Array, place: str) -> NoReturn:
        wanted = f"one class in each row, one-hot or probabilities, as {self!r} takes them"
        shown = ", ".join(f"{number:g}" for number in row[:8])
        got = check.Said(f"[{shown}{', ...' if len(row) > 8 else ''}] in {place}")
        check.fail(where, "y_true", wanted, got, self._remedy())

    def _remedy(self) -> str:
        return "For several classes in a sample, write Accuracy(multilabel=True)."

    def hides_nan(self, y_pred: Any) -> bool:
        """Return whether there is a NaN, which comparisons pass over; see `Metric.hides_nan`."""
        return bool(np.isnan(y_pred).any())


class LabelMetric(ClassMetric):
    """Base of those that take labels too, each output a question of its own.

    Each of them takes weights of samples.

    Attributes
    ----------
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    """

    multilabel: bool = False
    takes_weight = True

    def __init__(self, multilabel: bool) -> None:
        where = f"{type(self).__name__}.__init__"
        self.multilabel = check.boolean(where, "multilabel", multilabel)

    def check_targets(self, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
        """Refuse targets of another shape; see `Metric.check_targets`."""
        if self.multilabel and isinstance(output_shape, tuple) and output_shape[-1] != 1:
            Metric.check_targets(self, where, y_true_shape, output_shape)
        else:
            super().check_targets(where, y_true_shape, output_shape)

    def check_values(self, where: str, y_true: Array, output_shape: Shape) -> None:
        """Refuse targets that it can't judge; see `Metric.check_values`."""
        if self.multilabel:
            check_answers(where, y_true)
        else:
            super().check_values(where, y_true, output_shape)

    def for_predictions(self, where: str, predictions: Any) -> Metric:
        """Refuse labels beside a loss of classes; see `Metric.for_predictions`."""
        if self.multilabel and predictions == "class_logits":
            wanted = "of one class in each sample, as the loss is"
            remedy = "For labels that don't exclude each other, write SigmoidCrossEntropy()."
            check.fail(where, "metrics", wanted, self, remedy)
        return self

    def _remedy(self) -> str:
        return f"For several classes in a sample, write {type(self).__name__}(multilabel=True)."

    def marks(self, y_pred: Array, y_true: Array) -> Array:
        """Mark which classes or labels are true, of shape (n_positions, n_outputs)."""
        n_outputs = y_pred.shape[-1]
        if self.multilabel or n_outputs == 1:
            marks: Array = y_true.reshape(-1, n_outputs) >= 0.5
            return marks
        marks = classes_of(y_pred, y_true).reshape(-1, 1) == np.arange(n_outputs)
        return marks


class ThresholdMetric(LabelMetric):
    """Base of those that compare outputs with a threshold, one output or several labels.

    Attributes
    ----------
    threshold : float or None
        Number that an output reaches for a yes; None for the one that suits the loss.
    """

    threshold: float | None = None

    def __init__(self, threshold: float | None, multilabel: bool) -> None:
        where = f"{type(self).__name__}.__init__"
        self.threshold = threshold
        if threshold is not None:
            self.threshold = check.number(where, "threshold", threshold)
        super().__init__(multilabel)

    def for_predictions(self, where: str, predictions: Any) -> Metric:
        """Return it with the threshold that suits the loss; see `Metric.for_predictions`."""
        super().for_predictions(where, predictions)
        if self.threshold is not None:
            return self
        suited = copy.copy(self)
        # Of logits and scores the sign decides; other numbers lie between 0 and 1 as targets do.
        suited.threshold = 0.5 if predictions in (None, "probabilities") else 0.0
        return suited

    def answers(self, outputs: Array) -> Array:
        """Return whether each output is a yes."""
        answers: Array = outputs >= (0.5 if self.threshold is None else self.threshold)
        return answers

    def pairs(self, y_pred: Array, y_true: Array, weight: Array | None) -> Array:
        """Count, or weigh, how often each class was taken for each, of each label by itself.

        Returns
        -------
        ndarray of shape (n_classes, n_classes), or (n_labels, 2, 2) with ``multilabel``
            Row i, column j is what was i and taken for j.
        """
        n_outputs = y_pred.shape[-1]
        if not self.multilabel and n_outputs > 1:
            predicted, true = y_pred.argmax(axis=-1), classes_of(y_pred, y_true)
            return _pairs(predicted.reshape(-1), true.reshape(-1), n_outputs, weight)
        predicted = self.answers(y_pred).reshape(-1, n_outputs)
        true = y_true.reshape(-1, n_outputs) >= 0.5
        labels = zip(predicted.T, true.T, strict=True)
        found = [_pairs(*label, 2, weight) for label in labels]
        return np.stack(found) if self.multilabel else found[0]


def _pairs(predicted: Array, true: Array, n_classes: int, weight: Array | None) -> Array:
    weights = None if weight is None else at_positions(weight, len(true))
    pairs = np.bincount(true * n_classes + predicted, weights, minlength=n_classes**2)
    return pairs.reshape(n_classes, n_classes)


def classes_of(y_pred: Array, y_true: Array) -> Array:
    """Find the true classes, integers of the predictions' shape without its last axis."""
    if y_true.ndim < y_pred.ndim:
        return y_true.astype(np.intp, copy=False)
    classes: Array = y_true.argmax(axis=-1)
    return classes


def check_answers(where: str, y_true: Array) -> None:
    """Refuse what is neither a no (0 or -1), nor a yes (1), nor a probability."""
    for start, rows in check.row_blocks(y_true):
        right = ((rows >= 0) & (rows <= 1)) | (rows == -1)
        if not right.all():
            place = tuple(np.argwhere(~right)[0].tolist())
            got = check.Said(f"{rows[place]} in {place_of(start, place)}")
            check.fail(where, "y_true", "0 or 1, or -1 or 1, or a probability", got)


def _check_indices(where: str, y_true: Array, n_classes: int | None) -> None:
    """Refuse what is not the number of a class; of any dtype, if it is whole."""
    for start, rows in check.row_blocks(y_true):
        right = rows >= 0
        if rows.dtype.kind == "f":
            right &= rows == np.floor(rows)
        if n_classes is not None:
            right &= rows < n_classes
        if not right.all():
            place = tuple(np.argwhere(~right)[0].tolist())
            got = check.Said(f"{rows[place]} in {place_of(start, place)}")
            last = "..." if n_classes is None else n_classes - 1
            remedy = "Padding takes any class, and 0 in sample_weight." if rows.ndim > 1 else ""
            check.fail(where, "y_true", f"a class from 0 to {last}", got, remedy)


def place_of(start: int, index: tuple[int, ...]) -> str:
    """Name a sample, and a position in it, in a block of samples that begins at ``start``."""
    position = f", position {', '.join(map(str, index[1:]))}" if index[1:] else ""
    return f"{name_of(start + index[0])}{position}"
