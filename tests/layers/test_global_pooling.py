import numpy as np
import pytest
from recorded_layers import compare

from layerkit import ArgumentError, GlobalAveragePooling, GlobalMaxPooling, Sequential, ShapeError
from layerkit.testing import check_layer, parametrize_with_checks

KINDS = [GlobalAveragePooling, GlobalMaxPooling]


@parametrize_with_checks(
    [
        (GlobalMaxPooling(), (3, 2)),
        (GlobalMaxPooling(), (None, None, 2)),
        (GlobalAveragePooling(), (None, 2)),
        (GlobalAveragePooling(), (2, 3, 2)),
    ]
)
def test_conformance(check):
    check()


@pytest.mark.parametrize("call", ["GlobalMaxPooling()", "GlobalAveragePooling()"])
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


def test_references():
    check_layer(GlobalMaxPooling(), (None, 3, 2), reference=lambda x: x.max(axis=(1, 2)))
    check_layer(GlobalAveragePooling(), (None, 2), reference=lambda x: x.mean(axis=1))


def test_the_first_of_all_places_receives_the_gradient():
    model = Sequential([GlobalMaxPooling()], input_shape=(3, 1))
    model.forward([[[1.0], [4.0], [4.0]]], training=True)
    np.testing.assert_array_equal(model.backward([[2.0]])[0, :, 0], [0, 2, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input(kind):
    name = kind.__name__
    with pytest.raises(ArgumentError, match=rf"{name}.__init__: name must be a text"):
        kind(name="")
    message = rf"{name}.build: input_shape must be of two axes or more, places and channels; got"
    with pytest.raises(ShapeError, match=message):
        Sequential([kind()], input_shape=(3,))
    model = Sequential([kind()], input_shape=(None, 2))
    message = rf"{name}.compute_forward: x must be of one place or more; got \(1, 0, 2\)"
    with pytest.raises(ShapeError, match=message):
        model.predict(np.ones((1, 0, 2)))
