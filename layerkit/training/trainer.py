"""`Trainer`: brings data, a model, a loss and an optimizer together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit.communication.base import Communicator, SerialCommunicator
from layerkit.engines.base import EngineUsed
from layerkit.engines.choice import EngineName, check_engine
from layerkit.losses import Loss
from layerkit.losses.regularizers import Regularizer
from layerkit.metrics import Metric
from layerkit.metrics.totals import suited
from layerkit.models.base import Model
from layerkit.optimizers import Optimizer
from layerkit.optimizers.clipping import Clipping
from layerkit.optimizers.constraints import Constraint
from layerkit.optimizers.parameter_groups import ParameterGroup
from layerkit.steps.position import Position
from layerkit.storage.files import Path
from layerkit.training.callbacks import Callback
from layerkit.training.checkpoint import Saved, checkpoint_tree, class_names, read_checkpoint
from layerkit.training.evaluation import evaluate
from layerkit.training.fit import sole_training
from layerkit.training.history import History
from layerkit.training.setup import Setup, check_metrics

__all__ = ["Trainer"]


class Trainer:
    """Train a model by gradient descent, online (``batch_size=1``) or by minibatches.

    Parameters
    ----------
    model : Model
        Model to train, in place.
    loss : Loss
        Loss function to minimise.
    optimizer : Optimizer
        Optimizer, one for each model.
    metrics : sequence of Metric
        Metrics to report; in training, each is taken before the update.
    callbacks : sequence of Callback
        Callbacks of each `fit`.
    regularizers : sequence of Regularizer
        Penalties on the parameters, added to the loss in training and in evaluation.
    clipping : Clipping, optional
        Bound on the gradients.
    groups : sequence of ParameterGroup
        Settings of the optimizer for some of the layers.
    constraints : sequence of Constraint
        Bounds on parameters, into which they are brought back after each update, in this order.
    seed : int or numpy.random.Generator, optional
        Source of the order of shuffled samples, and of the validation split.
    engine : {"auto", "numpy", "numba"}
        Engine that runs the epochs of `fit`. "numpy" goes through the layers batch by batch;
        "numba" compiles whole epochs into one call, for chains of `Dense` layers, `SGD`, and
        arrays. "auto" chooses numba where it is installed, can serve, and is faster. Both compute
        the same numbers up to rounding, and end at the same ones that aren't finite: where any
        comes near overflow, NumPy makes the step. `engine_used` has the reason.
    communicator : Communicator, optional
        Connection of the processes that train the model together, such as `MPICommunicator`. All
        make the same calls with the same arguments, and `batch_size` counts the samples of all:
        k ranks make the steps of one, each with its part of each batch (a stream, or a
        `train_step`, has a part on each), from rank 0's model, optimizer and order of samples.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind, two metrics share a name, a metric can't judge what the
        loss takes for predictions, or an optimizer with a line search can't serve the model.
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
        model: Model,
        loss: Loss,
        optimizer: Optimizer,
        *,
        metrics: Sequence[Metric] = (),
        callbacks: Sequence[Callback] = (),
        regularizers: Sequence[Regularizer] = (),
        clipping: Clipping | None = None,
        groups: Sequence[ParameterGroup] = (),
        constraints: Sequence[Constraint] = (),
        seed: int | np.random.Generator | None = None,
        engine: EngineName = "auto",
        communicator: Communicator | None = None,
    ) -> None:
        where = "Trainer.__init__"
        self.model = check.instance(where, "model", model, Model)
        self.loss = check.instance(where, "loss", loss, Loss)
        self.optimizer = check.instance(where, "optimizer", optimizer, Optimizer)
        self.metrics = check.instances(where, "metrics", metrics, Metric)
        self.callbacks = check.instances(where, "callbacks", callbacks, Callback)
        self.regularizers = check.instances(where, "regularizers", regularizers, Regularizer)
        self.clipping = clipping and check.instance(where, "clipping", clipping, Clipping)
        self.groups = check.instances(where, "groups", groups, ParameterGroup)
        self.constraints = check.instances(where, "constraints", constraints, Constraint)
        check_metrics(where, self.metrics)
        self.rng = check.generator(where, "seed", seed)
        self.engine: EngineName = check_engine(where, engine)
        connected = SerialCommunicator() if communicator is None else communicator
        self.communicator = check.instance(where, "communicator", connected, Communicator)
        self.setup = Setup(self, self.regularizers, clipping, self.groups, self.constraints)
        self._scratch = Position()

    @property
    def history(self) -> History:
        """Record of the last fit, as far as it got."""
        return self.setup.history

    @property
    def engine_used(self) -> EngineUsed | None:
        """Engine of the last fit, and the reason for it."""
        return self.setup.engine_used

    @property
    def epochs(self) -> int:
        """Number of epochs that the current fit is to have."""
        return self.setup.epochs

    @property
    def epoch(self) -> int:
        """Current epoch, counted from 1."""
        return self.setup.position.epoch

    @property
    def step(self) -> int:
        """Current batch of the epoch, counted from 1."""
        return self.setup.position.step

    @property
    def batch_loss(self) -> float:
        """Loss of the last batch that weighs something, before its update; NaN before the first."""
        return self.setup.position.batch_loss

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

        An epoch's loss is the mean over its samples, each taken before its update.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape), Dataset, or a stream of batches
            Inputs; a dict of arrays for named inputs. A `Dataset` has the targets too, and so has
            a stream: an iterator, an iterable (gone through anew in each epoch) or a function
            that returns one, of batches ``(x, y)`` or ``(x, y, sample_weight)``.
        y : array_like of shape (n_samples, ...)
            Targets, in the form that the loss takes; None for a loss without targets.
        epochs : int
            Number of times to go through the data, after `resume` in all; 0 does nothing.
        batch_size : int
            Samples in an update: 1 is online training. The last batch may be smaller.
        shuffle : bool
            Whether each epoch draws a new order of the samples.
        validation_data : tuple of array_like, Dataset or stream, optional
            ``(x, y)`` or ``(x, y, sample_weight)`` to evaluate after each epoch.
        validation_split : float, optional
            Share of the samples to evaluate instead, drawn at random, in each fit the same ones.
        stratify : bool
            Whether the split takes its share of each class.
        steps_per_epoch : int, optional
            Number of batches of a stream that make an epoch. Only an iterator needs it.
        sample_weight : array_like of shape (n_samples,) or (n_samples, *positions), optional
            Weight of each sample, or of each position of it; the loss is Σ weight · loss /
            Σ weight. Metrics leave out positions of weight 0, and are not weighted else, unless
            each is `Weighted`. A batch may weigh nothing; an epoch, a part of a split or an
            evaluation may not.
        class_weight : dict of int to float or {"balanced"}, optional
            Weight of the samples of each class, in training but not in validation; 1 for a class
            that is not named.
        accumulate : int
            Number of batches that make an update together, with the mean gradient over all
            their samples, as a batch so many times as large would, in less memory.
        callbacks : sequence of Callback
            Further callbacks, for this fit alone.
        progress : bool, optional
            Whether to show a `ProgressBar`; by default, on a terminal.

        Returns
        -------
        History
            Loss and metrics by epoch.

        Raises
        ------
        ArgumentError
            If an argument can't be used, or the engine that is asked for; nothing has changed.
        StateError
            If the model is being trained already, by a callback or in another thread.
        NonFiniteError
            If a loss, a gradient or an update has a NaN or an infinity; the parameters stay at
            their last finite values. An infinity inside of a layer that leaves these three finite,
            as one that `Tanh` takes to 1, is no reason to stop.
        """
        where = "Trainer.fit"
        epochs = check.integer(where, "epochs", epochs, minimum=0)
        batch_size = check.integer(where, "batch_size", batch_size, minimum=1)
        shuffle = check.boolean(where, "shuffle", shuffle)
        accumulate = check.integer(where, "accumulate", accumulate, minimum=1)
        own = [*self.callbacks, *check.instances(where, "callbacks", callbacks, Callback)]
        setup, active = self.setup, self.setup.active(where, own, progress, epochs)
        with sole_training(where, self.model):
            data = setup.batches(
                where,
                x,
                y,
                batch_size,
                facts={
                    "epochs": epochs,
                    "batch_size": batch_size,
                    "shuffle": shuffle,
                    "accumulate": accumulate,
                    "callbacks": class_names(active),
                    "validation": (validation_data is not None, validation_split, stratify),
                },
                steps_per_epoch=steps_per_epoch,
                sample_weight=sample_weight,
                class_weight=class_weight,
            )
            setup.synchronise()
            with setup.order_kept_on_error():
                parts = setup.divided(where, data, validation_data, validation_split, stratify)
                fit = setup.new_fit(
                    *parts,
                    epochs=epochs,
                    shuffle=shuffle,
                    n_batches=accumulate,
                    callbacks=active,
                    engine=self.engine,
                )
            with setup.shown(fit):
                fit.run()
        return self.history

    @ignoring("all")  # the guard before each update names what overflows better than NumPy does
    def train_step(self, x: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Make one update on one batch, for a training loop of one's own or an endless stream.

        Parameters
        ----------
        x, y, sample_weight : array_like
            One batch, as `fit` takes them.

        Returns
        -------
        float
            Loss of the batch, before the update.

        Raises
        ------
        ArgumentError
            If the batch can't be used.
        NonFiniteError
            As for `fit`.
        """
        where = "Trainer.train_step"
        batch = self.setup.preparation().batch(where, x, y, sample_weight)
        self.setup.begin_step(where, batch)
        step = self.setup.step
        step.updates.prepare()
        try:
            return step(*batch, self._scratch, lambda: f"{where}: the loss")
        finally:
            step.updates.release()

    @ignoring("under")
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
        """Return the loss and the metrics, and change nothing; on all ranks, if there are several.

        Parameters
        ----------
        x, y : array_like, Dataset, or a stream of batches
            Data, as `fit` takes them; the targets are cast to the model's dtype.
        batch_size : int
            Number of samples to take at a time.
        sample_weight : array_like, optional
            Weights in the loss, likewise.
        steps : int, optional
            Number of batches of a stream to take. Only an iterator needs it.
        metrics : sequence of Metric, optional
            Metrics to compute instead of the trainer's own; `ConfusionMatrix` among them.

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
        given = self.metrics if metrics is None else metrics
        chosen = check.instances(where, "metrics", given, Metric)
        judges = suited(where, chosen, self.loss.predictions)
        data = self.setup.batches(
            where,
            x,
            y,
            batch_size,
            metrics=chosen,
            steps_per_epoch=steps,
            sample_weight=sample_weight,
            is_training=False,
        )
        data.divide(self.communicator.rank, self.communicator.size)
        return evaluate(self.setup.step, data, judges)

    def save_checkpoint(self, path: Path) -> None:
        """Write all that the training needs to go on, bit for bit: anywhere, at any time.

        That is the parameters, the states of layers, optimizer, callbacks and generators, the
        place in the epoch, and the history. From a callback, it is what holds after that hook; of
        a fit that has ended, even by an interrupt, its last whole update: what `EarlyStopping`
        leaves in the model is for use, and not gone on from. All ranks call it together.

        Parameters
        ----------
        path : str or path-like
            Path of the file; written whole or not at all.

        Raises
        ------
        SaveError
            If the file can't be written, a state can't be put into one, or is not finite.
        """
        saved, setup = Saved(self.model, self.optimizer, self.rng), self.setup
        tree = checkpoint_tree(saved, setup.position, setup.hooks, self.history)
        tree |= setup.resumed or {}  # a fit that nobody has gone on with yet
        setup.ranks.write_checkpoint("Trainer.save_checkpoint", path, tree, setup.step.metrics)

    def resume(self, path: Path) -> None:
        """Return to a checkpoint; the next `fit` goes on with the fit that it was saved in.

        That fit is to have the arguments that the other had. ``epochs`` counts from the other's
        beginning, so a program that calls ``resume`` wherever a checkpoint is found can be started
        again and again. An iterator is to yield all batches from the beginning once more; those
        that were trained on are left out. Of several ranks, it is enough if rank 0 calls it: the
        same number of them go on to the last bit, another number up to rounding.

        Parameters
        ----------
        path : str or path-like
            Path of a file that `save_checkpoint` wrote for a trainer like this one.

        Raises
        ------
        LoadError
            If the file is missing, damaged, or not of such a trainer; then nothing has changed.
            What depends on the data, or on the callbacks of the fit, is refused by `fit`.
        """
        saved = Saved(self.model, self.optimizer, self.rng, self.callbacks)
        self.setup.go_on_with(read_checkpoint("Trainer.resume", path, saved, self))

    @property
    def can_repeat_data(self) -> bool:
        """Whether `update_statistics` can go through the inputs of the current fit."""
        return self.setup.data is not None and self.setup.data.are_repeatable

    def update_statistics(self) -> None:
        """Compute the statistics that layers keep over the current fit's data; for callbacks."""
        self.setup.update_statistics("Trainer.update_statistics")

    def stop(self) -> None:
        """End training after the current epoch; for callbacks."""
        self.setup.position.stopped = True
