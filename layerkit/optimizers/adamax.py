"""`Adamax` and `RAdam`: Adam with another denominator."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from layerkit._support.validation import Array
from layerkit.optimizers.adam import Adam
from layerkit.optimizers.blockwise import average, average_square

__all__ = ["Adamax", "RAdam"]

# With fewer steps than this in the average of the squares, its variance is infinite.
_LEAST_LENGTH = 5


class Adamax(Adam):
    """Adamax: `Adam` with a decaying maximum of the gradients in place of their mean square.

    With the gradient g at step t: m ← β₁ m + (1 − β₁) g, u ← max(β₂ u, |g| + ε), and
    values ← values − η / (1 − β₁ᵗ) · m / u.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    beta_1, beta_2 : float
        Decay rates β₁ and β₂, from 0 to below 1.
    epsilon : float
        Constant ε in the denominator, above 0; at least 1.2e-38 for parameters of float32.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 2, with ε as in
    torch.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Adamax
    >>> values = np.array([1.0, 1.0])
    >>> Adamax(0.1).step(values, np.array([5.0, -0.001]))
    >>> values.round(4)
    array([0.9, 1.1])
    """

    def __init__(
        self,
        learning_rate: float = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon)

    @property
    def _names(self) -> tuple[str, ...]:  # type: ignore[override]
        return "mean", "largest"

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        mean, largest = state["mean"], state["largest"]
        average(mean, grads, self.beta_1, room)
        np.abs(grads, room)
        room += self.epsilon
        largest *= self.beta_2
        np.maximum(largest, room, out=largest)
        np.divide(mean, largest, room)
        room *= self.learning_rate / (1 - self.beta_1**self.n_steps)
        return room


class RAdam(Adam):
    """Rectified Adam: `Adam` whose first steps, with few squares to judge by, are smaller.

    With m and v as in `Adam`, ρ = 2 / (1 − β₂) − 1 and ρₜ = ρ − 2 t β₂ᵗ / (1 − β₂ᵗ): while
    ρₜ ≤ 5, values ← values − η m̂ with m̂ = m / (1 − β₁ᵗ), a step of the gradients' own size. Then
    values ← values − η · r · m̂ · √(1 − β₂ᵗ) / (√v + ε) with
    r = √((ρₜ − 4) (ρₜ − 2) ρ / ((ρ − 4) (ρ − 2) ρₜ)), which grows to 1.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    beta_1, beta_2 : float
        Decay rates β₁ and β₂, from 0 to below 1.
    epsilon : float
        Constant ε in the denominator, above 0; at least 1.2e-38 for parameters of float32.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Liu et al. (2020), "On the variance of the adaptive learning rate and beyond", algorithm 2, with
    ε and the limit of 5 as in torch.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import RAdam
    >>> values = np.array([1.0, 1.0])
    >>> RAdam(0.1).step(values, np.array([5.0, -0.001]))
    >>> values
    array([0.5   , 1.0001])
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon)

    def _rectification(self) -> float:
        """Return r · √(1 − β₂ᵗ); 0 while there is no rectification."""
        n, correction = self.n_steps, 1 - self.beta_2**self.n_steps
        longest = 2 / (1 - self.beta_2) - 1
        length = longest - 2 * n * self.beta_2**n / correction
        if length <= _LEAST_LENGTH:
            return 0.0
        ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        return math.sqrt(ratio * correction)

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        mean, square = state["mean"], state["square"]
        average(mean, grads, self.beta_1, room)
        average_square(square, grads, self.beta_2, room)
        rate = self.learning_rate / (1 - self.beta_1**self.n_steps)
        rectification = self._rectification()
        if not rectification:
            return np.multiply(mean, rate, room)
        np.sqrt(square, room)
        room += self.epsilon
        np.divide(mean, room, room)
        room *= rate * rectification
        return room
