"""`Dropout`: what it leaves out, and where its random numbers come from."""

import copy

import numpy as np
import pytest

from layerkit import Dense, Dropout, Layer, Sequential

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
