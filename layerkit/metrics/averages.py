"""Averages over classes or labels: precision, recall and their mean."""

from abc import abstractmethod
from typing import Any, Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.metrics.classes import ThresholdMetric, classes_of

__all__ = ["F1Score", "Precision", "Recall"]

Average = Literal["macro", "micro", "weighted"]


class _OfClasses(ThresholdMetric):
    """Counts, class by class, what was predicted, what was true, and what was both."""

    greater_is_better = True

    def __init__(
        self,
        average: Average | None = "macro",
        threshold: float | None = None,
        *,
        multilabel: bool = False,
    ) -> None:
        super().__init__(threshold, multilabel)
        self.average = average
        if average is not None:
            where = f"{type(self).__name__}.__init__"
            check.choice(where, "average", average, ("macro", "micro", "weighted"))
        self.is_figure = average is not None

    def total(self, y_pred: Array, y_true: Array) -> Array:
        """Count, by class, hits, predictions and truths; see `Metric.total`."""
        n_classes = y_pred.shape[-1]
        if self.multilabel or n_classes == 1:
            predicted = self.answers(y_pred).reshape(-1, n_classes)
            true = y_true.reshape(-1, n_classes) >= 0.5
        else:
            names = np.arange(n_classes)
            predicted = y_pred.argmax(axis=-1).reshape(-1, 1) == names
            true = classes_of(y_pred, y_true).reshape(-1, 1) == names
        counts = [(predicted & true).sum(axis=0), predicted.sum(axis=0), true.sum(axis=0)]
        return np.stack(counts).astype(np.float64)

    def result(self, total: Array, n_samples: int) -> Any:
        """Compute the average, or the figure of each class; see `Metric.result`."""
        if self.average == "micro":
            total = total.sum(axis=1, keepdims=True)
        part, whole = self._ratio(*total)
        ratios = part / np.maximum(whole, 1)
        if self.average is None:
            return ratios
        if self.average == "weighted":
            weights = total[2]
        elif self.multilabel:
            weights = np.ones(len(ratios))
        else:
            # A class that was neither there nor predicted is no failure of anybody's: left out.
            weights = total.any(axis=0).astype(np.float64)
        return float(ratios.dot(weights) / (weights.sum() or 1.0))

    @abstractmethod
    def _ratio(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        """Return, by class, the number that is counted and the number that it is a part of."""


class Precision(_OfClasses):
    """Of the samples that were called a class, the share that is one.

    With one output the class is "at least ``threshold``", and targets are 0 or 1; with several,
    a sample's class is that of the largest, and targets are those of `Accuracy`. The figure of a
    class that was never predicted is 0, and one that is not there either is left out of a mean.

    With ``multilabel`` each output is a yes from ``threshold`` on, and targets are rows of 0 and
    1; all labels count in a mean, as in scikit-learn.

    Parameters
    ----------
    average : {"macro", "micro", "weighted"} or None
        Mean over the classes; figure of all samples together; mean over the classes, each
        weighted by how many samples it has. None is an array with the figure of each class, for
        ``Trainer.evaluate(x, y, metrics=[...])``.
    threshold : float, optional
        For a single output or ``multilabel``: number that an output reaches for a yes. By default
        the one that suits the loss, as for `Accuracy`.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.

    Raises
    ------
    ArgumentError
        If ``average`` is another word, or the threshold no finite number; when called, for
        targets that can't be judged.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Precision
    >>> Precision()(np.array([[0.9], [0.8], [0.1], [0.3]]), np.array([[1], [0], [0], [1]]))
    0.5

    Of labels, each on its own:

    >>> y_true = np.array([[1, 1, 0], [0, 1, 1]])
    >>> y_pred = np.array([[0.9, 0.8, 0.7], [0.1, 0.6, 0.7]])
    >>> Precision(None, multilabel=True)(y_pred, y_true)
    array([1. , 1. , 0.5])
    """

    def _ratio(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return hits, predicted


class Recall(_OfClasses):
    """Of the samples of a class, the share that was called so.

    Classes, averages and thresholds are those of `Precision`.

    Parameters
    ----------
    average : {"macro", "micro", "weighted"} or None
        Mean over the classes; figure of all samples together; mean over the classes, each
        weighted by how many samples it has. None is an array with the figure of each class, for
        ``Trainer.evaluate(x, y, metrics=[...])``.
    threshold : float, optional
        For a single output or ``multilabel``: number that an output reaches for a yes. By default
        the one that suits the loss, as for `Accuracy`.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.

    Raises
    ------
    ArgumentError
        If ``average`` is another word, or the threshold no finite number; when called, for
        targets that can't be judged.

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
    average : {"macro", "micro", "weighted"} or None
        Mean over the classes; figure of all samples together; mean over the classes, each
        weighted by how many samples it has. None is an array with the figure of each class, for
        ``Trainer.evaluate(x, y, metrics=[...])``.
    threshold : float, optional
        For a single output or ``multilabel``: number that an output reaches for a yes. By default
        the one that suits the loss, as for `Accuracy`.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.

    Raises
    ------
    ArgumentError
        If ``average`` is another word, or the threshold no finite number; when called, for
        targets that can't be judged.

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
