"""What `Trainer.fit` is given, checked once and brought into batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.communication.base import Communicator, part
from layerkit.data.batches import (
    ArrayBatches,
    Batch,
    Batches,
    Dataset,
    DatasetBatches,
    StreamBatches,
    held_out,
)
from layerkit.errors import ShapeError
from layerkit.losses import Loss
from layerkit.metrics import Metric
from layerkit.models.sequential import Sequential


class Preparation:
    """Checks data for a model, a loss and metrics."""

    def __init__(
        self, model: Sequential, loss: Loss, metrics: Sequence[Metric], communicator: Communicator
    ) -> None:
        self.model, self.loss, self.metrics = model, loss, metrics
        self.rank, self.n_ranks = communicator.rank, communicator.size

    def batches(
        self,
        where: str,
        x: Any,
        y: Any,
        batch_size: int,
        *,
        steps_per_epoch: int | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        is_training: bool = True,
    ) -> Batches:
        """Take arrays, a `Dataset` or a stream, and bring it into batches."""
        kind = _kind(x)
        if kind == "arrays":
            if steps_per_epoch is not None:
                expectation = "None with arrays, whose epochs have an end"
                check.fail(where, "steps_per_epoch", expectation, steps_per_epoch)
            return self.of_arrays(
                where, x, y, batch_size, sample_weight, class_weight, is_training=is_training
            )
        for argument, value in (
            ("y", y),
            ("sample_weight", sample_weight),
            ("class_weight", class_weight),
        ):
            if value is not None:
                remedy = "Its batches hold the targets too: (x, y) or (x, y, sample_weight)."
                article = "an" if kind == "iterator" else "a"
                check.fail(where, argument, f"None with {article} {kind}", value, remedy)

        def prepare(x: Any, y: Any, weight: Any = None) -> Batch:
            return self.batch(where, x, y, weight)

        if kind == "dataset":
            if steps_per_epoch is not None:
                expectation = "None with a dataset, whose epochs have an end"
                check.fail(where, "steps_per_epoch", expectation, steps_per_epoch)
            if len(x) == 0:
                check.fail(where, "x", "a dataset of at least one sample", check.Said("none"))
            data = DatasetBatches(x, batch_size, prepare, where)
            if is_training:
                self._check_smallest(where, data.n_samples, data.batch_size)
            return data
        if steps_per_epoch is not None or kind == "iterator":
            steps_per_epoch = check.integer(where, "steps_per_epoch", steps_per_epoch, minimum=1)
        return StreamBatches(x, steps_per_epoch, prepare, where)

    def of_arrays(
        self,
        where: str,
        x: Any,
        y: Any,
        batch_size: int,
        sample_weight: Any = None,
        class_weight: Any = None,
        *,
        is_training: bool = True,
    ) -> ArrayBatches:
        """Check arrays, once for all the batches that they will be cut into."""
        x, y = self._arrays(where, x, y)
        if len(x) == 0:
            check.fail(where, "x", "at least one sample", check.Said("none"))
        # All ranks have the same data: each looks at its part of what may be larger than memory.
        check.finite(where, "x", x, part(len(x), self.rank, self.n_ranks))
        weight = self._weight(where, y, sample_weight, class_weight)
        self.model.check_layers(x[:batch_size].astype(self.model.dtype))
        dtype = self.model.dtype
        batches = ArrayBatches(x, y, batch_size, dtype, self.loss.target_dtype(dtype), weight)
        if is_training:
            self._check_smallest(where, len(x), batches.batch_size)
        return batches

    def validation(self, where: str, validation_data: Any) -> Batches:
        """Check validation data, and bring it into batches."""
        words = f"{where}, validation_data"
        if isinstance(validation_data, tuple | list):
            if len(validation_data) not in (2, 3):
                wanted = "a pair (x, y), or (x, y, sample_weight)"
                check.fail(where, "validation_data", wanted, validation_data)
            x, y, *weight = validation_data
            return self.of_arrays(words, x, y, 1024, *weight, is_training=False)
        if hasattr(validation_data, "__next__") or hasattr(validation_data, "__array__"):
            wanted = "a pair (x, y), or what can be gone through again in each epoch"
            check.fail(where, "validation_data", wanted, validation_data)
        return self.batches(words, validation_data, None, 1024, is_training=False)

    def split(
        self,
        where: str,
        data: Batches,
        share: Any,
        stratify: Any,
        rng: np.random.Generator,
        known: Array | None,
    ) -> tuple[ArrayBatches, ArrayBatches]:
        """Keep a share of the samples for validation; ``known`` are those of an earlier draw."""
        share = check.number(where, "validation_split", share, above=0, below=1)
        stratify = check.boolean(where, "stratify", stratify)
        if not isinstance(data, ArrayBatches):
            wanted = "None unless the data are arrays"
            check.fail(where, "validation_split", wanted, share, "Pass validation_data.")
        n_samples = len(data.x)
        if known is not None:
            kept = known
            trained = np.delete(np.arange(n_samples), kept)
        else:
            classes = self._classes(where, "stratify", data.y) if stratify else None
            trained, kept = held_out(rng, n_samples, share, classes)
        if not (len(trained) and len(kept)):
            got = check.Said(f"{share:g} of {n_samples} samples")
            check.fail(where, "validation_split", "a share that leaves samples to both", got)
        x_dtype = self.model.dtype
        y_dtype, size = self.loss.target_dtype(x_dtype), data.batch_size
        self._check_smallest(where, len(trained), min(size, len(trained)))
        return (
            ArrayBatches(data.x, data.y, size, x_dtype, y_dtype, data.weight, trained),
            ArrayBatches(data.x, data.y, 1024, x_dtype, y_dtype, data.weight, kept),
        )

    def batch(self, where: str, x: Any, y: Any, weight: Any = None) -> Batch:
        """Check one batch, and cast it."""
        x, y = self._arrays(where, x, y)
        if len(x) == 0:
            check.fail(where, "x", "at least one sample", check.Said("none"))
        check.finite(where, "x", x)
        dtype = self.model.dtype
        weight = self._weight(where, y, weight, None)
        y = y.astype(self.loss.target_dtype(dtype), copy=False)
        return x.astype(dtype, copy=False), y, weight

    def _check_smallest(self, where: str, n_samples: int, batch_size: int) -> None:
        """Refuse batches that are too small for a layer before the first of them is trained on."""
        if self.n_ranks > 1:
            self._check_parts(where, n_samples, batch_size)
        least = self.model.min_batch_size
        last = n_samples % batch_size or batch_size
        if last < least:
            got = check.Said(
                f"{batch_size} of {n_samples} samples, which leaves a last batch of {last}"
            )
            remedy = "Choose another batch_size, or leave out some samples."
            wanted = f"one whose batches have at least {least} samples, as a layer needs them"
            check.fail(where, "batch_size", wanted, got, remedy)

    def _check_parts(self, where: str, n_samples: int, batch_size: int) -> None:
        """Refuse batches of which some rank would have no part, or too small a one."""
        n_ranks = self.n_ranks
        if batch_size < n_ranks:
            remedy = f"Pass a larger batch_size, or start fewer ranks (at most {batch_size})."
            wanted = f"at least {n_ranks}, one for each rank"
            check.fail(where, "the samples in a batch", wanted, batch_size, remedy)
        # A layer that computes together with other ranks counts the samples of all.
        own = [
            layer.min_batch_size
            for _, layer in self.model.walk()
            if not (isinstance(layer, Sequential) or getattr(layer, "synchronized", False))
        ]
        least = max(own, default=1)
        for size in {batch_size, n_samples % batch_size or batch_size}:
            parts = {size // n_ranks, -(-size // n_ranks)}
            if any(0 < samples < least for samples in parts):
                got = check.Said(f"a batch of {size} for {n_ranks} ranks")
                remedy = "Choose another batch_size, or BatchNorm(synchronized=True)."
                wanted = f"one that gives each rank at least {least} samples, as a layer needs them"
                check.fail(where, "batch_size", wanted, got, remedy)

    def _arrays(self, where: str, x: Any, y: Any) -> tuple[Array, Array]:
        """Check inputs and targets, without a copy of what are arrays already."""
        x = check.numeric_array(where, "x", x, None)
        if y is None:
            check.fail(where, "y", "given: the targets", y)
        y = check.numeric_array(where, "y", y, None)
        check.batch_shape(where, "x", x.shape, self.model.input_shape)
        if y.ndim == 0 or len(x) != len(y):
            got = check.Said(f"{len(x)} samples in x and shape {y.shape} in y")
            check.fail(where, "y", "as long as x", got, error=ShapeError)
        self.loss.check_targets(where, y, self.model.output_shape)
        for metric in self.metrics:
            metric.check_targets(where, y.shape, self.model.output_shape)
        return x, y

    def _weight(self, where: str, y: Array, sample_weight: Any, class_weight: Any) -> Array | None:
        """Put together the weight of each sample, or None where there are no weights."""
        weight = None
        if sample_weight is not None:
            weight = check.numeric_array(where, "sample_weight", sample_weight, np.dtype(float))
            check.exact_shape(where, "sample_weight", weight, (len(y),))
            check.finite(where, "sample_weight", weight)
            if (weight < 0).any():
                got = check.Said(f"{weight.min():g} in sample {int(weight.argmin())}")
                check.fail(where, "sample_weight", "of at least 0", got)
        if class_weight is not None:
            of_class = self._of_classes(where, y, class_weight)
            weight = of_class if weight is None else weight * of_class
        if weight is not None and not weight.any():
            check.fail(where, "sample_weight", "above 0 for some sample", check.Said("0 for all"))
        return weight

    def _of_classes(self, where: str, y: Array, class_weight: Any) -> Array:
        classes = self._classes(where, "class_weight", y)
        counts = np.bincount(classes)
        if isinstance(class_weight, str) and class_weight == "balanced":
            # As often as if all classes had the same number of samples.
            n_there = np.count_nonzero(counts)
            return len(classes) / (n_there * counts[classes])
        if not isinstance(class_weight, Mapping):
            remedy = "Write class_weight={0: 1.0, 1: 5.0}."
            check.fail(where, "class_weight", "a dict or 'balanced'", class_weight, remedy)
        factors = np.ones(len(counts))
        for label, factor in class_weight.items():
            place = check.integer(where, "a class of class_weight", label, minimum=0)
            number = check.number(where, f"class_weight[{place}]", factor, minimum=0)
            if place < len(factors):
                factors[place] = number
        return factors[classes]

    def _classes(self, where: str, argument: str, y: Array) -> Array:
        """Find the class of each sample: class indices, or columns of one-hot rows, or 0 and 1."""
        if y.ndim == 1 and y.dtype.kind in "iub":
            return y.astype(np.intp)
        if y.ndim == 2 and np.isin(y, (0, 1)).all():
            if y.shape[1] == 1:
                return y[:, 0].astype(np.intp)
            if (y.sum(axis=1) == 1).all():
                columns: Array = y.argmax(axis=1)
                return columns
        got = check.Said(f"targets of shape {y.shape} and dtype {y.dtype}")
        wanted = "left out unless the targets are class indices, one-hot rows, or 0 and 1"
        check.fail(where, argument, wanted, got)


def _kind(x: Any) -> str:
    if hasattr(x, "__next__"):
        return "iterator"
    if isinstance(x, list | tuple | str | bytes) or hasattr(x, "__array__"):
        return "arrays"
    if isinstance(x, Dataset) and not isinstance(x, Mapping):
        return "dataset"
    if callable(x) or (hasattr(x, "__iter__") and not isinstance(x, Mapping)):
        return "stream"
    return "arrays"
