"""Metrics of predicted probabilities: how good they are, and whether they mean what they say."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.metrics.classes import classes_of
from layerkit.metrics.scores import ScoreMetric, log_softmax
from layerkit.metrics.weights import at_positions, mean_sum

__all__ = ["Brier", "CalibrationError", "LogLoss"]


class LogLoss(ScoreMetric):
    """The mean of −log p, with p the predicted probability of what is true.

    With several outputs, p is that of the true class; with one, or with ``multilabel``, of each
    yes or no, and the figure is the mean over the outputs. A probability of 0 or 1 counts as
    2.2e-16 or 1 less that, as in scikit-learn; of logits, −log p is computed exactly. Targets are
    those of `Accuracy`. For the cross-entropy of soft targets, see `LossMetric`.

    Parameters
    ----------
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, they are probabilities.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when called, as for `Accuracy`, and for outputs that
        are no probabilities.

    References
    ----------
    Bishop (2006), "Pattern Recognition and Machine Learning", eq. 4.90 and 4.108.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LogLoss
    >>> round(LogLoss()(np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([0, 1])), 4)
    0.3993
    """

    def __init__(self, *, multilabel: bool = False, from_logits: bool | None = None) -> None:
        super().__init__(multilabel, from_logits)

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> float:
        """Sum the losses of the samples; see `Metric.total`."""
        if self.excludes(y_pred):
            logs = log_softmax(y_pred.astype(np.float64)) if self.from_logits else None
            if logs is None:
                logs = _logs(self.probabilities(y_pred)).reshape(y_pred.shape)
            own = np.take_along_axis(logs, classes_of(y_pred, y_true)[..., None], axis=-1)
            return mean_sum(-own, weight)
        yes = self.marks(y_pred, y_true)
        if self.from_logits:
            outputs = y_pred.reshape(yes.shape).astype(np.float64)
            losses = np.logaddexp(0, np.where(yes, -outputs, outputs))
        else:
            p = self.probabilities(y_pred)
            losses = -_logs(np.where(yes, p, 1 - p))
        return mean_sum(losses.reshape(y_pred.shape), weight)


def _logs(probabilities: Array) -> Array:
    tiny = np.finfo(np.float64).eps
    logs: Array = np.log(np.clip(probabilities, tiny, 1 - tiny))
    return logs


class Brier(ScoreMetric):
    """The Brier score: the mean of (p − y)², with p the predicted probability and y 0 or 1.

    With one output, or with ``multilabel``, the mean over the outputs. With several, the sum over
    the classes, from 0 to 2; of two classes, half of it, which is what one output has. Targets
    are those of `Accuracy`.

    Parameters
    ----------
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, they are probabilities.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when called, as for `Accuracy`, and for outputs that
        are no probabilities.

    References
    ----------
    Brier (1950), "Verification of forecasts expressed in terms of probability", eq. 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Brier
    >>> Brier()(np.array([[0.5], [1.0]]), np.array([1, 1]))
    0.125
    """

    def __init__(self, *, multilabel: bool = False, from_logits: bool | None = None) -> None:
        super().__init__(multilabel, from_logits)

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> float:
        """Sum the squares of the samples; see `Metric.total`."""
        squares = np.square(self.probabilities(y_pred) - self.marks(y_pred, y_true))
        n_classes = y_pred.shape[-1]
        factor = n_classes if self.excludes(y_pred) and n_classes > 2 else 1
        return mean_sum(squares.reshape(y_pred.shape), weight) * factor


class CalibrationError(ScoreMetric):
    """How far the predicted probabilities are from how often they are right, over bins of them.

    Σ over the bins of n_bin / n · |mean probability − share that is right|: the expected
    calibration error, ECE. With several outputs, the probability is that of the predicted class,
    and right is that class; with one, or with ``multilabel``, it is that of a yes, and the figure
    is the mean over the outputs. The bins are of equal width, each with its upper end and not its
    lower one, but for 0.

    Parameters
    ----------
    n_bins : int
        Number of bins from 0 to 1.
    norm : {"l1", "l2", "max"}
        Mean of the distances, root of the mean of their squares, or the largest of them.
    multilabel : bool
        Whether each output is a label of its own, so that a sample may have several or none.
    from_logits : bool, optional
        Whether outputs are logits, of which a sigmoid or softmax makes probabilities. By default
        as `Loss.predictions` of the trainer's loss says; in a direct call, they are probabilities.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when called, as for `Accuracy`, and for outputs that
        are no probabilities.

    References
    ----------
    Guo et al. (2017), "On calibration of modern neural networks", eq. 3 and 5; Kumar et al.
    (2019), "Verified uncertainty calibration", definition 2.1, for the others.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import CalibrationError
    >>> CalibrationError()(np.array([[0.75], [0.75], [0.75], [0.75]]), np.array([1, 1, 0, 0]))
    0.25
    """

    def __init__(
        self,
        n_bins: int = 15,
        norm: Literal["l1", "l2", "max"] = "l1",
        *,
        multilabel: bool = False,
        from_logits: bool | None = None,
    ) -> None:
        where = "CalibrationError.__init__"
        self.n_bins = check.integer(where, "n_bins", n_bins, minimum=1)
        self.norm = check.choice(where, "norm", norm, ("l1", "l2", "max"))
        super().__init__(multilabel, from_logits)

    def total(self, y_pred: Array, y_true: Array, weight: Array | None = None) -> Array:
        """Sum, by bin, weights, probabilities and what is right; see `Metric.total`."""
        p, right = self.probabilities(y_pred), self.marks(y_pred, y_true)
        if self.excludes(y_pred):
            best = p.argmax(axis=1)[:, None]
            p, right = (np.take_along_axis(values, best, axis=1) for values in (p, right))
        weights = at_positions(weight, len(p))
        # Inner ends alone: what lies on one belongs to the bin below, and 0 to the first.
        ends = np.linspace(0, 1, self.n_bins + 1)[1:-1]
        sums = np.empty((3, p.shape[1], self.n_bins))
        for column, (own, is_right) in enumerate(zip(p.T, right.T, strict=True)):
            bins = np.searchsorted(ends, own)
            for row, values in enumerate((weights, weights * own, weights * is_right)):
                sums[row, column] = np.bincount(bins, values, minlength=self.n_bins)
        return sums

    def result(self, total: Any, n_samples: int) -> float:
        """Compare the means of each bin; see `Metric.result`."""
        weights, probabilities, right = total
        distances = np.abs(probabilities - right) / np.where(weights == 0, 1, weights)
        shares = weights / weights.sum(axis=1, keepdims=True)
        if self.norm == "max":
            figures = distances.max(axis=1)
        elif self.norm == "l2":
            figures = np.sqrt((shares * np.square(distances)).sum(axis=1))
        else:
            figures = (shares * distances).sum(axis=1)
        return float(figures.mean()) if not np.isnan(total).any() else math.nan
