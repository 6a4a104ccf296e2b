"""Checkpoints: all that a fit needs to go on, bit for bit."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state import is_generator
from layerkit.data.batches import ArrayBatches, Batches, DatasetBatches, StreamBatches
from layerkit.errors import LoadError, SaveError
from layerkit.models.base import Model
from layerkit.optimizers import Optimizer
from layerkit.steps.position import Position
from layerkit.steps.position_checks import check_place, check_position, totals_fit
from layerkit.steps.step import TrainingStep
from layerkit.storage.files import Path
from layerkit.storage.models import check_contents, check_states, contents_of, fill, read_tree
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.history import History
from layerkit.training.hooks import Hooks

__all__ = ["check_settings", "checkpoint_tree", "history_of", "read_checkpoint"]

Resumed = Mapping[str, Any]


class Saved(NamedTuple):
    """Objects of a trainer that a checkpoint holds besides the position."""

    model: Model
    optimizer: Optimizer
    rng: np.random.Generator
    callbacks: Sequence[Callback] = ()


def checkpoint_tree(
    saved: Saved, position: Position, hooks: Hooks | None, history: History
) -> dict[str, Any]:
    """Return all that a training needs to go on, in a form for a file.

    Raises
    ------
    SaveError
        If a parameter is not finite, as `read_checkpoint` refuses it.
    """
    states = hooks.states() if hooks else []
    kept = hooks.kept if hooks else None
    contents = kept.contents() if kept else contents_of(saved.model)
    for name, value in contents["values"].items():
        if not np.isfinite(value).all():
            got, remedy = check.Said("NaN or an infinity"), "Model.save keeps any numbers."
            check.fail("Trainer.save_checkpoint", name, "finite", got, remedy, error=SaveError)
    return {
        "contents": contents,
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


def read_checkpoint(where: str, path: Path, saved: Saved, trainer: TrainingState) -> Resumed:
    """Put a checkpoint into the objects of a trainer, all of it or nothing.

    A file that is not of such a trainer is refused before anything changes; what the user's own
    classes refuse only when they are given it is taken back.

    Returns
    -------
    mapping
        The part of it that the next fit goes on from.
    """
    tree = read_tree(where, path, "checkpoint", {})
    model, optimizer, rng, callbacks = saved
    callbacks = sorted(callbacks, key=lambda callback: callback.runs_last)
    _check(where, tree, saved)
    own, generator = tree["optimizer"], tree["rng"]
    before = copy.deepcopy((contents_of(model), optimizer.state, optimizer.attributes()))
    order = rng.bit_generator.state
    try:
        fill(where, model, tree["contents"], finite=True)
        _set_optimizer(where, optimizer, own["state"], own["attributes"])
        rng.bit_generator.state = generator.bit_generator.state
        if [name for name, _ in tree["callbacks"]] == _names_of(callbacks):
            callback_states(where, tree, callbacks, trainer)  # others come with the fit
    except BaseException:
        rng.bit_generator.state = order
        # What refuses a state may refuse another one too.
        with contextlib.suppress(LoadError):
            _set_optimizer(where, optimizer, *before[1:])
        with contextlib.suppress(LoadError):
            fill(where, model, before[0])
        raise
    # Files of earlier versions know nothing of ranks.
    return {"ranks": None} | {k: tree.get(k) for k in ("progress", "callbacks", "history", "ranks")}


def _check(where: str, tree: Mapping[str, Any], saved: Saved) -> None:
    """Refuse a tree from a file that is no checkpoint of a trainer of these objects."""
    model, optimizer, rng, _ = saved
    own, generator = tree.get("optimizer"), tree.get("rng")
    callbacks, ranks = tree.get("callbacks"), tree.get("ranks")
    fits = (
        isinstance(own, dict)
        and set(own) == {"class", "state", "attributes"}
        and isinstance(own["class"], str)
        and is_generator(generator)
        and isinstance(callbacks, list)
        and all(map(_is_named_state, callbacks))
        and (ranks is None or (isinstance(ranks, list) and all(map(_is_part, ranks))))
    )
    if not fits or not own or not is_generator(generator):
        wanted, got = "a checkpoint of a model like this one", check.Said("another")
        check.fail(where, "path", wanted, got, error=LoadError)
    History.from_state(where, tree.get("history"))
    if own["class"] != type(optimizer).__name__:
        wanted = f"{check.shortened(own['class'])}, as in the checkpoint"
        check.fail(where, "optimizer", wanted, optimizer, error=LoadError)
    if type(generator.bit_generator) is not type(rng.bit_generator):
        wanted = f"a Generator of {type(generator.bit_generator).__name__}, as in the checkpoint"
        check.fail(where, "seed", wanted, rng, error=LoadError)
    with _told(where, "path", "a checkpoint of a model like this one"):
        check_contents(where, model, tree.get("contents"), finite=True)
    with _told(where, "the optimizer's state"):
        optimizer.check_state(own["state"], own["attributes"], model.values)
    check_position(where, tree.get("progress"), model.values)
    for part in ranks or ():
        check_states(where, model, part["states"])
        check_position(where, tree["progress"] | part, model.values)


def _is_named_state(pair: Any) -> bool:
    is_pair = isinstance(pair, tuple) and len(pair) == 2
    return is_pair and isinstance(pair[0], str) and isinstance(pair[1], dict)


def _is_part(part: Any) -> bool:
    """Return whether this is what a rank has of its own."""
    return isinstance(part, dict) and {"states", "totals", "accumulated"} <= set(part)


def _set_optimizer(where: str, optimizer: Optimizer, vectors: Any, attributes: Any) -> None:
    with _told(where, "the optimizer's state"):
        optimizer.set_state(vectors, attributes)


@contextlib.contextmanager
def _told(
    where: str, what: str, wanted: str = "one that such an object can have"
) -> Iterator[None]:
    """Make any error one of loading, which says of what."""
    try:
        yield
    except Exception as error:
        got = check.Said(f"{type(error).__name__}: {error}")
        check.fail(where, what, wanted, got, error=LoadError)


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
    return sorted(_names_of(callbacks))


def callback_states(
    where: str, resumed: Resumed | None, callbacks: Sequence[Callback], trainer: TrainingState
) -> list[Any] | None:
    """Return the state of each callback, in the order in which they are called; all are checked."""
    if not _holds_fit(resumed):
        return None
    names = [name for name, _ in resumed["callbacks"]]
    given = [c for c in callbacks if type(c).__name__ != "ProgressBar"]
    if names != _names_of(given):
        wanted = f"those of the checkpoint, {check.shortened(', '.join(names)) or 'none'}"
        check.fail(where, "callbacks", wanted, check.Said(repr(given)))
    states = iter([state for _, state in resumed["callbacks"]])
    found = [{} if c not in given else next(states) for c in callbacks]
    for callback, state in zip(callbacks, found, strict=True):
        with _told(where, f"the state of {type(callback).__name__}"):
            callback.check_state(state, trainer)
    return found


def _names_of(callbacks: Sequence[Callback]) -> list[str]:
    """Return the names of the classes whose states are kept."""
    names = [type(callback).__name__ for callback in callbacks]
    return [name for name in names if name != "ProgressBar"]


def check_resumed(
    where: str, resumed: Resumed | None, step: TrainingStep, data: Batches, n_batches: int
) -> None:
    """Refuse to go on at a place in the epochs that there is not with these data."""
    if not _holds_fit(resumed):
        return
    progress = resumed["progress"]
    n_samples = getattr(data, "n_samples", None)
    check_place(where, progress, n_samples, data.steps_per_epoch, n_batches)
    if not (progress["is_mid_epoch"] and step.metrics):
        return
    sample = None if isinstance(data, StreamBatches) else next(copy.copy(data).epoch(None))
    own = None if sample is None or not len(sample[0]) else step.totals_of(*sample)
    # Another rank may have all of them.
    totals, n_samples = progress["totals"], progress["n_samples"]
    n_metrics, is_whole = len(step.metrics), not step.ranks.rank
    if not totals_fit(totals, own, n_metrics, n_samples, is_whole=is_whole):
        got = check.Said(check.shortened(repr(totals)))
        wanted = "such as the metrics compute"
        check.fail(where, "the position's totals", wanted, got, error=LoadError)


def history_of(where: str, resumed: Resumed | None, names: list[str]) -> History:
    """Return the record so far, or a new one."""
    if not _holds_fit(resumed):
        return History(names)
    history = History.from_state(where, resumed["history"])
    if list(history) != names and history.n_epochs:
        before = check.shortened(", ".join(map(repr, history)), 500)
        wanted = f"such that {before} are recorded, as before"
        check.fail(where, "metrics and validation_data", wanted, check.Said(str(names)))
    return history if history.n_epochs else History(names)
