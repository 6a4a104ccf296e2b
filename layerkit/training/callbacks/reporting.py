"""Callbacks that report: a progress bar, files of figures, and functions of one's own."""

from __future__ import annotations

import importlib
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from layerkit._support import validation as check
from layerkit.errors import SaveError
from layerkit.storage.files import Path
from layerkit.training.callbacks.base import Callback, TrainingState

__all__ = ["CSVLogger", "JSONLogger", "LambdaCallback", "ProgressBar", "TensorBoard"]

# Seconds between two looks at the progress: often enough for the eye, too seldom to cost.
_BETWEEN_LOOKS = 0.1


class ProgressBar(Callback):
    """Show how far a training is, with its figures: by tqdm if it is installed, else a plain line.

    `Trainer.fit` brings one by itself on a terminal, and none in a pipe or a file. However short
    the epochs are, it looks about ten times a second.

    Parameters
    ----------
    file : object, optional
        Where to write; by default the standard error.

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
        """Give nothing: a bar that begins shows where the training is."""
        return {}

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Open the bar."""
        self.period, self._looked = 1, time.monotonic()
        self._bar = open_bar(trainer.epochs, trainer.epoch, "epoch", self.file)

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Move the bar, and find out when to look again."""
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
        """Show the end, and close the bar."""
        if self._bar is not None:
            self._show(trainer)
            self._bar.close()
            self._bar = None


def open_bar(total: int, done: int, unit: str, file: Any = None) -> Any:
    """Open a bar of tqdm if it is installed, else a plain line; by default on standard error."""
    try:
        tqdm: Any = importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        return _PlainLine(total, done, unit, file or sys.stderr)
    return tqdm(total=total, initial=done, unit=f" {unit}s", file=file, leave=True)


class _PlainLine:
    """What is needed of tqdm, as one line that is written over."""

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


class _FileLogger(Callback):
    """Writes a line an epoch into a file, which then holds all epochs of the fit so far."""

    only_on_rank_0 = True

    def __init__(self, path: Path) -> None:
        where = f"{type(self).__name__}.__init__"
        if not isinstance(path, str | os.PathLike):
            check.fail(where, "path", "the path of a file", path)
        self.path = os.fspath(path)
        self._file: Any = None

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Open the file; a resumed fit writes the epochs before it once more."""
        try:
            self._file = open(self.path, "w", encoding="utf-8", newline="")
        except OSError as error:
            where = f"{type(self).__name__}.on_train_begin"
            got = check.Said(f"{type(error).__name__}: {error}")
            check.fail(where, "path", "a file that can be written", got, error=SaveError)
        self._n_written = 0
        self._begin(trainer)
        self.on_epoch_end(trainer)

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Write what is new."""
        history = trainer.history
        for epoch in range(self._n_written, history.n_epochs):
            self._write(epoch + 1, {name: history[name][epoch] for name in history})
        self._n_written = history.n_epochs
        self._file.flush()

    def on_train_end(self, trainer: TrainingState) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def set_state(self, state: Any) -> None:
        """Keep what was written: the file is ahead of any state."""

    def _begin(self, trainer: TrainingState) -> None:
        """Write what comes first."""

    def _write(self, epoch: int, figures: dict[str, float]) -> None:
        """Write an epoch."""
        raise NotImplementedError


class CSVLogger(_FileLogger):
    """Write the figures into a file of comma-separated values, a line an epoch.

    Parameters
    ----------
    path : str or path-like
        The file; replaced when a fit begins.

    Raises
    ------
    SaveError
        When training begins, if the file can't be written.

    Examples
    --------
    >>> from layerkit import CSVLogger
    >>> CSVLogger("history.csv")
    CSVLogger('history.csv')
    """

    def _begin(self, trainer: TrainingState) -> None:
        csv: Any = importlib.import_module("csv")
        self._writer = csv.writer(self._file)
        self._writer.writerow(["epoch", *trainer.history])

    def _write(self, epoch: int, figures: dict[str, float]) -> None:
        self._writer.writerow([epoch, *(repr(float(number)) for number in figures.values())])


class JSONLogger(_FileLogger):
    """Write the figures into a file of JSON objects, a line an epoch; NaN and infinity as null.

    Parameters
    ----------
    path : str or path-like
        The file; replaced when a fit begins.

    Raises
    ------
    SaveError
        When training begins, if the file can't be written.

    Examples
    --------
    >>> from layerkit import JSONLogger
    >>> JSONLogger("history.jsonl")
    JSONLogger('history.jsonl')
    """

    def _write(self, epoch: int, figures: dict[str, float]) -> None:
        json: Any = importlib.import_module("json")
        finite = {
            name: number if math.isfinite(number) else None for name, number in figures.items()
        }
        self._file.write(json.dumps({"epoch": epoch, **finite}) + "\n")


class TensorBoard(Callback):
    """Write the figures and the learning rate for TensorBoard, by tensorboardX.

    Parameters
    ----------
    folder : str or path-like
        Where its files go.

    Raises
    ------
    MissingExtraError
        When it is made, if tensorboardX is not installed.

    Examples
    --------
    >>> from layerkit import TensorBoard
    >>> TensorBoard("runs/first")
    TensorBoard('runs/first')
    """

    only_on_rank_0 = True

    def __init__(self, folder: Path) -> None:
        if not isinstance(folder, str | os.PathLike):
            check.fail("TensorBoard.__init__", "folder", "the path of a folder", folder)
        self._writer_class()
        self.folder = os.fspath(folder)
        self._writer: Any = None

    def _writer_class(self) -> Any:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            check.missing_extra("TensorBoard.__init__", "tensorboardX", "tensorboard")
        return SummaryWriter

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Open the files."""
        self._writer = self._writer_class()(self.folder)

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Write an epoch."""
        for name, numbers in trainer.history.items():
            self._writer.add_scalar(name, numbers[-1], trainer.epoch)
        rate = trainer.optimizer.learning_rate
        self._writer.add_scalar("learning_rate", rate, trainer.epoch)

    def on_train_end(self, trainer: TrainingState) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class LambdaCallback(Callback):
    """Call functions of one's own, each with the trainer.

    Parameters
    ----------
    on_train_begin, on_train_end, on_epoch_begin, on_epoch_end : callable, optional
        Called as the hooks of `Callback` are.
    on_batch_begin, on_batch_end : callable, optional
        So are these.
    period : int
        How many epochs pass between two calls of the epoch hooks.

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
        on_batch_end: Callable[[TrainingState], object] | None = None,
        period: int = 1,
    ) -> None:
        hooks = {
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_batch_begin": on_batch_begin,
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
        """Name the hooks; functions have no words for themselves."""
        hooks = [name for name in vars(self) if name.startswith("on_")]
        return f"LambdaCallback({', '.join(f'{name}=...' for name in hooks)})"
