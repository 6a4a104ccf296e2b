"""Masks: which elements of a sequence are real, and which only fill it up."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer
from layerkit.layers.joins import Join
from layerkit.layers.passes import go_back, go_forth

__all__ = ["Masked"]


class Masked(Join):
    """A layer of sequences whose second input is a mask: 1 where an element is real, 0 where not.

    Sequences of different lengths are one batch if the shorter ones are filled up, or padded. x is
    of shape (batch_size, n_steps, …), the mask of shape (batch_size, n_steps). What the layer does
    with it is its own: it is handed over as ``compute_forward(x, training=…, mask=mask)``, and a
    layer of one's own may take it in the same way. No gradient goes to the mask.

    Parameters
    ----------
    layer : Layer
        Layer that takes a mask, or some in a `Chain`, of which one does.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If ``layer`` is no layer or, by `build`, takes no mask or integers; in a pass, if the mask
        has other numbers than 0 and 1.
    ShapeError
        By `build`, if the mask has not one number for each step; in a pass, if it has other
        lengths.

    Examples
    --------
    >>> from layerkit import Graph, Layer, Masked
    >>> class Mean(Layer):
    ...     def build(self, input_shape):
    ...         return input_shape[1:]
    ...     def compute_forward(self, x, *, training, mask):
    ...         weight = mask[..., None] / mask.sum(axis=1)[:, None, None]
    ...         return (x * weight).sum(axis=1), (weight, x.shape)
    ...     def compute_backward(self, dy, cache):
    ...         return dy[:, None] * cache[0]
    >>> inputs = {"x": (None, 2), "mask": (None,)}
    >>> model = Graph(inputs, {"mean": (Masked(Mean()), ("x", "mask"))}, "mean")
    >>> model.predict({"x": [[[1, 2], [3, 4], [9, 9]]], "mask": [[1, 1, 0]]})
    array([[2., 3.]])
    """

    def __init__(self, layer: Layer, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.layer = check.instance("Masked.__init__", "layer", layer, Layer)

    def build(self, input_shapes: tuple[Shape, ...]) -> Shape:
        """Add the layer, for the first of the two inputs."""
        where = "Masked.build"
        if len(input_shapes) != 2:
            got = check.Said(f"{len(input_shapes)} of them")
            check.fail(where, "input_shapes", "those of two inputs, x and its mask", got)
        shape, mask_shape = input_shapes
        if not shape or mask_shape != shape[:1]:
            got = check.Said(f"a mask of shape {mask_shape}, for x of shape {shape}")
            remedy = "The second input is the mask: 1 for a real step, 0 for a padded one."
            wanted = "those of x and of a mask with a number for each step"
            check.fail(where, "input_shapes", wanted, got, remedy, error=ShapeError)
        if self.layer.takes_integers:
            remedy = "Let it read its input alone, and mask the layers after it."
            got = check.Said(f"{self.layer!r}, which takes integers")
            check.fail(where, "layer", "a layer of floats", got, remedy)
        if not self.layer.takes_mask:
            remedy = "Let it read x alone, or write compute_forward(x, *, training, mask=None)."
            wanted = "a layer that takes a mask, or a Chain with one"
            check.fail(where, "layer", wanted, self.layer, remedy)
        return self.add_layer(self.layer, shape)

    def compute_forward(self, x: Any, *, training: bool) -> tuple[Array, Any]:
        """Hand x and the mask to the layer."""
        check_mask("Masked.compute_forward", x[1], x[0].shape[:2])
        return go_forth(self.layer, x[0], training=training, mask=x[1])

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Compute dx; there is none for the mask."""
        return go_back(self.layer, dy, cache, need_dx=need_dx, skip_frozen=skip_frozen), None


def check_mask(where: str, mask: Array, shape: Shape) -> None:
    """Refuse a mask of another shape, or with other numbers than 0 and 1."""
    check.exact_shape(where, "the mask", mask, shape)
    other = (mask != 0) & (mask != 1)
    if other.any():
        place = tuple(int(i) for i in np.argwhere(other)[0])
        got = check.Said(f"{mask[place]:g} at {list(place)}")
        check.fail(where, "the mask", "1 where a step is real, and else 0", got)
