"""`Results`: the results of a fit of replicas."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.engines.base import EngineUsed
from layerkit.training.history import History

__all__ = ["Results"]


class Results:
    """Results of `Replicas.fit` for each replica, in the order of the seeds.

    Parameters
    ----------
    seeds : sequence of int
        Seed of each replica.
    learning_rates : array_like of shape (n_replicas,)
        Learning rate of each replica.
    histories : sequence of History
        Loss and metrics of each replica by epoch; shorter if a `StopAt` ended its fit.
    reached : sequence of bool
        Whether a `StopAt` of the replica reached its value.
    errors : sequence of Exception or None
        Error that ended the fit of a replica, such as a `NonFiniteError`, or None. Its parameters
        are those before the update that failed.
    engine_used : EngineUsed
        Engine that trained the replicas, and the reason. Where another trained one of them,
        `Trainer.engine_used` names it.

    Attributes
    ----------
    n_epochs : ndarray of int of shape (n_replicas,)
        Number of whole epochs of each replica.

    Examples
    --------
    >>> from layerkit import EngineUsed, History
    >>> from layerkit.replicas import Results
    >>> history = History(["loss"])
    >>> history.extend({"loss": [2.0, 0.5]})
    >>> engine = EngineUsed("numpy", "it can train all replicas at once")
    >>> Results([7], [0.1], [history], [True], [None], engine)
    <Results of 1 replica: 1 reached the target, 0 failed>
    """

    def __init__(
        self,
        seeds: Sequence[int],
        learning_rates: Sequence[float] | Array,
        histories: Sequence[History],
        reached: Sequence[bool],
        errors: Sequence[Exception | None],
        engine_used: EngineUsed,
    ) -> None:
        self.seeds = list(seeds)
        self.learning_rates = np.array(learning_rates, np.float64)
        self.histories, self.errors = list(histories), list(errors)
        self.n_epochs = np.array([history.n_epochs for history in histories], np.int64)
        self.reached = np.array(reached, bool)
        self.engine_used = engine_used

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each replica: its settings and its results.

        The figures are those of the last epoch, or NaN if there was none.

        Returns
        -------
        pandas.DataFrame
            Table with the columns ``seed``, ``learning_rate``, ``n_epochs``, ``reached``,
            ``failed``, and one for each figure.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            check.missing_extra("Results.to_frame", "pandas", "pandas")
        columns: dict[str, Any] = {
            "seed": self.seeds,
            "learning_rate": self.learning_rates,
            "n_epochs": self.n_epochs,
            "reached": self.reached,
            "failed": [error is not None for error in self.errors],
        }
        for name in self.histories[0]:
            columns[name] = [h[name][-1] if h.n_epochs else np.nan for h in self.histories]
        return pandas.DataFrame(columns)

    def plot(self, ax: Any = None) -> Any:
        """Draw a histogram of the epochs to the target; see `plots.epochs_to_target`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; by default, those of a new figure.

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
        return plots.epochs_to_target(self.n_epochs, self.reached, ax)

    def __len__(self) -> int:
        """Return the number of replicas."""
        return len(self.seeds)

    def __repr__(self) -> str:
        """Return a text with the number of replicas, and how they ended."""
        n_failed = sum(error is not None for error in self.errors)
        noun = "replica" if len(self) == 1 else "replicas"
        words = f"{int(self.reached.sum())} reached the target, {n_failed} failed"
        return f"<Results of {len(self)} {noun}: {words}>"
