"""Results of a sweep: a row for each run, with its figures or its error, and tables of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, overload

from layerkit._support import validation as check
from layerkit.errors import StateError
from layerkit.models.base import Model
from layerkit.models.summary import html_table, shorten, text_table
from layerkit.training.history import History

__all__ = ["SweepFailure", "SweepResults", "SweepRun"]

_LONGEST_VALUE = 30


class SweepFailure(NamedTuple):
    """Error of a run of a sweep, as text, since not every exception can be sent between processes.

    Parameters
    ----------
    kind : str
        Name of the exception's class.
    message : str
        Message of the exception.
    traceback : str
        Traceback, as Python prints it.

    Examples
    --------
    >>> from layerkit import SweepFailure
    >>> print(SweepFailure("ValueError", "no such thing", "Traceback ..."))
    ValueError: no such thing
    """

    kind: str
    message: str
    traceback: str

    def __str__(self) -> str:
        """Return the kind and the message, as in the last line of a traceback."""
        return f"{self.kind}: {self.message}" if self.message else self.kind


class SweepRun(NamedTuple):
    """Result of one run of a sweep.

    Parameters
    ----------
    settings : dict of str to object
        Settings of the run, from the grid.
    history : History
        Loss and metrics by epoch; of a run that failed, those of the finished epochs.
    model : Model or None
        Trained model; None if the run failed.
    error : SweepFailure or None
        Error of the run; None if it succeeded.
    seconds : float
        Time to build and train the model; NaN if the process of the run died.
    epoch : int
        Epoch whose parameters the model has: the last one, or the best one if an
        `EarlyStopping` has restored it.
    rising : tuple of str
        Names of the figures of which greater values are better.

    Examples
    --------
    >>> from layerkit import History, SweepRun
    >>> history = History(["loss"])
    >>> history.extend({"loss": [0.5, 0.25, 0.375]})
    >>> run = SweepRun({"seed": 0}, history, None, None, 0.1, epoch=3)
    >>> run.figures, run.best_figure("loss")
    ({'loss': 0.375}, 0.25)
    """

    settings: dict[str, Any]
    history: History
    model: Model | None
    error: SweepFailure | None
    seconds: float
    epoch: int = 0
    rising: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, float]:
        """The figures of the epoch whose parameters the model has."""
        if not self.epoch:
            return {}
        return {name: numbers[self.epoch - 1] for name, numbers in self.history.items()}

    def best_figure(self, name: str) -> float:
        """Return the best value of a figure in all epochs; NaN if there is none.

        Parameters
        ----------
        name : str
            Name of a figure in `history`.

        Returns
        -------
        float
            Smallest value, or the greatest one if greater values are better.
        """
        numbers = [number for number in self.history[name] if not math.isnan(number)]
        return (max if name in self.rising else min)(numbers, default=math.nan)


class SweepResults(Sequence[SweepRun]):
    """Results of the runs of a sweep, in the order of its grid; printed as a table.

    Parameters
    ----------
    runs : iterable of SweepRun
        Result of each run.

    Examples
    --------
    >>> from layerkit import History, SweepResults, SweepRun
    >>> history = History(["loss"])
    >>> history.append({"loss": 0.25})
    >>> print(SweepResults([SweepRun({"seed": 0}, history, None, None, 0.1, epoch=1)]))
    seed   loss  epochs  seconds  error
    -----  ----  ------  -------  --------
        0  0.25       1     0.10
    -----  ----  ------  -------  --------
    1 run                   0.10  0 failed
    """

    def __init__(self, runs: Iterable[SweepRun]) -> None:
        self._runs = tuple(runs)

    @property
    def failures(self) -> SweepResults:
        """The runs that failed."""
        return SweepResults(run for run in self if run.error is not None)

    def best(self, monitor: str = "val_loss") -> SweepRun:
        """Return the run with the best model.

        Runs are compared by `SweepRun.figures`: the figures of the final models, not those of
        earlier epochs. Of equal runs, the first one is returned.

        Parameters
        ----------
        monitor : str
            Name of a figure, as in `History`, such as ``"val_loss"``. Smaller values are better,
            except for a metric of which greater values are better.

        Returns
        -------
        SweepRun
            Best of the runs that did not fail.

        Raises
        ------
        StateError
            If all runs failed.
        ArgumentError
            If no run recorded the figure, or it is NaN in all of them.
        """
        where = "SweepResults.best"
        succeeded = [run for run in self if run.error is None]
        if not succeeded:
            first = f", the first of them by {self[0].error}" if len(self) else ""
            got = check.Said(f"{_count(len(self), 'failure')}{first}")
            check.fail(where, "the runs", "at least one that didn't fail", got, error=StateError)
        candidates = [
            run for run in succeeded if not math.isnan(run.figures.get(monitor, math.nan))
        ]
        if not candidates:
            names = ", ".join(map(repr, self._figure_names(succeeded)))
            check.fail(where, "monitor", f"a figure that is a number, of {names}", monitor)
        rises = monitor in candidates[0].rising
        return (max if rises else min)(candidates, key=lambda run: run.figures[monitor])

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each run.

        Its columns are the settings; then for each figure ``final_...``, the value of the final
        model, and ``best_...``, the best value of all epochs; then ``epochs``, ``seconds`` and
        ``error``, a text or None.

        Returns
        -------
        pandas.DataFrame
            Table of the runs.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            check.missing_extra("SweepResults.to_frame", "pandas", "pandas")
        columns: dict[str, list[Any]] = {
            name: [run.settings.get(name) for run in self] for name in self._setting_names()
        }
        for name in self._figure_names(self):
            columns[f"final_{name}"] = [run.figures.get(name, math.nan) for run in self]
            columns[f"best_{name}"] = [
                run.best_figure(name) if name in run.history else math.nan for run in self
            ]
        columns["epochs"] = [run.history.n_epochs for run in self]
        columns["seconds"] = [run.seconds for run in self]
        columns["error"] = [None if run.error is None else str(run.error) for run in self]
        # Each column as a Series of its own: a list of arrays is no row of a table to pandas.
        return pandas.DataFrame(
            {name: pandas.Series(cells, dtype=_dtype(cells)) for name, cells in columns.items()},
            index=pandas.RangeIndex(len(self), name="run"),
        )

    def _setting_names(self) -> list[str]:
        return list(dict.fromkeys(name for run in self for name in run.settings))

    def _figure_names(self, runs: Iterable[SweepRun]) -> list[str]:
        return list(dict.fromkeys(name for run in runs for name in run.history))

    def _rows(self) -> list[tuple[str, ...]]:
        settings, figures = self._setting_names(), self._figure_names(self)
        rows = [(*settings, *figures, "epochs", "seconds", "error")]
        for run in self:
            given, reached = run.settings, run.figures
            rows.append(
                (
                    *(
                        shorten(_text(given[n]), _LONGEST_VALUE) if n in given else ""
                        for n in settings
                    ),
                    *(f"{reached[name]:.4g}" if name in reached else "" for name in figures),
                    str(run.history.n_epochs),
                    "" if math.isnan(run.seconds) else f"{run.seconds:.2f}",
                    "" if run.error is None else shorten(str(run.error)),
                )
            )
        total = [_count(len(self), "run"), *[""] * (len(rows[0]) - 1)]
        total[-2] = f"{sum(run.seconds for run in self if not math.isnan(run.seconds)):.2f}"
        total[-1] = f"{len(self.failures)} failed"
        return [*rows, tuple(total)]

    def __str__(self) -> str:
        """Return a table as text, with a row for each run."""
        return text_table(self._rows())

    def _repr_html_(self) -> str:
        """Return the table as HTML, for a notebook."""
        return html_table(self._rows())

    def __repr__(self) -> str:
        """Return a text with the number of runs."""
        return f"<SweepResults of {_count(len(self), 'run')}, {len(self.failures)} failed>"

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> SweepRun: ...
    @overload
    def __getitem__(self, index: slice) -> SweepResults: ...
    def __getitem__(self, index: int | slice) -> SweepRun | SweepResults:
        """Return a run, or the runs of a slice."""
        if isinstance(index, slice):
            return SweepResults(self._runs[index])
        return self._runs[index]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _dtype(cells: list[Any]) -> type | None:
    """Return None for columns of numbers, whose dtype pandas finds; object for all others."""
    return None if all(isinstance(cell, bool | int | float) for cell in cells) else object
