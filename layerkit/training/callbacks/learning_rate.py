"""Callbacks that change the learning rate during a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from layerkit._support import validation as check
from layerkit._support.state_checks import ranged, refuse
from layerkit.optimizers.schedules import Schedule
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.callbacks.stopping import figure_name, gain, rises, worst

__all__ = ["LearningRateSchedule", "RecordLearningRate", "ReduceOnPlateau"]

# A learning rate is above 0, where a schedule may end at 0.
_LEAST = 1e-30


class LearningRateSchedule(Callback):
    """Set the learning rate to its initial value times the factor of a schedule.

    What another callback makes of the learning rate meanwhile counts as a further factor from then
    on: `ReduceOnPlateau` scales what the schedule gives, and of two schedules, one by epochs and
    one by steps, the rate is the product.

    Parameters
    ----------
    schedule : Schedule
        Factor of the initial learning rate, as a function of time.
    unit : {"epoch", "step"}
        Unit of the time, which is counted from 0; steps are those of the optimizer.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; in training, if the schedule returns anything but a
        finite number of at least 0.

    See Also
    --------
    RecordLearningRate : Adds the learning rate to the history.
    find_learning_rate : Finds the initial one.

    Examples
    --------
    >>> from layerkit import Cosine, LearningRateSchedule
    >>> LearningRateSchedule(Cosine(100), unit="step")
    LearningRateSchedule(Cosine(100), 'step')
    """

    def __init__(self, schedule: Schedule, unit: Literal["epoch", "step"] = "epoch") -> None:
        where = "LearningRateSchedule.__init__"
        self.schedule = check.instance(where, "schedule", schedule, Schedule)
        self.unit = check.choice(where, "unit", unit, ("epoch", "step"))
        self._initial = self._last = self._left = math.nan
        self._first_step = 0
        if unit == "step":
            self.on_batch_begin = self._before_step  # type: ignore[method-assign]

    def check_state(self, state: Mapping[str, Any], trainer: TrainingState) -> None:
        """Refuse what is no learning rate, or a later step; see `Callback.check_state`."""
        super().check_state(state, trainer)
        where, first = "LearningRateSchedule.set_state", state.get("_first_step", 0)
        ranged(where, state, _initial="a finite number above 0", _first_step="a count")
        if first > trainer.optimizer.n_steps:
            refuse(where, "_first_step", f"at most {trainer.optimizer.n_steps}", first)

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Store the initial learning rate, unless the current one is that of the last fit's end."""
        if trainer.optimizer.learning_rate != self._left:
            self._initial = self._last = trainer.optimizer.learning_rate
        self._first_step = trainer.optimizer.n_steps

    def on_epoch_begin(self, trainer: TrainingState) -> None:
        """Set the learning rate of the epoch, if the unit is the epoch."""
        if self.unit == "epoch":
            self._set(trainer, trainer.epoch - 1)

    def _before_step(self, trainer: TrainingState) -> None:
        self._set(trainer, trainer.optimizer.n_steps - self._first_step)

    def on_train_end(self, trainer: TrainingState) -> None:
        """Note the learning rate, which another callback may have changed in this fit."""
        # And nothing else: a fit that goes on from here counts the change at its next step.
        self._left = trainer.optimizer.learning_rate

    def _set(self, trainer: TrainingState, time: int) -> None:
        rate = trainer.optimizer.learning_rate
        if self._last > 0:  # in checkpoints of version 0.1.0 it may be NaN
            self._initial *= rate / self._last
        rate = max(self._initial * self.schedule.factor_at(time), _LEAST * self._initial)
        trainer.optimizer.learning_rate = self._last = rate

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore the attributes, and bind the hook to this object."""
        vars(self).update(state)
        if self.unit == "step":
            self.on_batch_begin = self._before_step  # type: ignore[method-assign]


class RecordLearningRate(Callback):
    """Add the learning rate to the history, as ``"learning_rate"``.

    It is that of the epoch's last step, whatever sets it: a `LearningRateSchedule`, a
    `ReduceOnPlateau`, or callbacks of one's own.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import *
    >>> callbacks = [LearningRateSchedule(Step(2, 0.5)), RecordLearningRate()]
    >>> trainer = Trainer(Sequential([Dense(1, 1)]), HalfSquaredError(), SGD(0.8))
    >>> x = np.zeros((6, 1))
    >>> trainer.fit(x, x, epochs=5, callbacks=callbacks)["learning_rate"]
    [0.8, 0.8, 0.4, 0.4, 0.2]
    """

    recorded_names = ("learning_rate",)

    def recorded_figures(self, trainer: TrainingState) -> Mapping[str, float]:
        """Return the learning rate; see `Callback`."""
        return {"learning_rate": trainer.optimizer.learning_rate}


class ReduceOnPlateau(Callback):
    """Reduce the learning rate when a monitored quantity has stopped improving.

    Beside a `LearningRateSchedule`, each reduction scales all that the schedule gives afterwards.

    Parameters
    ----------
    monitor : str
        Quantity to monitor: a name in `History`, such as ``"val_loss"``.
    factor : float
        Factor of each reduction; above 0 and below 1.
    patience : int
        Number of epochs without an improvement before each reduction.
    min_delta : float
        Smallest change that counts as an improvement; at least 0.
    minimum : float
        Lower bound of what a reduction makes of the learning rate; at least 0. A schedule may go
        below it.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range; when training begins, if no such
        quantity is recorded.

    Examples
    --------
    >>> from layerkit import ReduceOnPlateau
    >>> ReduceOnPlateau("loss", patience=3)
    ReduceOnPlateau('loss', patience=3)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        minimum: float = 0.0,
    ) -> None:
        where = "ReduceOnPlateau.__init__"
        self.monitor = figure_name(where, "monitor", monitor)
        self.factor = check.number(where, "factor", factor, above=0, below=1)
        self.patience = check.integer(where, "patience", patience, minimum=1)
        self.min_delta = check.number(where, "min_delta", min_delta, minimum=0)
        self.minimum = check.number(where, "minimum", minimum, minimum=0)
        self.best, self.rises, self.n_waited = math.nan, False, 0

    def check_state(self, state: Mapping[str, Any], trainer: TrainingState) -> None:
        """Refuse a number of epochs that there can't be, too; see `Callback.check_state`."""
        super().check_state(state, trainer)
        ranged("ReduceOnPlateau.set_state", state, n_waited="a count")

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Reset the counters, and check that the quantity is recorded."""
        self.rises = rises(trainer, "ReduceOnPlateau.on_train_begin", "monitor", self.monitor)
        self.best = worst(self.rises)
        self.n_waited = 0

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Compare the quantity, and reduce the learning rate after enough epochs."""
        figure = trainer.history[self.monitor][-1]
        if gain(figure, self.best, self.rises) > self.min_delta:
            self.best, self.n_waited = figure, 0
            return
        self.n_waited += 1
        if self.n_waited >= self.patience:
            self.n_waited = 0
            optimizer = trainer.optimizer
            lowered = max(optimizer.learning_rate * self.factor, self.minimum)
            optimizer.learning_rate = min(optimizer.learning_rate, lowered)
