"""How many samples a model predicts at a time, so that memory stays bounded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from layerkit._support.validation import Shape
from layerkit.layers.base import Layer
from layerkit.layers.batch_norm import BatchNorm

__all__ = ["FEW", "samples_at_a_time"]

# So few samples are never cut, and not looked at further.
FEW = 32
_BYTES = 1 << 26
# In whole blocks of so many rows, each row's product had the bytes that it has among all rows, with
# OpenBLAS and products of at least half a million numbers; in blocks of other sizes it hadn't.
# Several threads divide all rows and those of a block at other places: some of 20,000 differ.
_BLOCK = 768


def samples_at_a_time(layers: Mapping[str, Layer], input_shape: Shape) -> int | None:
    """Return the number of samples whose outputs of all layers fill some 64 MiB.

    Parameters
    ----------
    layers : mapping of str to Layer
        The layers, those inside of others too.
    input_shape : tuple of int
        Shape of one sample of the inputs, which has the lengths of open axes.

    Returns
    -------
    int or None
        Number of samples; None for all of them, if a layer may mix them in evaluation.
    """
    n_bytes = 1
    longest = max((width for width in input_shape if width), default=1)
    for layer in layers.values():
        # BatchNorm mixes in training alone.
        if layer.mixes_samples and not isinstance(layer, BatchNorm):
            return None
        shape: Any = layer.output_shape
        for own in shape.values() if isinstance(shape, Mapping) else (shape or (),):
            n_bytes += math.prod(width or longest for width in own) * layer.dtype.itemsize
    n_samples = max(_BYTES // n_bytes, 1)
    return n_samples // _BLOCK * _BLOCK or n_samples
