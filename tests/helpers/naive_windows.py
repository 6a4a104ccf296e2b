"""Convolutions and pools once more, in loops over all places, as slow as they are plain."""

import itertools

import numpy as np


def ends(length, size, stride, dilation, padding):
    """How many places are put before and after an axis."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max((-(-length // stride) - 1) * stride + (size - 1) * dilation + 1 - length, 0)
        return total // 2, total - total // 2
    return padding, padding


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def windows(x, size, stride, padding, dilation=1, fill=0.0):
    """Each window of images, of shape (batch, height, width, channels), at its place."""
    size, stride, dilation = pair(size), pair(stride), pair(dilation)
    padding = pair(padding) if not isinstance(padding, str) else (padding, padding)
    margins = [
        ends(*each) for each in zip(x.shape[1:3], size, stride, dilation, padding, strict=True)
    ]
    padded = np.pad(x, [(0, 0), *margins, (0, 0)], constant_values=fill)
    spans = [(n - 1) * d + 1 for n, d in zip(size, dilation, strict=True)]
    steps = [
        range(0, length - span + 1, step)
        for length, span, step in zip(padded.shape[1:3], spans, stride, strict=True)
    ]
    shape = (len(steps[0]), len(steps[1]))
    for place, (top, left) in enumerate(itertools.product(*steps)):
        rows = slice(top, top + spans[0], dilation[0])
        columns = slice(left, left + spans[1], dilation[1])
        yield shape, np.unravel_index(place, shape), padded[:, rows, columns]


def convolve(x, kernel, stride=1, padding="valid", dilation=1, n_groups=1):
    """Filter by filter, place by place."""
    n_read, n_out = kernel.shape[2:]
    y = None
    for shape, (row, column), window in windows(x, kernel.shape[:2], stride, padding, dilation):
        y = np.zeros((len(x), *shape, n_out)) if y is None else y
        for o in range(n_out):
            first = o // (n_out // n_groups) * n_read
            read = window[..., first : first + n_read]
            y[:, row, column, o] = (read * kernel[..., o]).sum(axis=(1, 2, 3))
    return y


def pool(function, x, size, stride, padding):
    """Of each window, by a function that passes over NaN: what lies outside."""
    y = None
    for shape, (row, column), window in windows(x, size, stride, padding, fill=np.nan):
        y = np.zeros((len(x), *shape, x.shape[-1])) if y is None else y
        y[:, row, column] = function(window, axis=(1, 2))
    return y
