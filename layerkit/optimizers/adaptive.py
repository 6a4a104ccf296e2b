"""Adaptive optimizers besides `Adam`: a step size for each parameter, or a sign."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.optimizers.blockwise import Blockwise, average, average_square

__all__ = ["Adadelta", "Adagrad", "Lion", "RMSprop"]


class RMSprop(Blockwise):
    """RMSprop: the gradient, divided by the root of the moving average of its squares.

    v ← ρ v + (1 − ρ) g², and values ← values − η · g / (√v + ε); with momentum μ,
    b ← μ b + g / (√v + ε) and values ← values − η · b. If ``centered``, √v is replaced by
    √max(v − m², 0) with m ← ρ m + (1 − ρ) g: the deviation of the gradients from their mean.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    rho : float
        Decay rate ρ of the mean squares, from 0 to below 1.
    momentum : float
        Momentum μ, from 0 to below 1.
    epsilon : float
        Constant ε in the denominator, above 0; at least 1.2e-38 for parameters of float32.
    centered : bool
        Whether to divide by the deviation of the gradients from their moving average.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Tieleman & Hinton (2012), "Lecture 6.5: rmsprop", Neural networks for machine learning. Graves
    (2013), "Generating sequences with recurrent neural networks", eq. 38-40, for the centred form.

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
        *,
        centered: bool = False,
    ) -> None:
        self.learning_rate = learning_rate
        where = "RMSprop.__init__"
        self.rho = check.number(where, "rho", rho, minimum=0, below=1)
        self.momentum = check.number(where, "momentum", momentum, minimum=0, below=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)
        self.centered = check.boolean(where, "centered", centered)

    @property
    def _names(self) -> tuple[str, ...]:  # type: ignore[override]
        velocity = ("velocity",) if self.momentum else ()
        return ("square", *velocity, "mean") if self.centered else ("square", *velocity)

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        square = state["square"]
        average_square(square, grads, self.rho, room)
        mean, velocity = state.get("mean"), state.get("velocity")
        if mean is None:
            np.sqrt(square, room)
        else:
            average(mean, grads, self.rho, room)
            np.multiply(mean, mean, other)
            np.subtract(square, other, room)
            np.maximum(room, 0, out=room)  # rounding
            np.sqrt(room, room)
        room += self.epsilon
        np.divide(grads, room, room)
        if velocity is not None:
            velocity *= self.momentum
            velocity += room
            np.multiply(velocity, self.learning_rate, room)
        else:
            room *= self.learning_rate
        return room


class Adagrad(Blockwise):
    """Adagrad: the gradient, divided by the root of the sum of all its squares so far.

    v ← v + g², and values ← values − η · g / (√v + ε).

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    epsilon : float
        Constant ε in the denominator, above 0; at least 1.2e-38 for parameters of float32.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

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
    """Adadelta: the gradient, scaled by the ratio of the mean squares of steps and gradients.

    v ← ρ v + (1 − ρ) g², d = √(u + ε) / √(v + ε) · g, u ← ρ u + (1 − ρ) d², and
    values ← values − η · d.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    rho : float
        Decay rate ρ of the mean squares, from 0 to below 1.
    epsilon : float
        Constant ε in the denominator, above 0; at least 1.2e-38 for parameters of float32.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

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
        average_square(square, grads, self.rho, room)
        np.add(square, self.epsilon, room)
        np.add(step_square, self.epsilon, other)
        np.divide(other, room, other)
        np.sqrt(other, other)
        other *= grads
        average_square(step_square, other, self.rho, room)
        other *= self.learning_rate
        return other


class Lion(Blockwise):
    """Lion: steps of equal size, in the direction of the sign of an average gradient.

    values ← values · (1 − η · λ) − η · sign(β₁ m + (1 − β₁) g), then m ← β₂ m + (1 − β₂) g.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    beta_1, beta_2 : float
        Decay rates β₁ and β₂, from 0 to below 1.
    weight_decay : float
        Decoupled weight decay λ, at least 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

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
        average(mean, grads, self.beta_2, room)
        return other
