"""Metrics: figures that are watched in training, but not trained on.

A metric keeps no state: it gives a total for each batch, and the figure for the sum of the
totals. So an epoch's figure is exact whatever the batch sizes, and one metric may serve
training and evaluation at once.
"""

import re
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from layerkit import _validation as check
from layerkit._repr import ConstructorRepr
from layerkit._validation import Array, Shape
from layerkit.errors import ShapeError

__all__ = ["Accuracy", "MeanAbsoluteError", "Metric", "SquaredDistance"]


class Metric(ConstructorRepr, ABC):
    """Base of the metrics: a subclass writes `total`, and `result` if it is not the mean.

    Attributes
    ----------
    name : str
        What `History` calls the figure; unless set, the class's name in snake_case.
    greater_is_better : bool
        Which way `StopAt` looks.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit.metrics import Metric
    >>> class WorstError(Metric):
    ...     def total(self, y_pred, y_true):
    ...         return abs(y_pred - y_true).max(axis=1).sum()
    >>> WorstError().name
    'worst_error'
    >>> WorstError()(np.array([[1.0, 2.0], [0.0, 0.0]]), np.zeros((2, 2)))
    1.0
    """

    greater_is_better: bool = False

    @property
    def name(self) -> str:
        """What `History` calls the figure."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @abstractmethod
    def total(self, y_pred: Array, y_true: Array) -> Any:
        """Add something up over a batch: a number or an array, which is summed over batches."""

    def result(self, total: Any, n_samples: int) -> float:
        """Compute the figure from the sum of the totals; unless overridden, the mean."""
        return float(total) / n_samples

    def check_targets(self, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
        """Refuse targets that don't fit the outputs: unless overridden, those of other shape."""
        wanted = (*y_true_shape[:1], *output_shape)
        if y_true_shape != wanted:
            got = check.Said(f"{y_true_shape}, which {type(self).__name__} can't take")
            check.fail(where, "y_true", f"of shape {wanted}", got, error=ShapeError)

    def __call__(self, y_pred: Any, y_true: Any) -> float:
        """Compute the figure of one set of predictions.

        Parameters
        ----------
        y_pred : array_like of shape (n_samples, *output_shape)
            What the model predicts.
        y_true : array_like
            The targets.

        Returns
        -------
        float
            The figure.
        """
        where = f"{type(self).__name__}.__call__"
        y_pred, y_true = check.predictions(where, y_pred, y_true)
        self.check_targets(where, y_true.shape, y_pred.shape[1:])
        return self.result(self.total(y_pred, y_true), len(y_pred))


class SquaredDistance(Metric):
    """Σ ‖y_pred − y_true‖² over the samples: a sum, not a mean.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SquaredDistance
    >>> SquaredDistance()(np.array([[1.0, 2.0], [0.0, 3.0]]), np.zeros((2, 2)))
    14.0
    """

    def total(self, y_pred: Array, y_true: Array) -> float:
        """Sum the squares of a batch; see `Metric.total`."""
        error = np.subtract(y_pred, y_true).ravel()
        return float(error.dot(error))

    def result(self, total: float, n_samples: int) -> float:
        """Give the sum as it is; see `Metric.result`."""
        return total


class MeanAbsoluteError(Metric):
    """The mean of |y_pred − y_true| over outputs and samples.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MeanAbsoluteError
    >>> MeanAbsoluteError()(np.array([[1.0, -2.0]]), np.zeros((1, 2)))
    1.5
    """

    def total(self, y_pred: Array, y_true: Array) -> float:
        """Sum the samples' mean errors; see `Metric.total`."""
        return float(np.abs(y_pred - y_true).sum()) * len(y_pred) / y_pred.size


class Accuracy(Metric):
    """The share of samples whose predicted class is right.

    With several outputs a sample's class is that of the largest; targets are class indices, of
    shape (n_samples,), or one-hot rows. With one output, the class is 1 where it is at least
    ``threshold``.

    Parameters
    ----------
    threshold : float
        For a single output: 0.5 suits probabilities, 0 suits logits (`SigmoidCrossEntropy`).

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
        """Take class indices too; see `Metric.check_targets`."""
        if len(output_shape) != 1 or len(y_true_shape) != 1:
            super().check_targets(where, y_true_shape, output_shape)

    def total(self, y_pred: Array, y_true: Array) -> int:
        """Count the samples that are right; see `Metric.total`."""
        if y_pred[0].size == 1:
            right = (y_pred.reshape(-1) >= self.threshold) == (y_true.reshape(-1) >= 0.5)
        else:
            classes = y_true if y_true.ndim == 1 else y_true.argmax(axis=-1)
            right = y_pred.argmax(axis=-1) == classes
        return int(np.count_nonzero(right))
