import numpy as np
import pytest
from recorded_layers import compare

from layerkit import (
    ArgumentError,
    Cropping,
    LoadError,
    Sequential,
    ShapeError,
    UpSampling,
    ZeroPadding,
)
from layerkit.parameters import Loading
from layerkit.testing import check_layer, parametrize_with_checks


@parametrize_with_checks(
    [
        (ZeroPadding(), (3, 2)),
        (ZeroPadding((1, (0, 2))), (2, 3, 2)),
        (ZeroPadding(((2, 0), 1)), (None, None, 1)),
        (Cropping(), (3, 2)),
        (Cropping((1, (0, 2))), (3, 4, 2)),
        (Cropping(((1, 0),)), (None, 2)),
        (UpSampling(), (2, 2)),
        (UpSampling((2, 3)), (2, 3, 2)),
        (UpSampling(3), (None, None, 1)),
    ]
)
def test_conformance(check):
    check()


def test_references():
    check_layer(
        ZeroPadding((1, (0, 2))),
        (None, None, 2),
        reference=lambda x: np.pad(x, ((0, 0), (1, 1), (0, 2), (0, 0))),
    )
    check_layer(Cropping((1, (0, 2))), (5, 6, 2), reference=lambda x: x[:, 1:-1, :-2])
    check_layer(Cropping(((2, 1),)), (None, 2), reference=lambda x: x[:, 2:-1])
    check_layer(
        UpSampling((2, 3)),
        (None, None, 2),
        reference=lambda x: x.repeat(2, axis=1).repeat(3, axis=2),
    )
    check_layer(UpSampling(2), (None, 2), reference=lambda x: x.repeat(2, axis=1))


def test_nothing_is_put_around_where_there_is_no_padding():
    for layer in (ZeroPadding(0), Cropping(0), UpSampling(1), Cropping(((0, 0),))):
        x = np.random.default_rng(0).normal(size=(2, 3, 2))
        np.testing.assert_array_equal(Sequential([layer], input_shape=(3, 2)).predict(x), x)


def test_cropping_undoes_padding():
    ends = ((1, 3), 2)
    model = Sequential([ZeroPadding(ends), Cropping(ends)], input_shape=(2, 3, 1))
    assert model[0].output_shape == (6, 7, 1)
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 1))
    np.testing.assert_array_equal(model.forward(x, training=True), x)
    np.testing.assert_array_equal(model.backward(x), x)


BAD = {
    "ZeroPadding.__init__: padding must be a whole number of at least 0": lambda: ZeroPadding(-1),
    "ZeroPadding.__init__: padding must be a whole number .* got 0.5": lambda: ZeroPadding(
        (1, 0.5)
    ),
    r"ZeroPadding.__init__: padding must be a number, or .* a pair; got \(\(1, 2, 3\),\). Write": (
        lambda: ZeroPadding(((1, 2, 3),))
    ),
    "ZeroPadding.__init__: name must be": lambda: ZeroPadding(1, name=""),
    "Cropping.__init__: cropping must be": lambda: Cropping(True),
    "Cropping.__init__: cropping must be a whole": lambda: Cropping(((1, -2),)),
    "Cropping.__init__: name must be": lambda: Cropping(1, name=""),
    "UpSampling.__init__: size must be a whole number of at least 1; got 0": lambda: UpSampling(0),
    "UpSampling.__init__: size must be": lambda: UpSampling((2, 1.5)),
    "UpSampling.__init__: name must be": lambda: UpSampling(1, name=""),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


@pytest.mark.parametrize("layer", [ZeroPadding((1, 1)), Cropping((1, 1)), UpSampling((2, 2))])
def test_samples_of_other_axes_are_refused(layer):
    name = type(layer).__name__
    for shape, n_axes in (((5, 1), 1), ((5,), 0), ((4, 4, 4, 1), 3)):
        message = (
            rf"{name}.build: input_shape must be of 2 axes and the channels, as {name}\(.* has "
            rf"amounts for; got {n_axes} and the channels"
        )
        with pytest.raises(ShapeError, match=message):
            Sequential([layer], input_shape=shape)


@pytest.mark.parametrize("layer", [ZeroPadding(1), Cropping(1), UpSampling(2)])
def test_samples_without_places_are_refused(layer):
    with pytest.raises(ShapeError, match="build: input_shape must be of 1 axes and the channels"):
        Sequential([layer], input_shape=(3,))


def test_a_sample_is_longer_than_what_is_cut_off():
    message = r"Cropping.build: input_shape must be longer than the 4 places cut off along axis 2"
    with pytest.raises(ShapeError, match=message):
        Sequential([Cropping((0, 2))], input_shape=(1, 4, 3))
    model = Sequential([Cropping(1)], input_shape=(None, 3))
    message = (
        r"Cropping.compute_forward: x must be longer than the 2 .* got samples of shape \(2, 3\)"
    )
    with pytest.raises(ShapeError, match=message):
        model.predict(np.ones((1, 2, 3)))


@pytest.mark.parametrize("layer", [ZeroPadding(5_000), UpSampling(5_000)])
def test_a_file_does_not_choose_how_large_samples_become(layer):
    with Loading(10), pytest.raises(LoadError, match="output must be no larger than what the file"):
        layer.build((None, None, 1))
    assert layer.build((2, 2, 1))[2] == 1


@pytest.mark.parametrize(
    "call", ["ZeroPadding((1, (2, 0)))", "Cropping((1, (2, 0)))", "UpSampling((2, 3))"]
)
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)
