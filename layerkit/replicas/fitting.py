"""The three ways to fit replicas: compiled fits on all cores, all at once, or one by one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from layerkit.config import cores
from layerkit.data.batches import ArrayBatches
from layerkit.engines.compiled import EngineUsed, Refused
from layerkit.replicas.batched import BatchedFit
from layerkit.replicas.threads import in_threads
from layerkit.training.trainer import Trainer

# Seconds between two looks at the progress.
_BETWEEN_LOOKS = 0.1


class Run:
    """A fit of all replicas, in one of three ways."""

    def __init__(
        self,
        trainers: Sequence[Trainer],
        data: ArrayBatches,
        tell: Callable[..., None],
        arguments: dict[str, Any],
    ) -> None:
        self.trainers, self.data, self.tell, self.arguments = trainers, data, tell, arguments
        self.errors: list[Exception | None] = [None] * len(trainers)
        self.engine_used = EngineUsed("numba", "it can train these replicas, a core for each fit")

    def train(self, validation: ArrayBatches | None, refusal: str | None) -> None:
        """Train by compiled fits, unless they are refused; at once, if that can be; else singly."""
        epochs, shuffle = self.arguments["epochs"], self.arguments["shuffle"]
        if refusal is None:
            self._in_threads()
            return
        try:
            at_once = BatchedFit(self.trainers, self.data, validation, epochs, shuffle, self.tell)
        except Refused as reason:
            words = f"{refusal}; the fits are made one after the other, since {reason}"
            self.engine_used = EngineUsed("numpy", words)
            for k in range(len(self.trainers)):
                self._fit(k)
                self.tell(k + 1)
            return
        self.engine_used = EngineUsed("numpy", f"{refusal}; all replicas are trained at once")
        for trainer in self.trainers:
            trainer.engine = "numpy"
        if epochs:
            at_once.run()
        for trainer in at_once.strays:
            at_once.go_on(trainer)
            self._fit(self.trainers.index(trainer))

    def _fit(self, k: int) -> None:
        """Let a trainer make its own fit; an error is kept, and the others go on."""
        try:
            self.trainers[k].fit(self.data.x, self.data.y, **self.arguments)
        except Exception as error:
            self.errors[k] = error

    def _in_threads(self) -> None:
        """Make the fits on all cores: the compiled epochs don't hold Python's lock."""
        calls = [partial(self._fit, k) for k in range(len(self.trainers))]
        in_threads(calls, self.tell, lambda k: self.trainers[k].stop(), len(cores()))


class Line:
    """Shows how many replicas have ended, in a line that is written over."""

    def __init__(self, n_replicas: int, is_shown: bool) -> None:
        self.n_replicas, self.is_shown = n_replicas, is_shown
        self._looked, self._width = 0.0, 0

    def tell(self, n_ended: int, epoch: int | None = None) -> None:
        """Show it, if the last look is some time ago."""
        now = time.monotonic()
        if self.is_shown and now - self._looked > _BETWEEN_LOOKS:
            self._looked = now
            at = "" if epoch is None else f", epoch {epoch:,}"
            text = f"{n_ended:,} of {self.n_replicas:,} replicas have ended{at}"
            sys.stderr.write("\r" + text.ljust(self._width))
            sys.stderr.flush()
            self._width = len(text)

    def close(self) -> None:
        """Leave the line empty."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
