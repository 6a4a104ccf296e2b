"""`Recurrent`: how a recurrent layer goes through time, forward and back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.validation import Array, Shape
from layerkit.errors import StateError
from layerkit.initializers import Initializer
from layerkit.layers.base import Layer
from layerkit.layers.passes import is_trained
from layerkit.layers.unrolling import Room, Rows, Sizes, Step
from layerkit.parameters import Parameter

__all__ = ["Recurrent"]


class Recurrent(Layer):
    """Base of the recurrent layers, which carry a state from each step of a sequence to the next.

    x is of shape (batch_size, n_steps, n_in), y of shape (batch_size, n_out): the output after the
    last step, or (batch_size, n_steps, n_out) with ``return_sequences``. A mask (see `Masked`) lets
    padded steps pass: the state stays, their output is 0, and so are their gradients. A state from
    elsewhere is begun with by `WithState`, one of the batch before by `Carried`.

    A subclass computes one step (`forward_step`, `backward_step`) on arrays whose columns are the
    samples: then each gate is one piece of memory. The products with the input, the state and 1,
    which the bias is multiplied by, are a single one.

    Parameters
    ----------
    n_in, n_out : int
        Number of features of a step, and of units.
    return_sequences : bool
        Whether y has the output of each step, and not of the last alone.
    return_state : bool
        Whether y is the whole state after the last step, for `WithState`.
    use_bias : bool
        Whether there is a bias.
    kernel_initializer, recurrent_initializer, bias_initializer : Initializer
        Initializers that draw the first values.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    """

    # Parts of the kernels; and of arrays of (n_out, batch_size) in a step: products, the first of
    # which go through a sigmoid, states, and others that the backward pass needs.
    n_parts = 1
    n_products = 1
    n_gates = 0
    n_states = 1
    n_saved = 0

    kernel: Parameter
    recurrent_kernel: Parameter
    bias: Parameter

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        return_sequences: bool,
        return_state: bool,
        use_bias: bool,
        kernel_initializer: Initializer,
        recurrent_initializer: Initializer,
        bias_initializer: Initializer,
        name: str | None,
    ) -> None:
        where = f"{type(self).__name__}.__init__"
        self.n_in = check.integer(where, "n_in", n_in, minimum=1)
        self.n_out = check.integer(where, "n_out", n_out, minimum=1)
        self.return_sequences = check.boolean(where, "return_sequences", return_sequences)
        self.return_state = check.boolean(where, "return_state", return_state)
        if return_sequences and return_state:
            got = check.Said("both return_sequences and return_state")
            remedy = "Of a sequence, use the last output: it is the state's first part."
            check.fail(where, "return_state", "False with return_sequences", got, remedy)
        self.use_bias = check.boolean(where, "use_bias", use_bias)
        for argument, initializer in (
            ("kernel_initializer", kernel_initializer),
            ("recurrent_initializer", recurrent_initializer),
            ("bias_initializer", bias_initializer),
        ):
            check.instance(where, argument, initializer, Initializer)
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self.recurrent_initializer = recurrent_initializer
        self.name = check.name(where, name)
        self.input_shape = (None, self.n_in)

    @property
    def n_state(self) -> int:
        """Number of numbers in a sample's state."""
        return self.n_states * self.n_out

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether samples are sequences of n_in features; a model may fix their length."""
        if self.output_shape is None:
            return len(input_shape) == 2 and input_shape[1] == self.n_in
        return super().accepts(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Declare the parameters."""
        width = self.n_parts * self.n_out
        self.kernel = self.add_parameter("kernel", (self.n_in, width), self.kernel_initializer)
        self.recurrent_kernel = self.add_parameter(
            "recurrent_kernel", (self.n_out, width), self.recurrent_initializer
        )
        if self.use_bias:
            self.add_bias()
        if self.return_sequences:
            return (*input_shape[:-1], self.n_out)
        return (self.n_state if self.return_state else self.n_out,)

    def add_bias(self) -> None:
        """Declare the bias, as `build` does."""
        width = self.n_parts * self.n_out
        self.bias = self.add_parameter("bias", (width,), self.bias_initializer)

    @abstractmethod
    def put_weights(self, rows: Rows, values: Sequence[Array]) -> None:
        """Write the parameters, or products with them, by the products of a step.

        Parameters
        ----------
        rows : tuple of ndarray
            Arrays to write to, of shape (n_out, n_products, n_out), (n_in, n_products, n_out) and
            (n_products, n_out), or with other numbers of rows: for the state before the step, the
            input and the bias. What is written nowhere is 0.
        values : sequence of ndarray
            Values of the recurrent kernel, the kernel and the bias, or as many rows of products
            with the kernels. Without the bias if there is none.
        """

    @abstractmethod
    def put_gradients(self, rows: Rows) -> None:
        """Write the parameters' gradients, from those of the rows of `put_weights`."""

    @abstractmethod
    def forward_step(self, step: Step, room: Room) -> None:
        """Compute the states after a step from the products, which may be overwritten."""

    @abstractmethod
    def backward_step(self, step: Step, room: Room, d: Array) -> Array | None:
        """Go back through a step.

        Parameters
        ----------
        step : Step
            Arrays of the step, as the forward pass left them.
        room : Room
            Workspace; its ``dz`` is to become the gradient with respect to the products.
        d : ndarray of shape (n_states, n_out, batch_size)
            Gradient with respect to the states after the step; of all but the first, to become
            that with respect to the states before.

        Returns
        -------
        ndarray of shape (n_out, batch_size), or None
            Gradient with respect to the first state before the step, apart from the products.
        """

    def count_flops(self) -> int:
        """Count 2 for each number of the two kernels at each step; see `Layer.count_flops`."""
        self._check_built("count_flops")
        n_steps = flat.count_numbers((self.input_shape or ())[:1])
        return 2 * (self.kernel.size + self.recurrent_kernel.size) * n_steps

    def compute_forward(
        self,
        x: Array,
        *,
        training: bool,
        mask: Array | None = None,
        initial_state: Array | None = None,
    ) -> tuple[Array, Any]:
        """Go through the steps of a batch, from the states given, or else from 0."""
        n_steps = x.shape[1]
        self._check_further(x, mask, initial_state)
        if training:
            room = self.workspace(len(x), self._allocate)
            steps: Sequence[Step] = room.kept_steps(n_steps)
        else:
            room = self._allocate(len(x))
            steps = room.passing_steps()
        self.put_weights(room.weight_rows(), self._values())
        room.start(steps[0], initial_state)
        padded = None if mask is None else _Padding(mask)
        y, last = self._go(x, steps, room, padded)
        cache = (room, n_steps, padded, initial_state is not None, last)
        return y, cache if training else None

    def _values(self) -> list[Array]:
        """Return the values of the parameters, in the order of `put_weights`."""
        biases = [self.bias.value] if self.use_bias else []
        return [self.recurrent_kernel.value, self.kernel.value, *biases]

    def _allocate(self, batch_size: int) -> Room:
        sizes = Sizes(
            self.n_in, self.n_out, self.n_products, self.n_gates, self.n_states, self.n_saved
        )
        return Room(sizes, batch_size, self.dtype)

    def _check_further(self, x: Array, mask: Array | None, state: Array | None) -> None:
        """Refuse a mask or a state of another shape, before anything is changed."""
        where = f"{type(self).__name__}.compute_forward"
        if mask is not None:
            check.exact_shape(where, "mask", mask, x.shape[:2])
        if state is not None:
            check.exact_shape(where, "initial_state", state, (len(x), self.n_state))

    def _go(
        self, x: Array, steps: Sequence[Step], room: Room, padded: _Padding | None
    ) -> tuple[Array, list[Array]]:
        """Compute the output and the last states."""
        y = np.empty((*x.shape[:2], self.n_out), self.dtype) if self.return_sequences else None
        outputs = None if y is None else y.transpose(1, 2, 0)
        states, weights = steps[0].before, room.scaled.T
        for t, (x_t, step) in enumerate(zip(x.transpose(1, 2, 0), cycle(steps), strict=False)):
            step.x[...] = x_t
            np.dot(weights, step.inputs, step.product)
            self.forward_step(step, room)
            states = step.after
            if padded is not None and padded.some[t]:
                for before, after in zip(step.before, states, strict=True):
                    np.copyto(after, before, where=padded.is_padded[t])
            if outputs is not None:
                outputs[t] = states[0]
        if y is None:
            return room.side_by_side(states if self.return_state else states[:1]), states
        if padded is not None:
            y *= padded.is_real.T[..., None]
        return y, states

    def last_state(self, cache: Any) -> Array:
        """Return the states after the last step of a forward pass of training.

        Parameters
        ----------
        cache : object
            Cache of the pass.

        Returns
        -------
        ndarray of shape (batch_size, n_state)
            States, side by side.
        """
        room, *_, states = cache
        state: Array = room.side_by_side(states)
        return state

    @ignoring("under")
    def step(self, x: Any, state: Any = None) -> tuple[Array, Array]:
        """Compute a single step in evaluation, such as of a sequence that is still being made.

        Parameters
        ----------
        x : array_like of shape (batch_size, n_in)
            Elements of the sequences.
        state : array_like of shape (batch_size, n_state), optional
            States that the step before returned; none before the first.

        Returns
        -------
        y : ndarray of shape (batch_size, n_out)
            Outputs.
        state : ndarray of shape (batch_size, n_state)
            States, for the step after.

        Raises
        ------
        ShapeError
            If x or the state has another shape.
        StateError
            If the layer is not part of a model yet.
        """
        where = f"{type(self).__name__}.step"
        self._check_built("step")
        x = check.batch(where, "x", x, (self.n_in,), self.dtype)
        if state is not None:
            state = check.numeric_array(where, "state", state, self.dtype)
            remedy = "It is what the step before returned."
            check.exact_shape(where, "state", state, (len(x), self.n_state), remedy)
        room = self._allocate(len(x))
        step = room.passing_steps()[0]
        room.begin(step, state)
        # Not by the matrix of all weights: to write it would take longer than the step.
        recurrent_kernel, kernel, *bias = self._values()
        rows = room.rows(len(x), len(x))
        self.put_weights(rows, [step.before[0].T.dot(recurrent_kernel), x.dot(kernel), *bias])
        products = rows[0] + rows[1] + rows[2]
        step.product[...] = products.reshape(len(x), len(step.product)).T
        step.gates *= room.half
        self.forward_step(step, room)
        return room.side_by_side(step.after[:1]), room.side_by_side(step.after)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Go back through the steps: dx, and with a given initial state (dx, its gradient)."""
        room, n_steps, padded, is_given, _ = cache
        if not room.in_use:
            where, got = f"{type(self).__name__}.compute_backward", check.Said("one used already")
            check.fail(where, "cache", "that of a forward pass, once", got, error=StateError)
        is_read = not skip_frozen or is_trained(self)
        dx = np.empty((len(dy), n_steps, self.n_in), self.dtype) if need_dx else None
        room.start_back()
        d = room.d
        each_dy = dy.transpose(1, 2, 0) if self.return_sequences else None
        if each_dy is None:
            rows = d.reshape(self.n_state, len(dy))
            rows[: dy.shape[1]] = dy.T
        for t in reversed(range(n_steps)):
            step = room.steps[t]
            pad = padded is not None and padded.some[t]
            if each_dy is not None:
                d[0] += each_dy[t] * padded.is_real[t] if pad else each_dy[t]
            kept = d * padded.is_padded[t] if pad else None
            direct = self.backward_step(step, room, d)
            if kept is not None:
                direct = _let_pass(kept, padded.is_real[t], room.dz, d, direct)
            if t or need_dx or is_given:  # else, nobody reads what comes before the first
                room.go_back(d[0], None if dx is None else dx[:, t].T)
            if is_read:
                room.keep(t, n_steps)
            if direct is not None:
                d[0] += direct
        if is_read:
            self.put_gradients(room.gradients())
        room.in_use = False
        if not is_given:
            return dx
        return dx, d.reshape(self.n_state, len(dy)).T.copy()


def _let_pass(kept: Array, is_real: Array, dz: Array, d: Array, direct: Array | None) -> Array:
    """Carry the gradients of padded samples, which are ``kept``, past a step."""
    dz *= is_real
    d[1:] *= is_real
    d[1:] += kept[1:]
    passed: Array = kept[0]
    if direct is not None:
        passed += direct * is_real
    return passed


class _Padding:
    """A mask with the steps first."""

    def __init__(self, mask: Array) -> None:
        self.is_real = np.ascontiguousarray(mask.T)
        self.is_padded = self.is_real == 0
        self.some = self.is_padded.any(axis=1).tolist()
