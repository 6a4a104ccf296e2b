"""The drawing of a `Graph` as text: a lane for each value that is still to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layerkit._support.validation import Shape
from layerkit.models.summary import Rows, batch_shape


def drawn_table(
    rows: Rows, inputs: Mapping[str, Shape], reads: Mapping[str, Sequence[str]]
) -> list[tuple[str, ...]]:
    """Add to a summary what the nodes read, rows for the inputs, and the drawing of all."""
    head, *own, total = rows
    nodes = [(row[0], reads[row[0]]) for row in own]
    drawn = lanes(list(inputs), nodes)
    table = [("", "node", "reads", *head[1:])]
    for lane, (name, shape) in zip(drawn, inputs.items(), strict=False):
        blank = [""] * (len(head) - 3)
        table.append((lane, name, "", "input", batch_shape(shape), *blank))
    for lane, (name, sources), row in zip(drawn[len(inputs) :], nodes, own, strict=True):
        table.append((lane, name, ", ".join(sources), *row[1:]))
    return [*table, ("", total[0], "", *total[1:])]


def lanes(inputs: Sequence[str], nodes: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Draw a line for each input and node, in the order of computation.

    An ``o`` is the value of the line, and ``|`` one that later lines read. A line reads what a
    dash leads to: ``+`` if it is read again later, ``'`` if not. So a node below an ``o`` or
    ``|`` of its own lane goes on from there.

    Parameters
    ----------
    inputs : sequence of str
        Names of the inputs.
    nodes : sequence of (str, sequence of str)
        Name of each node, and what it reads.

    Returns
    -------
    list of str
        A line for each.
    """
    last = {name: index for index, (_, sources) in enumerate(nodes) for name in sources}
    columns: list[str | None] = []
    lines = []
    for index, (name, sources) in enumerate([*((n, ()) for n in inputs), *nodes]):
        turn = index - len(inputs)
        ending = {source for source in sources if last[source] == turn}
        own = _own_column(columns, sources, ending)
        lines.append(_line(columns, own, set(sources), ending))
        columns = [None if held in ending else held for held in columns]
        columns += [None] * (own + 1 - len(columns))
        columns[own] = name if name in last else None
    return lines


def _own_column(columns: list[str | None], sources: Sequence[str], ending: set[str]) -> int:
    """Choose the lane of the first source that ends here, or else the first free one."""
    for source in sources:
        if source in ending:
            return columns.index(source)
    return columns.index(None) if None in columns else len(columns)


def _line(columns: list[str | None], own: int, sources: set[str], ending: set[str]) -> str:
    """Draw one line: its own lane, those it reads, and those that only pass."""
    joined = [own, *(place for place, held in enumerate(columns) if held in sources)]
    first, last = min(joined), max(joined)
    cells = []
    for place in range(max(last + 1, len(columns))):
        held = columns[place] if place < len(columns) else None
        if place == own:
            mark = "o"
        elif held in sources:
            mark = "'" if held in ending else "+"
        else:
            mark = "-" if held is None and first < place < last else "|" if held else " "
        cells.append(mark + ("-" if first <= place < last else " "))
    return "".join(cells).rstrip()
