"""Checkpoints: all that a fit needs to go on, bit for bit."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state import is_generator
from layerkit.data.batches import ArrayBatches, Batches, DatasetBatches
from layerkit.errors import LoadError
from layerkit.models.base import Model
from layerkit.optimizers import Optimizer
from layerkit.steps.position import Position
from layerkit.storage.files import Path
from layerkit.storage.models import contents_of, fill, read_tree
from layerkit.training.callbacks.base import Callback
from layerkit.training.history import History
from layerkit.training.hooks import Hooks

__all__ = ["check_settings", "checkpoint_tree", "history_of", "read_checkpoint"]

Resumed = Mapping[str, Any]


class Saved(NamedTuple):
    """Objects of a trainer that a checkpoint holds besides the position."""

    model: Model
    optimizer: Optimizer
    rng: np.random.Generator


def checkpoint_tree(
    saved: Saved, position: Position, hooks: Hooks | None, history: History
) -> dict[str, Any]:
    """Return all that a training needs to go on, in a form for a file."""
    states = hooks.states() if hooks else []
    kept = hooks.kept if hooks else None
    return {
        "contents": kept.contents() if kept else contents_of(saved.model),
        "optimizer": {
            "class": type(saved.optimizer).__name__,
            "state": saved.optimizer.state,
            "attributes": kept.attributes() if kept else saved.optimizer.attributes(),
        },
        "rng": saved.rng,
        "callbacks": [(name, state) for name, state in states if name != "ProgressBar"],
        "history": history.get_state(),
        "progress": position.as_tree(),
    }


def read_checkpoint(where: str, path: Path, saved: Saved) -> Resumed:
    """Put a checkpoint into the objects of a trainer, all of it or nothing.

    Returns
    -------
    mapping
        The part of it that the next fit goes on from.
    """
    tree = read_tree(where, path, "checkpoint", {})
    model, optimizer, rng = saved
    if not _fits(tree, model):
        wanted, got = "a checkpoint of a model like this one", check.Said("another")
        check.fail(where, "path", wanted, got, error=LoadError)
    History.from_state(where, tree["history"])
    name, generator = tree["optimizer"]["class"], tree["rng"]
    if name != type(optimizer).__name__:
        check.fail(where, "optimizer", f"{name}, as in the checkpoint", optimizer, error=LoadError)
    if type(generator.bit_generator) is not type(rng.bit_generator):
        wanted = f"a Generator of {type(generator.bit_generator).__name__}, as in the checkpoint"
        check.fail(where, "seed", wanted, rng, error=LoadError)
    before = copy.deepcopy(contents_of(model))
    try:
        fill(where, model, tree["contents"])
        optimizer.set_state(tree["optimizer"]["state"], tree["optimizer"]["attributes"])
    except BaseException:
        # The parameters come first; a layer that refuses its state may refuse it again.
        with contextlib.suppress(LoadError):
            fill(where, model, before)
        raise
    rng.bit_generator.state = generator.bit_generator.state
    # Files of earlier versions know nothing of ranks.
    return {"ranks": None} | {k: tree.get(k) for k in ("progress", "callbacks", "history", "ranks")}


def _fits(tree: Mapping[str, Any], model: Model) -> bool:
    """Return whether a tree from a file has the form of a checkpoint of such a model."""
    try:
        vectors, attributes = tree["optimizer"]["state"], tree["optimizer"]["attributes"]
        ranks = tree.get("ranks")
        return (
            {"class", "state", "attributes"} <= set(tree["optimizer"])
            and {"contents", "history"} <= set(tree)
            and is_generator(tree["rng"])
            and Position.is_one(tree["progress"])
            and all(v.shape == (len(model.values),) for v in vectors.values())
            and all(v.dtype == model.dtype for v in vectors.values())
            and isinstance(attributes, dict)
            and all(isinstance(n, str) and isinstance(s, dict) for n, s in tree["callbacks"])
            and (ranks is None or all(map(_is_part, ranks)))
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        return False


def _is_part(part: Any) -> bool:
    """Return whether this is what a rank has of its own."""
    return isinstance(part["states"], dict) and isinstance(part["totals"], list)


def check_settings(
    where: str, position: Position, resumed: Resumed | None, settings: dict[str, Any]
) -> None:
    """Refuse settings that are unlike those of the fit that is gone on with."""
    if _holds_fit(resumed):
        for name, value in settings.items():
            if name not in position.settings or position.settings[name] != value:
                was = position.settings.get(name, "another kind of data")
                check.fail(where, name, f"{was}, as in the checkpoint", value)


def _holds_fit(resumed: Resumed | None) -> TypeGuard[Resumed]:
    """Return whether there is a fit to go on with: one saved before any fit has no settings."""
    return resumed is not None and bool(resumed["progress"]["settings"])


def settings_of(data: Batches, shuffle: bool, accumulate: int) -> dict[str, Any]:
    """Return what a fit that goes on with another must have in common with it."""
    settings: dict[str, Any] = {"shuffle": shuffle, "accumulate": accumulate}
    if isinstance(data, ArrayBatches | DatasetBatches):
        return settings | {"batch_size": data.batch_size, "the number of samples": data.n_samples}
    return settings | {"steps_per_epoch": data.steps_per_epoch}


def class_names(callbacks: Sequence[Callback]) -> list[str]:
    """Return the names of the callbacks' classes, but for progress bars, which anyone may add."""
    names = [type(callback).__name__ for callback in callbacks]
    return sorted(name for name in names if name != "ProgressBar")


def callback_states(
    where: str, resumed: Resumed | None, callbacks: Sequence[Callback]
) -> list[Any] | None:
    """Return the state of each callback, in the order in which they are called."""
    if not _holds_fit(resumed):
        return None
    names = [name for name, _ in resumed["callbacks"]]
    given = [c for c in callbacks if type(c).__name__ != "ProgressBar"]
    if names != [type(callback).__name__ for callback in given]:
        wanted = f"those of the checkpoint, {', '.join(names) or 'none'}"
        check.fail(where, "callbacks", wanted, check.Said(repr(given)))
    states = iter([state for _, state in resumed["callbacks"]])
    return [{} if c not in given else next(states) for c in callbacks]


def history_of(where: str, resumed: Resumed | None, names: list[str]) -> History:
    """Return the record so far, or a new one."""
    if not _holds_fit(resumed):
        return History(names)
    history = History.from_state(where, resumed["history"])
    if list(history) != names and history.n_epochs:
        wanted = f"such that {', '.join(map(repr, history))} are recorded, as before"
        check.fail(where, "metrics and validation_data", wanted, check.Said(str(names)))
    return history if history.n_epochs else History(names)
