"""Windows that move over the inner axes of a sample: their arguments, and the places they take."""

from __future__ import annotations

from typing import Any

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError

__all__ = ["Sizes", "Windows", "images_of", "padding_of", "sizes_of"]

Sizes = int | tuple[int, ...]


def sizes_of(where: str, argument: str, value: Any, n_axes: int, *, minimum: int = 1) -> Sizes:
    """Check for a whole number for all axes, or for one for each of several."""
    if n_axes > 1 and isinstance(value, tuple | list):
        if len(value) != n_axes:
            wanted = f"a whole number, or {n_axes} of them, one for each inner axis"
            check.fail(where, argument, wanted, value)
        return tuple(check.integer(where, argument, size, minimum=minimum) for size in value)
    return check.integer(where, argument, value, minimum=minimum)


def padding_of(where: str, value: Any, n_axes: int) -> str | Sizes:
    """Check for "valid", "same", or numbers of zeros at both ends of the axes."""
    if isinstance(value, str):
        remedy = "A number of zeros to put at both ends of an axis is possible, too."
        if value not in ("valid", "same"):
            check.fail(where, "padding", "'valid' or 'same'", value, remedy)
        return value
    return sizes_of(where, "padding", value, n_axes, minimum=0)


class Windows:
    """Windows over the two inner axes of a batch of images, in steps of the stride.

    A series, of one inner axis, is an image of a single row.

    Attributes
    ----------
    size, stride, dilation : tuple of int
        Number of taps along each axis; places from window to window, and from tap to tap.
    span : tuple of int
        Number of places along each axis from the first tap to the last, both included.
    padding : str or tuple of int
        "valid" for none, "same" for as much as gives ⌈length / stride⌉ windows, the odd one at
        the end, or what is put at both ends of each axis.
    """

    __slots__ = ("dilation", "padding", "size", "span", "stride")

    def __init__(
        self,
        size: Sizes,
        stride: Sizes,
        padding: str | Sizes,
        dilation: Sizes,
        *,
        n_axes: int = 2,
    ) -> None:
        self.size, self.stride = _pair(size, n_axes, 1), _pair(stride, n_axes, 1)
        self.dilation = _pair(dilation, n_axes, 1)
        rows, columns = ((n - 1) * d + 1 for n, d in zip(self.size, self.dilation, strict=True))
        self.span = (rows, columns)
        self.padding = padding if isinstance(padding, str) else _pair(padding, n_axes, 0)

    def count(self, axis: int, length: int) -> int:
        """Return the number of windows along an axis; below 1 if it is too short for one."""
        stride = self.stride[axis]
        if self.padding == "same":
            return -(-length // stride)
        padded = length if self.padding == "valid" else length + 2 * int(self.padding[axis])
        return (padded - self.span[axis]) // stride + 1

    def length(self, axis: int, count: int) -> int:
        """Return the length of an axis that has so many windows: of all such, the largest of use.

        With "valid" it has what the last stride covers, too, and with "same" whole strides.
        """
        stride, span = self.stride[axis], self.span[axis]
        if self.padding == "same":
            return count * stride
        if self.padding == "valid":
            return (count - 1) * stride + max(span, stride)
        return (count - 1) * stride + span - 2 * int(self.padding[axis])

    def counts(self, lengths: Shape) -> tuple[int, int]:
        """Return the numbers of windows along both axes."""
        return self.count(0, lengths[0]), self.count(1, lengths[1])

    def margins(self, axis: int, length: int) -> tuple[int, int]:
        """Return how much padding there is before and after an axis."""
        if self.padding == "valid":
            return 0, 0
        if self.padding != "same":
            return int(self.padding[axis]), int(self.padding[axis])
        covered = (self.count(axis, length) - 1) * self.stride[axis] + self.span[axis]
        total = max(covered - length, 0)
        return total // 2, total - total // 2

    def places(self, axis: int, length: int) -> list[tuple[int, slice, slice]]:
        """Return the taps that are inside the axis in some windows: which these are, and where.

        Those that never are may be without number, where a window is larger than the axis.
        """
        stride, dilation = self.stride[axis], self.dilation[axis]
        n_windows, (before, _) = self.count(axis, length), self.margins(axis, length)
        lowest = max(0, -(((n_windows - 1) * stride - before) // dilation))
        highest = min(self.size[axis] - 1, (before + length - 1) // dilation)
        found = []
        for tap in range(lowest, highest + 1):
            start = tap * dilation - before
            first = max(0, -(start // stride))
            end = min(n_windows, (length - 1 - start) // stride + 1)
            if end > first:
                inside = slice(start + first * stride, start + (end - 1) * stride + 1, stride)
                found.append((tap, slice(first, end), inside))
        return found

    def is_whole(self, axis: int) -> bool:
        """Return whether each place of an axis is a window of its own."""
        is_padded = self.padding not in ("valid", "same") and self.padding[axis] != 0
        return self.size[axis] == self.stride[axis] == 1 and not is_padded

    @property
    def are_never_empty(self) -> bool:
        """Return whether each window has a place inside, wherever it is."""
        if isinstance(self.padding, str):
            return True
        return all(margin < size for margin, size in zip(self.padding, self.span, strict=True))

    def lengths(self, where: str, argument: str, shape: Shape) -> Shape:
        """Return the numbers of windows along the inner axes of samples of this shape.

        Axes that are open stay so; an axis that is too short for a window is refused.
        """
        inner = shape[:-1]
        first = 2 - len(inner)
        found = tuple(
            None if length is None else self.count(axis, length)
            for axis, length in enumerate(inner, start=first)
        )
        for axis, n_windows in enumerate(found):
            if n_windows is not None and n_windows < 1:
                needed = self.span[first + axis] - sum(self.margins(first + axis, 1))
                wanted = f"of length {needed} or more along axis {axis + 1}"
                remedy = 'Use padding="same", or smaller windows.'
                got = check.Said(f"samples of shape {shape}")
                check.fail(where, argument, wanted, got, remedy, error=ShapeError)
        self.check_growth(where, shape)
        return found

    def check_growth(self, where: str, shape: Shape) -> None:
        """Refuse margins that a file chose, if samples of this shape take far more memory by them.

        An axis that is open counts as one place, since nothing else can know its length.
        """
        *inner, n_in = (n or 1 for n in shape)
        margins = (self.margins(2 - len(inner) + axis, n) for axis, n in enumerate(inner))
        padded = (n + sum(ends) for n, ends in zip(inner, margins, strict=True))
        flat.check_growth(where, (*inner, n_in), (*padded, n_in))


def _pair(sizes: Sizes, n_axes: int, of_one_row: int) -> tuple[int, int]:
    if isinstance(sizes, int):
        return (of_one_row if n_axes == 1 else sizes), sizes
    rows, columns = sizes
    return rows, columns


def images_of(x: Array) -> Array:
    """Return series as images of one row, and images as they are."""
    return x if x.ndim == 4 else x[:, None]
