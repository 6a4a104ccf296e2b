"""Checks of what matplotlib has drawn."""


def drawn(ax):
    """Draw it all, without a warning; every text is inside the picture."""
    ax.figure.canvas.draw()
    box = ax.figure.bbox
    # In three dimensions, texts say where they are before they are projected.
    texts = [] if ax.name == "3d" else ax.texts
    for text in [ax.xaxis.label, ax.yaxis.label, ax.title, *texts]:
        extent = text.get_window_extent()
        if text.get_text():
            assert extent.x0 >= box.x0 - 1, text
            assert extent.x1 <= box.x1 + 1, text
            assert extent.y0 >= box.y0 - 1, text
            assert extent.y1 <= box.y1 + 1, text
    return ax
