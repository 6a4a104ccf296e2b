"""Preparation: the data that `Trainer.fit` is called with, checked and cut into batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.samples import kind_of, name_of
from layerkit._support.validation import Array
from layerkit.communication.base import Communicator, part
from layerkit.data.batches import (
    ArrayBatches,
    Batch,
    Batches,
    DatasetBatches,
    StreamBatches,
    held_out,
)
from layerkit.data.fields import Absent, Fields, cast, check_finite, read_only
from layerkit.data.weights import check_weighs, classes_of, times_classes
from layerkit.errors import ShapeError
from layerkit.losses import Loss
from layerkit.metrics import Metric
from layerkit.models.base import Model


class Preparation:
    """Checks data for a model, a loss and metrics."""

    def __init__(
        self, model: Model, loss: Loss, metrics: Sequence[Metric], communicator: Communicator
    ) -> None:
        self.model, self.loss, self.metrics = model, loss, metrics
        self.rank, self.n_ranks = communicator.rank, communicator.size
        # Without the types: a model of several inputs or outputs has dicts of what others have.
        self.input_shape: Any = model.input_shape
        self.has_named_inputs = isinstance(self.input_shape, Mapping)
        self.x_dtype = _by_name(model)
        outputs: Any = model.output_shape
        self.has_named_outputs = isinstance(outputs, Mapping)
        shapes = outputs.values() if self.has_named_outputs else (outputs,)
        self.has_open_outputs = any(None in shape for shape in shapes)
        self.needs_targets = loss.takes_targets or any(m.takes_targets for m in metrics)
        self._checked_shapes: set[Any] = set()
        self._output_shapes: dict[Any, Any] = {}

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
        """Check arrays, a `Dataset` or a stream, and return their batches."""
        kind = kind_of(x)
        if kind == "single samples":
            remedy = "Wrap it: torch.utils.data.DataLoader(dataset, batch_size=32)."
            check.fail(where, "x", "a stream of batches, not of single samples", x, remedy)
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

        def prepare(x: Any, y: Any = None, weight: Any = None) -> Batch:
            return self.batch(where, x, y, weight, may_weigh_nothing=True)

        if kind == "dataset":
            if steps_per_epoch is not None:
                expectation = "None with a dataset, whose epochs have an end"
                check.fail(where, "steps_per_epoch", expectation, steps_per_epoch)
            if len(x) == 0:
                check.fail(where, "x", "a dataset of at least one sample", check.Said("none"))
            data = DatasetBatches(x, batch_size, prepare, where, needs_targets=self.needs_targets)
            if is_training:
                self._check_smallest(where, data.n_samples, data.batch_size)
            return data
        if steps_per_epoch is not None or kind == "iterator":
            steps_per_epoch = check.integer(where, "steps_per_epoch", steps_per_epoch, minimum=1)
        return StreamBatches(x, steps_per_epoch, prepare, where, needs_targets=self.needs_targets)

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
        # All ranks have the same data: each looks at its part of what may be larger than memory.
        check_finite(where, "x", x, part(len(x), self.rank, self.n_ranks))
        own = self._weight(where, x, y, sample_weight)
        check_weighs(where, own, False)
        weight = times_classes(where, y, class_weight, own, self.model.output_shape)
        check_weighs(where, weight, class_weight is not None)
        self.model.check_layers(read_only(x[:batch_size].astype(self.x_dtype)))
        y = Absent() if y is None else y
        batches = ArrayBatches(x, y, batch_size, self.x_dtype, self._y_dtype(y), weight)
        batches.sample_weight, batches.class_weight = own, class_weight
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

    def drawn_from(self, data: Batches, stratify: Any) -> object:
        """Return what a split depends on besides the share and the generator."""
        if not isinstance(data, ArrayBatches):
            return None
        return len(data.x), hash(np.asarray(data.y).tobytes()) if stratify is True else None

    def split(
        self,
        where: str,
        data: Batches,
        share: Any,
        stratify: Any,
        rng: np.random.Generator,
        known: Array | None,
    ) -> tuple[ArrayBatches, ArrayBatches]:
        """Return the batches of the samples to train on, and of a share kept for validation.

        ``known`` are the numbers of the samples that an earlier draw has kept. The weights of
        classes are for training alone: a balance is that of the samples trained on.
        """
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
            classes = (
                classes_of(where, "stratify", data.y, self.model.output_shape) if stratify else None
            )
            trained, kept = held_out(rng, n_samples, share, classes)
        if not (len(trained) and len(kept)):
            got = check.Said(f"{share:g} of {n_samples} samples")
            check.fail(where, "validation_split", "a share that leaves samples to both", got)
        x_dtype, y_dtype = self.x_dtype, self._y_dtype(data.y)
        size = data.batch_size
        self._check_smallest(where, len(trained), min(size, len(trained)))
        own, of_class = data.sample_weight, data.class_weight
        for rows, part_of in ((trained, " to train on"), (kept, " held out")):
            check_weighs(where, None if own is None else own[rows], False, part_of)
        output_shape = self.model.output_shape
        weight = times_classes(where, data.y, of_class, own, output_shape, trained)
        if weight is not None:
            check_weighs(where, weight[trained], of_class is not None, " to train on")
        return (
            ArrayBatches(data.x, data.y, size, x_dtype, y_dtype, weight, trained),
            ArrayBatches(data.x, data.y, 1024, x_dtype, y_dtype, own, kept),
        )

    def batch(
        self, where: str, x: Any, y: Any, weight: Any = None, *, may_weigh_nothing: bool = False
    ) -> Batch:
        """Check one batch, and cast it; only one of several may weigh nothing."""
        x, y = self._arrays(where, x, y)
        check_finite(where, "x", x)
        weight = self._weight(where, x, y, weight)
        # Of several ranks, another one's part may weigh something.
        if weight is not None and not may_weigh_nothing and self.n_ranks == 1:
            check_weighs(where, weight, False)
        x = read_only(cast(x, self.x_dtype))
        shape = _key(x.shape)
        if shape not in self._checked_shapes:
            with np.errstate(all="ignore"):  # what overflows is named later, with its layer
                self.model.check_layers(x)
            self._checked_shapes.add(shape)
        return x, read_only(cast(y, self._y_dtype(y))), weight

    def _check_smallest(self, where: str, n_samples: int, batch_size: int) -> None:
        """Refuse batches that are too small for a layer before the first of them is trained on."""
        if self.n_ranks > 1:
            self._check_parts(where, n_samples, batch_size)
        least = self._fewest()
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
        least = self._fewest(of_one_rank=True)
        for size in {batch_size, n_samples % batch_size or batch_size}:
            parts = {size // n_ranks, -(-size // n_ranks)}
            if any(0 < samples < least for samples in parts):
                got = check.Said(f"a batch of {size} for {n_ranks} ranks")
                remedy = "Choose another batch_size, or BatchNorm(synchronized=True)."
                wanted = f"one that gives each rank at least {least} samples, as a layer needs them"
                check.fail(where, "batch_size", wanted, got, remedy)

    def _fewest(self, *, of_one_rank: bool = False) -> int:
        """Return the fewest samples that all layers can be trained on, as they are frozen now."""
        fewest = 1
        for _, layer in self.model.walk():
            # A layer that computes together with other ranks counts the samples of all.
            is_left_out = of_one_rank and getattr(layer, "synchronized", False)
            if not (is_left_out or isinstance(layer, Model)):
                fewest = max(fewest, layer.min_batch_size)
        return fewest

    def _arrays(self, where: str, x: Any, y: Any) -> tuple[Any, Any]:
        """Check inputs and targets, without a copy of what are arrays already."""
        x = self._inputs(where, x)
        if y is None and self.needs_targets:
            check.fail(where, "y", "given: the targets", y)
        if y is not None:
            if self.has_named_outputs:
                y = Fields.of(where, "y", y)
            else:
                y = check.numeric_array(where, "y", y, None)
            if y.shape == () or len(x) != len(y):
                got = check.Said(f"{len(x)} samples in x and shape {y.shape} in y")
                check.fail(where, "y", "as long as x", got, error=ShapeError)
        if len(x) == 0:
            check.fail(where, "x", "at least one sample", check.Said("none"))
        output_shape = self._output_shape(x)
        if self.loss.takes_targets:
            self.loss.check_targets(where, y, output_shape)
        for metric in self.metrics:
            if metric.takes_targets:
                metric.check_targets(where, y.shape, output_shape)
                metric.check_values(where, y, output_shape)
        return x, y

    def _inputs(self, where: str, x: Any) -> Any:
        """Check the shape and the kind of the inputs, or of each of those that have names."""
        wanted, dtypes = self.input_shape, self.x_dtype
        if not self.has_named_inputs:
            x = check.numeric_array(where, "x", x, None)
            check.batch_shape(where, "x", x.shape, wanted)
            _check_kind(where, "x", x, dtypes)
            return x
        if not isinstance(x, Mapping) or set(x) != set(wanted):
            names = ", ".join(map(repr, wanted))
            got = check.Said(", ".join(map(repr, x)) or "none") if isinstance(x, Mapping) else x
            check.fail(where, "x", f"a dict of arrays, one for each input: {names}", got)
        x = Fields.of(where, "x", x)
        for name, array in x.items():
            argument = f"x[{name!r}]"
            check.batch_shape(where, argument, array.shape, wanted[name])
            _check_kind(where, argument, array, dtypes[name])
        return x

    def _y_dtype(self, y: Any) -> Any:
        """Find the dtype that targets are cast to; of targets that have names, by name."""
        if y is None or isinstance(y, Absent):
            return None
        dtype: Any = self.loss.target_dtype(self.model.dtype)
        has_names = isinstance(dtype, Mapping) or not isinstance(y, Fields)
        return dtype if has_names else dict.fromkeys(y, dtype)

    def _output_shape(self, x: Any) -> Any:
        """Find the shape of a sample's output, of an open axis by a look at the first sample."""
        if not self.has_open_outputs:
            return self.model.output_shape
        first = read_only(cast(x[:1], self.x_dtype))
        lengths = _key(first.shape)
        if lengths not in self._output_shapes:
            with np.errstate(all="ignore"):
                self.model.check_layers(first)
                y: Any = self.model.compute_forward(first, training=False)[0]
            if self.has_named_outputs:
                shapes: Any = {name: array.shape[1:] for name, array in y.items()}
            else:
                shapes = y.shape[1:]
            self._output_shapes[lengths] = shapes
        return self._output_shapes[lengths]

    def _weight(self, where: str, x: Any, y: Any, sample_weight: Any) -> Array | None:
        """Check the weight of each sample or position; None where there are no weights."""
        if sample_weight is None:
            return None
        weight = check.numeric_array(where, "sample_weight", sample_weight, np.dtype(float))
        self._check_weight_shape(where, weight, x)
        check.finite(where, "sample_weight", weight)
        if (weight < 0).any():
            lowest = np.unravel_index(weight.argmin(), weight.shape)
            got = check.Said(f"{weight[lowest]:g} in {name_of(int(lowest[0]))}")
            check.fail(where, "sample_weight", "of at least 0", got)
        return weight

    def _check_weight_shape(self, where: str, weight: Array, x: Any) -> None:
        """Refuse weights but one for each sample, or for each position that the loss has."""
        positions = self.loss.position_shape(self._output_shape(x)) if weight.ndim > 1 else ()
        wanted = (len(x), *positions[: max(weight.ndim - 1, 0)])
        remedy = ""
        if weight.ndim > 1 and not positions:
            remedy = f"{self.loss!r} takes one weight for each sample."
        check.exact_shape(where, "sample_weight", weight, wanted, remedy)


def _check_kind(where: str, argument: str, array: Array, dtype: np.dtype[Any]) -> None:
    """Refuse fractions where a layer takes integers."""
    if dtype.kind in "iu" and array.dtype.kind not in "iub":
        remedy = f"Convert them: {argument}.astype(int)."
        check.fail(where, argument, "an array of integers, as a layer takes them", array, remedy)


def _key(shape: Any) -> Any:
    """Turn the shape of an array or of `Fields` into a key of a dict."""
    return tuple(shape.items()) if isinstance(shape, dict) else shape


def _by_name(model: Any) -> Any:
    """Return the dtype of the inputs: one, or for named inputs one for each."""
    shape, dtype = model.input_shape, model.input_dtype
    if isinstance(shape, Mapping) and not isinstance(dtype, Mapping):
        return dict.fromkeys(shape, dtype)
    return dtype
