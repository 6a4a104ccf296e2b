"""Convolutions of each channel on its own, and of these with a mix of all channels after them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.activations import Activation, Identity
from layerkit.initializers import GlorotUniform, Initializer, Zeros
from layerkit.layers.base import Layer
from layerkit.layers.convolution import Conv2D, Filters, GroupInitializer
from layerkit.layers.correlation import Scratch
from layerkit.layers.windows import padding_of, sizes_of

__all__ = ["DepthwiseConv2D", "SeparableConv2D"]

_IDENTITY, _GLOROT, _ZEROS = Identity(), GlorotUniform(), Zeros()
# What is multiplied and added up tap by tap stays in a processor's cache meanwhile.
_BLOCK_BYTES = 1 << 18


class DepthwiseConv2D(Filters):
    """A convolution of each channel of images with filters of its own: y = f(z).

    z[n, i, j, c·m + k] = bias[c·m + k] + Σ x[n, i·s + a·d − p, j·s + b·d − p, c] ·
    kernel[a, b, c, k], the sum over a and b, with depth multiplier m, stride s, dilation d and
    padding p. x is of shape (batch_size, height, width, n_in), y of
    (batch_size, height', width', n_in · m), with lengths as of `Conv2D`.

    Parameters
    ----------
    n_in : int
        Number of channels of the input.
    kernel_size : int or tuple of int
        Height and width of the filters; one number for both.
    activation : Activation, optional
        f, an instance such as ``ReLU()``; none means `Identity`.
    depth_multiplier : int
        Number m of filters for each channel, whose outputs lie side by side.
    stride : int or tuple of int
        Places from window to window, down and across.
    padding : {"valid", "same"}, int or tuple of int
        Zeros around the images, as of `Conv2D`.
    dilation : int or tuple of int
        Places from one tap of the kernel to the next.
    use_bias : bool
        Whether there is a bias.
    kernel_initializer, bias_initializer : Initializer
        Initializers of the first values. To the kernel's, a filter's inputs are the
        height · width numbers that it reads.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    kernel : Parameter of shape (height, width, n_in, depth_multiplier)
        Filters.
    bias : Parameter of shape (n_in · depth_multiplier,)
        Bias; absent if ``use_bias`` is False.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build` or a pass, if an image is smaller than a window.

    References
    ----------
    Howard et al. (2017), "MobileNets: efficient convolutional neural networks for mobile vision
    applications", eq. 3.

    Examples
    --------
    >>> from layerkit import DepthwiseConv2D, Sequential
    >>> layer = DepthwiseConv2D(2, 3, depth_multiplier=4)
    >>> Sequential([layer], input_shape=(8, 8, 2), seed=0).output_shape
    (6, 6, 8)
    >>> layer.kernel.shape
    (3, 3, 2, 4)
    """

    def __init__(
        self,
        n_in: int,
        kernel_size: int | tuple[int, ...],
        activation: Activation | None = _IDENTITY,
        *,
        depth_multiplier: int = 1,
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = "valid",
        dilation: int | tuple[int, ...] = 1,
        use_bias: bool = True,
        kernel_initializer: Initializer = _GLOROT,
        bias_initializer: Initializer = _ZEROS,
        name: str | None = None,
    ) -> None:
        where = "DepthwiseConv2D.__init__"
        self.n_in = check.integer(where, "n_in", n_in, minimum=1)
        self.set_windows(kernel_size, stride, padding, dilation)
        self.depth_multiplier = check.integer(
            where, "depth_multiplier", depth_multiplier, minimum=1
        )
        self.kernel_initializer = check.instance(
            where, "kernel_initializer", kernel_initializer, Initializer
        )
        self.set_output(activation, use_bias, bias_initializer, name)

    @property
    def n_filters(self) -> int:
        """Number of channels of the output."""
        return self.n_in * self.depth_multiplier

    def build(self, input_shape: Shape) -> Shape:
        """Declare the kernel and the bias."""
        places = self.n_places("DepthwiseConv2D.build", "input_shape", input_shape)
        initializer = GroupInitializer(self.kernel_initializer, self.n_in, axis=2)
        shape = (*self.windows.size, self.n_in, self.depth_multiplier)
        self.kernel = self.add_parameter("kernel", shape, initializer)
        self.add_bias()
        return (*places, self.n_filters)

    def compute_products(self, images: Array, out: Array, scratch: Scratch) -> None:
        """Add up the images times the kernel, tap by tap."""
        n_samples, *lengths, _ = images.shape
        z = out.reshape(n_samples, *self.windows.counts(tuple(lengths)), self.n_filters)
        z[...] = 0
        for block, wide in self._blocks(images, z, scratch):
            for tap, own, theirs in self._taps(tuple(lengths)):
                part = z[block][own]
                product = scratch.array("product", part.shape, part.dtype)
                part += np.multiply(wide[theirs], self._lines(tap, part.shape[2]), out=product)

    def compute_gradients(
        self, images: Array, dz: Array, dx: Array | None, scratch: Scratch, *, of_kernel: bool
    ) -> None:
        """Add up the products of dz with the images and the kernel, tap by tap."""
        n_samples, *lengths, _ = images.shape
        z = dz.reshape(n_samples, *self.windows.counts(tuple(lengths)), self.n_filters)
        grad = np.zeros((*self.windows.size, self.n_filters), dz.dtype)
        for block, wide in self._blocks(images, z, scratch):
            if dx is not None:
                back = scratch.array("back", wide.shape, wide.dtype)
                back[...] = 0
            for tap, own, theirs in self._taps(tuple(lengths)):
                part = z[block][own]
                product = scratch.array("product", part.shape, part.dtype)
                if of_kernel:
                    np.multiply(part, wide[theirs], out=product)
                    rows = product.reshape(-1, self.n_filters)
                    # A product with ones: several times faster than a sum over an axis.
                    grad[tap] += np.ones(len(rows), rows.dtype).dot(rows)
                if dx is not None:
                    np.multiply(part, self._lines(tap, part.shape[2]), out=product)
                    back[theirs] += product
            if dx is not None:
                copies = back.reshape(*back.shape[:3], self.n_in, self.depth_multiplier)
                copies.sum(axis=4, out=dx[block])
        if of_kernel:
            self.kernel.grad = grad.reshape(self.kernel.shape)

    def _blocks(self, images: Array, z: Array, scratch: Scratch) -> Iterator[tuple[slice, Array]]:
        """Go through some samples at a time, each channel repeated for each of its filters."""
        n_bytes = self.depth_multiplier * images[:1].nbytes + z[:1].nbytes
        step = max(1, _BLOCK_BYTES // max(1, n_bytes))
        for start in range(0, len(images), step):
            block = slice(start, start + step)
            some = images[block]
            if self.depth_multiplier > 1:
                shape = (*some.shape, self.depth_multiplier)
                copies = scratch.array("wide", shape, some.dtype)
                copies[...] = some[..., None]
                some = copies.reshape(*some.shape[:3], self.n_filters)
            yield block, some

    def _taps(self, lengths: Shape) -> Iterator[tuple[tuple[int, int], Any, Any]]:
        """Go through the taps: the windows that have it inside the image, and where it then is."""
        rows, columns = (self.windows.places(axis, n) for axis, n in enumerate(lengths))
        for (a, down, row), (b, across, column) in itertools.product(rows, columns):
            yield (a, b), (slice(None), down, across), (slice(None), row, column)

    def _lines(self, tap: tuple[int, int], n_places: int) -> Array:
        """Return the kernel at a tap, once for each place of a line: long loops are faster."""
        return np.tile(self.kernel.value[tap].reshape(-1), (n_places, 1))


class SeparableConv2D(Layer):
    """A depthwise convolution, and a mix of its channels at each place: y = f(z · pointwise).

    z is `DepthwiseConv2D`'s of x, without a bias, and the mix a `Conv2D` of kernel size 1, so that
    there are height · width · n_in · m + n_in · m · n_out weights in place of the
    height · width · n_in · n_out of a `Conv2D`. The shapes of x and y are those of `Conv2D`.

    Parameters
    ----------
    n_in, n_out : int
        Number of channels of the input, and of the output.
    kernel_size : int or tuple of int
        Height and width of the filters of the channels; one number for both.
    activation : Activation, optional
        f, an instance such as ``ReLU()``; none means `Identity`.
    depth_multiplier : int
        Number m of filters for each channel.
    stride : int or tuple of int
        Places from window to window, down and across.
    padding : {"valid", "same"}, int or tuple of int
        Zeros around the images, as of `Conv2D`.
    dilation : int or tuple of int
        Places from one tap of the filters to the next.
    use_bias : bool
        Whether there is a bias.
    depthwise_initializer, pointwise_initializer, bias_initializer : Initializer
        Initializers of the first values of both kernels and the bias.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    depthwise : DepthwiseConv2D
        Layer of the filters of the channels.
    pointwise : Conv2D
        Layer of the mix.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build` or a pass, if an image is smaller than a window.

    References
    ----------
    Chollet (2017), "Xception: deep learning with depthwise separable convolutions", section 1.

    Examples
    --------
    >>> from layerkit import SeparableConv2D, Sequential
    >>> model = Sequential([SeparableConv2D(3, 8, 3)], input_shape=(32, 32, 3), seed=0)
    >>> [parameter.shape for parameter in model.parameters]
    [(3, 3, 3, 1), (1, 1, 3, 8), (8,)]
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int | tuple[int, ...],
        activation: Activation | None = _IDENTITY,
        *,
        depth_multiplier: int = 1,
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = "valid",
        dilation: int | tuple[int, ...] = 1,
        use_bias: bool = True,
        depthwise_initializer: Initializer = _GLOROT,
        pointwise_initializer: Initializer = _GLOROT,
        bias_initializer: Initializer = _ZEROS,
        name: str | None = None,
    ) -> None:
        where = "SeparableConv2D.__init__"
        self.n_in = check.integer(where, "n_in", n_in, minimum=1)
        self.n_out = check.integer(where, "n_out", n_out, minimum=1)
        self.kernel_size = sizes_of(where, "kernel_size", kernel_size, 2)
        activation = _IDENTITY if activation is None else activation
        self.activation = check.instance(where, "activation", activation, Activation)
        self.depth_multiplier = check.integer(
            where, "depth_multiplier", depth_multiplier, minimum=1
        )
        self.stride = sizes_of(where, "stride", stride, 2)
        self.padding = padding_of(where, padding, 2)
        self.dilation = sizes_of(where, "dilation", dilation, 2)
        self.use_bias = check.boolean(where, "use_bias", use_bias)
        for argument, initializer in (
            ("depthwise_initializer", depthwise_initializer),
            ("pointwise_initializer", pointwise_initializer),
            ("bias_initializer", bias_initializer),
        ):
            check.instance(where, argument, initializer, Initializer)
        self.depthwise_initializer = depthwise_initializer
        self.pointwise_initializer = pointwise_initializer
        self.bias_initializer = bias_initializer
        self.name = check.name(where, name)
        self.input_shape = (None, None, self.n_in)

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether the last axis has n_in channels; a model fixes the axes before it."""
        if self.output_shape is None:
            return len(input_shape) == 3 and input_shape[-1] == self.n_in
        return super().accepts(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Add the two layers."""
        self.depthwise = DepthwiseConv2D(
            self.n_in,
            self.kernel_size,
            depth_multiplier=self.depth_multiplier,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            use_bias=False,
            kernel_initializer=self.depthwise_initializer,
            name="depthwise",
        )
        self.pointwise = Conv2D(
            self.depthwise.n_filters,
            self.n_out,
            1,
            self.activation,
            use_bias=self.use_bias,
            kernel_initializer=self.pointwise_initializer,
            bias_initializer=self.bias_initializer,
            name="pointwise",
        )
        return self.add_layer(self.pointwise, self.add_layer(self.depthwise, input_shape))

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Apply the filters of the channels, and mix what they give."""
        z, first = self.depthwise.compute_forward(x, training=training)
        y, second = self.pointwise.compute_forward(z, training=training)
        return y, (first, second)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Array | None:
        """Go back through the mix, and through the filters."""
        first, second = cache
        dz = self.pointwise.compute_backward(dy, second, skip_frozen=skip_frozen)
        assert dz is not None  # noqa: S101 - it is asked for
        return self.depthwise.compute_backward(dz, first, need_dx=need_dx, skip_frozen=skip_frozen)
