"""`Fit`: one run of training, from its first epoch to its last."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit.data.batches import Batches, StreamBatches
from layerkit.engines.base import Engine, EngineUsed, Figures, Goal
from layerkit.engines.choice import EngineName, choose_engine
from layerkit.errors import StateError
from layerkit.models.base import Model
from layerkit.steps.position import Position
from layerkit.steps.step import TrainingStep
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.checkpoint import (
    Resumed,
    callback_states,
    check_resumed,
    check_settings,
    history_of,
    settings_of,
)
from layerkit.training.evaluation import evaluate, figure_names
from layerkit.training.hooks import Hooks

__all__ = ["Fit", "sole_training"]


@contextlib.contextmanager
def sole_training(where: str, model: Model) -> Iterator[None]:
    """Refuse a model that is being trained already, by a callback or in another thread."""
    key, token = flat.training_key(model, model.parameters), object()
    if flat.in_training.setdefault(key, token) is not token:  # one step, whatever the threads do
        got = check.Said("one that is being trained")
        remedy = "Train a copy: copy.deepcopy(model)."
        check.fail(where, "model", "in one fit at a time", got, remedy, error=StateError)
    try:
        yield
    finally:
        del flat.in_training[key]


class Fit:
    """One run of training: data, hooks, history, an engine, and how far it has come.

    A fit may be stopped anywhere, and `run` again: it goes on from its position.

    Parameters
    ----------
    trainer : TrainingState
        Argument of the callbacks' hooks.
    step : TrainingStep
        Step to make, with the model, the loss, the optimizer and the metrics.
    rng : numpy.random.Generator
        Generator of the order of the samples.
    data : Batches
        Batches to train on.
    validation : Batches, optional
        Batches to evaluate after each epoch.
    epochs : int
        Number of epochs in all.
    shuffle : bool
        Whether each epoch draws an order of its own.
    n_batches : int
        Number of batches that make an update together.
    callbacks : sequence of Callback
        Callbacks of this fit.
    engine : {"auto", "numpy", "numba"}
        Engine to use.
    n_steps_before : int
        Number of steps made before, to judge whether what takes time to load pays.
    has_groups : bool
        Whether groups of parameters have steps of their own.
    resumed : mapping, optional
        Fit to go on with, as a checkpoint holds it.

    Attributes
    ----------
    position : Position
        Progress of the fit.
    history : History
        Figures of the epochs that are finished.
    engine : Engine
        Engine that serves.

    Raises
    ------
    ArgumentError
        If the fit is unlike the one that it is to go on with, or the engine can't serve it.
    """

    def __init__(
        self,
        trainer: TrainingState,
        step: TrainingStep,
        rng: np.random.Generator,
        data: Batches,
        validation: Batches | None,
        *,
        epochs: int,
        shuffle: bool = True,
        n_batches: int = 1,
        callbacks: Sequence[Callback] = (),
        engine: EngineName = "auto",
        n_steps_before: int = 0,
        has_groups: bool = False,
        resumed: Resumed | None = None,
    ) -> None:
        where = "Trainer.fit"
        self.step, self.data, self.validation, self.epochs = step, data, validation, epochs
        if n_batches > 1 and step.optimizer.needs_closure:
            wanted = f"1 for {step.optimizer!r}, which evaluates the loss of one batch again"
            check.fail(where, "accumulate", wanted, n_batches, "Or pass LBFGS(line_search=None).")
        self.rng = rng if shuffle else None
        self.position = Position(resumed and resumed["progress"])
        if validation is not None and validation.rows is not None:
            self.position.held_out = validation.rows
        settings = settings_of(data, shuffle, n_batches)
        check_settings(where, self.position, resumed, settings)
        if epochs:
            self.position.settings = settings
        check_resumed(where, resumed, step, data, n_batches)
        self.hooks = Hooks(trainer, callbacks)
        self._states = callback_states(where, resumed, self.hooks.all, trainer)
        self.names = figure_names(step.metrics, is_validated=False)
        names = figure_names(step.metrics, is_validated=validation is not None)
        added = self.hooks.figure_names
        for name in added:
            if [*names, *added].count(name) > 1:
                check.fail(where, "callbacks", "of figures with names of their own", name)
        names += added
        self._adds_figures = validation is not None or bool(added)
        self.history = history_of(where, resumed, names)
        self.position.batches_per_update = n_batches
        self._engine_wanted: EngineName = engine
        self._has_groups = has_groups
        self._n_steps = epochs * (data.steps_per_epoch or 0) + n_steps_before
        as_before = self.position.arithmetic
        self.engine = self._choose_engine(refuses=engine == "numba", as_before=as_before)
        if epochs:  # what an optimizer refuses, it refuses before callbacks begin
            step.optimizer.bind(*step.model.vectors)

    def run(self) -> None:
        """Train, epoch by epoch, until the last one, or until somebody asks to stop."""
        if not self.epochs:
            return  # not even callbacks are called
        position, hooks, updates = self.position, self.hooks, self.step.updates
        # The guard before each update names what overflows better than NumPy's warnings do.
        with np.errstate(all="ignore"), updates:
            try:
                self._begin()
                while position.is_mid_epoch or not self.is_over:
                    if not position.is_mid_epoch:
                        position.epoch, position.step = position.epoch + 1, 0
                        hooks.call_epoch("on_epoch_begin", position.epoch)
                        position.begin_epoch(len(self.step.metrics))
                    figures = self._train()
                    if self.validation:
                        figures |= self._validate(self.validation)
                    figures |= hooks.figures()
                    # Ctrl-C waits until each callback knows of what is on record.
                    with updates.whole():
                        if figures:
                            self.history.extend(figures)
                        position.end_epoch()
                        hooks.call_epoch("on_epoch_end", position.epoch)
                    position.stopped = self.step.ranks.agree_to_stop(position.stopped)
                    updates.release()
            finally:
                self._end()

    @property
    def is_over(self) -> bool:
        """Whether there is no further epoch to begin."""
        return self.position.stopped or self.position.epoch >= self.epochs

    @property
    def engine_used(self) -> EngineUsed:
        """Name of the engine that serves, and why."""
        return self.engine.used

    @property
    def before_batch(self) -> Callable[[], None] | None:
        """Function that calls the hooks before a batch; None if there are none."""
        return self.hooks.caller("on_batch_begin")

    @property
    def after_update(self) -> Callable[[], None] | None:
        """Function that calls the hooks after an update; None if there are none."""
        return self.hooks.caller("on_update_end")

    @property
    def after_batch(self) -> Callable[[], None] | None:
        """Function that calls the hooks after a batch and its update; None if there are none."""
        if self.after_update is None:
            return self.hooks.caller("on_batch_end")

        def call() -> None:
            waits = self.position.n_accumulated > 0
            self.hooks.call(*(() if waits else ("on_update_end",)), "on_batch_end")

        return call

    @property
    def record(self) -> Callable[[Figures], None] | None:
        """Function that records figures; None if others are added first."""
        return None if self._adds_figures else self.history.extend

    def describe_batch(self) -> str:
        """Return the beginning of an error's message about the batch at work."""
        epoch, step = self.position.epoch, self.position.step
        return f"Trainer.fit: the loss in epoch {epoch}, step {step}, {self.data.describe(step)},"

    def _begin(self) -> None:
        position, ranks = self.position, self.step.ranks
        position.epoch, position.step = position.epochs_begun, position.steps_done
        if position.is_resumed and isinstance(self.data, StreamBatches):
            self.data.skip(position.n_batches)
        ranks.begin(lambda: f"Trainer.fit, epoch {self.position.epoch}, step {self.position.step}")
        self.hooks.begin(self._states)

    def _train(self) -> Figures:
        """Train at least one epoch, and return the figures that are not on record yet."""
        hooks = self.hooks
        if hooks.callbacks and not self.engine.is_current():
            self.engine.end()
            self.engine = self._choose_engine()
        watched = hooks.watched(self.engine.watchable)
        n_epochs = hooks.epochs_until_due(self.position.epoch, self.epochs, watched)
        n_epochs = 1 if self._adds_figures else n_epochs
        goals = [Goal(stop.metric, stop.value, stop.rises) for stop in watched]
        return self.engine.train(n_epochs, goals)

    def _validate(self, validation: Batches) -> Figures:
        metrics, where = self.step.metrics, "Trainer.fit, validation_data"
        figures = evaluate(self.step, validation, metrics, where)
        return {f"val_{name}": [figure] for name, figure in figures.items()}

    def _choose_engine(self, *, refuses: bool = False, as_before: str | None = None) -> Engine:
        engine = choose_engine(
            self,
            self._engine_wanted,
            self._n_steps,
            has_groups=self._has_groups,
            refuses=refuses,
            as_before=as_before,
        )
        self.position.arithmetic = engine.arithmetic
        return engine

    def _end(self) -> None:
        """Release what only this fit needs, and let each callback end that began."""
        self.step.ranks.end()
        self.step.model.forget_workspace()
        self.engine.end()
        self.hooks.end()
