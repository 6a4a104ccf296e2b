import numpy as np
import pytest
from naive_windows import convolve

from layerkit.layers.correlation import Scratch, correlate, kernel_gradient, spread
from layerkit.layers.windows import Windows


def test_scratch_grows_and_is_used_again():
    scratch = Scratch()
    first = scratch.array("a", (2, 3), np.float64)
    assert np.shares_memory(scratch.array("a", (4,), np.float64), first)
    assert not np.shares_memory(scratch.array("b", (2, 3), np.float64), first)
    larger = scratch.array("a", (3, 3), np.float64)
    assert larger.shape == (3, 3)
    assert not np.shares_memory(larger, first)
    assert scratch.array("a", (2,), np.float32).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_in", [1, 3, 4, 8])
@pytest.mark.parametrize("n_groups", [1, 2])
def test_products_their_adjoint_and_gradient(n_in, n_groups, dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 7, 6, n_in * n_groups)).astype(dtype)
    kernel = rng.normal(size=(3, 2, n_in, 2 * n_groups)).astype(dtype)
    windows = Windows((3, 2), (2, 1), (1, 2), (1, 2))
    expected = convolve(x, kernel, (2, 1), (1, 2), (1, 2), n_groups)
    rows = expected.reshape(-1, kernel.shape[3])
    z, scratch = np.empty(rows.shape, dtype), Scratch()
    correlate(x, kernel, windows, z, scratch)
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-10}
    np.testing.assert_allclose(z, rows, **tolerance)
    dz = rng.normal(size=z.shape).astype(dtype)
    total = float((dz * rows).sum())
    grad, dx = np.full_like(kernel, np.nan), np.full_like(x, np.nan)
    kernel_gradient(x, dz, windows, grad, scratch)
    spread(dz, kernel, windows, dx, scratch)
    # Both are linear: each adjoint is told by a product.
    np.testing.assert_allclose([(grad * kernel).sum(), (dx * x).sum()], total, **tolerance)


def test_windows_that_see_padding_alone_send_nothing_back():
    windows = Windows(2, 5, 3, 1, n_axes=1)  # at -3 and 2, of the one place 0
    x, kernel, scratch = np.ones((1, 1, 1, 4)), np.ones((1, 2, 4, 1)), Scratch()
    z, dx = np.full((2, 1), np.nan), np.full_like(x, np.nan)
    correlate(x, kernel, windows, z, scratch)
    spread(np.ones((2, 1)), kernel, windows, dx, scratch)
    assert not z.any()
    assert not dx.any()
