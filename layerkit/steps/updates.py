"""Updates of a model: each is made whole, or not at all.

Before the optimizer's step, the loss and the gradient must be finite; a step that overflows is
taken back; frozen parameters stay as they are; and Ctrl-C waits for the step's end. What happens
inside of a layer is not looked at: an infinity that leaves loss and gradient finite may stay.
"""

import contextlib
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from layerkit import parameters as flat
from layerkit._support.numerics import unguarded
from layerkit._support.validation import Array
from layerkit.errors import NonFiniteError
from layerkit.layers.passes import go_back
from layerkit.models.base import Model
from layerkit.optimizers import Optimizer
from layerkit.optimizers.constraints import Constraint
from layerkit.optimizers.parameter_groups import (
    GroupedStep,
    Span,
    steps_by_parts,
    trained_spans,
)
from layerkit.parameters import Parameter
from layerkit.steps.ranks import Ranks

__all__ = ["Closure", "Step", "Updates", "calm_limit"]


def _signal() -> Any:
    # Importing it takes longer than most of layerkit does.
    return importlib.import_module("signal")


Step = Callable[[Array, Array], None]
Closure = Callable[[], float]


def _without(frozen: Sequence[tuple[Parameter, Array]], closure: Closure) -> float:
    """Compute a loss and gradients that do not depend on frozen parameters."""
    for parameter, value in frozen:
        parameter.value = value
    loss = closure()
    for parameter, _ in frozen:
        parameter.grad.fill(0)
    return loss


def _step_of_spans(
    optimizer: Optimizer, spans: Sequence[Span], values: Array, grads: Array
) -> None:
    """Make an optimizer's step for parts of the vectors: what is between stays, its state too."""
    optimizer.n_steps += 1
    for span, shapes, _ in spans:
        optimizer.update_part(values, grads, span, shapes)


def calm_limit(dtype: np.dtype[Any]) -> float:
    """Return the size below which neither a number nor a sum of many comes near overflow."""
    return float(np.finfo(dtype).max) * 1e-6


class Updates:
    """Applies an optimizer to a model; a context in which SIGINT waits for whole updates.

    SIGINT is taken over only where Python's own handler is in charge: in the main thread, and
    if the program has not installed another. Of several ranks, all let it through after the same
    update.

    Attributes
    ----------
    constraints : sequence of Constraint
        Constraints that the parameters are brought back into after each update.
    """

    constraints: Sequence[Constraint] = ()

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        ranks: Ranks,
        step: Step | None = None,
    ) -> None:
        self.model, self.optimizer, self.ranks = model, optimizer, ranks
        self._usual_step: Step = step or unguarded(optimizer.step)  # all fits stand in one
        self._calm = calm_limit(model.dtype)
        self._vectors = model.vectors
        self._most = 0.0
        self._rates: tuple[float, float | None, float] | None = None
        self._step: Step = self._usual_step
        self._given: Step | None = None
        self._frozen: list[Parameter] = []
        self.go_back: Callable[..., Any] = model.compute_backward
        self._busy = self._installed = False

    def use_step(self, step: Step | None) -> None:
        """Use another way to make the optimizer's step, or with None the usual one."""
        self._given = step
        self._step = step or self._usual_step

    def prepare(self) -> None:
        """Bind the optimizer, and find what is frozen; before the first update of an epoch."""
        self._vectors = self.model.vectors
        optimizer = self.optimizer
        optimizer.bind(*self._vectors)
        if optimizer.is_parameterwise:
            optimizer.shapes = [p.shape for p in flat.starts(self.model.parameters)]
        rate, decay = (
            getattr(optimizer, "learning_rate", 1.0),
            getattr(optimizer, "weight_decay", 0),
        )
        rates = rate, decay, getattr(optimizer, "coupled_decay", 0)
        if rates != self._rates:
            self._rates = rates
            self._most = self._most_of(rate, sum(own or 0.0 for own in rates[1:]))
        if isinstance(self._usual_step, GroupedStep):
            self._rates = None
            settings = self._usual_step.prepare()
            self._most = min([self._most, *(self._most_of(*each) for each in settings)])
        self._frozen = [p for p in self.model.parameters if not p.trainable]
        if self._frozen:
            self._step = self._step_around_frozen()
            self.go_back = partial(go_back, self.model, skip_frozen=True)
        else:
            self._step = self._given or self._usual_step
            self.go_back = self.model.compute_backward
        self.ranks.prepare()

    def _step_around_frozen(self) -> Step:
        """Return a step of the parameters that train, or one of all if it needs all together."""
        if isinstance(self._usual_step, GroupedStep) or not steps_by_parts(self.optimizer):
            return self._usual_step
        return partial(_step_of_spans, self.optimizer, trained_spans(self.model, {}))

    def _most_of(self, rate: float, decay: float) -> float:
        """Return the sum of squared gradients up to which a step can't overflow; 0 for none."""
        # A decay of more than twice the parameters makes them grow, from step to step.
        is_tame = rate < self._calm and rate * decay <= 2
        return self._calm / rate / rate if is_tame else 0.0

    def apply(
        self, loss: float, x: Array, place: Callable[[], str], closure: Closure | None = None
    ) -> None:
        """Make an update with the gradients that the model holds; SIGINT waits for `release`.

        Parameters
        ----------
        loss : float
            The batch's loss.
        x : ndarray of shape (batch_size, *input_shape)
            The batch's inputs, to find out where a number stops being finite.
        place : callable
            Gives the start of an error's message.
        closure : callable, optional
            Computes the batch's loss and gradients again, for an optimizer that needs it.

        Raises
        ------
        NonFiniteError
            If the loss, a gradient or the update is not finite; the model is unchanged then.
        """
        values, grads = self._vectors
        # One product tells whether all is finite and far from overflow; NaN makes it false.
        calm = grads.dot(grads) < self._most and -math.inf < loss < math.inf
        self._busy = True
        try:
            if not calm or self._frozen:
                self._apply_carefully(loss, x, place, closure)
            elif closure is None:
                self._step(values, grads)
            else:
                self.optimizer.step_with(values, grads, loss, closure)
        except BaseException:
            self.release()
            raise

    def hold(self) -> None:
        """Make SIGINT wait for `release`."""
        self._busy = True

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Make SIGINT wait until the ``with`` block ends."""
        self._busy = True
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Allow SIGINT again; raise one that has come meanwhile."""
        self._busy = False
        ranks = self.ranks
        if ranks.is_interrupted:
            ranks.is_interrupted = ranks.wants_to_stop = False
            raise KeyboardInterrupt

    def _apply_carefully(
        self, loss: float, x: Array, place: Callable[[], str], closure: Closure | None
    ) -> None:
        values, grads = self._vectors
        for parameter in self._frozen:
            parameter.grad.fill(0)
        if not (math.isfinite(loss) and np.isfinite(grads).all()):
            self._refuse(loss, x, place)
        is_around = self._frozen and steps_by_parts(self.optimizer)
        if is_around and grads.dot(grads) < self._most:
            self._step(values, grads)
            return
        state = self.optimizer.state
        before = values.copy(), {name: vector.copy() for name, vector in state.items()}
        n_steps = self.optimizer.n_steps
        frozen = [(parameter, parameter.value.copy()) for parameter in self._frozen]
        if closure is None:
            (self._step if is_around else self._usual_step)(values, grads)
        else:
            self.optimizer.step_with(values, grads, loss, partial(_without, frozen, closure))
        for parameter, value in frozen:
            parameter.value = value
        if not all(np.isfinite(vector).all() for vector in (values, *state.values())):
            values[:] = before[0]
            for name, vector in before[1].items():
                state[name][:] = vector
            self.optimizer.n_steps = n_steps
            raise NonFiniteError(
                f"{place()} must lead to a finite update; got one that overflows. The parameters "
                "are as they were before it: lower the learning rate."
            )

    def _refuse(self, loss: float, x: Array, place: Callable[[], str]) -> NoReturn:
        error = NonFiniteError(
            f"{place()} and its gradient must be finite; got a loss of {loss:g}, with NaN or "
            f"infinity first in {self._first_non_finite(x)}. The parameters are as they were "
            "before this batch: lower the learning rate, or scale the data."
        )
        self.ranks.mark(error)
        raise error

    def _first_non_finite(self, x: Array) -> str:
        """Name the layer whose output, or else whose gradient, stopped being finite."""
        found = self.ranks.find_non_finite(self._non_finite_output(x))
        if found:
            return found
        for place, layer in reversed(self.model.places()):
            for parameter in layer.parameters:
                if not np.isfinite(parameter.grad).all():
                    return f"the gradient of {parameter.name!r} of {place}, {layer!r}"
        return "the loss"

    def _non_finite_output(self, x: Any) -> str:
        for place, layer, y in () if x is None or not len(x) else self.model.each_output(x):
            if not np.isfinite(y).all():
                return f"the output of {place}, {layer!r}"
        return ""

    def __enter__(self) -> None:
        """Install a handler of SIGINT in the place of Python's."""
        signal = _signal()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # Only the main thread may, and only it is interrupted.
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGINT, self._handle)
                self._installed = True

    def __exit__(self, *error: object) -> None:
        """Install Python's handler again."""
        if self._installed:
            signal = _signal()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False
        if self.ranks.wants_to_stop:
            self.ranks.wants_to_stop = False
            if error[0] is None:  # it came too late for the ranks to agree on a step
                raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.ranks.interrupt(is_busy=self._busy)
