"""Scaled dot-product attention over heads, forward and back: block by block, to stay in cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from layerkit._support.validation import Array, Shape
from layerkit.layers.dropout import Dropout
from layerkit.layers.stateful import Workspace

__all__ = ["Room", "attend", "attend_back"]

# Numbers of the scores that are worked on together: few enough for a processor's second cache,
# enough for the time of the calls not to count.
_BLOCK = 1 << 16
# Up to this size of the largest score, exp needs no shift: sums and quotients are far from the
# ends of float32.
_SMALL = 20.0


class Room(Workspace):
    """A workspace of named arrays, each made anew when its shape changes with the lengths."""

    def __init__(self, batch_size: int) -> None:
        self._arrays: dict[str, Array] = {}

    def array(self, name: str, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """Return the array of this name, with any numbers in it."""
        found = self._arrays.get(name)
        if found is None or found.shape != shape:
            found = self._arrays[name] = np.empty(shape, dtype)
        return found


def attend(
    q: Array,
    k: Array,
    v: Array,
    *,
    mask: Array | None = None,
    causal: bool = False,
    dropout: Dropout | None = None,
    room: Room | None = None,
) -> tuple[Array, Any]:
    """Compute softmax(q · kᵀ / √width) · v for each head, and a cache for `attend_back`.

    Parameters
    ----------
    q : ndarray of shape (batch_size, n_heads, n_queries, width)
        Queries.
    k, v : ndarray of shape (batch_size, n_heads, n_keys, width)
        Keys and values.
    mask : ndarray of shape (batch_size, n_keys), optional
        True where a key may be seen; a query that sees none gets zeros.
    causal : bool
        Whether a query sees no key after its own place.
    dropout : Dropout, optional
        Layer for the weights, in training.
    room : Room, optional
        Workspace of a training step; without it, nothing is kept.

    Returns
    -------
    context : ndarray of shape (batch_size, n_queries, n_heads, width)
        Weighted means of the values.
    cache : object
        For `attend_back`.
    """
    n_samples, n_heads, n_queries, width = q.shape
    n_keys = k.shape[2]
    dtype, is_training = q.dtype, room is not None
    room = Room(n_samples) if room is None else room
    context = room.array("context", (n_samples, n_queries, n_heads, width), dtype)
    by_head = context.transpose(0, 2, 1, 3)
    scaled = room.array("q", context.shape, dtype).transpose(0, 2, 1, 3)
    q = np.multiply(q, dtype.type(1 / math.sqrt(width)), out=scaled)
    shape = (n_samples, n_heads, n_queries, n_keys)
    sums = np.empty(shape[:-1], dtype)
    weights = room.array("weights", shape, dtype) if is_training else None
    ones, dropped = np.ones(n_keys, dtype), []
    hidden = _hidden(n_queries, n_keys, dtype) if causal else None
    padding = None if mask is None else np.where(mask, 0, -np.inf).astype(dtype)[:, None, None]
    for block, seen in _blocks(shape, causal=causal):
        out = None if weights is None else weights[*block, seen]
        scores = np.matmul(q[block], k[*block[:2], seen].swapaxes(-1, -2), out=out)
        biases = [] if hidden is None else [hidden[block[2], seen]]
        biases += [] if padding is None else [padding[block[0], ..., seen]]
        _exponentiate(scores, biases)
        # A product with ones: several times faster than a sum over an axis.
        sums[block] = scores @ ones[seen]
        if dropout is not None and is_training:
            scores, kept = dropout.compute_forward(scores, training=True)
            dropped.append(kept)
        np.matmul(scores, v[*block[:2], seen], out=by_head[block])
    sums += sums == 0  # of a query without keys, whose weights are 0
    # Divided after the product, which is smaller than the scores.
    context /= sums.swapaxes(1, 2)[..., None]
    return context, (q, k, v, context, sums, weights, dropped, causal)


def _exponentiate(scores: Array, biases: list[Array]) -> None:
    """Replace scores by their exponentials: shifted by the largest of each row, if one is large."""
    is_large = max(scores.max(initial=0), -scores.min(initial=0)) > _SMALL
    for bias in biases:
        scores += bias
    if is_large:
        # Not −∞, where a row has no key: the difference would be NaN.
        scores -= scores.max(axis=-1, keepdims=True, initial=np.finfo(scores.dtype).min)
    np.exp(scores, scores)


def _hidden(n_queries: int, n_keys: int, dtype: np.dtype[Any]) -> Array:
    """Return what causal attention adds to the scores: −∞ where a key comes after its query."""
    later = np.arange(n_keys) > np.arange(n_queries)[:, None]
    return np.where(later, -np.inf, 0).astype(dtype)


def _blocks(shape: Shape, *, causal: bool) -> Iterator[tuple[tuple[slice, slice, slice], slice]]:
    """Yield slices of samples, heads and queries that make a block, and of the keys that they see.

    Causal queries see the keys up to the last of them.
    """
    n_samples, n_heads, n_queries, n_keys = shape
    n_rows = max(1, _BLOCK // max(1, n_heads * n_queries * n_keys))
    n_columns = max(1, _BLOCK // max(1, n_queries * n_keys))
    n_steps = max(1, _BLOCK // max(1, n_keys))
    for row in range(0, n_samples, n_rows):
        for column in range(0, n_heads, n_columns):
            for step in range(0, max(1, n_queries), n_steps):
                block = slice(row, row + n_rows), slice(column, column + n_columns)
                stop = min(step + n_steps, n_queries)
                yield (*block, slice(step, stop)), slice(stop if causal else n_keys)


def attend_back(
    dy: Array, cache: Any, dq: Array, dk: Array, dv: Array, *, dropout: Dropout | None = None
) -> None:
    """Compute the gradients of q, k and v, and write them into arrays of their shapes.

    With the weights p = softmax(s): dv = pᵀ · dy, ds = p · (dy · vᵀ − Σ dy · y),
    dq = ds · k / √width and dk = dsᵀ · q / √width. p are left as exponentials: dy is divided by
    their sums, once.

    Parameters
    ----------
    dy : ndarray of shape (batch_size, n_queries, n_heads, width)
        Gradient with respect to the context.
    cache : object
        Of `attend`, in training.
    dq, dk, dv : ndarray of shape (batch_size, n_heads, n_queries or n_keys, width)
        Arrays for the results.
    dropout : Dropout, optional
        The layer that `attend` was given.
    """
    q, k, v, context, sums, weights, dropped, causal = cache
    scale = q.dtype.type(1 / math.sqrt(q.shape[-1]))
    dy = dy / sums.swapaxes(1, 2)[..., None]
    along = np.einsum("nqhw,nqhw->nhq", dy, context)
    dy = dy.transpose(0, 2, 1, 3)
    room = Room(len(q))
    for index, (block, seen) in enumerate(_blocks(weights.shape, causal=causal)):
        p, d_part, keys = weights[*block, seen], dy[block], (*block[:2], seen)
        ds = np.matmul(d_part, v[keys].swapaxes(-1, -2), out=room.array("ds", p.shape, p.dtype))
        kept = p
        if dropout is not None:  # a product with the mask, which is its own transpose
            ds = dropout.compute_backward(ds, dropped[index])
            kept = dropout.compute_backward(p, dropped[index])
        _put(dv, keys, kept, d_part, is_first=block[2].start == 0)
        ds -= along[block][..., None]
        ds *= p
        np.matmul(ds, k[keys], out=dq[block])
        _put(dk, keys, ds, q[block], is_first=block[2].start == 0)
    dq *= scale


def _put(total: Array, keys: Any, weights: Array, x: Array, *, is_first: bool) -> None:
    """Write what a block of queries gives to its keys, or add it after the first such block."""
    if is_first:
        np.matmul(weights.swapaxes(-1, -2), x, out=total[keys])
        total[*keys[:2], keys[2].stop :] = 0
    else:
        total[keys] += weights.swapaxes(-1, -2) @ x
