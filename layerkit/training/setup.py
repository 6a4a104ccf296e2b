"""`Setup`: what all fits of a trainer have in common, joined and ready to train."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit.data.batches import Batch, Batches
from layerkit.data.preparation import Preparation
from layerkit.engines.base import EngineUsed
from layerkit.engines.choice import EngineName
from layerkit.errors import StateError
from layerkit.losses.regularizers import Regularizer
from layerkit.metrics import Metric
from layerkit.metrics.totals import suited
from layerkit.models.statistics import update_statistics
from layerkit.optimizers.clipping import Clipping
from layerkit.optimizers.constraints import Constraint
from layerkit.optimizers.parameter_groups import GroupedStep, ParameterGroup
from layerkit.steps.connected import ranks_of
from layerkit.steps.constrained import ConstrainedUpdates
from layerkit.steps.position import Position
from layerkit.steps.position_checks import check_held_out
from layerkit.steps.rules import GradientRules
from layerkit.steps.step import TrainingStep
from layerkit.steps.updates import Updates
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.callbacks.reporting import ProgressBar
from layerkit.training.checkpoint import Resumed
from layerkit.training.fit import Fit
from layerkit.training.history import History
from layerkit.training.hooks import Hooks

__all__ = ["Setup", "check_metrics"]


class Trains(TrainingState, Protocol):
    """Training as its setup sees it: with a generator, which may be assigned to."""

    rng: np.random.Generator


class Setup:
    """The step, the ranks and the checks of data of a trainer; makes its fits.

    Parameters
    ----------
    trainer : Trains
        Trainer, whose loss, metrics and generator count as they are when a fit begins.
    regularizers : sequence of Regularizer
        Penalties on the parameters.
    clipping : Clipping, optional
        Bound on the gradients.
    groups : sequence of ParameterGroup
        Settings of the optimizer for some of the layers.
    constraints : sequence of Constraint
        Constraints on the parameters.

    Attributes
    ----------
    ranks : Ranks
        This process among those that train together.
    resumed : mapping or None
        Fit that the next one goes on with.
    history, epochs, position, hooks, engine_used
        Those of the last fit.
    data : Batches or None
        Batches of the fit that runs.
    """

    def __init__(
        self,
        trainer: Trains,
        regularizers: Sequence[Regularizer],
        clipping: Clipping | None,
        groups: Sequence[ParameterGroup],
        constraints: Sequence[Constraint],
    ) -> None:
        model, optimizer, communicator = trainer.model, trainer.optimizer, trainer.communicator
        loss, self._given = trainer.loss, list(trainer.metrics)
        metrics = suited("Trainer.__init__", trainer.metrics, loss.predictions)
        self.trainer = trainer
        self.ranks = ranks_of(communicator, model, optimizer)
        self.has_groups = bool(groups)
        grouped = GroupedStep("Trainer.__init__", model, optimizer, groups) if groups else None
        rules = GradientRules(model, regularizers, clipping)
        updates = Updates(model, optimizer, self.ranks, grouped)
        if constraints:
            updates = ConstrainedUpdates(model, optimizer, self.ranks, grouped, constraints)
        self._step = TrainingStep(model, loss, optimizer, metrics, rules, updates, self.ranks)
        self._preparation = Preparation(model, loss, trainer.metrics, communicator)
        self.resumed: Resumed | None = None
        self.history, self.epochs, self.position = History([]), 0, Position()
        self.hooks: Hooks | None = None
        self.engine_used: EngineUsed | None = None
        self.data: Batches | None = None
        self._n_steps = 0
        self._held_out: tuple[object, Any] = None, None

    @property
    def step(self) -> TrainingStep:
        """The step, with the loss and the metrics that the trainer has now."""
        step, trainer = self._step, self.trainer
        loss, metrics = trainer.loss, list(trainer.metrics)
        is_other = step.loss is not loss
        if is_other or metrics != self._given:
            step.metrics = suited("Trainer", metrics, loss.predictions)
            self._given = metrics
        if is_other:  # else an engine may have set a quicker form of it
            step.loss, step.value_and_gradient = loss, loss.value_and_gradient
        return step

    def preparation(self, metrics: Sequence[Metric] | None = None) -> Preparation:
        """Return the checks of data, for the trainer's metrics or others."""
        trainer, known = self.trainer, self._preparation
        metrics = trainer.metrics if metrics is None else metrics
        if known.loss is trainer.loss and known.metrics is metrics:
            return known
        return Preparation(trainer.model, trainer.loss, metrics, trainer.communicator)

    def facts(self) -> dict[str, object]:
        """Return what has to be the same on all ranks, whatever is done."""
        return {
            "loss": self.trainer.loss,
            "optimizer": type(self.trainer.optimizer).__name__,
            "metrics": self.trainer.metrics,
            "seed": type(self.trainer.rng.bit_generator).__name__,
        }

    @ignoring("under")
    def batches(
        self,
        where: str,
        x: Any,
        y: Any,
        batch_size: int,
        *,
        facts: Mapping[str, object] | None = None,
        metrics: Sequence[Metric] | None = None,
        **options: Any,
    ) -> Batches:
        """Check data, and bring them into batches; on all ranks, and alike.

        Parameters
        ----------
        where : str
            Call that errors name.
        x, y, batch_size
            Data, as `Trainer.fit` takes them.
        facts : mapping of str to object, optional
            Further arguments that have to be the same on all ranks.
        metrics : sequence of Metric, optional
            Metrics to check the targets for, instead of the trainer's.
        **options
            As for `Preparation.batches`.
        """
        with self.ranks.together(where, self.facts) as known:
            data = self.preparation(metrics).batches(where, x, y, batch_size, **options)
            known |= facts or {}
            known["the number of samples"] = getattr(data, "n_samples", "that of a stream")
            known["steps_per_epoch"] = data.steps_per_epoch
        return data

    def begin_step(self, where: str, batch: Batch) -> None:
        """Begin a step of a loop of the user's own, on all ranks."""
        if not self.ranks.is_synchronised:
            with self.ranks.together(where, self.facts):
                pass
            self.synchronise(begins_fit=False)
        self.ranks.begin_step(self.trainer.optimizer.n_steps, batch)

    def synchronise(self, *, begins_fit: bool = True) -> None:
        """Make each rank what rank 0 is, to begin a fit, or a loop of the user's own."""
        trainer = self.trainer
        self.resumed = self.ranks.synchronise(
            trainer.optimizer, trainer.rng, self.resumed, begins_fit=begins_fit
        )

    def go_on_with(self, resumed: Resumed) -> None:
        """Make a fit the one that the next goes on with; the last one is over."""
        self.resumed, self.hooks = resumed, None

    def new_fit(
        self,
        data: Batches,
        validation: Batches | None = None,
        *,
        epochs: int,
        shuffle: bool = True,
        n_batches: int = 1,
        callbacks: Sequence[Callback] = (),
        engine: EngineName = "auto",
    ) -> Fit:
        """Return a fit on batches that are prepared; after `Trainer.resume`, the interrupted one.

        Parameters
        ----------
        data : Batches
            Batches to train on.
        validation : Batches, optional
            Batches to evaluate after each epoch.
        epochs, shuffle, n_batches, callbacks, engine
            As in `Fit`.
        """
        return Fit(
            self.trainer,
            self.step,
            self.trainer.rng,
            data,
            validation,
            epochs=epochs,
            shuffle=shuffle,
            n_batches=n_batches,
            callbacks=callbacks,
            engine=engine if epochs else "numpy",
            n_steps_before=self._n_steps,
            has_groups=self.has_groups,
            resumed=self.resumed,
        )

    @contextlib.contextmanager
    def shown(self, fit: Fit) -> Iterator[None]:
        """Show a fit while it runs, and keep its record."""
        self.show(fit)
        self.data = fit.data
        try:
            yield
        finally:
            self.data = None
            if fit.epochs:
                self.engine_used = fit.engine_used

    def show(self, fit: Fit) -> None:
        """Make the position and the record of a fit those that the trainer shows."""
        self.history, self.epochs, self.position = fit.history, fit.epochs, fit.position
        self.hooks = fit.hooks if fit.epochs else None
        if fit.epochs:
            self.engine_used, self.resumed = fit.engine_used, None
            self._n_steps += fit.epochs * (fit.data.steps_per_epoch or 0)

    def update_statistics(self, where: str) -> None:
        """Compute the statistics that layers keep over all inputs of the fit that runs."""
        data = self.data
        if data is None or not data.are_repeatable:
            wanted = "at hand, and of a kind that can be gone through again"
            got = check.Said("none, as no fit runs" if data is None else "those of a stream")
            remedy = "Write model.update_statistics(x)."
            check.fail(where, "the training data", wanted, got, remedy, error=StateError)
        update_statistics(self.trainer.model, data.inputs)

    def active(
        self, where: str, callbacks: Sequence[Callback], progress: bool | None, epochs: int
    ) -> list[Callback]:
        """Return the callbacks of a fit, with a progress bar if one is to be shown."""
        for callback in callbacks:
            check.integer(where, f"the period of {callback!r}", callback.period, minimum=1)
        if progress is None:
            progress = sys.stderr.isatty() and epochs > 0
        is_shown = check.boolean(where, "progress", progress) and self.ranks.rank == 0
        if is_shown and not any(isinstance(callback, ProgressBar) for callback in callbacks):
            return [*callbacks, ProgressBar()]
        return list(callbacks)

    @contextlib.contextmanager
    def order_kept_on_error(self) -> Iterator[None]:
        """Leave the generator as it was if what needs it is refused."""
        before = self.trainer.rng.bit_generator.state
        try:
            yield
        except BaseException:
            self.trainer.rng.bit_generator.state = before
            raise

    @ignoring("under")
    def divided(
        self, where: str, data: Batches, validation_data: Any, share: float | None, stratify: bool
    ) -> tuple[Batches, Batches | None]:
        """Return the batches to train on and to evaluate, of each this rank's part."""
        preparation, rng = self.preparation(), self.trainer.rng
        validation: Batches | None = None
        if share is not None:
            if validation_data is not None:
                wanted = "None with validation_data"
                check.fail(where, "validation_split", wanted, share)
            # What one fit has trained on is no validation of the next.
            key = share, preparation.drawn_from(data, stratify)
            known = self._held_out[1] if key == self._held_out[0] else None
            if self.resumed:
                known = self.resumed["progress"]["held_out"]
                check_held_out(where, known, getattr(data, "n_samples", 0))
            data, validation = preparation.split(where, data, share, stratify, rng, known)
            self._held_out = key, validation.rows
        elif validation_data is not None:
            validation = preparation.validation(where, validation_data)
        for batches in (data, validation):
            if batches is not None:
                batches.divide(self.ranks.rank, self.ranks.size)
        return data, validation


def check_metrics(where: str, metrics: Sequence[Metric]) -> None:
    """Refuse metrics that can't be recorded, each under a name of its own."""
    for metric in metrics:
        if not metric.is_figure:
            remedy = "Write trainer.evaluate(x, y, metrics=[...])."
            check.fail(where, "metrics", "figures of one number each", metric, remedy)
    names = ["loss", *(metric.name for metric in metrics)]
    for name in names:
        if names.count(name) > 1:
            check.fail(where, "metrics", "of different names, none of them 'loss'", name)
