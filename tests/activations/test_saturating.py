import numpy as np
from numpy.testing import assert_allclose

from layerkit import Softmax


def test_softmax_rows_are_shares():
    z = np.random.default_rng(0).normal(0, 5, size=(4, 3))
    y = Softmax().forward(z)
    assert_allclose(y.sum(axis=1), 1, rtol=1e-14)
    assert_allclose(y, Softmax().forward(z + 1000), rtol=1e-10)
    assert_allclose(np.log(y[:, 0] / y[:, 1]), z[:, 0] - z[:, 1], rtol=1e-10)


def test_softmax_backward_is_its_jacobian():
    rng = np.random.default_rng(0)
    z, dy = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    y = Softmax().forward(z)
    for row in range(4):
        jacobian = np.diag(y[row]) - np.outer(y[row], y[row])
        assert_allclose(Softmax().backward(dy, z, y)[row], jacobian @ dy[row], rtol=1e-12)
