"""Attention: each element of a sequence as a mean of others, weighted by how well they match."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError, StateError
from layerkit.layers.base import Layer
from layerkit.layers.dense import Dense
from layerkit.layers.dot_product import Room, attend, attend_back
from layerkit.layers.dropout import Dropout
from layerkit.layers.joins import Join
from layerkit.layers.positions import rotation

__all__ = ["CrossAttention", "MultiHeadAttention"]


def _check_heads(where: str, n_in: Any, n_heads: Any) -> tuple[int, int]:
    """Check the width and the number of heads, of which it must be a multiple."""
    n_in = check.integer(where, "n_in", n_in, minimum=1)
    n_heads = check.integer(where, "n_heads", n_heads, minimum=1)
    if n_in % n_heads:
        remedy = f"The heads share n_in = {n_in} features."
        check.fail(where, "n_heads", "a divisor of n_in", n_heads, remedy)
    return n_in, n_heads


def _heads(x: Array, n_parts: int, n_heads: int) -> Array:
    """View the features of each step as parts of heads: (part, sample, head, step, feature)."""
    split = x.reshape(*x.shape[:2], n_parts, n_heads, x.shape[2] // (n_parts * n_heads))
    return split.transpose(2, 0, 3, 1, 4)


def _seeing(mask: Array | None, *, causal: bool) -> Array | None:
    """Return which queries see a key, of shape (batch_size, 1 or n_steps, 1); None if all do."""
    if mask is None:
        return None
    real = mask != 0
    seeing = np.logical_or.accumulate(real, 1) if causal else real.any(axis=1, keepdims=True)
    return None if seeing.all() else seeing[..., None]


class MultiHeadAttention(Layer):
    """Self-attention: each step of a sequence becomes a weighted mean of all, in several heads.

    With q, k, v = x · qkv.kernel + qkv.bias, cut into parts of width d = n_in / n_heads, one of
    each for a head:

    y = [a₁, …, a_heads] · output.kernel + output.bias with aᵢ = softmax(qᵢ · kᵢᵀ / √d) · vᵢ.

    x and y are of shape (batch_size, n_steps, n_in); n_steps may be open.

    Parameters
    ----------
    n_in : int
        Number of features of a step, before and after.
    n_heads : int
        Number of heads, a divisor of n_in.
    causal : bool
        Whether a step sees none that comes after it.
    rotary : bool
        Whether q and k are rotated by their places, so that their products depend on how far
        apart two steps are: pairs of features (2j, 2j + 1) by the angle t / 10000^(2j / d).
    use_bias : bool
        Whether both products have a bias.
    dropout : float
        Share of the weights that is left out in training, from 0 to below 1.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    qkv : Dense
        Layer of the queries, keys and values, in this order: n_in features of each.
    output : Dense
        Layer of the heads' outputs, side by side.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range, n_heads is no divisor of n_in, or
        a head that is rotated has an odd width.
    ShapeError
        By `build`, if samples are not of shape (n_steps, n_in).

    Notes
    -----
    `Masked` hands it a mask: 1 for a step that may be seen, 0 for one that only fills up the
    sequence. A step that sees none at all has an output of zeros, and gives no gradient.

    In training the weights are kept for the way back, in one array of
    batch_size · n_heads · n_steps²; in evaluation they are not.

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need", section 3.2. Rotary: Su et al. (2021),
    "RoFormer: enhanced transformer with rotary position embedding", eq. 34.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import MultiHeadAttention, Sequential
    >>> model = Sequential([MultiHeadAttention(8, 2, causal=True)], seed=0)
    >>> model.predict(np.ones((3, 5, 8))).shape
    (3, 5, 8)
    >>> list(model.named_parameters())[:2]
    ['multiheadattention_0.qkv.kernel', 'multiheadattention_0.qkv.bias']
    """

    weight_dropout: Dropout | None = None

    def __init__(
        self,
        n_in: int,
        n_heads: int,
        *,
        causal: bool = False,
        rotary: bool = False,
        use_bias: bool = True,
        dropout: float = 0.0,
        name: str | None = None,
    ) -> None:
        where = "MultiHeadAttention.__init__"
        self.n_in, self.n_heads = _check_heads(where, n_in, n_heads)
        self.causal = check.boolean(where, "causal", causal)
        self.rotary = check.boolean(where, "rotary", rotary)
        if self.rotary and self.n_in // self.n_heads % 2:
            remedy = f"Choose n_heads with n_in / n_heads even; it is {self.n_in // self.n_heads}."
            check.fail(where, "rotary", "False for heads of an odd width", rotary, remedy)
        self.use_bias = check.boolean(where, "use_bias", use_bias)
        self.dropout = check.number(where, "dropout", dropout, minimum=0, below=1)
        self.name = check.name(where, name)
        self.input_shape = (None, self.n_in)

    def build(self, input_shape: Shape) -> Shape:
        """Add the layers of the two products, and that of dropout if there is any."""
        self.qkv = Dense(self.n_in, 3 * self.n_in, use_bias=self.use_bias, name="qkv")
        self.output = Dense(self.n_in, self.n_in, use_bias=self.use_bias, name="output")
        self.add_layer(self.qkv, input_shape)
        if self.dropout:
            self.weight_dropout = _add_dropout(self, self.dropout)
        return self.add_layer(self.output, input_shape)

    def count_flops(self) -> int:
        """Count the products of each step with each other, too; see `Layer.count_flops`."""
        n_steps = flat.count_numbers((self.input_shape or ())[:1])
        return super().count_flops() + 4 * n_steps**2 * self.n_in

    def compute_forward(
        self, x: Array, *, training: bool, mask: Array | None = None
    ) -> tuple[Array, Any]:
        """Compute q, k and v, attend by heads, and join these."""
        room = self.workspace(len(x), Room) if training else None
        qkv, qkv_cache = self.qkv.compute_forward(x, training=training)
        q, k, v = _heads(qkv, 3, self.n_heads)
        turn = None
        if self.rotary:
            turn = rotation(x.shape[1], q.shape[-1], x.dtype)
            q, k = _turned(q, turn), _turned(k, turn)
        context, cache = attend(
            q, k, v, mask=mask, causal=self.causal, dropout=self.weight_dropout, room=room
        )
        y, output_cache = self.output.compute_forward(context.reshape(x.shape), training=training)
        seeing = _seeing(mask, causal=self.causal)
        if seeing is not None:
            y = np.where(seeing, y, 0)
        return y, (qkv_cache, cache, output_cache, seeing, turn, room)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Array | None:
        """Go back through the product, the heads, and the product before."""
        qkv_cache, attended, output_cache, seeing, turn, room = cache
        if seeing is not None:
            dy = np.where(seeing, dy, 0)
        d_context: Any = self.output.compute_backward(dy, output_cache, skip_frozen=skip_frozen)
        d_qkv = room.array("d_qkv", (*dy.shape[:2], 3 * self.n_in), dy.dtype)
        dq, dk, dv = _heads(d_qkv, 3, self.n_heads)
        d_context = d_context.reshape(*dy.shape[:2], self.n_heads, self.n_in // self.n_heads)
        attend_back(d_context, attended, dq, dk, dv, dropout=self.weight_dropout)
        if turn is not None:
            dq[...], dk[...] = _turned(dq, turn.conj()), _turned(dk, turn.conj())
        dx = self.qkv.compute_backward(d_qkv, qkv_cache, need_dx=need_dx, skip_frozen=skip_frozen)
        room.in_use = False
        return dx

    @ignoring("under")
    def step(self, x: Any, state: Any = None) -> tuple[Array, Array]:
        """Compute a single step in evaluation, such as of a sequence that is still being made.

        The keys and values of the steps before are kept, and not computed again.

        Parameters
        ----------
        x : array_like of shape (batch_size, n_in)
            Elements of the sequences.
        state : array_like of shape (batch_size, n_steps, 2 · n_in), optional
            Keys and values that the step before returned; none before the first.

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
            If the layer is not causal, or not part of a model yet.
        """
        where = "MultiHeadAttention.step"
        self._check_built("step")
        if not self.causal:
            remedy = "Otherwise each step depends on those after it too."
            check.fail(where, "causal", "True", self.causal, remedy, error=StateError)
        x = check.batch(where, "x", x, (self.n_in,), self.dtype)
        before = np.empty((len(x), 0, 2 * self.n_in), self.dtype)
        if state is not None:
            before = check.numeric_array(where, "state", state, self.dtype)
            remedy = "It is what the step before returned."
            check.exact_shape(where, "state", before, (len(x), None, 2 * self.n_in), remedy)
        qkv, _ = self.qkv.compute_forward(x, training=False)
        q, k, v = _heads(qkv[:, None], 3, self.n_heads)
        if self.rotary:
            turn = rotation(1, q.shape[-1], self.dtype, first=before.shape[1])
            q, k = _turned(q, turn), _turned(k, turn)
        own = [part.reshape(len(x), 1, self.n_in) for part in (k, v)]
        after = np.concatenate([before, np.concatenate(own, axis=2)], axis=1)
        keys, values = _heads(after, 2, self.n_heads)
        context, _ = attend(q, keys, values)
        y, _ = self.output.compute_forward(context.reshape(x.shape), training=False)
        return y, after


def _add_dropout(layer: Layer, rate: float) -> Dropout:
    """Add a layer that drops weights; for a rate of 0 there is none, so that nothing is drawn."""
    dropout = Dropout(rate, name="dropout")
    layer.add_layer(dropout, (None, None, None))
    return dropout


def _turned(x: Array, turn: Array) -> Array:
    """Rotate pairs of features, as complex numbers: exp(iθ) · (x₀ + i x₁)."""
    turned: Array = (x.view(turn.dtype) * turn).view(x.dtype)
    return turned


class CrossAttention(Join):
    """Attention to another sequence: each query becomes a weighted mean over that memory's steps.

    With q = x · query.kernel + query.bias, and k, v = memory · key_value.kernel + key_value.bias,
    each cut into heads of width d = n_in / n_heads:

    y = [a₁, …, a_heads] · output.kernel + output.bias with aᵢ = softmax(qᵢ · kᵢᵀ / √d) · vᵢ.

    A node that reads x of shape (batch_size, n_queries, n_in), the memory of shape
    (batch_size, n_keys, any width) and, if there are sequences that are filled up, a mask of shape
    (batch_size, n_keys): 1 where a step of the memory may be seen. y has the shape of x. A query
    of a sample without any such step has an output of zeros, and gives no gradient.

    Parameters
    ----------
    n_in : int
        Number of features of a query, before and after.
    n_heads : int
        Number of heads, a divisor of n_in.
    use_bias : bool
        Whether the products have a bias.
    dropout : float
        Share of the weights that is left out in training, from 0 to below 1.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    query, key_value, output : Dense
        Layers of the queries, of the keys and values, in this order, and of the heads' outputs.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range, or n_heads is no divisor of n_in;
        by `build`, if there are not two or three inputs.
    ShapeError
        By `build`, if they have other shapes; in a pass, if the mask has another length than the
        memory.

    References
    ----------
    Vaswani et al. (2017), "Attention is all you need", section 3.2.3, the first kind.

    Examples
    --------
    >>> from layerkit import CrossAttention, Graph
    >>> inputs = {"x": (None, 8), "memory": (None, 6), "mask": (None,)}
    >>> model = Graph(inputs, {"y": (CrossAttention(8, 2), ("x", "memory", "mask"))}, "y", seed=0)
    >>> model.output_shape
    (None, 8)
    """

    weight_dropout: Dropout | None = None

    def __init__(
        self,
        n_in: int,
        n_heads: int,
        *,
        use_bias: bool = True,
        dropout: float = 0.0,
        name: str | None = None,
    ) -> None:
        where = "CrossAttention.__init__"
        self.n_in, self.n_heads = _check_heads(where, n_in, n_heads)
        self.use_bias = check.boolean(where, "use_bias", use_bias)
        self.dropout = check.number(where, "dropout", dropout, minimum=0, below=1)
        super().__init__(name=name)

    def build(self, input_shapes: tuple[Shape, ...]) -> Shape:
        """Add the layers of the three products, and that of dropout if there is any."""
        where = "CrossAttention.build"
        if len(input_shapes) not in (2, 3):
            got = check.Said(f"{len(input_shapes)} of them")
            check.fail(where, "input_shapes", "those of x, the memory and perhaps a mask", got)
        x, memory, *mask = input_shapes
        is_right = len(x) == 2 and x[1] == self.n_in
        is_right = is_right and len(memory) == 2 and memory[1] is not None
        if not is_right or mask not in ([], [memory[:1]]):
            wanted = f"(n_queries, {self.n_in}), (n_keys, width) and, of a mask, (n_keys,)"
            got = check.Said(", ".join(map(str, input_shapes)))
            check.fail(where, "input_shapes", wanted, got, error=ShapeError)
        self.query = Dense(self.n_in, self.n_in, use_bias=self.use_bias, name="query")
        self.key_value = Dense(memory[1], 2 * self.n_in, use_bias=self.use_bias, name="key_value")
        self.output = Dense(self.n_in, self.n_in, use_bias=self.use_bias, name="output")
        self.add_layer(self.query, x)
        self.add_layer(self.key_value, memory)
        if self.dropout:
            self.weight_dropout = _add_dropout(self, self.dropout)
        return self.add_layer(self.output, x)

    def count_flops(self) -> int:
        """Count the products of each query with each key, too; see `Layer.count_flops`."""
        products = super().count_flops()
        (n_queries, _), (n_keys, _), *_ = self.input_shape  # type: ignore[misc]
        return products + 4 * flat.count_numbers((n_queries, n_keys)) * self.n_in

    def compute_forward(self, x: Any, *, training: bool) -> tuple[Array, Any]:
        """Compute q of x, k and v of the memory, attend by heads, and join these."""
        x, memory, *masks = x
        mask = masks[0] if masks else None
        if mask is not None:
            check.exact_shape("CrossAttention.compute_forward", "the mask", mask, memory.shape[:2])
        room = self.workspace(len(x), Room) if training else None
        query, query_cache = self.query.compute_forward(x, training=training)
        key_value, key_value_cache = self.key_value.compute_forward(memory, training=training)
        (q,), (k, v) = _heads(query, 1, self.n_heads), _heads(key_value, 2, self.n_heads)
        context, cache = attend(q, k, v, mask=mask, dropout=self.weight_dropout, room=room)
        y, output_cache = self.output.compute_forward(context.reshape(x.shape), training=training)
        seeing = _seeing(mask, causal=False)
        if seeing is not None:
            y = np.where(seeing, y, 0)
        caches = (query_cache, key_value_cache, output_cache)
        return y, (caches, cache, seeing, memory.shape[1], len(masks), room)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Go back through the product, the heads, and the products before; the mask has no dx."""
        (query_cache, key_value_cache, output_cache), attended, seeing, *rest = cache
        n_keys, n_masks, room = rest
        if seeing is not None:
            dy = np.where(seeing, dy, 0)
        d_context: Any = self.output.compute_backward(dy, output_cache, skip_frozen=skip_frozen)
        d_query = room.array("d_query", dy.shape, dy.dtype)
        d_key_value = room.array("d_key_value", (len(dy), n_keys, 2 * self.n_in), dy.dtype)
        (dq,), (dk, dv) = _heads(d_query, 1, self.n_heads), _heads(d_key_value, 2, self.n_heads)
        d_context = d_context.reshape(*dy.shape[:2], self.n_heads, self.n_in // self.n_heads)
        attend_back(d_context, attended, dq, dk, dv, dropout=self.weight_dropout)
        options = {"need_dx": need_dx, "skip_frozen": skip_frozen}
        dx = self.query.compute_backward(d_query, query_cache, **options)
        d_memory = self.key_value.compute_backward(d_key_value, key_value_cache, **options)
        room.in_use = False
        return (dx, d_memory, *(None,) * n_masks)
