"""`ConstrainedUpdates`: updates after which parameters are brought back into their bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.models.base import Model
from layerkit.optimizers import Optimizer
from layerkit.optimizers.constraints import Constraint
from layerkit.optimizers.parameter_groups import GroupedStep
from layerkit.parameters import Parameter
from layerkit.steps.ranks import Ranks
from layerkit.steps.updates import Closure, Step, Updates

__all__ = ["ConstrainedUpdates"]


class ConstrainedUpdates(Updates):
    """Updates of a model whose parameters have constraints.

    Parameters
    ----------
    model : Model
        Model that is trained.
    optimizer : Optimizer
        Optimizer that makes the steps.
    ranks : Ranks
        This process among those of its job.
    step : callable, optional
        Step of the optimizer for groups of parameters.
    constraints : sequence of Constraint
        Constraints, in the order in which they are applied.

    Raises
    ------
    ArgumentError
        If a constraint is for parameters that there are not, or the optimizer remembers its steps,
        which constraints change.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        ranks: Ranks,
        step: Step | None,
        constraints: Sequence[Constraint],
    ) -> None:
        super().__init__(model, optimizer, ranks, step)
        self.constraints = constraints
        if optimizer.needs_closure or not optimizer.is_elementwise:
            got = check.Said(f"some for {optimizer!r}, which remembers its steps")
            wanted = "empty for an optimizer that uses all parameters together"
            remedy = "Use another one, such as Adam()."
            check.fail("Trainer.__init__", "constraints", wanted, got, remedy)
        self._pairs: list[tuple[Constraint, str, Parameter]] = []
        self._choose()

    def _choose(self) -> None:
        """Find the parameters of each constraint that are trained now."""
        owners = self._usual_step.owners if isinstance(self._usual_step, GroupedStep) else {}
        frozen = {parameter for parameter, group in owners.items() if group.frozen}
        self._pairs = [
            (constraint, name, parameter)
            for constraint in self.constraints
            for name, parameter in constraint.chosen(self.model).items()
            if parameter.trainable and parameter not in frozen
        ]

    def prepare(self) -> None:
        """Bind the optimizer, and find what is frozen, and so not constrained."""
        super().prepare()
        self._choose()

    def apply(
        self, loss: float, x: Array, place: Callable[[], str], closure: Closure | None = None
    ) -> None:
        """Make an update, and bring the parameters back; see `Updates.apply`."""
        super().apply(loss, x, place, closure)
        try:
            for constraint, name, parameter in self._pairs:
                value = constraint.project(parameter.value)
                where = f"{type(constraint).__name__}.project"
                check.computed(where, repr(name), value, parameter.shape, self.model.dtype)
                if not np.isfinite(value).all():
                    got = check.Said("NaN or an infinity")
                    check.fail(where, repr(name), "finite", got)
                parameter.value = value
        except BaseException:
            self.release()
            raise
