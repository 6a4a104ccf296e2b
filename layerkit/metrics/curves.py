"""The area under curves over all thresholds, and the curves themselves, to be drawn."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.metrics.ranking import Average, AveragedRanking, Counts, RankingMetric

__all__ = ["AUC", "AveragePrecision", "PrecisionRecallCurve", "ROCCurve"]


class AUC(AveragedRanking):
    """The area under the ROC curve: how often a positive scores higher than a negative.

    Of all pairs of a positive and a negative sample, the share in which the positive's score is
    the larger one; equal scores count one half.

    With one output, its score is that of a yes. Of several, each class is told from all others by
    its own score, and with ``multilabel`` each label by its own; ``average`` is over these. A class
    of which all samples are, or none, has no figure (NaN), and is left out.

    Parameters
    ----------
    average : {"macro", "micro", "weighted"} or None
        Mean over the classes or labels; figure of all outputs together; mean over the classes,
        each weighted by how many samples it has. None is an array with the figure of each, for
        ``Trainer.evaluate(x, y, metrics=[...])``.
    n_thresholds : int, optional
        Number of thresholds from 0 to 1 at which to count, as Keras does, instead of keeping all
        scores: so much memory whatever the number of samples, and a figure that is near the exact
        one. Scores are then probabilities.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, outputs are taken as
        they are.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when called, as for `Accuracy`.

    References
    ----------
    Hanley & McNeil (1982), "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve"; Fawcett (2006), "An introduction to ROC analysis", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import AUC
    >>> AUC()(np.array([[0.1], [0.4], [0.35], [0.8]]), np.array([0, 0, 1, 1]))
    0.75
    """

    def __init__(
        self,
        average: Average | None = "macro",
        *,
        n_thresholds: int | None = None,
        multilabel: bool = False,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(average, n_thresholds, multilabel, from_logits)

    def _figure(self, thresholds: Array, positives: Array, negatives: Array) -> float:
        if not positives[-1] or not negatives[-1]:
            return math.nan
        before, steps = (np.diff(values, prepend=0.0) for values in (positives, negatives))
        area = float(steps @ (positives - before / 2))
        return area / (float(positives[-1]) * float(negatives[-1]))


class AveragePrecision(AveragedRanking):
    """The mean of the precision over the recall: Σ (R_k − R_{k−1}) P_k over the thresholds.

    P_k and R_k are precision and recall where all that scores at least the k-th largest score is
    called a yes: a step function under the precision-recall curve, without interpolation.

    With one output, its score is that of a yes. Of several, each class is told from all others by
    its own score, and with ``multilabel`` each label by its own; ``average`` is over these. A class
    without samples has the figure 0; with several classes it is left out of a mean, while of
    labels all count, as in scikit-learn.

    Parameters
    ----------
    average : {"macro", "micro", "weighted"} or None
        Mean over the classes or labels; figure of all outputs together; mean over the classes,
        each weighted by how many samples it has. None is an array with the figure of each, for
        ``Trainer.evaluate(x, y, metrics=[...])``.
    n_thresholds : int, optional
        Number of thresholds from 0 to 1 at which to count, as Keras does, instead of keeping all
        scores: so much memory whatever the number of samples, and a figure that is near the exact
        one. Scores are then probabilities.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, outputs are taken as
        they are.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when called, as for `Accuracy`.

    References
    ----------
    Manning, Raghavan & Schütze (2008), "Introduction to Information Retrieval", section 8.4;
    Davis & Goadrich (2006), "The relationship between precision-recall and ROC curves", for why
    the steps are not interpolated.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import AveragePrecision
    >>> y_pred = np.array([[0.1], [0.4], [0.35], [0.8]])
    >>> round(AveragePrecision()(y_pred, np.array([0, 0, 1, 1])), 4)
    0.8333
    """

    def __init__(
        self,
        average: Average | None = "macro",
        *,
        n_thresholds: int | None = None,
        multilabel: bool = False,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(average, n_thresholds, multilabel, from_logits)

    def _figure(self, thresholds: Array, positives: Array, negatives: Array) -> float:
        if not positives[-1]:
            return 0.0
        called = positives + negatives
        precision = positives / np.where(called == 0, 1, called)
        return float(np.diff(positives, prepend=0.0) @ precision) / float(positives[-1])


class _Curve(RankingMetric):
    """Base of the curves: an array for one output, a list of them for several."""

    is_figure = False

    def __init__(
        self,
        *,
        n_thresholds: int | None = None,
        multilabel: bool = False,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(n_thresholds, multilabel, from_logits)

    def result(self, total: Any, n_samples: int) -> Any:
        """Compute the points of the curve, or of each class's; see `Metric.result`."""
        parts = total if isinstance(total, list) else [total]
        if any(np.isnan(part).any() for part in parts):
            where = f"{type(self).__name__}.result"
            check.fail(where, "the predictions", "numbers", check.Said("nan"))
        curves = [self._points(*counts) for counts in self.counts(total)]
        return curves if len(curves) > 1 else curves[0]

    @abstractmethod
    def _points(self, thresholds: Array, positives: Array, negatives: Array) -> Array:
        """Return the points, of shape (3, n_points), from the largest threshold down."""


def _shares(values: Array) -> Array:
    """Return the share of all that each count is; NaN where there is nothing."""
    return values / values[-1] if values[-1] else np.full(len(values), math.nan)


def _from_none(counts: Counts) -> Counts:
    """Begin where nothing reaches the threshold."""
    thresholds, positives, negatives = counts
    if not positives[0] + negatives[0]:  # as counted thresholds do
        return counts
    return (
        np.append(math.inf, thresholds),
        np.append(0.0, positives),
        np.append(0.0, negatives),
    )


class ROCCurve(_Curve):
    """The ROC curve: the true positive rate over the false positive rate, for each threshold.

    An array of shape (3, n_points) with false positive rates, true positive rates and thresholds,
    from the largest threshold down; the first point is (0, 0). With several outputs, a list with
    the curve of each class or label against the others. `layerkit.plots.roc_curve` draws it; the
    area under it is `AUC`. A rate of nothing is NaN.

    A curve is no figure of a `History`: ``Trainer.evaluate(x, y, metrics=[ROCCurve()])`` computes
    it.

    Parameters
    ----------
    n_thresholds : int, optional
        Number of thresholds from 0 to 1 at which to count, as Keras does, instead of keeping all
        scores: so much memory whatever the number of samples, and a figure that is near the exact
        one. Scores are then probabilities.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, outputs are taken as
        they are.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when called, as for `Accuracy`.

    References
    ----------
    Fawcett (2006), "An introduction to ROC analysis", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import ROCCurve
    >>> curve = ROCCurve()(np.array([[0.1], [0.4], [0.35], [0.8]]), np.array([0, 0, 1, 1]))
    >>> print(curve)
    [[0.   0.   0.5  0.5  1.  ]
     [0.   0.5  0.5  1.   1.  ]
     [ inf 0.8  0.4  0.35 0.1 ]]
    """

    @property
    def name(self) -> str:
        """Name of the curve in the return value of `Trainer.evaluate`."""
        return "roc_curve"

    def _points(self, thresholds: Array, positives: Array, negatives: Array) -> Array:
        thresholds, positives, negatives = _from_none((thresholds, positives, negatives))
        return np.stack([_shares(negatives), _shares(positives), thresholds])


class PrecisionRecallCurve(_Curve):
    """The precision-recall curve: the precision over the recall, for each threshold.

    An array of shape (3, n_points) with recalls, precisions and thresholds, from the largest
    threshold down; the first point, where nothing is called a yes, is (0, 1). With several
    outputs, a list with the curve of each class or label against the others.
    `layerkit.plots.precision_recall_curve` draws it; the area of its steps is `AveragePrecision`.
    The recall of nothing is NaN.

    A curve is no figure of a `History`: ``Trainer.evaluate(x, y, metrics=[...])`` computes it.

    Parameters
    ----------
    n_thresholds : int, optional
        Number of thresholds from 0 to 1 at which to count, as Keras does, instead of keeping all
        scores: so much memory whatever the number of samples, and a figure that is near the exact
        one. Scores are then probabilities.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, outputs are taken as
        they are.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when called, as for `Accuracy`.

    References
    ----------
    Davis & Goadrich (2006), "The relationship between precision-recall and ROC curves".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import PrecisionRecallCurve
    >>> y_pred = np.array([[0.1], [0.4], [0.35], [0.8]])
    >>> curve = PrecisionRecallCurve()(y_pred, np.array([0, 0, 1, 1]))
    >>> print(curve[:2].round(2))
    [[0.   0.5  0.5  1.   1.  ]
     [1.   1.   0.5  0.67 0.5 ]]
    """

    def _points(self, thresholds: Array, positives: Array, negatives: Array) -> Array:
        thresholds, positives, negatives = _from_none((thresholds, positives, negatives))
        called = positives + negatives
        precision = np.where(called == 0, 1.0, positives / np.where(called == 0, 1, called))
        return np.stack([_shares(positives), precision, thresholds])
