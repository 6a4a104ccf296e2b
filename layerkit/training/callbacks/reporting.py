"""Callbacks that report: a progress bar, TensorBoard, and custom functions."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

from layerkit._support import validation as check
from layerkit.storage.events import EventFile
from layerkit.storage.files import Path
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.callbacks.paths import text_of

__all__ = ["LambdaCallback", "ProgressBar", "TensorBoard"]

# Seconds between two looks at the progress: often enough for the eye, too seldom to cost.
_BETWEEN_LOOKS = 0.1


class ProgressBar(Callback):
    """Show a progress bar with the loss and metrics, by tqdm if installed, else as a plain line.

    `Trainer.fit` adds one by itself if the standard error is a terminal. The bar is updated about
    ten times a second, also if the epochs are much shorter.

    Parameters
    ----------
    file : file-like object, optional
        Text stream to write to; by default the standard error.

    Examples
    --------
    >>> from layerkit import ProgressBar
    >>> ProgressBar()
    ProgressBar()
    """

    only_on_rank_0 = True

    def __init__(self, file: Any = None) -> None:
        self.file = file
        self._bar: Any = None

    def get_state(self) -> dict[str, Any]:
        """Return no state, as a new bar shows the position of the training; see `Callback`."""
        return {}

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Open the bar."""
        self.period, self._looked = 1, time.monotonic()
        self._bar = open_bar(trainer.epochs, trainer.epoch, "epoch", self.file)

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Update the bar, and set the period so that it is updated ten times a second."""
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        self._show(trainer)
        if passed < _BETWEEN_LOOKS / 2:
            self.period *= 2
        elif passed > 2 * _BETWEEN_LOOKS:
            self.period = max(1, self.period // 2)

    def _show(self, trainer: TrainingState) -> None:
        last = {name: numbers[-1] for name, numbers in trainer.history.items() if numbers}
        words = ", ".join(f"{name} {number:.4g}" for name, number in last.items())
        self._bar.set_postfix_str(words, refresh=False)
        self._bar.update(trainer.history.n_epochs - self._bar.n)

    def on_train_end(self, trainer: TrainingState) -> None:
        """Show the last figures, and close the bar."""
        self._show(trainer)
        self._bar.close()
        self._bar = None


def open_bar(total: int, done: int, unit: str, file: Any = None) -> Any:
    """Return a new bar of tqdm if it is installed, else a plain line; by default on stderr."""
    try:
        tqdm: Any = importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        return _PlainLine(total, done, unit, file or sys.stderr)
    return tqdm(total=total, initial=done, unit=f" {unit}s", file=file)


class _PlainLine:
    """A progress bar with the methods of tqdm that are needed, as a line that is overwritten."""

    def __init__(self, total: int, n: int, unit: str, file: Any) -> None:
        self.total, self.n, self.unit, self.file = total, n, unit, file
        self.words, self.width = "", 0

    def set_postfix_str(self, words: str, refresh: bool) -> None:
        self.words = words

    def update(self, n: int) -> None:
        self.n += n
        line = f"{self.unit} {self.n}/{self.total}  {self.words}"
        self.file.write("\r" + line.ljust(self.width))
        self.file.flush()
        self.width = len(line)

    def close(self) -> None:
        self.file.write("\n")
        self.file.flush()


class TensorBoard(Callback):
    """Write the loss, the metrics and the learning rate for TensorBoard, which shows them.

    Each fit writes an event file of its own, with the epoch as the step. Nothing else is needed to
    write it; TensorBoard itself is a program to install (``pip install 'layerkit[tensorboard]'``)
    and to start: ``tensorboard --logdir runs``.

    Parameters
    ----------
    folder : str or path-like
        Path of the folder for the event files, which is made when training begins.

    Raises
    ------
    ArgumentError
        If ``folder`` is not a path.
    SaveError
        When training begins, if the folder can't be written to.

    Examples
    --------
    >>> from layerkit import TensorBoard
    >>> TensorBoard("runs/first")
    TensorBoard('runs/first')
    """

    only_on_rank_0 = True

    def __init__(self, folder: Path) -> None:
        self.folder = text_of("TensorBoard.__init__", "folder", folder, "the path of a folder")
        self._events: EventFile | None = None

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Open the event file."""
        self._events = EventFile("TensorBoard.on_train_begin", self.folder)

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Write the figures of an epoch."""
        scalars = {name: numbers[-1] for name, numbers in trainer.history.items()}
        scalars["learning_rate"] = trainer.optimizer.learning_rate
        if self._events is not None:
            self._events.write(trainer.epoch, scalars)

    def on_train_end(self, trainer: TrainingState) -> None:
        """Close the event file."""
        if self._events is not None:
            self._events.close()
            self._events = None


class LambdaCallback(Callback):
    """Callback made of functions, each of which receives the training as a `TrainingState`.

    Parameters
    ----------
    on_train_begin, on_train_end, on_epoch_begin, on_epoch_end : callable, optional
        Functions to call as the hooks of `Callback` of these names.
    on_batch_begin, on_update_end, on_batch_end : callable, optional
        Functions to call before and after each batch, and after each update.
    period : int
        Number of epochs from one call of the epoch hooks to the next.

    Raises
    ------
    ArgumentError
        If an argument is not a function, or ``period`` is not an integer of at least 1.

    Examples
    --------
    >>> from layerkit import LambdaCallback
    >>> callback = LambdaCallback(on_epoch_end=lambda trainer: print(trainer.epoch))
    """

    def __init__(
        self,
        *,
        on_train_begin: Callable[[TrainingState], object] | None = None,
        on_train_end: Callable[[TrainingState], object] | None = None,
        on_epoch_begin: Callable[[TrainingState], object] | None = None,
        on_epoch_end: Callable[[TrainingState], object] | None = None,
        on_batch_begin: Callable[[TrainingState], object] | None = None,
        on_update_end: Callable[[TrainingState], object] | None = None,
        on_batch_end: Callable[[TrainingState], object] | None = None,
        period: int = 1,
    ) -> None:
        hooks = {
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_batch_begin": on_batch_begin,
            "on_update_end": on_update_end,
            "on_batch_end": on_batch_end,
        }
        where = "LambdaCallback.__init__"
        for name, function in hooks.items():
            if function is not None:
                if not callable(function):
                    check.fail(where, name, "a function of the trainer", function)
                setattr(self, name, function)
        self.period = check.integer(where, "period", period, minimum=1)

    def __repr__(self) -> str:
        """Return a text with the names of the hooks, as functions have no readable repr."""
        hooks = [name for name in vars(self) if name.startswith("on_")]
        return f"LambdaCallback({', '.join(f'{name}=...' for name in hooks)})"
