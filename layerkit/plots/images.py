"""Plots of images: inputs, and what a model makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.plots.axes import axes

__all__ = ["image_rows"]


def image_rows(rows: Mapping[str, Array], image_shape: Sequence[int], ax: Any = None) -> Any:
    """Draw rows of grey images on one scale, such as inputs and their reconstructions.

    Parameters
    ----------
    rows : dict of str to ndarray of shape (n_images, height * width)
        Images of each row, by what is written beside it; any axes after the first.
    image_shape : tuple of int
        Height and width of an image.
    ax : matplotlib Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    matplotlib Axes
        Axes with the drawing.

    Raises
    ------
    ArgumentError
        If there is no row or no image, or an image has another number of pixels.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import plots
    >>> rows = {"given": np.eye(3), "made again": np.ones((3, 3))}
    >>> plots.image_rows(rows, (1, 3)).images[0].get_array().shape
    (3, 11)
    """
    where = "plots.image_rows"
    height, width = (
        check.integer(where, "image_shape", size, minimum=1) for size in _pair(where, image_shape)
    )
    if not isinstance(rows, Mapping) or not rows:
        check.fail(where, "rows", "a dict of at least one row of images", rows)
    tiles = {name: _tiles(where, name, images, height, width) for name, images in rows.items()}
    n_columns = max(len(images) for images in tiles.values())
    # Side by side, with an empty line in between.
    drawn = np.full((len(tiles) * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
    for index, images in enumerate(tiles.values()):
        for column, image in enumerate(images):
            top, left = index * (height + 1), column * (width + 1)
            drawn[top : top + height, left : left + width] = image
    size = min(12.0, 1.5 + 0.8 * n_columns)
    ax = axes("image_rows", ax, size=(size, 0.3 + size * len(drawn) / drawn.shape[1]))
    ax.imshow(drawn, cmap="gray", aspect="equal")
    ax.set_xticks([])
    middles = [index * (height + 1) + (height - 1) / 2 for index in range(len(tiles))]
    ax.set_yticks(middles, list(tiles))
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def _pair(where: str, image_shape: Any) -> Sequence[Any]:
    if not isinstance(image_shape, tuple | list) or len(image_shape) != 2:
        check.fail(where, "image_shape", "a height and a width", image_shape)
    return image_shape


def _tiles(where: str, name: str, images: Any, height: int, width: int) -> Array:
    """Return the images of a row, each of its height and width."""
    array = check.numeric_array(where, f"rows[{name!r}]", images, None)
    n_images = len(array) if array.ndim else 0
    if not n_images or array.size != n_images * height * width:
        wanted = f"images of {height} x {width} pixels, at least one"
        check.fail(where, f"rows[{name!r}]", wanted, check.Said(f"shape {array.shape}"))
    return array.reshape(n_images, height, width)
