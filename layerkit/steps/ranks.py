"""`Ranks`: what the processes of a job do together in training; here, for a job of one process.

Everything in training is written for a rank among others. A process on its own is the only rank
there is: all that would be exchanged is what it has. `ConnectedRanks` overrides what needs others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.data.batches import Batch, Batches
from layerkit.metrics import Metric
from layerkit.optimizers import Optimizer
from layerkit.storage.files import Path
from layerkit.storage.models import write_tree

__all__ = ["Facts", "Lose", "Ranks"]

# What has to be the same on all ranks, by name; called only where there are several.
Facts = Callable[[], dict[str, object]]
# Computes a batch's loss and its gradient, from predictions, targets and weights.
Lose = Callable[[Array, Array, Array | None], tuple[float, Array]]


class Ranks:
    """The part of the only rank.

    Attributes
    ----------
    rank, size : int
        The number of this rank, from 0 on, and how many there are.
    is_synchronised : bool
        Whether the ranks have been made the same once.
    wants_to_stop : bool
        Whether Ctrl-C has come here, and the other ranks do not know yet.
    is_interrupted : bool
        Whether training is to be interrupted after the current step, on all ranks.
    """

    rank, size = 0, 1
    is_synchronised = True
    wants_to_stop = is_interrupted = False

    # Beginning together

    @contextlib.contextmanager
    def together(self, where: str, facts: Facts | None = None) -> Iterator[dict[str, object]]:
        """Fail on all ranks if one fails, or if they find different facts.

        The facts found inside the ``with`` block are added to the dict that it is given.
        """
        yield {}

    def synchronise(
        self,
        optimizer: Optimizer,
        rng: np.random.Generator,
        resumed: Mapping[str, Any] | None,
        *,
        begins_fit: bool,
    ) -> Mapping[str, Any] | None:
        """Make each rank what rank 0 is, and return what the next fit goes on from."""
        return resumed

    def begin(self, describe: Callable[[], str]) -> None:
        """Begin a fit; ``describe`` returns where in it the rank is."""

    def end(self) -> None:
        """End a fit."""

    def begin_step(self, n_steps: int, batch: Batch) -> None:
        """Begin a step of a loop of the user's own, after ``n_steps`` others."""

    def all_or_none(self, is_so: bool) -> bool:
        """Return whether something is true, and on all ranks."""
        return is_so

    # Batches and steps

    def batches(self, data: Batches, own: Iterator[Batch]) -> Iterator[Batch]:
        """Iterate over this rank's parts of the batches."""
        return own

    def prepare(self) -> None:
        """Find the gradients, wherever they lie now."""

    def scaled(self, lose: Lose) -> Lose:
        """Scale the loss and the gradient of a part to what they add to those of the batch."""
        return lose

    def sit_out(self, x: Array) -> float:
        """Add nothing to a batch of which this rank has no part, and return the loss of that."""
        raise NotImplementedError("a process on its own has a part of each batch")

    def reduce(
        self, loss: float, n_samples: int, weight: float, with_grads: bool = True
    ) -> tuple[float, int, float]:
        """Add up the ranks' gradients and losses; return those of the whole batch."""
        return loss, n_samples, weight

    def reduce_grads(self) -> None:
        """Add up the ranks' gradients alone."""

    def end_epoch(self, where: str) -> None:
        """Compare the ranks' parameters, and average what their layers learned besides."""

    # Sums, agreements and errors

    def add_up(self, totals: Sequence[Any], metrics: Sequence[Metric] = ()) -> list[Any]:
        """Put together the totals of the ranks: those of metrics, then numbers."""
        return list(totals)

    def agree_to_stop(self, stopped: bool) -> bool:
        """Return whether any rank wants to end the training; Ctrl-C then comes on all."""
        return stopped

    def interrupt(self, *, is_busy: bool) -> None:
        """Note Ctrl-C; raise it at once if no step is being made."""
        if not is_busy:
            raise KeyboardInterrupt
        self.is_interrupted = True

    def find_non_finite(self, found: str) -> str:
        """Choose among what the ranks found the first that found anything."""
        return found

    def mark(self, error: Exception) -> None:
        """Note that all ranks raise this error, so that one of them is enough to print it."""

    def write_checkpoint(
        self, where: str, path: Path, tree: dict[str, Any], metrics: Sequence[Metric] = ()
    ) -> None:
        """Write a checkpoint, with what each rank has of its own, such as totals of the metrics."""
        write_tree(where, path, "checkpoint", {"ranks": None} | tree)
