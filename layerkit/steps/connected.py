"""`ConnectedRanks`: what a rank does in training together with the others of its job.

Each rank computes its part of every batch. Its gradient of the loss is scaled to what it adds to
that of the whole batch, so that the sum over the ranks, one operation on one vector, is the
gradient that a single process would have computed; then all make the same step, and stay the same.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.state import is_generator
from layerkit._support.validation import Array
from layerkit.communication.base import Communicator, gather, share, total
from layerkit.data.batches import Batch, Batches, StreamBatches
from layerkit.errors import LayerkitError, StateError
from layerkit.layers.passes import go_back
from layerkit.metrics import Metric
from layerkit.metrics.totals import merged
from layerkit.models.base import Model
from layerkit.optimizers import Optimizer
from layerkit.steps.ranks import Facts, Lose, Ranks
from layerkit.storage.files import Path
from layerkit.storage.models import (
    contents_of,
    fill,
    set_trained_state,
    tree_from_bytes,
    tree_to_bytes,
    write_tree,
)

__all__ = ["ConnectedRanks", "ranks_of"]

# How many steps pass between two comparisons of the ranks' parameters.
STEPS_BETWEEN_CHECKS = 100


class ConnectedRanks(Ranks):
    """The part of one of several ranks.

    Parameters
    ----------
    communicator : Communicator
        Connects the ranks, of which there are at least two.
    model : Model
        This rank's model.
    optimizer : Optimizer
        This rank's optimizer, which counts the steps.
    """

    def __init__(self, communicator: Communicator, model: Model, optimizer: Optimizer) -> None:
        self.communicator, self.model, self.optimizer = communicator, model, optimizer
        self.rank, self.size = communicator.rank, communicator.size
        # Of the current batch, all ranks' parts together.
        self.n_samples, self.weight = 0, 0.0
        self.is_synchronised = False
        self._compared = 0  # after so many steps
        self._describe: Callable[[], str] = lambda: "Trainer.train_step"
        self._room = self._alone = np.zeros(flat.ROOM)

    # Beginning together

    @contextlib.contextmanager
    def together(self, where: str, facts: Facts | None = None) -> Iterator[dict[str, object]]:
        """Fail on all ranks if one fails, or if they find different facts."""
        self._say_where(where)
        known = self._facts(facts()) if facts else {}
        failed: Exception | None = None
        # A call that other ranks don't make is waited for here, where nothing can be mixed up.
        self.communicator.barrier()
        try:
            yield known
        except Exception as error:
            failed = error
        json: Any = importlib.import_module("json")
        own = {
            "facts": {name: str(fact) for name, fact in known.items()},
            "error": None if failed is None else f"{type(failed).__name__}: {failed}",
        }
        found = [json.loads(entry) for entry in gather(self.communicator, json.dumps(own).encode())]
        if failed is not None:
            raise failed
        for rank, other in enumerate(found):
            if other["error"] is not None:
                got = check.Said(f"an error on rank {rank}: {other['error']}")
                self._fail(where, "what the ranks are given", "usable on all of them", got)
        for rank, other in enumerate(found):
            for name, fact in other["facts"].items():
                first = found[0]["facts"].get(name)
                if fact != first:
                    got = check.Said(f"{first} on rank 0 and {fact} on rank {rank}")
                    remedy = "Hand the same to all of them; of data, each takes its part itself."
                    if name == "callbacks":
                        remedy = "For one on rank 0 alone, its class sets only_on_rank_0 = True."
                    self._fail(where, name, "the same on all ranks", got, remedy)

    def _fail(
        self, where: str, argument: str, wanted: str, got: check.Said, remedy: str = ""
    ) -> NoReturn:
        """Raise an error that all ranks raise."""
        try:
            check.fail(where, argument, wanted, got, remedy, error=StateError)
        except LayerkitError as error:
            self.mark(error)
            raise

    def mark(self, error: Exception) -> None:
        """Note that all ranks raise this error, so that one of them is enough to print it."""
        error.is_on_all_ranks = True  # type: ignore[attr-defined]

    def _say_where(self, place: str) -> None:
        """Name the place in the program for the messages of the communicator."""
        if hasattr(self.communicator, "place"):
            self.communicator.place = lambda: f" in {place}"

    def begin(self, describe: Callable[[], str]) -> None:
        """Begin a fit."""
        for layer in self._synchronized_layers():
            layer.communicator = self.communicator
        self._describe = describe
        if hasattr(self.communicator, "place"):
            self.communicator.place = lambda: f" in {describe()}"

    def _facts(self, known: dict[str, object]) -> dict[str, object]:
        """Return what has to be the same on all ranks, whatever is done."""
        shapes = {name: p.shape for name, p in self.model.named_parameters().items()}
        return {"model": f"{self.model.dtype} parameters {shapes}", **known}

    def synchronise(
        self,
        optimizer: Optimizer,
        rng: np.random.Generator,
        resumed: Mapping[str, Any] | None,
        *,
        begins_fit: bool,
    ) -> Mapping[str, Any] | None:
        """Make each rank what rank 0 is; but for random layers, which draw numbers of their own."""
        where, model = "Trainer.fit", self.model
        self.communicator.broadcast_(model.values)
        message = b""
        if self.rank == 0:
            contents = contents_of(model)
            own = {
                "frozen": contents["frozen"],
                "states": contents["states"],
                "vectors": optimizer.state,
                "attributes": optimizer.attributes(),
                "rng": rng,
                "resumed": resumed,
            }
            message = tree_to_bytes(where, own)
        tree = tree_from_bytes(where, share(self.communicator, message))
        if self.rank:
            told = {name: tree[name] for name in ("frozen", "states")}
            fill(where, model, contents_of(model) | told)
            optimizer.set_state(tree["vectors"], tree["attributes"])
            rng.bit_generator.state = tree["rng"].bit_generator.state
        self._spread_generators(rng)
        self.is_synchronised = True
        known: dict[str, Any] | None = tree["resumed"]
        # A new fit begins with what was spread, and so it does after a checkpoint without a fit.
        if known is not None and (known["progress"]["settings"] or not begins_fit):
            self._take_part_of(known)
        return known

    def _spread_generators(self, rng: np.random.Generator) -> None:
        """Assign each random layer a stream of this rank's own; on rank 0 it keeps its own."""
        known: dict[int, np.random.Generator] = {}
        for _, layer in self.model.walk():
            for name, value in vars(layer).items():
                # One that the order of the samples comes from too has to stay the same on all.
                if layer.is_random and is_generator(value) and (self.rank or value is rng):
                    if id(value) not in known:
                        known[id(value)] = _child(value, self.rank)
                    setattr(layer, name, known[id(value)])

    def _take_part_of(self, resumed: dict[str, Any]) -> None:
        """Go on where this rank was; if there were more or fewer ranks, let rank 0 have it all."""
        parts, progress = resumed["ranks"], resumed["progress"]
        if parts is not None and len(parts) == self.size:
            own = parts[self.rank]
            for path, layer in self.model.walk():
                set_trained_state(layer, own["states"].get(path, {}))
            progress |= {name: own[name] for name in ("totals", "accumulated")}
        elif self.rank:
            progress["totals"] = []
            if progress["accumulated"] is not None:
                gradients, *rest = progress["accumulated"]
                progress["accumulated"] = (np.zeros_like(gradients), *rest)

    # Batches

    def batches(self, data: Batches, own: Iterator[Batch]) -> Iterator[Batch]:
        """Go through this rank's parts of the batches, and know what all have together."""
        if not isinstance(data, StreamBatches):
            for batch in own:
                self.n_samples = data.n_together
                if data.weight_together is None:
                    self.weight = total(self.communicator, _weight(batch))[0]
                else:
                    self.weight = data.weight_together
                yield batch
            return
        while True:
            batch_or_end = next(own, None)
            has_batch = np.zeros(self.size)
            has_batch[self.rank] = batch_or_end is not None
            self.communicator.allreduce_(has_batch)
            if not has_batch.any():
                return
            if batch_or_end is None or not has_batch.all():
                got = check.Said(f"none on rank {int(has_batch.argmin())}, whose stream has ended")
                remedy = "Pass steps_per_epoch, and streams that are long enough."
                self._fail("Trainer.fit", "x", "a batch on all ranks", got, remedy)
            self._measure(batch_or_end)
            yield batch_or_end

    def _measure(self, batch: Batch) -> None:
        """Learn how much the ranks have of a batch, which each brings a part of."""
        n_samples, self.weight = total(self.communicator, len(batch[0]), _weight(batch))
        self.n_samples = int(n_samples)

    # Steps

    def prepare(self) -> None:
        """Find the gradients, wherever they lie now."""
        self._room = flat.grads_with_room(self.model.parameters, self.model.dtype)

    def end(self) -> None:
        """End a fit."""
        for layer in self._synchronized_layers():
            layer.communicator = None
        self._say_where("the program, behind Trainer.fit")

    def begin_step(self, n_steps: int, batch: Batch) -> None:
        """Begin a step of a loop of the user's own."""
        for layer in self._synchronized_layers():
            layer.communicator = self.communicator
        self._say_where(f"Trainer.train_step, step {n_steps + 1}")
        self._measure(batch)
        if not self.weight:
            got = check.Said("0 for all")
            check.fail("Trainer.train_step", "sample_weight", "above 0 for some sample", got)

    def all_or_none(self, is_so: bool) -> bool:
        """Return whether something is true, and on all ranks."""
        return total(self.communicator, is_so)[0] == self.size

    def _synchronized_layers(self) -> list[Any]:
        return [layer for _, layer in self.model.walk() if getattr(layer, "synchronized", False)]

    def scaled(self, lose: Lose) -> Lose:
        """Scale the loss and the gradient of a part to what they add to those of the batch."""

        def lose_part(y_pred: Array, y: Array, weight: Array | None) -> tuple[float, Array]:
            loss, dy = lose(y_pred, y, weight)
            share = _length(y_pred) if weight is None else float(weight.sum())
            factor = share / self.weight if self.weight else 0.0
            return loss * factor, _each(dy, lambda array: array * array.dtype.type(factor))

        return lose_part

    def sit_out(self, x: Array) -> float:
        """Add nothing to a batch of which this rank has no part."""
        if self._synchronized_layers():
            y, cache = self.model.compute_forward(x, training=True)
            # As the other ranks do: they wait for each other in the layers that aren't skipped.
            go_back(self.model, _each(y, np.zeros_like), cache, need_dx=False, skip_frozen=True)
        self.model.grads.fill(0)
        return 0.0

    def reduce(
        self, loss: float, n_samples: int, weight: float, with_grads: bool = True
    ) -> tuple[float, int, float]:
        """Add up the ranks' gradients, in one operation, and their losses with them."""
        n_steps = self.optimizer.n_steps
        if n_steps % STEPS_BETWEEN_CHECKS == 0 and n_steps != self._compared:
            self._compare(f"{self._describe()}, after step {n_steps}")
            self._compared = n_steps
        loss = self._exchange(loss, self._room if with_grads else self._alone)
        return loss, self.n_samples, self.weight

    def reduce_grads(self) -> None:
        """Add up the ranks' gradients alone."""
        self._exchange(0.0, self._room)

    def _exchange(self, loss: float, vector: Array) -> float:
        after = vector[-flat.ROOM :].copy()
        vector[-flat.ROOM :] = loss, self.wants_to_stop
        self.communicator.allreduce_(vector)
        loss, n_stops = vector[-flat.ROOM :].tolist()
        vector[-flat.ROOM :] = after
        self.is_interrupted = n_stops > 0
        return loss

    def end_epoch(self, where: str) -> None:
        """Compare the ranks' parameters, and average what their layers learned besides."""
        self._compare(where)
        self._merge_states()

    def interrupt(self, *, is_busy: bool) -> None:
        """Note Ctrl-C, which comes through on all ranks after the same step."""
        self.wants_to_stop = True

    def find_non_finite(self, found: str) -> str:
        """Choose among what the ranks found the first that found anything."""
        texts = [text.decode() for text in gather(self.communicator, found.encode())]
        rank = next((rank for rank, text in enumerate(texts) if text), None)
        return "" if rank is None else f"{texts[rank]}, on rank {rank}"

    # Between steps

    def _compare(self, where: str) -> None:
        """Refuse to go on with parameters that have drifted apart.

        Raises
        ------
        StateError
            On all ranks, with the one that differs, and the parameter.
        """
        parameters = self.model.named_parameters()
        if self._odd_rank(self.model.values) is None:
            return
        for name, parameter in parameters.items():
            rank = self._odd_rank(parameter.value)
            if rank is not None:
                got = check.Said(f"others on rank {rank}, first in {name!r}")
                remedy = "What changes them, or the optimizer, has to do so on all ranks alike."
                self._fail(where, "the parameters", "the same on all ranks", got, remedy)

    def _odd_rank(self, array: Array) -> int | None:
        """Find a rank whose bytes differ from those of most."""
        crc32: Any = importlib.import_module("zlib").crc32
        sums = np.zeros(self.size, np.int64)
        sums[self.rank] = crc32(np.ascontiguousarray(array))
        self.communicator.allreduce_(sums)
        if (sums == sums[0]).all():
            return None
        counts = (sums[:, None] == sums).sum(axis=1)
        # Of two that differ, rank 0 is taken for the right one.
        usual = sums[counts.argmax()]
        return int((sums != usual).argmax())

    def _merge_states(self) -> None:
        """Average what the layers learned besides the parameters, such as running means."""
        floats = [
            (layer, name, value)
            for _, layer in self.model.walk()
            for name, value in layer.get_state().items()
            if isinstance(value, float) or getattr(value, "dtype", np.dtype(int)).kind == "f"
        ]
        if not floats:
            return
        sums = np.concatenate([np.ravel(value).astype(np.float64) for *_, value in floats])
        self.communicator.allreduce_(sums)
        sums /= self.size
        start = 0
        for layer, name, value in floats:
            mean = sums[start : start + np.size(value)]
            start += np.size(value)
            if isinstance(value, float):
                layer.set_state({name: float(mean[0])})
            else:
                layer.set_state({name: mean.reshape(np.shape(value)).astype(value.dtype)})

    def add_up(self, totals: Sequence[Any], metrics: Sequence[Metric] = ()) -> list[Any]:
        """Put together the totals of the ranks, one that is 0 for want of samples too."""
        message = tree_to_bytes("Trainer", {"totals": list(totals)})
        parts = [
            tree_from_bytes("Trainer", entry)["totals"]
            for entry in gather(self.communicator, message)
        ]
        return _together(metrics, parts)

    def agree_to_stop(self, stopped: bool) -> bool:
        """Return whether any rank wants to end the training; Ctrl-C then comes on all."""
        n_stopped, n_stops = total(self.communicator, stopped, self.wants_to_stop)
        self.is_interrupted = n_stops > 0
        return n_stopped > 0

    def write_checkpoint(
        self, where: str, path: Path, tree: dict[str, Any], metrics: Sequence[Metric] = ()
    ) -> None:
        """Write a checkpoint, from rank 0, with what each rank has of its own."""
        own = {name: tree["progress"][name] for name in ("totals", "accumulated")}
        with self.together(where):
            message = tree_to_bytes(where, own | {"states": tree["contents"]["states"]})
        # Rank 0 has all of it before they train together, or go on with what it has resumed.
        is_all_here = "ranks" in tree or not self.is_synchronised
        if share(self.communicator, b"yes" if is_all_here else b""):
            with self.together(where):
                if self.rank == 0:
                    super().write_checkpoint(where, path, tree)
            return
        parts = [tree_from_bytes(where, entry) for entry in gather(self.communicator, message)]
        progress = dict(tree["progress"])
        progress["totals"] = _together(metrics, [part["totals"] for part in parts])
        if progress["accumulated"] is not None:
            gradients = [part["accumulated"][0] for part in parts]
            progress["accumulated"] = (_sum(gradients), *progress["accumulated"][1:])
        with self.together(where):
            if self.rank == 0:
                write_tree(where, path, "checkpoint", tree | {"progress": progress, "ranks": parts})


def _weight(batch: Batch) -> float:
    x, _, weight = batch
    return float(len(x)) if weight is None else float(weight.sum())


def _length(arrays: Any) -> int:
    """Return the number of samples in an array, or in a dict of arrays."""
    return len(next(iter(arrays.values())) if isinstance(arrays, Mapping) else arrays)


def _each(arrays: Any, function: Callable[[Array], Array]) -> Any:
    """Apply a function to an array, or to each of a dict."""
    if isinstance(arrays, Mapping):
        return {name: function(array) for name, array in arrays.items()}
    return function(arrays)


def _together(metrics: Sequence[Metric], parts: Sequence[Any]) -> list[Any]:
    """Put together the totals of all ranks, one after the other."""
    first, *others = parts
    for part in others:
        first = merged(metrics, first, part)
    return list(first)


def _sum(parts: Any) -> Any:
    first, *others = parts
    for part in others:
        first = first + part
    return first


def _child(generator: np.random.Generator, rank: int) -> np.random.Generator:
    """Make a generator whose stream follows from another's state and the rank."""
    sha256: Any = importlib.import_module("hashlib").sha256
    bits = generator.bit_generator
    digest = sha256(repr(bits.state).encode()).digest()
    seed = np.random.SeedSequence([int.from_bytes(digest), rank])
    return np.random.Generator(type(bits)(seed))


def ranks_of(communicator: Communicator, model: Model, optimizer: Optimizer) -> Ranks:
    """Return the part of this process among those that a communicator connects."""
    return ConnectedRanks(communicator, model, optimizer) if communicator.size > 1 else Ranks()
