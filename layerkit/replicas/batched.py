"""Fits of many replicas at once, by NumPy: an epoch of all of them, then the next."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from layerkit._support.state import restore
from layerkit._support.validation import Array
from layerkit.activations import Activation
from layerkit.config import cores
from layerkit.data.batches import ArrayBatches
from layerkit.engines.base import Refused
from layerkit.engines.tables import dense_layers
from layerkit.layers.dense import Dense
from layerkit.losses.base import BuiltInLoss
from layerkit.optimizers import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)
from layerkit.replicas.stacked import (
    SMALL_PRODUCT,
    Layout,
    StackedChain,
    StackedMetric,
    StackedStep,
)
from layerkit.replicas.threads import in_threads
from layerkit.steps.position import Position
from layerkit.training.callbacks.stopping import StopAt
from layerkit.training.evaluation import figure_names
from layerkit.training.fit import Fit, sole_training
from layerkit.training.trainer import Trainer

_OPTIMIZERS = (SGD, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop, Adagrad, Adadelta, Lion)
# Replicas are trained in groups whose numbers fit into the processor's cache, but not so few that
# the calls cost more than the arithmetic.
_GROUP_BYTES = 1 << 24
# Figures that are kept as arrays before they go into the histories.
_LARGEST_RECORD = 1 << 20


def _settings(thing: Any) -> tuple[Any, ...]:
    """Return what tells apart two activations, losses or metrics; it must be numbers and words."""
    for name, value in vars(thing).items():
        if not isinstance(value, bool | int | float | str | None):
            raise Refused(f"{thing!r} has {name!r}, which may differ between the replicas")
    return type(thing), *sorted(vars(thing).items())


def _optimizer_settings(trainer: Trainer) -> tuple[Any, ...]:
    optimizer = trainer.optimizer
    if type(optimizer) not in _OPTIMIZERS:
        raise Refused(f"the optimizer, {optimizer!r}, is not one that steps for all at once")
    own = {"learning_rate", "weight_decay"}
    if isinstance(optimizer, SGD):
        if optimizer.coupled_decay:
            raise Refused(f"the optimizer, {optimizer!r}, adds the parameters to the gradients")
        if not optimizer.dampening:  # the steps don't depend on how many there were
            own.add("n_steps")
    given = optimizer.attributes()
    return type(optimizer), *sorted((n, v) for n, v in given.items() if n not in own)


def _layer_settings(dense: Dense) -> tuple[Any, ...]:
    kind = type(dense.activation)
    is_elementwise = (kind.forward, kind.backward) == (Activation.forward, Activation.backward)
    if not kind.__module__.startswith("layerkit.activations.") and not is_elementwise:
        raise Refused(f"the activation, {dense.activation!r}, may mix what belongs apart")
    return dense.use_bias, _settings(dense.activation)


def _signature(trainer: Trainer) -> list[Any]:
    """Return all that replicas must share to be trained at once; refuse what none can have."""
    for words, what in (
        ("regularizers", trainer.regularizers),
        ("clipping", trainer.clipping),
        ("constraints", trainer.constraints),
        ("groups", trainer.groups),
        ("a checkpoint to go on from", trainer.setup.resumed),
        ("other ranks to train with", trainer.communicator.size > 1),
    ):
        if what:
            raise Refused(f"the trainers have {words}")
    for callback in trainer.callbacks:
        if type(callback) is not StopAt or callback.period != 1:
            raise Refused(f"the callback, {callback!r}, is to be called")
    if not (isinstance(trainer.loss, BuiltInLoss) and _is_ours(trainer.loss)):
        raise Refused(f"the loss, {trainer.loss!r}, is not one of layerkit's")
    if not trainer.loss.takes_targets:
        raise Refused(f"the loss, {trainer.loss!r}, takes no targets")
    return [
        [_layer_settings(dense) for dense in dense_layers(trainer.model)],
        _settings(trainer.loss),
        [_settings(metric) for metric in trainer.metrics],
        _optimizer_settings(trainer),
        [callback.metric for callback in trainer.callbacks],  # type: ignore[attr-defined]
    ]


def _is_ours(loss: BuiltInLoss) -> bool:
    return type(loss).__module__.startswith("layerkit.losses.")


class BatchedFit:
    """A fit of replicas that are alike.

    Parameters
    ----------
    trainers : list of Trainer
        Which differ in parameters, generators, learning rates, weight decays, and the values
        of their `StopAt`.
    data : ArrayBatches
        The data, the same for all.
    validation : ArrayBatches, optional
        Samples to evaluate after each epoch.
    epochs : int
        Number of epochs, at most.
    shuffle : bool
        Whether each replica draws an order of its own in each epoch.
    tell : callable
        Is told how many replicas have ended, and the epoch.

    Raises
    ------
    Refused
        With the reason, if these replicas can't be trained at once.
    """

    def __init__(
        self,
        trainers: Sequence[Trainer],
        data: ArrayBatches,
        validation: ArrayBatches | None,
        epochs: int,
        shuffle: bool,
        tell: Callable[[int, int], None],
    ) -> None:
        signature = _signature(trainers[0])
        if any(_signature(trainer) != signature for trainer in trainers[1:]):
            raise Refused("the replicas differ in more than their numbers")
        if validation is not None and validation.weight is not None:
            raise Refused("the validation data is weighted")
        self.trainers, self.data, self.validation = trainers, data, validation
        self.epochs, self.shuffle, self.tell = epochs, shuffle, tell
        first = trainers[0]
        self.loss: Any = first.loss
        self.metrics = first.setup.step.metrics  # which know what the loss's predictions are
        self.names = figure_names(first.metrics, is_validated=validation is not None)
        x_dtype, y_dtype = first.model.dtype, first.loss.target_dtype(first.model.dtype)
        self.x, self.y = data.x.astype(x_dtype, copy=False), data.y.astype(y_dtype, copy=False)
        largest = max(dense.n_in * dense.n_out for dense in dense_layers(first.model))
        self.replicas_last = largest * data.batch_size < SMALL_PRODUCT
        self.strays: list[Fit] = []
        self.n_ended = self.epoch = 0
        self.is_stopped = False

    def run(self) -> None:
        """Train. A replica whose numbers stop being finite is left before that epoch, as a stray.

        At Ctrl-C all of them stop at their last whole update.
        """
        with contextlib.ExitStack() as stack:
            for trainer in self.trainers:
                stack.enter_context(sole_training("Replicas.fit", trainer.model))
            fits = [self._begin(trainer) for trainer in self.trainers]
            calls = [_Group(self, group).run for group in self._groups(fits)]
            # Where products are small, two threads would take Python's lock from each other all
            # the time: two groups took 1.5 times as long side by side as one after the other.
            in_threads(calls, self._look, self._stop, 1 if self.replicas_last else len(cores()))

    def _look(self, n_done: int) -> None:
        self.tell(self.n_ended, self.epoch)

    def _stop(self, k: int) -> None:
        self.is_stopped = True

    def _begin(self, trainer: Trainer) -> Fit:
        """Begin the fit of a replica, which can go on by itself wherever it is left."""
        fit = trainer.setup.new_fit(
            copy.copy(self.data),
            copy.copy(self.validation),
            epochs=self.epochs,
            shuffle=self.shuffle,
            callbacks=trainer.callbacks,
            engine="numpy",
        )
        trainer.setup.show(fit)
        fit.hooks.begin()
        trainer.optimizer.bind(*trainer.model.vectors)
        return fit

    def _groups(self, fits: list[Fit]) -> list[list[Fit]]:
        """Divide the replicas into groups."""
        first, n_replicas = self.trainers[0], len(fits)
        widths = sum(dense.n_out for dense in dense_layers(first.model))
        tables = 4 + 2 * len(first.optimizer.state)
        numbers = tables * len(first.model.values) + 4 * self.data.batch_size * widths
        most = max(1, _GROUP_BYTES // (numbers * first.model.dtype.itemsize))
        n_groups = -(-n_replicas // most)
        if not self.replicas_last:
            n_groups = max(n_groups, min(len(cores()), n_replicas))
        size = -(-n_replicas // n_groups)
        return [fits[k : k + size] for k in range(0, n_replicas, size)]


class _Group:
    """Replicas that are trained together; those that have ended leave it."""

    def __init__(self, fit: BatchedFit, fits: Sequence[Fit]) -> None:
        self.fit, self.fits = fit, list(fits)
        model = fits[0].step.model
        layers, optimizers = dense_layers(model), [f.step.optimizer for f in fits]
        values = np.stack([f.step.model.values for f in fits])
        layout = Layout(fit.replicas_last)
        self.chain = StackedChain(layers, model.parameters, layout, values)
        rates = np.array([[optimizer.learning_rate] for optimizer in optimizers])
        decays = np.array([[getattr(o, "weight_decay", 0.0)] for o in optimizers])
        state = {
            name: np.stack([o.state[name] for o in optimizers]) for name in optimizers[0].state
        }
        self.make_step = StackedStep(optimizers[0], rates, decays, state, self.chain)
        self.n_steps = self.epoch = self.step = 0
        self.is_mid_epoch = False
        self.record: list[Array] = []
        self.order: Array | None = None
        self.batch_losses = np.full(len(fits), np.nan)
        self._measure_anew()
        # The values to stop at, and whether a figure has to rise to them: a row for each StopAt.
        stops: Any = [f.hooks.callbacks for f in fits]
        limits = [[stop.value for stop in own] for own in stops]
        self.limits = np.array(limits, np.float64).reshape(len(fits), -1).T
        self.watched = [(fit.names.index(stop.metric), stop.rises) for stop in stops[0]]

    def run(self) -> None:
        """Train until all have ended."""
        try:
            # What overflows is found at the end of the epoch, and named by the replica's own fit.
            with np.errstate(all="ignore"):
                while self.fits and not self.fit.is_stopped:
                    self._begin_epoch()
                    if not self._steps():
                        break
                    self._end_epoch(self._figures())
        except Exception:
            # A metric or an activation of the user's own: their single fits find out whose.
            self._write_record(np.zeros(len(self.fits), bool))
            for k in range(len(self.fits)):
                self._put_back(k)
            return
        if not self.epoch:
            return  # stopped before it has begun: nothing has changed
        self._write_record(np.zeros(len(self.fits), bool))
        for k in range(len(self.fits)):
            self._settle(k, self.chain.values, self.make_step.state, self.is_mid_epoch)

    def _measure_anew(self) -> None:
        n_replicas = len(self.fits)
        self.loss_totals = np.zeros(n_replicas)
        self.metrics = [StackedMetric(metric, n_replicas) for metric in self.fit.metrics]

    def _begin_epoch(self) -> None:
        fit, tables = self.fit, self.make_step.state
        self.kept = self.chain.values.copy(), {name: t.copy() for name, t in tables.items()}
        self.losses_before, self.order = self.batch_losses, None
        if fit.shuffle:
            self.order = np.array([fit.data.draw(f.rng) for f in self.fits])
        self._measure_anew()
        self.epoch, self.step, self.is_mid_epoch = self.epoch + 1, 0, True

    def _steps(self) -> bool:
        """Go through the batches of an epoch; tell whether it was to the end."""
        fit, chain = self.fit, self.chain
        size = fit.data.batch_size
        for start in range(0, fit.data.n_samples, size):
            if fit.is_stopped:
                return False
            if self.order is None:
                x, y = fit.x[start : start + size], fit.y[None, start : start + size]
            else:
                numbers = self.order[:, start : start + size]
                x, y = (chain.layout.rows(array, numbers) for array in (fit.x, fit.y))
            y_pred, caches = chain.forward(x)
            self.batch_losses, dy = chain.lose(fit.loss, y_pred, y)
            for metric in self.metrics:  # before the way back, which uses the predictions' memory
                metric.add(y_pred, y)
            chain.backward(dy, caches)
            self.make_step()
            self.loss_totals += self.batch_losses * y.shape[1]
            self.step, self.n_steps = self.step + 1, self.n_steps + 1
        return True

    def _figures(self) -> Array:
        """Return the figures of the epoch, of shape (n_names, n_replicas)."""
        fit, n_samples = self.fit, self.fit.data.n_samples
        rows = [self.loss_totals / n_samples, *(m.result(n_samples) for m in self.metrics)]
        if fit.validation is not None:
            n_replicas = len(self.fits)
            losses = np.zeros(n_replicas)
            metrics = [StackedMetric(metric, n_replicas) for metric in fit.metrics]
            for x, y, _ in fit.validation.epoch(None):
                y_pred, _ = self.chain.forward(x)
                losses += self.chain.lose(fit.loss, y_pred, y[None])[0] * float(len(x))
                for metric in metrics:
                    metric.add(y_pred, y[None])
            n_samples = fit.validation.n_samples
            rows += [losses / n_samples, *(metric.result(n_samples) for metric in metrics)]
        return np.array(rows, np.float64)

    def _end_epoch(self, figures: Array) -> None:
        """Record the epoch; let those leave that have ended, or are not finite any more."""
        fit = self.fit
        self.record.append(figures)
        sound = np.isfinite(figures[0])
        for table in (self.chain.values, *self.make_step.state.values()):
            sound &= np.isfinite(table.sum(axis=1))  # a sum that overflows is looked at, too
        ended = np.full(len(self.fits), self.epoch == fit.epochs)
        for (row, rises), limits in zip(self.watched, self.limits, strict=True):
            ended |= figures[row] >= limits if rises else figures[row] <= limits
        leaving = ended | ~sound
        if leaving.any() or len(self.record) * figures.size > _LARGEST_RECORD:
            self._write_record(~sound)
        for k in np.flatnonzero(leaving).tolist():
            if sound[k]:
                self._settle(k, self.chain.values, self.make_step.state, False, figures[:, k])
            else:
                self._put_back(k)
        self.is_mid_epoch, fit.epoch = False, self.epoch
        if leaving.any():
            fit.n_ended += int(leaving.sum())
            self._keep(np.flatnonzero(~leaving))

    def _write_record(self, lost: Array) -> None:
        """Write the record into the histories; without the last epoch for those that are lost."""
        if self.record:
            block = np.stack(self.record)
            for k, own in enumerate(self.fits):
                rows = block[: len(block) - int(lost[k]), :, k]
                own.history.extend(dict(zip(self.fit.names, rows.T.tolist(), strict=True)))
        self.record = []

    def _put_back(self, k: int) -> None:
        """Leave a replica as it was when the epoch began."""
        step, losses = self.step, self.batch_losses
        self.step, self.n_steps, self.batch_losses = 0, self.n_steps - step, self.losses_before
        self._settle(k, *self.kept, True)
        self.step, self.n_steps, self.batch_losses = step, self.n_steps + step, losses
        self.fit.strays.append(self.fits[k])

    def _settle(
        self,
        k: int,
        values: Array,
        state: dict[str, Array],
        is_mid_epoch: bool,
        figures: Array | None = None,
    ) -> None:
        """Leave a replica's fit where it would have come by itself."""
        own, position = self.fits[k], self.fits[k].position
        model, optimizer = own.step.model, own.step.optimizer
        np.copyto(model.values, values[k])
        np.copyto(model.grads, self.chain.grads[k])
        for name, table in state.items():
            np.copyto(optimizer.state[name], table[k])
        numbers = {"learning_rate", "weight_decay", "n_steps"}
        known = self.make_step.leader.attributes()
        restore(optimizer, {name: value for name, value in known.items() if name not in numbers})
        optimizer.n_steps += self.n_steps
        position.epoch, position.step = self.epoch, self.step
        position.begin_epoch(len(self.metrics))
        self._note(position, k)
        if not is_mid_epoch:
            position.end_epoch()
        if figures is not None:
            stops: Any = own.hooks.callbacks
            for stop, (row, rises), limit in zip(
                stops, self.watched, self.limits[:, k], strict=True
            ):
                stop.reached = bool(figures[row] >= limit if rises else figures[row] <= limit)
                position.stopped |= stop.reached

    def _note(self, position: Position, k: int) -> None:
        """Write down how far a replica is in the current epoch."""
        data = self.fit.data
        position.order = None if self.order is None else self.order[k]
        position.steps_done, position.n_batches = self.step, self.n_steps
        position.n_samples = min(self.step * data.batch_size, data.n_samples)
        position.total_weight = float(position.n_samples)
        position.batch_loss = float(self.batch_losses[k])
        if self.step:
            position.loss_total = float(self.loss_totals[k])
            totals = [metric.total_of(k) for metric in self.metrics]
            position.totals = [*totals, position.n_samples] if totals else []

    def _keep(self, rows: Array) -> None:
        """Go on with some of the replicas."""
        self.fits = [self.fits[k] for k in rows]
        if not self.fits:
            return
        self.limits = self.limits[:, rows]
        self.chain = self.chain.of(rows)
        self.make_step = self.make_step.of(rows, self.chain)
        self.batch_losses = self.batch_losses[rows]
