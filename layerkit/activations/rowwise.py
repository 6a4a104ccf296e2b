"""Activations over the units of a sample: softmax and its relatives."""

import numpy as np

from layerkit._support.validation import Array
from layerkit.activations.base import Activation

__all__ = ["LogSoftmax", "Softmax", "Softmin", "Sparsemax"]


def _shifted(z: Array, out: Array | None = None) -> Array:
    """Return z less its largest unit; infinities as the largest numbers that can be subtracted."""
    largest = np.finfo(z.dtype).max / 2
    shifted: Array = np.clip(z, -largest, largest, out)
    np.subtract(shifted, shifted.max(axis=-1, keepdims=True), shifted)
    return shifted


class Softmax(Activation):
    """y_i = exp(z_i) / Σ_j exp(z_j) over the units of each sample.

    For training a classifier, use `SoftmaxCrossEntropy` without it: that loss takes logits.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Softmax
    >>> Softmax().forward(np.array([[1e5, 0.0], [2.0, 2.0]]))
    array([[1. , 0. ],
           [0.5, 0.5]])
    """

    def forward(self, z: Array, out: Array | None = None) -> Array:
        """Return the softmax, with z shifted by its maximum so that exp can't overflow."""
        y = _shifted(z, out)
        np.exp(y, y)
        y /= y.sum(axis=-1, keepdims=True)
        return y

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return y · (dy − Σ dy · y); see `Activation.backward`."""
        dz = np.multiply(dy, y, out)
        total = dz.sum(axis=-1, keepdims=True)
        np.subtract(dy, total, dz)
        return np.multiply(dz, y, dz)


class Softmin(Softmax):
    """y_i = exp(−z_i) / Σ_j exp(−z_j) over the units of each sample.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Softmin
    >>> Softmin().forward(np.array([[1e5, 0.0], [2.0, 2.0]]))
    array([[0. , 1. ],
           [0.5, 0.5]])
    """

    def forward(self, z: Array, out: Array | None = None) -> Array:
        """Return the softmax of −z; see `Activation.forward`."""
        return super().forward(np.negative(z), out)

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return −y · (dy − Σ dy · y); see `Activation.backward`."""
        dz = super().backward(dy, z, y, out)
        return np.negative(dz, dz)


class LogSoftmax(Activation):
    """y_i = z_i − log Σ_j exp(z_j) over the units of each sample.

    For training a classifier, use `SoftmaxCrossEntropy` without it: that loss takes logits.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LogSoftmax
    >>> LogSoftmax().forward(np.array([[1e5, 0.0], [2.0, 2.0]])).round(4)
    array([[ 0.000e+00, -1.000e+05],
           [-6.931e-01, -6.931e-01]])
    """

    def forward(self, z: Array, out: Array | None = None) -> Array:
        """Return the logarithm of the softmax, with z shifted so that exp can't overflow."""
        y = _shifted(z, out)
        np.subtract(y, np.log(np.exp(y).sum(axis=-1, keepdims=True)), y)
        return y

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return dy − exp(y) · Σ dy; see `Activation.backward`."""
        dz = np.exp(y, out=out)
        dz *= dy.sum(axis=-1, keepdims=True)
        return np.subtract(dy, dz, dz)


class Sparsemax(Activation):
    """y = max(z − τ, 0), with τ for each sample such that its units sum to 1.

    The point of the simplex that is nearest to z: probabilities of which some are exactly 0.

    References
    ----------
    Martins & Astudillo (2016), "From softmax to sparsemax", algorithm 1 and eq. 14.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Sparsemax
    >>> Sparsemax().forward(np.array([[3.0, 0.0, 2.5], [2.0, 2.0, 2.0]])).round(4)
    array([[0.75  , 0.    , 0.25  ],
           [0.3333, 0.3333, 0.3333]])
    """

    def forward(self, z: Array, out: Array | None = None) -> Array:
        """Return the projection of each row onto the simplex; see `Activation.forward`."""
        if not z.size:
            return np.zeros_like(z)
        # Units more than 1 below the largest are 0 whatever they are, so that sums stay small.
        y: Array = np.maximum(_shifted(z), -1, out=out)
        falling = -np.sort(-y, axis=-1)
        excess = falling.cumsum(axis=-1) - 1
        number = np.arange(1, z.shape[-1] + 1)
        n_kept = (number * falling > excess).sum(axis=-1, keepdims=True)
        shift = np.take_along_axis(excess, n_kept - 1, axis=-1) / n_kept.astype(z.dtype)
        np.maximum(np.subtract(y, shift, y), 0, out=y)
        return y

    def backward(self, dy: Array, z: Array, y: Array, out: Array | None = None) -> Array:
        """Return dy less its mean over the units above 0, there; see `Activation.backward`."""
        kept = (y > 0).astype(z.dtype)
        dz: Array = np.multiply(dy, kept, out)
        mean = dz.sum(axis=-1, keepdims=True) / kept.sum(axis=-1, keepdims=True)
        np.subtract(dz, mean, dz)
        dz *= kept
        return dz
