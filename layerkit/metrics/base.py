"""Metrics: figures that are watched in training, but not trained on.

A metric keeps no state: it computes a total for each batch, and the figure from the sum of the
totals. So an epoch's figure is exact whatever the batch sizes, and one metric may serve
training and evaluation at once.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError

__all__ = ["Metric"]


class Metric(ConstructorRepr, ABC):
    """Base of the metrics: a subclass writes `total`, and `result` if it is not the mean.

    Attributes
    ----------
    name : str
        Name of the figure in a `History`; unless set, the class's name in snake_case.
    greater_is_better : bool
        Whether a larger figure is a better one; callbacks such as `StopAt` ask.
    is_figure : bool
        Whether it gives one number, which a `History` can hold.
    takes_targets : bool
        Whether it compares predictions with targets; if not, ``y_true`` may be None.

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
    takes_targets: bool = True

    @property
    def name(self) -> str:
        """Name of the figure in a `History`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @abstractmethod
    def total(self, y_pred: Array, y_true: Any) -> Any:
        """Compute a sum over the batch, to be added up over batches.

        Parameters
        ----------
        y_pred : ndarray of shape (n_samples, *output_shape)
            Predictions.
        y_true : ndarray, or None for a metric without targets
            Targets.

        Returns
        -------
        float or ndarray
            Sum over the samples of the batch.
        """

    def result(self, total: Any, n_samples: int) -> float:
        """Compute the figure from the sum of the totals; unless overridden, the mean.

        Parameters
        ----------
        total : float or ndarray
            Sum of the totals of all batches.
        n_samples : int
            Number of samples that it is over.

        Returns
        -------
        float
            Figure over all samples.
        """
        return float(total) / n_samples

    def check_targets(self, where: str, y_true_shape: Shape, output_shape: Shape) -> None:
        """Refuse targets that don't fit the outputs: unless overridden, those of other shape.

        Parameters
        ----------
        where : str
            Name of the call, for errors.
        y_true_shape : tuple of int
            Shape of the targets.
        output_shape : tuple of int
            Shape of one sample's predictions; None stands for any length.

        Raises
        ------
        ArgumentError
            If the model has several outputs, whose shapes are a dict.
        ShapeError
            If the targets have another shape.
        """
        if isinstance(output_shape, Mapping):
            name = next(iter(output_shape))
            remedy = f"Write ForOutput({name!r}, {self!r})."
            check.fail(where, "metrics", "each for one output of the model", self, remedy)
        wanted = (*y_true_shape[:1], *output_shape)
        if not check.fits(y_true_shape, wanted):
            got = check.Said(f"{y_true_shape}, which {type(self).__name__} can't take")
            check.fail(where, "y_true", f"of shape {wanted}", got, error=ShapeError)

    @ignoring("under")
    def __call__(self, y_pred: Any, y_true: Any = None) -> float:
        """Compute the figure of one set of predictions.

        Parameters
        ----------
        y_pred : array_like of shape (n_samples, *output_shape)
            Predictions.
        y_true : array_like
            Targets; None for a metric that takes none.

        Returns
        -------
        float
            Figure over all samples.
        """
        where = f"{type(self).__name__}.__call__"
        if not self.takes_targets:
            y_pred, _ = check.predictions(where, y_pred, y_pred)
            return self.result(self.total(y_pred, None), len(y_pred))
        y_pred, y_true = check.predictions(where, y_pred, y_true)
        self.check_targets(where, y_true.shape, y_pred.shape[1:])
        return self.result(self.total(y_pred, y_true), len(y_pred))


def totals(
    metrics: Sequence[Metric], y_pred: Any, y_true: Any, weight: Array | None = None
) -> tuple[list[Any], int]:
    """Compute the totals of a batch, and the number of samples that they are over.

    Weights of samples are not looked at. Where positions have weights, of shape
    (n_samples, *positions), those that weigh something count like samples of their own, and the
    others, such as padding, don't.

    Parameters
    ----------
    metrics : sequence of Metric
        Metrics to compute.
    y_pred : ndarray of shape (n_samples, *output_shape), or a dict of such
        Predictions.
    y_true : ndarray, dict of ndarray or None
        Targets.
    weight : ndarray, optional
        Weights of the samples or positions.

    Returns
    -------
    tuple of list and int
        Total of each metric, and the number of samples or positions.
    """
    if weight is None or weight.ndim == 1:
        n_samples = len(next(iter(y_pred.values())) if isinstance(y_pred, Mapping) else y_pred)
        return [metric.total(y_pred, y_true) for metric in metrics], n_samples
    counts = weight != 0
    n_counted = int(counts.sum())
    if not n_counted:
        return [0.0] * len(metrics), 0
    y_pred, y_true = _counted(y_pred, counts), _counted(y_true, counts)
    return [metric.total(y_pred, y_true) for metric in metrics], n_counted


def _counted(values: Any, counts: Array) -> Any:
    """Select the positions that count, one after the other, of an array or a dict of arrays."""
    if values is None:
        return None
    if isinstance(values, Mapping):
        return {name: _counted(array, counts) for name, array in values.items()}
    taken = values[counts]
    # A number for each position is an output of one number; a class stays a class.
    is_number = taken.ndim == 1 and values.dtype.kind == "f"
    return taken[:, None] if is_number else taken
