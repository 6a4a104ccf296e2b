"""`Muon`: momentum, orthogonalised for each kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.optimizers.blockwise import average, average_square
from layerkit.optimizers.parameterwise import Parameterwise, norm

__all__ = ["Muon"]

# Of a polynomial a x + b x³ + c x⁵ that takes small singular values quickly to about 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_LEAST_NORM = 1e-7
# Decay rates of Adam for the parameters of one axis.
_BETA_1, _BETA_2 = 0.9, 0.95


class Muon(Parameterwise):
    """Muon: a momentum whose singular values are all set to about 1, for each kernel.

    With the gradient G of a kernel as a matrix, of which the last axis is the columns:
    M ← μ M + (1 − μ) G and U = μ M + (1 − μ) G, or U = M without Nesterov's form. Then
    X = U / ‖U‖, a few times X ← a X + b X Xᵀ X + c (X Xᵀ)² X, and
    kernel ← kernel − η · √max(1, n_out / n_in) · X. The parameters of one axis, such as biases, are
    stepped by `AdamW` with the learning rate η · adam_ratio, β₁ = 0.9 and β₂ = 0.95.

    Its authors use it for the hidden layers: give embeddings and the last layer a smaller learning
    rate by a `ParameterGroup`.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    momentum : float
        Momentum μ, from 0 to below 1.
    nesterov : bool
        Whether to use Nesterov's form.
    weight_decay : float
        Decoupled weight decay λ, at least 0: before each step, values ← values · (1 − η · λ).
    n_iterations : int
        Number of times that the polynomial is applied; at least 1.
    adam_ratio : float
        Learning rate for parameters of one axis, in η; above 0.
    epsilon : float
        Constant in the denominator of `AdamW`, above 0; at least 1.2e-38 for float32.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks", algorithms 1
    and 2 and the coefficients a, b, c there. As in torch, the momentum is an average, and all is
    computed in the model's dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Muon
    >>> values, optimizer = np.zeros(4), Muon(0.1)
    >>> optimizer.shapes = [(2, 2)]
    >>> optimizer.step(values, np.array([5.0, 0.0, 0.0, 0.5]))
    >>> values.round(2) + 0
    array([-0.07,  0.  ,  0.  , -0.07])
    """

    _names = ("mean", "square")

    def __init__(
        self,
        learning_rate: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        n_iterations: int = 5,
        adam_ratio: float = 0.015,
        epsilon: float = 1e-8,
    ) -> None:
        self.learning_rate = learning_rate
        where = "Muon.__init__"
        self.momentum = check.number(where, "momentum", momentum, minimum=0, below=1)
        self.nesterov = check.boolean(where, "nesterov", nesterov)
        self.weight_decay = check.number(where, "weight_decay", weight_decay, minimum=0)
        self.n_iterations = check.integer(where, "n_iterations", n_iterations, minimum=1)
        self.adam_ratio = check.number(where, "adam_ratio", adam_ratio, above=0)
        self.epsilon: float = check.number(where, "epsilon", epsilon, above=0)

    def _step_one(self, value: Array, grad: Array, state: Mapping[str, Array]) -> None:
        is_matrix = value.ndim > 1
        step = (self._muon if is_matrix else self._adam)(grad, state["mean"], state["square"])
        rate = self.learning_rate * (1.0 if is_matrix else self.adam_ratio)
        if self.weight_decay:
            value *= 1 - rate * self.weight_decay
        step *= rate
        value -= step.reshape(value.shape)

    def _muon(self, grad: Array, mean: Array, _: Array) -> Array:
        """Return the direction of a kernel, as a matrix."""
        room = np.empty_like(grad)
        average(mean, grad, self.momentum, room)
        if self.nesterov:
            direction = self.momentum * mean
            np.multiply(grad, 1 - self.momentum, room)
            direction += room
        else:
            direction = mean
        matrix = direction.reshape(-1, grad.shape[-1])
        n_in, n_out = matrix.shape
        return math.sqrt(max(1.0, n_out / n_in)) * orthogonalised(matrix, self.n_iterations)

    def _adam(self, grad: Array, mean: Array, square: Array) -> Array:
        """Return the direction of a parameter of one axis."""
        room = np.empty_like(grad)
        average(mean, grad, _BETA_1, room)
        average_square(square, grad, _BETA_2, room)
        np.sqrt(square, room)
        room *= 1 / math.sqrt(1 - _BETA_2**self.n_steps)
        room += self.epsilon
        np.divide(mean, room, room)
        room *= 1 / (1 - _BETA_1**self.n_steps)
        return room


def orthogonalised(matrix: Array, n_iterations: int) -> Array:
    """Return a matrix of the same singular vectors, whose singular values are about 1."""
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / max(norm(matrix), _LEAST_NORM)
    for _ in range(n_iterations):
        gram = x @ x.T
        x = _A * x + (_B * gram + _C * (gram @ gram)) @ x
    return x.T if is_tall else x
