"""`find_learning_rate`: the loss over learning rates that grow step by step."""

from __future__ import annotations

import copy
import importlib
import math
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.errors import NonFiniteError
from layerkit.training.callbacks.base import Callback, TrainingState
from layerkit.training.trainer import Trainer

__all__ = ["LearningRateCurve", "find_learning_rate"]

# Steps before the smoothed loss says anything, at either end of the curve.
_FEWEST = 5


class LearningRateCurve:
    """The losses of a training whose learning rate grew with each step.

    Parameters
    ----------
    learning_rates : ndarray of shape (n_steps,)
        Learning rate of each step; they grow.
    losses : ndarray of shape (n_steps,)
        Loss of each step's batch, before its update.
    smoothing : float
        Decay rate β of the smoothed losses, from 0 to below 1.

    Attributes
    ----------
    learning_rates, losses : ndarray of shape (n_steps,)
        As given.
    smoothed : ndarray of shape (n_steps,)
        Moving average of the losses: m ← β m + (1 − β) loss, and m / (1 − βᵗ) at step t.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind, shape or range.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LearningRateCurve
    >>> rates = np.geomspace(1e-4, 1, 9)
    >>> losses = np.array([1.0, 1.0, 0.98, 0.9, 0.6, 0.3, 0.25, 0.5, 4.0])
    >>> round(LearningRateCurve(rates, losses, smoothing=0.0).suggestion, 4)
    0.0056
    """

    def __init__(self, learning_rates: Array, losses: Array, smoothing: float = 0.9) -> None:
        where = "LearningRateCurve.__init__"
        self.learning_rates = check.numeric_array(
            where, "learning_rates", learning_rates, np.dtype(np.float64)
        )
        self.losses = check.numeric_array(where, "losses", losses, np.dtype(np.float64))
        check.exact_shape(where, "losses", self.losses, self.learning_rates.shape)
        beta = check.number(where, "smoothing", smoothing, minimum=0, below=1)
        self._n_averaged = round(1 / (1 - beta))
        self.smoothed, mean = np.empty_like(self.losses), 0.0
        for step, loss in enumerate(self.losses):
            mean = beta * mean + (1 - beta) * float(loss)
            self.smoothed[step] = mean / (1 - beta ** (step + 1))

    @property
    def suggestion(self) -> float | None:
        """The learning rate where the smoothed loss falls most steeply before its minimum.

        The slope is that over the logarithm of the learning rate, between steps that are
        n = 1 / (1 − β) apart, as many as the moving average is long; the first n − 1 steps, with
        fewer in it, do not count. None if the loss does not fall.
        """
        n = self._n_averaged
        rates, smoothed = self.learning_rates[n - 1 :], self.smoothed[n - 1 :]
        stop = int(np.argmin(smoothed)) + 1 if len(smoothed) else 0
        if stop <= n:
            return None
        falls = smoothed[n:stop] - smoothed[: stop - n]
        slopes = falls / np.log(rates[n:stop] / rates[: stop - n])
        k = int(np.argmin(slopes))
        return float(np.sqrt(rates[k] * rates[k + n])) if slopes[k] < 0 else None

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the learning rates; see `layerkit.plots.learning_rate_curve`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; by default, those of a new figure.

        Returns
        -------
        matplotlib Axes
            Axes with the drawing.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        plots: Any = importlib.import_module("layerkit.plots")
        return plots.learning_rate_curve(
            self.learning_rates, self.losses, ax, smoothed=self.smoothed, chosen=self.suggestion
        )

    def __repr__(self) -> str:
        """Return a text with the number of steps and the suggestion."""
        suggestion = self.suggestion
        words = "none" if suggestion is None else f"{suggestion:.2g}"
        return f"<LearningRateCurve of {len(self.losses)} steps, suggestion {words}>"


class _Enough(Exception):
    """Raised by the callback to end the fit of the copy; users never see it."""


class _Grow(Callback):
    """Set the learning rate of each step, and keep the losses."""

    def __init__(self, rates: Array, smoothing: float, rise: float) -> None:
        self.rates, self.smoothing, self.rise = rates, smoothing, rise
        self.losses: list[float] = []
        self.mean, self.least = 0.0, math.inf

    def on_batch_begin(self, trainer: TrainingState) -> None:
        trainer.optimizer.learning_rate = float(self.rates[len(self.losses)])

    def on_batch_end(self, trainer: TrainingState) -> None:
        self.losses.append(trainer.batch_loss)
        n, beta = len(self.losses), self.smoothing
        self.mean = beta * self.mean + (1 - beta) * trainer.batch_loss
        smoothed = self.mean / (1 - beta**n)
        self.least = min(self.least, smoothed)
        has_risen = smoothed - self.least > self.rise * max(abs(self.losses[0]), abs(self.least))
        if n == len(self.rates) or (has_risen and n >= _FEWEST):
            raise _Enough


def find_learning_rate(
    trainer: Trainer,
    x: Any,
    y: Any = None,
    *,
    smallest: float = 1e-6,
    largest: float = 10.0,
    n_steps: int = 100,
    batch_size: int = 32,
    smoothing: float = 0.9,
    rise: float = 1.0,
    sample_weight: Any = None,
) -> LearningRateCurve:
    """Train a copy with learning rates that grow from step to step, and return its losses.

    The trainer stays as it is, with its model, its optimizer and its generator; its callbacks and
    metrics are not called. The steps go through the data in shuffled epochs. Step k of n, counted
    from 0, has the learning rate smallest · (largest / smallest)^(k / (n − 1)); that of parameter
    groups grows in proportion. It ends early once the smoothed loss has risen above its minimum by
    ``rise`` times the first loss, or is not finite.

    Parameters
    ----------
    trainer : Trainer
        Trainer to find a learning rate for, before its first `Trainer.fit`, or after.
    x, y : array_like, Dataset, or a stream of batches
        Data, as `Trainer.fit` takes them. Of an iterator, the batches are used up.
    smallest, largest : float
        Learning rates of the first and the last step; above 0, the second larger.
    n_steps : int
        Number of steps; at least 10.
    batch_size : int
        Number of samples in a step.
    smoothing : float
        Decay rate of the smoothed loss, from 0 to below 1.
    rise : float
        Rise of the smoothed loss at which to end, as a multiple of the first loss; above 0.
    sample_weight : array_like, optional
        Weights of the samples, as for `Trainer.fit`.

    Returns
    -------
    LearningRateCurve
        Learning rates and losses, with a suggestion and a plot.

    Raises
    ------
    ArgumentError
        If an argument can't be used, or the optimizer searches for its step's length by itself.

    References
    ----------
    Smith (2017), "Cyclical learning rates for training neural networks", section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import *
    >>> x = np.random.default_rng(0).normal(size=(256, 3))
    >>> model = Sequential([Dense(3, 8, Tanh()), Dense(8, 1)], seed=0)
    >>> trainer = Trainer(model, MeanSquaredError(), Adam(), seed=0)
    >>> curve = find_learning_rate(trainer, x, x.sum(axis=1, keepdims=True))
    >>> 1e-3 < curve.suggestion < 1
    True
    """
    where = "find_learning_rate"
    check.instance(where, "trainer", trainer, Trainer)
    smallest = check.number(where, "smallest", smallest, above=0)
    largest = check.number(where, "largest", largest, above=smallest)
    n_steps = check.integer(where, "n_steps", n_steps, minimum=2 * _FEWEST)
    smoothing = check.number(where, "smoothing", smoothing, minimum=0, below=1)
    rise = check.number(where, "rise", rise, above=0)
    if trainer.optimizer.needs_closure:
        wanted = "one whose optimizer takes its learning rate as it is"
        check.fail(where, "trainer", wanted, check.Said(repr(trainer.optimizer)))
    model, optimizer = copy.deepcopy((trainer.model, trainer.optimizer))
    copied = Trainer(
        model,
        trainer.loss,
        optimizer,
        regularizers=trainer.regularizers,
        clipping=trainer.clipping,
        groups=trainer.groups,
        seed=copy.deepcopy(trainer.rng),
        engine="numpy",
    )
    grow = _Grow(np.geomspace(smallest, largest, n_steps), smoothing, rise)
    try:
        copied.fit(
            x,
            y,
            epochs=n_steps,
            batch_size=batch_size,
            sample_weight=sample_weight,
            callbacks=[grow],
            progress=False,
        )
    except (_Enough, NonFiniteError):
        pass
    return LearningRateCurve(grow.rates[: len(grow.losses)], np.array(grow.losses), smoothing)
