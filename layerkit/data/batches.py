"""Batches: the form in which samples reach a training step.

Each kind yields, epoch by epoch, triples ``(x, y, weight)`` in the dtypes that the model computes
with; the weight is None unless samples are weighted, and y unless the loss takes targets. Arrays
are never copied whole, nor changed: they are cut, and cast, batch by batch; x is read-only, and so
is what the caller owns of y. Either may be `Fields`, named arrays that are cut like one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from layerkit._support import validation as check
from layerkit._support.samples import fetch, named
from layerkit._support.validation import Array
from layerkit.communication.base import part
from layerkit.data.fields import read_only

__all__ = ["ArrayBatches", "Batches", "Dataset", "DatasetBatches", "StreamBatches"]

# Inputs and targets are arrays, or `Fields` of a model that has several; targets may be None.
Batch = tuple[Any, Any, Array | None]
Prepare = Callable[..., Batch]
# So few inputs are hardly worth a pass of their own.
_AT_A_TIME = 256


@runtime_checkable
class Dataset(Protocol):
    """Samples that are fetched when they are needed: a length, and rows by their numbers.

    ``dataset[indices]``, for an array of numbers from 0 to ``len(dataset) - 1``, returns a batch:
    ``(x, y)`` or ``(x, y, sample_weight)``, or x alone for a loss without targets: as many
    samples as numbers, in their order. `Trainer.fit` takes one in the place of ``x``. A map-style
    data set of torch's, which has its samples one by one, serves too.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SGD, Dataset, Dense, HalfSquaredError, Sequential, Trainer
    >>> class Squares:
    ...     def __len__(self):
    ...         return 100
    ...     def __getitem__(self, indices):
    ...         x = indices[:, None] / 100
    ...         return x, x**2
    >>> isinstance(Squares(), Dataset)
    True
    >>> trainer = Trainer(Sequential([Dense(1, 1)]), HalfSquaredError(), SGD(0.1), seed=0)
    >>> trainer.fit(Squares(), epochs=3, batch_size=10).n_epochs
    3
    """

    def __len__(self) -> int:
        """Count the samples."""

    def __getitem__(self, indices: Any, /) -> Any:
        """Fetch the samples of these numbers."""


class Batches:
    """Base of the batches: an epoch of them, from its beginning or from a later batch on.

    Attributes
    ----------
    steps_per_epoch : int or None
        Number of batches in an epoch, if that is known before.
    order : ndarray or None
        The order of the samples in the current epoch, if there is one.
    rows : ndarray or None
        The numbers of the samples that take part, if not all do.
    n_together : int
        Number of samples of the current batch on all ranks together, where they divide the batches.
    weight_together : float or None
        The sum of their weights (their number, if they are not weighted); None if only the ranks
        together know it.
    """

    steps_per_epoch: int | None
    order: Array | None = None
    rows: Array | None = None
    rank, n_ranks = 0, 1
    n_together = 0
    weight_together: float | None = None

    def divide(self, rank: int, n_ranks: int) -> None:
        """Yield only this rank's part of each batch from now on; a stream is a part already."""
        self.rank, self.n_ranks = rank, n_ranks

    def _own(self, start: int, stop: int) -> tuple[int, int]:
        """Return the bounds of this rank's part of a batch."""
        self.n_together = stop - start
        own = part(stop - start, self.rank, self.n_ranks)
        return start + own.start, start + own.stop

    def draw(self, rng: np.random.Generator | None) -> Array | None:
        """Draw the order of the samples in an epoch; None if they have one of their own."""
        n_samples = getattr(self, "n_samples", None)
        return None if rng is None or n_samples is None else rng.permutation(n_samples)

    def epoch(
        self, rng: np.random.Generator | None, first: int = 0, order: Array | None = None
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch, each as ``(x, y, weight)``.

        ``rng`` draws the order of the samples, unless an epoch that was begun before goes on from
        its batch ``first``, in its own ``order``.
        """
        raise NotImplementedError

    def describe(self, step: int) -> str:
        """Name the samples of the ``step``-th batch of the current epoch."""
        raise NotImplementedError

    @property
    def are_repeatable(self) -> bool:
        """Whether `inputs` can go through all samples, as often as it is asked to."""
        return True

    def inputs(self) -> Iterator[Any]:
        """Yield the inputs of all samples, those of other ranks too, in an order of their own."""
        whole = copy.copy(self)
        whole.divide(0, 1)
        return (x for x, _, _ in whole.epoch(None))


class ArrayBatches(Batches):
    """Batches of two arrays of samples, in order or shuffled sample by sample.

    Parameters
    ----------
    x, y : ndarray of shape (n_samples, ...), or Fields
        Inputs and targets; y may be `Absent`.
    batch_size : int
        The number of samples in a batch; the last one may have fewer.
    x_dtype, y_dtype : numpy.dtype
        Dtypes of the batches; those of `Fields` by name.
    weight : ndarray of shape (n_samples,) or (n_samples, ...), optional
        The weight of each sample, or of each of its positions.
    rows : ndarray of int, optional
        The numbers of the samples that take part; by default all.

    Attributes
    ----------
    sample_weight, class_weight : ndarray or None, dict or str or None
        Parts of ``weight``: the latter counts in training alone.
    """

    sample_weight: Array | None = None
    class_weight: Any = None

    def __init__(
        self,
        x: Any,
        y: Any,
        batch_size: int,
        x_dtype: Any,
        y_dtype: Any,
        weight: Array | None = None,
        rows: Array | None = None,
    ) -> None:
        self.x, self.y, self.weight, self.rows = x, y, weight, rows
        self.n_samples = len(x) if rows is None else len(rows)
        self.batch_size = batch_size = min(batch_size, self.n_samples)
        self.dtypes = None if (x.dtype, y.dtype) == (x_dtype, y_dtype) else (x_dtype, y_dtype)
        self.steps_per_epoch: int = -(-self.n_samples // batch_size)

    def epoch(
        self, rng: np.random.Generator | None, first: int = 0, order: Array | None = None
    ) -> Iterator[Batch]:
        """Yield each sample once; see `Batches.epoch`."""
        x, y = read_only(self.x), read_only(self.y)
        weight, size, dtypes = self.weight, self.batch_size, self.dtypes
        if rng is not None and order is None:
            order = rng.permutation(self.n_samples)
        self.order = order
        order = self._numbers()
        # Slices are views, and read-only as what they are slices of.
        is_copied = order is not None and size > 1
        span: Any
        for start in range(first * size, self.n_samples, size):
            stop = start + size
            if self.n_ranks > 1:
                stop = min(stop, self.n_samples)
                self.weight_together = stop - start
                if weight is not None:
                    whole = slice(start, stop) if order is None else order[start:stop]
                    self.weight_together = float(weight[whole].sum())
                start, stop = self._own(start, stop)
            if order is None:
                span = slice(start, stop)
            elif size == 1:  # a slice is several times faster than an index array of one
                sample = int(order[start])
                span = slice(sample, sample + 1)
            else:
                span = order[start:stop]
            own = None if weight is None else weight[span]
            if dtypes is None:
                batch = x[span]
                if is_copied:
                    batch.setflags(write=False)
                yield batch, y[span], own
            else:
                batch = x[span].astype(dtypes[0])
                batch.setflags(write=False)
                targets = y[span]
                yield batch, None if targets is None else targets.astype(dtypes[1]), own

    def inputs(self) -> Iterator[Any]:
        """Yield the inputs of all samples, some at a time; see `Batches.inputs`."""
        whole = copy.copy(self)
        whole.batch_size = max(self.batch_size, _AT_A_TIME)
        return Batches.inputs(whole)

    def _numbers(self) -> Array | None:
        """Return the numbers of the samples in the order of the epoch, or None if as they are."""
        if self.rows is None:
            return self.order
        return self.rows if self.order is None else self.rows[self.order]

    def use_order(self, order: Array | None) -> None:
        """Set the order of an epoch whose batches are computed elsewhere."""
        self.order = order

    def describe(self, step: int) -> str:
        """Name the samples by their numbers; see `Batches.describe`."""
        start = (step - 1) * self.batch_size
        numbers = self._numbers()
        indices = np.arange(self.n_samples) if numbers is None else numbers
        return f"samples {indices[start : start + self.batch_size].tolist()}"


class DatasetBatches(Batches):
    """Batches that a `Dataset` fetches.

    Parameters
    ----------
    dataset : Dataset
        The samples.
    batch_size : int
        The number of samples in a batch; the last one may have fewer.
    prepare : callable
        Function that checks and casts a batch.
    where : str
        Name of the call, for errors.
    needs_targets : bool
        Whether a batch has targets; if not, it may be x alone.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        prepare: Prepare,
        where: str,
        *,
        needs_targets: bool = True,
    ) -> None:
        self.dataset, self.prepare, self.where = dataset, prepare, where
        self.needs_targets = needs_targets
        self.n_samples = len(dataset)
        self.batch_size = min(batch_size, self.n_samples)
        self.steps_per_epoch: int = -(-self.n_samples // self.batch_size)

    def epoch(
        self, rng: np.random.Generator | None, first: int = 0, order: Array | None = None
    ) -> Iterator[Batch]:
        """Fetch each sample once; see `Batches.epoch`."""
        if rng is not None and order is None:
            order = rng.permutation(self.n_samples)
        self.order = order
        numbers = np.arange(self.n_samples) if order is None else order
        for start in range(first * self.batch_size, self.n_samples, self.batch_size):
            stop = min(start + self.batch_size, self.n_samples)
            start, stop = self._own(start, stop)
            if start < stop:
                yield self._fetched(numbers[start:stop])
            else:  # a last batch of fewer samples than there are ranks
                x, y, _ = self._fetched(numbers[:1])
                yield x[:0], None if y is None else y[:0], None

    def _fetched(self, numbers: Array) -> Batch:
        """Fetch and check the samples of these numbers, by which messages name them."""
        asked, n_asked = numbers.tolist(), len(numbers)

        def name(place: int) -> str:
            return f"sample {asked[place] if place < n_asked else f'{place} of those fetched'}"

        place = f"dataset[[{', '.join(map(str, asked[:3]))}{', ...' if n_asked > 3 else ''}]]"
        batch = fetch(self.dataset, numbers)
        with named(name):
            prepared = _prepared(self, batch, place)
        if len(prepared[0]) != n_asked:
            got = check.Said(f"{len(prepared[0])} from {place}")
            check.fail(self.where, "a batch", f"of the {n_asked} samples asked for", got)
        return prepared

    def describe(self, step: int) -> str:
        """Name the samples by their numbers; see `Batches.describe`."""
        start = (step - 1) * self.batch_size
        numbers = np.arange(self.n_samples) if self.order is None else self.order
        return f"samples {numbers[start : start + self.batch_size].tolist()}"


class StreamBatches(Batches):
    """Batches from a stream: an iterator, or what makes a new one for each epoch.

    Parameters
    ----------
    stream : Iterator, iterable or callable
        Source of the batches; an iterable is iterated anew in each epoch, and a callable called.
    steps_per_epoch : int or None
        Number of batches in an epoch; None for all of them, but not of an iterator.
    prepare : callable
        Function that checks and casts a batch.
    where : str
        Name of the call, for errors.
    needs_targets : bool
        Whether a batch has targets; if not, it may be x alone.
    """

    def __init__(
        self,
        stream: Any,
        steps_per_epoch: int | None,
        prepare: Prepare,
        where: str,
        *,
        needs_targets: bool = True,
    ) -> None:
        self.needs_targets = needs_targets
        self.stream, self.steps_per_epoch = stream, steps_per_epoch
        self.prepare, self.where = prepare, where
        self.is_iterator = hasattr(stream, "__next__")

    def epoch(
        self, rng: np.random.Generator | None, first: int = 0, order: Array | None = None
    ) -> Iterator[Batch]:
        """Yield the next batches, in the stream's own order; see `Batches.epoch`."""
        stream = self._open()
        if not self.is_iterator:
            self._skip(stream, first)
        ended = object()
        step = first
        while step != self.steps_per_epoch:
            step += 1
            batch = next(stream, ended)
            if batch is ended:
                if self.steps_per_epoch is None and step > 1:
                    return
                got = check.Said(f"a stream that ended before step {step}")
                wanted = f"a stream of {self.steps_per_epoch or 'some'} batches for each epoch"
                remedy = "Lower steps_per_epoch, or make a stream that repeats itself."
                check.fail(self.where, "x", wanted, got, remedy)
            with named(f"sample {{}} of step {step}".format):
                prepared = _prepared(self, batch, f"step {step}")
            yield prepared

    @property
    def are_repeatable(self) -> bool:
        """Whether the stream can be gone through again, and has all samples."""
        return not self.is_iterator and self.n_ranks == 1

    def _open(self) -> Iterator[Any]:
        if self.is_iterator:
            stream: Iterator[Any] = self.stream
            return stream
        batches = self.stream() if callable(self.stream) else self.stream
        if not hasattr(batches, "__iter__"):
            wanted = "a function that gives an iterable of batches"
            check.fail(self.where, "x", wanted, check.Said(f"{check.describe(batches)} from it"))
        return iter(batches)

    def skip(self, n_batches: int) -> None:
        """Leave out batches of an iterator that were trained on before."""
        if self.is_iterator:
            self._skip(self.stream, n_batches)

    def _skip(self, stream: Iterator[Any], n_batches: int) -> None:
        for _ in range(n_batches):
            next(stream, None)

    def describe(self, step: int) -> str:
        """Name a batch by its place, since a stream's samples have no numbers."""
        return f"batch {step} of the stream in this epoch"


def _prepared(batches: DatasetBatches | StreamBatches, batch: Any, place: str) -> Batch:
    if not batches.needs_targets and not isinstance(batch, tuple | list):
        return batches.prepare(batch)
    least = 2 if batches.needs_targets else 1
    if not isinstance(batch, tuple | list) or not least <= len(batch) <= 3:
        wanted = "made of batches (x, y) or (x, y, sample_weight)"
        check.fail(batches.where, "x", wanted, batch, f"See {place}.")
    return batches.prepare(*batch)


def held_out(
    rng: np.random.Generator, n_samples: int, share: float, classes: Array | None = None
) -> tuple[Array, Array]:
    """Draw the numbers of the samples to train on, and of those kept for validation.

    With ``classes``, the class of each sample, the share is that of each class, to within one
    sample.
    """
    order = rng.permutation(n_samples)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    # Evenly along the order: every class in it is met in proportion.
    counts = np.floor(np.arange(n_samples + 1) * share + 1e-9)
    is_kept = np.diff(counts) > 0
    return np.sort(order[~is_kept]), np.sort(order[is_kept])
