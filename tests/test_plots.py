"""Pictures: what is drawn is what was given; how they look, people have to look at."""

import sys
import unittest.mock

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from layerkit import (
    ArgumentError,
    Dense,
    HalfSquaredError,
    History,
    MissingExtraError,
    ReLU,
    Sequential,
    plots,
)

matplotlib.use("agg")
X = np.random.default_rng(0).normal(size=(20, 2))


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def history():
    record = History(["loss", "val_loss"])
    record.extend({"loss": [3.0, 2.0, 1.0], "val_loss": [4.0, 3.0, 2.5]})
    return record


def traced():
    model = Sequential([Dense(2, 4, ReLU(), name="hidden"), Dense(4, 2)], seed=0)
    return model.trace(X, X, HalfSquaredError())


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


def test_learning_curves():
    ax = drawn(plots.learning_curves(history(), log=True))
    first, second = ax.lines
    assert list(second.get_ydata()) == [4.0, 3.0, 2.5]
    assert list(first.get_xdata()) == [1, 2, 3]
    assert first.get_color() == second.get_color()
    assert (first.get_linestyle(), second.get_linestyle()) == ("-", "--")
    _, given = plt.subplots()
    assert plots.learning_curves(history(), given, figures=["loss"]) is given
    assert given.get_ylabel() == "loss"
    assert plots.learning_curves(History([])).lines[:] == []


def test_decision_boundary():
    model = Sequential([Dense(2, 2)])
    model.set_weights([[[0, 1], [0, 0]], [0, 0]])  # class 1 to the right of 0
    labels = (X[:, 0] > 0).astype(int)
    ax = drawn(plots.decision_boundary(model, X, labels, resolution=50))
    left, right = ax.collections[-2:]
    assert len(left.get_offsets()) == (labels == 0).sum()
    assert (right.get_offsets()[:, 0] > 0).all()
    single = Sequential([Dense(2, 1)], seed=0)
    drawn(plots.decision_boundary(single, X, labels, resolution=10))


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


def test_confusion():
    ax = drawn(plots.confusion_matrix(np.array([[5, 1], [0, 3]]), classes=["yes", "no"]))
    assert [text.get_text() for text in ax.texts] == ["5", "1", "0", "3"]


@pytest.mark.parametrize("slowest", [90, 9000])
def test_epochs_to_a_target(slowest):
    n_epochs = np.array([30, 40, 50, slowest, 70])
    reached = np.array([True, True, True, True, False])
    ax = drawn(plots.epochs_to_target(n_epochs, reached))
    assert ax.get_title() == "4 of 5 runs reached the target"
    assert sum(bar.get_height() for bar in ax.patches) == 4
    assert ax.get_xscale() == ("log" if slowest > 1000 else "linear")
    nobody = drawn(plots.epochs_to_target(n_epochs, reached & False))
    assert nobody.get_title() == "0 of 5 runs reached the target"
    assert not nobody.patches


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plots.epochs_to_target(np.ones(2), np.ones(3)),
            r"reached must be of shape \(2,\)",
        ),
        (lambda: plots.learning_curves([1.0]), "history must be an instance of History"),
        (lambda: plots.learning_curves(history(), figures=["x"]), "figures must be some of 'loss'"),
        (
            lambda: plots.decision_boundary(Sequential([Dense(3, 2)]), X, X[:, 0]),
            "model must be one of two inputs",
        ),
        (
            lambda: plots.decision_boundary(Sequential([Dense(2, 2)]), X, X[:3, 0]),
            "labels must be of shape",
        ),
        (lambda: plots.hidden_codes(np.ones(3)), "codes must be a matrix that is not empty"),
        (lambda: plots.codes_cube(np.ones((4, 2))), "codes must be of shape"),
        (lambda: plots.weights(np.ones((4, 2)), image_shape=(3, 2)), "of 4 inputs together"),
        (lambda: plots.gradient_flow({"a": 1}), "traced must be what Sequential.trace gives"),
        (lambda: plots.confusion_matrix(np.ones((2, 3))), "matrix must be of shape"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_without_matplotlib():
    hidden = {"matplotlib": None, "matplotlib.pyplot": None}
    with unittest.mock.patch.dict(sys.modules, hidden):
        with pytest.raises(MissingExtraError, match=r"pip install 'layerkit\[plot\]'"):
            plots.learning_curves(history())
