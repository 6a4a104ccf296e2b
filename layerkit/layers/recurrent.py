"""Recurrent layers: a plain one, long short-term memory, and gated recurrent units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.activations import Activation, Tanh
from layerkit.initializers import GlorotUniform, Initializer, Orthogonal, Zeros
from layerkit.layers.recurrence import Recurrent
from layerkit.layers.unrolling import Room, Rows, Step

__all__ = ["GRU", "LSTM", "SimpleRNN"]

_TANH = Tanh()
_GLOROT, _ORTHOGONAL, _ZEROS = GlorotUniform(), Orthogonal(), Zeros()


class SimpleRNN(Recurrent):
    """A plain recurrent layer: h_t = f(x_t · kernel + h_{t−1} · recurrent_kernel + bias).

    x is of shape (batch_size, n_steps, n_in), y of shape (batch_size, n_out): h after the last
    step; or with ``return_sequences`` that of each step, which another recurrent layer can read.
    See `Masked` for sequences of different lengths, `WithState` for an h to begin with, and
    `Carried` for one that is carried on.

    Parameters
    ----------
    n_in, n_out : int
        Number of features of a step, and of units.
    activation : Activation
        f, an instance.
    return_sequences : bool
        Whether y has the output of each step: (batch_size, n_steps, n_out).
    return_state : bool
        Whether y is the state after the last step, here h once more.
    use_bias : bool
        Whether there is a bias.
    kernel_initializer, recurrent_initializer, bias_initializer : Initializer
        Initializers that draw the first values.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    kernel : Parameter of shape (n_in, n_out)
        Weights of the input.
    recurrent_kernel : Parameter of shape (n_out, n_out)
        Weights of the state.
    bias : Parameter of shape (n_out,)
        Bias: one, as in Keras; torch's two add up to it.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Elman (1990), "Finding structure in time", figure 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Sequential, SimpleRNN
    >>> model = Sequential([SimpleRNN(3, 4, return_sequences=True)], seed=0)
    >>> model.predict(np.ones((2, 7, 3))).shape
    (2, 7, 4)
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: Activation = _TANH,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        use_bias: bool = True,
        kernel_initializer: Initializer = _GLOROT,
        recurrent_initializer: Initializer = _ORTHOGONAL,
        bias_initializer: Initializer = _ZEROS,
        name: str | None = None,
    ) -> None:
        self.activation = check.instance("SimpleRNN.__init__", "activation", activation, Activation)
        super().__init__(
            n_in,
            n_out,
            return_sequences=return_sequences,
            return_state=return_state,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            name=name,
        )

    def put_weights(self, rows: Rows, values: Sequence[Array]) -> None:
        """Write the values as they are."""
        for own, value in zip(rows, values, strict=False):
            own[...] = value.reshape(own.shape)

    def put_gradients(self, rows: Rows) -> None:
        """Write the gradients as they are."""
        self.recurrent_kernel.grad, self.kernel.grad = rows[0][:, 0], rows[1][:, 0]
        if self.use_bias:
            self.bias.grad = rows[2][0]

    def forward_step(self, step: Step, room: Room) -> None:
        """Compute h = f(z)."""
        step.after[0][...] = self.activation.forward(step.product.T).T

    def backward_step(self, step: Step, room: Room, d: Array) -> None:
        """Compute dz = f.backward(dh)."""
        room.dz[...] = self.activation.backward(d[0].T, step.product.T, step.after[0].T).T


class LSTM(Recurrent):
    """Long short-term memory: a state c that gates let in, keep and let out.

    With z = x_t · kernel + h_{t−1} · recurrent_kernel + bias, cut into four parts in the order of
    Keras and torch, i, f, g and o:

    c_t = sigmoid(f) ⊙ c_{t−1} + sigmoid(i) ⊙ tanh(g), and h_t = sigmoid(o) ⊙ tanh(c_t).

    x is of shape (batch_size, n_steps, n_in), y of shape (batch_size, n_out): h after the last
    step; or with ``return_sequences`` that of each step, which another recurrent layer can read.
    See `Masked` for sequences of different lengths, `WithState` for a state to begin with, and
    `Carried` for one that is carried on. A sample's state is of shape (2 · n_out,): h, then c.

    Parameters
    ----------
    n_in, n_out : int
        Number of features of a step, and of units.
    return_sequences : bool
        Whether y has the output of each step: (batch_size, n_steps, n_out).
    return_state : bool
        Whether y is the whole state after the last step: (batch_size, 2 · n_out).
    use_bias : bool
        Whether there is a bias.
    forget_bias : float
        Number that is added to the first bias of the gate f, so that c is kept at first.
    kernel_initializer, recurrent_initializer, bias_initializer : Initializer
        Initializers that draw the first values.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    kernel : Parameter of shape (n_in, 4 · n_out)
        Weights of the input.
    recurrent_kernel : Parameter of shape (n_out, 4 · n_out)
        Weights of the state h.
    bias : Parameter of shape (4 · n_out,)
        Bias: one, as in Keras; torch's two add up to it.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Hochreiter & Schmidhuber (1997), "Long short-term memory"; with the forget gate of Gers et al.
    (2000), "Learning to forget: continual prediction with LSTM", eq. 3-7. Its bias of 1 is that of
    Jozefowicz et al. (2015), "An empirical exploration of recurrent network architectures".

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LSTM, Dense, Sequential
    >>> model = Sequential([LSTM(3, 8), Dense(8, 2)], seed=0)
    >>> model.predict(np.ones((5, 20, 3))).shape
    (5, 2)
    """

    n_parts = n_products = 4
    n_gates = 3
    n_states = 2
    n_saved = 1  # tanh(c)
    _ORDER = (0, 1, 3, 2)  # the three that go through a sigmoid side by side: i, f, o, g

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        use_bias: bool = True,
        forget_bias: float = 1.0,
        kernel_initializer: Initializer = _GLOROT,
        recurrent_initializer: Initializer = _ORTHOGONAL,
        bias_initializer: Initializer = _ZEROS,
        name: str | None = None,
    ) -> None:
        self.forget_bias = check.number("LSTM.__init__", "forget_bias", forget_bias)
        super().__init__(
            n_in,
            n_out,
            return_sequences=return_sequences,
            return_state=return_state,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            name=name,
        )

    def add_bias(self) -> None:
        """Declare the bias, that of the gate f larger than the others."""
        initializer = _WithForgetBias(self.bias_initializer, self.forget_bias)
        self.bias = self.add_parameter("bias", (4 * self.n_out,), initializer)

    def put_weights(self, rows: Rows, values: Sequence[Array]) -> None:
        """Write the values in the order i, f, o, g."""
        for own, value in zip(rows, values, strict=False):
            own[..., self._ORDER, :] = value.reshape(own.shape)

    def put_gradients(self, rows: Rows) -> None:
        """Write the gradients in the order i, f, g, o."""
        parameters = [self.recurrent_kernel, self.kernel, *([self.bias] if self.use_bias else [])]
        for own, parameter in zip(rows, parameters, strict=False):
            parameter.grad = own[..., self._ORDER, :].reshape(parameter.shape)

    def forward_step(self, step: Step, room: Room) -> None:
        """Compute c and h."""
        gates, (i, f, o, g, tanh_c), (h, c) = step.gates, step.blocks, step.after
        np.tanh(step.product, step.product)
        np.multiply(gates, room.half, gates)
        np.add(gates, room.half, gates)
        np.multiply(i, g, room.other)
        np.multiply(f, step.before[1], c)
        np.add(c, room.other, c)
        np.tanh(c, tanh_c)
        np.multiply(o, tanh_c, h)

    def backward_step(self, step: Step, room: Room, d: Array) -> None:
        """Compute dz and dc; h before the step acts by the products alone."""
        (i, f, o, g, tanh_c), (dh, dc) = step.blocks, d
        d_i, d_f, d_o, d_g, d_tanh = room.d_blocks
        # Slopes: of the gates, s (1 − s) = s − s²; of g and tanh c, 1 − s².
        of_gates, of_others = room.d_whole[: len(step.gates)], room.d_whole[len(step.gates) :]
        np.multiply(step.whole, step.whole, room.d_whole)
        np.subtract(step.gates, of_gates, of_gates)
        np.subtract(room.one, of_others, of_others)
        np.multiply(d_o, tanh_c, d_o)
        np.multiply(d_o, dh, d_o)
        np.multiply(d_tanh, o, d_tanh)
        np.multiply(d_tanh, dh, d_tanh)
        np.add(dc, d_tanh, dc)
        np.multiply(d_i, g, d_i)
        np.multiply(d_i, dc, d_i)
        np.multiply(d_f, step.before[1], d_f)
        np.multiply(d_f, dc, d_f)
        np.multiply(d_g, i, d_g)
        np.multiply(d_g, dc, d_g)
        np.multiply(dc, f, dc)


class GRU(Recurrent):
    """Gated recurrent units: gates choose between the state and a new one.

    With a = x_t · kernel + bias[0] and b = h_{t−1} · recurrent_kernel + bias[1], each cut into
    three parts in the order of Keras, z, r and n (torch's is r, z, n):

    z = sigmoid(a_z + b_z), r = sigmoid(a_r + b_r), n = tanh(a_n + r ⊙ b_n), and
    h_t = z ⊙ h_{t−1} + (1 − z) ⊙ n.

    So the gate r acts after the product with the state, as in torch, and in Keras by default
    (``reset_after=True``); in the paper it acts before.

    x is of shape (batch_size, n_steps, n_in), y of shape (batch_size, n_out): h after the last
    step; or with ``return_sequences`` that of each step, which another recurrent layer can read.
    See `Masked` for sequences of different lengths, `WithState` for an h to begin with, and
    `Carried` for one that is carried on.

    Parameters
    ----------
    n_in, n_out : int
        Number of features of a step, and of units.
    return_sequences : bool
        Whether y has the output of each step: (batch_size, n_steps, n_out).
    return_state : bool
        Whether y is the state after the last step, here h once more.
    use_bias : bool
        Whether there is a bias.
    kernel_initializer, recurrent_initializer, bias_initializer : Initializer
        Initializers that draw the first values.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    kernel : Parameter of shape (n_in, 3 · n_out)
        Weights of the input.
    recurrent_kernel : Parameter of shape (n_out, 3 · n_out)
        Weights of the state.
    bias : Parameter of shape (2, 3 · n_out)
        Biases of the two products, as in Keras.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation", section 2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import GRU, Dense, Sequential
    >>> model = Sequential([GRU(3, 8), Dense(8, 2)], seed=0)
    >>> model.predict(np.ones((5, 20, 3))).shape
    (5, 2)
    """

    n_parts = 3
    n_products = 4  # z, r, the input's part of n and the state's
    n_gates = 2
    _OF_STATE = (0, 1, 3)

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        use_bias: bool = True,
        kernel_initializer: Initializer = _GLOROT,
        recurrent_initializer: Initializer = _ORTHOGONAL,
        bias_initializer: Initializer = _ZEROS,
        name: str | None = None,
    ) -> None:
        super().__init__(
            n_in,
            n_out,
            return_sequences=return_sequences,
            return_state=return_state,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            name=name,
        )

    def add_bias(self) -> None:
        """Declare the biases of the two products."""
        self.bias = self.add_parameter("bias", (2, 3 * self.n_out), self.bias_initializer)

    def put_weights(self, rows: Rows, values: Sequence[Array]) -> None:
        """Write the values, those of n into products of their own."""
        (hidden, of_input, bias), n_out = rows, self.n_out
        hidden[:, self._OF_STATE] = values[0].reshape(len(hidden), 3, n_out)
        of_input[:, :3] = values[1].reshape(len(of_input), 3, n_out)
        if self.use_bias:
            own = values[2].reshape(2, 3, n_out)
            bias[:3], bias[3] = own[0], own[1, 2]
            bias[:2] += own[1, :2]

    def put_gradients(self, rows: Rows) -> None:
        """Write the gradients; those of both biases are the same for the gates."""
        hidden, of_input, bias = rows
        self.recurrent_kernel.grad = hidden[:, self._OF_STATE].reshape(self.n_out, -1)
        self.kernel.grad = of_input[:, :3].reshape(self.n_in, -1)
        if self.use_bias:
            self.bias.grad = np.stack([bias[:3].reshape(-1), bias[self._OF_STATE, :].reshape(-1)])

    def forward_step(self, step: Step, room: Room) -> None:
        """Compute n and h."""
        gates, (z, r, n, state_part), other = step.gates, step.blocks, room.other
        np.tanh(gates, gates)
        np.multiply(gates, room.half, gates)
        np.add(gates, room.half, gates)
        np.multiply(r, state_part, other)
        np.add(n, other, n)
        np.tanh(n, n)
        np.subtract(step.before[0], n, other)
        np.multiply(other, z, other)
        np.add(other, n, step.after[0])

    def backward_step(self, step: Step, room: Room, d: Array) -> Array:
        """Compute dz, and the part of dh that z lets through."""
        (z, r, n, state_part), other, dh = step.blocks, room.other, d[0]
        d_z, d_r, d_n, d_state_part = room.d_blocks
        # Slopes: of the gates, s (1 − s) = s − s²; of n, 1 − n².
        slopes = room.d_whole[: len(step.gates)]
        np.multiply(step.gates, step.gates, slopes)
        np.subtract(step.gates, slopes, slopes)
        np.multiply(n, n, d_n)
        np.subtract(room.one, d_n, d_n)
        # h = n + z (h − n)
        np.subtract(step.before[0], n, other)
        np.multiply(other, dh, other)
        np.multiply(d_z, other, d_z)
        np.subtract(room.one, z, other)
        np.multiply(other, dh, other)
        np.multiply(d_n, other, d_n)
        np.multiply(d_n, r, d_state_part)
        np.multiply(d_n, state_part, other)
        np.multiply(d_r, other, d_r)
        np.multiply(dh, z, other)
        return other


class _WithForgetBias(Initializer):
    """Another initializer's values, with a number added to the second of four parts."""

    def __init__(self, initializer: Initializer, forget_bias: float) -> None:
        self.initializer, self.forget_bias = initializer, forget_bias

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        bias = np.array(self.initializer(shape, rng), float)
        n_out = len(bias) // 4
        bias[n_out : 2 * n_out] += self.forget_bias
        return bias
