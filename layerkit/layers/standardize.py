"""`Standardize`: inputs brought to mean 0 and standard deviation 1, once and for all."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.samples import fetch, kind_of, name_of, named
from layerkit._support.state_checks import check_figures
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer

__all__ = ["Standardize"]

# Samples of a data set that are fetched together.
_AT_A_TIME = 1024


class Standardize(Layer):
    """y = (x − mean) / deviation, by the figures of the data that `adapt` was shown.

    As the first layer of a model it keeps the scaling of the inputs in the model, and in its
    file. Training leaves it as it is; before `adapt`, y = x. A float32 model scales in float64,
    but x is float32 by then: differences that it can't hold, such as 1e9 + 0.5, are gone.

    Parameters
    ----------
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    mean, deviation : ndarray of the shape of a sample
        Mean and standard deviation, in float64; the latter is 1 where all numbers are equal, to
        the last bit.

    Raises
    ------
    ArgumentError
        If the name is not a text, or is empty.
    ShapeError
        By `build`, if the shape of a sample has an open axis.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Sequential, Standardize
    >>> x = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> model = Sequential([Standardize()], input_shape=(2,))
    >>> model[0].adapt(x)
    >>> model.predict(x)
    array([[-1.,  0.],
           [ 1.,  0.]])
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = check.name("Standardize.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Begin with figures that change nothing."""
        if None in input_shape:
            got = check.Said(str(input_shape))
            remedy = "Each place of a sample has figures of its own."
            where = "Standardize.build"
            check.fail(where, "input_shape", "without an open axis", got, remedy, error=ShapeError)
        flat.claim("Standardize.build", 2 * math.prod(input_shape))
        self.mean, self.deviation = np.zeros(input_shape), np.ones(input_shape)
        return input_shape

    def adapt(self, x: Any, sample_weight: Any = None, *, steps: int | None = None) -> None:
        """Compute the mean and the deviation of some data, and keep them.

        They are computed in float64 of the numbers given, whatever the model's dtype, and in
        memory for a batch or two; with weights, as if a sample of weight 2 were there twice.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape), Dataset, or a stream of batches
            Data. A batch of a data set or a stream is x alone, ``(x, y)`` or
            ``(x, y, sample_weight)``; the targets are not looked at.
        sample_weight : array_like of shape (n_samples,), optional
            Weight of each sample of an array.
        steps : int, optional
            Number of batches of a stream to take; by default all.

        Raises
        ------
        ArgumentError
            If the data has another shape, is empty or not finite, spans more than float64 holds,
            or has no weight above 0; then nothing has changed.
        """
        where, shape = "Standardize.adapt", self.mean.shape
        if steps is not None:
            steps = check.integer(where, "steps", steps, minimum=1)
        moments = _Moments(shape)
        for name, samples, weight in _batches(where, x, sample_weight, steps):
            with named(name):
                moments.add(*_checked(where, samples, weight, shape))
        mean, deviation = moments.result()
        if not moments.n_samples:
            check.fail(where, "x", "at least one sample", check.Said("none"))
        if not moments.weight:
            got = check.Said("0 for all")
            check.fail(where, "sample_weight", "above 0 for some sample", got)
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
            got = check.Said("numbers whose differences overflow")
            check.fail(where, "x", "of a range that float64 holds", got, "Scale them down first.")
        np.copyto(self.mean, mean)
        np.copyto(self.deviation, deviation)

    def invert(self, y: Any) -> Array:
        """Return the numbers that the layer scales to these: y · deviation + mean.

        Parameters
        ----------
        y : array_like of shape (n_samples, *input_shape)
            Scaled numbers, such as outputs that were trained on scaled targets.

        Returns
        -------
        ndarray of shape (n_samples, *input_shape)
            Numbers in the units of the data, in float64.

        Raises
        ------
        ShapeError
            If y has another shape.

        Examples
        --------
        >>> from layerkit import Standardize
        >>> scaling = Standardize()
        >>> scaling.build((1,))
        (1,)
        >>> scaling.adapt([[10.0], [30.0]])
        >>> scaling.invert([[-1.0], [0.5]])
        array([[10.],
               [25.]])
        """
        scaled = check.batch("Standardize.invert", "y", y, self.mean.shape, np.dtype(np.float64))
        x: Array = scaled * self.deviation + self.mean
        return x

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse figures that no data has; see `Layer.check_state`."""
        super().check_state(state)
        check_figures("Standardize.set_state", state, "mean")
        check_figures("Standardize.set_state", state, "deviation", above=0)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Scale by the figures, in float64: in float32, they would be others."""
        y: Array = ((x - self.mean) / self.deviation).astype(x.dtype, copy=False)
        return y, None

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Scale the gradient alike."""
        dx: Array = (dy / self.deviation).astype(dy.dtype, copy=False)
        return dx


class _Moments:
    """Mean and deviation of samples that come batch by batch.

    The numbers are taken from the first sample on, and scaled by the largest such difference:
    neither a mean far from 0 nor squares that overflow or vanish cost any digits. Two sets are
    joined as by Chan, Golub & LeVeque (1979), with deviations in the place of sums of squares.
    """

    def __init__(self, shape: Shape) -> None:
        self.origin: Array | None = None
        self.mean, self.deviation = np.zeros(shape), np.zeros(shape)
        self.lowest, self.highest = np.full(shape, np.inf), np.full(shape, -np.inf)
        self.weight, self.n_samples = 0.0, 0

    def add(self, samples: Array, weight: Array | None) -> None:
        """Add a batch; a sample that weighs nothing is not there."""
        self.n_samples += len(samples)
        if weight is not None:
            samples, weight = samples[weight > 0], weight[weight > 0]
        for start, rows in check.row_blocks(samples):
            rows = rows.astype(np.float64)
            own = None if weight is None else weight[start : start + len(rows)]
            with np.errstate(all="ignore"):  # what overflows is refused in the end
                self._join(rows, own)

    def _join(self, rows: Array, weight: Array | None) -> None:
        np.minimum(self.lowest, rows.min(axis=0), out=self.lowest)
        np.maximum(self.highest, rows.max(axis=0), out=self.highest)
        if self.origin is None:
            self.origin = rows[0].copy()
        rows -= self.origin
        scale = np.abs(rows).max(axis=0)
        scale = np.where(scale == 0, 1.0, scale)
        rows /= scale
        mean = np.average(rows, axis=0, weights=weight)
        deviation = np.sqrt(np.average(np.square(rows - mean), axis=0, weights=weight))
        self._merge(mean * scale, deviation * scale, len(rows) if weight is None else weight.sum())

    def _merge(self, mean: Array, deviation: Array, weight: float) -> None:
        self.weight += weight
        new = weight / self.weight
        step = mean - self.mean
        within = np.hypot(np.sqrt(1 - new) * self.deviation, np.sqrt(new) * deviation)
        self.deviation = np.hypot(within, np.sqrt(new * (1 - new)) * step)
        self.mean = self.mean + new * step

    def result(self) -> tuple[Array, Array]:
        """Return the mean, and the deviation; 1 where all numbers are equal, and only there."""
        if self.origin is None:
            return self.mean, self.deviation
        is_flat = self.lowest == self.highest
        # What differs by the least that there is deviates by no less, whatever is rounded.
        deviation = np.maximum(self.deviation, np.finfo(np.float64).smallest_subnormal)
        mean = np.where(is_flat, self.lowest, self.origin + self.mean)
        return mean, np.where(is_flat, 1.0, deviation)


def _batches(
    where: str, x: Any, sample_weight: Any, steps: int | None
) -> Iterator[tuple[Callable[[int], str], Any, Any]]:
    """Yield the names of the samples of a batch, the samples, and their weights."""
    kind = kind_of(x)
    for argument, value in (
        ("steps", steps if kind in ("arrays", "dataset") else None),
        ("sample_weight", sample_weight if kind != "arrays" else None),
    ):
        if value is not None:
            check.fail(where, argument, f"None with this kind of data, {kind}", value)
    if kind == "arrays":
        yield "sample {}".format, x, sample_weight
    elif kind == "dataset":
        for start in range(0, len(x), _AT_A_TIME):
            numbers = np.arange(start, min(start + _AT_A_TIME, len(x)))
            yield _names_from(start), *_of_batch(fetch(x, numbers))
    else:
        source = x() if callable(x) and not hasattr(x, "__iter__") else x
        if not hasattr(source, "__iter__"):
            check.fail(where, "x", "samples, or an iterable of batches", source)
        for step, batch in enumerate(itertools.islice(source, steps), 1):
            yield f"sample {{}} of batch {step}".format, *_of_batch(batch)


def _names_from(start: int) -> Callable[[int], str]:
    return lambda place: f"sample {start + place}"


def _of_batch(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, tuple | list):
        return batch, None
    return (batch[0] if batch else batch), (batch[2] if len(batch) == 3 else None)


def _checked(where: str, samples: Any, weight: Any, shape: Shape) -> tuple[Array, Array | None]:
    """Check a batch and its weights; neither is cast yet, as they may be larger than memory."""
    samples = check.numeric_array(where, "x", samples, None)
    check.batch_shape(where, "x", samples.shape, shape)
    check.finite(where, "x", samples)
    if weight is not None:
        weight = check.numeric_array(where, "sample_weight", weight, np.dtype(np.float64))
        check.exact_shape(where, "sample_weight", weight, samples.shape[:1])
        check.finite(where, "sample_weight", weight)
        if (weight < 0).any():
            got = check.Said(f"{weight.min():g} in {name_of(int(weight.argmin()))}")
            check.fail(where, "sample_weight", "of at least 0", got)
    return samples, weight
