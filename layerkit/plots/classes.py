"""Plots of classifiers: decision boundaries and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.models.base import Model
from layerkit.plots.axes import axes, matrix_of, pyplot

__all__ = ["confusion_matrix", "decision_boundary"]


def decision_boundary(
    model: Model, x: Array, labels: Array, ax: Any = None, *, resolution: int = 200
) -> Any:
    """Draw the classes that a model of two inputs predicts over the plane, and the samples.

    Parameters
    ----------
    model : Model
        Model of two inputs, and of one logit for each class, or a single logit that is positive
        for class 1.
    x : ndarray of shape (n_samples, 2)
        Inputs of the samples.
    labels : ndarray of int of shape (n_samples,)
        Classes of the samples, from 0.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.
    resolution : int
        Number of points along each axis at which the model predicts.

    Returns
    -------
    matplotlib Axes
        Axes with the drawing.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or shape.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Dense, Sequential, plots
    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> model = Sequential([Dense(2, 3)], seed=0)
    >>> ax = plots.decision_boundary(model, x, np.arange(20) % 3, resolution=50)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['class 0', 'class 1', 'class 2']
    """
    where = "plots.decision_boundary"
    x = check.batch(where, "x", x, (2,), np.dtype(np.float64))
    labels = check.numeric_array(where, "labels", labels, None).reshape(-1).astype(int)
    check.exact_shape(where, "labels", labels, (len(x),))
    if model.input_shape != (2,):
        wanted = "one of two inputs"
        check.fail(where, "model", wanted, check.Said(f"one of shape {model.input_shape}"))
    ax = axes("decision_boundary", ax, size=(5.0, 5.0))
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.08 * np.maximum(high - low, 1e-9)
    across, up = (
        np.linspace(low[i] - margin[i], high[i] + margin[i], resolution) for i in range(2)
    )
    grid = np.stack(np.meshgrid(across, up), axis=-1)
    y = model.predict(grid.reshape(-1, 2), batch_size=4096)
    classes = (y[:, 0] >= 0).astype(int) if y.shape[1] == 1 else y.argmax(axis=1)
    n_classes = max(2, y.shape[1], int(labels.max(initial=0)) + 1)
    colours = pyplot(where).get_cmap("tab10").colors
    levels = np.arange(n_classes + 1) - 0.5
    chosen = [colours[i % len(colours)] for i in range(n_classes)]
    ax.contourf(
        across, up, classes.reshape(resolution, resolution), levels, colors=chosen, alpha=0.3
    )
    for label in range(n_classes):
        rows = labels == label
        ax.scatter(*x[rows].T, s=14, color=chosen[label], edgecolor="white", linewidth=0.4,
                   label=f"class {label}")  # fmt: skip
    ax.legend(loc="upper right")
    ax.set_xlabel("x₀")
    ax.set_ylabel("x₁")
    return ax


def confusion_matrix(matrix: Array, ax: Any = None, *, classes: Sequence[str] | None = None) -> Any:
    """Draw a confusion matrix, with the number of samples of each true and predicted class.

    Parameters
    ----------
    matrix : ndarray of shape (n_classes, n_classes)
        Result of the metric `ConfusionMatrix`.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.
    classes : sequence of str, optional
        Names of the classes; by default their numbers.

    Returns
    -------
    matplotlib Axes
        Axes with the drawing.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or shape.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import plots
    >>> ax = plots.confusion_matrix(np.array([[5, 1], [0, 4]]), classes=["cat", "dog"])
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('predicted', 'true')
    """
    where = "plots.confusion_matrix"
    matrix = matrix_of(where, "matrix", matrix)
    n = len(matrix)
    check.exact_shape(where, "matrix", matrix, (n, n))
    ax = axes("confusion_matrix", ax, size=(2 + 0.5 * n, 1.6 + 0.45 * n))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax, label="share of the true class")
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        ax.text(column, row, f"{count:g}", ha="center", va="center", color=colour, fontsize=8)
    names = list(classes) if classes is not None else [str(i) for i in range(n)]
    turned = 45 if max(map(len, names)) > 3 else 0
    ax.set_xticks(range(n), names, rotation=turned)
    ax.set_yticks(range(n), names)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    return ax
