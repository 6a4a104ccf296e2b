"""Layers that choose or weigh one half of their units by the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import sigmoid
from layerkit._support.validation import Array, Shape
from layerkit.activations import SiLU
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer
from layerkit.layers.dense import Dense

__all__ = ["GLU", "Maxout", "SwiGLU"]


class GLU(Layer):
    """y = a · sigmoid(b), with the halves a and b of the last axis: a gated linear unit.

    Parameters
    ----------
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ShapeError
        By `build`, if the last axis has no even length.

    References
    ----------
    Dauphin et al. (2017), "Language modeling with gated convolutional networks", eq. 1.

    Examples
    --------
    >>> from layerkit import GLU, Sequential
    >>> Sequential([GLU()], input_shape=(4,)).predict([[1, 2, 0, 9e4]])
    array([[0.5, 2. ]])
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = check.name("GLU.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Halve the last axis."""
        if not input_shape or input_shape[-1] is None or input_shape[-1] % 2:
            remedy = "The layer before gives twice as many units as go on."
            wanted = "of a last axis with an even length"
            check.fail("GLU.build", "input_shape", wanted, input_shape, remedy, error=ShapeError)
        return (*input_shape[:-1], input_shape[-1] // 2)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute y = a · sigmoid(b)."""
        half = x.shape[-1] // 2
        share = sigmoid(x[..., half:])
        y: Array = x[..., :half] * share
        return y, (y, share)

    def compute_backward(self, dy: Array, cache: Any) -> Array:
        """Compute da = dy · s and db = dy · y (1 − s), s = sigmoid(b)."""
        y, share = cache
        return np.concatenate([dy * share, dy * y * (1 - share)], axis=-1)


class SwiGLU(Layer):
    """y = SiLU(x · gate.kernel) ⊙ (x · linear.kernel), as in the feed-forward part of transformers.

    Parameters
    ----------
    n_in, n_out : int
        Number of features of the input, and of the output.
    use_bias : bool
        Whether both products have a bias.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    gate, linear : Dense
        Layers of the two products.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Shazeer (2020), "GLU variants improve transformer", eq. 5.

    Examples
    --------
    >>> from layerkit import Sequential, SwiGLU
    >>> model = Sequential([SwiGLU(3, 4)], seed=0)
    >>> list(model.named_parameters())
    ['swiglu_0.gate.kernel', 'swiglu_0.linear.kernel']
    """

    def __init__(
        self, n_in: int, n_out: int, *, use_bias: bool = False, name: str | None = None
    ) -> None:
        where = "SwiGLU.__init__"
        self.n_in = check.integer(where, "n_in", n_in, minimum=1)
        self.n_out = check.integer(where, "n_out", n_out, minimum=1)
        self.use_bias = check.boolean(where, "use_bias", use_bias)
        self.name = check.name(where, name)
        self.input_shape = (self.n_in,)

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether the last axis has n_in numbers; a model fixes the axes before it."""
        if self.output_shape is None:
            return input_shape[-1:] == (self.n_in,)
        return super().accepts(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Add the two layers."""
        self.gate, self.linear = (
            Dense(self.n_in, self.n_out, activation, use_bias=self.use_bias, name=name)
            for name, activation in (("gate", SiLU()), ("linear", None))
        )
        self.add_layer(self.gate, input_shape)
        return self.add_layer(self.linear, input_shape)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute both products, and multiply them."""
        gate, gate_cache = self.gate.compute_forward(x, training=training)
        linear, linear_cache = self.linear.compute_forward(x, training=training)
        return gate * linear, (gate, gate_cache, linear, linear_cache)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Array | None:
        """Compute dx as the sum over both products."""
        gate, gate_cache, linear, linear_cache = cache
        options = {"need_dx": need_dx, "skip_frozen": skip_frozen}
        by_linear = self.linear.compute_backward(dy * gate, linear_cache, **options)
        by_gate = self.gate.compute_backward(dy * linear, gate_cache, **options)
        return None if by_linear is None or by_gate is None else by_linear + by_gate


class Maxout(Layer):
    """y_j = max_k (x · kernel_jk + bias_jk): the largest of several linear pieces for each unit.

    Parameters
    ----------
    n_in, n_out : int
        Number of features of the input, and of the output.
    n_pieces : int
        Number of pieces a unit.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    pieces : Dense
        Layer of all pieces, those of a unit side by side.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    Notes
    -----
    Of pieces that are equal, the first receives the gradient.

    References
    ----------
    Goodfellow et al. (2013), "Maxout networks", section 3.

    Examples
    --------
    >>> from layerkit import Maxout, Sequential
    >>> model = Sequential([Maxout(3, 2, n_pieces=4)], seed=0)
    >>> model.parameters
    [Parameter('kernel', (3, 8)), Parameter('bias', (8,))]
    >>> model.output_shape
    (2,)
    """

    def __init__(
        self, n_in: int, n_out: int, n_pieces: int = 2, *, name: str | None = None
    ) -> None:
        where = "Maxout.__init__"
        self.n_in = check.integer(where, "n_in", n_in, minimum=1)
        self.n_out = check.integer(where, "n_out", n_out, minimum=1)
        self.n_pieces = check.integer(where, "n_pieces", n_pieces, minimum=1)
        self.name = check.name(where, name)
        self.input_shape = (self.n_in,)

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether the last axis has n_in numbers; a model fixes the axes before it."""
        if self.output_shape is None:
            return input_shape[-1:] == (self.n_in,)
        return super().accepts(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Add the layer of all pieces."""
        self.pieces = Dense(self.n_in, self.n_out * self.n_pieces, name="pieces")
        self.add_layer(self.pieces, input_shape)
        return (*input_shape[:-1], self.n_out)

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute all pieces, and take the largest of each unit."""
        z, cache = self.pieces.compute_forward(x, training=training)
        z = z.reshape(*z.shape[:-1], self.n_out, self.n_pieces)
        largest = z.argmax(axis=-1)[..., None]
        return np.take_along_axis(z, largest, axis=-1)[..., 0], (largest, cache)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Array | None:
        """Carry dy back through the pieces that were the largest."""
        largest, inner = cache
        dz = np.zeros((*dy.shape, self.n_pieces), dy.dtype)
        np.put_along_axis(dz, largest, dy[..., None], axis=-1)
        dz = dz.reshape(*dy.shape[:-1], self.n_out * self.n_pieces)
        return self.pieces.compute_backward(dz, inner, need_dx=need_dx, skip_frozen=skip_frozen)
