import numpy as np
import pytest

from layerkit import Add, ArgumentError, Dense, Dropout, Sequential, ShapeError
from layerkit.models.chain import check_chain, first_shape

MODEL = Sequential([Dense(2, 2)])
DENSE = Dense(2, 2)

BAD = {
    "a list of at least one layer; got none": [],
    "layers of this model alone; got layers.0., the model itself": [MODEL],
    "got layers.1., which is layers.0. again": [DENSE, DENSE],
    "which is part of a model already": [MODEL[0]],
    "layers of one input": [Add()],
    "of different names; got 'a' for layers.0. and layers.1.": [Dense(2, 2, name="a")] * 1
    + [Dense(2, 2, name="a")],
    "of dtype float64; got layers.0., .* of float32": [
        Sequential([Dense(2, 2)], dtype=np.float32),
    ],
}


@pytest.mark.parametrize("message", BAD)
def test_layers_that_can_not_be_together(message):
    with pytest.raises(ArgumentError, match=message):
        check_chain("Sequential.__init__", MODEL, BAD[message])


def test_layers_that_can():
    check_chain("Sequential.__init__", MODEL, [DENSE, Dense(2, 2), Dropout(0.1)])


def test_the_first_layer_or_the_caller_knows_the_shape():
    assert first_shape("Sequential.__init__", Dense(3, 2), None) == (3,)
    assert first_shape("Sequential.__init__", Dense(3, 2), [None, 3]) == (None, 3)
    assert first_shape("Sequential.__init__", Dropout(0.1), None) is None
    assert first_shape("Sequential.__init__", Dropout(0.1), (4,)) == (4,)
    with pytest.raises(ShapeError, match=r"input_shape must be \(3,\), which layers.0., Dense"):
        first_shape("Sequential.__init__", Dense(3, 2), (4,))
