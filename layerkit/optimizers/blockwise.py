"""Base classes of optimizers that go through long vectors in blocks."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state_checks import refuse
from layerkit._support.validation import Array
from layerkit.optimizers.base import BLOCK, Optimizer


class InBlocks(Optimizer):
    """Base class of optimizers that go through long vectors in blocks, which stay in the cache."""

    epsilon: float  # of those that divide
    _scratch: Array | None = None

    def bind(self, values: Array, grads: Array) -> None:
        """Bind to parameters, in whose dtype epsilon must be a number; see `Optimizer.bind`."""
        if values is not self._values and hasattr(self, "epsilon"):
            check.normal(f"{type(self).__name__}.step", "epsilon", self.epsilon, values.dtype)
        super().bind(values, grads)

    def check_state(
        self, state: Mapping[str, Array], attributes: Mapping[str, Any], values: Array
    ) -> None:
        """Refuse squares below 0 too, whose root would be NaN; see `Optimizer.check_state`."""
        super().check_state(state, attributes, values)
        for name, vector in state.items():
            if "square" in name and (vector < 0).any():
                refuse(f"{type(self).__name__}.set_state", name, "at least 0", vector)

    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Update the parameters block by block; see `Optimizer.update`."""
        scratch = self._scratch
        if scratch is None or scratch.dtype != values.dtype or scratch.shape[1] < len(values):
            scratch = np.empty((2, min(len(values), BLOCK)), values.dtype)
            self._scratch = scratch
        for start in range(0, len(values), BLOCK):
            part = slice(start, start + BLOCK)
            block, n = values[part], min(BLOCK, len(values) - start)
            named = {name: vector[part] for name, vector in state.items()}
            self._move(block, grads[part], named, scratch[0, :n], scratch[1, :n])

    @abstractmethod
    def _move(
        self, values: Array, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> None:
        """Update a block of the state and of the values, with two vectors to compute in."""


class Blockwise(InBlocks):
    """Base class of those whose steps do not depend on the values, but for weight decay."""

    weight_decay: float = 0.0
    _names: tuple[str, ...]

    def init_state(self, values: Array) -> dict[str, Array]:
        """Return vectors of zeros; see `Optimizer.init_state`."""
        return {name: np.zeros_like(values) for name in self._names}

    def update(self, values: Array, grads: Array, state: dict[str, Array]) -> None:
        """Decay the parameters, and update them block by block; see `Optimizer.update`."""
        if self.weight_decay:
            values *= 1 - self.learning_rate * self.weight_decay
        super().update(values, grads, state)

    def _move(
        self, values: Array, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> None:
        values -= self._block_step(grads, state, room, other)

    @abstractmethod
    def _block_step(
        self, grads: Array, state: Mapping[str, Array], room: Array, other: Array
    ) -> Array:
        """Update the state, and return what is to be subtracted from the values."""


def average(mean: Array, numbers: Array, beta: float, room: Array) -> None:
    """Update a moving average in place: mean ← beta · mean + (1 − beta) · numbers."""
    mean *= beta
    np.multiply(numbers, 1 - beta, room)
    mean += room


def average_square(mean: Array, numbers: Array, beta: float, room: Array) -> None:
    """Update a moving average of squares in place: mean ← beta · mean + (1 − beta) · numbers²."""
    np.multiply(numbers, numbers, room)
    room *= 1 - beta
    mean *= beta
    mean += room
