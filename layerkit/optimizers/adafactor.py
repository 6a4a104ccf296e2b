"""`Adafactor`: Adam's denominator from the means of rows and columns."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.optimizers.parameterwise import Parameterwise, root_mean_square

__all__ = ["Adafactor"]


class Adafactor(Parameterwise):
    """Adafactor: mean squares of the gradient by rows and columns, and steps relative to the size.

    At step t, with βₜ = 1 − t^(−decay_power) and the gradient g of a parameter, of which the last
    two axes count as rows and columns: R ← βₜ R + (1 − βₜ) · mean of g² over the columns,
    C ← βₜ C + (1 − βₜ) · mean of g² over the rows, v = R C / (mean of R), u = g / √v. A parameter
    of one axis, or with one row or column, has v ← βₜ v + (1 − βₜ) g². Then, with
    RMS(a) = √(mean of a²),

        value ← value − max(ε, RMS(value)) · min(η, 1 / √t) · u / max(1, RMS(u) / clip).

    The means of rows and columns lie in a vector as long as the model's, as all state does: it has
    Adafactor's steps, not its small memory.

    Parameters
    ----------
    learning_rate : float
        Bound η of the relative step, above 0.
    decay_power : float
        Power of the step in βₜ, above 0.
    clip : float
        Bound of the root mean square of u, above 0.
    epsilon : float
        Least size ε that a parameter counts as, above 0; at least 1.2e-38 for float32.
    weight_decay : float
        Decoupled weight decay λ, at least 0: before each step, values ← values · (1 − η · λ).

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Shazeer & Stern (2018), "Adafactor: adaptive learning rates with sublinear memory cost",
    algorithms 4 and 5. As in torch, v is at least the square of the dtype's rounding, and the mean
    of R at least the rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Adafactor
    >>> values = np.array([1.0, 1.0])
    >>> Adafactor(0.1).step(values, np.array([5.0, -0.001]))
    >>> values.round(4)
    array([0.9, 1.1])
    """

    _names = ("square",)

    def __init__(
        self,
        learning_rate: float = 0.01,
        decay_power: float = 0.8,
        clip: float = 1.0,
        epsilon: float = 1e-3,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        where = "Adafactor.__init__"
        self.decay_power = check.number(where, "decay_power", decay_power, above=0)
        self.clip = check.number(where, "clip", clip, above=0)
        self.epsilon: float = check.number(where, "epsilon", epsilon, above=0)
        self.weight_decay = check.number(where, "weight_decay", weight_decay, minimum=0)

    def _step_one(self, value: Array, grad: Array, state: Mapping[str, Array]) -> None:
        size = max(self.epsilon, root_mean_square(value))
        step = self._mean_squares(grad, state["square"])
        np.maximum(step, np.finfo(value.dtype).eps ** 2, out=step)
        np.sqrt(step, step)
        np.divide(grad, step, step)
        rate = size * min(self.learning_rate, 1 / math.sqrt(self.n_steps))
        step *= rate / max(1.0, root_mean_square(step) / self.clip)
        if self.weight_decay:
            value *= 1 - self.learning_rate * self.weight_decay
        value -= step

    def _mean_squares(self, grad: Array, square: Array) -> Array:
        """Update the mean squares of a parameter, and return them for each of its numbers."""
        share = self.n_steps**-self.decay_power
        squares = grad * grad
        *_, n_rows, n_columns = (1, 1, *grad.shape)
        if min(n_rows, n_columns) == 1:
            square += share * (squares - square)
            return square.copy()
        # There is room for both, as n + m is at most n · m from 2 on.
        rows_shape, columns_shape = (*grad.shape[:-1], 1), (*grad.shape[:-2], 1, n_columns)
        room, n = square.reshape(-1), math.prod(rows_shape)
        rows = room[:n].reshape(rows_shape)
        columns = room[n : n + math.prod(columns_shape)].reshape(columns_shape)
        rows += share * (squares.mean(-1, keepdims=True) - rows)
        columns += share * (squares.mean(-2, keepdims=True) - columns)
        least = np.finfo(grad.dtype).eps
        estimate: Array = rows * columns
        estimate /= np.maximum(rows.mean(-2, keepdims=True), least)
        return estimate
