"""Metrics of a whole confusion matrix: how far predictions and truth agree."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.metrics.classes import ThresholdMetric

__all__ = ["BalancedAccuracy", "CohenKappa", "MatthewsCorrelation"]


class _OfMatrix(ThresholdMetric):
    """Computes its figure from the confusion matrix; of labels, the mean of their figures."""

    greater_is_better = True

    def __init__(self, threshold: float | None = None, *, multilabel: bool = False) -> None:
        super().__init__(threshold, multilabel)

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> Array:
        """Count how often each class was taken for each; see `Metric.total`."""
        return self.pairs(y_pred, y_true, weight).astype(np.float64)

    def result(self, total: Any, n_samples: int) -> float:
        """Compute the figure from the counts; see `Metric.result`."""
        if np.isnan(total).any():
            return math.nan
        matrices = total if self.multilabel else total[None]
        figures = [self._figure(matrix) for matrix in matrices]
        known = [figure for figure in figures if not math.isnan(figure)]
        return float(np.mean(known)) if known else math.nan

    @abstractmethod
    def _figure(self, matrix: Array) -> float:
        """Return the figure of a matrix, NaN if it has none."""


class BalancedAccuracy(_OfMatrix):
    """The mean over the classes of the share of their samples that is right.

    So a rare class counts as much as a frequent one, and a constant prediction has 1 / n_classes.
    Classes without samples are left out. Classes, targets and thresholds are those of `Accuracy`;
    with ``multilabel``, the figure is the mean over the labels.

    Parameters
    ----------
    threshold : float, optional
        For a single output or ``multilabel``: number that an output reaches for a yes. By default
        the one that suits the loss, as for `Accuracy`.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    adjusted : bool
        Whether to scale the figure so that chance has 0, and 1 stays 1; NaN for a single class.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when called, as for `Accuracy`.

    References
    ----------
    Brodersen et al. (2010), "The balanced accuracy and its posterior distribution", eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import BalancedAccuracy
    >>> BalancedAccuracy()(np.array([[0.9], [0.8], [0.7], [0.2]]), np.array([1, 1, 0, 0]))
    0.75
    """

    def __init__(
        self, threshold: float | None = None, *, multilabel: bool = False, adjusted: bool = False
    ) -> None:
        super().__init__(threshold, multilabel=multilabel)
        self.adjusted = check.boolean("BalancedAccuracy.__init__", "adjusted", adjusted)

    def _figure(self, matrix: Array) -> float:
        true = matrix.sum(axis=1)
        seen = true != 0
        figure = float((matrix.diagonal()[seen] / true[seen]).mean())
        if self.adjusted:
            n_classes = int(seen.sum())
            return (figure - 1 / n_classes) / (1 - 1 / n_classes) if n_classes > 1 else math.nan
        return figure


class MatthewsCorrelation(_OfMatrix):
    """The correlation of predicted and true classes, from −1 to 1, where 0 is chance.

    For two classes (TP · TN − FP · FN) / √((TP + FP)(TP + FN)(TN + FP)(TN + FN)), also called φ;
    for more, Gorodkin's R_K. 0 if only one class was predicted, or only one is there. Classes,
    targets and thresholds are those of `Accuracy`; with ``multilabel``, the figure is the mean
    over the labels.

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
        If an argument is of the wrong kind; when called, as for `Accuracy`.

    References
    ----------
    Matthews (1975), "Comparison of the predicted and observed secondary structure of T4 phage
    lysozyme"; Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation
    coefficient", eq. 8.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MatthewsCorrelation
    >>> y_pred = np.array([[0.9], [0.8], [0.7], [0.2]])
    >>> round(MatthewsCorrelation()(y_pred, np.array([1, 1, 0, 0])), 4)
    0.5774
    """

    def _figure(self, matrix: Array) -> float:
        matrix = matrix / matrix.sum()  # of shares, no product overflows
        true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
        if np.count_nonzero(true) < 2 or np.count_nonzero(predicted) < 2:
            return 0.0
        # 1 − Σ p², but of small shares to all digits.
        spreads = [float(shares @ (1 - shares)) for shares in (true, predicted)]
        covariance = float(matrix.trace() - true @ predicted)
        return covariance / math.sqrt(spreads[0] * spreads[1])


class CohenKappa(_OfMatrix):
    """The share of agreement beyond that of chance: 1 − observed / expected disagreement.

    Expected is what independent predictions with the same frequencies of classes would have. NaN
    if they could not disagree, as all that is there and predicted is one class. Classes, targets
    and thresholds are those of `Accuracy`; with ``multilabel``, the figure is the mean over the
    labels.

    Parameters
    ----------
    weights : {"linear", "quadratic"}, optional
        For classes that have an order: how much a disagreement counts by the distance of the
        classes, itself or squared. By default all disagreements count alike.
    threshold : float, optional
        For a single output or ``multilabel``: number that an output reaches for a yes. By default
        the one that suits the loss, as for `Accuracy`.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when called, as for `Accuracy`.

    References
    ----------
    Cohen (1960), "A coefficient of agreement for nominal scales", eq. 1; Cohen (1968), "Weighted
    kappa", eq. 6.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import CohenKappa
    >>> CohenKappa()(np.array([[0.9], [0.8], [0.7], [0.2]]), np.array([1, 1, 0, 0]))
    0.5
    """

    def __init__(
        self,
        weights: Literal["linear", "quadratic"] | None = None,
        threshold: float | None = None,
        *,
        multilabel: bool = False,
    ) -> None:
        super().__init__(threshold, multilabel=multilabel)
        self.weights = weights
        if weights is not None:
            check.choice("CohenKappa.__init__", "weights", weights, ("linear", "quadratic"))

    def _figure(self, matrix: Array) -> float:
        matrix = matrix / matrix.sum()
        names = np.arange(len(matrix))
        distances = np.abs(names[:, None] - names).astype(np.float64)
        if self.weights is None:
            distances = np.minimum(distances, 1)
        elif self.weights == "quadratic":
            distances = np.square(distances)
        expected = float(matrix.sum(axis=1) @ distances @ matrix.sum(axis=0))
        return 1 - float((distances * matrix).sum()) / expected if expected else math.nan
