"""Metrics of predicted classes."""

from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.metrics.classes import ClassMetric, ThresholdMetric, classes_of
from layerkit.metrics.weights import mean_sum

__all__ = ["Accuracy", "ConfusionMatrix", "HammingLoss", "TopKAccuracy"]


def _mean_count(right: Array, n_samples: int, weight: Array | None) -> float:
    """Sum over the samples the share of their positions that are right."""
    if weight is not None:
        return mean_sum(right.reshape(n_samples, -1), weight)
    count = int(np.count_nonzero(right))
    return count if right.size == n_samples else count * n_samples / right.size


class Accuracy(ThresholdMetric):
    """The share of samples whose predicted class is right.

    With several outputs a sample's class is that of the largest; targets are class indices, of
    shape (n_samples,), or one-hot rows, or probabilities of the classes. With one output, the
    class is 1 where it is at least ``threshold``. Outputs of shape (*positions, n_classes) have a
    class at each position, and the share of a sample is that of its positions.

    With ``multilabel`` each output is a label of its own, a yes from ``threshold`` on, and targets
    are rows of 0 and 1: a sample is right if all of its labels are (the subset accuracy, as in
    scikit-learn).

    Parameters
    ----------
    threshold : float, optional
        For a single output or ``multilabel``: number that an output reaches for a yes, compared
        with the outputs as they are. By default the one that suits `Loss.predictions` of the
        trainer's loss: 0 for logits and scores, where the sign decides, and 0.5 for other numbers.
        In a direct call, which knows no loss, 0.5.
    multilabel : bool
        Whether a sample may have several labels, or none.

    Raises
    ------
    ArgumentError
        If the threshold is no finite number; when called, for targets of another shape, labels of
        no class, rows of several classes (without ``multilabel``), and NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Accuracy
    >>> y_pred = np.array([[0.1, 0.9], [0.8, 0.2]])
    >>> Accuracy()(y_pred, np.array([1, 1]))
    0.5
    >>> Accuracy(threshold=0)(np.array([[-3.0], [2.0]]), np.array([[0], [1]]))
    1.0
    >>> Accuracy(multilabel=True)(y_pred, np.array([[0, 1], [1, 1]]))
    0.5
    """

    greater_is_better = True

    def __init__(self, threshold: float | None = None, *, multilabel: bool = False) -> None:
        super().__init__(threshold, multilabel)

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> float:
        """Count the samples that are right; see `Metric.total`."""
        if self.multilabel:
            right = (self.answers(y_pred) == (y_true.reshape(y_pred.shape) >= 0.5)).all(axis=-1)
        elif y_pred.shape[-1] == 1:
            right = self.answers(y_pred.reshape(-1)) == (y_true.reshape(-1) >= 0.5)
        else:
            right = y_pred.argmax(axis=-1) == classes_of(y_pred, y_true)
        return _mean_count(right, len(y_pred), weight)


class HammingLoss(ThresholdMetric):
    """The share of labels that are wrong, each label of each sample on its own.

    With ``multilabel``, 1 less the accuracy of the single yes or no, where
    ``Accuracy(multilabel=True)`` asks that all labels of a sample are right. Of one class for each
    sample it is 1 less the accuracy. Classes, targets and thresholds are those of `Accuracy`.

    Parameters
    ----------
    threshold : float, optional
        For a single output or ``multilabel``: number that an output reaches for a yes. By default
        the one that suits the loss, as for `Accuracy`.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.

    Raises
    ------
    ArgumentError
        If the threshold is no finite number; when called, as for `Accuracy`.

    References
    ----------
    Schapire & Singer (1999), "Improved boosting algorithms using confidence-rated predictions",
    section 7.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import HammingLoss
    >>> y_pred = np.array([[0.1, 0.9], [0.8, 0.2]])
    >>> HammingLoss(multilabel=True)(y_pred, np.array([[0, 1], [1, 1]]))
    0.25
    """

    def __init__(self, threshold: float | None = None, *, multilabel: bool = False) -> None:
        super().__init__(threshold, multilabel)

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> float:
        """Sum the samples' shares of labels that are wrong; see `Metric.total`."""
        if self.multilabel or y_pred.shape[-1] == 1:
            wrong = self.answers(y_pred) != self.marks(y_pred, y_true).reshape(y_pred.shape)
        else:
            wrong = y_pred.argmax(axis=-1) != classes_of(y_pred, y_true)
        return _mean_count(wrong, len(y_pred), weight)


class TopKAccuracy(ClassMetric):
    """The share of samples whose class is among the k largest outputs.

    Targets are class indices, of shape (n_samples,), or one-hot rows; positions are those of
    `Accuracy`. Of equal outputs, all count as larger than the true class's, so that a constant
    prediction is right for nobody.

    Parameters
    ----------
    k : int
        Number of outputs that count; at least 1.

    Raises
    ------
    ArgumentError
        If ``k`` is no whole number of at least 1; when called, as for `Accuracy`, and for a
        single output.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import TopKAccuracy
    >>> TopKAccuracy(2)(np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]), np.array([1, 0]))
    0.5
    """

    greater_is_better = True
    takes_weight = True

    def __init__(self, k: int = 5) -> None:
        self.k = check.integer("TopKAccuracy.__init__", "k", k, minimum=1)

    @property
    def name(self) -> str:
        """Name of the figure in a `History`: ``"top_5_accuracy"``."""
        return f"top_{self.k}_accuracy"

    def check_targets(self, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
        """Refuse a single output, and targets of another shape; see `Metric.check_targets`."""
        super().check_targets(where, y_true_shape, output_shape)
        if output_shape[-1] == 1:
            got = check.Said(f"{output_shape}, a single one, where {self!r} has nothing to choose")
            remedy = "Write Accuracy()."
            wanted = "the scores of several classes"
            check.fail(where, "the outputs", wanted, got, remedy, error=ShapeError)

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> float:
        """Count the samples that are right; see `Metric.total`."""
        own = np.take_along_axis(y_pred, classes_of(y_pred, y_true)[..., None], axis=-1)
        return _mean_count((y_pred >= own).sum(axis=-1) <= self.k, len(y_pred), weight)


class ConfusionMatrix(ThresholdMetric):
    """How often each class was taken for each: row i, column j counts i taken for j.

    A matrix is no figure of a `History`; ``Trainer.evaluate(x, y, metrics=[ConfusionMatrix()])``
    computes it for a whole data set. With one output the classes are 0 and 1. Each position of a
    sample counts.

    With ``multilabel`` there is a matrix of no and yes for each label, of shape (n_labels, 2, 2).

    Parameters
    ----------
    threshold : float, optional
        For a single output or ``multilabel``: number that an output reaches for a yes. By default
        the one that suits the loss, as for `Accuracy`.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.

    Raises
    ------
    ArgumentError
        If the threshold is no finite number; when called, as for `Accuracy`.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import ConfusionMatrix
    >>> ConfusionMatrix()(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 1, 0]))
    array([[0, 1],
           [1, 1]])
    """

    is_figure = False

    def __init__(self, threshold: float | None = None, *, multilabel: bool = False) -> None:
        super().__init__(threshold, multilabel)

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> Array:
        """Count the pairs of a batch; see `Metric.total`."""
        return self.pairs(y_pred, y_true, weight)

    def result(self, total: Any, n_samples: int) -> Any:
        """Return the counts as they are, integers if all are whole; see `Metric.result`."""
        if np.isnan(total).any():
            check.fail("ConfusionMatrix.result", "the predictions", "numbers", check.Said("nan"))
        counts = np.asarray(total)
        return counts.astype(np.intp) if (counts == np.floor(counts)).all() else counts
