"""`ModelCheckpoint`: saves the model, or a checkpoint from which a training can be resumed."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from typing import Any

from layerkit._support import validation as check
from layerkit.errors import LoadError
from layerkit.storage.files import Path
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.callbacks.paths import (
    check_fields,
    fields_of,
    filled,
    make_folder,
    text_of,
)
from layerkit.training.callbacks.stopping import figure_name, gain, rises, worst

__all__ = ["ModelCheckpoint"]

# What is filled into a path, by name.
Numbers = dict[str, Any]


class ModelCheckpoint(Callback):
    """Save the model, or the whole state of the training, after epochs or steps.

    Parameters
    ----------
    path : str or path-like
        Path of the file, whose folder is made when training begins. ``{epoch}``, ``{step}`` and
        the names in `History` are replaced by the numbers, written as in a format string:
        ``"{epoch:02d}-{val_loss:.3f}.layerkit"``. A path without them is overwritten each time,
        completely or not at all.
    best : str, optional
        Quantity to monitor, a name in `History`: save only if it is better than ever before, over
        all fits of this callback.
    epochs : int, optional
        Number of epochs from one save to the next; by default 1.
    steps : int, optional
        Number of steps of the optimizer from one save to the next, in place of epochs. The path
        has no other names than ``{epoch}`` and ``{step}`` then.
    resumable : bool
        Whether to save a checkpoint for `Trainer.resume`, and not only the model.
    keep : int, optional
        Number of files to keep: the last ones, or with ``best`` the best ones (the model is saved
        whenever it is among them). Of those that this callback saved, the others are deleted; one
        that can't be is left, and not tried again. A resumed fit goes on with the checkpoint's
        list: it names files by their numbers, so only files of the form of ``path`` are deleted.

    Attributes
    ----------
    last_path : str or None
        Path of the file that this process has saved last. No file that is loaded sets it, nor
        where the next ones are saved.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind, or ``steps`` is combined with ``best`` or ``epochs``;
        when training begins, if the path has a name that is not recorded.
    SaveError
        When training begins, if the folder can't be made or written to; in training, if the file
        can't be written.

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
        keep: int | None = None,
    ) -> None:
        where = "ModelCheckpoint.__init__"
        self.path = text_of(where, "path", path, "the path of a file")
        if steps is not None and (best is not None or epochs is not None):
            check.fail(where, "steps", "None where best or epochs is given", steps)
        self.best = None if best is None else figure_name(where, "best", best)
        self.epochs, self.steps, self.keep = epochs, steps, keep
        if epochs is not None:
            self.epochs = check.integer(where, "epochs", epochs, minimum=1)
        if steps is not None:
            self.steps = check.integer(where, "steps", steps, minimum=1)
        self.resumable = check.boolean(where, "resumable", resumable)
        fields = fields_of(where, self.path)
        if keep is not None:
            self.keep = check.integer(where, "keep", keep, minimum=1)
            if not fields:
                remedy = "Write {epoch} or {step} into the path."
                check.fail(where, "keep", "None where all files have one name", keep, remedy)
        self.period = self.epochs or 1
        self._saved_step = 0
        self._best_value, self._rises = math.nan, False
        self._ended = 0, 0  # epoch and step of the last batch that ended
        # Numbers, not names: whatever a checkpoint says, a name has the form of `path`.
        self._last: Numbers | None = None
        self._kept: list[tuple[Numbers, float]] = []
        self._bind()

    def _bind(self) -> None:
        if self.steps is not None:
            self.on_batch_end = self._after_batch  # type: ignore[method-assign]
            self.on_update_end = self._after_update  # type: ignore[method-assign]

    @property
    def last_path(self) -> str | None:
        """Path of the file that was saved last."""
        return None if self._last is None else filled(self.path, self._last)

    def check_state(self, state: Mapping[str, Any], trainer: TrainingState) -> None:
        """Refuse what is no such state; see `Callback.check_state`."""
        self._own_state(state)

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Check the path and the quantity, make the folder, and reset the counter of steps."""
        where = "ModelCheckpoint.on_train_begin"
        self._saved_step, self._ended = trainer.optimizer.n_steps, (0, 0)
        if self.best is not None:
            self._rises = rises(trainer, where, "best", self.best)
            if math.isnan(self._best_value):
                self._best_value = worst(self._rises)
        figures = trainer.history if self.steps is None else ()
        check_fields(where, self.path, ["epoch", "step", *figures])
        if trainer.communicator.rank == 0:
            # Folders with a number in their name are left until it is known.
            known, *rest = self.path.split("{")
            make_folder(where, f"{known}_" if rest else known)

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Save, if the quantity is better than before or none is watched."""
        if self.steps is not None:
            return
        figure = math.nan
        if self.best is not None:
            figure = float(trainer.history[self.best][-1])
            if not gain(figure, self._to_beat(), self._rises) > 0:
                return
            if gain(figure, self._best_value, self._rises) > 0:
                self._best_value = figure
        self._save(trainer, figure)

    def _to_beat(self) -> float:
        """Return the value that is to be improved on: the best, or the worst of those kept."""
        if self.keep is None:
            return self._best_value
        kept = [figure for _, figure in self._in_order()[-self.keep :]]
        return kept[0] if len(kept) == self.keep else worst(self._rises)

    def _in_order(self) -> list[tuple[Numbers, float]]:
        """Return what is kept, in the order in which it is deleted."""
        if self.best is None:
            return self._kept
        return sorted(self._kept, key=lambda entry: entry[1], reverse=not self._rises)

    def _after_batch(self, trainer: TrainingState) -> None:
        self._ended = trainer.epoch, trainer.step
        n_steps = trainer.optimizer.n_steps
        if n_steps - self._saved_step >= self.steps:  # type: ignore[operator]
            self._saved_step = n_steps
            self._save(trainer, math.nan)

    def _after_update(self, trainer: TrainingState) -> None:
        # Other callbacks have hooks at the end of the batch, unless this update came after it.
        if self._ended == (trainer.epoch, trainer.step):
            self._after_batch(trainer)

    def _save(self, trainer: TrainingState, figure: float) -> None:
        known = {"epoch": trainer.epoch, "step": trainer.step}
        numbers: Numbers = {
            name: known[name] if name in known else float(trainer.history[name][-1])
            for name in fields_of("ModelCheckpoint", self.path)
        }
        path = filled(self.path, numbers)
        self._last = numbers  # before: the file says so itself
        if self.keep is not None:
            self._kept = [e for e in self._kept if filled(self.path, e[0]) != path]
            self._kept.append((numbers, figure))
        if trainer.communicator.rank == 0:
            make_folder("ModelCheckpoint", path)
        if self.resumable:
            trainer.save_checkpoint(path)
        elif trainer.communicator.rank == 0:
            trainer.model.save(path)
        self._delete_others(trainer.communicator.rank == 0)

    def _delete_others(self, is_first: bool) -> None:
        """Delete what is not to be kept, after the new file is there."""
        if self.keep is None:
            return
        for entry in self._in_order()[: -self.keep]:
            self._kept.remove(entry)
            if is_first:
                with contextlib.suppress(OSError):
                    os.unlink(filled(self.path, entry[0]))

    def get_state(self) -> dict[str, Any]:
        """Return the counters, the best value, and the numbers in the names; see `Callback`."""
        names = ("_saved_step", "_best_value", "_ended", "_last", "_kept")
        return {name: getattr(self, name) for name in names}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state, of which nothing names a file; see `Callback`.

        Raises
        ------
        LoadError
            If it is not a state of a `ModelCheckpoint`.
        """
        own = self._own_state(state)
        for name in self.get_state():
            setattr(self, name, own[name])
        self._kept = list(self._kept)

    def _own_state(self, state: Any) -> dict[str, Any]:
        """Return a state of this version, and refuse one that is none."""
        fields = set(fields_of("ModelCheckpoint.set_state", self.path))
        own = dict(state) if isinstance(state, Mapping) else {}
        if "_last" not in own:  # version 0.1.0 saved a path, which no file is to set any more
            is_known = own.get("last_path") is not None and not fields
            own = {"_ended": (0, 0), "_last": {} if is_known else None, "_kept": []} | own
            for name in ("last_path", "period"):
                own.pop(name, None)
            if isinstance(own.get("_rises"), bool):
                del own["_rises"]
        if set(own) != set(self.get_state()) or not _is_state(own):
            wanted, got = "that of such a callback", check.Said("another")
            check.fail("ModelCheckpoint.set_state", "state", wanted, got, error=LoadError)
        known = [numbers for numbers, _ in own["_kept"]] + ([own["_last"]] if own["_last"] else [])
        if any(set(numbers) != fields for numbers in known):  # of another path than now
            own |= {"_last": None, "_kept": []}
        return own

    def __getstate__(self) -> dict[str, object]:
        """Return the attributes to copy, without the hooks that are bound to this object."""
        bound = ("on_batch_end", "on_update_end")
        return {name: value for name, value in vars(self).items() if name not in bound}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore the attributes, and bind the hooks to this object."""
        vars(self).update(state)
        self._bind()


def _is_state(state: Mapping[str, Any]) -> bool:
    """Return whether a state from a file has the form of one."""

    def are_numbers(numbers: Any) -> bool:
        return type(numbers) is dict and all(
            _is_count(number) if name in ("epoch", "step") else type(number) is float
            for name, number in numbers.items()
        )

    try:
        return (
            _is_count(state["_saved_step"])
            and type(state["_best_value"]) is float
            and list(map(_is_count, state["_ended"])) == [True, True]
            and (state["_last"] is None or are_numbers(state["_last"]))
            and all(are_numbers(n) and type(figure) is float for n, figure in state["_kept"])
        )
    except (KeyError, TypeError, ValueError):
        return False


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 63
