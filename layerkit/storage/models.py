"""Saving and loading of models: the contents of a file, and the classes that it may name."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from layerkit import activations, initializers
from layerkit._support import validation as check
from layerkit._support.state import Unencodable, decode, encode
from layerkit._support.validation import Array
from layerkit.errors import LoadError, SaveError
from layerkit.layers.activation import ActivationLayer, PReLU
from layerkit.layers.attention import CrossAttention, MultiHeadAttention
from layerkit.layers.base import Layer
from layerkit.layers.batch_norm import BatchNorm
from layerkit.layers.borders import Cropping, UpSampling, ZeroPadding
from layerkit.layers.convolution import Conv1D, Conv2D
from layerkit.layers.dense import Dense
from layerkit.layers.dropout import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout,
)
from layerkit.layers.embedding import Embedding, PaddingMask
from layerkit.layers.gated import GLU, Maxout, SwiGLU
from layerkit.layers.global_pooling import GlobalAveragePooling, GlobalMaxPooling
from layerkit.layers.joins import Add, Concatenate, Dot, Multiply
from layerkit.layers.masking import Masked
from layerkit.layers.normalization import GroupNorm, LayerNorm, RMSNorm
from layerkit.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    MaxPooling1D,
    MaxPooling2D,
)
from layerkit.layers.positions import PositionalEmbedding, PositionalEncoding
from layerkit.layers.recurrent import GRU, LSTM, SimpleRNN
from layerkit.layers.separable import DepthwiseConv2D, SeparableConv2D
from layerkit.layers.sequences import Bidirectional, Carried, WithState
from layerkit.layers.shapes import Flatten, Permute, RepeatVector, Reshape
from layerkit.layers.standardize import Standardize
from layerkit.layers.transformer import TransformerBlock
from layerkit.layers.transposed import Conv2DTranspose
from layerkit.layers.wrappers import Chain, Parallel, Residual, TimeDistributed
from layerkit.parameters import Loading
from layerkit.storage import files as _files
from layerkit.storage.files import Path

# The classes that a file may name; an explicit list, so that a file can't run any other code.
CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        ActivationLayer,
        Add,
        AlphaDropout,
        BatchNorm,
        Bidirectional,
        Carried,
        Chain,
        Concatenate,
        CrossAttention,
        AveragePooling1D,
        AveragePooling2D,
        Conv1D,
        Conv2D,
        Conv2DTranspose,
        Cropping,
        Dense,
        DepthwiseConv2D,
        Dot,
        Dropout,
        Embedding,
        Flatten,
        GLU,
        GaussianDropout,
        GaussianNoise,
        GroupNorm,
        LayerNorm,
        GRU,
        LSTM,
        Masked,
        GlobalAveragePooling,
        GlobalMaxPooling,
        MaxPooling1D,
        MaxPooling2D,
        Maxout,
        MultiHeadAttention,
        Multiply,
        PReLU,
        PaddingMask,
        Parallel,
        Permute,
        PositionalEmbedding,
        PositionalEncoding,
        RMSNorm,
        RepeatVector,
        Reshape,
        Residual,
        SpatialDropout,
        SimpleRNN,
        Standardize,
        SwiGLU,
        TimeDistributed,
        TransformerBlock,
        SeparableConv2D,
        UpSampling,
        ZeroPadding,
        WithState,
    )
}
CLASSES |= {name: getattr(activations, name) for name in activations.__all__}
CLASSES |= {name: getattr(initializers, name) for name in initializers.__all__}


def write_tree(where: str, path: Path, kind: str, tree: Any) -> None:
    """Write a tree of data and layerkit's objects to a file."""
    _files.replace_file(where, path, _packed(where, kind, tree))


def tree_to_bytes(where: str, tree: Any) -> bytes:
    """Return a tree of data as bytes."""
    return b"".join(_packed(where, "message", tree))


def tree_from_bytes(where: str, message: bytes) -> dict[str, Any]:
    """Return the tree in bytes that `tree_to_bytes` made."""
    return _tree(where, "message", {}, *_files.unpack(where, message))


def _packed(where: str, kind: str, tree: Any) -> list[bytes | memoryview]:
    arrays: list[Array] = []
    try:
        content = encode(tree, arrays)
    except Unencodable as error:
        wanted = "made of numbers, texts, arrays, lists and dicts"
        check.fail(where, "the content to save", wanted, check.Said(str(error)), error=SaveError)
    return _files.pack(where, {"kind": kind, "tree": content}, arrays)


def read_tree(where: str, path: Path, kind: str, classes: Mapping[str, type]) -> dict[str, Any]:
    """Read the tree in a file that `write_tree` wrote, and refuse a file of another kind."""
    return _tree(where, kind, classes, *_files.read(where, path))


def _tree(
    where: str, kind: str, classes: Mapping[str, type], content: Any, arrays: list[Array]
) -> dict[str, Any]:
    found = content.get("kind") if isinstance(content, dict) else None
    if found != kind:
        got = check.Said(check.shortened(f"one with a {found}"))
        check.fail(where, "path", f"a file with a {kind}", got, error=LoadError)
    try:
        with Loading(sum(array.size for array in arrays)):
            tree = decode(content.get("tree"), arrays, classes)
    except RecursionError:
        raise LoadError(
            f"{where}: path must be a file that layerkit wrote; got one nested too deeply."
        ) from None
    if not isinstance(tree, dict):
        check.fail(where, "path", f"a file with a {kind}", check.Said("no dict"), error=LoadError)
    return tree


def classes_with(where: str, custom_objects: Any) -> dict[str, type]:
    """Return the classes that a file may name: those of layerkit and of the caller."""
    if custom_objects is None:
        custom_objects = {}
    if not isinstance(custom_objects, Mapping):
        remedy = "Write custom_objects={'MyLayer': MyLayer}."
        check.fail(where, "custom_objects", "a dict from names to classes", custom_objects, remedy)
    for name, kind in custom_objects.items():
        if not isinstance(kind, type) or not hasattr(kind, "from_config"):
            check.fail(where, f"custom_objects[{name!r}]", "a class with from_config", kind)
    return CLASSES | dict(custom_objects)


def contents_of(model: Layer) -> dict[str, Any]:
    """Return a model's parameters, the names of the frozen ones, and the layers' states."""
    parameters = model.named_parameters()
    states = {name: _trained_state(layer) for name, layer in model.walk()}
    return {
        "values": {name: parameter.value for name, parameter in parameters.items()},
        "frozen": [name for name, parameter in parameters.items() if not parameter.trainable],
        "states": {name: state for name, state in states.items() if state},
    }


def _trained_state(layer: Layer) -> dict[str, Any]:
    """Return a layer's state without what is as `build` made it, and will make it again."""
    as_built = layer.as_built
    return {
        name: value
        for name, value in layer.get_state().items()
        if not (name in as_built and _is_same(value, as_built[name]))
    }


def _is_same(value: Any, other: Any) -> bool:
    if isinstance(value, np.ndarray) and isinstance(other, np.ndarray):
        same_kind = (value.shape, value.dtype) == (other.shape, other.dtype)
        return same_kind and value.tobytes() == other.tobytes()  # NaN is NaN
    try:
        return type(value) is type(other) and bool(value == other)
    except ValueError:  # collections of arrays, which say nothing as a whole
        return False


def set_trained_state(layer: Layer, state: Mapping[str, Any]) -> None:
    """Set a layer's state to what was saved, and else to what `build` made."""
    known = layer.get_state()
    as_built = {name: value for name, value in layer.as_built.items() if name in known}
    layer.set_state({**copy.deepcopy(as_built), **state})


def check_contents(where: str, model: Layer, contents: Any, *, finite: bool = False) -> None:
    """Refuse contents that are not of such a model: nothing else than it could have itself.

    The parameters of a file may be any numbers of the model's dtype, NaN too, as a model may have
    any; those of a checkpoint are ``finite``, as training keeps them so.
    """
    if not isinstance(contents, Mapping) or set(contents) != {"values", "frozen", "states"}:
        got = check.Said("other entries")
        check.fail(where, "the file", "of a model like this one", got, error=LoadError)
    parameters = model.named_parameters()
    values, frozen = contents["values"], contents["frozen"]
    if not isinstance(values, Mapping) or not isinstance(frozen, list):
        got = check.Said("other entries")
        check.fail(where, "the file", "of a model like this one", got, error=LoadError)
    check_names(where, values, {name: p.shape for name, p in parameters.items()}, model.dtype)
    for name in frozen:
        if not isinstance(name, str) or name not in parameters:
            check.fail(where, "the file", "of a model like this one", name, error=LoadError)
    for name, value in values.items():
        if finite and not np.isfinite(value).all():
            got = check.Said("NaN or an infinity")
            check.fail(where, repr(name), "finite", got, error=LoadError)
    check_states(where, model, contents["states"])


def check_states(where: str, model: Layer, states: Any) -> None:
    """Refuse states of layers that there are not, or that these layers can't have."""
    layers = dict(model.walk())
    if not isinstance(states, Mapping) or not set(states) <= set(layers):
        got = check.Said("states of other layers") if isinstance(states, Mapping) else states
        check.fail(where, "the file", "of a model like this one", got, error=LoadError)
    for name, state in states.items():
        try:
            layers[name].check_state(state)
        except Exception as error:
            _refuse_state(where, name, error)


def _refuse_state(where: str, name: str, error: Exception) -> NoReturn:
    got = check.Said(f"{type(error).__name__}: {error}")
    wanted = "one that its set_state accepts"
    check.fail(where, f"the state of {name!r}", wanted, got, error=LoadError)


def fill(where: str, model: Layer, contents: Any, *, finite: bool = False) -> None:
    """Set a model's parameters and states, if all of them fit; else change nothing."""
    check_contents(where, model, contents, finite=finite)
    values, frozen, states = (contents[key] for key in ("values", "frozen", "states"))
    parameters, layers = model.named_parameters(), dict(model.walk())
    for name, parameter in parameters.items():
        parameter.value = values[name]
        parameter.trainable = name not in frozen
    for name, layer in layers.items():
        state = states.get(name, {})
        if not (state or layer.as_built):
            continue
        try:
            set_trained_state(layer, state)
        except Exception as error:
            _refuse_state(where, name, error)


def check_names(
    where: str,
    arrays: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int]],
    dtype: np.dtype[Any] | None = None,
) -> None:
    """Check that no array is missing, unknown, or of another shape, or dtype if one is given."""
    for words, names in (
        ("missing", [name for name in shapes if name not in arrays]),
        ("unknown to this model", [name for name in arrays if name not in shapes]),
    ):
        if names:
            got = check.Said(f"{', '.join(map(check.describe, names[:5]))} {words}")
            wanted = "those of this model"
            check.fail(where, "the names of the arrays", wanted, got, error=LoadError)
    for name, shape in shapes.items():
        array = arrays[name]
        is_array = isinstance(array, np.ndarray) and array.dtype.kind == "f"
        if not is_array or array.shape != shape or (dtype is not None and array.dtype != dtype):
            wanted = f"a floating-point array of shape {shape}"
            wanted += f" and dtype {dtype}" if dtype else ""
            check.fail(where, repr(name), wanted, array, error=LoadError)


def save_weights(where: str, path: Path, model: Layer) -> None:
    """Write the arrays of parameters and states as safetensors, for other frameworks."""
    tensors = {
        # In C order: the package writes the bytes of other arrays as if they were.
        name: np.ascontiguousarray(array).reshape(array.shape)
        for name, array in _tensors(model).items()
    }
    try:
        from safetensors.numpy import save
    except ImportError:
        check.missing_extra(where, "safetensors", "safetensors")
    _files.replace_file(where, path, [save(tensors)])


def load_weights(where: str, path: Path, model: Layer) -> None:
    """Read the arrays of parameters and states from safetensors."""
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError:
        check.missing_extra(where, "safetensors", "safetensors")
    targets = _tensors(model)
    # Of the widest numbers; with a header that has room for comments.
    most = 8 * sum(array.size for array in targets.values()) + 1024 * len(targets) + (1 << 20)
    # Read, and not mapped: a file that another process cuts off meanwhile would end this one.
    content = _files.read_bytes(where, path, most)
    try:
        tensors = load(content)
    except (SafetensorError, TypeError, ValueError, KeyError, OverflowError) as error:
        got = check.Said(f"{type(error).__name__}: {error}")
        check.fail(where, "path", "a file of safetensors", got, error=LoadError)
    check_names(where, tensors, {name: array.shape for name, array in targets.items()})
    taken = {name: _cast(where, name, tensors[name], targets[name].dtype) for name in targets}
    states = {
        path: {
            name: taken[f"{path}.{name}".removeprefix(".")] if _is_tensor(value) else value
            for name, value in layer.get_state().items()
        }
        for path, layer in model.walk()
    }
    check_states(where, model, states)
    for name, parameter in model.named_parameters().items():
        parameter.value = taken[name]
    for own, layer in model.walk():
        if states[own]:
            layer.set_state(states[own])


def _cast(where: str, name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """Cast weights to a model's dtype, and refuse numbers that it has no room for."""
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if np.isfinite(array).sum() != np.isfinite(cast).sum():
        got = check.Said(f"numbers beyond it, up to {np.abs(array[np.isfinite(array)]).max():g}")
        check.fail(where, repr(name), f"made of numbers of {dtype}", got, error=LoadError)
    return cast


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _tensors(model: Layer) -> dict[str, Array]:
    tensors = {name: parameter.value for name, parameter in model.named_parameters().items()}
    for path, layer in model.walk():
        for name, value in layer.get_state().items():
            if _is_tensor(value):
                tensors[f"{path}.{name}".removeprefix(".")] = value
    return tensors
