"""`BatchNorm`: each feature brought to mean 0 and variance 1 over the batch."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.state_checks import check_figures
from layerkit._support.validation import Array, Shape
from layerkit.communication.base import Communicator
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

    Frozen (``layer.trainable = False``: neither gamma nor beta is trained), it is the function of
    evaluation in training too: it normalises each sample by the running figures, which stay as they
    are, so that dx = gamma / √(variance + epsilon) · dy.

    Parameters
    ----------
    momentum : float
        Share of the running figures that each batch leaves; from 0 to below 1.
    epsilon : float
        Added to the variance; above 0.
    synchronized : bool
        Whether a training over several ranks (`Trainer`'s ``communicator``) takes the figures of
        the whole batch, as a single process does, in three exchanges of numbers a step. Otherwise
        each rank normalises its part by itself, and the running figures are averaged over the
        ranks after each epoch.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    gamma, beta : Parameter of shape (n_features,)
        The scale and the offset; features are the last axis.
    running_mean, running_variance : ndarray of shape (n_features,)
        Running mean and variance, for evaluation.
    mixes_samples : bool
        Whether the output of a sample depends on others in training: unless it is frozen.
    min_batch_size : int
        Fewest samples to train on at a time: 2 if they have a single number of each feature, unless
        it is frozen.

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

    keeps_statistics = True
    _fewest: int = 1
    communicator: Communicator | None = None

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        *,
        synchronized: bool = False,
        name: str | None = None,
    ) -> None:
        where = "BatchNorm.__init__"
        self.momentum = check.number(where, "momentum", momentum, minimum=0, below=1)
        self.epsilon = check.number(where, "epsilon", epsilon, above=0)
        self.synchronized = check.boolean(where, "synchronized", synchronized)
        self.name = check.name(where, name)

    def build(self, input_shape: Shape) -> Shape:
        """Declare gamma and beta, and start the running figures at mean 0 and variance 1."""
        features = input_shape[-1:]
        self.gamma = self.add_parameter("gamma", features, Constant(1.0))
        self.beta = self.add_parameter("beta", features, Zeros())
        flat.claim("BatchNorm.build", 2 * self.gamma.size)
        self.running_mean, self.running_variance = np.zeros(features), np.ones(features)
        # A sample of several places, such as an image, has a variance of its own.
        self.min_batch_size = 2 if all(length == 1 for length in input_shape[:-1]) else 1
        return input_shape

    @property
    def mixes_samples(self) -> bool:  # type: ignore[override]  # it follows what is frozen
        """Whether the output of a sample depends on others in training."""
        return self.trainable

    @property
    def min_batch_size(self) -> int:
        """The fewest samples to train on at a time; a wrapping layer may set fewer."""
        return self._fewest if self.trainable else 1

    @min_batch_size.setter
    def min_batch_size(self, fewest: int) -> None:
        self._fewest = fewest

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Normalise by the batch's figures in training, and else by the running ones."""
        check.normal(f"{type(self).__name__}.compute_forward", "epsilon", self.epsilon, x.dtype)
        by_batch = training and self.trainable
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        y = np.empty_like(rows)
        if by_batch and (len(rows) or self.communicator):
            normalised, inverse = self._by_batch(rows, y)
        else:
            normalised, inverse = self._by_running(rows)
        np.multiply(normalised, self.gamma.value, y)
        y += self.beta.value
        return y.reshape(x.shape), (normalised, inverse, by_batch)

    def _by_running(self, rows: Array) -> tuple[Array, Array]:
        """Normalise by the running figures; return the factors too."""
        inverse = (1 / np.sqrt(self.running_variance + self.epsilon)).astype(rows.dtype)
        normalised = rows - self.running_mean.astype(rows.dtype)
        normalised *= inverse
        return normalised, inverse

    def _by_batch(self, rows: Array, room: Array) -> tuple[Array, Array]:
        """Normalise by the batch's own figures, and learn from them; return the factors too."""
        ones = np.ones(len(rows), rows.dtype)  # a product is several times faster than a sum
        n, mean = self._mean(len(rows), ones.dot(rows))
        if n == 0:
            return self._by_running(rows)
        if n == 1:
            check.fail(
                "BatchNorm.compute_forward",
                "x",
                "a batch of at least 2 samples in training",
                check.Said("1"),
                "Choose a batch_size that leaves no last batch of a single sample.",
            )
        centred = rows - mean
        squares = ones.dot(np.square(centred, out=room))
        _, means = self._mean(len(rows), np.concatenate([squares, ones.dot(centred)]))
        square, rest = np.split(means, 2)
        variance = np.maximum(square - rest * rest, 0)
        inverse: Array = 1 / np.sqrt(variance + rows.dtype.type(self.epsilon))
        # What the mean was rounded by: as large as the deviation of numbers that are alike.
        if (np.abs(rest * inverse) > np.finfo(rows.dtype).eps).any():
            centred -= rest
        centred *= inverse
        self._update(mean + rest, variance * (n / (n - 1)))
        return centred, inverse

    def _mean(self, n: int, sums: Array) -> tuple[int, Array]:
        """Divide sums by the count of what was added up; over all ranks, if there are others."""
        if self.communicator is None:
            return n, sums / (n or 1)
        together = np.array([n, *sums], np.float64)
        self.communicator.allreduce_(together)
        n = int(together[0])
        return n, (together[1:] / (n or 1)).astype(sums.dtype)

    def _update(self, mean: Array, variance: Array) -> None:
        # An overflow ends the training with an error; the running figures stay good.
        if np.isfinite(mean).all() and np.isfinite(variance).all():
            # Not by a difference: what it rounds away may be all that a small figure is.
            share = 1 - self.momentum
            for running, new in ((self.running_mean, mean), (self.running_variance, variance)):
                running *= self.momentum
                running += share * new

    def compute_statistics(self, batches: Iterable[Array]) -> None:
        """Set the running figures to those of all batches as one; see `Layer.compute_statistics`.

        Raises
        ------
        ArgumentError
            If they have a single number of each feature, or figures that overflow.
        """
        where = "BatchNorm.compute_statistics"
        n, mean, squares = 0, np.zeros(self.gamma.shape), np.zeros(self.gamma.shape)
        for x in batches:
            n_own, axes = x.size // x.shape[-1], tuple(range(x.ndim - 1))
            if not n_own:
                continue
            own = x.mean(axis=axes, dtype=np.float64)
            # Those of two parts together, without a difference of large sums.
            apart, n_all = own - mean, n + n_own
            squares += np.square(x - own).sum(axis=axes) + apart**2 * (n * n_own / n_all)
            mean += apart * (n_own / n_all)
            n = n_all
        if n < 2:
            wanted = "of at least 2 numbers of each feature"
            check.fail(where, "batches", wanted, check.Said(str(n)))
        variance = squares / (n - 1)
        if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
            got = check.Said("NaN or an infinity")
            check.fail(where, "their mean and variance", "finite", got)
        self.running_mean[:], self.running_variance[:] = mean, variance

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Compute dx, and the gradients of gamma and beta."""
        normalised, inverse, by_batch = cache
        rows = dy.reshape(normalised.shape)
        terms, ones = rows * normalised, np.ones(len(rows), rows.dtype)
        self.beta.grad = beta_grad = ones.dot(rows)
        self.gamma.grad = gamma_grad = ones.dot(terms)
        factor = self.gamma.value * inverse
        dx: Array = rows * factor
        if by_batch:
            # What each number adds to the mean and the variance, of which all others are made too.
            _, means = self._mean(len(rows), np.concatenate([beta_grad, gamma_grad]))
            by_mean, by_variance = np.split(means, 2)
            dx -= np.multiply(normalised, by_variance * factor, out=terms)
            dx -= by_mean * factor
        return dx.reshape(dy.shape)

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse running figures that no batch has; see `Layer.check_state`."""
        super().check_state(state)
        where = "BatchNorm.set_state"
        check_figures(where, state, "running_mean")
        check_figures(where, state, "running_variance", minimum=0)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs: not the connection, which a training lends."""
        return {
            name: value for name, value in super().__getstate__().items() if name != "communicator"
        }
