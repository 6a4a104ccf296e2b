"""`Callback`, the base of what happens around training, and `TrainingState`, what it may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from layerkit._support.repr import ConstructorRepr
from layerkit._support.state import restore, state_of
from layerkit._support.state_checks import check_state, is_ours, ranged
from layerkit.communication.base import Communicator
from layerkit.losses import Loss
from layerkit.metrics import Metric
from layerkit.models.base import Model
from layerkit.optimizers import Optimizer
from layerkit.storage.files import Path
from layerkit.training.history import History

__all__ = ["Callback", "TrainingState"]

# What a callback may change of itself in training, besides what it sets in its constructor.
_STATE_OF_ALL = frozenset({"period"})


class TrainingState(Protocol):
    """The training as a callback sees it: the contract between `Trainer` and each `Callback`.

    Every hook receives an object with these members. In a fit it is the `Trainer` itself, which
    has more; a callback that uses only what is listed here works with anything that trains, and
    can be tested with a simple object in place of a trainer.

    A callback may change the model's parameters and layers, and the settings of the optimizer
    (such as ``optimizer.learning_rate``) in every hook: the next step uses the new values. It
    does not replace the objects, add to the history, or call `Trainer.fit`; it ends the training
    with `stop`.

    See Also
    --------
    Callback : The hooks, and when they are called.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import *
    >>> def halve_learning_rate(state: TrainingState) -> None:
    ...     state.optimizer.learning_rate /= 2
    ...     if state.epoch == 3:
    ...         state.stop()
    >>> callback = LambdaCallback(on_epoch_end=halve_learning_rate)
    >>> optimizer = SGD(0.8)
    >>> trainer = Trainer(Sequential([Dense(1, 1)]), HalfSquaredError(), optimizer)
    >>> x = np.zeros((6, 1))
    >>> trainer.fit(x, x, epochs=10, callbacks=[callback]).n_epochs
    3
    >>> optimizer.learning_rate
    0.1
    """

    @property
    def model(self) -> Model:
        """The model that is trained."""

    @property
    def loss(self) -> Loss:
        """The loss function that is minimised."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; ``optimizer.n_steps`` counts its steps over all epochs and fits.

        `Callback.on_update_end` follows each of them. Of batches that make an update together,
        the others leave the count as it is.
        """

    @property
    def metrics(self) -> Sequence[Metric]:
        """The metrics that are recorded besides the loss."""

    @property
    def epochs(self) -> int:
        """The number of epochs that the fit is to have in all."""

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 1; 0 before the first."""

    @property
    def step(self) -> int:
        """The current batch of the epoch, counted from 1; 0 before the first."""

    @property
    def batch_loss(self) -> float:
        """The loss of the last batch, before its update; NaN before the first batch."""

    @property
    def history(self) -> History:
        """The loss and each metric of the epochs that are finished."""

    @property
    def communicator(self) -> Communicator:
        """The connection of the processes that train together; its ``rank`` is 0 for one alone."""

    @property
    def can_repeat_data(self) -> bool:
        """Whether `update_statistics` can go through the training data.

        It can't where they come from an iterator, or from streams of which each rank has a part.
        """

    def update_statistics(self) -> None:
        """Compute the statistics that layers keep over all inputs of the training data.

        See `Model.update_statistics`. Over several ranks, all of them call it, and each goes
        through all samples.

        Raises
        ------
        StateError
            If `can_repeat_data` is False.
        """

    def stop(self) -> None:
        """End the training after the current epoch."""

    def save_checkpoint(self, path: Path) -> None:
        """Save all that `Trainer.resume` needs to continue after the current hook.

        Over several ranks, all of them call it.

        Parameters
        ----------
        path : str or path-like
            Path of the file to write.
        """

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int = 1024,
        sample_weight: Any = None,
        steps: int | None = None,
        metrics: Sequence[Metric] | None = None,
    ) -> dict[str, Any]:
        """Return the loss and the metrics on other data, as `Trainer.evaluate` does.

        Over several ranks, all of them call it.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape), Dataset, or a stream of batches
            Inputs.
        y : array_like of shape (n_samples, ...), optional
            Targets, unless ``x`` has them.
        batch_size : int
            Number of samples for each forward pass.
        sample_weight : array_like of shape (n_samples,), optional
            Weight of each sample in the loss.
        steps : int, optional
            Number of batches to take from a stream.
        metrics : sequence of Metric, optional
            Metrics to compute in place of the trainer's own.

        Returns
        -------
        dict of str to float
            ``"loss"`` and each metric by name.
        """


class Callback(ConstructorRepr):
    """Base class of callbacks: a subclass overrides the hooks that it needs.

    Each hook receives the training as a `TrainingState`: the model, the optimizer, the epoch, the
    history and so on, and ``stop()``.

    The hooks after an update, a batch, or an epoch are called for all callbacks, even if one of
    them fails, and Ctrl-C waits for them; so a fit that is interrupted can be resumed exactly. It
    repeats the hooks before the batch or the epoch that had just begun.

    Attributes
    ----------
    period : int
        Number of epochs from one call of `on_epoch_end` to the next, and of `on_epoch_begin` too:
        with 100, after epochs 100, 200, … and before epochs 1, 101, …. The history has the epochs
        in between as well. An epoch of a small network takes about a microsecond, less than one
        call of a Python function.
    runs_last : bool
        Whether the hooks are called after those of other callbacks; for callbacks that save.
    recorded_names : tuple of str
        Names of what the callback adds to the history of each epoch, by `recorded_figures`.
    only_on_rank_0 : bool
        Whether, in a training over several ranks, the hooks are called on rank 0 only; for
        callbacks that write files or show something.

    See Also
    --------
    TrainingState : The members that a hook may use.
    LambdaCallback : A callback made of functions.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import SGD, Callback, Dense, HalfSquaredError, Sequential, Trainer
    >>> class CountSteps(Callback):
    ...     n_steps = 0
    ...     def on_batch_end(self, trainer):
    ...         self.n_steps += 1
    >>> counter = CountSteps()
    >>> trainer = Trainer(Sequential([Dense(1, 1)]), HalfSquaredError(), SGD(0.1))
    >>> x = np.zeros((6, 1))
    >>> _ = trainer.fit(x, x, epochs=2, batch_size=2, callbacks=[counter])
    >>> counter.n_steps
    6
    """

    period: int = 1
    runs_last: bool = False
    only_on_rank_0: bool = False
    recorded_names: tuple[str, ...] = ()

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Run before the first epoch of a fit.

        Parameters
        ----------
        trainer : TrainingState
            The training.
        """

    def on_train_end(self, trainer: TrainingState) -> None:
        """Run after the last epoch, and after an interruption too, to clean up.

        What it changes of the model or of the optimizer's settings is for use after the fit: a
        checkpoint of this fit has what was there before, so that it can be gone on from.

        Parameters
        ----------
        trainer : TrainingState
            The training.
        """

    def on_epoch_begin(self, trainer: TrainingState) -> None:
        """Run before an epoch.

        Parameters
        ----------
        trainer : TrainingState
            The training.
        """

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Run after an epoch, whose figures are the last ones in ``trainer.history``.

        Parameters
        ----------
        trainer : TrainingState
            The training.
        """

    def recorded_figures(self, trainer: TrainingState) -> Mapping[str, float]:
        """Return what the callback adds to the history of an epoch, before `on_epoch_end`.

        It is called for each epoch and, over several ranks, on all of them. Training is then by
        single epochs, as with validation data.

        Parameters
        ----------
        trainer : TrainingState
            The training.

        Returns
        -------
        dict of str to float
            One number for each name in ``recorded_names``.
        """
        return {}

    def on_batch_begin(self, trainer: TrainingState) -> None:
        """Run before a batch.

        Parameters
        ----------
        trainer : TrainingState
            The training.
        """

    def on_update_end(self, trainer: TrainingState) -> None:
        """Run after an update of the parameters, before the end of the batch that made it.

        That is after each batch; with ``accumulate=k``, after each k-th batch, and after the last
        one of an epoch for those that are left (then, after the end of that batch). What is to be
        resumed exactly is saved in `on_batch_end`, which a resumed fit does not call again either.

        Parameters
        ----------
        trainer : TrainingState
            The training.
        """

    def on_batch_end(self, trainer: TrainingState) -> None:
        """Run after a batch and its update.

        Parameters
        ----------
        trainer : TrainingState
            The training.
        """

    def get_state(self) -> dict[str, Any]:
        """Return the state that a checkpoint keeps of the callback.

        Returns
        -------
        dict of str to object
            By default, the attributes that hold data and are not arguments of the constructor.
        """
        return state_of(self)

    def check_state(self, state: Mapping[str, Any], trainer: TrainingState) -> None:
        """Refuse a state from a file that the callback can't have, before anything is changed.

        Unless overridden, it may have the names of `get_state`, with values of the same kinds; for
        a class of one's own also other plain data, under names that are no attributes or arguments
        of the class. It never sets what the constructor was given. A subclass may refuse more,
        such as numbers out of their range.

        Parameters
        ----------
        state : dict of str to object
            State to judge.
        trainer : TrainingState
            The training that is resumed.

        Raises
        ------
        LoadError
            If it is not one that such a callback can have.
        """
        self._check_names(state)
        ranged(f"{type(self).__name__}.set_state", state, period="a count of at least 1")

    def _check_names(self, state: Mapping[str, Any]) -> None:
        where, more = f"{type(self).__name__}.set_state", not is_ours(type(self))
        try:
            own = self.get_state()
        except Exception:  # of a class of one's own, that can't say before training begins
            own = state_of(self)
        check_state(where, self, state, own, also=_STATE_OF_ALL, takes_more=more)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state; called after `on_train_begin` of a resumed fit.

        Parameters
        ----------
        state : dict of str to object
            The return value of `get_state`.

        Raises
        ------
        LoadError
            If it is not one that the callback can have; then nothing has changed.
        """
        self._check_names(state)
        restore(self, state)
