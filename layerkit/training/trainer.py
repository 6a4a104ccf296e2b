"""`Trainer`: brings data, a model, a loss and an optimizer together."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.communication.base import Communicator, SerialCommunicator
from layerkit.data.batches import Batches, StreamBatches
from layerkit.data.preparation import Preparation
from layerkit.engines.compiled import (
    CompiledEpochs,
    EngineUsed,
    Refused,
    ValueAndGradient,
    compiled_parts,
    load_kernels,
)
from layerkit.losses import Loss
from layerkit.losses.base import weighted
from layerkit.losses.regularizers import Regularizer
from layerkit.metrics import Metric
from layerkit.models.sequential import Sequential
from layerkit.optimizers import Optimizer
from layerkit.optimizers.clipping import Clipping
from layerkit.optimizers.parameter_groups import GroupedStep, ParameterGroup
from layerkit.steps.ranks import STEPS_BETWEEN_CHECKS, Ranks
from layerkit.steps.rules import Accumulation, GradientRules
from layerkit.steps.updates import Updates
from layerkit.storage.files import Path
from layerkit.training.callbacks import Callback, ProgressBar
from layerkit.training.history import History
from layerkit.training.hooks import Hooks
from layerkit.training.progress import Progress, read_checkpoint, sole_training, write_checkpoint

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
        engine: Literal["auto", "numpy", "numba"] = "auto",
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
        for metric in self.metrics:
            if not metric.is_figure:
                remedy = "Write trainer.evaluate(x, y, metrics=[...])."
                check.fail(where, "metrics", "figures of one number each", metric, remedy)
        names = ["loss", *(metric.name for metric in self.metrics)]
        for name in names:
            if names.count(name) > 1:
                check.fail(where, "metrics", "of different names, none of them 'loss'", name)
        self._names = names
        self.rng = check.generator(where, "seed", seed)
        self.engine = check.choice(where, "engine", engine, ("auto", "numpy", "numba"))
        if engine == "numba":
            load_kernels(where)
        self.engine_used: EngineUsed | None = None
        self.history = History([])
        self.epoch = self.step = self.epochs = 0
        self.batch_loss = math.nan
        self._stopped = False
        if communicator is None:
            communicator = SerialCommunicator()
        self.communicator = check.instance(where, "communicator", communicator, Communicator)
        self._ranks = Ranks(communicator, model) if communicator.size > 1 else None
        self._rules = GradientRules(model, self.regularizers, clipping)
        step = GroupedStep(where, model, optimizer, self.groups) if self.groups else None
        self._updates = Updates(model, optimizer, step, self._ranks)
        self._preparation = Preparation(model, loss, self.metrics, communicator)
        self._progress = Progress()
        self._resumed: Mapping[str, Any] | None = None
        self._hooks = Hooks(self, [])
        self._compiled_loss: ValueAndGradient | None = None
        self._n_steps = 0
        self._arithmetic = "numpy"

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
        active = [*self.callbacks, *check.instances(where, "callbacks", callbacks, Callback)]
        for callback in active:
            check.integer(where, f"the period of {callback!r}", callback.period, minimum=1)
        if progress is None:
            progress = sys.stderr.isatty() and epochs > 0
        if check.boolean(where, "progress", progress) and self.communicator.rank == 0:
            if not any(isinstance(callback, ProgressBar) for callback in active):
                active.append(ProgressBar())
        with sole_training(where, self.model):
            with self._together(where) as facts:
                data = self._preparation.batches(
                    where,
                    x,
                    y,
                    batch_size,
                    steps_per_epoch=steps_per_epoch,
                    sample_weight=sample_weight,
                    class_weight=class_weight,
                )
                kinds = sorted(type(c).__name__ for c in active if not isinstance(c, ProgressBar))
                facts |= {
                    "epochs": epochs,
                    "batch_size": batch_size,
                    "shuffle": shuffle,
                    "accumulate": accumulate,
                    "the number of samples": getattr(data, "n_samples", "that of a stream"),
                    "steps_per_epoch": data.steps_per_epoch,
                    "callbacks": kinds,
                    "validation": (validation_data is not None, validation_split, stratify),
                }
            if self._ranks:
                self._ranks.synchronise(self)
            begun = Progress(self._resumed)
            before = self.rng.bit_generator.state
            validation: Batches | None = None
            try:
                if validation_split is not None:
                    if validation_data is not None:
                        wanted = "None with validation_data"
                        check.fail(where, "validation_split", wanted, validation_split)
                    data, validation = self._preparation.split(
                        where, data, validation_split, stratify, self.rng, begun.held_out
                    )
                    begun.held_out = validation.rows
                elif validation_data is not None:
                    validation = self._validation(where, validation_data)
                begun.check_settings(where, data, shuffle, accumulate, active)
                n_steps = epochs * (data.steps_per_epoch or 0)
                compiled = None
                if epochs:
                    refuses = self.engine == "numba"
                    compiled = self._choose_engine(
                        data, accumulate, n_steps, refuses=refuses, as_before=begun.arithmetic
                    )
                    begun.arithmetic = self._arithmetic
            except BaseException:
                self.rng.bit_generator.state = before
                raise
            prefixes = ["", "val_"] if validation else [""]
            names = [prefix + name for prefix in prefixes for name in self._names]
            self.history = begun.take_history(where, names)
            self._n_steps += n_steps
            self._progress, self._resumed = begun, None if epochs else self._resumed
            self.epoch, self.step, self.epochs = begun.epoch, begun.step, epochs
            self._stopped = begun.stopped
            if begun.is_resumed:
                self.batch_loss = begun.batch_loss
            self._divide(data, validation)
            if begun.is_resumed and isinstance(data, StreamBatches):
                data.skip(begun.n_batches)
            if epochs:
                rng = self.rng if shuffle else None
                self._hooks = Hooks(self, active)
                self._run(data, rng, validation, compiled, accumulate)
        return self.history

    def _together(self, where: str) -> Any:
        """Check what is given together with the other ranks, if there are any."""
        return self._ranks.together(where, self) if self._ranks else contextlib.nullcontext({})

    def _divide(self, *data: Batches | None) -> None:
        """Take this rank's part of the batches."""
        for batches in data:
            if batches is not None:
                batches.divide(self.communicator.rank, self.communicator.size)

    def _validation(self, where: str, validation_data: Any) -> Batches:
        """Bring validation data into batches."""
        words = f"{where}, validation_data"
        if isinstance(validation_data, tuple | list):
            if len(validation_data) not in (2, 3):
                wanted = "a pair (x, y), or (x, y, sample_weight)"
                check.fail(where, "validation_data", wanted, validation_data)
            x, y, *weight = validation_data
            return self._preparation.of_arrays(words, x, y, 1024, *weight, is_training=False)
        if hasattr(validation_data, "__next__") or hasattr(validation_data, "__array__"):
            wanted = "a pair (x, y), or what can be gone through again in each epoch"
            check.fail(where, "validation_data", wanted, validation_data)
        return self._preparation.batches(words, validation_data, None, 1024, is_training=False)

    def train_step(self, x: Any, y: Any, sample_weight: Any = None) -> float:
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
        batch = self._preparation.batch(where, x, y, sample_weight)
        if self._ranks:
            self._ranks.begin_step(self, batch)
        self._updates.prepare()
        with np.errstate(all="ignore"):
            try:
                return self._step(*batch, None, lambda: f"{where}: the loss", None)
            finally:
                self._updates.release()

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
        preparation = Preparation(self.model, self.loss, chosen, self.communicator)
        with self._together(where) as facts:
            data = preparation.batches(
                where,
                x,
                y,
                batch_size,
                steps_per_epoch=steps,
                sample_weight=sample_weight,
                is_training=False,
            )
            facts["the number of samples"] = getattr(data, "n_samples", "that of a stream")
        self._divide(data)
        return self._evaluate(data, chosen)

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
        write_checkpoint("Trainer.save_checkpoint", path, self)

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
        self._resumed = read_checkpoint("Trainer.resume", path, self)

    def stop(self) -> None:
        """End training after the current epoch; for callbacks."""
        self._stopped = True

    def _run(
        self,
        data: Batches,
        rng: np.random.Generator | None,
        validation: Batches | None,
        compiled: CompiledEpochs | None,
        accumulate: int,
    ) -> None:
        """Go through the epochs of a fit."""
        hooks, progress = self._hooks, self._progress
        ranks = self._ranks
        accumulation = Accumulation(self.model, accumulate, ranks) if accumulate > 1 else None
        if ranks:
            ranks.begin(self)
        # The guard before each update names what overflows better than NumPy's warnings do.
        with np.errstate(all="ignore"), self._updates:
            try:
                hooks.begin(progress.callback_states)
                while progress.is_mid_epoch or (self.epoch < self.epochs and not self._stopped):
                    if not progress.is_mid_epoch:
                        self.epoch, self.step = self.epoch + 1, 0
                        hooks.call_epoch("on_epoch_begin")
                        progress.begin_epoch(self.epoch)
                    if hooks.callbacks and compiled and not compiled.is_current():
                        compiled = self._choose_engine(data, accumulate, 0, refuses=False)
                    if compiled:
                        figures = self._compiled_epochs(compiled, rng, validation)
                    else:
                        figures = self._epoch(data, rng, accumulation)
                    if validation:
                        evaluated = self._evaluate(validation, self.metrics)
                        figures |= {f"val_{name}": [v] for name, v in evaluated.items()}
                    with self._updates.whole():
                        if figures:
                            self.history.extend(figures)
                        progress.end_epoch()
                    hooks.call_epoch("on_epoch_end")
                    if ranks:
                        self._stopped = ranks.agree_to_stop(self._stopped)
                        self._updates.release()
            finally:
                if ranks:
                    ranks.end()
                self.model.forget_workspace()
                # What is compiled can't be pickled.
                self._updates.use_step(None)
                self._compiled_loss = None
                hooks.end()

    def _choose_engine(
        self,
        data: Batches,
        accumulate: int,
        n_steps: float,
        *,
        refuses: bool,
        as_before: str | None = None,
    ) -> CompiledEpochs | None:
        """Take the compiled engine if it may and can serve, and keep the reason.

        What is resumed is computed ``as_before``, to the last bit.
        """
        self._arithmetic = "numpy"
        if self.engine == "numpy":
            self.engine_used = EngineUsed("numpy", "the Trainer asks for it")
            return None
        auto = self.engine == "auto"
        try:
            if as_before not in (None, "numba"):
                raise Refused("NumPy served before the checkpoint")
            for words, what in (
                ("regularizers", self.regularizers),
                ("clipping", self.clipping),
                ("groups", self.groups),
                ("accumulate", accumulate > 1),
                (f"{self.communicator.size} ranks", self._ranks is not None),
            ):
                if what:
                    raise Refused(f"the fit has {words}")
            # What was compiled before the checkpoint is worth the loading now.
            faster = auto and as_before is None
            compiled = CompiledEpochs(
                self.model, self.loss, self.optimizer, self.metrics, data, only_if_faster=faster
            )
        except Refused as reason:
            if refuses:
                got = check.Said(f"a fit that it can't do, since {reason}")
                remedy = "Pass engine='auto', which takes NumPy then."
                check.fail("Trainer.fit", "engine", "able to serve", got, remedy)
            self.engine_used = EngineUsed("numpy", str(reason))
            if as_before != "numpy":
                n_steps = math.inf if as_before == "parts" else n_steps + self._n_steps
                step, self._compiled_loss = compiled_parts(
                    self.model, self.loss, self.optimizer, n_steps
                )
                # Groups have steps of their own.
                self._updates.use_step(None if self.groups else step)
                has_parts = bool(step or self._compiled_loss)
                if self._ranks and self._ranks.n_that(has_parts) not in (0, self._ranks.size):
                    # Compiled, they round otherwise: the ranks would drift apart.
                    self._updates.use_step(None)
                    has_parts, self._compiled_loss = False, None
                if has_parts:
                    self._arithmetic = "parts"
            return None
        self._arithmetic = "numba"
        why = "it can train this model" if auto else "the Trainer asks for it"
        self.engine_used = EngineUsed("numba", why)
        return compiled

    def _compiled_epochs(
        self, compiled: CompiledEpochs, rng: np.random.Generator | None, validation: Batches | None
    ) -> dict[str, list[float]]:
        """Go through epochs in compiled code; record them, or give what is not complete yet."""
        hooks, progress = self._hooks, self._progress
        before, after = hooks.overridden["on_batch_begin"], hooks.overridden["on_batch_end"]
        self._updates.prepare()
        first = self.epoch
        watched = hooks.watched([self._names[column] for column in compiled.columns()])
        most = 1 if validation else hooks.epochs_until_due(self.epochs, watched)
        figures_to_reach = [(self._names.index(c.metric), c.value, c.rises) for c in watched]
        if progress.step or progress.order is not None:
            compiled.begin(1, rng, figures_to_reach, progress)
        else:
            compiled.begin(compiled.epochs_at_once(most), rng, figures_to_reach)
        figures = self._finished(compiled)
        try:
            while not compiled.is_finished:
                self.epoch, self.step = first + compiled.epoch, compiled.step + 1
                if before:
                    progress.note(self, compiled.position())
                    hooks.call("on_batch_begin")
                # Ctrl-C waits until what was trained is on record.
                with self._updates.whole():
                    if compiled.advance(1 if before or after else None):
                        self._careful_step(compiled, first)
                    self.batch_loss = compiled.batch_loss
                    figures = self._finished(compiled)
                    self.epoch = first + compiled.epoch - (not compiled.step)
                    progress.note(self, compiled.position())
                    if after:
                        hooks.call("on_batch_end")
                    elif figures and not validation:
                        self.history.extend(figures)
                        figures = {}
                        if not compiled.step:
                            progress.end_epoch()
        finally:
            compiled.end()
        self.epoch, self.step = first + compiled.epoch - 1, compiled.n_steps
        return figures

    def _finished(self, compiled: CompiledEpochs) -> dict[str, list[float]]:
        """Give the figures of the epochs that were finished since the last time."""
        rows = compiled.take_finished()
        return dict(zip(self._names, rows.T.tolist(), strict=True)) if len(rows) else {}

    def _careful_step(self, compiled: CompiledEpochs, first: int) -> None:
        """Make the step that the compiled engine doesn't dare to."""
        self.epoch, self.step = first + compiled.epoch, compiled.step + 1
        x, y = compiled.careful_batch()
        totals: list[Any] = [0.0] * len(self.metrics)
        loss = self._step(x, y, None, totals, self._place(compiled.data), None)
        compiled.add_careful(loss, totals, len(x))

    def _epoch(
        self, data: Batches, rng: np.random.Generator | None, accumulation: Accumulation | None
    ) -> dict[str, list[float]]:
        """Go through the batches of an epoch, or what is left of it, and give its figures."""
        hooks, progress = self._hooks, self._progress
        before, after = hooks.overridden["on_batch_begin"], hooks.overridden["on_batch_end"]
        totals: list[Any] = progress.totals or [0.0] * len(self.metrics)
        loss_total, total_weight = progress.loss_total, progress.total_weight
        n_samples, step = progress.n_samples, progress.step
        if accumulation:
            accumulation.begin(progress)
        self._updates.prepare()
        place, ranks = self._place(data), self._ranks
        x = np.empty((0, *self.model.input_shape), self.model.dtype)
        batches = data.epoch(rng, step, progress.order)
        if ranks:
            batches = ranks.batches(data, batches)
        try:
            for x, y, weight in batches:
                self.step = step + 1
                if before:
                    position = (step, data.order, loss_total, total_weight, n_samples, totals)
                    progress.note(self, position)
                    hooks.call("on_batch_begin")
                if before or after:  # a callback may have moved the parameters
                    self._updates.prepare()
                size = len(x)
                self.batch_loss = self._step(x, y, weight, totals, place, accumulation)
                share = size if weight is None else float(weight.sum())
                if ranks:
                    size, share = ranks.n_samples, ranks.weight
                loss_total += self.batch_loss * share
                total_weight += share
                n_samples += size
                step += 1
                try:
                    if after:
                        position = (step, data.order, loss_total, total_weight, n_samples, totals)
                        progress.note(self, position)
                        hooks.call("on_batch_end")
                finally:
                    self._updates.release()
            if accumulation:
                self._updates.hold()
                accumulation.finish(lambda: self._apply(self.batch_loss, x, place))
                self._updates.release()
        finally:
            position = (step, data.order, loss_total, total_weight, n_samples, totals)
            progress.note(self, position)
        if step and not n_samples:  # the compiled engine had ended the epoch
            return {name: [f] for name, f in zip(self._names, [loss_total, *totals], strict=True)}
        if ranks:
            ranks.compare(f"Trainer.fit, epoch {self.epoch}")
            ranks.merge_states()
            totals = ranks.add_up(*totals)
        figures = self._figures(self.metrics, loss_total / (total_weight or 1), totals, n_samples)
        return {name: [figure] for name, figure in figures.items()}

    def _place(self, data: Batches) -> Callable[[], str]:
        """Give what begins an error's message about the current batch."""

        def place() -> str:
            where = f"epoch {self.epoch}, step {self.step}, {data.describe(self.step)}"
            return f"Trainer.fit: the loss in {where},"

        return place

    def _step(
        self,
        x: Array,
        y: Array,
        weight: Array | None,
        totals: list[Any] | None,
        place: Callable[[], str],
        accumulation: Accumulation | None,
    ) -> float:
        """Make one update on a batch that is checked, and give its loss; SIGINT then waits."""
        ranks = self._ranks
        share = len(x) if weight is None else float(weight.sum())
        added: list[Any] = []
        if ranks and not len(x):
            loss = ranks.sit_out(x)
        else:
            y_pred, cache = self.model.compute_forward(x, training=True)
            if weight is None:
                loss, dy = (self._compiled_loss or self.loss.value_and_gradient)(y_pred, y)
            else:
                loss, dy = weighted(self.loss, y_pred, y, weight)
            if ranks:
                loss, dy = ranks.scale(loss, dy, share)
            # Before the way back, which may use the predictions' memory.
            if totals is not None:
                added = [metric.total(y_pred, y) for metric in self.metrics]
            self.model.compute_backward(dy, cache, need_dx=False)
        if ranks:
            loss, share = ranks.reduce(loss, with_grads=accumulation is None), ranks.weight
        if self.regularizers:
            loss += self._rules.penalty()
        if accumulation is None:
            self._apply(loss, x, place)
        else:
            self._updates.hold()
            accumulation.add(share, lambda: self._apply(loss, x, place))
        if ranks and self.optimizer.n_steps % STEPS_BETWEEN_CHECKS == 0:
            ranks.compare(f"{place()} of step {self.optimizer.n_steps}")
        for index, total in enumerate(added):
            totals[index] += total  # type: ignore[index]
        return loss

    def _apply(self, loss: float, x: Array, place: Callable[[], str]) -> None:
        if self._rules.are_any:
            self._rules.apply()
        self._updates.apply(loss, x, place)

    def _evaluate(self, data: Batches, metrics: Sequence[Metric]) -> dict[str, Any]:
        """Compute the figures of samples that are checked."""
        totals: list[Any] = [0.0] * len(metrics)
        loss_total, total_weight, n_samples = 0.0, 0.0, 0
        for x, y, weight in data.epoch(None):
            if not len(x):
                continue  # a rank that has no part in this batch
            y_pred, _ = self.model.compute_forward(x, training=False)
            if weight is None:
                loss, share = self.loss.value(y_pred, y), float(len(x))
            else:
                (loss, _), share = weighted(self.loss, y_pred, y, weight), float(weight.sum())
            loss_total += loss * share
            total_weight += share
            n_samples += len(x)
            for index, metric in enumerate(metrics):
                totals[index] += metric.total(y_pred, y)
        if self._ranks:
            sums = self._ranks.add_up(loss_total, total_weight, n_samples, *totals)
            loss_total, total_weight, n_samples, *totals = sums
        loss = loss_total / (total_weight or 1) + self._rules.penalty()
        return self._figures(metrics, loss, totals, n_samples)

    def _figures(
        self, metrics: Sequence[Metric], loss: float, totals: list[Any], n_samples: int
    ) -> dict[str, Any]:
        results = {
            metric.name: metric.result(total, n_samples)
            for metric, total in zip(metrics, totals, strict=True)
        }
        return {"loss": loss, **results}
