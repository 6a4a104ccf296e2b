"""Averages over classes or labels: precision, recall, and what is made of them."""

from abc import abstractmethod
from typing import Any, Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.metrics.classes import ThresholdMetric
from layerkit.metrics.weights import count

__all__ = ["F1Score", "FBeta", "MeanIoU", "Precision", "Recall", "Specificity"]

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

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> Array:
        """Count, by class, hits, predictions and truths; see `Metric.total`."""
        return self._counts(*self._marks(y_pred, y_true), weight)

    def _marks(self, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        """Mark, by position and class, what was predicted and what was true."""
        n_classes = y_pred.shape[-1]
        if self.multilabel or n_classes == 1:
            predicted = self.answers(y_pred).reshape(-1, n_classes)
        else:
            predicted = y_pred.argmax(axis=-1).reshape(-1, 1) == np.arange(n_classes)
        return predicted, self.marks(y_pred, y_true)

    def _counts(self, predicted: Array, true: Array, weight: Array | None) -> Array:
        counts = [count(marks, weight) for marks in (predicted & true, predicted, true)]
        return np.stack(counts).astype(np.float64)

    def result(self, total: Array, n_samples: int) -> Any:
        """Compute the average, or the figure of each class; see `Metric.result`."""
        if self.average == "micro":
            total = total.sum(axis=1, keepdims=True)
        part, whole = self._ratio(*total[:3])
        ratios = part / np.where(whole == 0, 1, whole)
        if self.average is None:
            return ratios
        if self.average == "weighted":
            weights = total[-1]
        elif self.multilabel:
            weights = np.ones(len(ratios))
        else:
            # A class that was neither there nor predicted is no failure of anybody's: left out.
            weights = total[:3].any(axis=0).astype(np.float64)
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


class FBeta(_OfClasses):
    """The mean of precision and recall in which recall counts β² times as much.

    (1 + β²) · hits / (predicted + β² · true), which is F1 for β = 1. Classes, averages and
    thresholds are those of `Precision`.

    Parameters
    ----------
    beta : float
        β, above 0: above 1 for recall, below 1 for precision.
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
        If ``beta`` is no finite number above 0, or as for `Precision`.

    References
    ----------
    Van Rijsbergen (1979), "Information Retrieval", chapter 7.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import FBeta
    >>> y_pred = np.array([[0.9], [0.8], [0.1], [0.3]])
    >>> FBeta(2.0)(y_pred, np.array([[1], [0], [0], [0]])).__round__(4)
    0.8333
    """

    def __init__(
        self,
        beta: float,
        average: Average | None = "macro",
        threshold: float | None = None,
        *,
        multilabel: bool = False,
    ) -> None:
        super().__init__(average, threshold, multilabel=multilabel)
        self.beta = check.number("FBeta.__init__", "beta", beta, above=0)

    @property
    def name(self) -> str:
        """Name of the figure in a `History`: ``"f2_score"``."""
        return f"f{self.beta:g}_score"

    def _ratio(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        square = self.beta**2
        return (1 + square) * hits, predicted + square * true


class MeanIoU(_OfClasses):
    """The intersection over union, hits / (predicted + true − hits), and its mean.

    Of segmentations, each pixel is a position of its own. Also called the Jaccard index. Classes,
    averages and thresholds are those of `Precision`.

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

    References
    ----------
    Everingham et al. (2010), "The PASCAL visual object classes (VOC) challenge", eq. 4.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MeanIoU
    >>> y_pred = np.eye(2)[[[0, 1], [1, 1]]]
    >>> round(MeanIoU()(y_pred, np.array([[0, 0], [1, 1]])), 4)
    0.5833
    """

    @property
    def name(self) -> str:
        """Name of the figure in a `History`."""
        return "mean_iou"

    def _ratio(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return hits, predicted + true - hits


class Specificity(_OfClasses):
    """Of the samples that are not of a class, the share that was not called so.

    Classes and thresholds are those of `Precision`. A class that all samples are of has the
    figure 0; if it was predicted for all of them too, it is left out of a mean over the classes.

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
    >>> from layerkit import Specificity
    >>> Specificity()(np.array([[0.9], [0.8], [0.1], [0.3]]), np.array([[1], [0], [0], [1]]))
    0.5
    """

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> Array:
        """Count, by class, what was right, called so and is so of a no; see `Metric.total`."""
        predicted, true = self._marks(y_pred, y_true)
        return np.concatenate(
            [self._counts(~predicted, ~true, weight), count(true, weight)[None]], axis=0
        )

    def _ratio(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return hits, true
