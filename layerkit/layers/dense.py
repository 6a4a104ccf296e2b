"""`Dense`: every input connected with every unit."""

from typing import Any

import numpy as np

from layerkit import _validation as check
from layerkit._validation import Array, Shape
from layerkit.activations import Activation, Identity
from layerkit.initializers import GlorotUniform, Initializer, Zeros
from layerkit.layers.base import Layer

__all__ = ["Dense"]

_IDENTITY, _GLOROT, _ZEROS = Identity(), GlorotUniform(), Zeros()


# The buffers of a training step: for z, for its rows as the bias is added to them, for y, and ones.
_Buffers = tuple[Array | None, Array | None, Array | None, Array | None]
_NO_BUFFERS: _Buffers = (None, None, None, None)


class Dense(Layer):
    """A fully connected layer: y = f(z) with z = x · kernel + bias.

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
        What messages and ``model["name"]`` call the layer.

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

    def build(self, input_shape: Shape) -> Shape:
        """Declare the kernel and the bias."""
        self.kernel = self.add_parameter("kernel", (self.n_in, self.n_out), self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_parameter("bias", (self.n_out,), self.bias_initializer)
        return (self.n_out,)

    def _allocate(self, batch_size: int) -> _Buffers:
        z = np.empty((batch_size, self.n_out), self.dtype)
        # A bias is added to a single row three times faster where nothing is broadcast.
        rows = z[0] if batch_size == 1 else z
        y = np.empty_like(z) if self.activation.forward_takes_out else None
        return z, rows, y, np.ones(batch_size, self.dtype)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute y = f(x · kernel + bias)."""
        buffers = self.workspace(len(x), self._allocate) if training else _NO_BUFFERS
        z_buffer, rows, y_buffer, ones = buffers
        z = x.dot(self.kernel.value, z_buffer)
        if self.use_bias:
            rows = z if rows is None else rows
            np.add(rows, self.bias.value, rows)
        if y_buffer is None:
            y = self.activation.forward(z)
        else:
            y = self.activation.forward(z, out=y_buffer)  # type: ignore[call-arg]
        return y, (x, z, y, ones)

    def compute_backward(self, dy: Array, cache: Any, *, need_dx: bool = True) -> Array:
        """Compute dx = dz · kernelᵀ, and the gradients of the kernel and the bias."""
        x, z, y, ones = cache
        if self.activation.backward_takes_out:
            dz = self.activation.backward(dy, z, y, out=z)
        else:
            dz = self.activation.backward(dy, z, y)
        x.T.dot(dz, self.kernel.grad)
        if self.use_bias:
            # A product with ones: several times faster than a sum over an axis.
            ones.dot(dz, self.bias.grad)
        return dz.dot(self.kernel.value.T) if need_dx else None  # type: ignore[return-value]
