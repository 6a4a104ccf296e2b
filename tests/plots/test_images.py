import numpy as np
import pytest
from pictures import drawn

from layerkit import ArgumentError, plots

RNG = np.random.default_rng(0)


def test_rows_of_images_side_by_side():
    first, second = RNG.uniform(size=(3, 8)), RNG.uniform(size=(2, 2, 4))
    ax = drawn(plots.image_rows({"given": first, "made": second}, (2, 4)))
    tiles = ax.images[0].get_array()
    assert tiles.shape == (5, 14)
    np.testing.assert_array_equal(tiles[:2, 5:9], first[1].reshape(2, 4))
    np.testing.assert_array_equal(tiles[3:, :4], second[0])
    assert np.ma.getmaskarray(tiles)[2].all()
    assert np.ma.getmaskarray(tiles)[3:, 10:].all()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["given", "made"]
    assert list(ax.get_yticks()) == [0.5, 3.5]
    # One scale for all, so that rows can be compared.
    assert ax.images[0].get_clim() == (tiles.min(), tiles.max())


@pytest.mark.parametrize(
    ("rows", "shape", "message"),
    [
        ({}, (2, 4), "rows must be a dict of at least one row of images"),
        (RNG.uniform(size=(3, 8)), (2, 4), "rows must be a dict"),
        ({"a": np.ones((3, 7))}, (2, 4), r"rows.'a'. must be images of 2 x 4 pixels, .*3, 7"),
        ({"a": np.ones((0, 8))}, (2, 4), r"rows.'a'. must be images of 2 x 4 pixels, at least one"),
        ({"a": 3.0}, (1, 1), r"rows.'a'. must be images"),
        ({"a": np.ones((3, 8))}, 8, "image_shape must be a height and a width; got 8"),
        ({"a": np.ones((3, 8))}, (2, 0), "image_shape must be a whole number of at least 1"),
    ],
)
def test_bad_arguments(rows, shape, message):
    with pytest.raises(ArgumentError, match=message):
        plots.image_rows(rows, shape)
