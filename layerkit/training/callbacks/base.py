"""`Callback`: the base of what may happen around training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from layerkit._support.repr import ConstructorRepr
from layerkit._support.state import restore, state_of

if TYPE_CHECKING:
    from layerkit.training.trainer import Trainer

__all__ = ["Callback"]


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
    runs_last : bool
        Whether its hooks are called after those of the callbacks that don't; for what saves.
    only_on_rank_0 : bool
        Whether, in a training over several ranks, it is called on the first alone; for what writes
        or shows. On the others ``trainer.communicator.rank`` is above 0.

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
    runs_last: bool = False
    only_on_rank_0: bool = False

    def on_train_begin(self, trainer: Trainer) -> None:
        """Act before the first epoch of a fit."""

    def on_train_end(self, trainer: Trainer) -> None:
        """Act after the last epoch; also if the fit was interrupted, to clean up."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Act before an epoch."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Act after an epoch, whose figures are the last in ``trainer.history``."""

    def on_batch_begin(self, trainer: Trainer) -> None:
        """Act before a batch."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """Act after a batch, and its update."""

    def get_state(self) -> dict[str, Any]:
        """Give what a checkpoint keeps of the callback.

        Unless overridden, the attributes that hold data and are not the constructor's arguments.
        """
        return state_of(self)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `get_state` left off; called after `on_train_begin` of a resumed fit."""
        restore(self, state)
