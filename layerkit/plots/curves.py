"""Plots of trainings: the loss and metrics by epoch, and the epochs to a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.plots.axes import axes

__all__ = ["epochs_to_target", "learning_curves", "learning_rate_curve"]


def learning_curves(
    history: Mapping[str, Sequence[float]],
    ax: Any = None,
    *,
    figures: Sequence[str] | None = None,
    log: bool = False,
) -> Any:
    """Draw the loss and metrics over the epochs, with those of validation data as dashed lines.

    Parameters
    ----------
    history : History or dict of str to list of float
        Figures by name, with one number for each epoch.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.
    figures : sequence of str, optional
        Names of the figures to draw; by default all.
    log : bool
        Whether the vertical axis is logarithmic.

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
    ax = axes("learning_curves", ax)
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


def epochs_to_target(n_epochs: Array, reached: Array, ax: Any = None) -> Any:
    """Draw a histogram of the epochs after which runs reached their target.

    The axis is logarithmic if the slowest run took more than ten times as long as the fastest.

    Parameters
    ----------
    n_epochs : ndarray of int of shape (n_runs,)
        Number of epochs of each run.
    reached : ndarray of bool of shape (n_runs,)
        Whether each run reached the target; the title counts them.
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
    >>> from layerkit import plots
    >>> ax = plots.epochs_to_target(np.array([10, 30, 100]), np.array([True, True, False]))
    >>> ax.get_title()
    '2 of 3 runs reached the target'
    """
    where = "plots.epochs_to_target"
    n_epochs = check.numeric_array(where, "n_epochs", n_epochs, None)
    reached = check.numeric_array(where, "reached", reached, np.dtype(bool))
    check.exact_shape(where, "reached", reached, (len(n_epochs),))
    ax = axes("epochs_to_target", ax)
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


def learning_rate_curve(
    learning_rates: Array,
    losses: Array,
    ax: Any = None,
    *,
    smoothed: Array | None = None,
    chosen: float | None = None,
) -> Any:
    """Draw losses over the learning rates of their steps, on a logarithmic axis.

    Parameters
    ----------
    learning_rates : ndarray of shape (n_steps,)
        Learning rate of each step.
    losses : ndarray of shape (n_steps,)
        Loss of each step.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.
    smoothed : ndarray of shape (n_steps,), optional
        Smoothed losses, drawn over the others.
    chosen : float, optional
        Learning rate to mark.

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
    >>> rates = np.array([0.001, 0.01, 0.1])
    >>> ax = plots.learning_rate_curve(rates, np.array([2.0, 1.5, 3.0]), chosen=0.01)
    >>> ax.get_xscale(), ax.get_xlabel()
    ('log', 'learning rate')
    """
    where = "plots.learning_rate_curve"
    rates = check.numeric_array(where, "learning_rates", learning_rates, None)
    losses = check.numeric_array(where, "losses", losses, None)
    check.exact_shape(where, "losses", losses, rates.shape)
    if smoothed is not None:
        smoothed = check.numeric_array(where, "smoothed", smoothed, None)
        check.exact_shape(where, "smoothed", smoothed, rates.shape)
    ax = axes("learning_rate_curve", ax)
    ax.plot(rates, losses, color="C0", alpha=1.0 if smoothed is None else 0.4, label="loss")
    if smoothed is not None:
        ax.plot(rates, smoothed, color="C0", label="smoothed")
    if chosen is not None:
        ax.axvline(chosen, color="C1", linestyle="--", label=f"{chosen:.2g}")
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss")
    ax.legend()
    ax.grid(alpha=0.3)
    return ax
