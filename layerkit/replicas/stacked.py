"""The arithmetic of many chains of `Dense` layers that differ in their numbers alone.

Arrays have the replicas first: kernels of shape (n_replicas, n_in, n_out), outputs of shape
(n_replicas, batch_size, n_out). How they lie in memory is another matter. Where the products are
small, the replicas come last there: all of NumPy's inner loops then run over the replicas, and a
product takes a third of the time that a stack of BLAS's takes. Where they are larger, each
replica's numbers lie together, and BLAS multiplies one replica after the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support.validation import Array
from layerkit.layers.dense import Dense
from layerkit.losses import HalfSquaredError, MeanSquaredError
from layerkit.losses.base import BuiltInLoss
from layerkit.metrics import (
    Accuracy,
    MeanAbsoluteError,
    Metric,
    RootMeanSquaredError,
    SquaredDistance,
)
from layerkit.metrics.totals import figure, merged
from layerkit.optimizers import SGD, Optimizer
from layerkit.parameters import Parameter

# Below so many multiplications in a product, the replicas had better come last: measured for
# 10 to 1,000 replicas.
SMALL_PRODUCT = 256
# An optimizer steps through so many numbers at a time.
_BLOCK = 1 << 16


class Layout:
    """Makes arrays that have the replicas first by their axes, and first or last in memory."""

    def __init__(self, replicas_last: bool) -> None:
        self.replicas_last = replicas_last

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Make an array of shape (n_replicas, ...)."""
        if not self.replicas_last:
            return np.empty(shape, dtype)
        return np.moveaxis(np.empty((*shape[1:], shape[0]), dtype), -1, 0)

    def copy(self, array: Array) -> Array:
        """Copy an array of shape (n_replicas, ...) into this order."""
        made = self.empty(array.shape, array.dtype)
        np.copyto(made, array)
        return made

    def as_it_lies(self, table: Array) -> Array:
        """View a table of shape (n_replicas, n) in the order of memory."""
        return table.T if self.replicas_last else table

    def rows(self, array: Array, numbers: Array) -> Array:
        """Return rows of an array, for ``numbers`` of shape (n_replicas, batch_size)."""
        if self.replicas_last:
            return array.T.take(numbers.T, axis=-1).T
        return array[numbers]


class StackedChain:
    """The passes of a chain for a number of replicas.

    Parameters
    ----------
    layers : list of Dense
        The layers of one of them.
    parameters : list of Parameter
        All of its parameters.
    layout : Layout
        Order of arrays in memory.
    values : ndarray of shape (n_replicas, n_parameters)
        First values of the replicas; copied.
    """

    def __init__(
        self,
        layers: Sequence[Dense],
        parameters: Sequence[Parameter],
        layout: Layout,
        values: Array,
    ) -> None:
        self.layout, self.layers, self.n_replicas = layout, layers, len(values)
        self._parameters = parameters
        self.values = layout.copy(values)
        self.grads = layout.copy(np.zeros_like(values))
        starts = flat.starts(parameters)
        self._kernels: list[Array] = []
        self._kernel_grads: list[Array] = []
        self._biases: list[Array | None] = []
        self._bias_grads: list[Array | None] = []
        for dense in layers:
            kernel, bias = dense.kernel, dense.bias if dense.use_bias else None
            for table, kernels, biases in (
                (self.values, self._kernels, self._biases),
                (self.grads, self._kernel_grads, self._bias_grads),
            ):
                kernels.append(self._view(table, starts[kernel], kernel.shape))
                biases.append(None if bias is None else self._view(table, starts[bias], bias.shape))
        self._buffers: dict[tuple[str, int, int], Array] = {}

    def of(self, rows: Array) -> StackedChain:
        """Make that of some of the replicas."""
        chain = StackedChain(self.layers, self._parameters, self.layout, self.values[rows])
        chain.grads[:] = self.grads[rows]
        return chain

    def _view(self, table: Array, start: int, shape: tuple[int, ...]) -> Array:
        columns = table[:, start : start + int(np.prod(shape))]
        if self.layout.replicas_last:
            return np.moveaxis(columns.T.reshape(*shape, -1), -1, 0)
        return columns.reshape(-1, *shape)

    def _room(self, name: str, index: int, batch_size: int, width: int) -> Array:
        """Return an array of shape (n_replicas, batch_size, width), the same one in each step."""
        key = name, index, batch_size
        if key not in self._buffers:
            shape = (self.n_replicas, batch_size, width)
            self._buffers[key] = self.layout.empty(shape, self.values.dtype)
        return self._buffers[key]

    def forward(self, x: Array) -> tuple[Array, list[tuple[Array, Array, Array]]]:
        """Compute the outputs, and what `backward` needs.

        ``x`` has the shape (batch_size, n_in), the same for all replicas, or
        (n_replicas, batch_size, n_in).
        """
        caches = []
        for k, dense in enumerate(self.layers):
            z = self._room("z", k, x.shape[-2], dense.n_out)
            kernel, bias = self._kernels[k], self._biases[k]
            if not self.layout.replicas_last:
                np.matmul(x, kernel, z)
            elif x.ndim == 2:  # a single product, with the kernels side by side
                np.dot(x, _beside(kernel), _beside(z))
            else:
                np.einsum("sbi,sij->sbj", x, kernel, out=z)
            if bias is not None:
                np.add(z, bias[:, None], z)
            y = dense.activation.forward(z)
            caches.append((x, z, y))
            x = y
        return x, caches

    def backward(self, dy: Array, caches: list[tuple[Array, Array, Array]]) -> None:
        """Compute the gradients of all parameters, into `grads`."""
        for k in range(len(self.layers) - 1, -1, -1):
            dense, (x, z, y) = self.layers[k], caches[k]
            activation = dense.activation
            if activation.backward_takes_out:
                dz = activation.backward(dy, z, y, out=z)
            else:
                dz = activation.backward(dy, z, y)
            kernel, kernel_grad, bias_grad = (
                self._kernels[k],
                self._kernel_grads[k],
                self._bias_grads[k],
            )
            if not self.layout.replicas_last:
                np.matmul(x.swapaxes(-1, -2), dz, kernel_grad)
            elif x.ndim == 2:
                np.dot(x.T, _beside(dz), _beside(kernel_grad))
            else:
                np.einsum("sbi,sbj->sij", x, dz, out=kernel_grad)
            if bias_grad is not None:
                np.add.reduce(dz, axis=1, out=bias_grad)
            if not k:
                return
            dy = self._room("dx", k, x.shape[-2], dense.n_in)
            if self.layout.replicas_last:
                np.einsum("sbj,sij->sbi", dz, kernel, out=dy)
            else:
                np.matmul(dz, kernel.swapaxes(-1, -2), dy)

    def lose(self, loss: BuiltInLoss, y_pred: Array, y_true: Array) -> tuple[Array, Array]:
        """Compute the loss of each replica, of shape (n_replicas,), and the gradient.

        ``y_true`` has the replicas first too: their number, or 1 where all have the same batch.
        """
        n_replicas, batch_size, width = y_pred.shape
        dy = self._room("dy", 0, batch_size, width)
        if type(loss) in (HalfSquaredError, MeanSquaredError):
            np.subtract(y_pred, y_true, dy)
            squares = np.einsum("sbj,sbj->s", dy, dy)
            if type(loss) is HalfSquaredError:
                if batch_size > 1:
                    np.divide(dy, batch_size, dy)
                return squares / (2 * batch_size), dy
            np.multiply(dy, 2 / (batch_size * width), dy)
            return squares / (batch_size * width), dy
        together = y_pred.reshape(-1, width)
        shape = (n_replicas, *y_true.shape[1:])
        truth = np.broadcast_to(y_true, shape).reshape(-1, *y_true.shape[2:])
        losses = loss.compute_per_sample(together, truth).reshape(n_replicas, -1).mean(axis=1)
        # The mean over the samples of all replicas is one of n_replicas times as many.
        _, gradient = loss.value_and_gradient(together, truth)
        np.multiply(gradient.reshape(y_pred.shape), n_replicas, dy)
        return losses, dy


def _beside(array: Array) -> Array:
    """View matrices that lie with the replicas last in memory as one of many columns."""
    return np.moveaxis(array, 0, -1).reshape(array.shape[1], -1)


def _square_total(metric: Metric, y_pred: Array, y_true: Array) -> Array:
    error = np.subtract(y_pred, y_true, dtype=np.float64)
    total: Array = np.einsum("sbj,sbj->s", error, error)
    return total


def _mean_square_total(metric: Metric, y_pred: Array, y_true: Array) -> Array:
    means: Array = _square_total(metric, y_pred, y_true) / y_pred.shape[2]
    return means


def _size_total(metric: Metric, y_pred: Array, y_true: Array) -> Array:
    total: Array = np.abs(y_pred - y_true).sum(axis=(1, 2)) / y_pred.shape[2]
    return total


def _hits(metric: Any, y_pred: Array, y_true: Array) -> Array:
    if y_pred.shape[2] == 1:
        truth = y_true if y_true.ndim == 2 else y_true[..., 0]
        right = (y_pred[..., 0] >= metric.threshold) == (truth >= 0.5)
    else:
        right = y_pred.argmax(axis=-1) == (y_true if y_true.ndim == 2 else y_true.argmax(axis=-1))
    hits: Array = right.sum(axis=1)
    return hits


# The metrics whose totals are computed for all replicas at once.
_TOTALS: dict[type[Metric], Callable[[Metric, Array, Array], Array]] = {
    SquaredDistance: _square_total,
    MeanAbsoluteError: _size_total,
    Accuracy: _hits,
    RootMeanSquaredError: _mean_square_total,
}


class StackedMetric:
    """Adds up a metric over batches, for each replica.

    Parameters
    ----------
    metric : Metric
        The metric.
    n_replicas : int
        For how many.
    """

    def __init__(self, metric: Metric, n_replicas: int) -> None:
        self.metric, self.totals = metric, [0.0] * n_replicas
        is_usual = type(metric) in _TOTALS and not getattr(metric, "multilabel", False)
        self._sums = np.zeros(n_replicas) if is_usual else None

    def add(self, y_pred: Array, y_true: Array) -> None:
        """Add a batch, of the shapes that `StackedChain.lose` takes."""
        if self._sums is not None:
            self._sums += _TOTALS[type(self.metric)](self.metric, y_pred, y_true)
            return
        for k, predicted in enumerate(y_pred):
            truth = y_true[k if len(y_true) > 1 else 0]
            found = [self.metric.total(np.ascontiguousarray(predicted), truth)]
            self.totals[k : k + 1] = merged([self.metric], self.totals[k : k + 1], found)

    def result(self, n_samples: int) -> Array:
        """Return the figure of each replica."""
        if self._sums is None:
            return np.array([figure(self.metric, total, n_samples) for total in self.totals])
        if type(self.metric) is SquaredDistance:
            return self._sums
        means = self._sums / n_samples
        return np.sqrt(means) if type(self.metric) is RootMeanSquaredError else means

    def total_of(self, replica: int) -> Any:
        """Return the total of one replica, as far as it is."""
        return self.totals[replica] if self._sums is None else float(self._sums[replica])


class StackedStep:
    """The steps of optimizers that differ in learning rate and weight decay alone.

    In each of layerkit's elementwise optimizers the learning rate is a factor of the step, and
    decay shrinks the values before it; so one optimizer, of learning rate 1, finds the directions
    for all replicas, and each goes its own way along its own.

    Parameters
    ----------
    optimizer : Optimizer
        That of one of them; copied.
    rates, decays : ndarray of shape (n_replicas, 1)
        Learning rates and weight decays.
    state : dict of str to ndarray of shape (n_replicas, n_parameters)
        States of the optimizers; copied.
    chain : StackedChain
        Chain of the values to change.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        rates: Array,
        decays: Array,
        state: dict[str, Array],
        chain: StackedChain,
    ) -> None:
        layout, dtype = chain.layout, chain.values.dtype
        self.rates, self.decays = rates, decays
        self.state = {name: layout.copy(table) for name, table in state.items()}
        self.leader = leader = copy.copy(optimizer)
        leader.learning_rate = 1.0
        self._is_plain = type(leader) is SGD and not self.state
        # As they lie in memory, in blocks of whole rows that stay in the processor's cache.
        values, grads, factors = map(
            layout.as_it_lies, (chain.values, chain.grads, rates.astype(dtype))
        )
        shrinks = layout.as_it_lies((1 - rates * decays).astype(dtype))
        tables = {name: layout.as_it_lies(table) for name, table in self.state.items()}
        n_rows = max(1, _BLOCK // values.shape[1])
        self._room = np.empty((min(n_rows, len(values)), values.shape[1]), dtype)
        self._blocks = []
        for start in range(0, len(values), n_rows):
            rows = slice(start, start + n_rows)
            own = slice(None) if layout.replicas_last else rows
            named = {name: table[rows].reshape(-1) for name, table in tables.items()}
            shrink = shrinks[own] if decays.any() else None
            self._blocks.append((values[rows], grads[rows], factors[own], shrink, named))

    def of(self, rows: Array, chain: StackedChain) -> StackedStep:
        """Make that of some of the replicas, whose values another chain has."""
        state = {name: table[rows] for name, table in self.state.items()}
        return StackedStep(self.leader, self.rates[rows], self.decays[rows], state, chain)

    def __call__(self) -> None:
        """Make a step."""
        self.leader.n_steps += 1
        for values, grads, factors, shrinks, state in self._blocks:
            direction = self._room[: len(values)]
            if shrinks is not None:
                np.multiply(values, shrinks, values)
            if self._is_plain:
                np.multiply(grads, factors, direction)
                np.subtract(values, direction, values)
                continue
            direction.fill(0)
            self.leader.update(direction.reshape(-1), grads.reshape(-1), state)
            np.multiply(direction, factors, direction)
            np.add(values, direction, values)
