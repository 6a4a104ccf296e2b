"""The layers of a `Sequential`: which may be in a row, and the shape of what the first takes."""

from __future__ import annotations

from layerkit._support import validation as check
from layerkit._support.validation import Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer
from layerkit.layers.joins import Join
from layerkit.models.wiring import check_alone

__all__ = ["check_chain", "first_shape"]


def check_chain(where: str, model: Layer, chain: list[Layer]) -> None:
    """Refuse layers that can't be together in one model."""
    if not chain:
        check.fail(where, "layers", "a list of at least one layer", check.Said("none"))
    seen: dict[int, int] = {}
    named: dict[str, int] = {}
    for index, layer in enumerate(chain):
        got = None
        if layer is model:
            got = f"layers[{index}], the model itself"
        elif id(layer) in seen:
            got = f"layers[{index}], which is layers[{seen[id(layer)]}] again"
        elif layer.is_owned:
            got = f"layers[{index}], {layer!r}, which is part of a model already"
        if got:
            remedy = "Use copy.deepcopy(layer), which has parameters of its own."
            check.fail(where, "layers", "layers of this model alone", check.Said(got), remedy)
        if isinstance(layer, Join):
            remedy = "Use it as a node of a Graph."
            got = check.Said(f"layers[{index}], {layer!r}")
            check.fail(where, "layers", "layers of one input", got, remedy)
        check_alone(where, f"layers[{index}]", layer)
        if layer.name in named:
            got = f"{layer.name!r} for layers[{named[layer.name]}] and layers[{index}]"
            check.fail(where, "layers", "of different names", check.Said(got))
        if layer.output_shape is not None and layer.dtype != model.dtype:
            got = f"layers[{index}], {layer!r}, of {layer.dtype}"
            remedy = f"Pass dtype=numpy.{layer.dtype}, or convert it: astype."
            check.fail(where, "layers", f"of dtype {model.dtype}", check.Said(got), remedy)
        seen[id(layer)] = index
        if layer.name is not None:
            named[layer.name] = index


def first_shape(where: str, first: Layer, input_shape: Shape | None) -> Shape | None:
    """Find the shape of a sample: what the first layer says, or what the caller does."""
    if input_shape is None:
        return first.input_shape
    shape = check.sample_shape(where, "input_shape", input_shape)
    if not first.accepts(shape):
        expectation = f"{first.input_shape}, which layers[0], {first!r}, takes"
        check.fail(where, "input_shape", expectation, shape, error=ShapeError)
    return shape
