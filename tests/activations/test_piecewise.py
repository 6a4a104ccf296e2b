import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import ArgumentError, HardShrink, HardSigmoid, HardSiLU, HardTanh, SoftShrink


def test_where_the_pieces_meet():
    z = np.array([[-4.0, -3.0, 0.0, 3.0, 4.0]])
    assert_allclose(HardSigmoid().forward(z), [[0, 0, 0.5, 1, 1]])
    assert_allclose(HardSigmoid().derivative(z, z), [[0, 1 / 6, 1 / 6, 1 / 6, 0]])
    assert_allclose(HardSiLU().forward(z), [[0, 0, 0, 3, 4]])
    assert_allclose(HardSiLU().derivative(z, z), [[0, 0, 0.5, 1, 1]])
    assert_allclose(HardTanh(-3, 3).derivative(z, z), [[0, 1, 1, 1, 0]])
    for shrink in (HardShrink(3), SoftShrink(3)):
        assert_allclose(shrink.derivative(z, z), [[1, 0, 0, 0, 1]])


def test_their_arguments_count():
    z = np.array([[-4.0, -1.0, 2.0]])
    assert_allclose(HardTanh(-2, 1.5).forward(z), [[-2, -1, 1.5]])
    assert_allclose(HardShrink(1.0).forward(z), [[-4, 0, 2]])
    assert_allclose(SoftShrink(1.0).forward(z), [[-3, 0, 1]])
    assert_allclose(HardShrink(0.0).forward(z), z)


@pytest.mark.parametrize("call", [lambda: HardTanh(1, 1), lambda: HardTanh(2)])
def test_an_empty_range_is_refused(call):
    with pytest.raises(ArgumentError, match=r"HardTanh.__init__: max_value must be"):
        call()


@pytest.mark.parametrize("kind", [HardShrink, SoftShrink])
def test_a_negative_threshold_is_refused(kind):
    with pytest.raises(ArgumentError, match=rf"{kind.__name__}.__init__: threshold must be"):
        kind(-0.1)
