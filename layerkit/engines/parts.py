"""Compiled parts for the NumPy engine: the optimizer's step, and the loss."""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.engines.base import Refused
from layerkit.engines.tables import loss_code_of, read_only, usable_kernels
from layerkit.losses import Loss
from layerkit.models.base import Model
from layerkit.optimizers import SGD, Adam, AdamW, Optimizer
from layerkit.steps.step import ValueAndGradient
from layerkit.steps.updates import Step, calm_limit

__all__ = ["compiled_parts"]

# Below this length, a call of a compiled function takes as long as NumPy's operations do.
_SHORTEST_STEP = 1 << 11
# Loading numba takes as long as so many numbers that it steps through; for each step of a training
# it wins back the length of the parameters, and some for the loss.
_LOADING_COST, _STEP_GAIN = 3e8, 10_000


def compiled_parts(
    model: Model, loss: Loss, optimizer: Optimizer, n_steps: float
) -> tuple[Step | None, ValueAndGradient | None]:
    """Return the optimizer's step and the loss in compiled form, for the NumPy engine.

    None for what has none, or if loading numba takes longer than so many steps can win back.
    """
    loaded = "layerkit.engines.kernels" in sys.modules
    if not loaded and n_steps * (_STEP_GAIN + len(model.values)) < _LOADING_COST:
        return None, None
    try:
        kernels = usable_kernels()
    except Refused:
        return None, None
    step = _compiled_step(kernels, model, optimizer)
    return step, _compiled_loss(kernels, loss, model.dtype)


def _compiled_step(kernels: ModuleType, model: Model, optimizer: Optimizer) -> Step | None:
    if len(model.values) < _SHORTEST_STEP:
        return None
    if isinstance(optimizer, Adam) and type(optimizer) in (Adam, AdamW):
        return None if optimizer.amsgrad else _adam_step(kernels, optimizer)
    if type(optimizer) is not SGD or not optimizer.is_plain:
        return None

    def step(values: Array, grads: Array) -> None:
        velocity = optimizer.state.get("velocity", grads[:0])
        rate, momentum, nesterov = optimizer.learning_rate, optimizer.momentum, optimizer.nesterov
        optimizer.n_steps += 1
        kernels.descend(values, grads, velocity, rate, momentum, nesterov)

    return step


def _adam_step(kernels: ModuleType, adam: Any) -> Step:
    def step(values: Array, grads: Array) -> None:
        adam.n_steps += 1
        state, n, rate = adam.state, adam.n_steps, adam.learning_rate
        root = 1 / math.sqrt(1 - adam.beta_2**n)
        corrected = rate / (1 - adam.beta_1**n)
        shrink = 1 - rate * adam.weight_decay
        betas = adam.beta_1, adam.beta_2, adam.epsilon
        kernels.descend_adam(
            values, grads, state["mean"], state["square"], corrected, *betas, root, shrink
        )

    return step


def _compiled_loss(
    kernels: ModuleType, loss: Loss, dtype: np.dtype[Any]
) -> ValueAndGradient | None:
    try:
        code = loss_code_of(loss)
    except Refused:
        return None
    by_index = code == kernels.CLASS_INDICES
    calm = calm_limit(dtype)
    no_targets, no_labels = map(read_only, (np.empty((0, 0), dtype), np.empty(0, np.intp)))

    def value_and_gradient(y_pred: Array, y_true: Array) -> tuple[float, Array]:
        if y_pred.ndim != 2 or not (y_pred.flags.c_contiguous and y_true.flags.c_contiguous):
            return loss.value_and_gradient(y_pred, y_true)
        gradient = np.empty_like(y_pred)
        y_true = read_only(y_true)
        targets, labels = (no_targets, y_true) if by_index else (y_true, no_labels)
        value: float = kernels.lose(code, y_pred, targets, labels, gradient)
        if not value < calm:  # whether it is finite, NumPy's sum decides
            return loss.value_and_gradient(y_pred, y_true)
        return value, gradient

    return value_and_gradient
