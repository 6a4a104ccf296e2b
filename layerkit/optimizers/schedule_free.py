"""`ScheduleFreeAdamW`: AdamW that averages its steps in place of a learning rate schedule."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.errors import StateError
from layerkit.models.base import Model
from layerkit.optimizers.blockwise import InBlocks, average_square

__all__ = ["ScheduleFreeAdamW"]


class ScheduleFreeAdamW(InBlocks):
    """AdamW without a schedule: gradients between a fast sequence of steps and its average.

    The model has y = (1 − β₁) z + β₁ x in training, where the gradient g is taken. At step t:
    v ← β₂ v + (1 − β₂) g², z ← z − η (g / (√v̂ + ε) + λ y) with v̂ = v / (1 − β₂ᵗ), and
    x ← (1 − c) x + c z with c = η² / Σ η² over all steps so far. The average x is what predicts
    best, as with a learning rate that falls to 0 just now: use `applied`, or `averaged`. Warm up
    by ``LearningRateSchedule(Warmup(...), "step")``; no schedule has to know the end. Within a fit,
    validation data and callbacks see y, which is close to x.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0; often 1 to 10 times that of `AdamW`.
    beta_1 : float
        Share β₁ of the average where gradients are taken; above 0 and below 1.
    beta_2 : float
        Decay rate β₂ of the mean squares, from 0 to below 1.
    epsilon : float
        Constant ε in the denominator, above 0; at least 1.2e-38 for parameters of float32.
    weight_decay : float
        Weight decay λ, at least 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Defazio et al. (2024), "The road less scheduled", algorithm 1, with the corrections of Adam in
    v̂ rather than in the learning rate, as in the authors' code.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import *
    >>> model, optimizer = Sequential([Dense(1, 1)], seed=0), ScheduleFreeAdamW(0.1)
    >>> trainer = Trainer(model, HalfSquaredError(), optimizer)
    >>> x = np.ones((8, 1))
    >>> _ = trainer.fit(x, 2 * x, epochs=100)
    >>> with optimizer.applied(model):
    ...     print(model.predict(x[:1]).round(1))
    [[2.]]
    """

    def __init__(
        self,
        learning_rate: float = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        where = "ScheduleFreeAdamW.__init__"
        self.beta_1 = check.number(where, "beta_1", beta_1, above=0, below=1)
        self.beta_2 = check.number(where, "beta_2", beta_2, minimum=0, below=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)
        self.weight_decay = check.number(where, "weight_decay", weight_decay, minimum=0)

    def init_state(self, values: Array) -> dict[str, Array]:
        """Return a fast sequence that begins at the parameters; see `Optimizer.init_state`."""
        # The weights of the average are a vector, as groups may have rates of their own.
        zeros = {name: np.zeros_like(values) for name in ("square", "squared_rates")}
        return {"fast": values.copy(), **zeros}

    def averaged(self, values: Array) -> Array:
        """Return the average x of parameters as they are in training.

        Parameters
        ----------
        values : ndarray of shape (n_parameters,)
            Parameters y, as in ``model.values``.

        Returns
        -------
        ndarray of shape (n_parameters,)
            New vector.

        Raises
        ------
        StateError
            If there was no step yet.
        """
        if not self.state:
            where, got = "ScheduleFreeAdamW.averaged", check.Said("an optimizer that has made none")
            check.fail(where, "the steps", "at least one", got, error=StateError)
        average = values - (1 - self.beta_1) * self.state["fast"]
        average /= self.beta_1
        return average

    @contextlib.contextmanager
    def applied(self, model: Model) -> Iterator[None]:
        """Set a model's parameters to the average inside a ``with`` block.

        Parameters
        ----------
        model : Model
            The model that was trained.

        Yields
        ------
        None
            The model has the parameters in training again after the block.

        Raises
        ------
        StateError
            If there was no step yet.
        """
        own = model.values.copy()
        model.values = self.averaged(own)
        try:
            yield
        finally:
            model.values = own

    def _move(
        self, values: Array, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> None:
        fast, square, weight = state["fast"], state["square"], state["squared_rates"]
        rate, correction = self.learning_rate, 1 - self.beta_2**self.n_steps
        average_square(square, grads, self.beta_2, room)
        np.sqrt(square, room)
        room *= 1 / math.sqrt(correction)
        room += self.epsilon
        np.divide(grads, room, room)
        if self.weight_decay:
            np.multiply(values, self.weight_decay, other)
            room += other
        room *= rate
        weight += rate * rate
        other.fill(1)  # while the square of a rate is below the smallest number
        share = np.divide(rate * rate, weight, other, where=weight > 0)
        # y ← y + c (z − y) + η (β₁ (1 − c) − 1) · step, with z from before the step
        towards = fast - values
        towards *= share
        np.subtract(1, share, share)
        share *= self.beta_1
        share -= 1
        share *= room
        share += towards
        fast -= room
        values += share
