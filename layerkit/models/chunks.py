"""How many samples a model predicts at a time, so that memory stays bounded."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from itertools import pairwise

from layerkit._support.validation import Array, Shape
from layerkit.layers.base import Layer
from layerkit.layers.batch_norm import BatchNorm

__all__ = ["samples_at_once", "spans"]

# Bytes that a layer's output may have in a prediction of all samples at once.
_LARGE = 1 << 25
# A product of matrices computes rows that fill no block in another order. Batches of whole blocks,
# of so many rows or of a divisor of it, keep the bytes of all samples at once, except where
# the product divides its rows among threads.
_BLOCK = 768


def samples_at_once(
    layers: list[Layer], arrays: Iterable[Array], shapes: Iterable[Shape], itemsize: int
) -> int:
    """Return how many samples to compute together, so that no layer's output is large.

    Parameters
    ----------
    layers : list of Layer
        The layers, those inside of others too.
    arrays : iterable of ndarray
        The inputs, which have the lengths of open axes.
    shapes : iterable of tuple
        Shapes of the inputs, as the model has them.
    itemsize : int
        Bytes of a number.
    """
    # BatchNorm mixes samples in training alone.
    if any(layer.mixes_samples and not isinstance(layer, BatchNorm) for layer in layers):
        return sys.maxsize
    length = 1
    for array, shape in zip(arrays, shapes, strict=True):
        sizes = zip(array.shape[1:], shape, strict=False)
        length *= math.prod(own for own, wanted in sizes if wanted is None)
    outputs = [layer.output_shape or () for layer in layers]
    widest = max((math.prod(n or length for n in shape) for shape in outputs), default=1)
    n_samples = max(_LARGE // (max(widest, 1) * itemsize), 1)
    return n_samples // _BLOCK * _BLOCK or n_samples


def spans(n_samples: int, batch_size: int, *, joins: bool) -> list[slice]:
    """Cut samples into batches; if ``joins``, a last one of less than a block joins another."""
    stops = list(range(batch_size, n_samples, batch_size))
    if joins and stops and n_samples - stops[-1] < _BLOCK <= batch_size:
        stops.pop()
    return [slice(*span) for span in pairwise([0, *stops, n_samples])]
