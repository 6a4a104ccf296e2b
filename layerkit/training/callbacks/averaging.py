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
from layerkit.models.statistics import layers_with_statistics, statistics_kept
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
        callbacks before it in the list have restored, and to compute the statistics that layers
        such as `BatchNorm` keep anew, over the training data (`Model.update_statistics`). With
        False, use `applied`. A checkpoint of the fit has what was in training all the same.

    Attributes
    ----------
    average : ndarray of shape (n_parameters,) or None
        Average of the parameters, in the order of ``model.values``; None before the first fit.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    StateError
        When a fit begins, if ``apply`` is True, layers keep statistics, and the data can't be gone
        through again: an iterator, or streams of which each rank has a part.

    References
    ----------
    Polyak & Juditsky (1992), "Acceleration of stochastic approximation by averaging". Izmailov et
    al. (2018), "Averaging weights leads to wider optima and better generalization", section 3.2,
    for the statistics.

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
        if self.apply and layers_with_statistics(trainer.model) and not trainer.can_repeat_data:
            wanted = "data that can be gone through again, for the statistics that layers keep"
            got = check.Said("a stream that can't, or a part of one")
            remedy = "Pass apply=False, and write average.applied(model, x)."
            check.fail("WeightAverage.on_train_begin", "x", wanted, got, remedy, error=StateError)
        self.average, self._n_steps = trainer.model.values.copy(), 0

    def on_update_end(self, trainer: TrainingState) -> None:
        """Update the average."""
        assert self.average is not None  # noqa: S101 - since the training began
        self._n_steps += 1
        decay = min(self.decay, (1 + self._n_steps) / (10 + self._n_steps))
        self.average += (1 - decay) * (trainer.model.values - self.average)

    def on_train_end(self, trainer: TrainingState) -> None:
        """Set the model's parameters to the average, if ``apply`` is True."""
        if not self.apply or self.average is None:
            return
        model = trainer.model
        own = model.values.copy()
        model.values = self.average
        try:
            if layers_with_statistics(model):
                trainer.update_statistics()
        except BaseException:
            model.values = own  # which the statistics are of
            raise

    @contextlib.contextmanager
    def applied(self, model: Model, x: Any = None) -> Iterator[None]:
        """Set a model's parameters to the average inside a ``with`` block.

        Parameters
        ----------
        model : Model
            The model that was trained, or one with the same layers.
        x : array_like of shape (n_samples, *input_shape), or a dict of such
            Inputs of the training, for the statistics that layers such as `BatchNorm` keep; needed
            if there are such layers.

        Yields
        ------
        None
            The model has its own parameters and statistics again after the block.

        Raises
        ------
        ArgumentError
            If layers keep statistics and there is no x, or one that can't be used.
        StateError
            If there is no average yet.
        """
        if self.average is None:
            got = check.Said("none yet")
            where = "WeightAverage.applied"
            check.fail(where, "average", "computed in a training", got, error=StateError)
        keeps_statistics = bool(layers_with_statistics(model))
        if keeps_statistics and x is None:
            wanted = "given, for a model whose layers keep statistics, such as BatchNorm"
            remedy = "Pass the inputs that the model was trained on."
            check.fail("WeightAverage.applied", "x", wanted, None, remedy)
        own = model.values.copy()
        with statistics_kept(model):
            model.values = self.average
            try:
                if keeps_statistics:
                    model.update_statistics(x)
                yield
            finally:
                model.values = own
