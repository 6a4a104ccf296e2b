"""Tables of a model: as text, and as HTML for notebooks."""

from collections.abc import Mapping, Sequence
from typing import Any

from layerkit._support.validation import printable
from layerkit.layers.base import Layer

Rows = Sequence[tuple[str, ...]]

# As the standard library's html.escape does, whose import takes longer than half of layerkit's.
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


def shorten(text: str, width: int = 60) -> str:
    """Shorten a repr to one line of at most ``width`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3] + "..."


def figures(layer: Layer) -> tuple[str, str, str]:
    """Return the cells of a layer's row: output shape, parameters, trainable ones."""
    parameters = layer.parameters
    n_trainable = sum(p.size for p in parameters if p.trainable)
    shape: Any = layer.output_shape
    named = shape.items() if isinstance(shape, Mapping) else [("", shape or ())]
    shapes = ", ".join(f"{name} {batch_shape(own)}".strip() for name, own in named)
    return shapes, f"{sum(p.size for p in parameters):,}", f"{n_trainable:,}"


def costs_of(layer: Layer) -> tuple[str, str]:
    """Return the cells of what a sample takes: operations, and memory for the outputs."""
    return f"{layer.count_flops():,}", in_bytes(layer.count_outputs() * layer.dtype.itemsize)


def in_bytes(size: float) -> str:
    """Write a size in the largest unit of which there is at least one."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"


def batch_shape(shape: Sequence[Any]) -> str:
    """Return the shape of a batch of samples as text."""
    return f"({', '.join(['n', *map(str, shape)])})"


def text_table(rows: Rows) -> str:
    """Lay out a table whose first row is the head and whose last is the total."""
    # Names may be those of a file.
    rows = [tuple(printable(cell, keep="") for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = tuple("-" * width for width in widths)
    lines = [rows[0], rule, *rows[1:-1], rule, rows[-1]]
    # Numbers to the right, as they are compared by their last digit.
    return "\n".join(
        "  ".join(
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in lines
    )


def html_table(rows: Rows) -> str:
    """Write the table as HTML; the names in it are the user's, so they are escaped."""
    head, *body = [[cell.translate(_ESCAPED) for cell in row] for row in rows]
    header = "".join(f"<th>{cell}</th>" for cell in head)
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in body]
    return "".join(
        ["<table><thead><tr>", header, "</tr></thead><tbody>"]
        + [f"<tr>{line}</tr>" for line in lines]
        + ["</tbody></table>"]
    )
