"""`TransformerBlock`: attention, and a small network for each step, each added to its input."""

from __future__ import annotations

from typing import Any

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.validation import Array, Shape
from layerkit.activations import GELU, Activation
from layerkit.layers.attention import MultiHeadAttention
from layerkit.layers.base import Layer
from layerkit.layers.dense import Dense
from layerkit.layers.dropout import Dropout
from layerkit.layers.normalization import LayerNorm
from layerkit.layers.wrappers import Chain, Residual

__all__ = ["TransformerBlock"]

_GELU = GELU()


class TransformerBlock(Chain):
    """Self-attention and then a feed-forward part for each step, both as residual blocks.

    With norm_first, z = x + attention(norm(x)) and y = z + feed_forward(norm(z)); without it,
    z = norm(x + attention(x)) and y = norm(z + feed_forward(z)), as in the paper. The feed-forward
    part is f(x · hidden.kernel + hidden.bias) · output.kernel + output.bias.

    x and y are of shape (batch_size, n_steps, n_in); n_steps may be open. `Masked` hands it a mask,
    which goes to the attention.

    Parameters
    ----------
    n_in : int
        Number of features of a step, before and after.
    n_heads : int
        Number of heads of the attention, a divisor of n_in.
    n_hidden : int
        Number of units of the feed-forward part; often 4 · n_in.
    activation : Activation
        Activation f of these units.
    norm_first : bool
        Whether to normalise before each part, inside of the residual block, or after it. Blocks
        that normalise first train without a warm-up of the learning rate; after the last of them
        follows a `LayerNorm`.
    causal, rotary : bool
        Whether a step sees none after it, and whether queries and keys are rotated by their
        places; see `MultiHeadAttention`.
    dropout : float
        Share that is left out in training, from 0 to below 1: of the attention's weights, of the
        hidden units, and of each part's output.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    attention : MultiHeadAttention
        Layer of the attention.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range, or n_heads is no divisor of n_in.

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need", sections 3.1 to 3.3. norm_first: Xiong et
    al. (2020), "On layer normalization in the transformer architecture", figure 1b.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LayerNorm, PositionalEncoding, Sequential, TransformerBlock
    >>> blocks = [TransformerBlock(8, 2, 32, causal=True) for _ in range(2)]
    >>> layers = [PositionalEncoding(), *blocks, LayerNorm()]
    >>> model = Sequential(layers, input_shape=(None, 8), seed=0)
    >>> model.predict(np.zeros((3, 5, 8))).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        n_in: int,
        n_heads: int,
        n_hidden: int,
        *,
        activation: Activation = _GELU,
        norm_first: bool = True,
        causal: bool = False,
        rotary: bool = False,
        dropout: float = 0.0,
        name: str | None = None,
    ) -> None:
        where = "TransformerBlock.__init__"
        self.attention = MultiHeadAttention(
            n_in, n_heads, causal=causal, rotary=rotary, dropout=dropout, name="heads"
        )
        self.n_in, self.n_heads = self.attention.n_in, self.attention.n_heads
        self.n_hidden = check.integer(where, "n_hidden", n_hidden, minimum=1)
        self.activation = check.instance(where, "activation", activation, Activation)
        self.norm_first = check.boolean(where, "norm_first", norm_first)
        self.causal, self.rotary = self.attention.causal, self.attention.rotary
        self.dropout = self.attention.dropout
        hidden = Dense(self.n_in, self.n_hidden, self.activation, name="hidden")
        output = Dense(self.n_hidden, self.n_in, name="output")
        parts: list[tuple[str, list[Layer]]] = [
            ("attention", [self.attention, *self._drop()]),
            ("feed_forward", [hidden, *self._drop(), output, *self._drop()]),
        ]
        layers: list[Layer] = []
        for part, inner in parts:
            if self.norm_first:
                layers.append(Residual([LayerNorm(name="norm"), *inner], name=part))
            else:
                layers += [Residual(inner, name=part), LayerNorm(name=f"{part}_norm")]
        super().__init__(layers, name=name)
        self.input_shape = (None, self.n_in)

    def _drop(self) -> list[Layer]:
        """Return a new Dropout, or none for a rate of 0."""
        return [Dropout(self.dropout)] if self.dropout else []

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether these are steps of n_in features; a model fixes their number."""
        return Layer.accepts(self, input_shape)

    @ignoring("under")
    def step(self, x: Any, state: Any = None) -> tuple[Array, Array]:
        """Compute a single step in evaluation, such as of a sequence that is still being made.

        Parameters
        ----------
        x : array_like of shape (batch_size, n_in)
            Elements of the sequences.
        state : array_like of shape (batch_size, n_steps, 2 · n_in), optional
            Keys and values of the attention that the step before returned; none before the first.

        Returns
        -------
        y : ndarray of shape (batch_size, n_in)
            Outputs.
        state : ndarray of shape (batch_size, n_steps + 1, 2 · n_in)
            Keys and values, for the step after.

        Raises
        ------
        ShapeError
            If x or the state has another shape.
        StateError
            If the block is not causal, or not part of a model yet.
        """
        self._check_built("step")
        x = check.batch("TransformerBlock.step", "x", x, (self.n_in,), self.dtype)[:, None]
        for layer in self.layers:
            z = x
            for inner in layer.children or (layer,):
                if inner is self.attention:
                    y, state = self.attention.step(z[:, 0], state)
                    z = y[:, None]
                else:
                    z, _ = inner.compute_forward(z, training=False)
            x = x + z if layer.children else z
        return x[:, 0], state
