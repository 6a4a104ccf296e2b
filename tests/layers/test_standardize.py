import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import SGD, Dense, HalfSquaredError, Sequential, ShapeError, Standardize, Trainer

X = np.random.default_rng(0).normal([5, -100, 7], [2, 30, 0], size=(40, 3))


def adapted(dtype="float64"):
    model = Sequential([Standardize(name="scaling"), Dense(3, 2)], input_shape=(3,), dtype=dtype)
    model["scaling"].adapt(X)
    return model


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_it_was_shown_has_mean_0_and_deviation_1(dtype):
    y = adapted(dtype)[:1].predict(X)
    assert y.dtype == dtype
    assert_allclose(y.mean(axis=0), 0, atol=1e-5)
    assert_allclose(y.std(axis=0), [1, 1, 0], atol=1e-5)


def test_training_leaves_it_alone_and_a_file_keeps_it(tmp_path):
    model = adapted()
    before = model[0].mean.copy()
    Trainer(model, HalfSquaredError(), SGD(0.1)).fit(X, X[:, :2] * 0, epochs=2)
    np.testing.assert_array_equal(model[0].mean, before)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(Sequential.load(tmp_path / "m").predict(X), model.predict(X))


def test_equal_numbers_far_from_0():
    model = Sequential([Standardize()], input_shape=(1,))
    model[0].adapt(np.full((3, 1), 0.1))
    np.testing.assert_allclose(model.predict([[0.1], [1.1]]), [[0], [1]], atol=1e-12)


@pytest.mark.parametrize(
    ("x", "message"),
    [(X[:, :2], "of shape"), (X[:0], "at least one sample"), (X * np.nan, "finite")],
)
def test_bad_data(x, message):
    with pytest.raises(ValueError, match=f"Standardize.adapt: x must be .*{message}"):
        adapted()[0].adapt(x)


def test_an_open_axis_is_refused():
    message = (
        r"Standardize.build: input_shape must be without an open axis; got \(None, 2\)\. "
        r"Each place of a sample has figures of its own\."
    )
    with pytest.raises(ShapeError, match=message):
        Sequential([Standardize()], input_shape=(None, 2))
