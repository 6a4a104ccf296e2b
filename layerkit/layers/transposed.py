"""`Conv2DTranspose`: a convolution backwards, which makes images larger."""

from __future__ import annotations

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.activations import Activation, Identity
from layerkit.errors import ShapeError
from layerkit.initializers import GlorotUniform, Initializer, Zeros
from layerkit.layers.convolution import Filters
from layerkit.layers.correlation import Scratch, correlate, kernel_gradient, spread

__all__ = ["Conv2DTranspose"]

_IDENTITY, _GLOROT, _ZEROS = Identity(), GlorotUniform(), Zeros()


class _Swapped(Initializer):
    """Draws a kernel whose inputs are its last axis, and not the one before."""

    def __init__(self, initializer: Initializer) -> None:
        self.initializer = initializer

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Draw it the other way round; see `Initializer`."""
        swapped = (*shape[:-2], shape[-1], shape[-2])
        return self.initializer(swapped, rng).swapaxes(-1, -2)


class Conv2DTranspose(Filters):
    """A transposed convolution of images: y = f(z), z what a `Conv2D` would carry back from x.

    Each number of x is multiplied by the filters and added to z where their taps fall:
    z[n, i·s + a·d − p, j·s + b·d − p, o] sums bias[o] and all x[n, i, j, c] · kernel[a, b, o, c],
    with stride s, dilation d and padding p. So it is the adjoint of the `Conv2D` of the same kernel
    and arguments from n_out to n_in channels, but for the bias and f.

    x is of shape (batch_size, height, width, n_in), y of (batch_size, height', width', n_out),
    where with span = (kernel_size − 1) · dilation + 1, length' is
    (length − 1) · stride + max(span, stride) for "valid", length · stride for "same", and
    (length − 1) · stride + span − 2 · padding for a number.

    Parameters
    ----------
    n_in, n_out : int
        Number of channels of the input, and of the output.
    kernel_size : int or tuple of int
        Height and width of the filters; one number for both.
    activation : Activation, optional
        f, an instance such as ``ReLU()``; none means `Identity`.
    stride : int or tuple of int
        Places of the output from one of the input to the next, down and across.
    padding : {"valid", "same"}, int or tuple of int
        Zeros that the convolution puts around y, and so places that are cut off z: none; as many
        as leave length · stride places, the odd one at the end; or numbers of rows above and below,
        and of columns on both sides.
    dilation : int or tuple of int
        Places from one tap of the kernel to the next.
    use_bias : bool
        Whether there is a bias.
    kernel_initializer, bias_initializer : Initializer
        Initializers of the first values. To the kernel's, the inputs are the
        height · width · n_in numbers that a place of y may read.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    kernel : Parameter of shape (height, width, n_out, n_in)
        Filters.
    bias : Parameter of shape (n_out,)
        Bias; absent if ``use_bias`` is False.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build` or a pass, if the padding leaves nothing of an image.

    References
    ----------
    Zeiler et al. (2010), "Deconvolutional networks", section 3; Dumoulin & Visin (2016), "A guide
    to convolution arithmetic for deep learning", chapter 4.

    Examples
    --------
    >>> from layerkit import Conv2DTranspose, Sequential
    >>> layer = Conv2DTranspose(8, 3, 3, stride=2, padding="same")
    >>> Sequential([layer], input_shape=(14, 14, 8), seed=0).output_shape
    (28, 28, 3)
    """

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
        use_bias: bool = True,
        kernel_initializer: Initializer = _GLOROT,
        bias_initializer: Initializer = _ZEROS,
        name: str | None = None,
    ) -> None:
        where = "Conv2DTranspose.__init__"
        self.n_in = check.integer(where, "n_in", n_in, minimum=1)
        self.n_out = check.integer(where, "n_out", n_out, minimum=1)
        self.set_windows(kernel_size, stride, padding, dilation)
        self.kernel_initializer = check.instance(
            where, "kernel_initializer", kernel_initializer, Initializer
        )
        self.set_output(activation, use_bias, bias_initializer, name)

    @property
    def n_filters(self) -> int:
        """Number of channels of the output."""
        return self.n_out

    def count_flops(self) -> int:
        """Count 2 for each number of the kernel at each place of x; see `Layer.count_flops`."""
        self._check_built("count_flops")
        return 2 * self.kernel.size * flat.count_numbers((self.input_shape or ())[:-1])

    def n_places(self, where: str, argument: str, shape: Shape) -> Shape:
        """Return the lengths of the inner axes of the output."""
        windows = self.windows
        found = [None if n is None else windows.length(axis, n) for axis, n in enumerate(shape[:2])]
        if any(n is not None and n < 1 for n in found):
            wanted = f"of images of which padding={self.padding!r} leaves something"
            check.fail(where, argument, wanted, check.Said(str(shape)), error=ShapeError)
        # A stride of a file's choice: on an open axis, of which no other check knows the length.
        grown = [windows.length(axis, n or 1) for axis, n in enumerate(shape[:2])]
        if min(grown) > 0:
            flat.check_growth(where, (1,), tuple(grown))
            windows.check_growth(where, (*grown, self.n_out))
        return tuple(found)

    def build(self, input_shape: Shape) -> Shape:
        """Declare the kernel and the bias."""
        places = self.n_places("Conv2DTranspose.build", "input_shape", input_shape)
        shape = (*self.windows.size, self.n_out, self.n_in)
        self.kernel = self.add_parameter("kernel", shape, _Swapped(self.kernel_initializer))
        self.add_bias()
        return (*places, self.n_out)

    def compute_products(self, images: Array, out: Array, scratch: Scratch) -> None:
        """Add up what each place sends to the places around its own."""
        spread(
            images.reshape(-1, self.n_in),
            self.kernel.value,
            self.windows,
            self._as_images(out, images),
            scratch,
        )

    def _as_images(self, rows: Array, images: Array) -> Array:
        """Return rows of the output as what the images given become."""
        down, across = (self.windows.length(axis, images.shape[axis + 1]) for axis in (0, 1))
        return rows.reshape(len(images), down, across, self.n_out)

    def compute_gradients(
        self, images: Array, dz: Array, dx: Array | None, scratch: Scratch, *, of_kernel: bool
    ) -> None:
        """Write the kernel's gradient, if asked, and the images' if there is an array for it."""
        gradient = self._as_images(dz, images)
        if of_kernel:
            rows = images.reshape(-1, self.n_in)
            kernel_gradient(gradient, rows, self.windows, self.kernel.grad, scratch)
        if dx is not None:
            correlate(gradient, self.kernel.value, self.windows, dx.reshape(-1, self.n_in), scratch)
