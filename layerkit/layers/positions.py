"""Where an element of a sequence stands: encodings of places, given, learned, and as rotations."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.initializers import Initializer, Normal
from layerkit.layers.base import Layer

__all__ = ["PositionalEmbedding", "PositionalEncoding", "rotation"]


def _angles(n_steps: int, n_features: int, first: int) -> Array:
    """Return t / 10000^(2j / n_features) for each place t from the first, and each pair j."""
    pairs = np.arange(0, n_features, 2)
    angles: Array = np.arange(first, first + n_steps)[:, None] * 10000.0 ** (-pairs / n_features)
    return angles


@functools.lru_cache(maxsize=16)
def rotation(n_steps: int, n_features: int, dtype: np.dtype[Any], first: int = 0) -> Array:
    """Return exp(iθ) of shape (n_steps, n_features / 2), by which pairs of features are turned."""
    turn: Array = np.exp(1j * _angles(n_steps, n_features, first)).astype(np.result_type(dtype, 1j))
    turn.setflags(write=False)  # all calls get the same array
    return turn


@functools.lru_cache(maxsize=16)
def _waves(n_steps: int, n_features: int, dtype: np.dtype[Any], first: int = 0) -> Array:
    """Return the sines at even features and the cosines at odd ones, of (n_steps, n_features)."""
    angles = _angles(n_steps, n_features, first)
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    waves = pairs.reshape(n_steps, 2 * angles.shape[1])[:, :n_features].astype(dtype)
    waves.setflags(write=False)
    return waves


class PositionalEncoding(Layer):
    """Adds sines and cosines of the place to each step of a sequence.

    y_t = x_t + p_t with p_t,2j = sin(t / 10000^(2j / n)) and p_t,2j+1 = cos(t / 10000^(2j / n)),
    for n features and t from 0. There are no parameters, and a sequence may have any length.

    Parameters
    ----------
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ShapeError
        By `build`, if samples are not of shape (n_steps, n_features).

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need", section 3.5.

    Examples
    --------
    >>> from layerkit import PositionalEncoding, Sequential
    >>> model = Sequential([PositionalEncoding()], input_shape=(None, 2))
    >>> model.predict([[[0, 0], [0, 0], [5, 5]]]).round(3)
    array([[[0.   , 1.   ],
            [0.841, 0.54 ],
            [5.909, 4.584]]])
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = check.name("PositionalEncoding.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Check that a sample has steps, and features."""
        if len(input_shape) != 2 or input_shape[1] is None:
            where, wanted = "PositionalEncoding.build", "(n_steps, n_features)"
            check.fail(where, "input_shape", wanted, input_shape, error=ShapeError)
        return input_shape

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Add the encoding of each place."""
        return x + _waves(*x.shape[1:], x.dtype), None

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Return dy."""
        return dy

    def step(self, x: Any, state: Any = None) -> tuple[Array, int]:
        """Compute a single step in evaluation, such as of a sequence that is still being made.

        Parameters
        ----------
        x : array_like of shape (batch_size, n_features)
            Elements of the sequences.
        state : int, optional
            Number of steps before, as the step before returned it; none before the first.

        Returns
        -------
        y : ndarray of shape (batch_size, n_features)
            Outputs.
        state : int
            Number of steps, for the step after.

        Raises
        ------
        ArgumentError
            If the state is no number of steps.
        ShapeError
            If x has another shape.
        StateError
            If the layer is not part of a model yet.
        """
        self._check_built("step")
        width = self.input_shape[1]  # type: ignore[index]
        x, place = _one_step("PositionalEncoding.step", x, state, width, self.dtype)
        return x + _waves(1, width, self.dtype, first=place)[0], place + 1


def _one_step(
    where: str, x: Any, state: Any, width: int, dtype: np.dtype[Any]
) -> tuple[Array, int]:
    """Check the arguments of a step, and return x and its place."""
    x = check.batch(where, "x", x, (width,), dtype)
    return x, 0 if state is None else check.integer(where, "state", state, minimum=0)


class PositionalEmbedding(Layer):
    """Adds a learned vector for its place to each step of a sequence: y_t = x_t + positions_t.

    Parameters
    ----------
    max_length : int
        Number of places that there are vectors for: the length of the longest sequence.
    n_in : int
        Number of features of a step.
    initializer : Initializer
        Initializer of the vectors.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    positions : Parameter of shape (max_length, n_in)
        Vectors of the places.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.
    ShapeError
        By `build`, if samples are not of shape (n_steps, n_in); there or in a pass, if a sequence
        is longer than ``max_length``.

    References
    ----------
    Gehring et al. (2017), "Convolutional sequence to sequence learning", section 3.1.

    Examples
    --------
    >>> from layerkit import PositionalEmbedding, Sequential
    >>> model = Sequential([PositionalEmbedding(100, 8)], seed=0)
    >>> model.input_shape, model.parameters
    ((None, 8), [Parameter('positions', (100, 8))])
    """

    def __init__(
        self,
        max_length: int,
        n_in: int,
        *,
        initializer: Initializer = Normal(0.02),  # noqa: B008 - it has no state
        name: str | None = None,
    ) -> None:
        where = "PositionalEmbedding.__init__"
        self.max_length = check.integer(where, "max_length", max_length, minimum=1)
        self.n_in = check.integer(where, "n_in", n_in, minimum=1)
        self.initializer = check.instance(where, "initializer", initializer, Initializer)
        self.name = check.name(where, name)
        self.input_shape = (None, self.n_in)

    def build(self, input_shape: Shape) -> Shape:
        """Declare the vectors."""
        self._check_length("build", input_shape[0] or 0)
        shape = (self.max_length, self.n_in)
        self.positions = self.add_parameter("positions", shape, self.initializer)
        return input_shape

    def _check_length(self, method: str, n_steps: int) -> None:
        if n_steps > self.max_length:
            where, argument = f"PositionalEmbedding.{method}", "the number of steps"
            remedy = "Cut the sequences, or build the layer with a larger max_length."
            wanted = f"at most max_length = {self.max_length}"
            check.fail(where, argument, wanted, n_steps, remedy, error=ShapeError)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Add the vector of each place."""
        self._check_length("compute_forward", x.shape[1])
        return x + self.positions.value[: x.shape[1]], None

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Return dy; a place's gradient is its sum over the batch, and 0 beyond the sequence."""
        n_steps = dy.shape[1]
        self.positions.grad[:n_steps] = dy.sum(axis=0)
        self.positions.grad[n_steps:] = 0
        return dy

    def step(self, x: Any, state: Any = None) -> tuple[Array, int]:
        """Compute a single step in evaluation, such as of a sequence that is still being made.

        Parameters
        ----------
        x : array_like of shape (batch_size, n_in)
            Elements of the sequences.
        state : int, optional
            Number of steps before, as the step before returned it; none before the first.

        Returns
        -------
        y : ndarray of shape (batch_size, n_in)
            Outputs.
        state : int
            Number of steps, for the step after.

        Raises
        ------
        ArgumentError
            If the state is no number of steps.
        ShapeError
            If x has another shape, or there is no vector for this place.
        StateError
            If the layer is not part of a model yet.
        """
        self._check_built("step")
        x, place = _one_step("PositionalEmbedding.step", x, state, self.n_in, self.dtype)
        self._check_length("step", place + 1)
        return x + self.positions.value[place], place + 1
