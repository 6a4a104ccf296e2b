"""Numerical functions shared by activations and losses."""

from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array


class _Constants:
    """Numbers as 0-d arrays of one dtype, which NumPy handles twice as fast as Python's floats."""

    def __init__(self, dtype: type[np.floating[Any]]) -> None:
        self.zero = np.array(0, dtype)
        self.one = np.array(1, dtype)
        # The largest whole number whose exponential is finite: 709, or 88 for float32.
        self.exp_limit = np.array(np.floor(np.log(np.finfo(dtype).max)), dtype)


class _ByDtype(dict[np.dtype[Any], _Constants]):
    """The constants of each dtype that a model may have."""

    def __missing__(self, dtype: np.dtype[Any]) -> _Constants:
        check.fail("Activation.forward", "z", "of dtype float32 or float64", check.Said(str(dtype)))


CONSTANTS = _ByDtype({np.dtype(kind): _Constants(kind) for kind in (np.float32, np.float64)})


def sigmoid(z: Array, out: Array | None = None) -> Array:
    """Return 1 / (1 + exp(−z)), with −z clipped where exp would overflow and y is 0 already."""
    constants = CONSTANTS[z.dtype]
    y = np.negative(z, out)
    np.minimum(y, constants.exp_limit, out=y)
    np.exp(y, y)
    np.add(y, constants.one, y)
    return np.reciprocal(y, y)
