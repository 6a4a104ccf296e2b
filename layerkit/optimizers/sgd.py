"""`SGD`: stochastic gradient descent."""

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.optimizers.base import BLOCK, Optimizer

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum.

    Without momentum: values ← values − η · grads. With momentum μ:
    velocity ← μ · velocity + grads and values ← values − η · velocity, or, in Nesterov's form,
    values ← values − η · (grads + μ · velocity).

    Parameters
    ----------
    learning_rate : float
        Learning rate η, above 0.
    momentum : float
        Momentum μ, from 0 to below 1.
    nesterov : bool
        Whether to use Nesterov's form, which needs a momentum above 0.
    weight_decay : float
        Decoupled weight decay λ, at least 0: before each step,
        values ← values · (1 − η · λ).

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Sutskever et al. (2013), "On the importance of initialization and momentum in deep
    learning", eq. 1-4, with a velocity that does not contain the learning rate. Loshchilov & Hutter
    (2019), "Decoupled weight decay regularization", algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SGD
    >>> values, grads = np.array([1.0]), np.array([2.0])
    >>> optimizer = SGD(0.1, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.step(values, grads)
    >>> values
    array([0.5])
    """

    def __init__(
        self,
        learning_rate: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        where = "SGD.__init__"
        self.momentum = check.number(where, "momentum", momentum, minimum=0, below=1)
        self.nesterov = check.boolean(where, "nesterov", nesterov)
        if nesterov and not momentum:
            check.fail(where, "momentum", "above 0 for Nesterov's form", momentum)
        self.weight_decay = check.number(where, "weight_decay", weight_decay, minimum=0)

    _scratch: Array | None = None

    def init_state(self, values: Array) -> dict[str, Array]:
        """Return a velocity of zeros if there is momentum; see `Optimizer.init_state`."""
        return {"velocity": np.zeros_like(values)} if self.momentum else {}

    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Update the parameters; see `Optimizer.update`."""
        velocity = state.get("velocity")
        if self.weight_decay:
            values *= 1 - self.learning_rate * self.weight_decay
        if len(values) <= BLOCK:
            self._descend(values, grads, velocity)
            return
        for start in range(0, len(values), BLOCK):
            part = slice(start, start + BLOCK)
            moving = None if velocity is None else velocity[part]
            self._descend(values[part], grads[part], moving)

    def _descend(self, values: Array, grads: Array, velocity: Array | None) -> None:
        step = self._scratch
        if step is None or step.shape != values.shape or step.dtype != values.dtype:
            step = self._scratch = np.empty_like(values)
        rate = self._rates[values.dtype]
        if velocity is None:
            np.multiply(grads, rate, step)
        else:
            velocity *= self.momentum
            velocity += grads
            if self.nesterov:
                np.multiply(velocity, self.momentum, step)
                step += grads
                step *= rate
            else:
                np.multiply(velocity, rate, step)
        np.subtract(values, step, values)
