"""`Position`: how far a fit has come, the only truth of it, and what a checkpoint keeps of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support.validation import Array

__all__ = ["Position", "no_totals"]

# Under these names in a checkpoint, and of what kinds.
_NUMBERS = "epochs_begun steps_done loss_total total_weight n_samples n_batches batch_loss".split()
_FLAGS = "is_mid_epoch stopped".split()
_OTHERS = "settings held_out arithmetic".split()
# The names in files of version 0.1.0, which stay.
_IN_FILES = {"epochs_begun": "epoch", "steps_done": "step"}


class Position:
    """How far a fit has come, in its epochs and in the current one.

    Parameters
    ----------
    saved : mapping, optional
        Tree that `as_tree` returned, to go on from there.

    Attributes
    ----------
    epoch, step : int
        Epoch and batch at work, counted from 1: those that callbacks and messages name.
    epochs_begun, steps_done : int
        Epochs that have begun, and steps of the last one that are done.
    is_mid_epoch : bool
        Whether the figures of that epoch are still to come.
    n_batches : int
        Batches trained on in all epochs together.
    order : ndarray of int or None
        Order of the samples in the current epoch.
    loss_total, total_weight, n_samples : float, float, int
        Sums over the current epoch: of the loss times the weight, of the weights, of the samples.
    totals : list
        Total of each metric in the current epoch, then the number of samples they are over; empty
        without metrics. What a metric's total is, a number or an array, only the metric knows.
    batch_loss : float
        Loss of the last batch that weighs something, before its update.
    accumulated : ndarray or None
        Sum of the gradients that wait for an update, each times its weight.
    accumulated_weight, n_accumulated : float, int
        Sum of those weights, and the number of those batches.
    batches_per_update : int
        Number of batches that make an update together.
    stopped : bool
        Whether the fit is to end after the current epoch.
    settings : dict of str to object
        Settings that a fit which goes on from here must have too.
    held_out : ndarray of int or None
        Samples that are kept for validation.
    arithmetic : str or None
        Kind of arithmetic of the engine, so that it computes so again, to the last bit.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        self.epochs_begun = self.steps_done = self.n_samples = self.n_batches = 0
        self.loss_total = self.total_weight = 0.0
        self.batch_loss = math.nan
        self.is_mid_epoch = self.stopped = False
        self.order: Array | None = None
        self.held_out: Array | None = None
        self.arithmetic: str | None = None
        self.totals: list[Any] = []
        self.settings: dict[str, Any] = {}
        self.accumulated: Array | None = None
        self.accumulated_weight, self.n_accumulated = 0.0, 0
        self.batches_per_update = 1
        self.is_resumed = saved is not None
        if saved is not None:
            for name in (*_NUMBERS, *_FLAGS, *_OTHERS):
                value = saved[_IN_FILES.get(name, name)]
                # NumPy's own numbers, as a loss may compute them, come back as arrays.
                is_array = isinstance(value, np.ndarray) and not value.ndim
                setattr(self, name, value.item() if is_array else value)
            self.totals, self.order = saved["totals"], saved["order"]
            if saved["accumulated"] is not None:
                total, self.accumulated_weight, self.n_accumulated = saved["accumulated"]
                self.accumulated = np.array(total)
        self.epoch, self.step = self.epochs_begun, self.steps_done

    def begin_epoch(self, n_metrics: int) -> None:
        """Begin the epoch at work."""
        self.is_mid_epoch, self.epochs_begun = True, self.epoch
        self.steps_done = self.n_samples = 0
        self.loss_total = self.total_weight = 0.0
        self.order, self.totals = None, no_totals(n_metrics)

    def add(self, loss: float, n_samples: int, weight: float, totals: list[Any] | None) -> None:
        """Add a step on a batch, with its mean loss; ``totals`` are those of the epoch with it."""
        if weight:  # else there is no mean, and 0 would look like the best
            self.batch_loss = loss
        self.loss_total += loss * weight
        self.total_weight += weight
        self.n_samples += n_samples
        self.steps_done += 1
        self.n_batches += 1
        if totals:
            self.totals = totals

    def end_epoch(self) -> None:
        """End the epoch, whose figures are on record."""
        self.is_mid_epoch = False
        self.order, self.totals, self.steps_done = None, [], 0

    def complete_totals(self, n_metrics: int, *, is_first: bool) -> None:
        """Complete the totals of a fit that is resumed, of which another rank may have all."""
        if not self.totals:
            self.totals = no_totals(n_metrics)
        elif len(self.totals) == n_metrics:  # version 0.1.0 counted the samples of all ranks alone
            self.totals = [*self.totals, self.n_samples if is_first else 0]

    @property
    def weighs_nothing(self) -> bool:
        """Whether none of the samples of the epoch has a weight, so that it has no loss."""
        return self.n_samples > 0 and not self.total_weight

    @property
    def is_only_to_be_recorded(self) -> bool:
        """Whether the epoch is complete, with its figures, and only not on record yet."""
        return self.steps_done > 0 and not self.n_samples

    def as_tree(self) -> dict[str, Any]:
        """Return all of it in a form for a file."""
        tree = {
            _IN_FILES.get(name, name): getattr(self, name)
            for name in (*_NUMBERS, *_FLAGS, *_OTHERS)
        }
        tree["totals"] = list(self.totals)
        tree["order"] = None if self.order is None else np.array(self.order)
        tree["accumulated"] = None
        if self.n_accumulated:
            parts = self.accumulated, self.accumulated_weight, self.n_accumulated
            tree["accumulated"] = parts
        return tree


def no_totals(n_metrics: int) -> list[Any]:
    """Return the totals of metrics before the first batch."""
    return [*[0.0] * n_metrics, 0] if n_metrics else []
