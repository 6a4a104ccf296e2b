"""`WeightAverage`: the parameters, averaged over the steps of a training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.errors import StateError
from layerkit.models.sequential import Sequential
from layerkit.training.callbacks.base import Callback, TrainingState

__all__ = ["WeightAverage"]


class WeightAverage(Callback):
    """Keep an exponential moving average of the parameters, which often predicts better.

    After each step t, average ← d · average + (1 − d) · values with
    d = min(decay, (1 + t) / (10 + t)), so that the beginning is soon forgotten.

    Parameters
    ----------
    decay : float
        How much of the average each step leaves; from 0 to below 1.
    apply : bool
        Whether the model ends a fit with the average. Otherwise `applied` lends it.

    Attributes
    ----------
    average : ndarray of shape (n_parameters,) or None
        The average, in the order of ``model.values``.

    References
    ----------
    Polyak & Juditsky (1992), "Acceleration of stochastic approximation by averaging".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SGD, Dense, HalfSquaredError, Sequential, Trainer, WeightAverage
    >>> model, average = Sequential([Dense(1, 1)], seed=0), WeightAverage(0.9)
    >>> trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[average])
    >>> x = np.ones((8, 1))
    >>> _ = trainer.fit(x, 2 * x, epochs=5, batch_size=2)
    >>> with average.applied(model):
    ...     averaged = model.predict(x)
    """

    def __init__(self, decay: float = 0.999, apply: bool = False) -> None:
        where = "WeightAverage.__init__"
        self.decay = check.number(where, "decay", decay, minimum=0, below=1)
        self.apply = check.boolean(where, "apply", apply)
        self.average: Array | None = None
        self._n_steps = 0

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Begin anew, with the parameters as they are."""
        self.average, self._n_steps = trainer.model.values.copy(), 0

    def on_batch_end(self, trainer: TrainingState) -> None:
        """Bring the average up to date."""
        assert self.average is not None  # noqa: S101 - since the training began
        self._n_steps += 1
        decay = min(self.decay, (1 + self._n_steps) / (10 + self._n_steps))
        self.average += (1 - decay) * (trainer.model.values - self.average)

    def on_train_end(self, trainer: TrainingState) -> None:
        """Give the average to the model, if asked for."""
        if self.apply and self.average is not None:
            trainer.model.values = self.average

    @contextlib.contextmanager
    def applied(self, model: Sequential) -> Iterator[None]:
        """Lend the average to a model: inside a ``with`` block it predicts by it.

        Parameters
        ----------
        model : Sequential
            The one that was trained, or one like it.

        Raises
        ------
        StateError
            If there is no average yet.
        """
        if self.average is None:
            got = check.Said("none yet")
            where = "WeightAverage.applied"
            check.fail(where, "average", "that of a training", got, error=StateError)
        own = model.values.copy()
        model.values = self.average
        try:
            yield
        finally:
            model.values = own
