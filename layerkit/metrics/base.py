"""Metrics: figures that are watched in training, but not trained on.

A metric keeps no state: it gives a total for each batch, and the figure for the sum of the
totals. So an epoch's figure is exact whatever the batch sizes, and one metric may serve
training and evaluation at once.
"""

import re
from abc import ABC, abstractmethod
from typing import Any

from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError

__all__ = ["Metric"]


class Metric(ConstructorRepr, ABC):
    """Base of the metrics: a subclass writes `total`, and `result` if it is not the mean.

    Attributes
    ----------
    name : str
        What `History` calls the figure; unless set, the class's name in snake_case.
    greater_is_better : bool
        Which way `StopAt` looks.
    is_figure : bool
        Whether it gives one number, which a `History` can hold.

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
    is_figure: bool = True

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
