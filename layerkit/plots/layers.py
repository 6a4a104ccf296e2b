"""Plots of layers: hidden codes, weights, gradients and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.models.trace import LayerTrace
from layerkit.parameters import Parameter
from layerkit.plots.axes import axes, matrix_of

__all__ = [
    "activation_histograms",
    "codes_cube",
    "gradient_flow",
    "hidden_codes",
    "weights",
]

_DIVERGING = "RdBu_r"


def hidden_codes(codes: Array, ax: Any = None, *, names: Sequence[str] | None = None) -> Any:
    """Draw the outputs of hidden units as an image, with a row for each sample.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_units)
        Outputs of the units, such as ``model[:1].predict(x)``.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.
    names : sequence of str, optional
        Names of the samples; by default their numbers.

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
    >>> from layerkit import Dense, Sequential, Sigmoid, plots
    >>> model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())], seed=0)
    >>> plots.hidden_codes(model[:1].predict(np.eye(8))).get_xlabel()
    'hidden unit'
    """
    codes = matrix_of("plots.hidden_codes", "codes", codes)
    n_samples, n_units = codes.shape
    ax = axes("hidden_codes", ax, size=(1.5 + 0.6 * n_units, 1 + 0.4 * n_samples))
    image = ax.imshow(codes, cmap="viridis", aspect="auto")
    ax.figure.colorbar(image, ax=ax, label="level")
    if n_samples * n_units <= 200:
        middle = (codes.min() + codes.max()) / 2
        for (row, column), level in np.ndenumerate(codes):
            colour = "black" if level > middle else "white"
            ax.text(column, row, f"{level:.2f}", ha="center", va="center", color=colour, fontsize=8)
    if names is not None or n_samples <= 30:
        ax.set_yticks(range(n_samples), names or [str(i) for i in range(n_samples)])
    ax.set_xticks(range(n_units))
    ax.set_xlabel("hidden unit")
    ax.set_ylabel("sample")
    return ax


def codes_cube(codes: Array, ax: Any = None, *, names: Sequence[str] | None = None) -> Any:
    """Draw codes of three hidden units in the unit cube, whose corners are the binary codes.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, 3)
        Outputs of the units, between 0 and 1.
    ax : matplotlib Axes3D, optional
        Axes to draw on; by default, those of a new figure.
    names : sequence of str, optional
        Names of the samples; by default their numbers.

    Returns
    -------
    matplotlib Axes3D
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
    >>> from layerkit import Dense, Sequential, Sigmoid, plots
    >>> model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())], seed=0)
    >>> plots.codes_cube(model[:1].predict(np.eye(8))).get_zlabel()
    'unit 2'
    """
    codes = matrix_of("plots.codes_cube", "codes", codes)
    check.exact_shape("plots.codes_cube", "codes", codes, (len(codes), 3))
    ax = axes("codes_cube", ax, size=(5.0, 5.0), projection="3d")
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    for first in corners:
        for second in corners:
            if abs(first - second).sum() == 1 and tuple(first) < tuple(second):
                ax.plot(*np.array([first, second]).T, color="grey", linewidth=0.8)
    for index, code in enumerate(codes):
        corner = code.round().clip(0, 1)
        colour = f"C{index % 10}"
        ax.plot(*np.array([code, corner]).T, color=colour, linewidth=0.8, linestyle=":")
        ax.scatter(*code, color=colour, s=45, depthshade=False)
        outward = code + 0.22 * (corner - 0.5)
        name = names[index] if names else str(index)
        plate = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.6}
        place = {"ha": "center", "va": "center", "fontsize": 10, "bbox": plate}
        ax.text(*outward, name, color=colour, **place)
    for axis, unit in ((ax.xaxis, 0), (ax.yaxis, 1), (ax.zaxis, 2)):
        axis.set_label_text(f"unit {unit}")
        axis.set_ticks([0, 0.5, 1])
    ax.set_box_aspect((1, 1, 1), zoom=0.82)
    ax.view_init(elev=20, azim=-62)
    return ax


def weights(
    kernel: Parameter | Array, ax: Any = None, *, image_shape: tuple[int, int] | None = None
) -> Any:
    """Draw a kernel as one image, or the weights of each unit as a small image.

    Parameters
    ----------
    kernel : Parameter or ndarray of shape (n_in, n_out)
        Kernel to draw, such as ``model[0].kernel``.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.
    image_shape : tuple of int, optional
        Height and width of the input images, for one image for each unit.

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
    >>> from layerkit import Dense, Sequential, plots
    >>> model = Sequential([Dense(64, 10)], seed=0)
    >>> plots.weights(model[0].kernel, image_shape=(8, 8)).images[0].get_array().shape
    (26, 35)
    """
    where = "plots.weights"
    values = kernel.value if isinstance(kernel, Parameter) else kernel
    matrix = matrix_of(where, "kernel", values)
    limit = float(np.abs(matrix).max()) or 1.0
    if image_shape is None:
        height, width = matrix.shape
        size = (min(10.0, 2 + 0.25 * width), min(8.0, 1.5 + 0.25 * height))
        ax = axes("weights", ax, size=size)
        drawn = matrix
        ax.set_xlabel("unit")
        ax.set_ylabel("input")
    else:
        height, width = check.sample_shape(where, "image_shape", image_shape)
        if height * width != len(matrix):
            check.fail(where, "image_shape", f"of {len(matrix)} inputs in total", image_shape)
        n_units = matrix.shape[1]
        n_columns = int(np.ceil(np.sqrt(n_units)))
        n_rows = -(-n_units // n_columns)
        ax = axes("weights", ax, size=(6.0, 6.0 * n_rows / n_columns + 0.5))
        # Side by side, with an empty line in between.
        drawn = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
        for unit in range(n_units):
            top, left = (unit // n_columns) * (height + 1), (unit % n_columns) * (width + 1)
            tile = matrix[:, unit].reshape(height, width)
            drawn[top : top + height, left : left + width] = tile
        ax.set_axis_off()
    image = ax.imshow(drawn, cmap=_DIVERGING, vmin=-limit, vmax=limit, aspect="equal")
    ax.figure.colorbar(image, ax=ax, label="weight", shrink=0.8)
    return ax


def gradient_flow(traced: Mapping[str, LayerTrace], ax: Any = None) -> Any:
    """Draw the size of the gradients of each layer, which shows if they vanish or explode.

    Parameters
    ----------
    traced : mapping of str to LayerTrace
        Return value of `Sequential.trace`.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.

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
    >>> from layerkit import Dense, HalfSquaredError, Sequential, Tanh, plots
    >>> model = Sequential([Dense(2, 4, Tanh()), Dense(4, 1)], seed=0)
    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> traced = model.trace(x, np.ones((20, 1)), HalfSquaredError())
    >>> [label.get_text() for label in plots.gradient_flow(traced).get_xticklabels()]
    ['dense_0', 'dense_1']
    """
    _check_traced("plots.gradient_flow", traced)
    ax = axes("gradient_flow", ax, size=(max(5.0, 1.5 + 0.9 * len(traced)), 4.0))
    places = np.arange(len(traced))
    signals = [_rms(layer.dy) for layer in traced.values()]
    slopes = [
        _rms(np.concatenate([g.reshape(-1) for g in layer.grads.values()])) if layer.grads else 0
        for layer in traced.values()
    ]
    ax.bar(places - 0.2, signals, 0.4, label="at the output (dy)")
    ax.bar(places + 0.2, slopes, 0.4, label="of the parameters")
    ax.set_yscale("log")
    ax.set_xticks(places, list(traced), rotation=30 if len(traced) > 4 else 0)
    ax.set_ylabel("root mean square of the gradient")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def activation_histograms(traced: Mapping[str, LayerTrace], ax: Any = None) -> Any:
    """Draw a histogram of the outputs of each layer, which shows saturated and dead units.

    Parameters
    ----------
    traced : mapping of str to LayerTrace
        Return value of `Sequential.trace`.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.

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
    >>> from layerkit import Dense, HalfSquaredError, Sequential, Tanh, plots
    >>> model = Sequential([Dense(2, 4, Tanh()), Dense(4, 1)], seed=0)
    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> traced = model.trace(x, np.ones((20, 1)), HalfSquaredError())
    >>> [label.get_text() for label in plots.activation_histograms(traced).get_yticklabels()]
    ['dense_1', 'dense_0']
    """
    _check_traced("plots.activation_histograms", traced)
    ax = axes("activation_histograms", ax, size=(6.0, 1 + 0.9 * len(traced)))
    for place, layer in enumerate(traced.values()):
        counts, edges = np.histogram(layer.y, bins=60)
        # Roots, so that a peak, such as that of a ReLU at 0, doesn't hide the rest.
        heights = 0.7 * np.sqrt(counts / max(1, counts.max()))
        base = len(traced) - 1 - place
        across = np.linspace(0, 1, len(edges))
        ax.fill_between(across, base, base + np.append(heights, 0), step="post", alpha=0.7)
        ax.text(0, base - 0.04, f"{edges[0]:.3g}", ha="left", va="top", fontsize=8)
        ax.text(1, base - 0.04, f"{edges[-1]:.3g}", ha="right", va="top", fontsize=8)
    ax.set_yticks(range(len(traced)), list(traced)[::-1])
    ax.set_xticks([])
    ax.set_xlabel("output, from each layer's smallest to its largest")
    ax.set_ylim(-0.3, len(traced) - 0.2)
    return ax


def _check_traced(where: str, traced: Any) -> None:
    if not isinstance(traced, Mapping) or not all(
        isinstance(layer, LayerTrace) for layer in traced.values()
    ):
        check.fail(where, "traced", "the return value of Sequential.trace", traced)


def _rms(array: Array) -> float:
    return float(np.sqrt(np.square(array, dtype=np.float64).mean())) if array.size else 0.0
