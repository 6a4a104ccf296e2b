"""Weights of samples: what each counts in the loss, by itself and by its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.data.fields import Fields

__all__ = ["check_weighs", "classes_of", "times_classes"]


def check_weighs(where: str, weight: Array | None, by_class: bool, part_of: str = "") -> None:
    """Refuse samples, or a part of a split, of which none has a weight."""
    if weight is not None and not weight.any():
        argument = "sample_weight times class_weight" if by_class else "sample_weight"
        check.fail(where, argument, f"above 0 for some sample{part_of}", check.Said("0 for all"))


def times_classes(
    where: str,
    y: Any,
    class_weight: Any,
    weight: Array | None,
    output_shape: Shape,
    rows: Any = slice(None),
) -> Array | None:
    """Multiply weights by those of the classes, which a balance takes from these rows.

    Parameters
    ----------
    where : str
        Name of the call, for errors.
    y : ndarray, Fields or Absent
        Targets.
    class_weight : mapping of int to float, {"balanced"} or None
        Weight of each class; 1 for a class that is not named.
    weight : ndarray of shape (n_samples,) or (n_samples, *positions), or None
        Weights of the samples or positions.
    output_shape : tuple of int
        Shape of one sample's predictions.
    rows : slice or ndarray of int
        Samples that are trained on.

    Returns
    -------
    ndarray or None
        Weights of all samples or positions; None where there are no weights.
    """
    if class_weight is None:
        return weight
    of_class = _of_classes(where, y, class_weight, weight, output_shape, rows)
    if weight is None:
        return of_class
    n_axes = max(weight.ndim, of_class.ndim)
    weight, of_class = (
        factors.reshape(*factors.shape, *[1] * (n_axes - factors.ndim))
        for factors in (weight, of_class)
    )
    return weight * of_class


def classes_of(where: str, argument: str, y: Any, output_shape: Shape) -> Array:
    """Find the class of each sample: class indices, or columns of one-hot rows, or 0 and 1."""
    if not isinstance(y, np.ndarray):
        got = check.Said("a dict of targets" if isinstance(y, Fields) else "no targets")
        check.fail(where, argument, "left out unless the targets are one array", got)
    if y.ndim == 1 and y.dtype.kind in "iub":
        return y.astype(np.intp)
    if y.ndim == 2 and not _are_at_positions(y, output_shape) and np.isin(y, (0, 1)).all():
        if y.shape[1] == 1:
            return y[:, 0].astype(np.intp)
        if (y.sum(axis=1) == 1).all():
            columns: Array = y.argmax(axis=1)
            return columns
    got = check.Said(f"targets of shape {y.shape} and dtype {y.dtype}")
    wanted = "left out unless the targets are class indices, one-hot rows, or 0 and 1"
    check.fail(where, argument, wanted, got)


def _of_classes(
    where: str, y: Any, class_weight: Any, weight: Array | None, output_shape: Shape, rows: Any
) -> Array:
    """Find the factor of each sample by its class, or of each position by its own."""
    if isinstance(y, np.ndarray) and _are_at_positions(y, output_shape):
        classes = y.astype(np.intp)
    else:
        classes = classes_of(where, "class_weight", y, output_shape)
    if classes.min() < 0:
        got = check.Said(f"the class {classes.min()}")
        check.fail(where, "class_weight", "left out unless classes count from 0", got)
    n_classes = max(_n_classes(y, output_shape), int(classes.max()) + 1)
    if isinstance(class_weight, str) and class_weight == "balanced":
        own = classes[rows]
        if weight is not None and weight.ndim == classes.ndim > 1:  # padding is of no class
            own = own[weight[rows] > 0]
        counts = np.bincount(own.reshape(-1), minlength=n_classes)
        # As often as if all classes had the same number of samples.
        n_there = np.count_nonzero(counts)
        return int(counts.sum()) / (n_there * np.maximum(counts, 1)[classes])
    if not isinstance(class_weight, Mapping):
        remedy = "Write class_weight={0: 1.0, 1: 5.0}."
        check.fail(where, "class_weight", "a dict or 'balanced'", class_weight, remedy)
    factors = np.ones(n_classes)
    for label, factor in class_weight.items():
        place = check.integer(where, "a class of class_weight", label, minimum=0)
        if place >= n_classes:
            wanted = f"one of {n_classes}, from 0 to {n_classes - 1}"
            check.fail(where, "a class of class_weight", wanted, label)
        factors[place] = check.number(where, f"class_weight[{place}]", factor, minimum=0)
    return factors[classes]


def _n_classes(y: Array, output_shape: Shape) -> int:
    """Count the classes that targets of this form may have."""
    n_out = output_shape[-1] if output_shape else 1
    if y.ndim == 2 and not _are_at_positions(y, output_shape):
        n_out = y.shape[1]
    return max(n_out or 0, 2)  # a single output is a yes or a no


def _are_at_positions(y: Array, output_shape: Shape) -> bool:
    """Check whether targets are class indices of shape (n_samples, *positions)."""
    return y.ndim > 1 and y.ndim == len(output_shape)
