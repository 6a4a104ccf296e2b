"""What happens to gradients between the backward pass and the update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from layerkit._support.validation import Array
from layerkit.losses.regularizers import Regularizer
from layerkit.models.sequential import Sequential
from layerkit.optimizers.clipping import Clipping
from layerkit.steps.ranks import Ranks

if TYPE_CHECKING:
    from layerkit.training.progress import Progress


class GradientRules:
    """The regularizers' part of loss and gradient, and the clipping of the whole."""

    def __init__(
        self, model: Sequential, regularizers: Sequence[Regularizer], clipping: Clipping | None
    ) -> None:
        self.model, self.regularizers, self.clipping = model, regularizers, clipping
        self.are_any = bool(regularizers) or clipping is not None
        for regularizer in regularizers:
            regularizer.chosen(model)  # refuses names that there are not

    def penalty(self) -> float:
        """Compute what the parameters add to the loss."""
        return sum(
            regularizer.factor * regularizer.penalty(parameter.value)
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


class Accumulation:
    """Gradients of several batches, averaged over all of their samples for one update."""

    def __init__(self, model: Sequential, n_batches: int, ranks: Ranks | None) -> None:
        self.model, self.n_batches, self.ranks = model, n_batches, ranks
        self.total: Array = np.zeros_like(model.grads)
        self.weight, self.n_added = 0.0, 0

    def begin(self, progress: Progress) -> None:
        """Begin an epoch; a resumed one with what was added up before."""
        progress.accumulation = self
        if progress.accumulated is not None:
            total, self.weight, self.n_added = progress.accumulated
            np.copyto(self.total, total)
            progress.accumulated = None

    def add(self, weight: float, update: Callable[[], None]) -> None:
        """Add the model's gradients, the mean over samples of this weight; update if it is time."""
        self.total += weight * self.model.grads
        self.weight += weight
        self.n_added += 1
        if self.n_added == self.n_batches:
            self.finish(update)

    def finish(self, update: Callable[[], None]) -> None:
        """Update with what there is."""
        if self.n_added:
            np.divide(self.total, self.weight or 1.0, self.model.grads)
            if self.ranks:
                self.ranks.reduce(0.0)
            self.total.fill(0)
            self.weight, self.n_added = 0.0, 0
            update()
