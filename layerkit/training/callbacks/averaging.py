"""`WeightAverage`: a moving average of the parameters over the updates of a training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from layerkit._support import validation as check
from layerkit._support.state_checks import check_values, ranged
from layerkit._support.validation import Array
from layerkit.errors import StateError
from layerkit.models.base import Model
from layerkit.training.callbacks.base import Callback, TrainingState

__all__ = ["WeightAverage"]


class WeightAverage(Callback):
    """Keep an exponential moving average of the parameters, which often predicts better.

    After each update t, average ← d · average + (1 − d) · values with
    d = min(decay, (1 + t) / (10 + t)), so that the first updates soon have little weight. Batches
    that make an update together count once.

    Parameters
    ----------
    decay : float
        Decay rate of the average, from 0 to below 1.
    apply : bool
        Whether to set the model's parameters to the average at the end of a fit, over what
        callbacks before it in the list have restored. With False, use `applied`. A checkpoint of
        the fit has the parameters in training all the same.

    Attributes
    ----------
    average : ndarray of shape (n_parameters,) or None
        Average of the parameters, in the order of ``model.values``; None before the first fit.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

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

    average: Array | None = None  # which an earlier fit may have set, and a file may set back

    def __init__(self, decay: float = 0.999, apply: bool = False) -> None:
        where = "WeightAverage.__init__"
        self.decay = check.number(where, "decay", decay, minimum=0, below=1)
        self.apply = check.boolean(where, "apply", apply)
        self.average: Array | None = None
        self._n_steps = 0  # updates: the name in checkpoints

    def check_state(self, state: Mapping[str, Any], trainer: TrainingState) -> None:
        """Refuse an average of another model's parameters too; see `Callback.check_state`."""
        super().check_state(state, trainer)
        ranged("WeightAverage.set_state", state, _n_steps="a count")
        check_values("WeightAverage.set_state", state, "average", trainer.model.values)

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Set the average to the current parameters."""
        self.average, self._n_steps = trainer.model.values.copy(), 0

    def on_update_end(self, trainer: TrainingState) -> None:
        """Update the average."""
        assert self.average is not None  # noqa: S101 - since the training began
        self._n_steps += 1
        decay = min(self.decay, (1 + self._n_steps) / (10 + self._n_steps))
        self.average += (1 - decay) * (trainer.model.values - self.average)

    def on_train_end(self, trainer: TrainingState) -> None:
        """Set the model's parameters to the average, if ``apply`` is True."""
        if self.apply and self.average is not None:
            trainer.model.values = self.average

    @contextlib.contextmanager
    def applied(self, model: Model) -> Iterator[None]:
        """Set a model's parameters to the average inside a ``with`` block.

        Parameters
        ----------
        model : Model
            The model that was trained, or one with the same layers.

        Yields
        ------
        None
            The model has its own parameters again after the block.

        Raises
        ------
        StateError
            If there is no average yet.
        """
        if self.average is None:
            got = check.Said("none yet")
            where = "WeightAverage.applied"
            check.fail(where, "average", "computed in a training", got, error=StateError)
        own = model.values.copy()
        model.values = self.average
        try:
            yield
        finally:
            model.values = own
