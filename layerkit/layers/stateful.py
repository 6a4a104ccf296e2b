"""What a layer keeps besides its parameters: the state that a file holds, and arrays to reuse."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self, TypeVar

import numpy as np

from layerkit._support.repr import ConstructorRepr
from layerkit._support.state import is_generator, restore, state_of
from layerkit._support.state_checks import check_state, refuse

__all__ = ["NO_STATE", "Stateful", "Workspace"]

NO_STATE = frozenset(
    "name input_shape output_shape dtype _own_parameters _children is_owned has_learned_shape "
    "_cache _workspace _spare _known_vectors _flat_parameters min_batch_size takes_integers "
    "_drawn _tied _as_built _has_own_shape _is_frozen".split()
)


class Workspace:
    """Arrays that a layer reuses from step to step, as attributes; see `Layer.workspace`."""

    in_use: bool = False
    batch_size: int = -1


W = TypeVar("W", bound=Workspace)


class Stateful(ConstructorRepr):
    """State and workspaces of a layer; the base of `Layer`, where users find it."""

    _as_built: Mapping[str, Any] = MappingProxyType({})
    _workspace: Any = None
    _spare: Any = None

    def get_state(self) -> dict[str, Any]:
        """Return what training changes besides the parameters, for a file.

        Returns
        -------
        dict of str to object
            Unless overridden, the attributes that hold data (numbers, texts, arrays, generators,
            and collections of them) and are not the constructor's arguments.
        """
        return state_of(self, NO_STATE)

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse a state from a file that the layer can't have, before anything is changed.

        Unless overridden, it may have the names of `get_state`, with values of the same kinds, and
        other plain data under names that are no attributes or arguments of the class: an attribute
        may be set in training only. Arrays that `build` made keep their shapes. A subclass may
        refuse more, such as numbers out of their range.

        Parameters
        ----------
        state : dict of str to object
            State to judge.

        Raises
        ------
        LoadError
            If it is not one that such a layer can have.
        """
        where = f"{type(self).__name__}.set_state"
        check_state(where, self, state, self.get_state())
        for name, built in self._as_built.items():
            value = state.get(name)
            if isinstance(value, np.ndarray) and isinstance(built, np.ndarray):
                if built.size and value.shape != built.shape:
                    refuse(where, name, f"an array of shape {built.shape}", value)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned.

        Parameters
        ----------
        state : dict of str to object
            State of a layer of the same class.

        Raises
        ------
        LoadError
            If it is not one that the layer can have; then nothing has changed.
        """
        self.check_state(state)
        restore(self, state)

    def note_built(self, before: Mapping[str, Any]) -> None:
        """Note the state that `build` has set.

        Parameters
        ----------
        before : mapping of str to object
            Attributes that the layer had before.
        """
        self._as_built = {
            name: copy.deepcopy(value)
            for name, value in state_of(self, NO_STATE).items()
            if before.get(name) is not value and not is_generator(value)
        }

    @property
    def as_built(self) -> Mapping[str, Any]:
        """State that `build` has set, as it was then; training may have changed it since."""
        return self._as_built

    def workspace(self, batch_size: int, allocate: Callable[[int], W]) -> W:
        """Return arrays to reuse from step to step.

        For `compute_forward`, when ``training`` is True; `compute_backward`, at its end, sets the
        workspace's ``in_use`` back to False. Until then it is nobody else's: another call gets one
        of its own. dx is not to lie in it, as the layer around may keep it for longer.

        Parameters
        ----------
        batch_size : int
            Number of samples in the batch.
        allocate : callable
            Function of the batch size that makes a `Workspace`.

        Returns
        -------
        Workspace
            One of an earlier step if there is a free one of this size, else a new one.
        """
        kept: W | None = self._workspace
        if kept is None or kept.in_use or kept.batch_size != batch_size:
            # Two are kept: for the last batch, which may be smaller, or for a second call.
            kept, self._spare = self._spare, kept
            if kept is None or kept.in_use or kept.batch_size != batch_size:
                kept = allocate(batch_size)
                kept.batch_size = batch_size
            self._workspace = kept
        kept.in_use = True
        return kept

    def release_workspace(self) -> None:
        """Mark the workspace of the last pass as free, since nobody goes back through it."""
        if self._workspace is not None:
            self._workspace.in_use = False

    def forget_workspace(self) -> None:
        """Drop the workspaces."""
        self._workspace = self._spare = None

    def __copy__(self) -> Self:
        """Copy deeply: two layers never share parameters by accident."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs: not the cache, nor the place in a model."""
        transient = ("_cache", "is_owned", "_workspace", "_spare")
        return {name: value for name, value in vars(self).items() if name not in transient}
