"""Plots of scores: ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.plots.axes import axes

__all__ = ["precision_recall_curve", "roc_curve"]


def roc_curve(
    curve: Array | Sequence[Array], ax: Any = None, *, classes: Sequence[str] | None = None
) -> Any:
    """Draw ROC curves, the true positive rate over the false one, each with its area.

    Parameters
    ----------
    curve : ndarray of shape (3, n_points), or list of such
        Result of the metric `ROCCurve`.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.
    classes : sequence of str, optional
        Names of the curves; by default "class 0" and so on, if there are several.

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
    >>> from layerkit import ROCCurve, plots
    >>> curve = ROCCurve()(np.array([[0.1], [0.4], [0.35], [0.8]]), np.array([0, 0, 1, 1]))
    >>> ax = plots.roc_curve(curve)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['area 0.750']
    """
    where = "plots.roc_curve"
    curves = _curves(where, curve)
    names = _names(where, classes, len(curves))
    ax = axes("roc_curve", ax, size=(5.0, 5.0))
    ax.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    for name, (false, true, _) in zip(names, curves, strict=True):
        area = float(np.diff(false) @ (true[1:] + true[:-1])) / 2
        ax.plot(false, true, label=f"{name}area {area:.3f}")
    ax.set_xlabel("false positive rate")
    ax.set_ylabel("true positive rate")
    ax.set_aspect("equal")
    ax.legend(loc="lower right")
    ax.grid(alpha=0.3)
    return ax


def precision_recall_curve(
    curve: Array | Sequence[Array], ax: Any = None, *, classes: Sequence[str] | None = None
) -> Any:
    """Draw precision-recall curves as the steps that they are, each with its average precision.

    Parameters
    ----------
    curve : ndarray of shape (3, n_points), or list of such
        Result of the metric `PrecisionRecallCurve`.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.
    classes : sequence of str, optional
        Names of the curves; by default "class 0" and so on, if there are several.

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
    >>> from layerkit import PrecisionRecallCurve, plots
    >>> y_pred = np.array([[0.1], [0.4], [0.35], [0.8]])
    >>> ax = plots.precision_recall_curve(PrecisionRecallCurve()(y_pred, np.array([0, 0, 1, 1])))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['average precision 0.833']
    """
    where = "plots.precision_recall_curve"
    curves = _curves(where, curve)
    names = _names(where, classes, len(curves))
    ax = axes("precision_recall_curve", ax, size=(5.0, 5.0))
    for name, (recall, precision, _) in zip(names, curves, strict=True):
        average = float(np.diff(recall) @ precision[1:])
        label = f"{name}average precision {average:.3f}"
        # Between two recalls, what the one that is reached next has.
        ax.step(recall, precision, where="pre", label=label)
    ax.set_xlabel("recall")
    ax.set_ylabel("precision")
    ax.set_ylim(-0.05, 1.05)
    ax.set_aspect("equal")
    ax.legend(loc="lower left")
    ax.grid(alpha=0.3)
    return ax


def _curves(where: str, curve: Any) -> list[Array]:
    """Return the curves, one or several, each of shape (3, n_points)."""
    given = curve if isinstance(curve, list | tuple) else [curve]
    if not given:
        check.fail(where, "curve", "at least one curve", curve)
    curves = [check.numeric_array(where, "curve", one, np.dtype(np.float64)) for one in given]
    for one in curves:
        check.exact_shape(where, "curve", one, (3, one.shape[-1] if one.ndim else 0))
    return curves


def _names(where: str, classes: Any, n_curves: int) -> list[str]:
    """Return how the label of each curve begins."""
    names = check.names(where, "classes", classes)
    if names is None:
        names = [f"class {k}" for k in range(n_curves)] if n_curves > 1 else []
    elif len(names) != n_curves:
        check.fail(where, "classes", f"as many as curves, {n_curves}", names)
    return [f"{name}: " for name in names] or [""]
