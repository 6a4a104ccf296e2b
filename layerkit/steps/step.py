"""`TrainingStep`: forward, loss, backward, rules and update, the one step of all training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.losses import Loss
from layerkit.losses.base import weighted
from layerkit.metrics import Metric
from layerkit.metrics.totals import merged, totals, widened
from layerkit.models.base import Model
from layerkit.optimizers import Optimizer
from layerkit.steps.position import Position
from layerkit.steps.ranks import Ranks
from layerkit.steps.rules import GradientRules, accumulate, take_accumulated
from layerkit.steps.updates import Closure, Updates

__all__ = ["TrainingStep", "ValueAndGradient"]

ValueAndGradient = Callable[[Array, Array], tuple[float, Array]]
Describe = Callable[[], str]


class TrainingStep:
    """A step of training on a batch that is checked.

    Parameters
    ----------
    model : Model
        Model to train, in place.
    loss : Loss
        Loss function to minimise.
    optimizer : Optimizer
        Optimizer that makes the updates.
    metrics : sequence of Metric
        Figures to add up, each taken before the update.
    rules : GradientRules
        Regularizers and clipping.
    updates : Updates
        Guard around the optimizer's step.
    ranks : Ranks
        This process among those of its job.

    Attributes
    ----------
    value_and_gradient : callable
        Computes the loss of a batch without weights; an engine may set a quicker one.

    Raises
    ------
    ArgumentError
        If the optimizer evaluates the loss again, and something makes it another one each time.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        optimizer: Optimizer,
        metrics: Sequence[Metric],
        rules: GradientRules,
        updates: Updates,
        ranks: Ranks,
    ) -> None:
        self.model, self.loss, self.optimizer, self.metrics = model, loss, optimizer, metrics
        self.rules, self.updates, self.ranks = rules, updates, ranks
        self._needs_closure = optimizer.needs_closure
        if optimizer.needs_closure:
            _refuse_other_losses("Trainer.__init__", model, optimizer, rules)
        self.lose = ranks.scaled(self._lose)
        self.value_and_gradient: ValueAndGradient = loss.value_and_gradient

    def __call__(
        self, x: Array, y: Array, weight: Array | None, position: Position, describe: Describe
    ) -> float:
        """Make a step, add it to the position, and return the loss; SIGINT then waits.

        ``describe`` returns the beginning of an error's message about the batch.
        """
        size, added = len(x), None
        share = size if weight is None else float(weight.sum())
        if size:
            y_pred, cache = self.model.compute_forward(x, training=True)
            loss, dy = self.lose(y_pred, y, weight)
            if type(loss) is not float:  # of float32, sums would be taken in float32
                loss = check.one_float(f"{type(self.loss).__name__}.value", "the loss", loss)
            if position.totals:  # before the backward pass, which may use the predictions' memory
                added = self._totals(y_pred, y, weight, size, position.totals)
            self.updates.go_back(dy, cache, need_dx=False)
        else:
            loss = self.ranks.sit_out(x)
        is_whole = position.batches_per_update == 1
        loss, size, share = self.ranks.reduce(loss, size, share, is_whole)
        if self.rules.are_any:
            loss += self.rules.penalty()
        if is_whole:
            self._update(loss, x, describe, y, weight)
        else:
            self.updates.hold()
            if accumulate(position, self.model, share) == position.batches_per_update:
                self.finish(loss, x, position, describe)
        position.add(loss, size, share, added)
        return loss

    def _lose(self, y_pred: Array, y: Array, weight: Array | None) -> tuple[float, Array]:
        """Compute the loss of a batch, and its gradient."""
        if weight is None:
            return self.value_and_gradient(y_pred, y)
        return weighted(self.loss, y_pred, y, weight)

    def totals_of(self, x: Array, y: Array, weight: Array | None) -> list[Any]:
        """Return the total of each metric over a batch in evaluation, which changes nothing."""
        y_pred, _ = self.model.compute_forward(x, training=False)
        return totals(self.metrics, y_pred, y, weight)[: len(self.metrics)]

    def _totals(
        self, y_pred: Any, y: Any, weight: Array | None, size: int, before: list[Any]
    ) -> list[Any]:
        """Return the totals of the metrics, those of the batches before put together with these."""
        if weight is not None:
            return merged(self.metrics, before, totals(self.metrics, y_pred, y, weight))
        found = before.copy()  # by hand what `merged` does, in a third of its time
        found[-1] += size
        for index, metric in enumerate(self.metrics):
            own = metric.total(y_pred, y)
            found[index] = metric.merge(found[index], own if type(own) is float else widened(own))
        return found

    def finish(self, loss: float, x: Array, position: Position, describe: Describe) -> None:
        """Update the parameters with the gradients that wait, if there are any."""
        if position.n_accumulated:
            take_accumulated(position, self.model)
            self.ranks.reduce_grads()
            self._update(loss, x, describe)

    def _update(
        self, loss: float, x: Array, describe: Describe, y: Any = None, weight: Any = None
    ) -> None:
        """Update the parameters; with the targets and weights of the batch, if it is one."""
        if self.rules.are_any:
            self.rules.apply()
        closure = self._closure(x, y, weight) if self._needs_closure else None
        self.updates.apply(loss, x, describe, closure)

    def _closure(self, x: Array, y: Array, weight: Array | None) -> Closure:
        """Return the batch's loss as a function of the parameters, which writes the gradients.

        What layers learn besides, they learn from the step's own pass.
        """
        size = len(x)
        share = size if weight is None else float(weight.sum())
        states = [(layer, copy.deepcopy(layer.get_state())) for _, layer in self.model.walk()]

        def compute() -> float:
            if size:
                y_pred, cache = self.model.compute_forward(x, training=True)
                loss, dy = self.lose(y_pred, y, weight)
                self.updates.go_back(dy, cache, need_dx=False)
            else:
                loss = self.ranks.sit_out(x)
            for layer, state in states:
                if state:
                    layer.set_state(copy.deepcopy(state))
            loss = self.ranks.reduce(loss, size, share)[0]
            if self.rules.are_any:
                loss += self.rules.penalty()
                self.rules.apply()
            return loss

        return compute


def _refuse_other_losses(
    where: str, model: Model, optimizer: Optimizer, rules: GradientRules
) -> None:
    """Refuse what has no loss that could be compared at two places."""
    wanted = f"for {optimizer!r}, which compares the batch's loss at different parameters"
    remedy = "Use an optimizer that does not, such as Adam(), or LBFGS(line_search=None)."
    for path, layer in model.walk():
        if layer.is_random:
            got = check.Said(f"{layer!r}, at {path!r}, which draws numbers in each pass")
            check.fail(where, "model", f"without random layers {wanted}", got, remedy)
    if rules.clipping is not None:
        check.fail(where, "clipping", f"None {wanted}", rules.clipping, remedy)
