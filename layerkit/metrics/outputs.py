"""`ForOutput`: a metric of one output of a model that has several."""

from collections.abc import Mapping
from typing import Any

from layerkit._support import validation as check
from layerkit.errors import ShapeError
from layerkit.metrics.base import Metric

__all__ = ["ForOutput"]


class ForOutput(Metric):
    """A metric of one of a model's named outputs, such as the accuracy of ``"kind"``.

    Parameters
    ----------
    output : str
        Name of the output.
    metric : Metric
        Metric to compute for it; `History` calls the figure ``"kind_accuracy"``.

    Raises
    ------
    ArgumentError
        If the name is not a text, or the metric is not one.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Accuracy, ForOutput
    >>> metric = ForOutput("kind", Accuracy())
    >>> metric.name
    'kind_accuracy'
    >>> y_pred = {"kind": np.array([[0.1, 0.9], [0.8, 0.2]]), "size": np.zeros((2, 1))}
    >>> metric(y_pred, {"kind": np.array([1, 1])})
    0.5
    """

    def __init__(self, output: str, metric: Metric) -> None:
        where = "ForOutput.__init__"
        if not isinstance(output, str) or not output:
            check.fail(where, "output", "the name of an output of the model", output)
        self.output = output
        self.metric = check.instance(where, "metric", metric, Metric)
        self.greater_is_better = metric.greater_is_better
        self.is_figure = metric.is_figure
        self.takes_targets = metric.takes_targets
        self.is_weighted = metric.is_weighted

    @property
    def name(self) -> str:
        """Name of the figure in a `History`: ``"kind_accuracy"``."""
        return f"{self.output}_{self.metric.name}"

    def _own(self, arrays: Any) -> Any:
        return arrays[self.output] if self.takes_targets else None

    def total(self, y_pred: Any, y_true: Any, weight: Any = None) -> Any:
        """Compute the metric's total for the output; see `Metric.total`."""
        given = (y_pred[self.output], self._own(y_true))
        if self.is_weighted:
            weighted: Any = self.metric
            return weighted.total(*given, weight)
        return self.metric.total(*given)

    def merge(self, total: Any, other: Any) -> Any:
        """Put together the metric's totals; see `Metric.merge`."""
        return self.metric.merge(total, other)

    def result(self, total: Any, n_samples: int) -> Any:
        """Compute the metric's figure; see `Metric.result`."""
        return self.metric.result(total, n_samples)

    def check_targets(self, where: str, y_true_shape: Any, output_shape: Any) -> None:
        """Refuse targets that don't fit the output; see `Metric.check_targets`.

        Both shapes are dicts, by the outputs' names.
        """
        if not isinstance(output_shape, Mapping):
            got = check.Said(f"one output of shape {output_shape}")
            remedy = f"Pass the metric itself: {self.metric!r}."
            check.fail(where, "the model's output", "a dict", got, remedy, error=ShapeError)
        argument = f"the output of {self!r}"
        for shapes in (output_shape, y_true_shape) if self.takes_targets else (output_shape,):
            if self.output not in shapes:
                names = ", ".join(map(repr, shapes))
                check.fail(where, argument, f"one of {names}", self.output)
        shape = self._own(y_true_shape)
        self.metric.check_targets(where, shape, output_shape[self.output])

    def check_values(self, where: str, y_true: Any, output_shape: Any) -> None:
        """Refuse targets of the output that can't be judged; see `Metric.check_values`."""
        self.metric.check_values(where, y_true[self.output], output_shape[self.output])

    def for_predictions(self, where: str, predictions: Any) -> Metric:
        """Return the one whose metric suits the output's loss; see `Metric.for_predictions`."""
        own = predictions.get(self.output) if isinstance(predictions, Mapping) else predictions
        metric = self.metric.for_predictions(where, own)
        return self if metric is self.metric else ForOutput(self.output, metric)

    def hides_nan(self, y_pred: Any) -> bool:
        """Return whether NaN among the output's predictions is hidden; see `Metric.hides_nan`."""
        return self.metric.hides_nan(y_pred[self.output])

    def __call__(self, y_pred: Any, y_true: Any = None) -> Any:
        """Compute the figure of one set of predictions.

        Parameters
        ----------
        y_pred : dict of str to array_like of shape (n_samples, *output_shape)
            Predictions, by the outputs' names.
        y_true : dict of str to array_like
            Targets, by the outputs' names.

        Returns
        -------
        float
            Figure over all samples.
        """
        for argument, arrays in (("y_pred", y_pred), ("y_true", y_true)):
            if argument == "y_true" and not self.takes_targets:
                continue
            if not isinstance(arrays, Mapping) or self.output not in arrays:
                wanted = f"a dict of arrays with {self.output!r} in it"
                check.fail("ForOutput.__call__", argument, wanted, arrays)
        return self.metric(y_pred[self.output], self._own(y_true))
