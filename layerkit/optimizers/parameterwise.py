"""`Parameterwise`: a base class of optimizers that need the shapes of the parameters."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state_checks import refuse
from layerkit._support.validation import Array
from layerkit.optimizers.base import Optimizer


class Parameterwise(Optimizer):
    """Base class of optimizers that step parameter by parameter, each with its shape."""

    is_elementwise = False
    is_parameterwise = True
    epsilon: float | None
    weight_decay: float
    _names: tuple[str, ...]

    def bind(self, values: Array, grads: Array) -> None:
        """Bind to parameters, in whose dtype epsilon must be a number; see `Optimizer.bind`."""
        if values is not self._values and self.epsilon is not None:
            check.normal(f"{type(self).__name__}.step", "epsilon", self.epsilon, values.dtype)
        super().bind(values, grads)

    def init_state(self, values: Array) -> dict[str, Array]:
        """Return vectors of zeros; see `Optimizer.init_state`."""
        return {name: np.zeros_like(values) for name in self._names}

    def check_state(
        self, state: Mapping[str, Array], attributes: Mapping[str, Any], values: Array
    ) -> None:
        """Refuse squares below 0 too, whose root would be NaN; see `Optimizer.check_state`."""
        super().check_state(state, attributes, values)
        if "square" in state and (state["square"] < 0).any():
            refuse(f"{type(self).__name__}.set_state", "square", "at least 0", state["square"])

    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Update the parameters one by one; see `Optimizer.update`."""
        names, vectors = list(state), list(state.values())
        views = [self.views(vector) for vector in (values, grads, *vectors)]
        for value, grad, *own in zip(*views, strict=True):
            if value.size:
                self._step_one(value, grad, dict(zip(names, own, strict=True)))

    @abstractmethod
    def _step_one(self, value: Array, grad: Array, state: Mapping[str, Array]) -> None:
        """Update one parameter and its state."""


def root_mean_square(array: Array) -> float:
    """Return √(mean of the squares)."""
    return norm(array) / math.sqrt(array.size)


def norm(array: Array) -> float:
    """Return √(sum of the squares), in double precision, where small numbers have squares."""
    flat = array.reshape(-1).astype(np.float64, copy=False)
    return math.sqrt(float(flat.dot(flat)))
