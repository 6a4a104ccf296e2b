import numpy as np
import pytest
from pictures import drawn

from layerkit import ArgumentError, Dense, Sequential, plots

X = np.random.default_rng(0).normal(size=(20, 2))


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


def test_confusion():
    ax = drawn(plots.confusion_matrix(np.array([[5, 1], [0, 3]]), classes=["yes", "no"]))
    assert [text.get_text() for text in ax.texts] == ["5", "1", "0", "3"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plots.decision_boundary(Sequential([Dense(3, 2)]), X, X[:, 0]),
            "model must be one of two inputs",
        ),
        (
            lambda: plots.decision_boundary(Sequential([Dense(2, 2)]), X, X[:3, 0]),
            "labels must be of shape",
        ),
        (lambda: plots.confusion_matrix(np.ones((2, 3))), "matrix must be of shape"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
