import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    SGD,
    ArgumentError,
    Dense,
    HalfSquaredError,
    Sequential,
    ShapeError,
    Standardize,
    Trainer,
)

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


RNG = np.random.default_rng(1)


def scaling(shape=(1,), dtype="float64"):
    model = Sequential([Standardize()], input_shape=shape, dtype=dtype)
    return model, model[0]


def exact(column, weight=None):
    """The mean and the deviation of a column, computed without rounding."""
    numbers = [Fraction(v) for v in column.tolist()]
    weight = [Fraction(w) for w in (np.ones(len(column)) if weight is None else weight).tolist()]
    mean = sum(w * v for w, v in zip(weight, numbers, strict=True)) / sum(weight)
    variance = sum(w * (v - mean) ** 2 for w, v in zip(weight, numbers, strict=True)) / sum(weight)
    # As a fraction that a float can hold, whatever its exponent.
    shift = (variance.denominator.bit_length() - variance.numerator.bit_length()) // 2
    deviation = math.ldexp(math.sqrt(variance * Fraction(4) ** shift), -shift)
    return float(mean), deviation


COLUMNS = {
    "noise far from 0": 1e9 + 1e-4 * RNG.normal(size=5000),
    "two numbers far from 0": np.where(RNG.uniform(size=500) > 0.3, 1e6 + 5e-7, 1e6 - 5e-7),
    "the least difference": np.array([1.0, np.nextafter(1, 2), 1.0, 1.0]),
    "squares that overflow": 1e200 * RNG.normal(size=50),
    "squares that vanish": 1e-200 * RNG.normal(size=50),
    "a sum that overflows": np.array([1.5e308, 1.6e308, 1.7e308]),
    "subnormal": np.array([0.0, 5e-324, 1e-323, 5e-323]),
    "an outlier": np.array([1.0, 2.0, 3.0, 1e15]),
    "large integers": (2**53 + np.arange(40)).astype(float),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_real_columns_are_not_flat_and_figures_are_exact(column):
    model, layer = scaling()
    layer.adapt(column[:, None])
    mean, deviation = exact(column)
    # Some units in the last place of a mean and of differences; below 5e-324 there is nothing.
    assert layer.mean[0] == pytest.approx(mean, rel=1e-15)
    assert layer.deviation[0] == pytest.approx(deviation, rel=1e-9, abs=5e-324)
    y = model.predict(column[:, None])
    assert np.isfinite(y).all()
    assert len(np.unique(y)) > 1
    stream = [column[i : i + 7, None] for i in range(0, len(column), 7)]
    layer.adapt(lambda: stream)
    assert layer.mean[0] == pytest.approx(mean, rel=1e-15)
    assert layer.deviation[0] == pytest.approx(deviation, rel=1e-9, abs=5e-324)


@pytest.mark.parametrize("value", [0.1, 1e9 + 1 / 3, -1e-300, 0.0, 1.7e308, 5e-324])
def test_equal_numbers_deviate_by_1_and_become_0(value):
    model, layer = scaling()
    for x in (np.full((7, 1), value), lambda: [np.full((3, 1), value)] * 5):
        layer.adapt(x)
        assert layer.mean[0] == value
        assert layer.deviation[0] == 1
        assert model.predict([[value]])[0, 0] == 0


def test_the_least_deviation_divides_by_no_0():
    model, layer = scaling()
    layer.adapt([[0.0], [5e-324], [0.0]])
    assert layer.deviation[0] == 5e-324
    assert_array_equal(model.predict([[0.0], [5e-324]]), [[0], [1]])


def test_float32_models_scale_in_float64():
    x = (1e6 + RNG.normal(0, 0.5, size=(400, 1))).astype(np.float32)
    model, layer = scaling(dtype="float32")
    layer.adapt(x)
    wide = x.astype(np.float64)
    expected = ((wide - wide.mean()) / wide.std()).astype(np.float32)
    y = model.forward(x, training=True)
    assert y.dtype == np.float32
    assert_array_equal(y, expected)
    assert layer.mean.dtype == layer.deviation.dtype == np.float64
    # A deviation that float32 has no number for; and backwards, too.
    layer.adapt(np.array([[1e-50], [3e-50]]))
    with np.errstate(all="raise", under="ignore"):
        assert_allclose(model.predict(np.array([[0.0]])), [[-2]], rtol=1e-6)
    layer.adapt(np.array([[1e-20], [3e-20]]))
    dx = (model.forward([[1.0]], training=True), model.backward([[1e-10]]))[1]
    assert dx.dtype == np.float32
    assert_allclose(dx, [[1e10]], rtol=1e-6)


def test_a_weight_of_two_is_the_sample_twice_and_0_is_none():
    weight = RNG.integers(0, 3, size=40)
    x = X.copy()
    x[weight == 0] += 1e6
    for shown, weights in (
        (x, weight),
        (lambda: [(x[:9], None, weight[:9]), [x[9:], 0, weight[9:]]], None),
    ):
        layer = scaling((3,))[1]
        layer.adapt(shown, weights)
        repeated = np.repeat(x, weight, axis=0)
        assert_allclose(layer.mean, repeated.mean(axis=0), rtol=1e-12)
        assert_allclose(layer.deviation[:2], repeated.std(axis=0)[:2], rtol=1e-12)
        assert layer.deviation[2] == 1  # flat where something counts


class Rows:
    def __init__(self, *arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, indices):
        return (
            tuple(a[indices] for a in self.arrays)
            if len(self.arrays) > 1
            else self.arrays[0][indices]
        )


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    shape=st.sampled_from([(2,), (2, 3), ()]),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_batches_give_what_the_whole_gives(sizes, shape, weighted, seed):
    rng = np.random.default_rng(seed)
    n = sum(sizes) or 1
    x = rng.normal(rng.normal(0, 1e3), 1, size=(n, *shape))
    weight = rng.uniform(0.1, 1, size=n) if weighted else None
    whole, parts = Standardize(), Standardize()
    for layer in (whole, parts):
        layer.build(shape)
    whole.adapt(x, weight)
    ends = np.cumsum([0, *sizes])
    ends[-1] = n
    stream = [
        (x[a:b], None, None if weight is None else weight[a:b]) for a, b in itertools.pairwise(ends)
    ]
    for shown in (stream.copy, iter(stream), Rows(*((x,) if weight is None else (x, x, weight)))):
        parts.adapt(shown)
        assert_allclose(parts.mean, whole.mean, rtol=1e-12)
        assert_allclose(parts.deviation, whole.deviation, rtol=1e-9, atol=1e-12)


def test_data_sets_and_streams_and_maps_are_not_held(tmp_path):
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(3000, 2))
    mapped[:] = RNG.normal(3, 2, size=(3000, 2))
    layer = scaling((2,))[1]
    fetched = []

    class Noting(Rows):
        def __getitem__(self, indices):
            fetched.append(len(indices))
            return super().__getitem__(indices)

    for shown in (mapped, Noting(mapped), Noting(mapped, mapped)):
        layer.adapt(shown)
        assert_allclose(layer.mean, mapped.mean(axis=0, dtype=float), rtol=1e-12)
        assert_allclose(layer.deviation, mapped.std(axis=0, dtype=float), rtol=1e-12)
    assert fetched == [1024, 1024, 952] * 2


def test_some_batches_of_an_endless_stream():
    def endless():
        step = 0
        while True:
            step += 1
            yield np.full((2, 1), step)

    layer = scaling()[1]
    layer.adapt(endless(), steps=3)
    assert layer.mean[0] == 2
    layer.adapt(endless, steps=5)
    assert layer.mean[0] == 3


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_invert_undoes_the_scaling(dtype):
    model, layer = scaling((3,), dtype)
    layer.adapt(X)
    inverted = layer.invert(model.predict(X))
    assert inverted.dtype == np.float64
    # In float32, y itself is rounded, by 6e-8 of deviations of 30 at most 5 of them wide.
    assert_allclose(inverted, X, rtol=0, atol=1e-12 if dtype == "float64" else 1e-5)
    with pytest.raises(ShapeError, match=r"Standardize.invert: y must be of shape \(batch_size, 3"):
        layer.invert(X[:, :2])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, -np.arange(40.0)), {}, "sample_weight must be of at least 0; got -39 in sample 39"),
        ((X, np.zeros(40)), {}, "sample_weight must be above 0 for some sample; got 0 for all"),
        ((X, np.ones(3)), {}, r"sample_weight must be of shape \(40,\); got \(3,\)"),
        ((X, np.full(40, np.nan)), {}, "sample_weight must be finite; got nan in sample 0"),
        ((X,), {"steps": 2}, "steps must be None with this kind of data, arrays"),
        ((lambda: [X],), {"steps": 0}, "steps must be a whole number of at least 1"),
        ((lambda: [X], np.ones(40)), {}, "sample_weight must be None with this kind .* stream"),
        ((lambda: 5,), {}, "x must be samples, or an iterable of batches; got 5"),
        ((lambda: [],), {}, "x must be at least one sample; got none"),
        ((lambda: [()],), {}, r"x must be of shape \(batch_size, 3\)"),
        ((lambda: [(X, X, np.zeros(40))],), {}, "sample_weight must be above 0 for some"),
        ((lambda: [X, X * np.inf],), {}, "x must be finite; got inf in sample 0 of batch 2"),
        (
            (Rows(np.where(np.arange(2000)[:, None] == 1500, np.nan, np.ones((2000, 3)))),),
            {},
            "x must be finite; got nan in sample 1500",
        ),
        ((np.array([[-1.7e308] * 3, [1.7e308] * 3]),), {}, "x must be of a range that float64 hol"),
    ],
)
def test_what_is_refused_changes_nothing(arguments, options, message):
    layer = adapted()[0]
    before = layer.mean.copy(), layer.deviation.copy()
    with np.errstate(all="ignore"), pytest.raises(ArgumentError, match=f"adapt: {message}"):
        layer.adapt(*arguments, **options)
    assert_array_equal((layer.mean, layer.deviation), before)
