"""Metrics of predicted classes."""

from abc import abstractmethod
from typing import Any, Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.metrics.base import Metric

__all__ = ["Accuracy", "ConfusionMatrix", "F1Score", "Precision", "Recall", "TopKAccuracy"]


def _check_classes(metric: Metric, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
    """Refuse targets but a class index, or a one-hot row, for each sample or position."""
    if not isinstance(output_shape, tuple) or not check.fits(y_true_shape[1:], output_shape[:-1]):
        Metric.check_targets(metric, where, y_true_shape, output_shape)


def _classes(y_pred: Array, y_true: Array) -> Array:
    """Find the true classes, of the predictions' shape without its last axis."""
    return y_true if y_true.ndim < y_pred.ndim else y_true.argmax(axis=-1)


def _mean_count(right: Array, n_samples: int) -> float:
    """Sum over the samples the share of their positions that are right."""
    count = int(np.count_nonzero(right))
    return count if right.size == n_samples else count * n_samples / right.size


class Accuracy(Metric):
    """The share of samples whose predicted class is right.

    With several outputs a sample's class is that of the largest; targets are class indices, of
    shape (n_samples,), or one-hot rows. With one output, the class is 1 where it is at least
    ``threshold``. Outputs of shape (*positions, n_classes) have a class at each position, and the
    share of a sample is that of its positions.

    Parameters
    ----------
    threshold : float
        For a single output: 0.5 suits probabilities, 0 suits logits (`SigmoidCrossEntropy`).

    Raises
    ------
    ArgumentError
        If the threshold is no finite number; when called, for targets of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Accuracy
    >>> y_pred = np.array([[0.1, 0.9], [0.8, 0.2]])
    >>> Accuracy()(y_pred, np.array([1, 1]))
    0.5
    >>> Accuracy(threshold=0)(np.array([[-3.0], [2.0]]), np.array([[0], [1]]))
    1.0
    """

    greater_is_better = True

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = check.number("Accuracy.__init__", "threshold", threshold)

    def check_targets(self, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
        """Refuse targets but class indices and one-hot rows; see `Metric.check_targets`."""
        _check_classes(self, where, y_true_shape, output_shape)

    def total(self, y_pred: Array, y_true: Array) -> float:
        """Count the samples that are right; see `Metric.total`."""
        if y_pred.shape[-1] == 1:
            right = (y_pred.reshape(-1) >= self.threshold) == (y_true.reshape(-1) >= 0.5)
        else:
            right = y_pred.argmax(axis=-1) == _classes(y_pred, y_true)
        return _mean_count(right, len(y_pred))


class TopKAccuracy(Metric):
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
        If ``k`` is no whole number of at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import TopKAccuracy
    >>> TopKAccuracy(2)(np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]), np.array([1, 0]))
    0.5
    """

    greater_is_better = True

    def __init__(self, k: int = 5) -> None:
        self.k = check.integer("TopKAccuracy.__init__", "k", k, minimum=1)

    @property
    def name(self) -> str:
        """Name of the figure in a `History`: ``"top_5_accuracy"``."""
        return f"top_{self.k}_accuracy"

    def check_targets(self, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
        """Refuse targets but class indices and one-hot rows; see `Metric.check_targets`."""
        _check_classes(self, where, y_true_shape, output_shape)

    def total(self, y_pred: Array, y_true: Array) -> float:
        """Count the samples that are right; see `Metric.total`."""
        own = np.take_along_axis(y_pred, _classes(y_pred, y_true)[..., None], axis=-1)
        return _mean_count((y_pred >= own).sum(axis=-1) <= self.k, len(y_pred))


class _OfClasses(Metric):
    """Counts, class by class, what was predicted, what was true, and what was both."""

    greater_is_better = True

    def __init__(
        self, average: Literal["macro", "micro"] = "macro", threshold: float = 0.5
    ) -> None:
        where = f"{type(self).__name__}.__init__"
        self.average = check.choice(where, "average", average, ("macro", "micro"))
        self.threshold = check.number(where, "threshold", threshold)

    def check_targets(self, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
        """Refuse targets but class indices and one-hot rows; see `Metric.check_targets`."""
        _check_classes(self, where, y_true_shape, output_shape)

    def total(self, y_pred: Array, y_true: Array) -> Array:
        """Count, by class, hits, predictions and truths; see `Metric.total`."""
        if y_pred.shape[-1] == 1:
            predicted = y_pred.reshape(-1, 1) >= self.threshold
            true = y_true.reshape(-1, 1) >= 0.5
        else:
            names = np.arange(y_pred.shape[-1])
            predicted = y_pred.argmax(axis=-1).reshape(-1, 1) == names
            true = _classes(y_pred, y_true).reshape(-1, 1) == names
        counts = [(predicted & true).sum(axis=0), predicted.sum(axis=0), true.sum(axis=0)]
        return np.stack(counts).astype(np.float64)

    def result(self, total: Array, n_samples: int) -> float:
        """Compute the mean over the classes, or of all samples; see `Metric.result`."""
        if self.average == "micro":
            total = total.sum(axis=1, keepdims=True)
        part, whole = self._ratio(*total)
        # A class that was neither there nor predicted is no failure of anybody's: left out.
        seen = total.any(axis=0)
        ratios = part[seen] / np.maximum(whole[seen], 1)
        return float(ratios.mean()) if len(ratios) else 0.0

    @abstractmethod
    def _ratio(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        """Return, by class, the number that is counted and the number that it is a part of."""


class Precision(_OfClasses):
    """Of the samples that were called a class, the share that is one.

    With one output the class is "at least ``threshold``", and targets are 0 or 1; with several,
    a sample's class is that of the largest, and the figure is the mean over the classes that are
    there or were predicted ("macro"), or that of all samples together ("micro"). A class that was
    never predicted counts 0.

    Parameters
    ----------
    average : {"macro", "micro"}
        Mean over the classes, or over all samples together.
    threshold : float
        For a single output: 0.5 suits probabilities, 0 suits logits.

    Raises
    ------
    ArgumentError
        If ``average`` is another word, or the threshold no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Precision
    >>> Precision()(np.array([[0.9], [0.8], [0.1], [0.3]]), np.array([[1], [0], [0], [1]]))
    0.5
    """

    def _ratio(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return hits, predicted


class Recall(_OfClasses):
    """Of the samples of a class, the share that was called so.

    Classes, averages and thresholds are those of `Precision`.

    Parameters
    ----------
    average : {"macro", "micro"}
        Mean over the classes, or over all samples together.
    threshold : float
        For a single output: 0.5 suits probabilities, 0 suits logits.

    Raises
    ------
    ArgumentError
        If ``average`` is another word, or the threshold no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Recall
    >>> y_pred = np.array([[0.9], [0.8], [0.1], [0.3]])
    >>> round(Recall()(y_pred, np.array([[1], [1], [0], [1]])), 3)
    0.667
    """

    def _ratio(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return hits, true


class F1Score(_OfClasses):
    """The harmonic mean of precision and recall: 2 · hits / (predicted + true).

    Classes, averages and thresholds are those of `Precision`.

    Parameters
    ----------
    average : {"macro", "micro"}
        Mean over the classes, or over all samples together.
    threshold : float
        For a single output: 0.5 suits probabilities, 0 suits logits.

    Raises
    ------
    ArgumentError
        If ``average`` is another word, or the threshold no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import F1Score
    >>> F1Score()(np.array([[0.9], [0.8], [0.1], [0.3]]), np.array([[1], [0], [0], [1]]))
    0.5
    """

    @property
    def name(self) -> str:
        """Name of the figure in a `History`."""
        return "f1_score"

    def _ratio(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return 2 * hits, predicted + true


class ConfusionMatrix(Metric):
    """How often each class was taken for each: row i, column j counts i taken for j.

    A matrix is no figure of a `History`; ``Trainer.evaluate(x, y, metrics=[ConfusionMatrix()])``
    computes it for a whole data set. With one output the classes are 0 and 1. Each position of a
    sample counts.

    Parameters
    ----------
    threshold : float
        For a single output: 0.5 suits probabilities, 0 suits logits.

    Raises
    ------
    ArgumentError
        If the threshold is no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import ConfusionMatrix
    >>> ConfusionMatrix()(np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), np.array([1, 1, 0]))
    array([[0, 1],
           [1, 1]])
    """

    is_figure = False

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = check.number("ConfusionMatrix.__init__", "threshold", threshold)

    def check_targets(self, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
        """Refuse targets but class indices and one-hot rows; see `Metric.check_targets`."""
        _check_classes(self, where, y_true_shape, output_shape)

    def total(self, y_pred: Array, y_true: Array) -> Array:
        """Count the pairs of a batch; see `Metric.total`."""
        if y_pred.shape[-1] == 1:
            n_classes = 2
            predicted = (y_pred.reshape(-1) >= self.threshold).astype(np.intp)
            true = (y_true.reshape(-1) >= 0.5).astype(np.intp)
        else:
            n_classes = y_pred.shape[-1]
            predicted = y_pred.argmax(axis=-1).reshape(-1)
            true = _classes(y_pred, y_true).reshape(-1)
        pairs = np.bincount(true * n_classes + predicted, minlength=n_classes**2)
        return pairs.reshape(n_classes, n_classes)

    def result(self, total: Any, n_samples: int) -> Any:
        """Return the counts as they are; see `Metric.result`."""
        return np.asarray(total).astype(np.intp)
