"""`Kept`: what the last update of a fit left, though callbacks replace it when the fit ends."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support.state import Unencodable, encode
from layerkit._support.validation import Array
from layerkit.models.base import Model
from layerkit.optimizers import Optimizer
from layerkit.storage.models import contents_of

__all__ = ["Kept"]

Tree = dict[str, Any]


class Kept:
    """The model and the optimizer's settings as they are before the callbacks of a fit end.

    `EarlyStopping` restores the best epoch then, and `WeightAverage` sets the average, while the
    optimizer and the position stay where they are. A checkpoint of that fit is to be gone on from,
    so it has what was in training. It has what is there if that has changed since: by a further
    step, say, or by the user.

    Parameters
    ----------
    model : Model
        Model that is trained.
    optimizer : Optimizer
        Its optimizer.
    """

    def __init__(self, model: Model, optimizer: Optimizer) -> None:
        self._model, self._optimizer = model, optimizer
        # In parts, as one may change without the other.
        self._before = {name: _Copy(tree) for name, tree in self._current().items()}
        self._after: dict[str, object] | None = None

    def _current(self) -> dict[str, Tree]:
        contents = contents_of(self._model)
        learned = {name: contents[name] for name in ("values", "states")}
        return {"contents": learned, "attributes": self._optimizer.attributes()}

    def settle(self) -> None:
        """Note what the callbacks have left, and forget what they have not replaced."""
        after = {name: _fingerprint(tree) for name, tree in self._current().items()}
        before = self._before
        self._before = {name: before[name] for name in before if before[name].mark != after[name]}
        self._after = after

    def contents(self) -> Tree:
        """Return what `contents_of` returned before."""
        return contents_of(self._model) | self._part("contents")

    def attributes(self) -> Tree:
        """Return what `Optimizer.attributes` returned before."""
        return self._part("attributes")

    def _part(self, name: str) -> Tree:
        now = self._current()[name]
        if name not in self._before:
            return now
        # While the callbacks end, all that changes is by them.
        is_theirs = self._after is None or _fingerprint(now) == self._after[name]
        return self._before[name].tree if is_theirs else now


class _Copy:
    """A copy of a tree, with its fingerprint."""

    def __init__(self, tree: Tree) -> None:
        self.mark = _fingerprint(tree)
        # What no file can hold may not be copied either.
        self.tree = tree if self.mark is None else copy.deepcopy(tree)


def _fingerprint(tree: Mapping[str, Any]) -> object:
    """Return something that is equal for equal trees, and small; None if no file can hold it."""
    crc32: Any = importlib.import_module("zlib").crc32
    arrays: list[Array] = []
    try:
        return encode(tree, arrays), [
            (array.shape, array.dtype.str, crc32(np.ascontiguousarray(array))) for array in arrays
        ]
    except Unencodable:
        return None
