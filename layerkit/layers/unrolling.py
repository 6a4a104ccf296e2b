"""Arrays in which a recurrent layer goes through time: a workspace, and views of its steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from layerkit._support.validation import Array
from layerkit.layers.stateful import Workspace

__all__ = ["Room", "Rows", "Sizes", "Step"]

Rows = tuple[Array, Array, Array]

# So many numbers are added up in one product: long enough for its speed, and short enough that they
# are still in the processor's cache.
_N_COLUMNS = 256


class Sizes(NamedTuple):
    """Numbers of features and units, and of the arrays in a step; see `Recurrent`."""

    n_in: int
    n_out: int
    n_products: int
    n_gates: int
    n_states: int
    n_saved: int


class Step:
    """Arrays of one step, each a view of the workspace; the columns are the samples.

    Attributes
    ----------
    inputs : ndarray of shape (n_out + n_in + 1, batch_size)
        The state before, the input and 1, one below the other.
    x : ndarray of shape (n_in, batch_size)
        The input among them.
    whole : ndarray of shape ((n_products + n_saved) · n_out, batch_size)
        The products, and what else the backward pass needs.
    product : ndarray of shape (n_products · n_out, batch_size)
        Products of the weights and the inputs.
    gates : ndarray of shape (n_gates · n_out, batch_size)
        The first of them, for sigmoids: half of the products.
    blocks : list of ndarray of shape (n_out, batch_size)
        Parts of the whole.
    before, after : list of ndarray of shape (n_out, batch_size)
        States.
    """

    __slots__ = ("after", "before", "blocks", "gates", "inputs", "product", "whole", "x")

    def __init__(self, room: Room, now: int, following: int, own: int) -> None:
        n_out = room.sizes.n_out
        self.inputs, self.whole = room.inputs[now], room.wholes[own]
        self.x = self.inputs[n_out:-1]
        self.product = self.whole[: room.sizes.n_products * n_out]
        self.gates = self.whole[: room.sizes.n_gates * n_out]
        self.blocks = room.blocks(self.whole)
        self.before = [self.inputs[:n_out], *room.states[now]]
        self.after = [room.inputs[following, :n_out], *room.states[following]]


class Room(Workspace):
    """A workspace: the weights in one matrix, and the arrays of the steps."""

    def __init__(self, sizes: Sizes, batch_size: int, dtype: np.dtype[Any]) -> None:
        n_out = sizes.n_out
        self.sizes, self.dtype, self.shape = sizes, dtype, (n_out, batch_size)
        self.n_inputs = n_out + sizes.n_in + 1
        self.n_rows = (sizes.n_products + sizes.n_saved) * n_out
        self.half, self.one = np.array(0.5, dtype), np.array(1, dtype)
        self.weights = self.scaled = np.zeros((0, 0), dtype)
        self.other = np.empty(self.shape, dtype)
        self.steps: list[Step] = []

    def _make_steps(self, n_wholes: int, n_states: int) -> None:
        self.inputs = np.empty((n_states, self.n_inputs, self.shape[1]), self.dtype)
        self.inputs[:, -1] = 1
        self.states = np.empty((n_states, self.sizes.n_states - 1, *self.shape), self.dtype)
        self.wholes = np.empty((n_wholes, self.n_rows, self.shape[1]), self.dtype)

    def passing_steps(self) -> list[Step]:
        """Make the arrays of two steps in turn, for an evaluation."""
        self._make_steps(1, 2)
        return [Step(self, 0, 1, 0), Step(self, 1, 0, 0)]

    def blocks(self, rows: Array) -> list[Array]:
        """Return views of each n_out rows."""
        n_blocks = len(rows) // self.sizes.n_out
        return list(rows.reshape(n_blocks, *self.shape))

    def kept_steps(self, n_steps: int) -> list[Step]:
        """Return the arrays of all steps, and make those of the backward pass."""
        if not self.steps or len(self.steps) < n_steps:
            self._make_steps(max(n_steps, 1), max(n_steps, 1) + 1)
            self.steps = [Step(self, t, t + 1, t) for t in range(max(n_steps, 1))]
            self.d = np.empty((self.sizes.n_states, *self.shape), self.dtype)
            self.d_whole = np.empty((self.n_rows, self.shape[1]), self.dtype)
            self.d_blocks = self.blocks(self.d_whole)
            self.dz = self.d_whole[: self.sizes.n_products * self.sizes.n_out]
            n_kept = max(1, _N_COLUMNS // max(1, self.shape[1]))
            self.n_kept = min(n_kept, len(self.steps))
            self.kept_dz = np.empty((len(self.dz), self.n_kept, self.shape[1]), self.dtype)
            self.part = np.empty((len(self.dz), self.n_inputs), self.dtype)
            self.weights_grad = np.empty_like(self.part)
            self.d_inputs = np.empty((self.n_inputs, self.shape[1]), self.dtype)
        return self.steps

    def weight_rows(self) -> Rows:
        """Return the rows of the matrix of all weights, which is made the first time."""
        if not self.weights.size:
            n_columns = self.sizes.n_products * self.sizes.n_out
            self.weights = np.zeros((self.n_inputs, n_columns), self.dtype)
            # A sigmoid is computed by tanh, which does all of a step's at once: of half of z.
            self.scaled = np.empty_like(self.weights) if self.sizes.n_gates else self.weights
            self.scale = np.ones(n_columns, self.dtype)
            self.scale[: self.sizes.n_gates * self.sizes.n_out] = 0.5
        return self.split(self.weights)

    def split(self, matrix: Array) -> Rows:
        """Return views of the rows for the state, the input and the bias, by products."""
        _, n_out, n_products, *_ = self.sizes
        blocks = matrix.T.reshape(n_products, n_out, self.n_inputs).transpose(2, 0, 1)
        return blocks[:n_out], blocks[n_out:-1], blocks[-1]

    def rows(self, n_hidden: int, n_in: int) -> Rows:
        """Make rows as those of `split`, of other numbers, that are 0."""
        _, n_out, n_products, *_ = self.sizes
        shapes = (n_hidden, n_products, n_out), (n_in, n_products, n_out), (n_products, n_out)
        hidden, of_input, bias = (np.zeros(shape, self.dtype) for shape in shapes)
        return hidden, of_input, bias

    def start(self, first: Step, state: Array | None) -> None:
        """Get ready for a pass with the weights that are there, and states to begin with."""
        if self.sizes.n_gates:
            np.multiply(self.weights, self.scale, self.scaled)
        self.begin(first, state)

    def begin(self, first: Step, state: Array | None) -> None:
        """Write the states to begin with: 0, if none are given."""
        n_out = self.sizes.n_out
        for index, before in enumerate(first.before):
            own = slice(index * n_out, (index + 1) * n_out)
            before[...] = 0 if state is None else state[:, own].T

    def side_by_side(self, states: list[Array]) -> Array:
        """Copy states into rows, a sample each."""
        return np.ascontiguousarray(np.concatenate(states).T)

    def go_back(self, dh: Array, dx: Array | None) -> None:
        """Write the gradients of a step's inputs."""
        if dx is None:
            np.dot(self.weights[: self.sizes.n_out], self.dz, dh)
        else:
            np.dot(self.weights, self.dz, self.d_inputs)
            dh[...] = self.d_inputs[: self.sizes.n_out]
            dx[...] = self.d_inputs[self.sizes.n_out : -1]

    def start_back(self) -> None:
        """Get ready to go back through the steps: all gradients are 0."""
        self.d.fill(0)
        self.weights_grad.fill(0)

    def keep(self, t: int, n_steps: int) -> None:
        """Add the gradient of a step's products to that of the weights, some steps at a time."""
        place = t % self.n_kept
        self.kept_dz[:, place] = self.dz
        if place:
            return
        n_kept = min(self.n_kept, n_steps - t)
        width = n_kept * self.shape[1]
        inputs = self.inputs[t : t + n_kept].transpose(1, 0, 2).reshape(self.n_inputs, width)
        dz = self.kept_dz[:, :n_kept].reshape(len(self.dz), width)
        self.weights_grad += np.dot(dz, inputs.T, self.part)

    def gradients(self) -> Rows:
        """Return the gradient of the weights, as `split` does."""
        return self.split(self.weights_grad.T)
