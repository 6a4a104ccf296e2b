"""How far a fit has come, and checkpoints: all that it needs to go on, bit for bit."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state import is_generator
from layerkit._support.validation import Array
from layerkit.data.batches import ArrayBatches, Batches, DatasetBatches
from layerkit.errors import LoadError, StateError
from layerkit.models.sequential import Sequential
from layerkit.storage.files import Path
from layerkit.storage.models import contents_of, fill, read_tree, write_tree
from layerkit.training.callbacks import Callback
from layerkit.training.history import History

if TYPE_CHECKING:
    from layerkit.training.trainer import Trainer

_NUMBERS = "epoch step loss_total total_weight n_samples n_batches batch_loss".split()
_FLAGS = "is_mid_epoch stopped".split()

_in_training: dict[int, object] = {}


@contextlib.contextmanager
def sole_training(where: str, model: Sequential) -> Iterator[None]:
    """Refuse a model that is being trained already, by a callback or in another thread."""
    parameters = model.parameters
    # A slice of a model, and a model around it, have the same vectors.
    key = id(parameters[0]._values) if parameters else id(model)
    token = object()
    if _in_training.setdefault(key, token) is not token:  # one step, whatever the threads do
        got = check.Said("one that is being trained")
        remedy = "Train a copy: copy.deepcopy(model)."
        check.fail(where, "model", "in one fit at a time", got, remedy, error=StateError)
    try:
        yield
    finally:
        del _in_training[key]


class Progress:
    """How far a fit has come: in its epochs, in the current one, and in its callbacks' minds.

    Parameters
    ----------
    saved : mapping, optional
        What `as_tree` gave, to go on from there.
    """

    epoch = step = n_samples = n_batches = 0
    loss_total = total_weight = batch_loss = 0.0
    is_mid_epoch = stopped = False
    order: Array | None = None
    held_out: Array | None = None
    accumulated: tuple[Array, float, int] | None = None
    accumulation: Any = None
    callback_states: list[Any] | None = None
    arithmetic: str | None = None

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        self.totals: list[Any] = []
        self.settings: dict[str, Any] = {}
        self.is_resumed = saved is not None
        self._history: Any = None
        self._callbacks: list[Any] = []
        if saved is not None:
            vars(self).update(saved["progress"])
            self._history, self._callbacks = saved["history"], saved["callbacks"]

    def check_settings(
        self,
        where: str,
        data: Batches,
        shuffle: bool,
        accumulate: int,
        callbacks: Sequence[Callback],
    ) -> None:
        """Keep what the fit is like; refuse one that is unlike what is resumed."""
        settings: dict[str, Any] = {"shuffle": shuffle, "accumulate": accumulate}
        if isinstance(data, ArrayBatches | DatasetBatches):
            settings |= {"batch_size": data.batch_size, "the number of samples": data.n_samples}
        else:
            settings["steps_per_epoch"] = data.steps_per_epoch
        if self.is_resumed:
            for name, value in settings.items():
                if name not in self.settings or self.settings[name] != value:
                    was = self.settings.get(name, "another kind of data")
                    check.fail(where, name, f"{was}, as in the checkpoint", value)
            names = [name for name, _ in self._callbacks]
            order = sorted(callbacks, key=lambda callback: callback.runs_last)
            given = [c for c in order if type(c).__name__ != "ProgressBar"]
            if names != [type(callback).__name__ for callback in given]:
                wanted = f"those of the checkpoint, {', '.join(names) or 'none'}"
                check.fail(where, "callbacks", wanted, check.Said(repr(given)))
            states = iter([state for _, state in self._callbacks])
            self.callback_states = [{} if c not in given else next(states) for c in order]
        self.settings = settings

    def take_history(self, where: str, names: list[str]) -> History:
        """Give the record so far, or a new one."""
        if not self.is_resumed:
            return History(names)
        history = History.from_state(where, self._history)
        if list(history) != names and history.n_epochs:
            wanted = f"such that {', '.join(map(repr, history))} are recorded, as before"
            check.fail(where, "metrics and validation_data", wanted, check.Said(str(names)))
        return history if history.n_epochs else History(names)

    def begin_epoch(self, epoch: int) -> None:
        """Note that an epoch begins."""
        self.is_mid_epoch, self.epoch = True, epoch
        self.step = self.n_samples = 0
        self.loss_total = self.total_weight = 0.0
        self.order, self.totals = None, []

    def note(self, trainer: Trainer, position: tuple[Any, ...]) -> None:
        """Note how far the current epoch is."""
        step, self.order, self.loss_total, self.total_weight, self.n_samples, self.totals = position
        self.is_mid_epoch = True
        self.n_batches += step - self.step
        self.step, self.epoch, self.batch_loss = step, trainer.epoch, trainer.batch_loss

    def end_epoch(self) -> None:
        """Note that its figures are on record."""
        self.is_mid_epoch = False
        self.order, self.totals, self.step = None, [], 0

    def as_tree(self, trainer: Trainer) -> dict[str, Any]:
        """Give it all in a form for a file."""
        own = {
            name: getattr(self, name)
            for name in (*_NUMBERS, *_FLAGS, "settings", "held_out", "arithmetic")
        }
        own |= {"stopped": trainer._stopped, "totals": list(self.totals)}
        own["order"] = None if self.order is None else np.array(self.order)
        accumulation = self.accumulation
        own["accumulated"] = None
        if accumulation is not None and accumulation.n_added:
            own["accumulated"] = (accumulation.total, accumulation.weight, accumulation.n_added)
        return own


def write_checkpoint(where: str, path: Path, trainer: Trainer) -> None:
    """Write all that a trainer needs to go on."""
    states = [(n, s) for n, s in trainer._hooks.states() if n != "ProgressBar"]
    tree = {
        "contents": contents_of(trainer.model),
        "optimizer": {
            "class": type(trainer.optimizer).__name__,
            "state": trainer.optimizer.state,
            "attributes": trainer.optimizer.attributes(),
        },
        "rng": trainer.rng,
        "callbacks": states,
        "history": trainer.history.get_state(),
        "progress": trainer._progress.as_tree(trainer),
        "ranks": None,
    }
    if trainer._ranks:
        trainer._ranks.write(where, path, tree)
    else:
        write_tree(where, path, "checkpoint", tree)


def read_checkpoint(where: str, path: Path, trainer: Trainer) -> dict[str, Any]:
    """Put a checkpoint into a trainer, all of it or nothing; give what is for its next fit."""
    tree = read_tree(where, path, "checkpoint", {})
    optimizer, model, rng = trainer.optimizer, trainer.model, trainer.rng
    try:
        saved, generator = tree["optimizer"], tree["rng"]
        name, vectors, attributes = (saved[key] for key in ("class", "state", "attributes"))
        progress, callbacks, history = (tree[key] for key in ("progress", "callbacks", "history"))
        fits = (
            is_generator(generator)
            and isinstance(progress, dict)
            and all(type(progress[n]) in (int, float) for n in _NUMBERS)
            and all(v.shape == (len(model.values),) for v in vectors.values())
            and all(v.dtype == model.dtype for v in vectors.values())
            and isinstance(attributes, dict)
            and all(isinstance(n, str) and isinstance(s, dict) for n, s in callbacks)
        )
        contents = tree["contents"]
        ranks = tree.get("ranks")  # not in the files of earlier versions
        fits = fits and (ranks is None or all(map(_is_part, ranks)))
    except (KeyError, TypeError, AttributeError, ValueError):
        fits = False
    if not fits:
        wanted, got = "a checkpoint of a model like this one", check.Said("another")
        check.fail(where, "path", wanted, got, error=LoadError)
    History.from_state(where, history)
    if name != type(optimizer).__name__:
        check.fail(where, "optimizer", f"{name}, as in the checkpoint", optimizer, error=LoadError)
    if type(generator.bit_generator) is not type(rng.bit_generator):
        wanted = f"a Generator of {type(generator.bit_generator).__name__}, as in the checkpoint"
        check.fail(where, "seed", wanted, rng, error=LoadError)
    before = copy.deepcopy(contents_of(model))
    try:
        fill(where, model, contents)
        optimizer.set_state(vectors, attributes)
    except BaseException:
        # The parameters come first; a layer that refuses its state may refuse it again.
        with contextlib.suppress(LoadError):
            fill(where, model, before)
        raise
    rng.bit_generator.state = generator.bit_generator.state
    return {"progress": progress, "callbacks": callbacks, "history": history, "ranks": ranks}


def _is_part(part: Any) -> bool:
    """Tell whether this is what a rank has of its own."""
    return isinstance(part["states"], dict) and isinstance(part["totals"], list)
