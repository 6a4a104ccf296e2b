"""Samples: the kind of data that they come as, and the name by which a message calls one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np

_names: ContextVar[Callable[[int], str] | None] = ContextVar("names", default=None)


def kind_of(x: Any) -> str:
    """Return what x is: "arrays", a "dataset", a "stream", an "iterator", or "single samples".

    What can't be used, such as a sparse matrix, is "arrays" too: their check has the remedy.
    """
    if hasattr(x, "__next__"):
        return "iterator"
    is_array = hasattr(x, "__array__") or hasattr(x, "toarray")
    if is_array or isinstance(x, list | tuple | str | bytes | Mapping):
        return "arrays"
    if _is_by_sample(x) and hasattr(x, "__iter__"):
        return "single samples"
    if hasattr(x, "__len__") and hasattr(x, "__getitem__"):
        return "dataset"
    return "stream" if callable(x) or hasattr(x, "__iter__") else "arrays"


def fetch(dataset: Any, numbers: Any) -> Any:
    """Fetch the samples of these numbers as a batch.

    A data set of torch's has samples one by one, which are put together here.
    """
    if _is_by_sample(dataset):
        samples = [dataset[int(number)] for number in numbers]
        if isinstance(samples[0], tuple | list):
            return tuple(map(_stacked, zip(*samples, strict=True)))
        return _stacked(samples)
    try:
        return dataset[numbers]
    except Exception as error:
        error.add_note(
            "A Dataset is asked for several samples at once, by an array of their numbers: "
            "dataset[numpy.array([4, 2])]. Of one that has them one by one, make batches: "
            "torch.utils.data.DataLoader(dataset, batch_size=32)."
        )
        raise


def _is_by_sample(dataset: Any) -> bool:
    """Return whether this is a data set of torch's, without importing torch."""
    return any(
        kind.__module__.startswith("torch.utils.data.dataset") for kind in type(dataset).mro()
    )


def _stacked(values: Any) -> Any:
    """Put the arrays or numbers of single samples together."""
    return np.stack([np.asarray(value) for value in values])


@contextlib.contextmanager
def named(name: Callable[[int], str]) -> Iterator[None]:
    """Set the names by which messages call the samples of a batch, a function of their places."""
    token = _names.set(name)
    try:
        yield
    finally:
        _names.reset(token)


def name_of(place: int) -> str:
    """Return what messages call the sample at a place of the arrays that are checked."""
    name = _names.get()
    return f"sample {place}" if name is None else name(place)
