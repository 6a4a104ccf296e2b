"""Convolutions: the same filters at every place of a series or an image."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.activations import Activation, Identity
from layerkit.errors import StateError
from layerkit.initializers import GlorotUniform, Initializer, Zeros
from layerkit.layers.base import Layer, Workspace
from layerkit.layers.correlation import Scratch, correlate, kernel_gradient, spread
from layerkit.layers.windows import Sizes, Windows, images_of, padding_of, sizes_of
from layerkit.parameters import Parameter

__all__ = ["Conv1D", "Conv2D"]

_ONCE = "the cache of a forward pass, once"
_IDENTITY, _GLOROT, _ZEROS = Identity(), GlorotUniform(), Zeros()


class Filters(Layer):
    """Base of layers that apply filters at all places, add a bias, and apply an activation.

    A subclass computes the products of its kernel with images, and their gradients; a series is an
    image of one row.
    """

    n_axes: ClassVar[int] = 2
    n_in: int
    kernel: Parameter
    kernel_size: Sizes
    stride: Sizes
    padding: str | Sizes
    dilation: Sizes

    def set_windows(self, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> None:
        """Check and keep where the filters are applied; for a constructor."""
        where, n_axes = f"{type(self).__name__}.__init__", self.n_axes
        self.kernel_size = sizes_of(where, "kernel_size", kernel_size, n_axes)
        self.stride = sizes_of(where, "stride", stride, n_axes)
        self.padding = padding_of(where, padding, n_axes)
        self.dilation = sizes_of(where, "dilation", dilation, n_axes)

    def set_output(self, activation: Any, use_bias: Any, bias_initializer: Any, name: Any) -> None:
        """Check and keep what follows the products; for a constructor."""
        where = f"{type(self).__name__}.__init__"
        activation = _IDENTITY if activation is None else activation
        self.activation = check.instance(where, "activation", activation, Activation)
        self.use_bias = check.boolean(where, "use_bias", use_bias)
        self.bias_initializer = check.instance(
            where, "bias_initializer", bias_initializer, Initializer
        )
        self.name = check.name(where, name)
        self.input_shape = (None,) * self.n_axes + (self.n_in,)

    @property
    @abstractmethod
    def n_filters(self) -> int:
        """Number of channels of the output."""

    @property
    def windows(self) -> Windows:
        """Places of the filters."""
        sizes = (self.kernel_size, self.stride, self.padding, self.dilation)
        return Windows(*sizes, n_axes=self.n_axes)

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether the last axis has n_in channels; a model fixes the axes before it."""
        if self.output_shape is None:
            return len(input_shape) == self.n_axes + 1 and input_shape[-1] == self.n_in
        return super().accepts(input_shape)

    def add_bias(self) -> None:
        """Declare the bias, if there is one; for `build`."""
        if self.use_bias:
            self.bias = self.add_parameter("bias", (self.n_filters,), self.bias_initializer)

    def n_places(self, where: str, argument: str, shape: Shape) -> Shape:
        """Return the lengths of the inner axes of the output."""
        return self.windows.lengths(where, argument, shape)

    @abstractmethod
    def compute_products(self, images: Array, out: Array, scratch: Scratch) -> None:
        """Write the products of the kernel with images, a row for each place of the output."""

    @abstractmethod
    def compute_gradients(
        self, images: Array, dz: Array, dx: Array | None, scratch: Scratch, *, of_kernel: bool
    ) -> None:
        """Write the kernel's gradient, if asked, and the images' if there is an array for it."""

    def count_flops(self) -> int:
        """Count 2 for each number of the kernel at each place; see `Layer.count_flops`."""
        self._check_built("count_flops")
        return 2 * self.kernel.size * flat.count_numbers((self.output_shape or ())[:-1])

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute y = f(z), z the products with the bias."""
        places = self.n_places(f"{type(self).__name__}.compute_forward", "x", x.shape[1:])
        shape = (len(x), *places, self.n_filters)
        room = None
        if training:
            room = self.workspace(len(x), _Room)
            room.fit(shape, self.activation, self.dtype)
        z = np.empty((math.prod(shape[:-1]), shape[-1]), x.dtype) if room is None else room.z
        self.compute_products(images_of(x), z, Scratch() if room is None else room.scratch)
        if self.use_bias:
            # The bias once for each place of a line: short loops cost more than numbers do.
            lines = z.reshape(-1, shape[-2] * shape[-1])
            lines += np.tile(self.bias.value, shape[-2])
        if room is None or room.y is None:
            y = self.activation.forward(z)
        else:
            y = self.activation.forward(z, out=room.y)  # type: ignore[call-arg]
        return y.reshape(shape), (x, z, y, room)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Array | None:
        """Compute dx, and the gradients of the kernel and the bias."""
        x, z, y, room = cache
        if room is not None and not room.in_use:
            got, where = check.Said("one that has been used"), type(self).__name__
            check.fail(f"{where}.compute_backward", "cache", _ONCE, got, error=StateError)
        dy = dy.reshape(z.shape)
        if self.activation.backward_takes_out:
            dz = self.activation.backward(dy, z, y, out=z)
        else:
            dz = self.activation.backward(dy, z, y)
        if self.use_bias:
            # A product with ones: several times faster than a sum over an axis.
            np.ones(len(dz), dz.dtype).dot(dz, self.bias.grad)
        dx = np.empty(x.shape, x.dtype) if need_dx else None
        scratch = Scratch() if room is None else room.scratch
        of_kernel = not skip_frozen or self.kernel.trainable
        to = None if dx is None else images_of(dx)
        self.compute_gradients(images_of(x), dz, to, scratch, of_kernel=of_kernel)
        if room is not None:
            room.in_use = False
        return dx


class _Room(Workspace):
    """Arrays for the products and the outputs."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size, self.scratch = batch_size, Scratch()
        self.shape: Shape = ()

    def fit(self, shape: Shape, activation: Activation, dtype: np.dtype[Any]) -> None:
        """Make the arrays anew where batches of this size had images of other lengths."""
        if self.shape != shape:
            self.shape = shape
            self.z = np.empty((math.prod(shape[:-1]), shape[-1]), dtype)
            self.y = np.empty_like(self.z) if activation.forward_takes_out else None


class GroupInitializer(Initializer):
    """Draws each group's part of a kernel on its own: to a filter, its group is all there is."""

    def __init__(self, initializer: Initializer, n_groups: int, axis: int = -1) -> None:
        self.initializer, self.n_groups, self.axis = initializer, n_groups, axis

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Draw the parts, and put them side by side; see `Initializer`."""
        part = list(shape)
        part[self.axis] //= self.n_groups
        parts = [self.initializer(tuple(part), rng) for _ in range(self.n_groups)]
        return np.concatenate(parts, axis=self.axis)


class Convolution(Filters):
    """Base of the convolutions of series and images."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int | tuple[int, ...],
        activation: Activation | None = _IDENTITY,
        *,
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = "valid",
        dilation: int | tuple[int, ...] = 1,
        n_groups: int = 1,
        use_bias: bool = True,
        kernel_initializer: Initializer = _GLOROT,
        bias_initializer: Initializer = _ZEROS,
        name: str | None = None,
    ) -> None:
        where = f"{type(self).__name__}.__init__"
        self.n_in = check.integer(where, "n_in", n_in, minimum=1)
        self.n_out = check.integer(where, "n_out", n_out, minimum=1)
        self.set_windows(kernel_size, stride, padding, dilation)
        self.n_groups = check.integer(where, "n_groups", n_groups, minimum=1)
        if self.n_in % self.n_groups or self.n_out % self.n_groups:
            wanted = f"a divisor of n_in = {self.n_in} and n_out = {self.n_out}"
            check.fail(where, "n_groups", wanted, n_groups)
        self.kernel_initializer = check.instance(
            where, "kernel_initializer", kernel_initializer, Initializer
        )
        self.set_output(activation, use_bias, bias_initializer, name)

    @property
    def n_filters(self) -> int:
        """Number of channels of the output."""
        return self.n_out

    def build(self, input_shape: Shape) -> Shape:
        """Declare the kernel and the bias."""
        places = self.n_places(f"{type(self).__name__}.build", "input_shape", input_shape)
        sizes = self.windows.size[2 - self.n_axes :]
        initializer = self.kernel_initializer
        if self.n_groups > 1:
            initializer = GroupInitializer(initializer, self.n_groups)
        shape = (*sizes, self.n_in // self.n_groups, self.n_out)
        self.kernel = self.add_parameter("kernel", shape, initializer)
        self.add_bias()
        return (*places, self.n_out)

    def compute_products(self, images: Array, out: Array, scratch: Scratch) -> None:
        """Write the products of all windows with the kernel."""
        correlate(images, of_images(self.kernel.value), self.windows, out, scratch)

    def compute_gradients(
        self, images: Array, dz: Array, dx: Array | None, scratch: Scratch, *, of_kernel: bool
    ) -> None:
        """Write the kernel's gradient, if asked, and the images' if there is an array for it."""
        if of_kernel:
            kernel_gradient(images, dz, self.windows, of_images(self.kernel.grad), scratch)
        if dx is not None:
            spread(dz, of_images(self.kernel.value), self.windows, dx, scratch)


def of_images(kernel: Array) -> Array:
    """Return a kernel of series as one of images of one row, and one of images as it is."""
    return kernel if kernel.ndim == 4 else kernel[None]


class Conv2D(Convolution):
    """A convolution of images: y = f(z) with z the products of each window with the kernel.

    z[n, i, j, o] = bias[o] + Σ x[n, i·s + a·d − p, j·s + b·d − p, c] · kernel[a, b, c, o], the sum
    over a, b and the channels c of the filter's group, with stride s, dilation d and padding p.
    (Strictly a correlation, as in all such frameworks: the kernel is not flipped.)

    x is of shape (batch_size, height, width, n_in), y of (batch_size, height', width', n_out) with
    length' = ⌊(length + padding − (kernel_size − 1) · dilation − 1) / stride⌋ + 1. Lengths may
    be open: ``Sequential(layers, input_shape=(None, None, n_in))``.

    Backwards, with dz = f.backward(dy): the kernel's gradient is the sum of all windows times their
    dz, the bias's is dz summed over batch and places, and dx adds up at each place what goes back
    through the windows around it.

    Parameters
    ----------
    n_in, n_out : int
        Number of channels of the input, and of filters.
    kernel_size : int or tuple of int
        Height and width of the filters; one number for both.
    activation : Activation, optional
        f, an instance such as ``ReLU()``; none means `Identity`.
    stride : int or tuple of int
        Places from window to window, down and across.
    padding : {"valid", "same"}, int or tuple of int
        Zeros around the images: none; as many as give ⌈length / stride⌉ places, the odd one at the
        end; or numbers of rows above and below, and of columns on both sides.
    dilation : int or tuple of int
        Places from one tap of the kernel to the next.
    n_groups : int
        Number of groups that channels and filters are divided into, in their order: a filter reads
        the channels of its group alone.
    use_bias : bool
        Whether there is a bias.
    kernel_initializer, bias_initializer : Initializer
        Initializers of the first values. To the kernel's, a filter's inputs are the
        height · width · n_in / n_groups numbers that it reads.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    kernel : Parameter of shape (height, width, n_in / n_groups, n_out)
        Filters.
    bias : Parameter of shape (n_out,)
        Bias; absent if ``use_bias`` is False.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build` or a pass, if an image is smaller than a window.

    References
    ----------
    LeCun et al. (1998), "Gradient-based learning applied to document recognition", section II;
    Yu & Koltun (2016), "Multi-scale context aggregation by dilated convolutions", eq. 2;
    Krizhevsky et al. (2012), "ImageNet classification with deep convolutional neural networks",
    section 3.5, for groups.

    Examples
    --------
    >>> from layerkit import Conv2D, Dense, Flatten, MaxPooling2D, ReLU, Sequential
    >>> layers = [Conv2D(1, 8, 3, ReLU()), MaxPooling2D(2), Flatten(), Dense(13 * 13 * 8, 10)]
    >>> model = Sequential(layers, input_shape=(28, 28, 1), seed=0)
    >>> model[0].kernel.shape, model[0].output_shape
    ((3, 3, 1, 8), (26, 26, 8))
    """


class Conv1D(Convolution):
    """A convolution of series: y = f(z) with z the products of each window with the kernel.

    z[n, i, o] = bias[o] + Σ x[n, i·s + a·d − p, c] · kernel[a, c, o], the sum over a and the
    channels c of the filter's group, with stride s, dilation d and padding p.

    x is of shape (batch_size, length, n_in), y of (batch_size, length', n_out) with
    length' = ⌊(length + padding − (kernel_size − 1) · dilation − 1) / stride⌋ + 1. The length may
    be open: ``Sequential(layers, input_shape=(None, n_in))``.

    Backwards it is as `Conv2D`.

    Parameters
    ----------
    n_in, n_out : int
        Number of channels of the input, and of filters.
    kernel_size : int
        Length of the filters.
    activation : Activation, optional
        f, an instance such as ``ReLU()``; none means `Identity`.
    stride : int
        Places from window to window.
    padding : {"valid", "same"} or int
        Zeros around the series: none; as many as give ⌈length / stride⌉ places, the odd one at the
        end; or their number at both ends.
    dilation : int
        Places from one tap of the kernel to the next.
    n_groups : int
        Number of groups that channels and filters are divided into, in their order: a filter reads
        the channels of its group alone.
    use_bias : bool
        Whether there is a bias.
    kernel_initializer, bias_initializer : Initializer
        Initializers of the first values. To the kernel's, a filter's inputs are the
        length · n_in / n_groups numbers that it reads.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    kernel : Parameter of shape (kernel_size, n_in / n_groups, n_out)
        Filters.
    bias : Parameter of shape (n_out,)
        Bias; absent if ``use_bias`` is False.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build` or a pass, if a series is shorter than a window.

    References
    ----------
    Waibel et al. (1989), "Phoneme recognition using time-delay neural networks", section II.

    Examples
    --------
    >>> from layerkit import Conv1D, Sequential
    >>> model = Sequential([Conv1D(2, 4, 3, padding="same")], input_shape=(None, 2), seed=0)
    >>> model.predict([[[1, 2], [3, 4], [5, 6], [7, 8]]]).shape
    (1, 4, 4)
    """

    n_axes = 1
