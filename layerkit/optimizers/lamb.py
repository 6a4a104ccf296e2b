"""`Lamb`: Adam with a step of each parameter in proportion to its size."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.optimizers.blockwise import average, average_square
from layerkit.optimizers.parameterwise import Parameterwise, norm

__all__ = ["Lamb"]


class Lamb(Parameterwise):
    """LAMB: the direction of `AdamW`, as long for each parameter as the parameter itself.

    With m̂ and v̂ as in `Adam` and u = m̂ / (√v̂ + ε) + λ · value, each parameter (a whole kernel, or a
    bias) steps by value ← value − η · ‖value‖ / ‖u‖ · u; by −η · u where either norm is 0. So one
    learning rate serves layers of any size, in large batches.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    beta_1, beta_2 : float
        Decay rates β₁ and β₂, from 0 to below 1.
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
    You et al. (2020), "Large batch optimization for deep learning: training BERT in 76 minutes",
    algorithm 2, with φ(z) = z.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Lamb
    >>> values = np.array([3.0, 4.0])
    >>> Lamb(0.1).step(values, np.array([5.0, -0.1]))
    >>> values.round(4)
    array([2.6464, 4.3536])
    """

    _names = ("mean", "square")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        where = "Lamb.__init__"
        self.beta_1 = check.number(where, "beta_1", beta_1, minimum=0, below=1)
        self.beta_2 = check.number(where, "beta_2", beta_2, minimum=0, below=1)
        self.epsilon: float = check.number(where, "epsilon", epsilon, above=0)
        self.weight_decay = check.number(where, "weight_decay", weight_decay, minimum=0)

    def _step_one(self, value: Array, grad: Array, state: Mapping[str, Array]) -> None:
        mean, square, step = state["mean"], state["square"], np.empty_like(value)
        average(mean, grad, self.beta_1, step)
        average_square(square, grad, self.beta_2, step)
        np.sqrt(square, step)
        step *= 1 / math.sqrt(1 - self.beta_2**self.n_steps)
        step += self.epsilon
        np.divide(mean, step, step)
        step *= 1 / (1 - self.beta_1**self.n_steps)
        if self.weight_decay:
            step += self.weight_decay * value
        lengths = norm(value), norm(step)
        ratio = lengths[0] / lengths[1] if all(lengths) else 1.0
        step *= self.learning_rate * ratio
        value -= step
