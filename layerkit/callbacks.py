"""Callbacks: what may happen around training, and `History`, the record of it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from layerkit import _validation as check
from layerkit._repr import ConstructorRepr

if TYPE_CHECKING:
    from layerkit.trainer import Trainer

__all__ = ["Callback", "History", "StopAt"]


class History(Mapping[str, list[float]]):
    """The loss and each metric, epoch by epoch.

    A read-only mapping from a figure's name to its list of numbers: ``"loss"``, each metric's
    name, and with validation data both again after ``"val_"``.

    Parameters
    ----------
    names : iterable of str
        The figures that are recorded.

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
        """Record an epoch: one number for each name."""
        self.extend({name: [figure] for name, figure in figures.items()})

    def extend(self, epochs: Mapping[str, list[float]]) -> None:
        """Record several epochs: a list of numbers for each name, all of one length."""
        columns = [epochs[name] for name in self._figures]
        for numbers, figures in zip(self._figures.values(), columns, strict=True):
            numbers.extend(figures)
        self.n_epochs += len(columns[0])

    def __getitem__(self, name: str) -> list[float]:
        """Give a figure's numbers, one an epoch."""
        return self._figures[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self._figures)

    def __len__(self) -> int:
        """Count the names."""
        return len(self._figures)

    def __repr__(self) -> str:
        """Tell the epochs, and the last of each figure."""
        last = {name: numbers[-1] for name, numbers in self._figures.items() if numbers}
        figures = "".join(f", {name}={number:g}" for name, number in last.items())
        return f"<History of {self.n_epochs} epochs{figures}>"


class Callback(ConstructorRepr):
    """Base of the callbacks: a subclass overrides the hooks that it wants.

    Each hook is handed the trainer, with ``trainer.model``, ``trainer.epoch`` and
    ``trainer.step`` (both counted from 1), ``trainer.batch_loss`` (after a batch),
    ``trainer.history`` and ``trainer.stop()``.

    Attributes
    ----------
    period : int
        How many epochs pass from one call of `on_epoch_end` to the next, and of `on_epoch_begin`
        too: with 100, after epochs 100, 200, … and before 1, 101, …. What happened in between
        stands in ``trainer.history``. A small network's epoch takes about a microsecond, less
        than a call of Python's.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SGD, Callback, Dense, HalfSquaredError, Sequential, Trainer
    >>> class CountSteps(Callback):
    ...     n_steps = 0
    ...     def on_batch_end(self, trainer):
    ...         self.n_steps += 1
    >>> counter = CountSteps()
    >>> trainer = Trainer(Sequential([Dense(1, 1)]), HalfSquaredError(), SGD(0.1))
    >>> x = np.zeros((6, 1))
    >>> _ = trainer.fit(x, x, epochs=2, batch_size=2, callbacks=[counter])
    >>> counter.n_steps
    6
    """

    period: int = 1

    def on_train_begin(self, trainer: "Trainer") -> None:
        """Act before the first epoch of a fit."""

    def on_train_end(self, trainer: "Trainer") -> None:
        """Act after the last epoch; also if the fit was interrupted, to clean up."""

    def on_epoch_begin(self, trainer: "Trainer") -> None:
        """Act before an epoch."""

    def on_epoch_end(self, trainer: "Trainer") -> None:
        """Act after an epoch, whose figures are the last in ``trainer.history``."""

    def on_batch_begin(self, trainer: "Trainer") -> None:
        """Act before a batch."""

    def on_batch_end(self, trainer: "Trainer") -> None:
        """Act after a batch, and its update."""


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
        if not isinstance(metric, str):
            check.fail(where, "metric", "a name in History, such as 'loss'", metric)
        self.metric = metric
        self.value = check.number(where, "value", value)
        self.reached = False

    def on_train_begin(self, trainer: "Trainer") -> None:
        """Refuse a figure that nobody records."""
        if self.metric not in trainer.history:
            names = ", ".join(repr(name) for name in trainer.history)
            check.fail("StopAt.on_train_begin", "metric", f"one of {names}", self.metric)
        self.reached = False
        name = self.metric.removeprefix("val_")
        self.rises = any(m.name == name and m.greater_is_better for m in trainer.metrics)

    def on_epoch_end(self, trainer: "Trainer") -> None:
        """Compare the epoch's figure."""
        figure = trainer.history[self.metric][-1]
        self.reached = figure >= self.value if self.rises else figure <= self.value
        if self.reached:
            trainer.stop()
