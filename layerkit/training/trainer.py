"""`Trainer`: brings data, a model, a loss and an optimizer together."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit.communication.base import Communicator, SerialCommunicator
from layerkit.data.batches import Batches
from layerkit.data.preparation import Preparation
from layerkit.engines.base import EngineUsed
from layerkit.engines.choice import EngineName
from layerkit.engines.tables import load_kernels
from layerkit.losses import Loss
from layerkit.losses.regularizers import Regularizer
from layerkit.metrics import Metric
from layerkit.models.sequential import Sequential
from layerkit.optimizers import Optimizer
from layerkit.optimizers.clipping import Clipping
from layerkit.optimizers.parameter_groups import GroupedStep, ParameterGroup
from layerkit.steps.connected import ranks_of
from layerkit.steps.position import Position
from layerkit.steps.rules import GradientRules
from layerkit.steps.step import TrainingStep
from layerkit.steps.updates import Updates
from layerkit.storage.files import Path
from layerkit.training.callbacks import Callback, ProgressBar
from layerkit.training.checkpoint import Resumed, Saved, checkpoint_tree, read_checkpoint
from layerkit.training.evaluation import evaluate
from layerkit.training.fit import Fit, sole_training
from layerkit.training.history import History
from layerkit.training.hooks import Hooks

__all__ = ["Trainer"]


class Trainer:
    """Trains a model by gradient descent, online (``batch_size=1``) or by minibatches.

    Parameters
    ----------
    model : Sequential
        What is trained, in place.
    loss : Loss
        What is minimised.
    optimizer : Optimizer
        How; one for each model.
    metrics : sequence of Metric
        What is watched besides; in training, taken before each update.
    callbacks : sequence of Callback
        What happens around it, in each `fit`.
    regularizers : sequence of Regularizer
        What the parameters add to the loss, in training and in evaluation.
    clipping : Clipping, optional
        How gradients are kept from growing too long.
    groups : sequence of ParameterGroup
        Settings of the optimizer for some of the layers.
    seed : int or numpy.random.Generator, optional
        Where the order of shuffled samples comes from, and the validation split.
    engine : {"auto", "numpy", "numba"}
        What runs the epochs of `fit`. "numpy" goes through the layers batch by batch; "numba"
        compiles whole epochs into one call, for chains of `Dense` layers with the losses and
        activations of layerkit (and those that have `Activation.scalar_functions`), SGD, and
        arrays. "auto" takes numba where it is installed, can serve, and is faster. Both give
        the same numbers up to rounding.
    communicator : Communicator, optional
        Connects the processes that train the model together, such as `MPICommunicator`. All of
        them make the same calls with the same arguments, and `batch_size` counts the samples of
        all: k ranks make the steps of one, each with its part of each batch. Rank 0's model,
        optimizer and order of samples are given to all; a stream, and a `train_step`, has a part of
        each batch on each rank; random layers draw numbers of their own on each.

    Attributes
    ----------
    engine_used : EngineUsed or None
        Which engine served in the last fit, and why.
    history : History
        The record of the last fit, as far as it got.
    epochs : int
        How many epochs the current fit is to have.
    epoch, step : int
        The current epoch, and the batch in it, counted from 1.
    batch_loss : float
        The loss of the last batch, before its update.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind, or two metrics share a name.
    MissingExtraError
        If ``engine="numba"``, and numba is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import *
    >>> x = np.eye(8)
    >>> model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())], seed=0)
    >>> trainer = Trainer(model, HalfSquaredError(), SGD(1.0), metrics=[SquaredDistance()], seed=0)
    >>> history = trainer.fit(x, x, epochs=200, batch_size=1)
    >>> history["squared_distance"][-1] < history["squared_distance"][0]
    True
    """

    def __init__(
        self,
        model: Sequential,
        loss: Loss,
        optimizer: Optimizer,
        *,
        metrics: Sequence[Metric] = (),
        callbacks: Sequence[Callback] = (),
        regularizers: Sequence[Regularizer] = (),
        clipping: Clipping | None = None,
        groups: Sequence[ParameterGroup] = (),
        seed: int | np.random.Generator | None = None,
        engine: EngineName = "auto",
        communicator: Communicator | None = None,
    ) -> None:
        where = "Trainer.__init__"
        self.model = check.instance(where, "model", model, Sequential)
        self.loss = check.instance(where, "loss", loss, Loss)
        self.optimizer = check.instance(where, "optimizer", optimizer, Optimizer)
        self.metrics = check.instances(where, "metrics", metrics, Metric)
        self.callbacks = check.instances(where, "callbacks", callbacks, Callback)
        self.regularizers = check.instances(where, "regularizers", regularizers, Regularizer)
        self.clipping = clipping
        if clipping is not None:
            check.instance(where, "clipping", clipping, Clipping)
        self.groups = check.instances(where, "groups", groups, ParameterGroup)
        _check_names(where, self.metrics)
        self.rng = check.generator(where, "seed", seed)
        check.choice(where, "engine", engine, ("auto", "numpy", "numba"))
        self.engine: EngineName = engine
        if engine == "numba":
            load_kernels(where)
        if communicator is None:
            communicator = SerialCommunicator()
        self.communicator = check.instance(where, "communicator", communicator, Communicator)
        self._ranks = ranks = ranks_of(communicator, model)
        rules = GradientRules(model, self.regularizers, clipping)
        grouped = GroupedStep(where, model, optimizer, self.groups) if self.groups else None
        updates = Updates(model, optimizer, ranks, grouped)
        self._prepared = Preparation(model, loss, self.metrics, communicator)
        self._step = TrainingStep(model, loss, optimizer, self.metrics, rules, updates, ranks)
        self.engine_used: EngineUsed | None = None
        self.history, self.epochs = History([]), 0
        self.position, self._hooks = Position(), Hooks(self, [])
        self._resumed: Resumed | None = None
        self._scratch = Position()
        self._n_steps = 0

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 1."""
        return self.position.epoch

    @property
    def step(self) -> int:
        """The current batch of the epoch, counted from 1."""
        return self.position.step

    @property
    def batch_loss(self) -> float:
        """The loss of the last batch, before its update; NaN before the first."""
        return self.position.batch_loss

    @property
    def is_resumed(self) -> bool:
        """Whether the next fit goes on with one that a checkpoint holds."""
        return self._resumed is not None

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: Any = None,
        validation_split: float | None = None,
        stratify: bool = False,
        steps_per_epoch: int | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | str | None = None,
        accumulate: int = 1,
        callbacks: Sequence[Callback] = (),
        progress: bool | None = None,
    ) -> History:
        """Train for some epochs.

        An epoch's loss is the mean over its samples, each taken before its update. After
        `resume`, the fit that was interrupted goes on, up to ``epochs`` in all.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape), Dataset, or a stream of batches
            The inputs. A `Dataset` has the targets too, and so has a stream: an iterator, an
            iterable (gone through anew in each epoch) or a function that gives one, of batches
            ``(x, y)`` or ``(x, y, sample_weight)``.
        y : array_like of shape (n_samples, ...)
            The targets, in the form that the loss takes.
        epochs : int
            How often to go through the data; 0 does nothing.
        batch_size : int
            Samples an update: 1 is online training. The last batch of an epoch may be smaller.
        shuffle : bool
            Whether each epoch draws a new order of the samples.
        validation_data : tuple of array_like, Dataset or stream, optional
            ``(x, y)`` or ``(x, y, sample_weight)`` that are evaluated after each epoch.
        validation_split : float, optional
            The share of the samples to evaluate instead, drawn at random; they are not trained on.
        stratify : bool
            Whether the split takes its share of each class.
        steps_per_epoch : int, optional
            With a stream: how many batches make an epoch. Only an iterator needs it.
        sample_weight : array_like of shape (n_samples,), optional
            How much each sample counts; the loss is Σ weight · loss / Σ weight. Metrics are not
            weighted.
        class_weight : dict of int to float or {"balanced"}, optional
            How much the samples of each class count; 1 for a class that is not named.
        accumulate : int
            How many batches make an update together, whose gradient is the mean over all of
            their samples: as a batch so many times as large would, in less memory.
        callbacks : sequence of Callback
            Further callbacks, for this fit alone.
        progress : bool, optional
            Whether to show a `ProgressBar`; by default, on a terminal.

        Returns
        -------
        History
            The loss and each metric by epoch.

        Raises
        ------
        ArgumentError
            If the data, or an argument, can't be used, or ``engine="numba"`` can't train this
            model; the model has not changed then.
        StateError
            If the model is being trained already, by a callback or in another thread.
        NonFiniteError
            If a NaN or an infinity turns up; the parameters stay at their last finite values.
        """
        where = "Trainer.fit"
        epochs = check.integer(where, "epochs", epochs, minimum=0)
        batch_size = check.integer(where, "batch_size", batch_size, minimum=1)
        shuffle = check.boolean(where, "shuffle", shuffle)
        accumulate = check.integer(where, "accumulate", accumulate, minimum=1)
        active = self._active(where, callbacks, progress, epochs)
        with sole_training(where, self.model):
            with self._ranks.together(where, self._facts) as facts:
                data = self._preparation(self.metrics).batches(
                    where,
                    x,
                    y,
                    batch_size,
                    steps_per_epoch=steps_per_epoch,
                    sample_weight=sample_weight,
                    class_weight=class_weight,
                )
                facts |= {
                    "epochs": epochs,
                    "batch_size": batch_size,
                    "shuffle": shuffle,
                    "accumulate": accumulate,
                    "the number of samples": getattr(data, "n_samples", "that of a stream"),
                    "steps_per_epoch": data.steps_per_epoch,
                    "callbacks": sorted(type(c).__name__ for c in active if _is_compared(c)),
                    "validation": (validation_data is not None, validation_split, stratify),
                }
            self._resumed = self._ranks.synchronise(self.optimizer, self.rng, self._resumed)
            with self._order_kept_on_error():
                data, validation = self._divided(
                    data, validation_data, validation_split, stratify=stratify
                )
                fit = self.new_fit(
                    data,
                    validation,
                    epochs=epochs,
                    shuffle=shuffle,
                    accumulate=accumulate,
                    callbacks=active,
                )
            self.run(fit)
        return self.history

    def new_fit(
        self,
        data: Batches,
        validation: Batches | None = None,
        *,
        epochs: int,
        shuffle: bool = True,
        accumulate: int = 1,
        callbacks: Sequence[Callback] = (),
        engine: EngineName | None = None,
    ) -> Fit:
        """Return a fit on batches that are prepared, which `run` trains; nothing changes.

        `fit` is the way to train; this is for code that trains many models in a way of its own.

        Parameters
        ----------
        data : Batches
            Batches to train on.
        validation : Batches, optional
            Batches to evaluate after each epoch.
        epochs, shuffle, accumulate
            As in `fit`.
        callbacks : sequence of Callback
            All callbacks of this fit.
        engine : {"auto", "numpy", "numba"}, optional
            Engine to use instead of the trainer's.

        Returns
        -------
        Fit
            The fit; after `resume`, the one that was interrupted.
        """
        return Fit(
            self,
            self._current_step(),
            self.rng,
            data,
            validation,
            epochs=epochs,
            shuffle=shuffle,
            n_batches=accumulate,
            callbacks=callbacks,
            engine="numpy" if not epochs else engine or self.engine,
            n_steps_before=self._n_steps,
            has_groups=bool(self.groups),
            resumed=self._resumed,
        )

    def run(self, fit: Fit) -> None:
        """Train a fit of `new_fit`, and keep the record of it.

        Parameters
        ----------
        fit : Fit
            A fit of this trainer.
        """
        self.take_up(fit)
        if fit.epochs:
            try:
                fit.run()
            finally:
                self.engine_used = fit.engine_used

    def take_up(self, fit: Fit) -> None:
        """Make a fit the current one, whose position and record this trainer shows.

        Parameters
        ----------
        fit : Fit
            A fit of this trainer.
        """
        self.history, self.epochs, self.position = fit.history, fit.epochs, fit.position
        if fit.epochs:
            self._hooks, self.engine_used, self._resumed = fit.hooks, fit.engine_used, None
            self._n_steps += fit.epochs * (fit.data.steps_per_epoch or 0)

    def _active(
        self, where: str, callbacks: Sequence[Callback], progress: bool | None, epochs: int
    ) -> list[Callback]:
        """Return the callbacks of a fit."""
        active = [*self.callbacks, *check.instances(where, "callbacks", callbacks, Callback)]
        for callback in active:
            check.integer(where, f"the period of {callback!r}", callback.period, minimum=1)
        if progress is None:
            progress = sys.stderr.isatty() and epochs > 0
        if check.boolean(where, "progress", progress) and self.communicator.rank == 0:
            if all(map(_is_compared, active)):
                active.append(ProgressBar())
        return active

    def _facts(self) -> dict[str, object]:
        """Return what has to be the same on all ranks, whatever is done."""
        return {
            "loss": self.loss,
            "optimizer": type(self.optimizer).__name__,
            "metrics": self.metrics,
            "seed": type(self.rng.bit_generator).__name__,
        }

    def _current_step(self) -> TrainingStep:
        """Return the step as the trainer's attributes say now, which may have been assigned to."""
        step = self._step
        step.loss, step.metrics, step.n_batches = self.loss, self.metrics, 1
        step.value_and_gradient = self.loss.value_and_gradient
        return step

    def _preparation(self, metrics: Sequence[Metric]) -> Preparation:
        """Return the checks of data, likewise."""
        preparation = self._prepared
        preparation.loss, preparation.metrics = self.loss, metrics
        return preparation

    @contextlib.contextmanager
    def _order_kept_on_error(self) -> Iterator[None]:
        """Leave the generator as it was if what needs it is refused."""
        before = self.rng.bit_generator.state
        try:
            yield
        except BaseException:
            self.rng.bit_generator.state = before
            raise

    def _divided(
        self, data: Batches, validation_data: Any, share: float | None, *, stratify: bool
    ) -> tuple[Batches, Batches | None]:
        """Return the batches to train on and to evaluate, of each this rank's part."""
        where, preparation = "Trainer.fit", self._preparation(self.metrics)
        validation: Batches | None = None
        if share is not None:
            if validation_data is not None:
                wanted = "None with validation_data"
                check.fail(where, "validation_split", wanted, share)
            known = self._resumed["progress"]["held_out"] if self._resumed else None
            data, validation = preparation.split(where, data, share, stratify, self.rng, known)
        elif validation_data is not None:
            validation = preparation.validation(where, validation_data)
        for batches in (data, validation):
            if batches is not None:
                batches.divide(self.communicator.rank, self.communicator.size)
        return data, validation

    def train_step(self, x: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Make one update on one batch, for a training loop of one's own or an endless stream.

        Parameters
        ----------
        x : array_like of shape (batch_size, *input_shape)
            The inputs.
        y : array_like of shape (batch_size, ...)
            The targets.
        sample_weight : array_like of shape (batch_size,), optional
            How much each sample counts.

        Returns
        -------
        float
            The batch's loss, before the update.

        Raises
        ------
        ArgumentError
            If the batch can't be used.
        NonFiniteError
            If a NaN or an infinity turns up; the parameters stay at their last finite values.
        """
        where = "Trainer.train_step"
        batch = self._preparation(self.metrics).batch(where, x, y, sample_weight)
        if not self._ranks.is_synchronised:
            with self._ranks.together(where, self._facts):
                pass
            self._resumed = self._ranks.synchronise(self.optimizer, self.rng, self._resumed)
        self._ranks.begin_step(self.optimizer.n_steps, batch)
        step, updates = self._current_step(), self._step.updates
        updates.prepare()
        with np.errstate(all="ignore"):
            try:
                return step(*batch, self._scratch, lambda: f"{where}: the loss")
            finally:
                updates.release()

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
        """Compute the loss and the metrics, and change nothing; on all ranks, if there are several.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape), Dataset, or a stream of batches
            The inputs, as `fit` takes them.
        y : array_like of shape (n_samples, ...)
            The targets.
        batch_size : int
            How many samples to take at a time, to save memory.
        sample_weight : array_like of shape (n_samples,), optional
            How much each sample counts in the loss.
        steps : int, optional
            With a stream: how many batches to take. Only an iterator needs it.
        metrics : sequence of Metric, optional
            What to compute instead of the trainer's own; `ConfusionMatrix` among them.

        Returns
        -------
        dict of str to float
            ``"loss"`` and each metric by name, over all samples.

        Raises
        ------
        ArgumentError
            If the data can't be used.
        """
        where = "Trainer.evaluate"
        batch_size = check.integer(where, "batch_size", batch_size, minimum=1)
        chosen = self.metrics
        if metrics is not None:
            chosen = check.instances(where, "metrics", metrics, Metric)
        with self._ranks.together(where, self._facts) as facts:
            data = self._preparation(chosen).batches(
                where,
                x,
                y,
                batch_size,
                steps_per_epoch=steps,
                sample_weight=sample_weight,
                is_training=False,
            )
            facts["the number of samples"] = getattr(data, "n_samples", "that of a stream")
        data.divide(self.communicator.rank, self.communicator.size)
        return evaluate(self._current_step(), data, chosen)

    def save_checkpoint(self, path: Path) -> None:
        """Write all that the training needs to go on, bit for bit: anywhere, at any time.

        All ranks call it, and rank 0 writes the file, with what each of them has of its own.

        The parameters and the layers' states, the optimizer's, every generator's, the order of
        the epoch and the place in it, the callbacks' states and the history. From a callback, it
        is what holds after that hook; after a fit that was interrupted, at its last whole update.

        Parameters
        ----------
        path : str or path-like
            The file; written whole or not at all, as by `Sequential.save`.

        Raises
        ------
        SaveError
            If the file can't be written, or a state can't be put into one.
        """
        saved = Saved(self.model, self.optimizer, self.rng)
        tree = checkpoint_tree(saved, self.position, self._hooks, self.history)
        self._ranks.write_checkpoint("Trainer.save_checkpoint", path, tree)

    def resume(self, path: Path) -> None:
        """Go back to a checkpoint; the next `fit` goes on with the fit that it was saved in.

        That fit is to have the arguments that the other had. ``epochs`` counts from the other's
        beginning: a run of 100 epochs that was killed is ended by the same ``epochs=100``, and a
        program that calls ``resume`` wherever a checkpoint is found can be started again and again.
        An iterator is to give all batches from the beginning once more; those that were trained on
        are left out. Of several ranks, it is enough if rank 0 calls it: their next fit begins where
        rank 0 is, on the same number of them to the last bit, on another up to rounding.

        Parameters
        ----------
        path : str or path-like
            What `save_checkpoint` wrote, by a trainer that was made like this one.

        Raises
        ------
        LoadError
            If the file is missing, damaged, or of another model or optimizer; then nothing has
            changed.
        """
        saved = Saved(self.model, self.optimizer, self.rng)
        self._resumed = read_checkpoint("Trainer.resume", path, saved)

    def stop(self) -> None:
        """End training after the current epoch; for callbacks."""
        self.position.stopped = True


def _is_compared(callback: Callback) -> bool:
    """Return whether a callback is to be on all ranks, and in a fit that is resumed."""
    return not isinstance(callback, ProgressBar)


def _check_names(where: str, metrics: Sequence[Metric]) -> None:
    """Refuse metrics that can't be recorded, each under a name of its own."""
    for metric in metrics:
        if not metric.is_figure:
            remedy = "Write trainer.evaluate(x, y, metrics=[...])."
            check.fail(where, "metrics", "figures of one number each", metric, remedy)
    names = ["loss", *(metric.name for metric in metrics)]
    for name in names:
        if names.count(name) > 1:
            check.fail(where, "metrics", "of different names, none of them 'loss'", name)
