"""`Adam` and its variants `AdamW` and `NAdam`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state_checks import is_count, is_number, refuse
from layerkit._support.validation import Array
from layerkit.optimizers.blockwise import Blockwise, average, average_square

__all__ = ["Adam", "AdamW", "NAdam"]


# How many momenta are multiplied once more, one by one, where a file has the product of fewer.
_MOST_AGAIN = 1 << 24


class Adam(Blockwise):
    """Adam: moving averages of the gradients, divided by the root of those of their squares.

    With the gradient g at step t: m ← β₁ m + (1 − β₁) g,
    v ← β₂ v + (1 − β₂) g², and values ← values − η · m̂ / (√v̂ + ε) with m̂ = m / (1 − β₁ᵗ) and
    v̂ = v / (1 − β₂ᵗ). With ``amsgrad``, the largest v so far takes the place of v in v̂, so that the
    steps do not grow again where large gradients have become rare.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    beta_1, beta_2 : float
        Decay rates β₁ and β₂, from 0 to below 1.
    epsilon : float
        Constant ε in the denominator, above 0; at least 1.2e-38 for parameters of float32.
    amsgrad : bool
        Whether to divide by the root of the largest v so far.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1. Reddi, Kale &
    Kumar (2018), "On the convergence of Adam and beyond", algorithm 2, with the corrections of
    Adam.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Adam
    >>> values = np.array([1.0, 1.0])
    >>> Adam(0.1).step(values, np.array([5.0, -0.001]))
    >>> values.round(5)
    array([0.9, 1.1])
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        amsgrad: bool = False,
    ) -> None:
        self.learning_rate = learning_rate
        where = f"{type(self).__name__}.__init__"
        self.beta_1 = check.number(where, "beta_1", beta_1, minimum=0, below=1)
        self.beta_2 = check.number(where, "beta_2", beta_2, minimum=0, below=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)
        self.amsgrad = check.boolean(where, "amsgrad", amsgrad)

    @property
    def _names(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("mean", "square", "largest_square") if self.amsgrad else ("mean", "square")

    def _root(self, square: Array, room: Array) -> Array:
        """Return √v̂ + ε, in ``room``."""
        np.sqrt(square, room)
        room *= 1 / math.sqrt(1 - self.beta_2**self.n_steps)
        room += self.epsilon
        return room

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        mean, square = state["mean"], state["square"]
        average(mean, grads, self.beta_1, room)
        average_square(square, grads, self.beta_2, room)
        largest = state.get("largest_square")
        if largest is not None:
            square = np.maximum(largest, square, out=largest)
        np.divide(mean, self._root(square, room), room)
        room *= self.learning_rate / (1 - self.beta_1**self.n_steps)
        return room


class AdamW(Adam):
    """`Adam` with decoupled weight decay: before each step, values ← values · (1 − η · λ).

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    beta_1, beta_2 : float
        Decay rates β₁ and β₂, from 0 to below 1.
    epsilon : float
        Constant ε in the denominator, above 0; at least 1.2e-38 for parameters of float32.
    weight_decay : float
        Decoupled weight decay λ, at least 0.
    amsgrad : bool
        Whether to divide by the root of the largest v so far, as in `Adam`.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    See Also
    --------
    ParameterGroup.without_decay : Leaves out biases, and the scales of normalisation.

    References
    ----------
    Loshchilov & Hutter (2019), "Decoupled weight decay regularization", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import AdamW
    >>> values = np.array([1.0])
    >>> AdamW(0.1, weight_decay=0.5).step(values, np.zeros(1))
    >>> values
    array([0.95])
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad=amsgrad)
        self.weight_decay = check.number("AdamW.__init__", "weight_decay", weight_decay, minimum=0)


class NAdam(Adam):
    """`Adam` with Nesterov momentum, which grows with the steps.

    With μₜ = β₁ (1 − ½ · 0.96^(t ψ)), M = μ₁ μ₂ … μₜ, and m, v̂ as in `Adam`:
    values ← values − η ((1 − μₜ) / (1 − M) · g + μₜ₊₁ / (1 − M μₜ₊₁) · m) / (√v̂ + ε).

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    beta_1, beta_2 : float
        Decay rates β₁ and β₂, from 0 to below 1.
    epsilon : float
        Constant ε in the denominator, above 0; at least 1.2e-38 for parameters of float32.
    momentum_decay : float
        Momentum decay ψ, at least 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Dozat (2016), "Incorporating Nesterov momentum into Adam", algorithm 2 and section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import NAdam
    >>> values = np.array([1.0])
    >>> NAdam(0.1).step(values, np.array([5.0]))
    >>> values.round(3)
    array([0.894])
    """

    def __init__(
        self,
        learning_rate: float = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        momentum_decay: float = 0.004,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon)
        self._momenta = (0, 1.0)
        self.momentum_decay = check.number(
            "NAdam.__init__", "momentum_decay", momentum_decay, minimum=0
        )

    def check_state(
        self, state: Mapping[str, Array], attributes: Mapping[str, Any], values: Array
    ) -> None:
        """Refuse momenta of other steps than were made; see `Optimizer.check_state`."""
        super().check_state(state, attributes, values)
        n_steps, momenta = attributes.get("n_steps", 0), attributes.get("_momenta", (0, 1.0))
        is_pair = len(momenta) == 2 and is_count(momenta[0]) and is_number(momenta[1])
        if is_pair and 0 <= momenta[1] <= 1:
            done = momenta[0] if momenta[0] <= n_steps else 0
            if n_steps - done <= _MOST_AGAIN:
                return
        refuse("NAdam.set_state", "_momenta", "the product of the momenta of all steps", momenta)

    def _momentum(self, step: int) -> float:
        return self.beta_1 * (1 - 0.5 * math.pow(0.96, step * self.momentum_decay))

    def _product(self) -> float:
        """Return the product of the momenta of all steps so far."""
        done, product = self._momenta
        if done > self.n_steps:
            done, product = 0, 1.0
        for step in range(done + 1, self.n_steps + 1):
            product *= self._momentum(step)
        self._momenta = self.n_steps, product
        return product

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        mean, square = state["mean"], state["square"]
        average(mean, grads, self.beta_1, room)
        average_square(square, grads, self.beta_2, room)
        product, following = self._product(), self._momentum(self.n_steps + 1)
        rate = self.learning_rate
        np.multiply(grads, rate * (1 - self._momentum(self.n_steps)) / (1 - product), other)
        np.multiply(mean, rate * following / (1 - product * following), room)
        other += room
        other /= self._root(square, room)
        return other
