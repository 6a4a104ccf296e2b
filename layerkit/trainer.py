"""`Trainer`: brings data, a model, a loss and an optimizer together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from layerkit import _validation as check
from layerkit._updates import Updates
from layerkit._validation import Array
from layerkit.callbacks import Callback, History, StopAt
from layerkit.data import ArrayBatches, StreamBatches
from layerkit.engine import (
    CompiledEpochs,
    EngineUsed,
    Refused,
    ValueAndGradient,
    compiled_parts,
    load_kernels,
)
from layerkit.errors import ShapeError
from layerkit.losses import Loss
from layerkit.metrics import Metric
from layerkit.optimizers import Optimizer
from layerkit.sequential import Sequential

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
    seed : int or numpy.random.Generator, optional
        Where the order of shuffled samples comes from.
    engine : {"auto", "numpy", "numba"}
        What runs the epochs of `fit`. "numpy" goes through the layers batch by batch; "numba"
        compiles whole epochs into one call, for chains of `Dense` layers with the losses and
        activations of layerkit (and those that have `Activation.scalar_functions`), SGD, and
        arrays. "auto" takes numba where it is installed, can serve, and is faster. Both give
        the same numbers up to rounding.

    Attributes
    ----------
    engine_used : EngineUsed or None
        Which engine served in the last fit, and why.
    history : History
        The record of the last fit, as far as it got.
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
        seed: int | np.random.Generator | None = None,
        engine: Literal["auto", "numpy", "numba"] = "auto",
    ) -> None:
        where = "Trainer.__init__"
        self.model = check.instance(where, "model", model, Sequential)
        self.loss = check.instance(where, "loss", loss, Loss)
        self.optimizer = check.instance(where, "optimizer", optimizer, Optimizer)
        self.metrics = check.instances(where, "metrics", metrics, Metric)
        self.callbacks = check.instances(where, "callbacks", callbacks, Callback)
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
        self.epoch = self.step = 0
        self.batch_loss = math.nan
        self._stopped = False
        self._updates = Updates(model, optimizer)
        self._compiled_loss: ValueAndGradient | None = None
        self._n_steps = 0

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: tuple[Any, Any] | None = None,
        steps_per_epoch: int | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> History:
        """Train for some epochs.

        An epoch's loss is the mean over its samples, each taken before its update.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape), or an iterator
            The inputs; or an iterator of batches ``(x, y)``, with ``steps_per_epoch``.
        y : array_like of shape (n_samples, ...)
            The targets, in the form that the loss takes.
        epochs : int
            How often to go through the data; 0 does nothing.
        batch_size : int
            Samples an update: 1 is online training. The last batch of an epoch may be smaller.
        shuffle : bool
            Whether each epoch draws a new order of the samples.
        validation_data : tuple of array_like, optional
            ``(x, y)`` that are evaluated after each epoch.
        steps_per_epoch : int, optional
            With an iterator: how many batches make an epoch.
        callbacks : sequence of Callback
            Further callbacks, for this fit alone.

        Returns
        -------
        History
            The loss and each metric by epoch.

        Raises
        ------
        ArgumentError
            If the data, or an argument, can't be used, or ``engine="numba"`` can't train this
            model; the model has not changed then.
        NonFiniteError
            If a NaN or an infinity turns up; the parameters stay at their last finite values.
        """
        where = "Trainer.fit"
        epochs = check.integer(where, "epochs", epochs, minimum=0)
        batch_size = check.integer(where, "batch_size", batch_size, minimum=1)
        shuffle = check.boolean(where, "shuffle", shuffle)
        active = [*self.callbacks, *check.instances(where, "callbacks", callbacks, Callback)]
        for callback in active:
            check.integer(where, f"the period of {callback!r}", callback.period, minimum=1)
        data: ArrayBatches | StreamBatches
        if hasattr(x, "__next__"):
            if y is not None:
                remedy = "The stream gives the targets too."
                check.fail(where, "y", "None with a stream of batches", y, remedy)
            steps = check.integer(where, "steps_per_epoch", steps_per_epoch, minimum=1)
            data = StreamBatches(x, steps, lambda x, y: self._batch(where, x, y), where)
        else:
            if steps_per_epoch is not None:
                expectation = "None with arrays, whose epochs have an end"
                check.fail(where, "steps_per_epoch", expectation, steps_per_epoch)
            data = self._batches(where, x, y, batch_size)
        validation = None
        if validation_data is not None:
            if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
                check.fail(where, "validation_data", "a pair (x, y)", validation_data)
            validation = self._batches(f"{where}, validation_data", *validation_data, 1024)
        self._n_steps += epochs * data.steps_per_epoch
        compiled = self._choose_engine(data, refuses=self.engine == "numba") if epochs else None
        prefixes = ["", "val_"] if validation else [""]
        self.history = History([prefix + name for prefix in prefixes for name in self._names])
        if epochs:
            rng = self.rng if shuffle else None
            self._run(data, epochs, rng, validation, _Hooks(self, active), compiled)
        return self.history

    def train_step(self, x: Any, y: Any) -> float:
        """Make one update on one batch, for a training loop of one's own.

        Parameters
        ----------
        x : array_like of shape (batch_size, *input_shape)
            The inputs.
        y : array_like of shape (batch_size, ...)
            The targets.

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
        x, y = self._batch(where, x, y)
        self._updates.prepare()
        with np.errstate(all="ignore"):
            return self._step(x, y, None, lambda: f"{where}: the loss")

    def evaluate(self, x: Any, y: Any, *, batch_size: int = 1024) -> dict[str, float]:
        """Compute the loss and the metrics, and change nothing.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape)
            The inputs.
        y : array_like of shape (n_samples, ...)
            The targets.
        batch_size : int
            How many samples to take at a time, to save memory.

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
        return self._evaluate(self._batches(where, x, y, batch_size))

    def stop(self) -> None:
        """End training after the current epoch; for callbacks."""
        self._stopped = True

    def _run(
        self,
        data: ArrayBatches | StreamBatches,
        epochs: int,
        rng: np.random.Generator | None,
        validation: ArrayBatches | None,
        hooks: _Hooks,
        compiled: CompiledEpochs | None,
    ) -> None:
        """Go through the epochs of a fit."""
        self._stopped = False
        self.epoch = self.step = 0
        # The guard before each update names what overflows better than NumPy's warnings do.
        with np.errstate(all="ignore"), self._updates:
            try:
                hooks.begin()
                while self.epoch < epochs and not self._stopped:
                    self.epoch += 1
                    hooks.call_epoch("on_epoch_begin")
                    if hooks.callbacks and compiled and not compiled.is_current():
                        compiled = self._choose_engine(data, refuses=False)
                    if compiled:
                        figures = self._compiled_epochs(compiled, epochs, rng, hooks, validation)
                    else:
                        figures = self._epoch(data, rng, hooks)
                    if validation:
                        evaluated = self._evaluate(validation)
                        figures |= {f"val_{name}": [v] for name, v in evaluated.items()}
                    if figures:
                        with self._updates.whole():
                            self.history.extend(figures)
                    hooks.call_epoch("on_epoch_end")
            finally:
                self.model.forget_workspace()
                # What is compiled can't be pickled.
                self._updates.use_step(None)
                self._compiled_loss = None
                hooks.end()

    def _choose_engine(
        self, data: ArrayBatches | StreamBatches, *, refuses: bool
    ) -> CompiledEpochs | None:
        """Take the compiled engine if it may and can serve, and keep the reason."""
        if self.engine == "numpy":
            self.engine_used = EngineUsed("numpy", "the Trainer asks for it")
            return None
        auto = self.engine == "auto"
        try:
            compiled = CompiledEpochs(
                self.model, self.loss, self.optimizer, self.metrics, data, only_if_faster=auto
            )
        except Refused as reason:
            if refuses:
                got = check.Said(f"a fit that it can't do, since {reason}")
                remedy = "Pass engine='auto', which takes NumPy then."
                check.fail("Trainer.fit", "engine", "able to serve", got, remedy)
            self.engine_used = EngineUsed("numpy", str(reason))
            parts = compiled_parts(self.model, self.loss, self.optimizer, self._n_steps)
            self._updates.use_step(parts[0])
            self._compiled_loss = parts[1]
            return None
        why = "it can train this model" if auto else "the Trainer asks for it"
        self.engine_used = EngineUsed("numba", why)
        return compiled

    def _compiled_epochs(
        self,
        compiled: CompiledEpochs,
        epochs: int,
        rng: np.random.Generator | None,
        hooks: _Hooks,
        validation: ArrayBatches | None,
    ) -> dict[str, list[float]]:
        """Go through epochs in compiled code; record them, or give what is not complete yet."""
        before, after = hooks.overridden["on_batch_begin"], hooks.overridden["on_batch_end"]
        self._updates.prepare()
        first = self.epoch
        watched = hooks.watched([self._names[column] for column in compiled.columns()])
        most = 1 if validation else hooks.epochs_until_due(epochs, watched)
        figures_to_reach = [(self._names.index(c.metric), c.value, c.rises) for c in watched]
        compiled.begin(compiled.epochs_at_once(most), rng, figures_to_reach)
        figures: dict[str, list[float]] = {}
        try:
            while not compiled.is_finished:
                self.epoch, self.step = first + compiled.epoch, compiled.step + 1
                if before:
                    hooks.call("on_batch_begin")
                # Ctrl-C waits until what was trained is on record.
                with self._updates.whole():
                    if compiled.advance(1 if before or after else None):
                        self._careful_step(compiled, first)
                    self.batch_loss = compiled.batch_loss
                    figures = self._finished(compiled)
                    if figures and not (validation or after):
                        self.history.extend(figures)
                        figures = {}
                if after:
                    hooks.call("on_batch_end")
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
        loss = self._step(x, y, totals, self._place(compiled.data))
        compiled.add_careful(loss, totals, len(x))

    def _epoch(
        self,
        data: ArrayBatches | StreamBatches,
        rng: np.random.Generator | None,
        hooks: _Hooks,
    ) -> dict[str, list[float]]:
        """Go through the batches of an epoch, and give its figures."""
        before, after = hooks.overridden["on_batch_begin"], hooks.overridden["on_batch_end"]
        totals: list[Any] = [0.0] * len(self.metrics)
        loss_total, n_samples = 0.0, 0
        self._updates.prepare()
        place = self._place(data)
        for self.step, (x, y) in enumerate(data.epoch(rng), 1):
            if before:
                hooks.call("on_batch_begin")
            if before or after:  # a callback may have moved the parameters
                self._updates.prepare()
            size = len(x)
            self.batch_loss = self._step(x, y, totals, place)
            loss_total += self.batch_loss * size
            n_samples += size
            if after:
                hooks.call("on_batch_end")
        figures = self._figures(loss_total, totals, n_samples)
        return {name: [figure] for name, figure in figures.items()}

    def _place(self, data: ArrayBatches | StreamBatches) -> Callable[[], str]:
        """Give what begins an error's message about the current batch."""

        def place() -> str:
            where = f"epoch {self.epoch}, step {self.step}, {data.describe(self.step)}"
            return f"Trainer.fit: the loss in {where},"

        return place

    def _step(
        self, x: Array, y: Array, totals: list[Any] | None, place: Callable[[], str]
    ) -> float:
        """Make one update on a batch that is checked, and give its loss."""
        y_pred, cache = self.model.compute_forward(x, training=True)
        loss, dy = (self._compiled_loss or self.loss.value_and_gradient)(y_pred, y)
        if totals is not None:
            for index, metric in enumerate(self.metrics):
                totals[index] += metric.total(y_pred, y)
        self.model.compute_backward(dy, cache, need_dx=False)
        self._updates.apply(loss, x, place)
        return loss

    def _evaluate(self, data: ArrayBatches) -> dict[str, float]:
        """Compute the figures of samples that are checked."""
        totals: list[Any] = [0.0] * len(self.metrics)
        loss_total, n_samples = 0.0, 0
        for x, y in data.epoch(None):
            y_pred, _ = self.model.compute_forward(x, training=False)
            loss_total += self.loss.value(y_pred, y) * len(x)
            n_samples += len(x)
            for index, metric in enumerate(self.metrics):
                totals[index] += metric.total(y_pred, y)
        return self._figures(loss_total, totals, n_samples)

    def _figures(self, loss_total: float, totals: list[Any], n_samples: int) -> dict[str, float]:
        results = [
            metric.result(total, n_samples)
            for metric, total in zip(self.metrics, totals, strict=True)
        ]
        return dict(zip(self._names, [loss_total / n_samples, *results], strict=True))

    def _batches(self, where: str, x: Any, y: Any, batch_size: int) -> ArrayBatches:
        """Check a data set, once for all the batches that it will be cut into."""
        x, y = self._arrays(where, x, y)
        if len(x) == 0:
            check.fail(where, "x", "at least one sample", check.Said("none"))
        check.finite(where, "x", x)
        self.model.check_layers(x[:batch_size].astype(self.model.dtype))
        dtype = self.model.dtype
        return ArrayBatches(x, y, batch_size, dtype, self.loss.target_dtype(dtype))

    def _batch(self, where: str, x: Any, y: Any) -> tuple[Array, Array]:
        """Check one batch, and cast it."""
        x, y = self._arrays(where, x, y)
        if len(x) == 0:
            check.fail(where, "x", "at least one sample", check.Said("none"))
        check.finite(where, "x", x)
        dtype = self.model.dtype
        return x.astype(dtype, copy=False), y.astype(self.loss.target_dtype(dtype), copy=False)

    def _arrays(self, where: str, x: Any, y: Any) -> tuple[Array, Array]:
        """Check inputs and targets, without a copy of what are arrays already."""
        x = check.numeric_array(where, "x", x, None)
        if y is None:
            check.fail(where, "y", "given: the targets", y)
        y = check.numeric_array(where, "y", y, None)
        check.batch_shape(where, "x", x.shape, self.model.input_shape)
        if y.ndim == 0 or len(x) != len(y):
            got = check.Said(f"{len(x)} samples in x and shape {y.shape} in y")
            check.fail(where, "y", "as long as x", got, error=ShapeError)
        self.loss.check_targets(where, y, self.model.output_shape)
        for metric in self.metrics:
            metric.check_targets(where, y.shape, self.model.output_shape)
        return x, y


class _Hooks:
    """The callbacks' hooks, called under the caller's own NumPy error settings."""

    def __init__(self, trainer: Trainer, callbacks: Sequence[Callback]) -> None:
        self.trainer, self.callbacks = trainer, callbacks
        self.settings = np.geterr()
        self.begun: list[Callback] = []
        self.overridden = {
            hook: [callback for callback in callbacks if _overrides(callback, hook)]
            for hook in vars(Callback)
            if hook.startswith("on_")
        }

    def begin(self) -> None:
        """Begin training for each callback."""
        for callback in self.callbacks:
            self._call_one(callback, "on_train_begin")
            self.begun.append(callback)

    def end(self) -> None:
        """End it for each that began, even if another fails to end."""
        failed: BaseException | None = None
        for callback in self.begun:
            try:
                self._call_one(callback, "on_train_end")
            except BaseException as error:
                failed = failed or error
        if failed:
            raise failed

    def call_epoch(self, hook: str) -> None:
        """Call a hook of those callbacks whose period has come."""
        past = self.trainer.epoch - (hook == "on_epoch_begin")
        for callback in self.overridden[hook]:
            if past % callback.period == 0:
                self._call_one(callback, hook)

    def epochs_until_due(self, epochs: int, watched: list[StopAt]) -> int:
        """Tell how many epochs may pass, from the current one on, before a hook has to be called.

        The end of an epoch is not waited for where the compiled engine watches for it itself.
        """
        past = self.trainer.epoch - 1
        if self.overridden["on_batch_begin"] or self.overridden["on_batch_end"]:
            return 1
        ends = self.overridden["on_epoch_end"]
        waiting = self.overridden["on_epoch_begin"] + [
            c for c in ends if not any(c is known for known in watched)
        ]
        return min([epochs - past] + [c.period - past % c.period for c in waiting])

    def watched(self, figures: list[str]) -> list[StopAt]:
        """List each `StopAt` that waits, in its own way, for one of these figures."""
        return [
            c
            for c in self.callbacks
            if isinstance(c, StopAt)
            and getattr(c.on_epoch_end, "__func__", None) is StopAt.on_epoch_end
            and c.metric in figures
        ]

    def call(self, hook: str) -> None:
        """Call a hook of each callback that overrides it."""
        for callback in self.overridden[hook]:
            self._call_one(callback, hook)

    def _call_one(self, callback: Callback, hook: str) -> None:
        try:
            with np.errstate(**self.settings):
                getattr(callback, hook)(self.trainer)
        except Exception as error:
            error.add_note(f"in {hook} of {callback!r}")
            raise


def _overrides(callback: Callback, hook: str) -> bool:
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
