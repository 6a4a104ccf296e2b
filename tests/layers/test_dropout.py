"""Dropout and noise: what they do to the inputs, and where the random numbers come from."""

import copy

import numpy as np
import pytest

from layerkit import (
    SELU,
    SGD,
    ActivationLayer,
    AlphaDropout,
    ArgumentError,
    Dense,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    HalfSquaredError,
    Layer,
    Sequential,
    SpatialDropout,
    Trainer,
)
from layerkit.testing import parametrize_with_checks

ONES = np.ones((200, 500))


def model(rate=0.3, seed=0, **options):
    return Sequential([Dropout(rate, **options)], input_shape=(500,), seed=seed)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_its_share_is_left_out_and_the_mean_stays(rate):
    y = model(rate).forward(ONES, training=True)
    assert set(np.unique(y)) == {0.0, 1 * (1 / (1 - rate))}
    # 100,000 draws: five standard deviations.
    assert abs((y == 0).mean() - rate) < 5 * (rate * (1 - rate) / y.size) ** 0.5
    assert (y == 0).any(axis=0).all()  # not the same ones in each sample


def test_backward_uses_the_mask_of_its_own_pass():
    layers = model()
    y = layers.forward(ONES, training=True)
    np.testing.assert_array_equal(layers.backward(2 * ONES), 2 * y)


def test_each_pass_draws_anew_and_evaluation_not_at_all():
    layers = model()
    assert (layers.forward(ONES, training=True) != layers.forward(ONES, training=True)).any()
    state = layers[0].rng.bit_generator.state
    np.testing.assert_array_equal(layers.predict(ONES), ONES)
    assert layers[0].rng.bit_generator.state == state


def test_rate_0_leaves_all():
    np.testing.assert_array_equal(model(0).forward(ONES, training=True), ONES)


def test_the_seed_of_the_model_decides():
    first, second, other = (model(seed=seed).forward(ONES, training=True) for seed in (0, 0, 1))
    assert (first == second).all()
    assert (first != other).any()


def test_a_seed_of_its_own_counts():
    for seed in (5, np.random.default_rng(5)):
        y = model(seed=None, rate=0.5, **{}).predict(ONES)
        layer = Dropout(0.5, seed=seed)
        y = Sequential([layer], input_shape=(500,), seed=1).forward(ONES, training=True)
        expected = np.random.default_rng(5).random(ONES.shape, np.float32) >= 0.5
        np.testing.assert_array_equal(y != 0, expected)


def test_layers_have_streams_of_their_own():
    layers = Sequential([Dropout(0.5), Sequential([Dropout(0.5)], input_shape=(500,))],
                        input_shape=(500,), seed=0)  # fmt: skip
    inner = layers[1][0].rng
    assert layers[0].rng.random() != inner.random()


def test_dropout_leaves_the_first_values_of_others_alone():
    plain = Sequential([Dense(3, 4), Dense(4, 2)], seed=0)
    dropped = Sequential([Dense(3, 4), Dropout(0.5), Dense(4, 2)], seed=0)
    assert plain.values.tobytes() == dropped.values.tobytes()


def test_a_layer_around_it_is_given_one_too():
    class Around(Layer):
        def build(self, input_shape):
            self.inner = Dropout(0.5)
            return self.add_layer(self.inner, input_shape)

        def compute_forward(self, x, *, training):
            return self.inner.compute_forward(x, training=training)

        def compute_backward(self, dy, cache):
            return self.inner.compute_backward(dy, cache)

    def y():
        layers = Sequential([Around()], input_shape=(500,), seed=3)
        return layers.forward(ONES, training=True)

    assert (y() == y()).all()


def test_a_copy_goes_on_alike_and_apart():
    layers = model()
    twin = copy.deepcopy(layers)
    expected = layers.forward(ONES, training=True)
    layers.forward(ONES, training=True)
    np.testing.assert_array_equal(twin.forward(ONES, training=True), expected)


# The other kinds

ALL = [AlphaDropout, Dropout, GaussianDropout, GaussianNoise, SpatialDropout]


@parametrize_with_checks(
    [
        (AlphaDropout(0.3), (4,)),
        (AlphaDropout(0), (None, 3)),
        (GaussianDropout(0.3), (2, 3)),
        (GaussianDropout(0.5, seed=1), (None, 3)),
        (GaussianNoise(0.5), (4,)),
        (GaussianNoise(2, seed=1), (None, 3)),
        (SpatialDropout(0.3), (4,)),
        (SpatialDropout(0.5), (None, 2, 3)),
    ]
)
def test_conformance(check):
    check()


def passed(layer, x, seed=0, **options):
    """The output of training, the gradient of ones, and the output of evaluation."""
    layers = Sequential([layer], input_shape=x.shape[1:], seed=seed, **options)
    y = layers.forward(x, training=True)
    return y, layers.backward(np.ones_like(y)), layers.predict(x)


def test_whole_channels_are_left_out():
    x = np.random.default_rng(0).normal(5, 1, size=(300, 4, 3, 50))
    y, dx, evaluated = passed(SpatialDropout(0.3), x)
    kept = y[:, 0, 0] != 0
    np.testing.assert_allclose(y, x * kept[:, None, None] / 0.7, rtol=1e-12)
    np.testing.assert_allclose(dx, np.ones(x.shape) * kept[:, None, None] / 0.7, rtol=1e-12)
    np.testing.assert_array_equal(evaluated, x)
    # 15,000 draws, one for each channel of a sample: five standard deviations.
    assert abs(1 - kept.mean() - 0.3) < 5 * (0.3 * 0.7 / kept.size) ** 0.5
    assert (kept[0] != kept[1]).any()


def test_without_places_channels_are_inputs():
    spatial, plain = (passed(kind(0.5), ONES)[0] for kind in (SpatialDropout, Dropout))
    np.testing.assert_array_equal(spatial, plain)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_gaussian_dropout_multiplies_by_noise_of_mean_1(rate):
    x = np.full((200, 500), 3.0)
    y, dx, evaluated = passed(GaussianDropout(rate), x)
    n, variance = y.size, rate / (1 - rate)
    np.testing.assert_allclose(dx * 3, y, rtol=1e-12)
    np.testing.assert_array_equal(evaluated, x)
    # Of n normal draws, the mean has the variance σ²/n, and the variance has 2σ⁴/n: five
    # standard deviations of each.
    assert abs(dx.mean() - 1) < 5 * (variance / n) ** 0.5
    assert abs(dx.var() - variance) < 5 * variance * (2 / n) ** 0.5


@pytest.mark.parametrize("stddev", [0.1, 3.0])
def test_gaussian_noise_is_added(stddev):
    x = np.random.default_rng(1).normal(size=(200, 500))
    y, dx, evaluated = passed(GaussianNoise(stddev), x)
    noise, n = y - x, x.size
    np.testing.assert_array_equal(dx, np.ones_like(x))
    np.testing.assert_array_equal(evaluated, x)
    # As above, and of the product of two that are independent: no part of it is x.
    assert abs(noise.mean()) < 5 * stddev / n**0.5
    assert abs(noise.var() - stddev**2) < 5 * stddev**2 * (2 / n) ** 0.5
    assert abs((noise * x).mean()) < 5 * stddev / n**0.5


def test_noise_without_deviation_changes_nothing():
    np.testing.assert_array_equal(passed(GaussianNoise(0), ONES)[0], ONES)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rate):
    x = np.random.default_rng(2).normal(size=(1000, 500))
    x = SELU().forward(x)
    x = (x - x.mean()) / x.std()
    y, dx, evaluated = passed(AlphaDropout(rate), x)
    np.testing.assert_array_equal(evaluated, x)
    # Five standard deviations of a mean of n numbers of variance 1; and of their squares', which
    # the numbers' own fourth moment tells.
    n = x.size
    assert abs(y.mean()) < 5 / n**0.5
    assert abs(y.var() - 1) < 5 * ((y**4).mean() / n) ** 0.5
    assert abs((dx == 0).mean() - rate) < 5 * (rate * (1 - rate) / n) ** 0.5


def test_alpha_dropout_replaces_by_the_numbers_of_torch():
    # torch.nn.functional.alpha_dropout(x, 0.3, training=True), torch 2.14: what is left out, and
    # the line on which all others lie.
    left_out, slope, offset = -1.0595481589864801, 0.8609526162463561, 0.4540920681370628
    x = np.linspace(-2, 2, 1000)[None]
    y, dx, _ = passed(AlphaDropout(0.3), x)
    kept = dx != 0
    np.testing.assert_allclose(y[~kept], left_out, rtol=1e-12)
    np.testing.assert_allclose(y[kept], slope * x[kept] + offset, rtol=1e-12)
    np.testing.assert_allclose(dx[kept], slope, rtol=1e-12)
    assert 200 < (~kept).sum() < 400


def test_rate_0_is_the_identity_in_training():
    for kind in ALL:
        y, dx, _ = passed(kind(0), ONES)
        np.testing.assert_allclose(y, ONES, rtol=1e-15)
        np.testing.assert_allclose(dx, ONES, rtol=1e-15)


@pytest.mark.parametrize("kind", ALL)
def test_the_seeds_decide(kind):
    x = np.random.default_rng(3).normal(size=(4, 50))
    first, same, other = (passed(kind(0.5), x, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    own, again = (passed(kind(0.5, seed=5), x, seed)[0] for seed in (0, 1))
    np.testing.assert_array_equal(own, again)


@pytest.mark.parametrize("kind", ALL)
def test_both_dtypes_draw_the_same(kind):
    x = np.random.default_rng(3).normal(size=(4, 50)).astype(np.float32)
    wide, narrow = (passed(kind(0.5), x, dtype=dtype)[0] for dtype in ("float64", "float32"))
    assert narrow.dtype == np.float32
    # Some roundings of float32.
    np.testing.assert_allclose(narrow, wide, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_a_fit_is_gone_on_with_exactly(kind, tmp_path):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))

    def fit(epochs, resumed=False):
        layers = [kind(0.3), Dense(3, 6), ActivationLayer(SELU()), kind(0.3), Dense(6, 2)]
        model = Sequential(layers, input_shape=(3,), seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.01), seed=0)
        if resumed:
            trainer.resume(tmp_path / "checkpoint")
        trainer.fit(x, y, epochs=epochs, batch_size=7)
        assert trainer.engine_used.name == "numpy"
        return trainer

    fit(2).save_checkpoint(tmp_path / "checkpoint")
    resumed, whole = fit(5, resumed=True), fit(5)
    assert kind.__name__ in whole.engine_used.reason
    np.testing.assert_array_equal(resumed.model.values, whole.model.values)
    whole.model.save(tmp_path / "model")
    loaded = Sequential.load(tmp_path / "model")
    one, other = (model.forward(x, training=True) for model in (loaded, whole.model))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ALL)
def test_bad_arguments(kind):
    name, own = kind.__name__, "stddev" if kind is GaussianNoise else "rate"
    for bad in (-0.1, "0.3", None, float("nan"), True):
        with pytest.raises(ArgumentError, match=f"{name}.__init__: {own} must be"):
            kind(bad)
    if kind is not GaussianNoise:
        with pytest.raises(ArgumentError, match=f"{name}.__init__: rate must be"):
            kind(1.0)
    with pytest.raises(ArgumentError, match=f"{name}.__init__: seed must be"):
        kind(0.3, seed="0")
    with pytest.raises(ArgumentError, match=f"{name}.__init__: name must be"):
        kind(0.3, name="")
