"""The arithmetic of convolutions: windows laid out as the rows of a matrix, and back.

The patches of an image overlap: laid out, they take as many times its memory as a window has taps.
So this is done for some samples at a time, whose patches fit into a processor's cache; the patches
that a gradient needs are laid out again, which takes a tenth of the time of their product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from layerkit._support.validation import Array, Shape
from layerkit.layers.windows import Windows

__all__ = ["Scratch", "correlate", "kernel_gradient", "spread"]

_BLOCK_BYTES = 1 << 20
# A patch of fewer channels is laid out as a column: its taps are copied over many places at once.
_MANY_CHANNELS = 4


class Scratch:
    """Memory for what a pass needs on its way: to ask the system for it takes longer than its use.

    A thread at a time may use one; a layer keeps its own in the workspace of a step.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def array(self, use: str, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """Return an array of any numbers, which is valid until the next call for the same use."""
        size = math.prod(shape)
        kept = self._kept.get(use)
        if kept is None or kept.size < size or kept.dtype != dtype:
            kept = self._kept[use] = np.empty(size, dtype)
        return kept[:size].reshape(shape)


def correlate(x: Array, kernel: Array, windows: Windows, out: Array, scratch: Scratch) -> None:
    """Write the products of all windows of x with the kernel.

    Parameters
    ----------
    x : ndarray of shape (batch_size, n_rows, n_columns, n_in)
        Images.
    kernel : ndarray of shape (height, width, n_in / n_groups, n_out)
        Kernel.
    windows : Windows
        Places of the windows.
    out : ndarray of shape (batch_size · n_windows, n_out)
        Array for the products.
    scratch : Scratch
        Memory for the patches.
    """
    for channels, filters in _groups(x.shape[3], kernel):
        matrix = kernel[..., filters].reshape(-1, filters.stop - filters.start)
        for rows, patches in _patches(x[..., channels], windows, scratch):
            if out.shape[1] == matrix.shape[1]:
                patches.dot(matrix, out[rows])
            else:
                out[rows, filters] = patches.dot(matrix)


def kernel_gradient(x: Array, dz: Array, windows: Windows, grad: Array, scratch: Scratch) -> None:
    """Write the gradient of `correlate` with respect to the kernel.

    Parameters
    ----------
    x : ndarray of shape (batch_size, n_rows, n_columns, n_in)
        Images.
    dz : ndarray of shape (batch_size · n_windows, n_out)
        Gradient with respect to the products.
    windows : Windows
        Places of the windows.
    grad : ndarray of shape (height, width, n_in / n_groups, n_out)
        Array for the gradient.
    scratch : Scratch
        Memory for the patches.
    """
    grad[...] = 0
    for channels, filters in _groups(x.shape[3], grad):
        for rows, patches in _patches(x[..., channels], windows, scratch):
            product = patches.T.dot(dz[rows, filters])
            grad[..., filters] += product.reshape(*grad.shape[:3], -1)


def spread(dz: Array, kernel: Array, windows: Windows, dx: Array, scratch: Scratch) -> None:
    """Write the adjoint of `correlate`: what goes back to the images.

    The taps of a row of the kernel go back to their columns side by side; of these rows, each is
    added where it belongs, and then the columns are added up.

    Parameters
    ----------
    dz : ndarray of shape (batch_size · n_windows, n_out)
        Gradient with respect to the products.
    kernel : ndarray of shape (height, width, n_in / n_groups, n_out)
        Kernel.
    windows : Windows
        Places of the windows.
    dx : ndarray of shape (batch_size, n_rows, n_columns, n_in)
        Array for the images.
    scratch : Scratch
        Memory for the patches.
    """
    for channels, filters in _groups(dx.shape[3], kernel):
        _spread(dz[:, filters], kernel[..., filters], windows, dx[..., channels], scratch)


def _spread(dz: Array, kernel: Array, windows: Windows, dx: Array, scratch: Scratch) -> None:
    n_samples, n_rows, n_columns, n_in = dx.shape
    width = kernel.shape[1]
    down, across = windows.counts(dx.shape[1:3])
    of_rows, of_columns = windows.places(0, n_rows), windows.places(1, n_columns)
    if not of_rows or not of_columns:  # padding is all that the windows see
        dx[...] = 0
        return
    n_numbers = (n_rows + down) * across * width * n_in
    step = max(1, _BLOCK_BYTES // max(1, n_numbers * dx.itemsize))
    for start in range(0, n_samples, step):
        images = dx[start : start + step]
        some = dz[start * down * across : (start + len(images)) * down * across]
        shape = (len(images), n_rows, across, width * n_in)
        product = scratch.array("product", (len(some), width * n_in), dx.dtype)
        as_lines = product.reshape(-1, down, across, width * n_in)
        laid = as_lines if windows.is_whole(0) else scratch.array("laid", shape, dx.dtype)
        for index, (tap, own, theirs) in enumerate(of_rows):
            some.dot(kernel[tap].reshape(width * n_in, -1).T, product)
            if laid is not as_lines:
                _add_lines(laid, as_lines[:, own], theirs, is_first=index == 0)
        columns = laid.reshape(*shape[:3], width, n_in).swapaxes(1, 2)
        for index, (tap, own, theirs) in enumerate(of_columns):
            lines = columns[:, own, :, tap]
            _add_lines(images.swapaxes(1, 2), lines, theirs, is_first=index == 0)


def _add_lines(total: Array, lines: Array, places: slice, *, is_first: bool) -> None:
    """Add to some places along axis 1; the first time, the numbers there are no part of a sum."""
    if not is_first:
        total[:, places] += lines
    elif places.step == 1:
        total[:, : places.start] = 0
        total[:, places] = lines
        total[:, places.stop :] = 0
    else:
        total[...] = 0
        total[:, places] = lines


def _groups(n_in: int, kernel: Array) -> Iterator[tuple[slice, slice]]:
    """Go through the groups: the channels that each reads, and the filters that read them."""
    n_read, n_out = kernel.shape[2:]
    n_groups = n_in // n_read
    n_filters = n_out // n_groups
    for group in range(n_groups):
        channels = slice(group * n_read, (group + 1) * n_read)
        yield channels, slice(group * n_filters, (group + 1) * n_filters)


def _patches(x: Array, windows: Windows, scratch: Scratch) -> Iterator[tuple[slice, Array]]:
    """Lay out the windows of some images at a time as rows, and say which rows these are."""
    n_samples, n_in = len(x), x.shape[3]
    if windows.is_whole(0) and windows.is_whole(1):
        yield slice(0, x[..., 0].size), x.reshape(-1, n_in)
        return
    down, across = windows.counts(x.shape[1:3])
    n_taps = windows.size[0] * windows.size[1] * n_in
    n_windows = max(1, _BLOCK_BYTES // (n_taps * x.itemsize))
    step = max(1, n_windows // (down * across))
    n_lines = down if step > 1 else max(1, n_windows // across)
    views = _views(_padded(x, windows, scratch), windows, (down, across))
    for start in range(0, n_samples, step):
        for line in range(0, down, n_lines):
            some = views[start : start + step, line : line + n_lines]
            first = (start * down + line) * across
            rows = slice(first, first + some.shape[0] * some.shape[1] * across)
            yield rows, _laid_out(some, n_taps, scratch)


def _padded(images: Array, windows: Windows, scratch: Scratch) -> Array:
    """Put zeros around images."""
    (n_rows, n_columns), n_in = images.shape[1:3], images.shape[3]
    (top, bottom), (left, right) = windows.margins(0, n_rows), windows.margins(1, n_columns)
    if not (top or bottom or left or right):
        return images
    shape = (len(images), top + n_rows + bottom, left + n_columns + right, n_in)
    padded = scratch.array("padded", shape, images.dtype)
    padded[:, :top] = padded[:, top + n_rows :] = 0
    padded[:, :, :left] = padded[:, :, left + n_columns :] = 0
    padded[:, top : top + n_rows, left : left + n_columns] = images
    return padded


def _views(images: Array, windows: Windows, counts: tuple[int, int]) -> Array:
    """Return the windows as a view of shape (batch_size, down, across, height, width, n_in)."""
    along_batch, along_rows, along_columns, along_channels = images.strides
    (down, across), (below, beside) = windows.stride, windows.dilation
    shape = (len(images), *counts, *windows.size, images.shape[3])
    steps = (along_batch, down * along_rows, across * along_columns)
    inside = (below * along_rows, beside * along_columns, along_channels)
    return as_strided(images, shape, steps + inside, writeable=False)


def _laid_out(views: Array, n_taps: int, scratch: Scratch) -> Array:
    """Copy windows to a matrix, whose rows they are."""
    is_by_columns = views.shape[-1] < _MANY_CHANNELS
    if is_by_columns:
        views = views.transpose(3, 4, 5, 0, 1, 2)
    patches = scratch.array("patches", views.shape, views.dtype)
    np.copyto(patches, views)
    return patches.reshape(n_taps, -1).T if is_by_columns else patches.reshape(-1, n_taps)
