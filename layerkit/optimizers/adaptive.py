"""Optimizers whose step for each parameter adapts to the gradients that it has seen."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.optimizers.base import BLOCK, Optimizer

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "RMSprop"]


class Blockwise(Optimizer):
    """An optimizer that goes through long vectors in blocks, which stay in the cache."""

    weight_decay: float = 0.0
    _scratch: Array | None = None
    _names: tuple[str, ...]

    def init_state(self, values: Array) -> dict[str, Array]:
        """Start with zeros."""
        return {name: np.zeros_like(values) for name in self._names}

    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Make a step; see `Optimizer.update`."""
        scratch = self._scratch
        if scratch is None or scratch.dtype != values.dtype or scratch.shape[1] < len(values):
            scratch = np.empty((2, min(len(values), BLOCK)), values.dtype)
            self._scratch = scratch
        if self.weight_decay:
            values *= 1 - self.learning_rate * self.weight_decay
        for start in range(0, len(values), BLOCK):
            part = slice(start, start + BLOCK)
            block, n = values[part], min(BLOCK, len(values) - start)
            named = {name: vector[part] for name, vector in state.items()}
            block -= self._block_step(grads[part], named, scratch[0, :n], scratch[1, :n])

    @abstractmethod
    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        """Bring the state up to date, and give what is subtracted from the values."""


def _average(mean: Array, numbers: Array, beta: float, room: Array) -> None:
    """Move a running mean: mean ← beta · mean + (1 − beta) · numbers."""
    mean *= beta
    np.multiply(numbers, 1 - beta, room)
    mean += room


def _average_square(mean: Array, numbers: Array, beta: float, room: Array) -> None:
    """Move a running mean of squares."""
    np.multiply(numbers, numbers, room)
    room *= 1 - beta
    mean *= beta
    mean += room


class Adam(Blockwise):
    """Steps by the mean of the gradients, over the root of the mean of their squares.

    With g the gradient and t the number of the step: m ← β₁ m + (1 − β₁) g,
    v ← β₂ v + (1 − β₂) g², and values ← values − η · m̂ / (√v̂ + ε) with m̂ = m / (1 − β₁ᵗ) and
    v̂ = v / (1 − β₂ᵗ).

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    beta_1, beta_2 : float
        From 0 to below 1.
    epsilon : float
        ε, above 0.

    Raises
    ------
    ArgumentError
        If a number is out of its range.

    References
    ----------
    Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Adam
    >>> values = np.array([1.0, 1.0])
    >>> Adam(0.1).step(values, np.array([5.0, -0.001]))
    >>> values.round(5)
    array([0.9, 1.1])
    """

    _names = ("mean", "square")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.learning_rate = learning_rate
        where = f"{type(self).__name__}.__init__"
        self.beta_1 = check.number(where, "beta_1", beta_1, minimum=0, below=1)
        self.beta_2 = check.number(where, "beta_2", beta_2, minimum=0, below=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)

    def _root(self, square: Array, room: Array) -> Array:
        """Compute √v̂ + ε."""
        np.sqrt(square, room)
        room *= 1 / math.sqrt(1 - self.beta_2**self.n_steps)
        room += self.epsilon
        return room

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        mean, square = state["mean"], state["square"]
        _average(mean, grads, self.beta_1, room)
        _average_square(square, grads, self.beta_2, room)
        np.divide(mean, self._root(square, room), room)
        room *= self.learning_rate / (1 - self.beta_1**self.n_steps)
        return room


class AdamW(Adam):
    """`Adam` with decoupled weight decay: before each step, values ← values · (1 − η · λ).

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    beta_1, beta_2 : float
        From 0 to below 1.
    epsilon : float
        ε, above 0.
    weight_decay : float
        λ, at least 0.

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
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon)
        self.weight_decay = check.number("AdamW.__init__", "weight_decay", weight_decay, minimum=0)


class NAdam(Adam):
    """`Adam` with Nesterov's momentum, which grows with the steps.

    With μₜ = β₁ (1 − ½ · 0.96^(t ψ)), M = μ₁ μ₂ … μₜ, and m, v̂ as in `Adam`:
    values ← values − η ((1 − μₜ) / (1 − M) · g + μₜ₊₁ / (1 − M μₜ₊₁) · m) / (√v̂ + ε).

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    beta_1, beta_2 : float
        From 0 to below 1.
    epsilon : float
        ε, above 0.
    momentum_decay : float
        ψ, at least 0.

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

    _momenta: tuple[int, float] = (0, 1.0)

    def __init__(
        self,
        learning_rate: float = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        momentum_decay: float = 0.004,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon)
        self.momentum_decay = check.number(
            "NAdam.__init__", "momentum_decay", momentum_decay, minimum=0
        )

    def _momentum(self, step: int) -> float:
        return self.beta_1 * (1 - 0.5 * math.pow(0.96, step * self.momentum_decay))

    def _product(self) -> float:
        """Multiply the momenta of all steps so far."""
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
        _average(mean, grads, self.beta_1, room)
        _average_square(square, grads, self.beta_2, room)
        product, following = self._product(), self._momentum(self.n_steps + 1)
        rate = self.learning_rate
        np.multiply(grads, rate * (1 - self._momentum(self.n_steps)) / (1 - product), other)
        np.multiply(mean, rate * following / (1 - product * following), room)
        other += room
        other /= self._root(square, room)
        return other


class RMSprop(Blockwise):
    """Steps by the gradient over the root of the mean of its squares.

    v ← ρ v + (1 − ρ) g², and values ← values − η · g / (√v + ε); with momentum μ,
    b ← μ b + g / (√v + ε) and values ← values − η · b.

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    rho : float
        ρ, from 0 to below 1.
    momentum : float
        μ, from 0 to below 1.
    epsilon : float
        ε, above 0.

    References
    ----------
    Tieleman & Hinton (2012), "Lecture 6.5: rmsprop", Neural networks for machine learning.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import RMSprop
    >>> values = np.array([1.0])
    >>> RMSprop(0.1, rho=0.75).step(values, np.array([5.0]))
    >>> values.round(6)
    array([0.8])
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-8,
    ) -> None:
        self.learning_rate = learning_rate
        where = "RMSprop.__init__"
        self.rho = check.number(where, "rho", rho, minimum=0, below=1)
        self.momentum = check.number(where, "momentum", momentum, minimum=0, below=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)

    @property
    def _names(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("square", "velocity") if self.momentum else ("square",)

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        square = state["square"]
        _average_square(square, grads, self.rho, room)
        np.sqrt(square, room)
        room += self.epsilon
        np.divide(grads, room, room)
        if self.momentum:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += room
            np.multiply(velocity, self.learning_rate, room)
        else:
            room *= self.learning_rate
        return room


class Adagrad(Blockwise):
    """Steps by the gradient over the root of the sum of all its squares so far.

    v ← v + g², and values ← values − η · g / (√v + ε).

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    epsilon : float
        ε, above 0.

    References
    ----------
    Duchi, Hazan & Singer (2011), "Adaptive subgradient methods for online learning and stochastic
    optimization", figure 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Adagrad
    >>> values, optimizer = np.array([1.0]), Adagrad(0.1)
    >>> for _ in range(2):
    ...     optimizer.step(values, np.array([5.0]))
    >>> values.round(4)
    array([0.8293])
    """

    _names = ("square",)

    def __init__(self, learning_rate: float = 0.01, epsilon: float = 1e-10) -> None:
        self.learning_rate = learning_rate
        self.epsilon = check.number("Adagrad.__init__", "epsilon", epsilon, above=0)

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        square = state["square"]
        np.multiply(grads, grads, room)
        square += room
        np.sqrt(square, room)
        room += self.epsilon
        np.divide(grads, room, room)
        room *= self.learning_rate
        return room


class Adadelta(Blockwise):
    """Steps in the values' own unit: the root of the mean square of its steps over the gradients'.

    v ← ρ v + (1 − ρ) g², d = √(u + ε) / √(v + ε) · g, u ← ρ u + (1 − ρ) d², and
    values ← values − η · d.

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    rho : float
        ρ, from 0 to below 1.
    epsilon : float
        ε, above 0.

    References
    ----------
    Zeiler (2012), "ADADELTA: an adaptive learning rate method", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Adadelta
    >>> values = np.array([1.0])
    >>> Adadelta().step(values, np.array([5.0]))
    >>> values.round(4)
    array([0.9968])
    """

    _names = ("square", "step_square")

    def __init__(self, learning_rate: float = 1.0, rho: float = 0.9, epsilon: float = 1e-6) -> None:
        self.learning_rate = learning_rate
        where = "Adadelta.__init__"
        self.rho = check.number(where, "rho", rho, minimum=0, below=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        square, step_square = state["square"], state["step_square"]
        _average_square(square, grads, self.rho, room)
        np.add(square, self.epsilon, room)
        np.add(step_square, self.epsilon, other)
        np.divide(other, room, other)
        np.sqrt(other, other)
        other *= grads
        _average_square(step_square, other, self.rho, room)
        other *= self.learning_rate
        return other


class Lion(Blockwise):
    """Steps of one length, by the sign of a mean of the gradients.

    values ← values · (1 − η · λ) − η · sign(β₁ m + (1 − β₁) g), then m ← β₂ m + (1 − β₂) g.

    Parameters
    ----------
    learning_rate : float
        η, above 0.
    beta_1, beta_2 : float
        From 0 to below 1.
    weight_decay : float
        λ, at least 0.

    References
    ----------
    Chen et al. (2023), "Symbolic discovery of optimization algorithms", algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Lion
    >>> values = np.array([1.0, 1.0])
    >>> Lion(0.1).step(values, np.array([5.0, -0.001]))
    >>> values
    array([0.9, 1.1])
    """

    _names = ("mean",)

    def __init__(
        self,
        learning_rate: float = 0.0001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        where = "Lion.__init__"
        self.beta_1 = check.number(where, "beta_1", beta_1, minimum=0, below=1)
        self.beta_2 = check.number(where, "beta_2", beta_2, minimum=0, below=1)
        self.weight_decay = check.number(where, "weight_decay", weight_decay, minimum=0)

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        mean = state["mean"]
        np.multiply(mean, self.beta_1, other)
        np.multiply(grads, 1 - self.beta_1, room)
        other += room
        np.sign(other, other)
        other *= self.learning_rate
        _average(mean, grads, self.beta_2, room)
        return other
