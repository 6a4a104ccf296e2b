"""Callbacks that end a training: at a value, or when a monitored quantity has stopped improving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state import is_generator
from layerkit._support.state_checks import check_values, ranged, refuse
from layerkit._support.validation import Array
from layerkit.training.callbacks.base import Callback, TrainingState

__all__ = ["EarlyStopping", "StopAt"]


def rises(trainer: TrainingState, where: str, argument: str, figure: str) -> bool:
    """Return whether a greater value of a quantity is better; it must be recorded."""
    if figure not in trainer.history:
        names = ", ".join(repr(name) for name in trainer.history)
        check.fail(where, argument, f"one of {names}", figure)
    name = figure.removeprefix("val_")
    return any(m.name == name and m.greater_is_better for m in trainer.metrics)


def worst(rises: bool) -> float:
    """Return the worst possible value."""
    return -math.inf if rises else math.inf


def gain(figure: float, best: float, rises: bool) -> float:
    """Return how much better a quantity is than the best one so far."""
    return figure - best if rises else best - figure


def figure_name(where: str, argument: str, value: object) -> str:
    """Check for the name of a quantity."""
    if not isinstance(value, str):
        check.fail(where, argument, "a name in History, such as 'loss'", value)
    return value


class StopAt(Callback):
    """Stop the training after the first epoch in which a quantity reaches a value.

    A quantity reaches the value if it is at most as large, or, for a metric of which greater values
    are better, at least as large.

    Parameters
    ----------
    metric : str
        Quantity to monitor: a name in `History`, such as ``"loss"`` or ``"val_accuracy"``.
    value : float
        Value to reach.

    Attributes
    ----------
    reached : bool
        Whether the last fit reached the value.
    rises : bool
        Whether greater values of the quantity are better.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when training begins, if no such quantity is recorded.

    Examples
    --------
    >>> from layerkit import StopAt
    >>> StopAt("loss", 0.01)
    StopAt('loss', 0.01)
    """

    def __init__(self, metric: str, value: float) -> None:
        where = "StopAt.__init__"
        self.metric = figure_name(where, "metric", metric)
        self.value = check.number(where, "value", value)
        self.reached = self.rises = False

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Check that the quantity is recorded."""
        self.rises = rises(trainer, "StopAt.on_train_begin", "metric", self.metric)
        self.reached = False

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Stop the training if the quantity has reached the value."""
        figure = trainer.history[self.metric][-1]
        self.reached = figure >= self.value if self.rises else figure <= self.value
        if self.reached:
            trainer.stop()


class EarlyStopping(Callback):
    """Stop the training when a quantity has stopped improving, and restore the best weights.

    Parameters
    ----------
    monitor : str
        Quantity to monitor: a name in `History`, such as ``"val_loss"``. Smaller values are
        better, except for a metric of which greater values are better.
    patience : int
        Number of epochs without an improvement after which the training stops.
    min_delta : float
        Smallest change that counts as an improvement; at least 0.
    restore_best : bool
        Whether to restore the parameters (and the layers' states) of the best epoch, also if the
        training ends at its last epoch or by an interruption. A checkpoint of the fit has those
        in training all the same.

    Attributes
    ----------
    best : float
        Best value so far.
    best_epoch : int
        Epoch of the best value, counted from 1; 0 before the first epoch.
    stopped_epoch : int
        Epoch after which the last fit was stopped by this callback, or 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range; when training begins, if no such
        quantity is recorded.

    Examples
    --------
    >>> from layerkit import EarlyStopping
    >>> EarlyStopping(patience=5)
    EarlyStopping(patience=5)
    """

    _values: Array | None = None  # which an earlier fit may have set, and a file may set back

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        where = "EarlyStopping.__init__"
        self.monitor = figure_name(where, "monitor", monitor)
        self.patience = check.integer(where, "patience", patience, minimum=1)
        self.min_delta = check.number(where, "min_delta", min_delta, minimum=0)
        self.restore_best = check.boolean(where, "restore_best", restore_best)
        self.best, self.rises = math.nan, False
        self.best_epoch = self.stopped_epoch = 0
        self._values = None
        self._states: dict[str, dict[str, object]] = {}

    def check_state(self, state: Mapping[str, Any], trainer: TrainingState) -> None:
        """Refuse parameters and states of another model too; see `Callback.check_state`."""
        super().check_state(state, trainer)
        where = "EarlyStopping.set_state"
        ranged(where, state, best_epoch="a count", stopped_epoch="a count")
        check_values(where, state, "_values", trainer.model.values)
        layers = dict(trainer.model.walk())
        for path, own in state.get("_states", {}).items():
            if path not in layers:
                refuse(where, "_states", "those of this model's layers", path)
            layers[path].check_state(own)

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Reset the counters, and check that the quantity is recorded."""
        self.rises = rises(trainer, "EarlyStopping.on_train_begin", "monitor", self.monitor)
        self.best = worst(self.rises)
        self.best_epoch = self.stopped_epoch = 0
        self._values, self._states = None, {}

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Keep the parameters of a better epoch, and stop after enough epochs without one."""
        figure = trainer.history[self.monitor][-1]
        if gain(figure, self.best, self.rises) > self.min_delta:
            self.best, self.best_epoch = figure, trainer.epoch
            if self.restore_best:
                self._keep(trainer)
        elif trainer.epoch - self.best_epoch >= self.patience:
            self.stopped_epoch = trainer.epoch
            trainer.stop()

    def _keep(self, trainer: TrainingState) -> None:
        self._values = trainer.model.values.copy()
        self._states = {
            path: {
                name: np.array(value) if isinstance(value, np.ndarray) else value
                for name, value in layer.get_state().items()
                # Generators are left out: only what was learned is restored.
                if not is_generator(value)
            }
            for path, layer in trainer.model.walk()
        }

    def on_train_end(self, trainer: TrainingState) -> None:
        """Restore the parameters and states of the best epoch."""
        if self._values is not None:
            trainer.model.values = self._values
            for path, layer in trainer.model.walk():
                layer.set_state(self._states.get(path, {}))
