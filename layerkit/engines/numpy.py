"""The NumPy engine: trains any model, layer by layer and batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerkit._support import validation as check
from layerkit.engines.base import Engine, EngineUsed, Figures, Goal, Work
from layerkit.metrics.totals import figure
from layerkit.steps.step import ValueAndGradient
from layerkit.steps.updates import Step

__all__ = ["NumPyEngine"]


class NumPyEngine(Engine):
    """Makes the steps of an epoch one after the other.

    Parameters
    ----------
    work : Work
        The fit.
    used : EngineUsed
        Reason why it serves.
    optimizer_step : callable, optional
        Compiled form of the optimizer's step.
    loss : callable, optional
        Compiled form of the loss.
    """

    def __init__(
        self,
        work: Work,
        used: EngineUsed,
        optimizer_step: Step | None = None,
        loss: ValueAndGradient | None = None,
    ) -> None:
        self.work, self.used = work, used
        self.arithmetic = "parts" if optimizer_step or loss else "numpy"
        work.step.updates.use_step(optimizer_step)
        work.step.value_and_gradient = loss or work.step.loss.value_and_gradient

    def train(self, n_epochs: int, goals: Sequence[Goal]) -> Figures:
        """Train one epoch, or what is left of it."""
        work, position, step = self.work, self.work.position, self.work.step
        data, before, after = work.data, work.before_batch, work.after_batch
        updates, describe = step.updates, work.describe_batch
        updates.prepare()
        position.complete_totals(len(step.metrics), is_first=step.ranks.rank == 0)
        if position.order is None:
            position.order = data.draw(work.rng)
        x: Any = None
        own = data.epoch(None, position.steps_done, position.order)
        for x, y, weight in step.ranks.batches(data, own):
            position.step = position.steps_done + 1
            if before:
                before()
            if before or after:  # a callback may have moved the parameters
                updates.prepare()
            step(x, y, weight, position, describe)
            try:
                if after:
                    after()
            finally:
                updates.release()
        if position.weighs_nothing:
            where, got = f"Trainer.fit, epoch {position.epoch}", check.Said("0 for all")
            check.fail(where, "sample_weight", "above 0 for some sample", got)
        if position.n_accumulated:
            after_update = work.after_update
            with updates.whole():
                step.finish(position.batch_loss, x, position, describe)
                if after_update:
                    after_update()
        return self._figures()

    def _figures(self) -> Figures:
        """Return the figures of the epoch."""
        work, position = self.work, self.work.position
        if position.is_only_to_be_recorded:
            figures = [position.loss_total, *position.totals]
            return {name: [figure] for name, figure in zip(work.names, figures, strict=False)}
        ranks = work.step.ranks
        ranks.end_epoch(f"Trainer.fit, epoch {position.epoch}")
        totals = ranks.add_up(position.totals, work.step.metrics)
        figures = [position.loss_total / position.total_weight]
        for metric, total in zip(work.step.metrics, totals, strict=False):
            figures.append(figure(metric, total, totals[-1]))
        return {name: [figure] for name, figure in zip(work.names, figures, strict=True)}

    def end(self) -> None:
        """Return to the usual step and loss: what is compiled can't be pickled."""
        self.work.step.updates.use_step(None)
        self.work.step.value_and_gradient = self.work.step.loss.value_and_gradient
