import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    ArgumentError,
    PositionalEmbedding,
    PositionalEncoding,
    Sequential,
    ShapeError,
    StateError,
)
from layerkit.layers.positions import rotation
from layerkit.testing import check_layer, parametrize_with_checks


@parametrize_with_checks(
    [
        (PositionalEncoding(), (None, 4)),
        (PositionalEncoding(), (7, 3)),
        (PositionalEmbedding(20, 3), (None, 3)),
        (PositionalEmbedding(4, 2), (4, 2)),
    ]
)
def test_conformance(check):
    check()


def waves(x):
    y = x.copy()
    for t, j in np.ndindex(x.shape[1:]):
        angle = t / 10000 ** ((j - j % 2) / x.shape[2])
        y[:, t, j] += np.cos(angle) if j % 2 else np.sin(angle)
    return y


def test_references():
    check_layer(PositionalEncoding(), (None, 6), reference=waves)
    check_layer(PositionalEncoding(), (5, 5), reference=waves)
    check_layer(
        PositionalEmbedding(20, 3),
        (None, 3),
        reference=lambda x, positions: x + positions[: x.shape[1]],
    )


def test_the_first_values_of_the_paper():
    """Vaswani et al. (2017), section 3.5, of width 4."""
    y = Sequential([PositionalEncoding()], input_shape=(None, 4)).predict(np.zeros((1, 101, 4)))
    expected = [np.sin(100), np.cos(100), np.sin(1), np.cos(1)]
    assert_allclose(y[0, 100], expected, rtol=1e-12)
    assert_array_equal(y[0, 0], [0, 1, 0, 1])


def test_a_rotation_by_places_depends_on_their_difference():
    turn = rotation(50, 6, np.dtype(np.float64))
    assert turn.shape == (50, 3)
    assert_allclose(turn[30] * turn[10].conj(), turn[25] * turn[5].conj(), rtol=1e-12)
    assert_allclose(abs(turn), 1)
    assert not turn.flags.writeable  # all calls share it
    assert_allclose(np.angle(turn[1]), 10000 ** (-np.arange(0, 6, 2) / 6))
    assert rotation(50, 6, np.dtype(np.float32)).dtype == np.complex64


def test_a_place_beyond_the_sequences_has_no_gradient():
    model = Sequential([PositionalEmbedding(6, 2)], seed=0)
    model.grads[:] = 7
    x = np.zeros((3, 4, 2))
    model.forward(x, training=True)
    dy = np.random.default_rng(0).normal(size=x.shape)
    assert_array_equal(model.backward(dy), dy)
    grad = model[0].positions.grad
    assert_allclose(grad[:4], dy.sum(axis=0))
    assert not grad[4:].any()


def test_a_sequence_that_is_too_long_is_refused():
    model = Sequential([PositionalEmbedding(6, 2)], seed=0)
    assert model.predict(np.zeros((1, 6, 2))).shape == (1, 6, 2)
    message = (
        r"PositionalEmbedding.compute_forward: the number of steps must be at most max_length = 6; "
        r"got 7. Cut the sequences, or build the layer with a larger max_length."
    )
    with pytest.raises(ShapeError, match=message):
        model.predict(np.zeros((1, 7, 2)))
    with pytest.raises(ShapeError, match=message.replace("compute_forward", "build")):
        Sequential([PositionalEmbedding(6, 2)], input_shape=(7, 2))


@pytest.mark.parametrize("layer", [PositionalEncoding(), PositionalEmbedding(5, 3)], ids=repr)
def test_step_by_step_it_is_the_same(layer):
    with pytest.raises(StateError, match=r"Positional.*.step: layer must be part of a model"):
        layer.step(np.ones((2, 3)))
    model = Sequential([layer], input_shape=(None, 3), seed=0)
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    expected, state = model.predict(x), None
    for t in range(5):
        y, state = layer.step(x[:, t], state)
        assert_array_equal(y, expected[:, t])
        assert state == t + 1
    with pytest.raises(ShapeError, match=r"Positional.*.step: x must be of shape"):
        layer.step(x)
    with pytest.raises(ArgumentError, match=r"Positional.*.step: state must be a whole number"):
        layer.step(x[:, 0], -1)
    if isinstance(layer, PositionalEmbedding):
        message = "PositionalEmbedding.step: the number of steps must be at most max_length = 5"
        with pytest.raises(ShapeError, match=message):
            layer.step(x[:, 0], 5)


BAD = {
    "PositionalEncoding.__init__: name must be": lambda: PositionalEncoding(name=""),
    "PositionalEmbedding.__init__: max_length must be": lambda: PositionalEmbedding(0, 2),
    "PositionalEmbedding.__init__: n_in must be": lambda: PositionalEmbedding(2, 1.5),
    "PositionalEmbedding.__init__: initializer must be": lambda: PositionalEmbedding(
        2, 2, initializer=0
    ),
    "PositionalEmbedding.__init__: name must be": lambda: PositionalEmbedding(2, 2, name=1),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (3, None)])
def test_samples_without_steps_or_features_are_refused(shape):
    with pytest.raises(ShapeError, match=r"PositionalEncoding.build: input_shape must be \(n_s"):
        Sequential([PositionalEncoding()], input_shape=shape)
    with pytest.raises(ShapeError, match=r"input_shape must be .*\(None, 4\)"):
        Sequential([PositionalEmbedding(9, 4)], input_shape=shape)
