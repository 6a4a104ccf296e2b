"""Callbacks that end a training: at a value, or when nothing gets better."""

from __future__ import annotations

import math

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state import is_generator
from layerkit._support.validation import Array
from layerkit.training.callbacks.base import Callback, TrainingState

__all__ = ["EarlyStopping", "StopAt"]


def rises(trainer: TrainingState, where: str, argument: str, figure: str) -> bool:
    """Tell whether a greater value of a figure is better; refuse one that nobody records."""
    if figure not in trainer.history:
        names = ", ".join(repr(name) for name in trainer.history)
        check.fail(where, argument, f"one of {names}", figure)
    name = figure.removeprefix("val_")
    return any(m.name == name and m.greater_is_better for m in trainer.metrics)


def worst(rises: bool) -> float:
    """Give the value that any other is better than."""
    return -math.inf if rises else math.inf


def gain(figure: float, best: float, rises: bool) -> float:
    """Tell how much better a figure is."""
    return figure - best if rises else best - figure


def figure_name(where: str, argument: str, value: object) -> str:
    """Take the name of a figure."""
    if not isinstance(value, str):
        check.fail(where, argument, "a name in History, such as 'loss'", value)
    return value


class StopAt(Callback):
    """Stop after the first epoch whose figure has reached a value.

    Reached means at most the value, or at least for a metric where greater is better.

    Parameters
    ----------
    metric : str
        A name in `History`, such as ``"loss"`` or ``"val_accuracy"``.
    value : float
        The value to reach.

    Attributes
    ----------
    reached : bool
        Whether the last fit got there.
    rises : bool
        Whether it waits for a figure to grow.

    Raises
    ------
    ArgumentError
        When training begins, if no such figure is recorded.

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
        self.reached = False

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Refuse a figure that nobody records."""
        self.rises = rises(trainer, "StopAt.on_train_begin", "metric", self.metric)
        self.reached = False

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Compare the epoch's figure."""
        figure = trainer.history[self.metric][-1]
        self.reached = figure >= self.value if self.rises else figure <= self.value
        if self.reached:
            trainer.stop()


class EarlyStopping(Callback):
    """Stop when a figure has not got better for some epochs; keep the best weights in any case.

    Parameters
    ----------
    monitor : str
        A name in `History`, such as ``"val_loss"``; better is less, or more for a metric where
        greater is better.
    patience : int
        How many epochs without anything better end the training.
    min_delta : float
        By how much it has to be better to count.
    restore_best : bool
        Whether the model ends with the parameters (and the layers' states) of its best epoch,
        however the training ended: by patience, at its last epoch, or by an interruption.

    Attributes
    ----------
    best : float
        The best value.
    best_epoch : int
        Its epoch, counted from 1; 0 before there is any.
    stopped_epoch : int
        The epoch that ended the last fit by patience, or 0.

    Raises
    ------
    ArgumentError
        When training begins, if no such figure is recorded.

    Examples
    --------
    >>> from layerkit import EarlyStopping
    >>> EarlyStopping(patience=5)
    EarlyStopping(patience=5)
    """

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
        self.best = math.nan
        self.best_epoch = self.stopped_epoch = 0
        self._values: Array | None = None
        self._states: dict[str, dict[str, object]] = {}

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Begin anew; refuse a figure that nobody records."""
        self.rises = rises(trainer, "EarlyStopping.on_train_begin", "monitor", self.monitor)
        self.best = worst(self.rises)
        self.best_epoch = self.stopped_epoch = 0
        self._values, self._states = None, {}

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Compare, keep what is better, and stop when patience is at its end."""
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
                # Random numbers go on; only what was learned goes back.
                if not is_generator(value)
            }
            for path, layer in trainer.model.walk()
        }

    def on_train_end(self, trainer: TrainingState) -> None:
        """Give the model its best parameters."""
        if self._values is not None:
            trainer.model.values = self._values
            for path, layer in trainer.model.walk():
                layer.set_state(self._states.get(path, {}))
