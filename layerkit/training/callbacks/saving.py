"""`ModelCheckpoint`: saves the model, or a checkpoint from which a training can be resumed."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from layerkit._support import validation as check
from layerkit._support.state_checks import ranged
from layerkit.storage.files import Path
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.callbacks.stopping import figure_name, gain, rises, worst

__all__ = ["ModelCheckpoint"]

# Version 0.1.0 kept them in checkpoints. They say when and where files are written, which no file
# is to decide.
_NO_STATE = frozenset({"last_path", "period"})


class ModelCheckpoint(Callback):
    """Save the model, or the whole state of the training, after epochs or steps.

    Parameters
    ----------
    path : str or path-like
        Path of the file. ``{epoch}`` and ``{step}`` in it are replaced by the numbers. A path
        without them is overwritten each time, completely or not at all.
    best : str, optional
        Quantity to monitor, a name in `History`: save only if it is better than ever before.
    epochs : int, optional
        Number of epochs from one save to the next; by default 1.
    steps : int, optional
        Number of steps of the optimizer from one save to the next, in place of epochs.
    resumable : bool
        Whether to save a checkpoint for `Trainer.resume`, and not only the model.

    Attributes
    ----------
    last_path : str or None
        Path of the file that this process has saved last. No file that is loaded sets it, nor
        where the next ones are saved.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind, or ``steps`` is combined with ``best`` or ``epochs``.
    SaveError
        In training, if the file can't be written.

    Examples
    --------
    >>> from layerkit import ModelCheckpoint
    >>> ModelCheckpoint("best.layerkit", best="val_loss")
    ModelCheckpoint('best.layerkit', best='val_loss')
    """

    runs_last = True

    def __init__(
        self,
        path: Path,
        *,
        best: str | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        resumable: bool = False,
    ) -> None:
        where = "ModelCheckpoint.__init__"
        if not isinstance(path, str | os.PathLike):
            check.fail(where, "path", "the path of a file", path)
        if steps is not None and (best is not None or epochs is not None):
            check.fail(where, "steps", "None where best or epochs is given", steps)
        self.path = os.fspath(path)
        self.best = None if best is None else figure_name(where, "best", best)
        self.epochs, self.steps = epochs, steps
        if epochs is not None:
            self.epochs = check.integer(where, "epochs", epochs, minimum=1)
        if steps is not None:
            self.steps = check.integer(where, "steps", steps, minimum=1)
            self.on_batch_end = self._after_step  # type: ignore[method-assign]
        self.resumable = check.boolean(where, "resumable", resumable)
        self.last_path: str | None = None
        self.period = self.epochs or 1
        self._saved_step = 0
        self._best_value, self._rises = math.nan, False

    def get_state(self) -> dict[str, Any]:
        """Return how far it has come, but not where it saves; see `Callback.get_state`."""
        return {name: value for name, value in super().get_state().items() if name not in _NO_STATE}

    def check_state(self, state: Mapping[str, Any], trainer: TrainingState) -> None:
        """Refuse what is no step or no figure; see `Callback.check_state`."""
        super().check_state(_without_paths(state), trainer)
        ranged("ModelCheckpoint.set_state", state, _saved_step="a count")

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore how far it had come; see `Callback.set_state`."""
        super().set_state(_without_paths(state))

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Reset the counters, and check that the quantity is recorded."""
        self._saved_step = trainer.optimizer.n_steps
        if self.best is not None:
            self._rises = rises(trainer, "ModelCheckpoint.on_train_begin", "best", self.best)
            self._best_value = worst(self._rises)

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Save, if the quantity is better than before or none is watched."""
        if self.steps is not None:
            return
        if self.best is not None:
            figure = trainer.history[self.best][-1]
            if not gain(figure, self._best_value, self._rises) > 0:
                return
            self._best_value = figure
        self._save(trainer)

    def _after_step(self, trainer: TrainingState) -> None:
        n_steps = trainer.optimizer.n_steps
        if n_steps - self._saved_step >= self.steps:  # type: ignore[operator]
            self._saved_step = n_steps
            self._save(trainer)

    def _save(self, trainer: TrainingState) -> None:
        path = self.path.replace("{epoch}", str(trainer.epoch)).replace("{step}", str(trainer.step))
        self.last_path = path  # before: the file says so itself
        if self.resumable:
            trainer.save_checkpoint(path)
        elif trainer.communicator.rank == 0:
            trainer.model.save(path)

    def __getstate__(self) -> dict[str, object]:
        """Return the attributes to copy, without the hook that is bound to this object."""
        return {name: value for name, value in vars(self).items() if name != "on_batch_end"}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore the attributes, and bind the hook to this object."""
        vars(self).update(state)
        if self.steps is not None:
            self.on_batch_end = self._after_step  # type: ignore[method-assign]


def _without_paths(state: Any) -> Any:
    """Return a state without what is none any more."""
    if not isinstance(state, Mapping):
        return state
    return {name: value for name, value in state.items() if name not in _NO_STATE}
