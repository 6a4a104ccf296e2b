"""`Dense`: every input connected with every unit."""

from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.activations import Activation, Identity
from layerkit.errors import StateError
from layerkit.initializers import GlorotUniform, Initializer, Zeros
from layerkit.layers.base import Layer, Workspace

__all__ = ["Dense"]

_ONCE = "the cache of a forward pass, once"
_IDENTITY, _GLOROT, _ZEROS = Identity(), GlorotUniform(), Zeros()


class Dense(Layer):
    """A fully connected layer: y = f(z) with z = x · kernel + bias.

    x is of shape (batch_size, n_in), or has axes between, such as (batch_size, n_steps, n_in):
    each place is connected alike, and a model of such samples names their shape:
    ``Sequential(layers, input_shape=(n_steps, n_in))``.

    Backwards, with dz = f.backward(dy): the kernel's gradient is xᵀ · dz, the bias's is dz
    summed over the batch, and dx = dz · kernelᵀ.

    Parameters
    ----------
    n_in, n_out : int
        The number of inputs and of units.
    activation : Activation, optional
        f, an instance such as ``Sigmoid()``; none means `Identity`.
    use_bias : bool
        Whether there is a bias.
    kernel_initializer, bias_initializer : Initializer
        Draw the first values.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    kernel : Parameter of shape (n_in, n_out)
        The weights.
    bias : Parameter of shape (n_out,)
        The bias; absent if ``use_bias`` is False.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; an activation's class or name among them.

    References
    ----------
    Rumelhart, Hinton & Williams (1986), "Learning representations by back-propagating errors",
    eq. 1-7.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Dense, Sequential, Sigmoid
    >>> layer = Dense(3, 2, Sigmoid())
    >>> Sequential([layer], seed=0).predict(np.zeros((1, 3)))
    array([[0.5, 0.5]])
    >>> layer.kernel.shape, layer.bias.shape
    ((3, 2), (2,))
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: Activation | None = _IDENTITY,
        *,
        use_bias: bool = True,
        kernel_initializer: Initializer = _GLOROT,
        bias_initializer: Initializer = _ZEROS,
        name: str | None = None,
    ) -> None:
        where = "Dense.__init__"
        self.n_in = check.integer(where, "n_in", n_in, minimum=1)
        self.n_out = check.integer(where, "n_out", n_out, minimum=1)
        activation = _IDENTITY if activation is None else activation
        self.activation = check.instance(where, "activation", activation, Activation)
        self.use_bias = check.boolean(where, "use_bias", use_bias)
        for argument, initializer in (
            ("kernel_initializer", kernel_initializer),
            ("bias_initializer", bias_initializer),
        ):
            check.instance(where, argument, initializer, Initializer)
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self.name = check.name(where, name)
        self.input_shape = (self.n_in,)

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether the last axis has n_in numbers; a model fixes the axes before it."""
        if self.output_shape is None:
            return input_shape[-1:] == (self.n_in,)
        return super().accepts(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Declare the kernel and the bias."""
        self.kernel = self.add_parameter("kernel", (self.n_in, self.n_out), self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_parameter("bias", (self.n_out,), self.bias_initializer)
        return (*input_shape[:-1], self.n_out)

    def count_flops(self) -> int:
        """Count 2 · n_in · n_out for each place; see `Layer.count_flops`."""
        self._check_built("count_flops")
        return 2 * self.n_out * flat.count_numbers(self.input_shape or ())

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute y = f(x · kernel + bias)."""
        if x.ndim > 2:
            rows, cache = Dense.compute_forward(self, x.reshape(-1, self.n_in), training=training)
            return rows.reshape(*x.shape[:-1], self.n_out), cache
        if not training:
            room = None
            z = x.dot(self.kernel.value)
            if self.use_bias:
                np.add(z, self.bias.value, z)
            y = self.activation.forward(z)
        else:
            room = self._workspace
            if room is None or room.in_use or room.batch_size != len(x):
                room = self.workspace(len(x), self._allocate)
            else:  # as `workspace` does, without a call
                room.in_use = True
            z = x.dot(room.kernel, room.z)
            if self.use_bias:
                np.add(room.z_row, room.bias, room.z_row)
            if room.y is None:
                y = self.activation.forward(z)
            else:
                y = self.activation.forward(z, out=room.y)  # type: ignore[call-arg]
        return y, (x, z, y, room)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Array | None:
        """Compute dx = dz · kernelᵀ, and the gradients of the kernel and the bias."""
        if dy.ndim > 2:
            rows = dy.reshape(-1, self.n_out)
            dx = Dense.compute_backward(self, rows, cache, need_dx=need_dx, skip_frozen=skip_frozen)
            return None if dx is None else dx.reshape(*dy.shape[:-1], self.n_in)
        x, z, y, room = cache
        if room is None:
            room = self._allocate(len(x))
        elif not room.in_use:
            got = check.Said("one that has been used")
            check.fail("Dense.compute_backward", "cache", _ONCE, got, error=StateError)
        if self.activation.backward_takes_out:
            dz = self.activation.backward(dy, z, y, out=z if room.dz is None else room.dz)
        else:
            dz = self.activation.backward(dy, z, y)
        if not skip_frozen or self.kernel.trainable:
            x.T.dot(dz, room.kernel_grad)
        if self.use_bias and dz is not room.dz:
            # A product with ones: several times faster than a sum over an axis.
            room.ones.dot(dz, room.bias_grad)
        room.in_use = False
        # Not in the workspace: a layer around this one may keep dx while it calls this one again.
        return dz.dot(room.kernel.T) if need_dx else None

    def compute_sample_gradients(self, dy: Array, cache: Any) -> tuple[Array, dict[str, Array]]:
        """Compute dx, and for each sample the outer products of x and dz, and dz itself."""
        x, z, y, room = cache
        dz = self.activation.backward(dy.reshape(z.shape), z, y)
        room.in_use = False
        n_rows = len(x) // max(len(dy), 1)
        dz_rows = dz.reshape(len(dy), n_rows, self.n_out)
        x_rows = x.reshape(len(dy), n_rows, self.n_in)
        gradients = {"kernel": np.einsum("nri,nro->nio", x_rows, dz_rows)}
        if self.use_bias:
            gradients["bias"] = dz_rows.sum(axis=1)
        return dz.dot(room.kernel.T).reshape(*dy.shape[:-1], self.n_in), gradients

    def _allocate(self, batch_size: int) -> "_Room":
        return _Room(self, batch_size)


class _Room(Workspace):
    """A workspace: buffers, and the parameters' arrays."""

    __slots__ = (
        "batch_size",
        "bias",
        "bias_grad",
        "dz",
        "in_use",
        "kernel",
        "kernel_grad",
        "ones",
        "y",
        "z",
        "z_row",
    )

    def __init__(self, dense: Dense, batch_size: int) -> None:
        self.kernel, self.kernel_grad = dense.kernel.value, dense.kernel.grad
        self.z = np.empty((batch_size, dense.n_out), dense.dtype)
        self.y = np.empty_like(self.z) if dense.activation.forward_takes_out else None
        self.ones = np.ones(batch_size, dense.dtype)
        self.z_row, self.dz, self.in_use = self.z, None, False
        if dense.use_bias:
            self.bias, self.bias_grad = dense.bias.value, dense.bias.grad
        if batch_size == 1:
            # A bias is added to a single row three times faster where nothing is broadcast; and
            # its gradient is dz itself, which so is written where it belongs.
            self.z_row = self.z[0]
            self.dz = self.bias_grad[None] if dense.use_bias else None
