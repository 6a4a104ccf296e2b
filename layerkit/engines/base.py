"""`Engine`: what computes the epochs of a fit, and what it is given for that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from layerkit.data.batches import Batches
from layerkit.steps.position import Position
from layerkit.steps.step import TrainingStep

__all__ = ["Engine", "EngineUsed", "Figures", "Goal", "Refused", "Work"]

# The numbers of each figure, one for each epoch that was finished.
Figures = dict[str, list[float]]


class EngineUsed(NamedTuple):
    """Name of the engine that trained, and the reason for it.

    Parameters
    ----------
    name : {"numpy", "numba"}
        Name of the engine.
    reason : str
        Reason why it served.

    Examples
    --------
    >>> from layerkit import EngineUsed
    >>> print(EngineUsed("numpy", "the Trainer asks for it"))
    numpy, since the Trainer asks for it
    """

    name: str
    reason: str

    def __str__(self) -> str:
        """Return both as a sentence."""
        return f"{self.name}, since {self.reason}"


class Refused(Exception):
    """Reason why an engine can't serve; never seen by users."""


class Goal(NamedTuple):
    """Value of a figure at which training ends.

    Parameters
    ----------
    figure : str
        Name of the figure.
    value : float
        Value to reach.
    rises : bool
        Whether greater values are better.
    """

    figure: str
    value: float
    rises: bool


class Work(Protocol):
    """What an engine uses of a fit.

    Attributes
    ----------
    step : TrainingStep
        The step, with the model, the loss, the optimizer, the metrics and the guard of updates.
    data : Batches
        Batches to train on.
    rng : numpy.random.Generator or None
        Generator of the order of the samples; None for their own order.
    position : Position
        Progress of the fit, which an engine moves on.
    names : list of str
        Names of the figures of training: the loss, then the metrics.
    before_batch, after_batch : callable or None
        Calls the callbacks that have a hook there; None if there are none. After a batch, those
        too that have one after its update, if it made one.
    after_update : callable or None
        Calls the callbacks that have a hook after an update, where no batch is left to follow.
    record : callable or None
        Puts the figures of finished epochs on record; None if the fit adds to them first.
    """

    step: TrainingStep
    data: Batches
    rng: np.random.Generator | None
    position: Position
    names: list[str]

    @property
    def before_batch(self) -> Callable[[], None] | None:
        """Call the hooks before a batch."""

    @property
    def after_batch(self) -> Callable[[], None] | None:
        """Call the hooks after a batch, and those after its update."""

    @property
    def after_update(self) -> Callable[[], None] | None:
        """Call the hooks after an update."""

    @property
    def record(self) -> Callable[[Figures], None] | None:
        """Record the figures of finished epochs."""

    def describe_batch(self) -> str:
        """Return the beginning of an error's message about the batch at work."""


class Engine(ABC):
    """Base of the engines: trains some epochs of a fit, and returns their figures.

    Attributes
    ----------
    used : EngineUsed
        Name of the engine, and why it serves.
    arithmetic : {"numpy", "parts", "numba"}
        Kind of arithmetic, to the last bit: a fit that is resumed computes as it did before.
    """

    used: EngineUsed
    arithmetic: str

    @abstractmethod
    def train(self, n_epochs: int, goals: Sequence[Goal]) -> Figures:
        """Train the epoch that the fit's position is in, and perhaps more.

        Parameters
        ----------
        n_epochs : int
            Number of epochs that may pass, at most, before the fit has to look again.
        goals : sequence of Goal
            Figures of `watchable`, at whose values training ends.

        Returns
        -------
        dict of str to list of float
            Figures of the finished epochs that are not on record yet.
        """

    @property
    def watchable(self) -> list[str]:
        """Names of the figures that the engine can watch on its own."""
        return []

    def is_current(self) -> bool:
        """Return whether the engine can still serve, after callbacks may have changed the model."""
        return True

    def end(self) -> None:  # noqa: B027 - most have nothing to release
        """Release what only a fit needs."""
