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
    values ← values − η · (grads + μ · velocity). With dampening τ, the second and later steps
    have velocity ← μ · velocity + (1 − τ) · grads.

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
    dampening : float
        Dampening τ of the momentum, from 0 to 1; Nesterov's form has none.
    coupled_decay : float
        Coupled weight decay λ₂, at least 0: grads ← grads + λ₂ · values, which goes through the
        momentum. It is the gradient of the penalty ½ λ₂ Σ values², which the loss leaves out; the
        regularizer ``L2(λ₂ / 2)`` is in the loss, and by default leaves out biases.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    See Also
    --------
    ParameterGroup.without_decay : Leaves out biases, and the scales of normalisation, of the
        decoupled weight decay.

    References
    ----------
    Sutskever et al. (2013), "On the importance of initialization and momentum in deep
    learning", eq. 1-4, with a velocity that does not contain the learning rate. Loshchilov & Hutter
    (2019), "Decoupled weight decay regularization", algorithm 1, which has both decays.

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
        dampening: float = 0.0,
        coupled_decay: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        where = "SGD.__init__"
        self.momentum = check.number(where, "momentum", momentum, minimum=0, below=1)
        self.nesterov = check.boolean(where, "nesterov", nesterov)
        if nesterov and not momentum:
            check.fail(where, "momentum", "above 0 for Nesterov's form", momentum)
        self.weight_decay = check.number(where, "weight_decay", weight_decay, minimum=0)
        self.dampening = check.number(where, "dampening", dampening, minimum=0, maximum=1)
        if nesterov and dampening:
            check.fail(where, "dampening", "0 for Nesterov's form", dampening)
        self.coupled_decay = check.number(where, "coupled_decay", coupled_decay, minimum=0)

    _scratch: Array | None = None

    @property
    def is_plain(self) -> bool:
        """Whether a step is that of the gradients and the momentum alone, as it is compiled."""
        return not (self.weight_decay or self.dampening or self.coupled_decay)

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
        if self.coupled_decay:
            grads = grads + self.coupled_decay * values
        if velocity is None:
            np.multiply(grads, rate, step)
        elif self.nesterov:
            velocity *= self.momentum
            velocity += grads
            np.multiply(velocity, self.momentum, step)
            step += grads
            step *= rate
        else:
            velocity *= self.momentum
            velocity += self._dampened(grads)
            np.multiply(velocity, rate, step)
        np.subtract(values, step, values)

    def _dampened(self, grads: Array) -> Array:
        """Return the gradients as they go into the velocity, the first ones in full."""
        if not self.dampening or self.n_steps == 1:
            return grads
        return grads * (1 - self.dampening)
