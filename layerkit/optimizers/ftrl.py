"""`FTRL`: follow the regularised leader, for sparse linear models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state_checks import refuse
from layerkit._support.validation import Array
from layerkit.optimizers.blockwise import InBlocks

__all__ = ["FTRL"]


class FTRL(InBlocks):
    """FTRL-Proximal: steps of `Adagrad`, and exact zeros by a penalty on absolute values.

    With the gradient g: n ← n + g², D' = (β + √n) / η, z ← z + g − (D' − D) · values, D ← D', and

        values ← 0 where |z| ≤ λ₁, and (λ₁ sign(z) − z) / (D + λ₂) elsewhere:

    the minimum of the sum of all linear approximations so far, of λ₁ Σ |values| + λ₂ / 2 Σ values²,
    and of what holds them to where they were. At first, and where a parameter is not where the last
    step led it, because a callback or a constraint has changed it, z is set to what leads there:
    −(D + λ₂) · values − λ₁ sign(values).

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0. It may change in training.
    l1, l2 : float
        Penalties λ₁ and λ₂, at least 0.
    beta : float
        Constant β in the denominator, at least 0.
    initial_square : float
        Value of n before the first step, at least 0; above 0 if ``beta`` is 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    McMahan et al. (2013), "Ad click prediction: a view from the trenches", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import FTRL
    >>> values, optimizer = np.array([0.0, 0.0]), FTRL(0.1, l1=1.0)
    >>> optimizer.step(values, np.array([5.0, -0.5]))
    >>> values.round(4)
    array([-0.0798,  0.    ])
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        l1: float = 0.0,
        l2: float = 0.0,
        beta: float = 0.0,
        initial_square: float = 0.1,
    ) -> None:
        self.learning_rate = learning_rate
        where = "FTRL.__init__"
        self.l1 = check.number(where, "l1", l1, minimum=0)
        self.l2 = check.number(where, "l2", l2, minimum=0)
        self.beta = check.number(where, "beta", beta, minimum=0)
        self.initial_square = check.number(where, "initial_square", initial_square, minimum=0)
        if not self.beta and not self.initial_square:
            remedy = "A gradient of 0 would be divided by 0."
            check.fail(where, "beta", "above 0 if initial_square is 0", beta, remedy)

    def init_state(self, values: Array) -> dict[str, Array]:
        """Return no linear terms yet; see `Optimizer.init_state`."""
        square = np.full_like(values, self.initial_square)
        strength = (np.sqrt(square) + self.beta) / self.learning_rate
        return {
            "square": square,
            "linear": np.zeros_like(values),
            "strength": strength.astype(values.dtype),
        }

    def check_state(
        self, state: Mapping[str, Array], attributes: Mapping[str, object], values: Array
    ) -> None:
        """Refuse a strength of 0 or less too; see `Optimizer.check_state`."""
        super().check_state(state, attributes, values)
        if "strength" in state and (state["strength"] <= 0).any():
            refuse("FTRL.set_state", "strength", "above 0", state["strength"])

    def _move(
        self, values: Array, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> None:
        square, linear, strength = state["square"], state["linear"], state["strength"]
        has_moved = self._minimum(linear, strength, room, other) != values
        if has_moved.any():
            np.multiply(values, room, other)
            other += self.l1 * np.sign(values)
            np.negative(other, linear, where=has_moved)
        np.multiply(grads, grads, room)
        square += room
        np.sqrt(square, room)
        room += self.beta
        room /= self.learning_rate
        np.subtract(room, strength, other)
        np.copyto(strength, room)
        other *= values
        linear += grads
        linear -= other
        np.copyto(values, self._minimum(linear, strength, room, other))

    def _minimum(self, linear: Array, strength: Array, room: Array, other: Array) -> Array:
        """Return where the terms have their minimum, in ``other``, with D + λ₂ in ``room``."""
        np.add(strength, self.l2, room)
        np.clip(linear, -self.l1, self.l1, out=other)
        other -= linear
        other /= room
        return other
