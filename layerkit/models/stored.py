"""`StoredLayer`: the files of a model, and how it comes back from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from layerkit._support import validation as check
from layerkit.errors import LoadError
from layerkit.layers.base import Layer
from layerkit.storage.files import Path
from layerkit.storage.models import (
    classes_with,
    contents_of,
    fill,
    load_weights,
    read_tree,
    save_weights,
    write_tree,
)

__all__ = ["StoredLayer"]


class StoredLayer(Layer):
    """A layer that is a whole, and so has files of its own; the base of `Model`.

    Its parameters, states and configuration are written and read as one.
    """

    def save(self, path: Path, *, extra: Mapping[str, Any] | None = None) -> None:
        """Write the model into a file: its layers, parameters, and what else training changed.

        The file is written whole or not at all: until then, and if anything goes wrong, what was
        there before stays. It is called ``.<name>.layerkit-<random>.tmp`` meanwhile; what a killed
        process leaves of it is removed by a later save to the same name, after a day.

        Parameters
        ----------
        path : str or path-like
            The file; ``"model.layerkit"``, for example. A free name, or a regular file that may be
            written, whose mode stays; a link stays one.
        extra : mapping of str to object, optional
            Data to keep with it: numbers, texts, arrays, lists and dicts, for `load_extra`.

        Raises
        ------
        SaveError
            If the file can't be written, or is no regular file or read-only, or a layer's
            configuration can't be put into one.
        """
        self._check_built("save")
        where = f"{type(self).__name__}.save"
        tree = {"model": self, "contents": contents_of(self), "extra": dict(extra or {})}
        write_tree(where, path, "model", tree)

    @classmethod
    def load(cls, path: Path, *, custom_objects: Mapping[str, type] | None = None) -> Self:
        """Read a model from a file that `save` wrote.

        No code is loaded from the file: classes that are not layerkit's are named by the caller.
        Nothing in it changes more than parameters and states of layers, each as its class allows
        (`Layer.check_state`), or takes far more memory than the file has bytes. Parameters that
        were NaN when they were saved are so again.

        Parameters
        ----------
        path : str or path-like
            The file.
        custom_objects : dict of str to type, optional
            The caller's own layers, activations and initializers, by their names.

        Returns
        -------
        Model
            The model, with the same parameters, bit for bit.

        Raises
        ------
        LoadError
            If the file is missing, damaged, or not a model, names an unknown class, or holds what
            its layers can't have.
        """
        return cls._load(f"{cls.__name__}.load", path, custom_objects)[0]

    @classmethod
    def load_extra(
        cls, path: Path, *, custom_objects: Mapping[str, type] | None = None
    ) -> tuple[Self, dict[str, Any]]:
        """Read a model, and what else was saved with it.

        Parameters
        ----------
        path : str or path-like
            The file.
        custom_objects : dict of str to type, optional
            As in `load`.

        Returns
        -------
        tuple of Model and dict
            The model, and the ``extra`` of `save`.

        Raises
        ------
        LoadError
            If the file is missing, damaged, or not a model, or names an unknown class.
        """
        return cls._load(f"{cls.__name__}.load_extra", path, custom_objects)

    @classmethod
    def _load(
        cls, where: str, path: Path, custom_objects: Mapping[str, type] | None
    ) -> tuple[Self, dict[str, Any]]:
        tree = read_tree(where, path, "model", classes_with(where, custom_objects))
        model, extra = tree.get("model"), tree.get("extra")
        if not isinstance(model, StoredLayer) or not isinstance(extra, dict):
            check.fail(where, "path", "a file with a model", model, error=LoadError)
        if not isinstance(model, cls):
            remedy = f"Write {type(model).__name__}.load, or Model.load for any."
            wanted = f"a file with a {cls.__name__}"
            check.fail(where, "path", wanted, model, remedy, error=LoadError)
        fill(where, model, tree.get("contents"))
        return model, extra

    def save_weights(self, path: Path) -> None:
        """Write the parameters alone, as safetensors, for other programs.

        Parameters
        ----------
        path : str or path-like
            The file; ``"weights.safetensors"``, for example.

        Raises
        ------
        SaveError
            If the file can't be written; an old one stays as it was.
        MissingExtraError
            If safetensors is not installed.
        """
        self._check_built("save_weights")
        save_weights(f"{type(self).__name__}.save_weights", path, self)

    def load_weights(self, path: Path) -> None:
        """Read the parameters from safetensors; the names and shapes must be this model's.

        Numbers are cast to the model's dtype. NaN and infinities are taken as they are, but no
        number that the dtype has no room for.

        Parameters
        ----------
        path : str or path-like
            The file.

        Raises
        ------
        LoadError
            If an array is missing, unknown or of another shape, or has numbers beyond the model's
            dtype; then nothing has changed.
        MissingExtraError
            If safetensors is not installed.
        """
        self._check_built("load_weights")
        load_weights(f"{type(self).__name__}.load_weights", path, self)
