"""Callbacks that write a line for each epoch of a fit to a file."""

from __future__ import annotations

import importlib
import math
import os
from typing import Any

from layerkit._support import validation as check
from layerkit.errors import SaveError
from layerkit.storage.files import Path
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.callbacks.paths import text_of
from layerkit.training.history import History

__all__ = ["CSVLogger", "JSONLogger"]


class _FileLogger(Callback):
    """Base class of callbacks that write a line for each epoch of the fit to a file."""

    only_on_rank_0 = True

    def __init__(self, path: Path, *, append: bool = False) -> None:
        where = f"{type(self).__name__}.__init__"
        self.path = text_of(where, "path", path, "the path of a file")
        self.append = check.boolean(where, "append", append)
        self._file: Any = None
        self._history: History | None = None

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Open the file, whose old lines stay until there are new ones."""
        where = f"{type(self).__name__}.on_train_begin"
        self._history = trainer.history
        # A fit that is resumed writes its earlier epochs again, where they are not there already.
        self._n_written = trainer.history.n_epochs if self.append else 0
        self._was_there, self._has_written = os.path.exists(self.path), False
        try:
            os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
            if self.append and os.path.isfile(self.path):
                self._check_old(where)
            self._file = open(self.path, "a", encoding="utf-8", newline="")
        except OSError as error:
            got = check.Said(f"{type(error).__name__}: {error}")
            check.fail(where, "path", "a file that can be written", got, error=SaveError)

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Write the epochs since the last call."""
        self._write_new(trainer.history)

    def _write_new(self, history: History) -> None:
        if history.n_epochs > self._n_written:
            if not self._has_written:
                self._begin()
            for epoch in range(self._n_written, history.n_epochs):
                self._write(epoch + 1, {name: history[name][epoch] for name in history})
            self._n_written = history.n_epochs
            self._file.flush()

    def on_train_end(self, trainer: TrainingState) -> None:
        """Close the file; a new one that nothing was written to is removed."""
        self._file.close()
        self._file = self._history = None
        if not (self._was_there or self._has_written):
            os.unlink(self.path)

    def get_state(self) -> dict[str, Any]:
        """Return no state, as the history has all epochs; see `Callback`."""
        return {}

    def check_state(self, state: Any, trainer: TrainingState) -> None:
        """Refuse none, as none is restored; see `Callback.check_state`."""

    def set_state(self, state: Any) -> None:
        """Write the earlier epochs of a fit that is resumed, now that it begins; see `Callback`."""
        if self._history is not None:
            self._write_new(self._history)

    def _begin(self) -> None:
        """Begin to write: after the old lines, or in their place."""
        self._has_written = True
        if not self.append and self._file.seekable():
            self._file.seek(0)
            self._file.truncate()
        if self.append and os.path.isfile(self.path) and os.path.getsize(self.path):
            with open(self.path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":  # a line that was cut off
                    self._file.write("\n")
            return
        self._write_header()

    def _check_old(self, where: str) -> None:
        """Refuse old lines of another kind."""

    def _write_header(self) -> None:
        """Write the header of the file, if it has one."""

    def _write(self, epoch: int, figures: dict[str, float]) -> None:
        """Write the line of an epoch."""
        raise NotImplementedError


class CSVLogger(_FileLogger):
    """Write the loss and metrics to a CSV file, with a line for each epoch.

    Parameters
    ----------
    path : str or path-like
        Path of the file, whose folder is made when training begins. An old file is replaced at
        the end of the first epoch, so it is kept if the fit is refused.
    append : bool
        Whether to add to an old file instead, which must have the same columns. A fit that is
        resumed adds the epochs that it trains, even if an earlier run has added them too.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; when training begins, if an old file to add to has
        other columns.
    SaveError
        When training begins, if the file can't be written.

    Examples
    --------
    >>> from layerkit import CSVLogger
    >>> CSVLogger("history.csv")
    CSVLogger('history.csv')
    """

    def _check_old(self, where: str) -> None:
        with open(self.path, encoding="utf-8", errors="replace", newline="") as file:
            first = file.readline(10_000)
        columns: list[str] = next(_csv().reader([first]), [])
        wanted = self._columns()
        if first and columns != wanted:
            words = f"a file with the columns {', '.join(wanted)} where append is True"
            check.fail(where, "path", words, check.Said(repr(first[:200])), "Use another file.")

    def _columns(self) -> list[str]:
        return ["epoch", *(self._history or ())]

    def _write_header(self) -> None:
        _csv().writer(self._file).writerow(self._columns())

    def _write(self, epoch: int, figures: dict[str, float]) -> None:
        numbers = (repr(float(number)) for number in figures.values())
        _csv().writer(self._file).writerow([epoch, *numbers])


def _csv() -> Any:
    return importlib.import_module("csv")


class JSONLogger(_FileLogger):
    """Write the loss and metrics to a file of JSON lines, with an object for each epoch.

    NaN and infinities are written as null.

    Parameters
    ----------
    path : str or path-like
        Path of the file, whose folder is made when training begins. An old file is replaced at
        the end of the first epoch, so it is kept if the fit is refused.
    append : bool
        Whether to add to an old file instead. A fit that is resumed adds the epochs that it
        trains, even if an earlier run has added them too.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind.
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
        numbers = {name: float(number) for name, number in figures.items()}
        finite = {
            name: number if math.isfinite(number) else None for name, number in numbers.items()
        }
        self._file.write(json.dumps({"epoch": epoch, **finite}) + "\n")
