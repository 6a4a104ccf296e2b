"""`BatchNorm`: each feature brought to mean 0 and variance 1 over the batch."""

import math
from typing import Any

import numpy as np

from layerkit import _validation as check
from layerkit._validation import Array, Shape
from layerkit.initializers import Constant, Zeros
from layerkit.layers.base import Layer

__all__ = ["BatchNorm"]


class BatchNorm(Layer):
    """Normalises each feature by its mean and variance: over the batch in training.

    y = gamma · x̂ + beta with x̂ = (x − mean) / √(variance + epsilon). In evaluation the mean and
    the variance are running ones, which training updates:
    running ← momentum · running + (1 − momentum) · batch's, the variance's without bias.

    Backwards, with n the numbers of a feature in the batch: beta's gradient is Σ dy, gamma's is
    Σ dy · x̂, and dx = gamma / √(variance + epsilon) · (dy − Σ dy / n − x̂ · Σ (dy · x̂) / n).

    Parameters
    ----------
    momentum : float
        How much of the running figures each batch leaves; from 0 to below 1.
    epsilon : float
        Added to the variance; above 0.
    name : str, optional
        What messages and ``model["name"]`` call the layer.

    Attributes
    ----------
    gamma, beta : Parameter of shape (n_features,)
        The scale and the offset; features are the last axis.
    running_mean, running_variance : ndarray of shape (n_features,)
        What evaluation uses.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind; in training, if a batch has a single number of each
        feature, whose variance would be 0.

    References
    ----------
    Ioffe & Szegedy (2015), "Batch normalization: accelerating deep network training by reducing
    internal covariate shift", algorithms 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import BatchNorm, Sequential
    >>> model = Sequential([BatchNorm()], input_shape=(1,))
    >>> model.forward(np.array([[1.0], [3.0]]), training=True).round(3)
    array([[-1.],
           [ 1.]])
    """

    mixes_samples = True

    def __init__(
        self, momentum: float = 0.9, epsilon: float = 1e-5, *, name: str | None = None
    ) -> None:
        where = "BatchNorm.__init__"
        self.momentum = check.number(where, "momentum", momentum, minimum=0, below=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)
        self.name = check.name(where, name)

    def build(self, input_shape: Shape) -> Shape:
        """Declare gamma and beta, and start the running figures at mean 0 and variance 1."""
        features = input_shape[-1:]
        self.gamma = self.add_parameter("gamma", features, Constant(1.0))
        self.beta = self.add_parameter("beta", features, Zeros())
        self.running_mean, self.running_variance = np.zeros(features), np.ones(features)
        # A sample of several places, such as an image, has a variance of its own.
        self.min_batch_size = 2 if math.prod(input_shape[:-1]) == 1 else 1
        return input_shape

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Normalise by the batch's figures in training, and else by the running ones."""
        if not training or x.size == 0:
            mean, variance = self.running_mean, self.running_variance
            inverse = (1 / np.sqrt(variance + self.epsilon)).astype(x.dtype)
            normalised = (x - mean.astype(x.dtype)) * inverse
        else:
            axes = tuple(range(x.ndim - 1))
            n = x.size // x.shape[-1]
            if n == 1:
                check.fail(
                    "BatchNorm.compute_forward",
                    "x",
                    "a batch of at least 2 samples in training",
                    check.Said("1"),
                    "Choose a batch_size that leaves no last batch of a single sample.",
                )
            batch_mean = x.mean(axis=axes)
            centred = x - batch_mean
            batch_variance = np.square(centred).mean(axis=axes)
            inverse = 1 / np.sqrt(batch_variance + x.dtype.type(self.epsilon))
            normalised = centred * inverse
            self._update(batch_mean, batch_variance * (n / (n - 1)))
        return normalised * self.gamma.value + self.beta.value, (normalised, inverse)

    def _update(self, mean: Array, variance: Array) -> None:
        # An overflow ends the training with an error; the running figures stay good.
        if np.isfinite(mean).all() and np.isfinite(variance).all():
            share = 1 - self.momentum
            self.running_mean += share * (mean - self.running_mean)
            self.running_variance += share * (variance - self.running_variance)

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Compute dx, and the gradients of gamma and beta."""
        normalised, inverse = cache
        axes = tuple(range(dy.ndim - 1))
        n = dy.size // dy.shape[-1] or 1
        self.beta.grad = beta_grad = dy.sum(axis=axes)
        self.gamma.grad = gamma_grad = (dy * normalised).sum(axis=axes)
        centred = dy - beta_grad / n - normalised * (gamma_grad / n)
        dx: Array = centred * (self.gamma.value * inverse)
        return dx
