"""The compiled engine: whole epochs of a chain of `Dense` layers in one call.

What it can train is known here; how, in `layerkit.engines.kernels`, which needs numba and is
loaded the first time that a `Trainer` can use it. Everything else is trained by NumPy, layer by
layer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support.validation import Array
from layerkit.data.batches import ArrayBatches
from layerkit.engines.base import Engine, EngineUsed, Figures, Goal, Refused, Work
from layerkit.engines.tables import (
    code_of,
    compiled_scalar,
    contiguous,
    dense_layers,
    loss_code_of,
    metric_code_of,
    read_only,
    slope_of,
    usable_kernels,
)
from layerkit.metrics.totals import figure, merged
from layerkit.optimizers import SGD
from layerkit.steps.updates import calm_limit

__all__ = ["CompiledEngine"]

# Batches of more samples, with more products of samples and parameters, are BLAS's: it was measured
# where it catches up with the plain loops, for networks of 59 to 51,000 parameters.
_SMALL_BATCH, _SMALL_WORK = 8, 4000
# A call of the kernel should take about this long (s), so that Ctrl-C is heard; the first one is of
# so many multiplications, which take some milliseconds.
_CALL_SECONDS = 0.05
_FIRST_CALL = 10_000_000
# What is held at a time for several epochs: numbers of an order, rows of predictions.
_LARGEST_ORDER, _PREDICTIONS = 1 << 20, 4096


class CompiledEngine(Engine):
    """Runs epochs of a fit in a kernel.

    Parameters
    ----------
    work : Work
        The fit; the data are arrays.
    used : EngineUsed
        Reason why it serves.
    only_if_faster : bool
        Whether to leave batches to NumPy that it is known to be faster with.

    Raises
    ------
    Refused
        With the reason, if any part of the fit is beyond the engine.
    """

    arithmetic = "numba"

    def __init__(self, work: Work, used: EngineUsed, *, only_if_faster: bool) -> None:
        self.work, self.used = work, used
        model, loss, data = work.step.model, work.step.loss, work.data
        self.model, self.optimizer = model, work.step.optimizer
        self.metrics = metrics = work.step.metrics
        optimizer = self.optimizer
        self._layers = dense_layers(model)
        if not isinstance(data, ArrayBatches):
            raise Refused("the batches come from a stream or a Dataset")
        if data.weight is not None:
            raise Refused("the samples are weighted")
        self.data = data
        if type(optimizer) is not SGD:
            raise Refused(f"the optimizer, {optimizer!r}, is not SGD")
        if not optimizer.is_plain:
            raise Refused(f"the optimizer, {optimizer!r}, decays weights or dampens its momentum")
        loss_code = loss_code_of(loss)
        n_products = data.batch_size * len(model.values)
        if only_if_faster and data.batch_size > _SMALL_BATCH and n_products > _SMALL_WORK:
            raise Refused("NumPy's matrix products are faster with batches as large as these")
        arrays = contiguous(data, model.dtype)
        self._kernels = kernels = usable_kernels()
        self._signature = self._current_signature()
        self._tables()
        none = np.empty((0, 0), model.dtype)
        by_index = loss_code == kernels.CLASS_INDICES
        labels = arrays[1] if by_index else np.empty(0, np.int64)
        # Read-only views: one type for arrays that may be written to and those that may not.
        self._x, self._targets, self._labels = map(
            read_only, (arrays[0], none if by_index else arrays[1], labels)
        )
        self.n_steps = data.steps_per_epoch
        codes = [metric_code_of(metric) for metric in metrics]
        self._others = [k for k, code in enumerate(codes) if code == kernels.OTHER]
        self._codes = np.array([loss_code, 0, data.batch_size, 0, *codes], np.uint64)
        self._thresholds = np.array([getattr(m, "threshold", 0.0) for m in metrics], np.float64)
        rows = 0 if not self._others else max(data.batch_size, min(data.n_samples, _PREDICTIONS))
        self._predictions = np.empty((rows, model.output_shape[0]), model.dtype)
        self._settings = np.zeros(4)
        self._settings[3] = calm_limit(model.dtype)
        self._position = np.zeros(3, np.uint64)
        self._steps_per_call = max(16, _FIRST_CALL // (len(model.values) + 300))

    def _current_signature(self) -> list[Any]:
        """Return what a callback may change between epochs."""
        return [(d.activation, slope_of(d.activation)) for d in self._layers]

    def is_current(self) -> bool:
        """Return whether the model is still as it was."""
        frozen = any(not p.trainable for p in self.model.parameters)
        return not frozen and self._current_signature() == self._signature

    def _tables(self) -> None:
        """Write down what the layers are like."""
        kernels, dtype = self._kernels, self.model.dtype
        starts = flat.starts(self.model.parameters)
        table = np.zeros((len(self._layers), kernels.N_COLUMNS), np.uint64)
        end = self._layers[0].n_in
        self._keep = []  # the compiled functions live as long as their addresses are in use
        for row, dense in zip(table, self._layers, strict=True):
            row[kernels.N_IN], row[kernels.N_OUT] = dense.n_in, dense.n_out
            row[kernels.KERNEL] = starts[dense.kernel]
            row[kernels.HAS_BIAS] = dense.use_bias
            row[kernels.BIAS] = starts[dense.bias] if dense.use_bias else 0
            row[kernels.FROM], row[kernels.TO] = end - dense.n_in, end
            row[kernels.ACTIVATION] = code_of(dense.activation)
            if row[kernels.ACTIVATION] == kernels.CUSTOM:
                pair = compiled_scalar(kernels, dense.activation, dtype)
                self._keep.append(pair)
                row[kernels.VALUE], row[kernels.DERIVATIVE] = pair[0].address, pair[1].address
            end += dense.n_out
        self._table = table
        self._slopes = np.array([slope_of(d.activation) for d in self._layers], dtype)
        # In one piece: apart, some lie so that the processor takes a store to one for a store to
        # another (their addresses agree in the last 12 bits), and waits.
        stride = -(-end // 16) * 16
        rows = flat.aligned_zeros(3 * stride, dtype).reshape(3, stride)
        zs, nodes, deltas = self._scratch = [row[:end] for row in rows]
        for column, array in ((kernels.DY, deltas), (kernels.Z, zs), (kernels.Y, nodes)):
            offsets = table[:, kernels.TO] * np.uint64(dtype.itemsize)
            table[:, column] = np.uint64(array.ctypes.data) + offsets

    @property
    def watchable(self) -> list[str]:
        """Names of the figures that the kernel itself knows, the loss first."""
        known = (1 + k for k in range(len(self.metrics)) if k not in self._others)
        return [self.work.names[column] for column in (0, *known)]

    def train(self, n_epochs: int, goals: Sequence[Goal]) -> Figures:
        """Train epochs, each call of the kernel a part of them."""
        work, position = self.work, self.work.position
        before, after, updates = work.before_batch, work.after_batch, work.step.updates
        updates.prepare()
        self._first = position.epoch
        resumed = position.steps_done > 0 or position.order is not None
        self._begin(1 if resumed else self._epochs_at_once(n_epochs), goals, resumed)
        try:
            while not self.is_finished:
                self._say_where()
                if before:
                    self._note()
                    before()
                # Ctrl-C waits until what was trained is on record.
                with updates.whole():
                    if self._advance(1 if before or after else None):
                        self._careful_step()
                    position.epoch = self._first + self.epoch - (not self.step)
                    self._note()
                    # The last epoch is left to the fit: hooks that are due come with its record.
                    n_known = self.epoch - self.is_finished
                    if after:
                        after()
                    elif work.record and n_known > self._n_taken:
                        work.record(self._take(n_known))
                        if not (self.step or self.is_finished):
                            position.end_epoch()
        finally:
            self._give_orders_back()
        position.epoch, position.step = self._first + self.epoch - 1, self.n_steps
        return self._take(self.epoch)

    def _say_where(self) -> None:
        """Name the epoch and the step at work, for callbacks and messages."""
        position = self.work.position
        position.epoch, position.step = self._first + self.epoch, self.step + 1

    def _note(self) -> None:
        """Write down how far the current epoch is."""
        position, n_metrics = self.work.position, len(self.metrics)
        epoch, step = self.epoch - self.is_finished, self.step
        figures = self._figures[epoch].tolist()
        if self.epoch > epoch:  # the figures are final, as no samples say
            step, n_samples, totals = self.n_steps, 0, figures[1:]
        else:
            n_samples = min(step * self.data.batch_size, self.data.n_samples)
            others = self._others
            totals = [self._totals[k] if k in others else figures[1 + k] for k in range(n_metrics)]
        position.n_batches += step - position.steps_done
        position.steps_done, position.n_samples = step, n_samples
        position.order = self._order[epoch] if len(self._order) else None
        position.loss_total, position.total_weight = figures[0], float(n_samples)
        position.totals = [*totals, n_samples] if totals else []
        position.batch_loss = float(self._settings[2])
        position.is_mid_epoch, position.epochs_begun = True, position.epoch

    def _take_over(self) -> None:
        """Go on from the position, in the first of the epochs."""
        position, n_metrics = self.work.position, len(self.metrics)
        self._position[1] = position.steps_done
        self._settings[2] = position.batch_loss
        figures = self._figures[self.epoch]
        figures[0] = position.loss_total
        if position.is_only_to_be_recorded:
            figures[1:] = position.totals[:n_metrics]
            self._position[:2] = 1, 0
            self.is_finished = True
            return
        for k, total in enumerate(position.totals[:n_metrics]):
            if k in self._others:
                self._totals[k] = total
            else:
                figures[1 + k] = total
        self._advance(0)  # which ends the epoch, if no step of it is left

    def _careful_step(self) -> None:
        """Make the usual step on a batch: its errors name the layer and the samples."""
        work = self.work
        self._say_where()
        self._note()
        self.data.use_order(self._order[self.epoch] if len(self._order) else None)
        x, y = self._rows(self.step)
        work.step(x, y, None, work.position, work.describe_batch)
        self._take_over()

    def _epochs_at_once(self, most: int) -> int:
        """Return the number of epochs to begin together."""
        if self._others:
            return 1
        fitting = min(self._steps_per_call // self.n_steps, _LARGEST_ORDER // self.data.n_samples)
        return max(1, min(fitting, most))

    def _begin(self, n_epochs: int, goals: Sequence[Goal], resumed: bool) -> None:
        """Begin some epochs, or go on with one, which end early at a goal."""
        n, rng = self.data.n_samples, self.work.rng
        self._n_epochs = n_epochs
        self._before = rng.bit_generator.state if rng is not None and n_epochs > 1 else None
        self._order = np.empty((0 if rng is None else n_epochs, n), np.int64)
        if self.work.position.order is not None:
            self._order[0] = self.work.position.order
        elif rng is not None:
            self._draw(self._order)
        self._figures = np.zeros((n_epochs, 1 + len(self.metrics)))
        columns = [(self.work.names.index(g.figure), g.value, g.rises) for g in goals]
        self._watched = np.array(columns, np.float64).reshape(-1, 3)
        self._totals: list[Any] = [0.0] * len(self.metrics)
        self._codes[3] = n_epochs
        self._n_taken = 0
        self._position[:] = 0
        self.is_finished = self._is_careful = False
        if resumed:
            self._take_over()

    def _draw(self, order: Array) -> None:
        if len(order) == 1:
            order[0] = self.work.rng.permutation(order.shape[1])  # type: ignore[union-attr]
        else:
            self._kernels.permutations(self.work.rng, order)

    @property
    def epoch(self) -> int:
        """How many epochs are finished."""
        return int(self._position[0])

    @property
    def step(self) -> int:
        """How many steps of the current epoch are."""
        return int(self._position[1])

    def _advance(self, n_steps: int | None = None) -> bool:
        """Make steps, and return whether the next one has to be made by the usual step.

        That is one in which numbers come near overflow, where the order of a sum decides whether
        it is finite: what NumPy computes then is the verdict. The kernel notices inside of a
        layer, and ends before such a step. It doesn't look at parameters and figures: once one
        isn't finite, it never is again. So it is enough to look at the end, and, if need be, to
        go back to the beginning and make fewer steps.
        """
        if n_steps is None:
            n_steps = self._steps_per_call
            if len(self._predictions):
                n_steps = min(n_steps, len(self._predictions) // self.data.batch_size)
        started = time.perf_counter()
        self._is_careful = False
        epoch, step = self.epoch, self.step
        vectors = [*self.model.vectors, *self.optimizer.state.values()]
        before = [vector.copy() for vector in vectors]
        figures, loss = self._figures[epoch : epoch + 1].copy(), self._settings[2]
        status = self._run(n_steps)
        while n_steps and (fewer := self._steps_to_keep(status, n_steps, vectors, epoch)) < n_steps:
            for vector, kept in zip(vectors, before, strict=True):
                vector[:] = kept
            self._figures[epoch:] = 0
            self._figures[epoch : epoch + 1], self._settings[2] = figures, loss
            self._position[:2] = epoch, step
            self._is_careful = fewer == 0
            if self._is_careful:
                return True
            n_steps = fewer
            status = self._run(n_steps)
        done = n_steps - int(self._position[2])
        self.optimizer.n_steps += done
        seconds = time.perf_counter() - started
        if done == self._steps_per_call and seconds < _CALL_SECONDS / 2:
            self._steps_per_call *= 2
        elif done and seconds > 2 * _CALL_SECONDS:
            self._steps_per_call = max(1, self._steps_per_call // 2)
        if self._others:
            self._measure(step, done)
            if self.epoch > epoch:
                self._finish()
        self.is_finished = status == self._kernels.REACHED or self.epoch == self._n_epochs
        return False

    def _run(self, n_steps: int) -> int:
        """Call the kernel."""
        sgd: Any = self.optimizer
        values, grads = self.model.vectors
        velocity = sgd.state.get("velocity", grads[:0])
        self._settings[:2] = sgd.learning_rate, sgd.momentum
        self._codes[1] = sgd.nesterov
        self._position[2] = n_steps
        status: int = self._kernels.run(
            values,
            grads,
            velocity,
            self._table,
            self._slopes,
            *self._scratch,
            self._x,
            self._targets,
            self._labels,
            self._order,
            self._predictions,
            self._codes,
            self._settings,
            self._thresholds,
            self._watched,
            self._figures,
            self._position,
        )
        return status

    def _steps_to_keep(self, status: int, n_steps: int, vectors: list[Array], epoch: int) -> int:
        """Return how many of the steps that were asked for can be made again without trouble."""
        if status == self._kernels.LEFT_TO_NUMPY:
            return n_steps - int(self._position[2])
        return n_steps if self._is_finite(vectors, epoch) else n_steps // 2

    def _is_finite(self, vectors: list[Array], epoch: int) -> bool:
        for array in (*vectors, self._figures[epoch : self.epoch + 1].reshape(-1)):
            # A sum of squares takes a fifth of the time; it may overflow where nothing else does.
            if not math.isfinite(array.dot(array)) and not np.isfinite(array).all():
                return False
        return True

    def _measure(self, first: int, n_steps: int) -> None:
        """Add up the metrics that are not compiled, batch by batch."""
        size, n = self.data.batch_size, self.data.n_samples
        for step in range(first, first + n_steps):
            _, y = self._rows(step)
            start = (step - first) * size
            predicted = self._predictions[start : start + min(size, n - step * size)]
            for k in self._others:
                metric = self.metrics[k]
                found = [metric.total(predicted, y)]
                self._totals[k : k + 1] = merged([metric], self._totals[k : k + 1], found)

    def _finish(self) -> None:
        for k in self._others:
            self._figures[0, 1 + k] = figure(self.metrics[k], self._totals[k], self.data.n_samples)

    def _rows(self, step: int) -> tuple[Array, Array]:
        """Return a batch of the current epoch."""
        start = step * self.data.batch_size
        span: Any = slice(start, start + self.data.batch_size)
        if len(self._order):
            span = self._order[min(self.epoch, self._n_epochs - 1), span]
        return self._x[span], (self._labels if len(self._labels) else self._targets)[span]

    def _take(self, n_epochs: int) -> Figures:
        """Return the figures of so many finished epochs that are new."""
        rows = self._figures[self._n_taken : n_epochs]
        self._n_taken = n_epochs
        return dict(zip(self.work.names, rows.T.tolist(), strict=True)) if len(rows) else {}

    def _give_orders_back(self) -> None:
        """Leave the generator as if the orders of epochs that never began had not been drawn."""
        if self._before is not None and self.epoch < self._n_epochs:
            self.work.rng.bit_generator.state = self._before  # type: ignore[union-attr]
            begun = self.epoch + (self.step > 0 or self._is_careful)
            self._draw(np.empty_like(self._order[:begun]))
