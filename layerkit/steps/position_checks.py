"""What the position in a checkpoint may be: every number is of its kind and in its range.

The order of the samples is handed to compiled code, which looks at no bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state_checks import is_count, is_flag, is_like, is_number
from layerkit._support.validation import Array
from layerkit.errors import LoadError

__all__ = ["check_held_out", "check_place", "check_position", "totals_fit"]

_COUNTS = ("epoch", "step", "n_samples", "n_batches")
_NUMBERS = ("loss_total", "total_weight", "batch_loss")
_OTHERS = ("settings", "arithmetic", "order", "held_out", "totals", "accumulated")
_ENGINES = ("numpy", "parts", "numba")
_FLAGS = ("is_mid_epoch", "stopped")


def check_position(where: str, tree: Any, values: Array) -> None:
    """Refuse a tree from a file that `Position.as_tree` of a fit of this model never is.

    Parameters
    ----------
    where : str
        Name of the call, for errors.
    tree : object
        The tree.
    values : ndarray of shape (n_parameters,)
        Parameters of the model.

    Raises
    ------
    LoadError
        If it is no position.
    """
    if not isinstance(tree, Mapping):
        check.fail(where, "the position", "a dict", tree, error=LoadError)
    for name in (*_COUNTS, *_NUMBERS, *_FLAGS, *_OTHERS):
        if name not in tree:
            _refuse(where, name, "in the file", check.Said("nothing"))
    _check_numbers(where, tree)
    if tree["is_mid_epoch"] and not tree["epoch"]:
        _refuse(where, "epoch", "at least 1 inside of one", tree["epoch"])
    settings = tree["settings"]
    if not (isinstance(settings, dict) and all(map(_is_setting, settings.items()))):
        _refuse(where, "settings", "numbers and texts by their names", settings)
    engine = tree["arithmetic"]
    if engine is not None and not (isinstance(engine, str) and engine in _ENGINES):
        _refuse(where, "arithmetic", "that of an engine", tree["arithmetic"])
    order = tree["order"]
    if order is not None and not _is_order(order):
        _refuse(where, "order", "each number from 0 on once", order)
    held_out = tree["held_out"]
    if held_out is not None and not (_is_indices(held_out) and len(held_out)):
        _refuse(where, "held_out", "numbers of samples", held_out)
    totals = tree["totals"]
    if not isinstance(totals, list) or not all(map(_is_total, totals)):
        _refuse(where, "totals", "a list of numbers and arrays of numbers", totals)
    _check_accumulated(where, tree["accumulated"], values)


def _check_numbers(where: str, tree: Mapping[str, Any]) -> None:
    for name in _COUNTS:
        if not is_count(tree[name]):
            _refuse(where, name, "a count", tree[name])
    for name in _NUMBERS:
        if not is_number(tree[name]):
            _refuse(where, name, "a number", tree[name])
    if not 0 <= float(tree["total_weight"]) < np.inf:
        _refuse(where, "total_weight", "at least 0, and finite", tree["total_weight"])
    for name in _FLAGS:
        if not is_flag(tree[name]):
            _refuse(where, name, "True or False", tree[name])


def _is_setting(item: tuple[Any, Any]) -> bool:
    name, value = item
    is_short = len(str(name)) < 100 and not (isinstance(value, str) and len(value) > 100)
    return isinstance(name, str) and is_short and isinstance(value, bool | int | str | None)


def _is_indices(value: Any) -> bool:
    is_vector = isinstance(value, np.ndarray) and value.dtype == np.int64 and value.ndim == 1
    return is_vector and bool((value >= 0).all())


def _is_order(value: Any) -> bool:
    """Return whether an array has each number below its length once."""
    if not _is_indices(value) or not (value < len(value)).all():
        return False
    seen = np.zeros(len(value), np.bool_)
    seen[value] = True
    return bool(seen.all())


def _is_total(value: Any, depth: int = 0) -> bool:
    if isinstance(value, list | tuple):
        return depth < 3 and len(value) > 0 and all(_is_total(part, depth + 1) for part in value)
    return is_number(value) or (isinstance(value, np.ndarray) and value.dtype.kind in "iuf")


def _are_alike(one: Any, value: Any) -> bool:
    """Return whether two totals have the same shape; of a list, the last axes may be longer."""
    if isinstance(one, tuple):
        is_pair = isinstance(value, tuple) and len(value) == len(one)
        return is_pair and all(map(_are_alike, one, value))
    if isinstance(one, list):
        parts = map(np.shape, value if isinstance(value, list) else [0.0])
        return all(shape and shape[:-1] == one[0].shape[:-1] for shape in parts)
    return not isinstance(value, list | tuple) and np.shape(one) == np.shape(value)


def _check_accumulated(where: str, parts: Any, values: Array) -> None:
    if parts is None:
        return
    if not isinstance(parts, tuple) or len(parts) != 3:
        _refuse(where, "accumulated", "gradients, their weight and their number", parts)
    gradients, weight, n_batches = parts
    if not is_like(gradients, values):
        wanted = f"{len(values)} finite numbers of {values.dtype}"
        _refuse(where, "accumulated gradients", wanted, gradients)
    if not (is_number(weight) and 0 <= float(weight) < np.inf and is_count(n_batches, 1)):
        _refuse(
            where, "accumulated", "gradients, their weight and their number", (weight, n_batches)
        )


def check_held_out(where: str, held_out: Array | None, n_samples: int) -> None:
    """Refuse to leave out samples that there are not, one twice, or all of them."""
    if held_out is None:
        return
    n_different = len(np.unique(held_out))
    if not (held_out < n_samples).all() or not n_different == len(held_out) < n_samples:
        _refuse(where, "held_out", f"some of {n_samples} samples, each once", held_out)


def check_place(
    where: str,
    tree: Mapping[str, Any],
    n_samples: int | None,
    n_steps: int | None,
    n_waiting: int,
) -> None:
    """Refuse a place that there is not in the epochs of these data.

    Parameters
    ----------
    where : str
        Name of the call, for errors.
    tree : mapping
        Position that has passed `check_position`.
    n_samples, n_steps : int or None
        Number of samples and of batches in an epoch; None for a stream that does not say.
    n_waiting : int
        Number of batches that make an update together.
    """
    order, accumulated = tree["order"], tree["accumulated"]
    if order is not None and len(order) != n_samples:
        _refuse(where, "order", f"that of {n_samples or 'no'} samples", order)
    if n_steps is not None and tree["step"] > n_steps:
        _refuse(where, "step", f"at most {n_steps}", tree["step"])
    if n_steps is not None and tree["n_batches"] > tree["epoch"] * n_steps:
        _refuse(where, "n_batches", f"at most {n_steps} an epoch", tree["n_batches"])
    if accumulated is not None and accumulated[2] >= n_waiting:
        _refuse(where, "accumulated", f"fewer than {n_waiting} batches", accumulated[2])


def totals_fit(
    totals: list[Any], sample: list[Any] | None, n_metrics: int, n_samples: int, *, is_whole: bool
) -> bool:
    """Return whether totals are like those of a batch: of the same shapes, or 0 before a sample.

    Parameters
    ----------
    totals : list
        Total of each metric, and the number of samples, which version 0.1.0 left out.
    sample : list or None
        Those of a batch; None if there is none to look at.
    n_metrics : int
        Number of metrics.
    n_samples : int
        Number of samples of the epoch, which counts where the totals have none of their own.
    is_whole : bool
        Whether they may not be left to another rank.
    """
    if not totals:
        return not is_whole
    own, *n_counted = totals[:n_metrics], *totals[n_metrics:]
    if len(own) != n_metrics or len(n_counted) > 1 or not all(map(is_number, n_counted)):
        return False
    is_unseen = not float(n_counted[0] if n_counted else n_samples)
    return sample is None or all(
        _are_alike(one, value) or (is_unseen and is_number(value) and float(value) == 0)
        for one, value in zip(sample, own, strict=True)
    )


def _refuse(where: str, name: str, wanted: str, got: Any) -> NoReturn:
    check.fail(where, f"the position's {name}", wanted, got, error=LoadError)
