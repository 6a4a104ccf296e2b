"""`Rprop`: resilient propagation, for full batches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state_checks import refuse
from layerkit._support.validation import Array
from layerkit.optimizers.blockwise import Blockwise

__all__ = ["Rprop"]


class Rprop(Blockwise):
    """Rprop: steps whose sizes follow from the signs of the gradients alone; for full batches.

    Each number has a size s, 1 at first. Where the gradient g has the sign of the one before,
    s ← min(s · η⁺, max_size); where it has the other, s ← max(s · η⁻, min_size), and g counts as 0
    in this step and as the one before the next. Then values ← values − η · s · sign(g).

    The noise of small batches changes signs: pass all samples as one batch.

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0: the length of the first step. A change of it, as by a schedule,
        scales all steps.
    decrease : float
        Factor η⁻ of a size where the sign has changed, above 0 and below 1.
    increase : float
        Factor η⁺ of a size where it has not, above 1.
    min_size, max_size : float
        Bounds of the sizes, in learning rates; above 0 and at most 1, and at least 1.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Riedmiller & Braun (1993), "A direct adaptive method for faster backpropagation learning: the
    RPROP algorithm", eq. 4-6, without the step back (Igel & Hüsken (2000), "Improving the Rprop
    learning algorithm", iRprop−), as in torch.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Rprop
    >>> values, optimizer = np.array([1.0, 1.0]), Rprop(0.1)
    >>> for grads in ([5.0, -0.001], [3.0, 0.001]):
    ...     optimizer.step(values, np.array(grads))
    >>> values
    array([0.78, 1.1 ])
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        decrease: float = 0.5,
        increase: float = 1.2,
        min_size: float = 1e-4,
        max_size: float = 5000.0,
    ) -> None:
        self.learning_rate = learning_rate
        where = "Rprop.__init__"
        self.decrease = check.number(where, "decrease", decrease, above=0, below=1)
        self.increase = check.number(where, "increase", increase, above=1)
        self.min_size = check.number(where, "min_size", min_size, above=0, maximum=1)
        self.max_size = check.number(where, "max_size", max_size, minimum=1)

    def init_state(self, values: Array) -> dict[str, Array]:
        """Return no gradients yet, and sizes of 1; see `Optimizer.init_state`."""
        return {"previous": np.zeros_like(values), "size": np.ones_like(values)}

    def check_state(
        self, state: Mapping[str, Array], attributes: Mapping[str, object], values: Array
    ) -> None:
        """Refuse sizes of 0 or less too; see `Optimizer.check_state`."""
        super().check_state(state, attributes, values)
        if "size" in state and (state["size"] <= 0).any():
            refuse("Rprop.set_state", "size", "above 0", state["size"])

    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        previous, size = state["previous"], state["size"]
        signs = np.sign(grads, other)
        np.multiply(signs, previous, room)
        has_turned = room < 0
        np.multiply(size, self.increase, size, where=room > 0)
        np.multiply(size, self.decrease, size, where=has_turned)
        np.clip(size, self.min_size, self.max_size, out=size)
        signs[has_turned] = 0
        np.copyto(previous, signs)
        np.multiply(size, self.learning_rate, room)
        room *= signs
        return room
