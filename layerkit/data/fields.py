"""`Fields`: several arrays of the same samples, by name, which are cut into batches like one.

The functions here do for arrays and for `Fields` alike what batches need: cast, protect, check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError

__all__ = ["Absent", "Fields", "cast", "check_finite", "read_only"]


class Fields(dict[str, Array]):
    """Arrays of the same samples, by name; an index that is no name takes samples of them all.

    ``fields["tokens"]`` is one of the arrays, ``fields[10:20]`` has ten samples of each, and
    ``len(fields)`` counts the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit.data.fields import Fields
    >>> fields = Fields({"tokens": np.arange(6).reshape(3, 2), "size": np.ones((3, 1))})
    >>> len(fields)
    3
    >>> fields[1:]["tokens"]
    array([[2, 3],
           [4, 5]])
    >>> fields.shape
    {'tokens': (3, 2), 'size': (3, 1)}
    """

    def __len__(self) -> int:
        """Count the samples."""
        for array in self.values():
            return len(array)
        return 0

    def __getitem__(self, key: Any) -> Any:
        """Return the array of a name, or the samples of an index."""
        if isinstance(key, str):
            return super().__getitem__(key)
        return Fields({name: array[key] for name, array in self.items()})

    @property
    def shape(self) -> dict[str, Shape]:
        """Shape of each array."""
        return {name: array.shape for name, array in self.items()}

    @property
    def dtype(self) -> dict[str, np.dtype[Any]]:
        """Dtype of each array."""
        return {name: array.dtype for name, array in self.items()}

    def astype(self, dtypes: Mapping[str, np.dtype[Any]], copy: bool = True) -> Fields:
        """Cast each array to the dtype of its name."""
        return Fields({n: array.astype(dtypes[n], copy=copy) for n, array in self.items()})

    def setflags(self, *, write: bool) -> None:
        """Allow or forbid writing into the arrays."""
        for array in self.values():
            array.setflags(write=write)

    @classmethod
    def of(cls, where: str, argument: str, value: Any) -> Fields:
        """Check a dict of arrays of the same samples.

        Parameters
        ----------
        where, argument : str
            The call and the argument that errors name.
        value : dict of str to array_like
            Arrays, or nested lists of numbers.

        Returns
        -------
        Fields
            The same arrays, without a copy of what are arrays already.

        Raises
        ------
        ArgumentError
            If it is no dict, or holds what is no array of numbers.
        ShapeError
            If an array has another number of samples than the first.
        """
        if not isinstance(value, Mapping) or not list(value):
            check.fail(where, argument, "a dict of arrays by name", value)
        arrays = {
            name: check.numeric_array(where, f"{argument}[{name!r}]", array, None)
            for name, array in value.items()
        }
        first = next(iter(arrays))
        for name, array in arrays.items():
            if array.ndim == 0 or array.shape[:1] != arrays[first].shape[:1]:
                wanted = f"as long as {argument}[{first!r}]"
                got = check.Said(f"shapes {arrays[first].shape} and {array.shape}")
                check.fail(where, f"{argument}[{name!r}]", wanted, got, error=ShapeError)
        return cls(arrays)


class Absent:
    """Targets of samples for which a loss needs none: None, wherever they are cut."""

    dtype = None

    def __getitem__(self, key: Any) -> None:
        """Return None."""


def cast(values: Any, dtype: Any) -> Any:
    """Cast an array, `Fields` or None; without a copy where the dtype is the wanted one."""
    return None if values is None else values.astype(dtype, copy=False)


def read_only(values: Any) -> Any:
    """View an array, or each of `Fields`, so that nobody writes into the caller's data."""
    if isinstance(values, np.ndarray):
        view = values.view()
        view.setflags(write=False)
        return view
    if isinstance(values, Fields):
        return Fields({name: read_only(array) for name, array in values.items()})
    return values


def check_finite(where: str, argument: str, values: Any, part: slice = slice(None)) -> None:
    """Refuse NaN and infinities in an array or in `Fields`, of which the name is given."""
    if isinstance(values, Fields):
        for name, array in values.items():
            check.finite(where, f"{argument}[{name!r}]", array, part)
    else:
        check.finite(where, argument, values, part)
