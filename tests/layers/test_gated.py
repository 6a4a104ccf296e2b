import numpy as np
import pytest
from recorded_layers import compare

from layerkit import GLU, ArgumentError, Maxout, Sequential, ShapeError, SwiGLU
from layerkit.testing import check_layer, parametrize_with_checks


@parametrize_with_checks(
    [
        (GLU(), (None, 4)),
        (GLU(), (6,)),
        (SwiGLU(3, 4), (3,)),
        (SwiGLU(3, 2, use_bias=True), (None, 3)),
        (Maxout(3, 2), (3,)),
        (Maxout(3, 2, n_pieces=4), (None, 3)),
    ]
)
def test_conformance(check):
    check()


@pytest.mark.parametrize("call", ["GLU()", "SwiGLU(3, 4)", "Maxout(4, 2, 3)"])
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


def silu(z):
    return z / (1 + np.exp(-z))


def test_references():
    check_layer(GLU(), (4,), reference=lambda x: x[:, :2] / (1 + np.exp(-x[:, 2:])))
    check_layer(
        SwiGLU(3, 4, use_bias=True),
        reference=lambda x, gate, bias, linear, other: silu(x @ gate + bias) * (x @ linear + other),
    )
    check_layer(
        Maxout(3, 2, 3),
        reference=lambda x, kernel, bias: (x @ kernel + bias).reshape(len(x), 2, 3).max(axis=2),
    )


def test_the_first_of_equal_pieces_receives_the_gradient():
    layer = Maxout(1, 1, n_pieces=3)
    model = Sequential([layer], seed=0)
    model.values = [2.0, 5.0, 5.0, 0.0, 0.0, 0.0]
    model.forward([[1.0]], training=True)
    assert model.backward([[1.0]]) == 5
    np.testing.assert_array_equal(layer.pieces.kernel.grad, [[0, 1, 0]])


BAD = {
    "SwiGLU.__init__: n_in must be": lambda: SwiGLU(0, 3),
    "SwiGLU.__init__: n_out must be": lambda: SwiGLU(3, 0),
    "SwiGLU.__init__: use_bias must be": lambda: SwiGLU(3, 3, use_bias=1),
    "Maxout.__init__: n_in must be": lambda: Maxout(0, 3),
    "Maxout.__init__: n_out must be": lambda: Maxout(3, 0),
    "Maxout.__init__: n_pieces must be": lambda: Maxout(3, 3, 0),
    "GLU.__init__: name must be": lambda: GLU(name=""),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


@pytest.mark.parametrize("shape", [(3,), (4, None), ()])
def test_an_odd_width_is_refused(shape):
    message = r"GLU.build: input_shape must be of a last axis with an even length; got .*twice"
    with pytest.raises(ShapeError, match=message):
        Sequential([GLU()], input_shape=shape)


@pytest.mark.parametrize("kind", [SwiGLU, Maxout])
def test_a_wrong_width_is_refused(kind):
    with pytest.raises(ShapeError, match="input_shape must be"):
        Sequential([kind(3, 2)], input_shape=(4,))
