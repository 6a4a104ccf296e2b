"""What happens to gradients between the backward pass and the update."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerkit.losses.regularizers import Regularizer
from layerkit.models.base import Model
from layerkit.optimizers.clipping import Clipping
from layerkit.steps.position import Position

__all__ = ["GradientRules", "accumulate", "take_accumulated"]


class GradientRules:
    """The regularizers' part of loss and gradient, and the clipping of the whole.

    Parameters
    ----------
    model : Model
        Model whose gradients they are.
    regularizers : sequence of Regularizer
        Penalties on its parameters.
    clipping : Clipping, optional
        Bound on the gradients.
    """

    def __init__(
        self, model: Model, regularizers: Sequence[Regularizer], clipping: Clipping | None
    ) -> None:
        self.model, self.regularizers, self.clipping = model, regularizers, clipping
        self.are_any = bool(regularizers) or clipping is not None
        for regularizer in regularizers:
            regularizer.chosen(model)  # refuses names that there are not

    def penalty(self) -> float:
        """Compute what the parameters add to the loss."""
        return sum(
            regularizer.factor * float(regularizer.penalty(parameter.value))
            for regularizer in self.regularizers
            for parameter in regularizer.chosen(self.model)
        )

    def apply(self) -> None:
        """Add the slopes of the penalties to the gradients, and clip them."""
        for regularizer in self.regularizers:
            for parameter in regularizer.chosen(self.model):
                parameter.grad += regularizer.factor * regularizer.slope(parameter.value)
        if self.clipping is not None:
            parameters = self.model.parameters
            for parameter in parameters:
                if not parameter.trainable:
                    parameter.grad.fill(0)  # it takes no part in the update, nor in its norm
            self.clipping.clip(self.model.grads, parameters)


def accumulate(position: Position, model: Model, weight: float) -> int:
    """Add a model's gradients, the mean over samples of this weight, to those that wait.

    Returns
    -------
    int
        Number of batches that wait together now.
    """
    if position.accumulated is None:
        position.accumulated = np.zeros_like(model.grads)
    position.accumulated += weight * model.grads
    position.accumulated_weight += weight
    position.n_accumulated += 1
    return position.n_accumulated


def take_accumulated(position: Position, model: Model) -> None:
    """Make the mean of the gradients that wait the model's gradient."""
    assert position.accumulated is not None  # noqa: S101 - there are some
    np.divide(position.accumulated, position.accumulated_weight or 1.0, model.grads)
    position.accumulated.fill(0)
    position.accumulated_weight, position.n_accumulated = 0.0, 0
