"""`Losses`: the loss of a model of several named outputs, a weighted sum of one loss for each."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.losses.base import Loss, mean_over_positions

__all__ = ["Losses"]


class Losses(Loss):
    """Σ weight · loss over the outputs of a model, each output with a loss of its own.

    Predictions and targets are dicts of arrays, by the outputs' names; the gradient is a dict as
    well. Weights of samples (``sample_weight`` in `Trainer.fit`) apply to each of the losses.

    Parameters
    ----------
    losses : dict of str to Loss
        Loss of each output, by its name.
    weights : dict of str to float, optional
        Factor of each loss in the sum, at least 0; 1 for an output that is not named.

    Raises
    ------
    ArgumentError
        If there is no loss, an object that is not one, or a weight without a loss; by
        `check_targets`, for targets that are missing, and for names that are unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Losses, MeanSquaredError, SoftmaxCrossEntropy
    >>> losses = {"kind": SoftmaxCrossEntropy(), "size": MeanSquaredError()}
    >>> loss = Losses(losses, weights={"size": 0.5})
    >>> y_pred = {"kind": np.zeros((1, 2)), "size": np.array([[3.0]])}
    >>> y_true = {"kind": np.array([1]), "size": np.array([[1.0]])}
    >>> round(loss.value(y_pred, y_true), 4)
    2.6931
    >>> loss.parts(y_pred, y_true)["size"]
    4.0
    >>> loss.gradient(y_pred, y_true)["size"]
    array([[2.]])
    """

    def __init__(
        self, losses: Mapping[str, Loss], *, weights: Mapping[str, float] | None = None
    ) -> None:
        where = "Losses.__init__"
        if not isinstance(losses, Mapping) or not losses:
            remedy = 'Write Losses({"kind": SoftmaxCrossEntropy(), "size": MeanSquaredError()}).'
            check.fail(where, "losses", "a dict of at least one loss", losses, remedy)
        self.losses = {
            name: check.instance(where, f"losses[{name!r}]", loss, Loss)
            for name, loss in losses.items()
        }
        if weights is not None and not isinstance(weights, Mapping):
            check.fail(where, "weights", "a dict of numbers, or None", weights)
        for name in weights or {}:
            if name not in self.losses:
                check.fail(where, "weights", f"for {_listed(self.losses)} alone", name)
        self.weights = None if weights is None else {
            name: check.number(where, f"weights[{name!r}]", weight, minimum=0)
            for name, weight in weights.items()
        }  # fmt: skip
        self.takes_targets = any(loss.takes_targets for loss in self.losses.values())
        self.predictions = {name: loss.predictions for name, loss in self.losses.items()}

    def _each(self, y_pred: Any, y_true: Any) -> Iterator[tuple[str, Loss, float, Any, Any]]:
        """List each output: its name, loss, factor, predictions and targets."""
        weights = self.weights or {}
        for name, loss in self.losses.items():
            targets = y_true[name] if loss.takes_targets else None
            yield name, loss, weights.get(name, 1.0), y_pred[name], targets

    def _check_names(self, method: str, y_pred: Any, y_true: Any) -> None:
        where = f"Losses.{method}"
        _check_mapping(where, "y_pred", y_pred)
        _check_outputs(where, self.losses, y_pred)
        self._check_target_names(where, y_true, y_pred)

    def _check_target_names(self, where: str, y_true: Any, outputs: Any) -> None:
        """Refuse targets without a name that is needed, or with one that is unknown."""
        if y_true is None and not self.takes_targets:
            return
        _check_mapping(where, "y_true", y_true)
        needed = [name for name, loss in self.losses.items() if loss.takes_targets]
        missing = [name for name in needed if name not in y_true]
        if missing:
            got = check.Said(f"none for {_listed(missing)}")
            check.fail(where, "y_true", f"given for {_listed(needed)}", got)
        for name in y_true:
            if name not in outputs:
                check.fail(where, "y_true", f"for {_listed(outputs)} alone", name)

    def parts(self, y_pred: Any, y_true: Any) -> dict[str, float]:
        """Compute the loss of each output, before it is weighted.

        Parameters
        ----------
        y_pred : dict of str to ndarray of shape (n_samples, *output_shape)
            Predictions.
        y_true : dict of str to ndarray
            Targets.

        Returns
        -------
        dict of str to float
            Mean loss over the samples, by the outputs' names.
        """
        self._check_names("parts", y_pred, y_true)
        return {name: float(loss.value(p, t)) for name, loss, _, p, t in self._each(y_pred, y_true)}

    def value(self, y_pred: Any, y_true: Any) -> float:
        """Compute the sum of the weighted losses; see `Loss.value`."""
        self._check_names("value", y_pred, y_true)
        return sum(w * float(loss.value(p, t)) for _, loss, w, p, t in self._each(y_pred, y_true))

    @ignoring("under")
    def gradient(self, y_pred: Any, y_true: Any) -> Any:
        """Compute the gradient for each output, a dict; see `Loss.gradient`."""
        self._check_names("gradient", y_pred, y_true)
        return {
            name: _times(w, loss.gradient(p, t))
            for name, loss, w, p, t in self._each(y_pred, y_true)
        }

    def value_and_gradient(self, y_pred: Any, y_true: Any) -> tuple[float, Any]:
        """Compute the value and the gradient at once; see `Loss.value_and_gradient`."""
        total, gradients = 0.0, {}
        for name, loss, weight, p, t in self._each(y_pred, y_true):
            value, gradient = loss.value_and_gradient(p, t)
            total += weight * float(value)
            gradients[name] = _times(weight, gradient)
        return total, gradients

    @ignoring("under")
    def per_sample(self, y_pred: Any, y_true: Any) -> Array:
        """Compute the loss of each sample; see `Loss.per_sample`."""
        self._check_names("per_sample", y_pred, y_true)
        each = self._each(y_pred, y_true)
        losses: Array = np.sum([w * loss.per_sample(p, t) for _, loss, w, p, t in each], axis=0)
        return losses

    @ignoring("under")
    def per_position(self, y_pred: Any, y_true: Any) -> Array:
        """Compute the loss of each position that all outputs have; see `Loss.per_position`."""
        self._check_names("per_position", y_pred, y_true)
        each = self._each(y_pred, y_true)
        parts = [w * loss.per_position(p, t) for _, loss, w, p, t in each]
        n_axes = len(_common([part.shape for part in parts]))
        losses: Array = np.sum([mean_over_positions(part, n_axes) for part in parts], axis=0)
        return losses

    def position_shape(self, output_shape: Any) -> Shape:
        """Return the first axes that the positions of all outputs share."""
        shapes = [loss.position_shape(output_shape[name]) for name, loss in self.losses.items()]
        return _common(shapes)

    def target_dtype(self, dtype: np.dtype[Any]) -> Any:
        """Return the dtype that each output's targets are cast to, a dict by name."""
        return {name: loss.target_dtype(dtype) for name, loss in self.losses.items()}

    def check_targets(self, where: str, y_true: Any, output_shape: Any) -> None:
        """Refuse targets that don't fit the outputs; see `Loss.check_targets`.

        Parameters
        ----------
        where : str
            The call that errors name.
        y_true : dict of str to ndarray
            Targets, by the outputs' names.
        output_shape : dict of str to tuple of int
            Shape of one sample of each output.

        Raises
        ------
        ShapeError
            If the model's outputs have no names, or targets have another shape than their output.
        ArgumentError
            If an output has no loss or no targets, a name is unknown, or a loss refuses targets.
        """
        if not isinstance(output_shape, Mapping):
            got = check.Said(f"one of shape {output_shape}")
            remedy = "Pass the loss itself, such as SoftmaxCrossEntropy()."
            check.fail(where, "the model's output", "a dict", got, remedy, error=ShapeError)
        _check_outputs(where, self.losses, output_shape)
        self._check_target_names(where, y_true, output_shape)
        for name, loss in self.losses.items():
            if loss.takes_targets:
                loss.check_targets(f"{where}, output {name!r}", y_true[name], output_shape[name])


def _check_mapping(where: str, argument: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        check.fail(where, argument, "a dict of arrays, by the outputs' names", value)


def _check_outputs(where: str, losses: Mapping[str, Loss], outputs: Any) -> None:
    """Refuse a model's outputs unless each has a loss, and each loss an output."""
    missing = [name for name in outputs if name not in losses]
    unknown = [name for name in losses if name not in outputs]
    if missing or unknown:
        got = check.Said(f"losses for {_listed(losses)}")
        remedy = "An output without a loss can be left out of the model's outputs."
        check.fail(where, "loss", f"one for each of {_listed(outputs)}", got, remedy)


def _times(weight: float, gradient: Array) -> Array:
    return gradient if weight == 1 else gradient * weight


def _common(shapes: list[Shape]) -> Shape:
    """Find the lengths that all shapes begin with."""
    common: list[int] = []
    for lengths in zip(*shapes, strict=False):
        if len(set(lengths)) > 1:
            break
        common.append(lengths[0])
    return tuple(common)


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
