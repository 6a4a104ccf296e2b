"""`History`: the loss and metrics of a training by epoch."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit.errors import LoadError
from layerkit.storage.files import Path
from layerkit.storage.models import read_tree, write_tree

__all__ = ["History"]


class History(Mapping[str, list[float]]):
    """The loss and each metric by epoch.

    A read-only mapping from names to lists of numbers, one number for each epoch. The names are
    ``"loss"`` and those of the metrics; with validation data, also the same with the prefix
    ``"val_"``. In layerkit, each of these quantities is called a figure.

    Parameters
    ----------
    names : iterable of str
        Names of the figures to record.

    Attributes
    ----------
    n_epochs : int
        Number of epochs recorded so far.

    Examples
    --------
    >>> from layerkit import History
    >>> history = History(["loss"])
    >>> history.append({"loss": 0.5})
    >>> history["loss"], history.n_epochs
    ([0.5], 1)
    """

    def __init__(self, names: Mapping[str, object] | list[str]) -> None:
        self._figures: dict[str, list[float]] = {name: [] for name in names}
        self.n_epochs = 0

    def append(self, figures: Mapping[str, float]) -> None:
        """Record an epoch.

        Parameters
        ----------
        figures : dict of str to float
            One number for each name.
        """
        self.extend({name: [figure] for name, figure in figures.items()})

    def extend(self, epochs: Mapping[str, list[float]]) -> None:
        """Record several epochs.

        Parameters
        ----------
        epochs : dict of str to list of float
            A list of numbers for each name, all of the same length.
        """
        columns = [epochs[name] for name in self._figures]
        for numbers, figures in zip(self._figures.values(), columns, strict=True):
            numbers.extend(figures)
        self.n_epochs += len(columns[0])

    def to_frame(self) -> Any:
        """Return the figures as a pandas DataFrame, with a row for each epoch, counted from 1.

        Returns
        -------
        pandas.DataFrame
            Table with a column for each figure.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            check.missing_extra("History.to_frame", "pandas", "pandas")
        epochs = pandas.RangeIndex(1, self.n_epochs + 1, name="epoch")
        return pandas.DataFrame(dict(self._figures), index=epochs)

    def save(self, path: Path) -> None:
        """Save the history to a file, as `Sequential.save` saves a model.

        Parameters
        ----------
        path : str or path-like
            Path of the file.

        Raises
        ------
        SaveError
            If the file can't be written; an existing one stays as it was.
        """
        write_tree("History.save", path, "history", self.get_state())

    @classmethod
    def load(cls, path: Path) -> History:
        """Load a history that `save` wrote.

        Parameters
        ----------
        path : str or path-like
            Path of the file.

        Returns
        -------
        History
            New history with the same numbers.

        Raises
        ------
        LoadError
            If the file is missing, damaged or of another kind.
        """
        return cls.from_state("History.load", read_tree("History.load", path, "history", {}))

    def get_state(self) -> dict[str, Any]:
        """Return the figures as arrays, for a file.

        Returns
        -------
        dict of str to ndarray of shape (n_epochs,)
            Numbers of each figure.
        """
        return {name: np.array(numbers, np.float64) for name, numbers in self._figures.items()}

    @classmethod
    def from_state(cls, where: str, state: Any) -> History:
        """Create a history from the return value of `get_state`.

        Parameters
        ----------
        where : str
            Name of the calling method, for error messages.
        state : dict of str to ndarray of shape (n_epochs,)
            Numbers of each figure.

        Returns
        -------
        History
            New history.

        Raises
        ------
        LoadError
            If the state has any other form.
        """
        is_named = isinstance(state, dict) and all(isinstance(name, str) for name in state)
        columns: list[Any] = list(state.values()) if is_named else [None]
        fits = all(
            isinstance(column, np.ndarray) and column.dtype == np.float64 and column.ndim == 1
            for column in columns
        )
        if not fits or len({len(column) for column in columns}) > 1:
            wanted = "made of lists of numbers of one length"
            check.fail(where, "the history", wanted, check.Said("others"), error=LoadError)
        history = cls(state)
        if columns:
            history.extend({name: column.tolist() for name, column in state.items()})
        return history

    def plot(self, ax: Any = None, *, log: bool = False) -> Any:
        """Draw the figures over the epochs; see `layerkit.plots.learning_curves`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; by default, those of a new figure.
        log : bool
            Whether the vertical axis is logarithmic.

        Returns
        -------
        matplotlib Axes
            Axes with the drawing.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        plots: Any = importlib.import_module("layerkit.plots")
        return plots.learning_curves(self, ax, log=log)

    def __getitem__(self, name: str) -> list[float]:
        """Return the numbers of a figure, one for each epoch."""
        return self._figures[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._figures)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._figures)

    def __repr__(self) -> str:
        """Return a text with the number of epochs and the last number of each figure."""
        last = {name: numbers[-1] for name, numbers in self._figures.items() if numbers}
        figures = "".join(f", {name}={number:g}" for name, number in last.items())
        return f"<History of {self.n_epochs} epochs{figures}>"
