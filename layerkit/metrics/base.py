"""Metrics: figures that are watched in training, but not trained on.

A metric keeps no state: it computes a total for each batch, and the figure from all totals put
together. So an epoch's figure is exact whatever the batch sizes, and one metric may serve
training and evaluation at once.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.repr import ConstructorRepr
from layerkit._support.samples import name_of
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError

__all__ = ["Metric"]


class Metric(ConstructorRepr, ABC):
    """Base of the metrics: a subclass writes `total`, and `result` if it is not the mean.

    A total is a number, an array of numbers, a list of arrays, or a tuple of totals. Those of all
    batches, and of all ranks, are added up, in double precision; a metric whose totals can't be
    added overrides `merge`.

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
    takes_weight : bool
        Whether its `total` takes a third argument, ``weight``, of shape (n_samples,): then
        `Weighted` can weigh the samples.
    is_weighted : bool
        Whether it is to be handed the weights of the samples, as `Weighted` is.

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
    takes_weight: bool = False
    is_weighted: bool = False

    @property
    def name(self) -> str:
        """Name of the figure in a `History`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @abstractmethod
    def total(self, y_pred: Array, y_true: Any) -> Any:
        """Compute a sum over the batch, to be put together with those of other batches.

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

    def merge(self, total: Any, other: Any) -> Any:
        """Put together the totals of two sets of samples; unless overridden, their sum.

        Parameters
        ----------
        total, other : float or ndarray
            Totals of batches, or of the batches before put together; each may be 0.0, which
            stands for no samples.

        Returns
        -------
        float or ndarray
            Total of both, in a new array if it is one.
        """
        return total + other

    def result(self, total: Any, n_samples: int) -> float:
        """Compute the figure from the total of all samples; unless overridden, the mean.

        Parameters
        ----------
        total : float or ndarray
            Totals of all batches, put together.
        n_samples : int
            Number of samples that it is over; under `Weighted`, the sum of their weights.

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

    def check_values(self, where: str, y_true: Any, output_shape: Shape) -> None:
        """Refuse targets that it can't judge, of a shape that fits; unless overridden, none.

        Parameters
        ----------
        where : str
            Name of the call, for errors.
        y_true : ndarray
            Targets, as the user passes them.
        output_shape : tuple of int
            Shape of one sample's predictions; None stands for any length.

        Raises
        ------
        ArgumentError
            If they hold what it can't judge, such as the label of no class.
        """

    def for_predictions(self, where: str, predictions: Any) -> "Metric":
        """Return the metric to compute beside a loss; unless overridden, the metric itself.

        Parameters
        ----------
        where : str
            Name of the call, for errors.
        predictions : {"logits", "class_logits", "probabilities", "scores"} or None
            Kind of the predictions, `Loss.predictions`; of several outputs, a dict by their names.

        Returns
        -------
        Metric
            A metric of the same name.

        Raises
        ------
        ArgumentError
            If it can't judge predictions of this kind.
        """
        return self

    def hides_nan(self, y_pred: Any) -> bool:
        """Return whether NaN among the predictions leaves no trace; unless overridden, False.

        A direct call refuses such predictions, and `Trainer.evaluate` returns NaN.

        Parameters
        ----------
        y_pred : ndarray of shape (n_samples, *output_shape)
            Predictions.

        Returns
        -------
        bool
            Whether there is such a NaN.
        """
        return False

    @ignoring("under")
    def __call__(self, y_pred: Any, y_true: Any = None) -> float:
        """Compute the figure of one set of predictions, checked and cast as in `Trainer.evaluate`.

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

        Raises
        ------
        ShapeError
            If the targets have another shape than the metric takes.
        ArgumentError
            If there are NaN or infinities among the targets, or what the metric can't judge.
        """
        where = f"{type(self).__name__}.__call__"
        y_pred, y_true = check.predictions(where, y_pred, y_true if self.takes_targets else y_pred)
        y_pred = check.as_floats(y_pred)
        if self.takes_targets:
            self.check_targets(where, y_true.shape, y_pred.shape[1:])
            check.finite(where, "y_true", y_true)
            self.check_values(where, y_true, y_pred.shape[1:])
        if self.hides_nan(y_pred):
            bad = int(np.argwhere(np.isnan(y_pred))[0, 0])
            check.fail(where, "y_pred", "numbers", check.Said(f"nan in {name_of(bad)}"))
        targets = check.as_wide(y_true) if self.takes_targets else None
        figure = self.result(self.total(y_pred, targets), len(y_pred))
        if not self.is_figure:
            return figure
        return check.one_float(f"{type(self).__name__}.result", "the figure", figure)
