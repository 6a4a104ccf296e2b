"""Batches: how samples reach a training step.

Both kinds give, epoch by epoch, pairs ``(x, y)`` in the dtypes that the model computes with.
Arrays are never copied whole, nor changed: they are cut, and cast, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from layerkit import _validation as check
from layerkit._validation import Array

__all__ = ["ArrayBatches", "StreamBatches"]


class ArrayBatches:
    """Batches of two arrays of samples, in order or shuffled sample by sample.

    Parameters
    ----------
    x, y : ndarray of shape (n_samples, ...)
        Inputs and targets.
    batch_size : int
        The number of samples in a batch; the last one may have fewer.
    x_dtype, y_dtype : numpy.dtype
        What the batches are cast to.
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        batch_size: int,
        x_dtype: np.dtype[Any],
        y_dtype: np.dtype[Any],
    ) -> None:
        self.x, self.y = x, y
        self.batch_size = batch_size = min(batch_size, len(x))
        self.dtypes = None if (x.dtype, y.dtype) == (x_dtype, y_dtype) else (x_dtype, y_dtype)
        self._order: Array | None = None
        self.steps_per_epoch = -(-len(x) // batch_size)

    def epoch(self, rng: np.random.Generator | None) -> Iterator[tuple[Array, Array]]:
        """Give each sample once: shuffled by ``rng``, or in order without one."""
        x, y, size, dtypes = self.x, self.y, self.batch_size, self.dtypes
        order = self._order = None if rng is None else rng.permutation(len(x))
        span: Any
        for start in range(0, len(x), size):
            if order is None:
                span = slice(start, start + size)
            elif size == 1:  # a slice is several times faster than an index array of one
                sample = int(order[start])
                span = slice(sample, sample + 1)
            else:
                span = order[start : start + size]
            if dtypes is None:
                yield x[span], y[span]
            else:
                yield x[span].astype(dtypes[0]), y[span].astype(dtypes[1])

    def use_order(self, order: Array | None) -> None:
        """Take the order of an epoch that is gone through elsewhere."""
        self._order = order

    def describe(self, step: int) -> str:
        """Name the samples of the ``step``-th batch of the current epoch."""
        start = (step - 1) * self.batch_size
        indices = np.arange(len(self.x)) if self._order is None else self._order
        return f"samples {indices[start : start + self.batch_size].tolist()}"


class StreamBatches:
    """Batches from an iterator that the caller has made.

    Parameters
    ----------
    stream : Iterator
        Gives pairs ``(x, y)``.
    steps_per_epoch : int
        How many of them make an epoch.
    prepare : callable
        Checks and casts a pair.
    where : str
        The call that errors name.
    """

    def __init__(
        self,
        stream: Iterator[Any],
        steps_per_epoch: int,
        prepare: Callable[[Any, Any], tuple[Array, Array]],
        where: str,
    ) -> None:
        self.stream, self.steps_per_epoch = stream, steps_per_epoch
        self.prepare, self.where = prepare, where

    def epoch(self, rng: np.random.Generator | None) -> Iterator[tuple[Array, Array]]:
        """Give the next batches, in the stream's own order."""
        ended = object()
        for step in range(1, self.steps_per_epoch + 1):
            batch = next(self.stream, ended)
            if batch is ended:
                got = check.Said(f"a stream that ended before step {step}")
                wanted = f"a stream of {self.steps_per_epoch} batches for each epoch"
                remedy = "Lower steps_per_epoch, or make a stream that repeats itself."
                check.fail(self.where, "x", wanted, got, remedy)
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                wanted = "a stream of pairs (x, y)"
                check.fail(self.where, "x", wanted, batch, f"See step {step}.")
            yield self.prepare(*batch)

    def describe(self, step: int) -> str:
        """Name a batch by its place, since a stream's samples have no numbers."""
        return f"batch {step} of the stream in this epoch"
