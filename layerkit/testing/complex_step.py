"""Differentiation by complex steps: without cancellation, for code that is analytic."""

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.testing.comparison import Comparison, along, choose_moves
from layerkit.testing.gradients import EPSILON, Slopes, rms, slopes
from layerkit.testing.problems import ModelProblem

__all__ = ["ComplexModelProblem", "compare_complex"]

# So small that its square is nothing beside 1; what remains is exact to the last digits.
_STEP = 1e-30
_TOLERANCE = 1e-10
# The differences that a complex derivative is held against: enough to see that it is not one.
_CHECK_STEP, _CHECK_RTOL = 1e-4, 1e-3


class ComplexModelProblem(ModelProblem):
    """A model's outputs as a function of complex inputs and parameters."""

    @contextmanager
    def complex_arrays(self) -> Iterator[dict[str, Array]]:
        """Make all arrays complex for a while."""
        real = self.arrays
        layers = [layer for _, layer in self.model.walk()]
        try:
            self.arrays = {name: array.astype(complex) for name, array in real.items()}
            for name, parameter in self._parameters.items():
                flat.replace_value(parameter, self.arrays[name])
            for layer in layers:
                layer.dtype = np.dtype(complex)
            self.model.forget_workspace()
            yield self.arrays
        finally:
            self.arrays = real
            for name, parameter in self._parameters.items():
                flat.replace_value(parameter, real[name])
            for layer in layers:
                layer.dtype = np.dtype(np.float64)
            self.model.forget_workspace()


def compare_complex(
    problem: ComplexModelProblem,
    rng: np.random.Generator,
    *,
    dy: Array,
    computed: dict[str, Array],
    only: dict[str, Sequence[int | Array]] | None = None,
    seen: Container[str] = (),
) -> list[Comparison]:
    """Compare all gradients with derivatives by complex steps; see `comparison.compare`."""
    comparisons = []
    for name, array in problem.arrays.items():
        moves = choose_moves(array, rng) if only is None else list(only.get(name, ()))
        if not moves:
            continue
        centre = problem.evaluate().copy()
        level = 8 * EPSILON * np.maximum(abs(centre), abs(array).max(initial=0))
        near = slopes(problem.evaluate, array, moves, dy, centre, level, _CHECK_STEP * rms(array))
        value = _derivatives(problem, name, moves, dy)
        gradient = computed[name]
        analytic = along(gradient, moves)
        scale = max(float(abs(value).max()), float(abs(dy) @ abs(centre)) / rms(array))
        # Where the code is not analytic the complex derivative is not that of the real function.
        differs = abs(value - near.value) > _CHECK_RTOL * (abs(value) + 1e-4 * scale)
        unclear = differs | ~np.isfinite(near.error) | ~np.isfinite(value)
        allowed = _TOLERANCE * abs(value) + 1e-14 * scale
        wrong = ~unclear & ~(abs(analytic - value) <= allowed)
        at = Slopes(_STEP, value, np.zeros(len(moves)), np.zeros(len(moves)), near.left, near.right)
        found = [(np.arange(len(moves)), at)]
        comparisons.append(
            Comparison(name, moves, analytic, value, wrong, unclear, 0.0, gradient, found)
        )
    return comparisons


def _derivatives(
    problem: ComplexModelProblem, name: str, moves: Sequence[int | Array], dy: Array
) -> Array:
    values = []
    with problem.complex_arrays() as arrays:
        array = arrays[name]
        for move in moves:
            direction: Any = move
            if not isinstance(move, np.ndarray):
                direction = np.zeros(array.shape)
                direction.flat[move] = 1.0
            before = array.copy()
            array += 1j * _STEP * direction
            try:
                outputs = problem.evaluate()
            except Exception as error:
                check.fail(
                    "check_gradients.complex_step",
                    "complex_step",
                    "False for code that does not take complex numbers",
                    check.Said(f"{type(error).__name__}: {error}"),
                    "Finite differences need no such thing.",
                )
            finally:
                array[...] = before
            values.append(float(outputs.imag @ dy) / _STEP)
    return np.array(values)
