"""Pictures of training and of models, by matplotlib (``pip install 'layerkit[plot]'``).

Each function draws on the axes that it is given, or on those of a new figure, and gives them back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.models.sequential import Sequential
from layerkit.models.trace import LayerTrace
from layerkit.parameters import Parameter

__all__ = [
    "activation_histograms",
    "codes_cube",
    "confusion_matrix",
    "decision_boundary",
    "epochs_to_target",
    "gradient_flow",
    "hidden_codes",
    "learning_curves",
    "weights",
]

_DIVERGING = "RdBu_r"


def _pyplot(where: str) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        check.missing_extra(where, "matplotlib", "plot")
    return plt


def _axes(name: str, ax: Any, *, size: tuple[float, float] = (6.0, 4.0), **options: Any) -> Any:
    plt = _pyplot(f"plots.{name}")
    if ax is not None:
        return ax
    _, ax = plt.subplots(figsize=size, layout="constrained", subplot_kw=options)
    return ax


def learning_curves(
    history: Mapping[str, Sequence[float]],
    ax: Any = None,
    *,
    figures: Sequence[str] | None = None,
    log: bool = False,
) -> Any:
    """Draw figures over the epochs; those of validation data dashed, in the colour of training's.

    Parameters
    ----------
    history : History or dict of str to list of float
        The figures by name, one number an epoch.
    ax : matplotlib Axes, optional
        Where to.
    figures : sequence of str, optional
        Which figures; by default all.
    log : bool
        Whether the vertical axis is logarithmic.

    Returns
    -------
    matplotlib Axes
        What was drawn on.

    Examples
    --------
    >>> from layerkit import plots
    >>> plots.learning_curves({"loss": [3.0, 2.0, 1.5]}).get_xlabel()
    'epoch'
    """
    where = "plots.learning_curves"
    if not isinstance(history, Mapping):
        check.fail(where, "history", "a History, or a dict from names to numbers", history)
    names = list(history) if figures is None else list(figures)
    for name in names:
        if name not in history:
            check.fail(where, "figures", f"some of {', '.join(map(repr, history))}", name)
    ax = _axes("learning_curves", ax)
    colours: dict[str, Any] = {}
    for name in names:
        plain = name.removeprefix("val_")
        style = "--" if name != plain else "-"
        epochs = np.arange(1, len(history[name]) + 1)
        (line,) = ax.plot(epochs, history[name], style, color=colours.get(plain), label=name)
        colours[plain] = line.get_color()
    ax.set_xlabel("epoch")
    if log:
        ax.set_yscale("log")
    if len(names) == 1:
        ax.set_ylabel(names[0])
    elif names:
        ax.legend()
    ax.grid(alpha=0.3)
    return ax


def decision_boundary(
    model: Sequential, x: Array, labels: Array, ax: Any = None, *, resolution: int = 200
) -> Any:
    """Draw which class a model of two inputs gives to each place, and the samples.

    Parameters
    ----------
    model : Sequential
        Takes two numbers; gives a logit for each class, or a single one, positive for class 1.
    x : ndarray of shape (n_samples, 2)
        The samples.
    labels : ndarray of shape (n_samples,)
        Their classes, from 0.
    ax : matplotlib Axes, optional
        Where to.
    resolution : int
        How many places are tried along each axis.

    Returns
    -------
    matplotlib Axes
        What was drawn on.
    """
    where = "plots.decision_boundary"
    x = check.batch(where, "x", x, (2,), np.dtype(np.float64))
    labels = check.numeric_array(where, "labels", labels, None).reshape(-1).astype(int)
    check.exact_shape(where, "labels", labels, (len(x),))
    if model.input_shape != (2,):
        wanted = "one of two inputs"
        check.fail(where, "model", wanted, check.Said(f"one of shape {model.input_shape}"))
    ax = _axes("decision_boundary", ax, size=(5.0, 5.0))
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.08 * np.maximum(high - low, 1e-9)
    across, up = (
        np.linspace(low[i] - margin[i], high[i] + margin[i], resolution) for i in range(2)
    )
    grid = np.stack(np.meshgrid(across, up), axis=-1)
    y = model.predict(grid.reshape(-1, 2), batch_size=4096)
    classes = (y[:, 0] >= 0).astype(int) if y.shape[1] == 1 else y.argmax(axis=1)
    n_classes = max(2, y.shape[1], int(labels.max(initial=0)) + 1)
    colours = _pyplot(where).get_cmap("tab10").colors
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


def hidden_codes(codes: Array, ax: Any = None, *, names: Sequence[str] | None = None) -> Any:
    """Draw the hidden units' levels as an image: a sample a row, a unit a column.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_units)
        The levels, as ``model[:1].predict(x)`` gives them.
    ax : matplotlib Axes, optional
        Where to.
    names : sequence of str, optional
        What the samples are called; by default their numbers.

    Returns
    -------
    matplotlib Axes
        What was drawn on.
    """
    codes = _matrix("plots.hidden_codes", "codes", codes)
    n_samples, n_units = codes.shape
    ax = _axes("hidden_codes", ax, size=(1.5 + 0.6 * n_units, 1 + 0.4 * n_samples))
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
        Levels between 0 and 1.
    ax : matplotlib Axes3D, optional
        Where to.
    names : sequence of str, optional
        What the samples are called; by default their numbers.

    Returns
    -------
    matplotlib Axes3D
        What was drawn on.
    """
    codes = _matrix("plots.codes_cube", "codes", codes)
    check.exact_shape("plots.codes_cube", "codes", codes, (len(codes), 3))
    ax = _axes("codes_cube", ax, size=(5.0, 5.0), projection="3d")
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
    """Draw a kernel as an image, or the inputs' weights of each unit as small images.

    Parameters
    ----------
    kernel : Parameter or ndarray of shape (n_in, n_out)
        The weights; ``model[0].kernel``, for example.
    ax : matplotlib Axes, optional
        Where to.
    image_shape : tuple of int, optional
        The height and width of the images that are the inputs: each unit is drawn as one.

    Returns
    -------
    matplotlib Axes
        What was drawn on.
    """
    where = "plots.weights"
    values = kernel.value if isinstance(kernel, Parameter) else kernel
    matrix = _matrix(where, "kernel", values)
    limit = float(np.abs(matrix).max()) or 1.0
    if image_shape is None:
        height, width = matrix.shape
        size = (min(10.0, 2 + 0.25 * width), min(8.0, 1.5 + 0.25 * height))
        ax = _axes("weights", ax, size=size)
        drawn = matrix
        ax.set_xlabel("unit")
        ax.set_ylabel("input")
    else:
        height, width = check.sample_shape(where, "image_shape", image_shape)
        if height * width != len(matrix):
            check.fail(where, "image_shape", f"of {len(matrix)} inputs together", image_shape)
        n_units = matrix.shape[1]
        n_columns = int(np.ceil(np.sqrt(n_units)))
        n_rows = -(-n_units // n_columns)
        ax = _axes("weights", ax, size=(6.0, 6.0 * n_rows / n_columns + 0.5))
        # Side by side, with a line of nothing in between.
        drawn = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
        for unit in range(n_units):
            top, left = (unit // n_columns) * (height + 1), (unit % n_columns) * (width + 1)
            tile = matrix[:, unit].reshape(height, width)
            drawn[top : top + height, left : left + width] = tile
        ax.set_axis_off()
    image = ax.imshow(drawn, cmap=_DIVERGING, vmin=-limit, vmax=limit, aspect="equal")
    ax.figure.colorbar(image, ax=ax, label="weight", shrink=0.8)
    return ax


def epochs_to_target(n_epochs: Array, reached: Array, ax: Any = None) -> Any:
    """Draw how many runs reached their target, and after how many epochs.

    The axis is logarithmic where the slowest took over ten times as long as the fastest.

    Parameters
    ----------
    n_epochs : ndarray of int of shape (n_runs,)
        How many epochs each run had.
    reached : ndarray of bool of shape (n_runs,)
        Whether it reached the target; those that did not are counted in the title.
    ax : matplotlib Axes, optional
        Where to.

    Returns
    -------
    matplotlib Axes
        What was drawn on.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import plots
    >>> ax = plots.epochs_to_target(np.array([10, 30, 100]), np.array([True, True, False]))
    >>> ax.get_title()
    '2 of 3 runs reached the target'
    """
    where = "plots.epochs_to_target"
    n_epochs = check.numeric_array(where, "n_epochs", n_epochs, None)
    reached = check.numeric_array(where, "reached", reached, np.dtype(bool))
    check.exact_shape(where, "reached", reached, (len(n_epochs),))
    ax = _axes("epochs_to_target", ax)
    solved = n_epochs[reached]
    if len(solved):
        low, high = 0.98 * max(1, solved.min()), 1.02 * max(1, solved.max())
        n_bars = min(40, max(5, len(solved) // 5))
        is_wide = high > 10 * low
        edges = (np.geomspace if is_wide else np.linspace)(low, high, n_bars + 1)
        ax.hist(solved, edges, color="C0", edgecolor="white", linewidth=0.5)
        ax.axvline(float(np.median(solved)), color="C1", linestyle="--", label="median")
        if is_wide:
            ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda epochs, _: f"{epochs:,.0f}")
        ax.legend()
    ax.set_title(f"{len(solved):,} of {len(n_epochs):,} runs reached the target")
    ax.set_xlabel("epochs to the target")
    ax.set_ylabel("runs")
    ax.grid(alpha=0.3)
    return ax


def gradient_flow(traced: Mapping[str, LayerTrace], ax: Any = None) -> Any:
    """Draw how large the gradients are, layer by layer: whether they vanish or explode.

    Parameters
    ----------
    traced : mapping of str to LayerTrace
        What `Sequential.trace` gave.
    ax : matplotlib Axes, optional
        Where to.

    Returns
    -------
    matplotlib Axes
        What was drawn on.
    """
    _check_traced("plots.gradient_flow", traced)
    ax = _axes("gradient_flow", ax, size=(max(5.0, 1.5 + 0.9 * len(traced)), 4.0))
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
    """Draw how the outputs of each layer are distributed: whether units are saturated or dead.

    Parameters
    ----------
    traced : mapping of str to LayerTrace
        What `Sequential.trace` gave.
    ax : matplotlib Axes, optional
        Where to.

    Returns
    -------
    matplotlib Axes
        What was drawn on.
    """
    _check_traced("plots.activation_histograms", traced)
    ax = _axes("activation_histograms", ax, size=(6.0, 1 + 0.9 * len(traced)))
    for place, layer in enumerate(traced.values()):
        counts, edges = np.histogram(layer.y, bins=60)
        # Roots, so that a heap at one place, such as a ReLU's at 0, doesn't hide all else.
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


def confusion_matrix(matrix: Array, ax: Any = None, *, classes: Sequence[str] | None = None) -> Any:
    """Draw how often each class was taken for each.

    Parameters
    ----------
    matrix : ndarray of shape (n_classes, n_classes)
        What `ConfusionMatrix` gives.
    ax : matplotlib Axes, optional
        Where to.
    classes : sequence of str, optional
        What the classes are called; by default their numbers.

    Returns
    -------
    matplotlib Axes
        What was drawn on.
    """
    where = "plots.confusion_matrix"
    matrix = _matrix(where, "matrix", matrix)
    n = len(matrix)
    check.exact_shape(where, "matrix", matrix, (n, n))
    ax = _axes("confusion_matrix", ax, size=(2 + 0.5 * n, 1.6 + 0.45 * n))
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


def _matrix(where: str, argument: str, value: Any) -> Array:
    matrix = check.numeric_array(where, argument, value, None)
    if matrix.ndim != 2 or matrix.size == 0:
        check.fail(where, argument, "a matrix that is not empty", check.Said(str(matrix.shape)))
    return matrix


def _check_traced(where: str, traced: Any) -> None:
    if not isinstance(traced, Mapping) or not all(
        isinstance(layer, LayerTrace) for layer in traced.values()
    ):
        check.fail(where, "traced", "what Sequential.trace gives", traced)


def _rms(array: Array) -> float:
    return float(np.sqrt(np.square(array, dtype=np.float64).mean())) if array.size else 0.0
