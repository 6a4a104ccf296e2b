"""Layers that normalise each sample by itself: over which axes, and with which variance."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from recorded_layers import compare

import layerkit
from layerkit import (
    Adam,
    ArgumentError,
    Dense,
    GroupNorm,
    LayerNorm,
    MeanSquaredError,
    ReLU,
    RMSNorm,
    Sequential,
    ShapeError,
    Trainer,
)
from layerkit.testing import check_layer, parametrize_with_checks

CALLS = [
    "GroupNorm(2)",
    "GroupNorm(3, 0.1, use_offset=False)",
    "LayerNorm()",
    "LayerNorm(2, 0.1, use_offset=False)",
    "LayerNorm(use_scale=False, use_offset=False)",
    "RMSNorm()",
]


@parametrize_with_checks(
    [
        (LayerNorm(), (4,)),
        (LayerNorm(), (None, 4)),
        (LayerNorm(2, 1e-3, use_offset=False), (2, 3, 2)),
        (LayerNorm(2, use_scale=False, use_offset=False), (None, 3)),
        (LayerNorm(use_scale=False), (3,)),
        # Of two numbers a group, dx is what rounding leaves.
        (GroupNorm(2), (6,)),
        (GroupNorm(2), (3, None, 4)),
        (GroupNorm(4), (2, 3, 4)),
        (GroupNorm(1, 1e-3, use_scale=False), (None, 3)),
        (GroupNorm(3, 1e-3, use_offset=False), (2, 6)),
        (RMSNorm(), (4,)),
        (RMSNorm(2, 1e-3), (None, 3, 2)),
        (RMSNorm(use_scale=False), (None,)),
    ]
)
def test_conformance(check):
    check()


@pytest.mark.parametrize("call", CALLS)
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


def over(x, axes, epsilon):
    centred = x - x.mean(axis=axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=axes, keepdims=True) + epsilon)


def test_references():
    check_layer(
        LayerNorm(epsilon=0.2),
        (2, 3),
        reference=lambda x, gamma, beta: over(x, -1, 0.2) * gamma + beta,
    )
    check_layer(
        LayerNorm(2),
        (2, 3, 2),
        reference=lambda x, gamma, beta: over(x, (-1, -2), 1e-5) * gamma + beta,
    )
    check_layer(
        GroupNorm(2, 0.2),
        (3, 2, 4),
        reference=lambda x, gamma, beta: (
            over(x.reshape(-1, 3, 2, 2, 2), (1, 2, 4), 0.2).reshape(x.shape) * gamma + beta
        ),
    )
    check_layer(
        RMSNorm(2, epsilon=0.2),
        (2, 3, 2),
        reference=lambda x, gamma: (
            x / np.sqrt((x * x).mean(axis=(-1, -2), keepdims=True) + 0.2) * gamma
        ),
    )


@pytest.mark.parametrize(("dtype", "mean"), [("float64", 1e12), ("float32", 1e5)])
def test_a_large_mean_does_not_cancel_the_variance(dtype, mean):
    # Whole numbers, which both dtypes hold exactly even beside the mean.
    x = np.array([[0.0, 4.0, 8.0, 1.0], [3.0, 3.0, 2.0, 16.0]])
    model = Sequential([LayerNorm()], input_shape=(4,), dtype=dtype)
    # The rounding of float32, some times over.
    assert_allclose(model.predict(x + mean), over(x, -1, 1e-5), atol=1e-6)


@pytest.mark.parametrize("layer", [LayerNorm(), GroupNorm(3)])
def test_numbers_that_are_all_alike_become_0(layer):
    x = np.array([[12345.678], [1e5 / 3], [0.1]]).repeat(99, axis=1)
    model = Sequential([layer], input_shape=(99,), dtype="float32")
    assert not model.predict(x).any()


@pytest.mark.parametrize("layer", [GroupNorm(1), LayerNorm(), RMSNorm()])
def test_a_single_sample_is_as_in_a_batch(layer):
    x = np.random.default_rng(0).normal(size=(6, 5))
    model = Sequential([layer], input_shape=(5,))
    y = model.forward(x, training=True)
    # A product of one row may add up in another order than one of several.
    assert_allclose(model.predict(x[:1]), y[:1], rtol=1e-12)
    assert model.min_batch_size == 1


def test_switches_leave_parameters_out():
    def names(layer):
        return [*Sequential([layer], input_shape=(3,)).named_parameters()]

    assert names(GroupNorm(1, name="n")) == ["n.gamma", "n.beta"]
    assert names(GroupNorm(1, use_offset=False, name="n")) == ["n.gamma"]
    assert names(GroupNorm(1, use_scale=False, name="n")) == ["n.beta"]
    assert names(LayerNorm(name="n")) == ["n.gamma", "n.beta"]
    assert names(LayerNorm(use_offset=False, name="n")) == ["n.gamma"]
    assert names(LayerNorm(use_scale=False, name="n")) == ["n.beta"]
    assert names(RMSNorm(name="n")) == ["n.gamma"]
    assert names(RMSNorm(use_scale=False, name="n")) == []


@pytest.mark.parametrize("make", [lambda: GroupNorm(3), LayerNorm, RMSNorm])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_with_it_learns(make, dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, size=(60, 4))
    y = np.tanh(x[:, :1] - x[:, 1:2])
    model = Sequential([Dense(4, 12, ReLU()), make(), Dense(12, 1)], seed=0, dtype=dtype)
    trainer = Trainer(model, MeanSquaredError(), Adam(0.02), seed=0)
    history = trainer.fit(x, y, epochs=30, batch_size=12)
    assert type(model[1]).__name__ in str(trainer.engine_used)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert model.predict(x).dtype == dtype


def test_as_many_groups_as_channels_normalise_each_image_by_channel():
    x = np.random.default_rng(0).normal(2, 3, size=(2, 5, 4, 3))
    y = Sequential([GroupNorm(3)], input_shape=(5, 4, 3)).predict(x)
    assert_allclose(y, over(x, (1, 2), 1e-5), rtol=1e-12)


BAD = {
    "GroupNorm.__init__: n_groups must be": lambda: GroupNorm(0),
    "GroupNorm.__init__: epsilon must be": lambda: GroupNorm(2, 0),
    "GroupNorm.__init__: use_scale must be": lambda: GroupNorm(2, use_scale=1),
    "GroupNorm.__init__: use_offset must be": lambda: GroupNorm(2, use_offset=1),
    "GroupNorm.__init__: name must be": lambda: GroupNorm(2, name=""),
    "LayerNorm.__init__: n_axes must be": lambda: LayerNorm(0),
    "LayerNorm.__init__: epsilon must be": lambda: LayerNorm(1, 0),
    "LayerNorm.__init__: use_scale must be": lambda: LayerNorm(use_scale=1),
    "LayerNorm.__init__: use_offset must be": lambda: LayerNorm(use_offset=1),
    "LayerNorm.__init__: name must be": lambda: LayerNorm(name=""),
    "RMSNorm.__init__: n_axes must be": lambda: RMSNorm(1.0),
    "RMSNorm.__init__: epsilon must be": lambda: RMSNorm(1, -1),
    "RMSNorm.__init__: use_scale must be": lambda: RMSNorm(use_scale=None),
    "RMSNorm.__init__: name must be": lambda: RMSNorm(name=3),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


@pytest.mark.parametrize("kind", [LayerNorm, RMSNorm])
def test_too_few_axes_are_refused(kind):
    name = kind.__name__
    message = rf"{name}.build: input_shape must be of at least 2 axes; got \(3,\). n_axes counts"
    with pytest.raises(ShapeError, match=message):
        Sequential([kind(2)], input_shape=(3,))
    with pytest.raises(ShapeError, match=rf"{name}.add_parameter: shape must be without an open"):
        Sequential([kind()], input_shape=(3, None))


@pytest.mark.parametrize("shape", [(5,), (4, None), ()])
def test_channels_that_are_no_multiple_of_the_groups_are_refused(shape):
    message = r"GroupNorm.build: input_shape must be of a last axis that 2 groups divide; got \("
    with pytest.raises(ShapeError, match=message):
        Sequential([GroupNorm(2)], input_shape=shape)


def test_groups_of_a_single_number_are_refused():
    message = r"of more than one number a group; got \(1, 3\). Choose fewer"
    with pytest.raises(ShapeError, match=message):
        Sequential([GroupNorm(3)], input_shape=(1, 3))


@pytest.mark.parametrize("call", ["BatchNorm", "LayerNorm", "RMSNorm", "GroupNorm"])
def test_an_epsilon_that_is_0_in_float32_is_refused(call):
    def model(dtype):
        options = {"n_groups": 1} if call == "GroupNorm" else {}
        layer = getattr(layerkit, call)(epsilon=1e-46, **options)
        return Sequential([layer], input_shape=(3,), dtype=dtype)

    message = rf"{call}.compute_forward: epsilon must be at least 1.17549e-38 in float32"
    with pytest.raises(ArgumentError, match=message):
        model(np.float32).predict(np.ones((4, 3)))
    assert np.isfinite(model(np.float64).predict(np.ones((4, 3)))).all()
