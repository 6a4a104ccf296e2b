"""The three ways to fit replicas: compiled fits on all cores, all at once, or one by one."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from layerkit.config import cores
from layerkit.data.batches import ArrayBatches
from layerkit.engines.base import EngineUsed, Refused
from layerkit.engines.choice import EngineName
from layerkit.replicas.batched import BatchedFit
from layerkit.replicas.threads import in_threads
from layerkit.training.fit import Fit, sole_training
from layerkit.training.trainer import Trainer

# Seconds between two looks at the progress.
_BETWEEN_LOOKS = 0.1


class Run:
    """A training of all replicas, in one of three ways.

    Parameters
    ----------
    trainers : sequence of Trainer
        Trainers of the replicas.
    data : sequence of tuple of ArrayBatches
        Batches to train on and to evaluate for each of them.
    tell : callable
        Function that is called with the number of replicas that have ended, and the epoch.
    engine : {"auto", "numpy", "numba"}
        Engine to use; "auto" leaves the choice to each trainer.
    epochs : int
        Number of epochs, at most.
    shuffle : bool
        Whether each replica draws an order of its own.
    """

    def __init__(
        self,
        trainers: Sequence[Trainer],
        data: Sequence[tuple[ArrayBatches, ArrayBatches | None]],
        tell: Callable[..., None],
        *,
        engine: EngineName,
        epochs: int,
        shuffle: bool,
    ) -> None:
        self.trainers, self.data, self.tell, self.engine = trainers, data, tell, engine
        self.epochs, self.shuffle = epochs, shuffle
        self.errors: list[Exception | None] = [None] * len(trainers)
        self.engine_used = EngineUsed("numba", "it can train these replicas, a core for each fit")

    def train(self, refusal: str | None) -> None:
        """Train by compiled fits, unless they are refused; at once, if that can be; else singly."""
        if refusal is None:
            self._in_threads()
            return
        data, validation = self.data[0]
        try:
            at_once = BatchedFit(
                self.trainers, data, validation, self.epochs, self.shuffle, self.tell
            )
        except Refused as reason:
            words = f"{refusal}; the fits are made one after the other, since {reason}"
            self.engine_used = EngineUsed("numpy", words)
            for k in range(len(self.trainers)):
                self._fit(k)
                self.tell(k + 1)
            return
        self.engine_used = EngineUsed("numpy", f"{refusal}; all replicas are trained at once")
        if self.epochs:
            at_once.run()
        for fit in at_once.strays:
            self._run(self._place_of(fit), fit)

    def _place_of(self, fit: Fit) -> int:
        return next(k for k, t in enumerate(self.trainers) if t.model is fit.step.model)

    def _fit(self, k: int) -> None:
        """Make the fit of one replica."""
        trainer, (data, validation) = self.trainers[k], self.data[k]
        try:
            fit = trainer.setup.new_fit(
                copy.copy(data),
                copy.copy(validation),
                epochs=self.epochs,
                shuffle=self.shuffle,
                callbacks=trainer.callbacks,
                engine=trainer.engine if self.engine == "auto" else self.engine,
            )
        except Exception as error:
            self.errors[k] = error
            return
        self._run(k, fit)

    def _run(self, k: int, fit: Fit) -> None:
        """Train a fit; an error is kept, and the others go on."""
        trainer = self.trainers[k]
        try:
            with sole_training("Replicas.fit", trainer.model), trainer.setup.shown(fit):
                fit.run()
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
