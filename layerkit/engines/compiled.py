"""The compiled engine: whole epochs of a chain of `Dense` layers in one call.

What it can train is known here; how, in `layerkit.engines.kernels`, which needs numba and is
loaded the first time that a `Trainer` can use it. Everything else is trained by NumPy, layer by
layer.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.activations import (
    ELU,
    GELU,
    Activation,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from layerkit.data.batches import ArrayBatches, Batches
from layerkit.errors import MissingExtraError
from layerkit.layers.base import Layer
from layerkit.layers.dense import Dense
from layerkit.losses import (
    HalfSquaredError,
    Loss,
    MeanSquaredError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from layerkit.metrics import Accuracy, MeanAbsoluteError, Metric, SquaredDistance
from layerkit.models.sequential import Sequential
from layerkit.optimizers import SGD, Adam, AdamW, Optimizer

__all__ = ["EngineUsed"]

# In the order of the kernels' codes.
_ACTIVATIONS = [Identity, Sigmoid, Tanh, ReLU, LeakyReLU, ELU, Softplus, SiLU, GELU, Softmax]
_METRICS = [Metric, SquaredDistance, MeanAbsoluteError, Accuracy]

# Batches of more samples, with more products of samples and parameters, are BLAS's: it was measured
# where it catches up with the plain loops, for networks of 59 to 51,000 parameters.
_SMALL_BATCH, _SMALL_WORK = 8, 4000
# Data that is not of the model's dtype, or not contiguous, is copied up to this size.
_LARGEST_COPY = 1 << 28
# A call of the kernel should take about this long (s), so that Ctrl-C is heard; the first one is of
# so many multiplications, which take some milliseconds.
_CALL_SECONDS = 0.05
_FIRST_CALL = 10_000_000
# Below this length, a call of a compiled function takes as long as NumPy's operations do.
_SHORTEST_STEP = 1 << 11
# Loading numba takes as long as so many numbers that it steps through; for each step of a training
# it wins back the length of the parameters, and some for the loss.
_LOADING_COST, _STEP_GAIN = 3e8, 10_000
# What is held at a time for several epochs: numbers of an order, rows of predictions.
_LARGEST_ORDER, _PREDICTIONS = 1 << 20, 4096

# How many calls lie between the user's own of `Trainer.fit` and a notice.
_LEVELS = 7

_said: set[type] = set()
_compiled_scalars: dict[Any, Any] = {}


class EngineUsed(NamedTuple):
    """Which engine trained, and why that one.

    Parameters
    ----------
    name : {"numpy", "numba"}
        The engine.
    reason : str
        Why it served.

    Examples
    --------
    >>> from layerkit import EngineUsed
    >>> print(EngineUsed("numpy", "the Trainer asks for it"))
    numpy, since the Trainer asks for it
    """

    name: str
    reason: str

    def __str__(self) -> str:
        """Write both as a sentence."""
        return f"{self.name}, since {self.reason}"


class Refused(Exception):
    """Why the compiled engine can't serve; never seen by users."""


def load_kernels(where: str) -> ModuleType:
    """Import the kernels, and numba with them.

    Raises
    ------
    MissingExtraError
        If numba is not installed.
    """
    try:
        from layerkit.engines import kernels as _kernels
    except ImportError:
        check.missing_extra(where, "numba", "speed")
    return _kernels


def _usable_kernels() -> ModuleType:
    try:
        kernels = load_kernels("Trainer.fit")
    except MissingExtraError:
        raise Refused("numba is not installed (pip install 'layerkit[speed]')") from None
    if kernels.IS_DISABLED:
        raise Refused("NUMBA_DISABLE_JIT is set")
    return kernels


class CompiledEpochs:
    """Runs epochs over a data set.

    Parameters
    ----------
    model : Sequential
        Its parameters change in place.
    loss, optimizer, metrics : Loss, Optimizer, list of Metric
        As in `Trainer`.
    data : ArrayBatches
        The data, and the batch size.
    only_if_faster : bool
        Whether to leave batches to NumPy that it is known to be faster with.

    Raises
    ------
    Refused
        With the reason, if any of them is beyond the engine.
    """

    def __init__(
        self,
        model: Sequential,
        loss: Loss,
        optimizer: Optimizer,
        metrics: list[Metric],
        data: Batches,
        only_if_faster: bool,
    ) -> None:
        self.model, self.optimizer, self.metrics = model, optimizer, metrics
        self._layers = dense_layers(model)
        if not isinstance(data, ArrayBatches):
            raise Refused("the batches come from a stream or a Dataset")
        if data.weight is not None:
            raise Refused("the samples are weighted")
        self.data = data
        if type(optimizer) is not SGD:
            raise Refused(f"the optimizer, {optimizer!r}, is not SGD")
        if optimizer.weight_decay:
            raise Refused(f"the optimizer, {optimizer!r}, decays weights")
        loss_code = _loss_code(loss)
        work = data.batch_size * len(model.values)
        if only_if_faster and data.batch_size > _SMALL_BATCH and work > _SMALL_WORK:
            raise Refused("NumPy's matrix products are faster with batches as large as these")
        arrays = _contiguous(data, model.dtype)
        self._kernels = kernels = _usable_kernels()
        self._signature = self._current_signature()
        self._tables()
        none = np.empty((0, 0), model.dtype)
        by_index = loss_code == kernels.CLASS_INDICES
        labels = arrays[1] if by_index else np.empty(0, np.int64)
        # Read-only views: one type for arrays that may be written to and those that may not.
        self._x, self._targets, self._labels = map(
            _read_only, (arrays[0], none if by_index else arrays[1], labels)
        )
        self.n_steps = data.steps_per_epoch
        codes = [_METRICS.index(type(m)) if type(m) in _METRICS else 0 for m in metrics]
        self._others = [k for k, code in enumerate(codes) if code == kernels.OTHER]
        self._codes = np.array([loss_code, 0, data.batch_size, 0, *codes], np.uint64)
        self._thresholds = np.array([getattr(m, "threshold", 0.0) for m in metrics], np.float64)
        rows = 0 if not self._others else max(data.batch_size, min(data.n_samples, _PREDICTIONS))
        self._predictions = np.empty((rows, model.output_shape[0]), model.dtype)
        self._settings = np.zeros(3)
        self._position = np.zeros(3, np.uint64)
        self._steps_per_call = max(16, _FIRST_CALL // (len(model.values) + 300))

    def _current_signature(self) -> list[Any]:
        """Give what a callback may change between epochs."""
        return [(d.activation, _slope(d.activation)) for d in self._layers]

    def is_current(self) -> bool:
        """Tell whether the model is still as it was."""
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
            kind = type(dense.activation)
            if kind in _ACTIVATIONS:
                row[kernels.ACTIVATION] = _ACTIVATIONS.index(kind)
            else:
                row[kernels.ACTIVATION] = kernels.CUSTOM
                pair = _compiled_scalar(kernels, dense.activation, dtype)
                self._keep.append(pair)
                row[kernels.VALUE], row[kernels.DERIVATIVE] = pair[0].address, pair[1].address
            end += dense.n_out
        self._table = table
        self._slopes = np.array([_slope(d.activation) for d in self._layers], dtype)
        # In one piece: apart, some lie so that the processor takes a store to one for a store to
        # another (their addresses agree in the last 12 bits), and waits.
        stride = -(-end // 16) * 16
        rows = flat.aligned_zeros(3 * stride, dtype).reshape(3, stride)
        zs, nodes, deltas = self._scratch = [row[:end] for row in rows]
        for column, array in ((kernels.DY, deltas), (kernels.Z, zs), (kernels.Y, nodes)):
            offsets = table[:, kernels.TO] * np.uint64(dtype.itemsize)
            table[:, column] = np.uint64(array.ctypes.data) + offsets

    def columns(self) -> list[int]:
        """Give the places of the figures that the kernel itself knows, the loss first."""
        return [0, *(1 + k for k in range(len(self.metrics)) if k not in self._others)]

    def epochs_at_once(self, most: int) -> int:
        """Tell how many epochs to begin together, at most."""
        if self._others:
            return 1
        fitting = min(self._steps_per_call // self.n_steps, _LARGEST_ORDER // self.data.n_samples)
        return max(1, min(fitting, most))

    def begin(
        self,
        n_epochs: int,
        rng: np.random.Generator | None,
        watched: list[tuple[int, float, bool]],
        resumed: Any = None,
    ) -> None:
        """Begin some epochs, which end early at a figure that is watched.

        Parameters
        ----------
        n_epochs : int
            How many.
        rng : numpy.random.Generator, optional
            Draws the order of each epoch.
        watched : list of tuple
            The column of a figure, the value to reach, and whether a greater one is better.
        resumed : Progress, optional
            How far a single epoch has come already.
        """
        n = self.data.n_samples
        self._rng, self._n_epochs = rng, n_epochs
        self._before = rng.bit_generator.state if rng is not None and n_epochs > 1 else None
        self._order = np.empty((0 if rng is None else n_epochs, n), np.int64)
        if resumed is not None and resumed.order is not None:
            self._order[0] = resumed.order
        elif rng is not None:
            self._draw(self._order)
        self._figures = np.zeros((n_epochs, 1 + len(self.metrics)))
        self._watched = np.array(watched, np.float64).reshape(-1, 3)
        self._totals: list[Any] = [0.0] * len(self.metrics)
        self._codes[3] = n_epochs
        self._n_taken = 0
        self._position[:] = 0
        self.is_finished = self._is_careful = False
        if resumed is not None:
            self._position[1] = resumed.step
            self._settings[2] = resumed.batch_loss
            self._figures[0, 0] = resumed.loss_total
            if resumed.step and not resumed.n_samples:
                self._figures[0, 1:] = resumed.totals
                self._position[:2] = 1, 0
                self.is_finished = True
                return
            for k, total in enumerate(resumed.totals):
                if k in self._others:
                    self._totals[k] = total
                else:
                    self._figures[0, 1 + k] = total
            self.advance(0)  # which ends the epoch, if no step of it is left

    def position(self) -> tuple[int, Array | None, float, float, int, list[Any]]:
        """Tell how far the current epoch is, in the form of `Progress.note`."""
        epoch, step = min(self.epoch, self._n_epochs - 1), self.step
        order = self._order[epoch] if len(self._order) else None
        figures = self._figures[epoch]
        if self.epoch > epoch:  # the figures are final, as no samples say
            final = figures.tolist()
            return self.n_steps, order, final[0], 0.0, 0, final[1:]
        totals = [
            self._totals[k] if k in self._others else float(figures[1 + k])
            for k in range(len(self.metrics))
        ]
        n_samples = min(step * self.data.batch_size, self.data.n_samples)
        return step, order, float(figures[0]), float(n_samples), n_samples, totals

    def _draw(self, order: Array) -> None:
        if len(order) == 1:
            order[0] = self._rng.permutation(order.shape[1])  # type: ignore[union-attr]
        else:
            self._kernels.permutations(self._rng, order)

    @property
    def epoch(self) -> int:
        """How many epochs are finished."""
        return int(self._position[0])

    @property
    def step(self) -> int:
        """How many steps of the current epoch are."""
        return int(self._position[1])

    @property
    def batch_loss(self) -> float:
        """The loss of the last batch, before its update."""
        return float(self._settings[2])

    def advance(self, n_steps: int | None = None) -> bool:
        """Make steps, and tell whether the next one has to be looked at by the NumPy engine.

        The kernel doesn't look whether numbers stay finite: once one isn't, some parameter or
        figure never is again. So it is enough to look at the end, and, if need be, to go back to
        the beginning and make fewer steps.
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
        while n_steps and not self._is_finite(vectors, epoch):
            for vector, kept in zip(vectors, before, strict=True):
                vector[:] = kept
            self._figures[epoch:] = 0
            self._figures[epoch : epoch + 1], self._settings[2] = figures, loss
            self._position[:2] = epoch, step
            self._is_careful = n_steps == 1
            if self._is_careful:
                return True
            n_steps //= 2
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

    def _is_finite(self, vectors: list[Array], epoch: int) -> bool:
        for array in (*vectors, self._figures[epoch : self.epoch + 1].reshape(-1)):
            # A sum of squares takes a fifth of the time; it may overflow where nothing else does.
            if not math.isfinite(array.dot(array)) and not np.isfinite(array).all():
                return False
        return True

    def _measure(self, first: int, n_steps: int) -> None:
        """Let the metrics that are not compiled look at the predictions, batch by batch."""
        size, n = self.data.batch_size, self.data.n_samples
        for step in range(first, first + n_steps):
            _, y = self._rows(step)
            start = (step - first) * size
            predicted = self._predictions[start : start + min(size, n - step * size)]
            for k in self._others:
                self._totals[k] += self.metrics[k].total(predicted, y)

    def _finish(self) -> None:
        for k in self._others:
            self._figures[0, 1 + k] = self.metrics[k].result(self._totals[k], self.data.n_samples)

    def _rows(self, step: int) -> tuple[Array, Array]:
        """Give a batch of the current epoch."""
        start = step * self.data.batch_size
        span: Any = slice(start, start + self.data.batch_size)
        if len(self._order):
            span = self._order[min(self.epoch, self._n_epochs - 1), span]
        return self._x[span], (self._labels if len(self._labels) else self._targets)[span]

    def careful_batch(self) -> tuple[Array, Array]:
        """Give the batch that the NumPy engine is to look at; errors can then name its samples."""
        self.data.use_order(self._order[self.epoch] if len(self._order) else None)
        return self._rows(self.step)

    def add_careful(self, loss: float, totals: list[Any], n_samples: int) -> None:
        """Take over what the NumPy engine found there, and go on behind it."""
        figures = self._figures[self.epoch]
        figures[0] += loss * n_samples
        for k, total in enumerate(totals):
            if k in self._others:
                self._totals[k] += total
            else:
                figures[1 + k] += total
        self._settings[2] = loss
        self._position[1] += np.uint64(1)
        self.advance(0)  # which ends the epoch, if this was its last step

    def take_finished(self) -> Array:
        """Give loss and metrics of newly finished epochs, of shape (n, 1 + n_metrics)."""
        rows = self._figures[self._n_taken : self.epoch]
        self._n_taken = self.epoch
        return rows

    def end(self) -> None:
        """Leave the generator as if the orders of epochs that never began had not been drawn."""
        if self._before is not None and self.epoch < self._n_epochs:
            self._rng.bit_generator.state = self._before  # type: ignore[union-attr]
            begun = self.epoch + (self.step > 0 or self._is_careful)
            self._draw(np.empty_like(self._order[:begun]))


Step = Callable[[Array, Array], None]
ValueAndGradient = Callable[[Array, Array], tuple[float, Array]]


def compiled_parts(
    model: Sequential, loss: Loss, optimizer: Optimizer, n_steps: float
) -> tuple[Step | None, ValueAndGradient | None]:
    """Give the optimizer's step and the loss in compiled form, for the NumPy engine.

    None for what has none, or if loading numba takes longer than so many steps can win back.
    """
    loaded = "layerkit.engines.kernels" in sys.modules
    if not loaded and n_steps * (_STEP_GAIN + len(model.values)) < _LOADING_COST:
        return None, None
    try:
        kernels = _usable_kernels()
    except Refused:
        return None, None
    step = _compiled_step(kernels, model, optimizer)
    return step, _compiled_loss(kernels, loss, model.dtype)


def _compiled_step(kernels: ModuleType, model: Sequential, optimizer: Optimizer) -> Step | None:
    if len(model.values) < _SHORTEST_STEP:
        return None
    if type(optimizer) in (Adam, AdamW):
        return _adam_step(kernels, optimizer)
    if type(optimizer) is not SGD or optimizer.weight_decay:
        return None

    def step(values: Array, grads: Array) -> None:
        velocity = optimizer.state.get("velocity", grads[:0])
        rate, momentum, nesterov = optimizer.learning_rate, optimizer.momentum, optimizer.nesterov
        optimizer.n_steps += 1
        kernels.descend(values, grads, velocity, rate, momentum, nesterov)

    return step


def _adam_step(kernels: ModuleType, adam: Any) -> Step:
    def step(values: Array, grads: Array) -> None:
        adam.n_steps += 1
        state, n, rate = adam.state, adam.n_steps, adam.learning_rate
        root = 1 / math.sqrt(1 - adam.beta_2**n)
        corrected = rate / (1 - adam.beta_1**n)
        shrink = 1 - rate * adam.weight_decay
        betas = adam.beta_1, adam.beta_2, adam.epsilon
        kernels.descend_adam(
            values, grads, state["mean"], state["square"], corrected, *betas, root, shrink
        )

    return step


def _compiled_loss(
    kernels: ModuleType, loss: Loss, dtype: np.dtype[Any]
) -> ValueAndGradient | None:
    try:
        code = _loss_code(loss)
    except Refused:
        return None
    by_index = code == kernels.CLASS_INDICES
    no_targets, no_labels = map(_read_only, (np.empty((0, 0), dtype), np.empty(0, np.intp)))

    def value_and_gradient(y_pred: Array, y_true: Array) -> tuple[float, Array]:
        if y_pred.ndim != 2 or not (y_pred.flags.c_contiguous and y_true.flags.c_contiguous):
            return loss.value_and_gradient(y_pred, y_true)
        gradient = np.empty_like(y_pred)
        y_true = _read_only(y_true)
        targets, labels = (no_targets, y_true) if by_index else (y_true, no_labels)
        return kernels.lose(code, y_pred, targets, labels, gradient), gradient

    return value_and_gradient


def _computes_as(layer: Layer, kind: type[Layer]) -> bool:
    """Tell whether a layer is of a kind, and has that kind's own passes."""
    return isinstance(layer, kind) and all(
        getattr(getattr(layer, method), "__func__", None) is getattr(kind, method)
        for method in ("compute_forward", "compute_backward")
    )


def dense_layers(model: Layer) -> list[Dense]:
    """List the layers in their order, those of models inside models too."""
    if not _computes_as(model, Sequential):
        raise Refused(f"the model is a {type(model).__name__}, which has a pass of its own")
    layers: list[Dense] = []
    for index, layer in enumerate(model._children):
        if isinstance(layer, Sequential):
            layers += dense_layers(layer)
            continue
        if not isinstance(layer, Dense) or not _computes_as(layer, Dense):
            raise Refused(f"layers[{index}], {layer!r}, is not a Dense")
        if any(not parameter.trainable for parameter in layer.parameters):
            raise Refused(f"layers[{index}], {layer!r}, has frozen parameters")
        layers.append(layer)
    return layers


def _refuse(activation: Activation, reason: str) -> NoReturn:
    """Refuse an activation, and tell once that it keeps a model from the compiled engine."""
    if type(activation) not in _said:
        _said.add(type(activation))
        remedy = "define it for the compiled engine, or pass engine='numpy'"
        warnings.warn(f"Trainer.fit: NumPy serves, since {reason}; {remedy}", stacklevel=_LEVELS)
    raise Refused(reason) from None


def _slope(activation: Activation) -> float:
    """Give the number that an activation has, if any."""
    if isinstance(activation, LeakyReLU):
        return activation.negative_slope
    return activation.alpha if isinstance(activation, ELU) else 0.0


def _loss_code(loss: Loss) -> int:
    if getattr(loss, "label_smoothing", 0):
        raise Refused(f"the loss, {loss!r}, smooths labels")
    if type(loss) is SoftmaxCrossEntropy:
        return 3 if loss.targets == "indices" else 4
    kinds: list[type[Loss]] = [HalfSquaredError, MeanSquaredError, SigmoidCrossEntropy]
    if type(loss) not in kinds:
        raise Refused(f"the loss, {loss!r}, is not one that is compiled")
    return kinds.index(type(loss))


def _contiguous(data: ArrayBatches, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Give the data in the form that the kernel reads; as it is, if it can be."""
    wanted = data.dtypes or (data.x.dtype, data.y.dtype)
    if data.rows is not None:
        if (data.x.nbytes + data.y.nbytes) * data.n_samples > _LARGEST_COPY * len(data.x):
            raise Refused("some of the samples are trained on, and they are too large to copy")
        x, y = data.x[data.rows], data.y[data.rows]
        return np.require(x, wanted[0], ["C"]), np.require(y, wanted[1], ["C"])
    size = 0
    for array, kind in zip((data.x, data.y), wanted, strict=True):
        fits = array.dtype == kind and array.flags.c_contiguous and array.flags.aligned
        size += 0 if fits else array.size * kind.itemsize
    if size > _LARGEST_COPY:
        raise Refused(f"the data is not a contiguous array of {dtype}, and too large to copy")
    x, y = (
        np.require(array, kind, ["C_CONTIGUOUS", "ALIGNED"])
        for array, kind in zip((data.x, data.y), wanted, strict=True)
    )
    return x, y


def _read_only(array: Array) -> Array:
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def _compiled_scalar(kernels: ModuleType, activation: Activation, dtype: np.dtype[Any]) -> Any:
    """Compile a user's scalar functions, or take them from an earlier fit."""
    pair = activation.scalar_functions()
    if pair is None:
        _refuse(activation, f"{activation!r} has no scalar_functions")
    key: Any = (dtype, *map(_identity, pair))
    try:
        if key in _compiled_scalars:
            return _compiled_scalars[key]
    except TypeError:  # a constant that can't be hashed: compile each time
        key = None
    try:
        compiled = kernels.compile_scalar(*pair, dtype)
    except Exception as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        reason = f"numba can't compile the scalar_functions of {activation!r} ({first_line})"
        _refuse(activation, reason)
    if key is not None:
        _compiled_scalars[key] = compiled
    return compiled


def _identity(function: Any) -> tuple[Any, ...]:
    """Tell functions apart by their code and what it refers to."""
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    return function.__code__, cells, function.__defaults__
