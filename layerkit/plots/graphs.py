"""Plots of models: the nodes of a graph, and what they read."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from layerkit._support import validation as check
from layerkit.models.graph import Graph
from layerkit.models.summary import batch_shape
from layerkit.plots.axes import axes

__all__ = ["graph"]

_SWEEPS = 4  # how often the ranks are sorted, down and up again
_INPUT, _NODE, _OUTPUT, _LINE = "#eeeeee", "#cfe2f3", "#d9ead3", "#444444"


def graph(model: Graph, ax: Any = None) -> Any:
    """Draw the nodes of a graph as boxes, from the inputs at the top to the outputs.

    Each box has the name of a node, its layer and the shape of its outputs; arrows lead to it
    from what it reads. Inputs are grey, and outputs are green.

    Parameters
    ----------
    model : Graph
        Model to draw.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    matplotlib Axes
        Axes with the drawing.

    Raises
    ------
    ArgumentError
        If the model is not a graph.
    MissingExtraError
        If matplotlib is not installed.

    References
    ----------
    Sugiyama, Tagawa & Toda (1981), "Methods for visual understanding of hierarchical system
    structures": ranks, and in each of them the order of the neighbours' means.

    Examples
    --------
    >>> from layerkit import Add, Dense, Graph, plots
    >>> nodes = {"change": (Dense(3, 3), "x"), "y": (Add(), ("x", "change"))}
    >>> ax = plots.graph(Graph({"x": (3,)}, nodes, "y"))
    >>> [text.get_text().split()[0] for text in ax.texts if text.get_text()]
    ['x', 'change', 'y']
    """
    where = "plots.graph"
    check.instance(where, "model", model, Graph)
    ranks, edges = _ranks(model)
    places = _places(ranks, edges)
    widest = max(len(rank) for rank in ranks)
    ax = axes("graph", ax, size=(max(4.0, 2.4 * widest), max(2.5, 1.2 * len(ranks))))
    drawn = {}
    for name, text, colour in _boxes(model):
        box = {"boxstyle": "round,pad=0.4", "facecolor": colour, "edgecolor": _LINE}
        centred = {"ha": "center", "va": "center", "fontsize": 8, "zorder": 3}
        drawn[name] = ax.text(*places[name], text, bbox=box, **centred)
    arrow = {"arrowstyle": "-|>", "color": _LINE, "shrinkA": 0, "shrinkB": 8}
    for path in edges:
        bends = [places[point] for point in path[:-1]]
        if len(bends) > 1:
            ax.plot(*zip(*bends, strict=True), color=_LINE, linewidth=1, zorder=1)
        # To the middle of the text's upper edge, whatever its size on the screen.
        end = {"xy": (0.5, 1.0), "xycoords": drawn[path[-1]]}
        ax.annotate("", **end, xytext=bends[-1], textcoords="data", arrowprops=arrow, zorder=1)
    ax.set_xlim(-0.5, widest - 0.5)
    ax.set_ylim(len(ranks) - 0.4, -0.6)
    ax.set_axis_off()
    return ax


def _boxes(model: Graph) -> list[tuple[str, str, str]]:
    """List what is drawn: its name, its text and its colour."""
    boxes = [
        (name, f"{name}\n{batch_shape(shape)}", _INPUT) for name, shape in model.inputs.items()
    ]
    for name in model.order:
        layer = model[name]
        kind, shape = type(layer).__name__, batch_shape(layer.output_shape or ())
        colour = _OUTPUT if name in model.outputs else _NODE
        boxes.append((name, f"{name}\n{kind} {shape}", colour))
    return boxes


def _ranks(model: Graph) -> tuple[list[list[str]], list[list[str]]]:
    """Sort the names into ranks, each below what it reads, and find the arrows' paths.

    An arrow that passes ranks has a point in each of them, so that it goes around the boxes.
    """
    depth = dict.fromkeys(model.inputs, 0)
    for name in model.order:
        depth[name] = 1 + max(depth[read] for read in model.reads[name])
    ranks: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name, own in depth.items():
        ranks[own].append(name)
    edges = []
    for name in model.order:
        for read in dict.fromkeys(model.reads[name]):
            path = [read]
            for passed in range(depth[read] + 1, depth[name]):
                path.append(f"{read}.{name}.{passed}")  # no node's name has a dot
                ranks[passed].append(path[-1])
            edges.append([*path, name])
    return ranks, edges


def _places(
    ranks: list[list[str]], edges: Sequence[Sequence[str]]
) -> dict[str, tuple[float, float]]:
    """Place each rank in a line, sorted by the means of the neighbours to cross few arrows."""
    above: dict[str, list[str]] = {name: [] for rank in ranks for name in rank}
    below: dict[str, list[str]] = {name: [] for rank in ranks for name in rank}
    for path in edges:
        for upper, lower in itertools.pairwise(path):
            above[lower].append(upper)
            below[upper].append(lower)
    widest = max(len(rank) for rank in ranks)
    across: dict[str, float] = {}

    def spread(rank: list[str]) -> None:
        start = (widest - len(rank)) / 2
        across.update({name: start + index for index, name in enumerate(rank)})

    for rank in ranks:
        spread(rank)
    for _ in range(_SWEEPS):
        for order, neighbours in ((ranks[1:], above), (ranks[-2::-1], below)):
            for rank in order:
                means = {name: _mean(across, neighbours[name], across[name]) for name in rank}
                rank.sort(key=means.__getitem__)
                spread(rank)
    return {name: (across[name], float(y)) for y, rank in enumerate(ranks) for name in rank}


def _mean(across: dict[str, float], neighbours: Sequence[str], own: float) -> float:
    if not neighbours:
        return own
    return sum(across[name] for name in neighbours) / len(neighbours)
