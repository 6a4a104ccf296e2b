import numpy as np
import pytest
from pictures import drawn

from layerkit import ArgumentError, Dense, HalfSquaredError, ReLU, Sequential, plots

X = np.random.default_rng(0).normal(size=(20, 2))


def traced():
    model = Sequential([Dense(2, 4, ReLU(), name="hidden"), Dense(4, 2)], seed=0)
    return model.trace(X, X, HalfSquaredError())


def test_codes():
    codes = np.random.default_rng(0).uniform(size=(8, 3))
    ax = drawn(plots.hidden_codes(codes, names=list("abcdefgh")))
    np.testing.assert_array_equal(ax.images[0].get_array(), codes)
    assert ax.texts[0].get_text() == f"{codes[0, 0]:.2f}"
    cube = drawn(plots.codes_cube(codes))
    assert len(cube.collections) == 8
    assert [text.get_text() for text in cube.texts] == [str(i) for i in range(8)]


def test_weights():
    kernel = np.arange(24.0).reshape(6, 4) - 12
    ax = drawn(plots.weights(kernel))
    np.testing.assert_array_equal(ax.images[0].get_array(), kernel)
    tiles = drawn(plots.weights(kernel, image_shape=(2, 3))).images[0].get_array()
    assert tiles.shape == (5, 7)
    np.testing.assert_array_equal(tiles[:2, 4:], kernel[:, 1].reshape(2, 3))
    np.testing.assert_array_equal(tiles[3:, :3], kernel[:, 2].reshape(2, 3))
    assert tiles.mask[2].all() or np.isnan(tiles[2]).all()
    drawn(plots.weights(Sequential([Dense(2, 3)])[0].kernel))


def test_traces():
    layers = traced()
    bars = drawn(plots.gradient_flow(layers)).patches
    expected = [np.sqrt((layer.dy**2).mean()) for layer in layers.values()]
    np.testing.assert_allclose([bar.get_height() for bar in bars[:2]], expected)
    ax = drawn(plots.activation_histograms(layers))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["dense_1", "hidden"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.codes_cube(np.ones((4, 2))), "codes must be of shape"),
        (lambda: plots.weights(np.ones((4, 2)), image_shape=(3, 2)), "of 4 inputs in total"),
        (
            lambda: plots.gradient_flow({"a": 1}),
            "traced must be the return value of Sequential.trace",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
