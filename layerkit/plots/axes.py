"""Axes, and checks of arguments, that all plots share."""

from __future__ import annotations

from typing import Any

from layerkit._support import validation as check
from layerkit._support.validation import Array


def pyplot(where: str) -> Any:
    """Import matplotlib's pyplot, and return it.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        check.missing_extra(where, "matplotlib", "plot")
    return plt


def axes(name: str, ax: Any, *, size: tuple[float, float] = (6.0, 4.0), **options: Any) -> Any:
    """Return the axes ``ax``, or those of a new figure if it is None."""
    plt = pyplot(f"plots.{name}")
    if ax is not None:
        return ax
    _, ax = plt.subplots(figsize=size, layout="constrained", subplot_kw=options)
    return ax


def matrix_of(where: str, argument: str, value: Any) -> Array:
    """Check for a matrix that is not empty."""
    matrix = check.numeric_array(where, argument, value, None)
    if matrix.ndim != 2 or matrix.size == 0:
        check.fail(where, argument, "a matrix that is not empty", check.Said(str(matrix.shape)))
    return matrix
