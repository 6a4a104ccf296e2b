"""What the compiled engine can train: layers, activations, losses, data; and the words if not."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.validation import Array
from layerkit.activations import (
    ELU,
    GELU,
    Activation,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from layerkit.data.batches import ArrayBatches
from layerkit.engines.base import Refused
from layerkit.errors import MissingExtraError
from layerkit.layers.base import Layer
from layerkit.layers.dense import Dense
from layerkit.losses import (
    HalfSquaredError,
    Loss,
    MeanSquaredError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from layerkit.metrics import Accuracy, MeanAbsoluteError, Metric, SquaredDistance
from layerkit.models.sequential import Sequential

# In the order of the kernels' codes, the custom ones after them; of GELU, the approximation.
ACTIVATIONS = [Identity, Sigmoid, Tanh, ReLU, LeakyReLU, ELU, Softplus, SiLU, GELU, Softmax]
METRICS = [Metric, SquaredDistance, MeanAbsoluteError, Accuracy]

# Data that is not of the model's dtype, or not contiguous, is copied up to this size.
_LARGEST_COPY = 1 << 28

_said: set[type] = set()
_compiled_scalars: dict[Any, Any] = {}


def load_kernels(where: str) -> ModuleType:
    """Import the kernels, and numba with them.

    Raises
    ------
    MissingExtraError
        If numba is not installed.
    """
    try:
        from layerkit.engines import kernels as _kernels
    except ImportError:
        check.missing_extra(where, "numba", "speed")
    return _kernels


def usable_kernels() -> ModuleType:
    """Return the kernels; refuse if they are not installed, or switched off."""
    try:
        kernels = load_kernels("Trainer.fit")
    except MissingExtraError:
        raise Refused("numba is not installed (pip install 'layerkit[speed]')") from None
    if kernels.IS_DISABLED:
        raise Refused("NUMBA_DISABLE_JIT is set")
    return kernels


def _computes_as(layer: Layer, kind: type[Layer]) -> bool:
    """Return whether a layer is of a kind, and has that kind's own passes."""
    return isinstance(layer, kind) and all(
        getattr(getattr(layer, method), "__func__", None) is getattr(kind, method)
        for method in ("build", "compute_forward", "compute_backward")
    )


def dense_layers(model: Layer) -> list[Dense]:
    """List the layers in their order, those of models inside models too."""
    if not _computes_as(model, Sequential):
        raise Refused(f"the model is a {type(model).__name__}, which has a pass of its own")
    layers: list[Dense] = []
    for index, layer in enumerate(model.children):
        if isinstance(layer, Sequential):
            layers += dense_layers(layer)
            continue
        if not isinstance(layer, Dense) or not _computes_as(layer, Dense):
            raise Refused(f"layers[{index}], {layer!r}, is not a Dense")
        if layer.input_shape != (layer.n_in,):
            raise Refused(f"layers[{index}], {layer!r}, takes samples of several axes")
        if any(parameter.is_tied for parameter in layer.own_parameters.values()):
            raise Refused(f"layers[{index}], {layer!r}, has tied parameters")
        if any(not parameter.trainable for parameter in layer.parameters):
            raise Refused(f"layers[{index}], {layer!r}, has frozen parameters")
        layers.append(layer)
    return layers


def _refuse(activation: Activation, reason: str) -> NoReturn:
    """Refuse an activation, and tell once that it keeps a model from the compiled engine."""
    if type(activation) not in _said:
        _said.add(type(activation))
        remedy = "define it for the compiled engine, or pass engine='numpy'"
        message = f"Trainer.fit: NumPy serves, since {reason}; {remedy}"
        warnings.warn(message, stacklevel=_levels_to_the_caller())
    raise Refused(reason) from None


def _levels_to_the_caller() -> int:
    """Count the calls from `_refuse` up to the user's own of `Trainer.fit`."""
    frame, levels = sys._getframe(1), 1
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith("layerkit."):
        frame, levels = frame.f_back, levels + 1
    return levels


def code_of(activation: Activation) -> int:
    """Return the kernels' code of an activation; that of a custom one if they don't have it."""
    is_known = type(activation) in ACTIVATIONS and getattr(activation, "approximate", True)
    return ACTIVATIONS.index(type(activation)) if is_known else len(ACTIVATIONS)


def slope_of(activation: Activation) -> float:
    """Return the number that an activation has, if any."""
    if isinstance(activation, LeakyReLU):
        return activation.negative_slope
    return activation.alpha if isinstance(activation, ELU) else 0.0


def loss_code_of(loss: Loss) -> int:
    """Return the kernels' code of a loss."""
    if getattr(loss, "label_smoothing", 0):
        raise Refused(f"the loss, {loss!r}, smooths labels")
    for weights in ("pos_weight", "class_weight"):
        if getattr(loss, weights, None) is not None:
            raise Refused(f"the loss, {loss!r}, weighs its classes")
    if type(loss) is SoftmaxCrossEntropy:
        return 3 if loss.targets == "indices" else 4
    kinds: list[type[Loss]] = [HalfSquaredError, MeanSquaredError, SigmoidCrossEntropy]
    if type(loss) not in kinds:
        raise Refused(f"the loss, {loss!r}, is not one that is compiled")
    return kinds.index(type(loss))


def metric_code_of(metric: Metric) -> int:
    """Return the kernels' code of a metric; 0 for one that is computed by itself."""
    has_labels = getattr(metric, "multilabel", False)
    return METRICS.index(type(metric)) if type(metric) in METRICS and not has_labels else 0


@ignoring("all")  # a number too large for the dtype is found in the step that takes it
def contiguous(data: ArrayBatches, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return the data in the form that the kernel reads; as it is, if it can be."""
    wanted = data.dtypes or (data.x.dtype, data.y.dtype)
    if data.rows is not None:
        if (data.x.nbytes + data.y.nbytes) * data.n_samples > _LARGEST_COPY * len(data.x):
            raise Refused("some of the samples are trained on, and they are too large to copy")
        x, y = data.x[data.rows], data.y[data.rows]
        return np.require(x, wanted[0], ["C"]), np.require(y, wanted[1], ["C"])
    size = 0
    for array, kind in zip((data.x, data.y), wanted, strict=True):
        fits = array.dtype == kind and array.flags.c_contiguous and array.flags.aligned
        size += 0 if fits else array.size * kind.itemsize
    if size > _LARGEST_COPY:
        raise Refused(f"the data is not a contiguous array of {dtype}, and too large to copy")
    x, y = (
        np.require(array, kind, ["C_CONTIGUOUS", "ALIGNED"])
        for array, kind in zip((data.x, data.y), wanted, strict=True)
    )
    return x, y


def read_only(array: Array) -> Array:
    """Return a view that can't be written to."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def compiled_scalar(kernels: ModuleType, activation: Activation, dtype: np.dtype[Any]) -> Any:
    """Compile a user's scalar functions, or take them from an earlier fit."""
    pair = activation.scalar_functions()
    if pair is None and type(activation).__module__.startswith("layerkit.activations."):
        raise Refused(f"{activation!r} computes with all units of a sample")
    if pair is None:
        _refuse(activation, f"{activation!r} has no scalar_functions")
    key: Any = (dtype, *map(_identity, pair))
    try:
        if key in _compiled_scalars:
            return _compiled_scalars[key]
    except TypeError:  # a constant that can't be hashed: compile each time
        key = None
    try:
        compiled = kernels.compile_scalar(*pair, dtype)
    except Exception as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        reason = f"numba can't compile the scalar_functions of {activation!r} ({first_line})"
        _refuse(activation, reason)
    if key is not None:
        _compiled_scalars[key] = compiled
    return compiled


def _identity(function: Any) -> tuple[Any, ...]:
    """Return what tells functions apart: their code and what it refers to."""
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    return function.__code__, cells, function.__defaults__
