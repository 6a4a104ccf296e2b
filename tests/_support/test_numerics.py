import functools
import math

import numpy as np
import pytest

from layerkit import ArgumentError
from layerkit._support.numerics import (
    CONSTANTS,
    blockwise,
    ignoring,
    normal_tail,
    sigmoid,
    unguarded,
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_of_the_limit_is_finite_and_next_to_overflow(dtype):
    limit = CONSTANTS[np.dtype(dtype)].exp_limit
    with np.errstate(all="raise"):
        assert np.isfinite(np.exp(limit))
    with np.errstate(over="ignore"):
        assert np.isinf(np.exp(limit + dtype(1)))


def test_sigmoid_lets_nan_through():
    assert np.isnan(sigmoid(np.array([np.nan]))).all()


def test_other_dtypes_are_refused_by_name():
    with pytest.raises(ArgumentError, match="float32 or float64; got int64"):
        sigmoid(np.array([1, 2]))


def test_sigmoid_at_the_limit_is_no_error_but_an_underflow():
    with np.errstate(all="raise", under="ignore"):
        assert sigmoid(np.array([-1e300, 1e300])).round(300).tolist() == [0, 1]


@pytest.mark.parametrize(("dtype", "ulps"), [(np.float32, 8), (np.float64, 8)])
def test_the_tail_of_the_normal_distribution(dtype, ulps):
    x = np.linspace(0, 12, 2001).astype(dtype)
    exact = np.array([math.erfc(number / math.sqrt(2)) / 2 for number in x.tolist()])
    # Some roundings, and that of x²/2 in the exponent.
    tolerance = ulps * np.finfo(dtype).eps * (1 + x.astype(float) ** 2 / 2)
    assert (abs(normal_tail(x) / exact - 1) < tolerance).all()
    assert normal_tail(x).dtype == dtype
    with np.errstate(under="ignore"):
        assert normal_tail(np.full(3, 40, dtype)).tolist() == [0, 0, 0]


def test_large_arrays_are_worked_on_in_blocks():
    sizes = []

    def difference(a, b, out):
        sizes.append(a.size)
        return np.subtract(a, b, out)

    a, b = np.random.default_rng(0).normal(size=(2, 7, 10_001))
    for first, out in ((a, None), (a, np.empty_like(a)), (a.copy(), "itself")):
        out = first if isinstance(out, str) else out
        y = blockwise(difference, (first, b), out)
        assert out is None or y is out
        np.testing.assert_array_equal(y, a - b)
    assert max(sizes) < 40_000
    assert sum(sizes) == 3 * a.size
    small = np.empty(3)
    assert blockwise(difference, (a[0, :3], b[0, :3]), small) is small
    np.testing.assert_array_equal(small, a[0, :3] - b[0, :3])
    reversed_out = np.empty_like(a)[::-1]
    assert blockwise(difference, (a[::-1], b[::-1]), reversed_out) is reversed_out
    np.testing.assert_array_equal(reversed_out, (a - b)[::-1])


@pytest.mark.parametrize("version", [np.__version__, "1.26.4", "2.0.0", "10.1.0rc1"])
def test_ignored_errors_are_the_callers_again_afterwards(version, monkeypatch):
    monkeypatch.setattr(np, "__version__", version)

    @ignoring("under", "over")
    def product(a, b, *, depth=0):
        """Multiply."""
        assert np.geterr()["under"] == np.geterr()["over"] == "ignore"
        assert np.geterr()["invalid"] == "raise"
        if depth:  # each call has a context of its own
            product(a, b, depth=depth - 1)
            assert np.geterr()["under"] == "ignore"
        if b is None:
            raise KeyError
        return np.multiply(a, b)

    assert (product.__name__, product.__doc__) == ("product", "Multiply.")
    with np.errstate(all="raise"):
        before = np.geterr()
        assert product(1e-200, b=1e-200, depth=2) == 0
        with pytest.raises(KeyError):
            product(1e-200, None)
        assert np.geterr() == before
        with pytest.raises(FloatingPointError):
            np.multiply(1e-200, 1e-200)


def test_a_method_without_its_guard_is_the_function_itself():
    class Halves:
        @ignoring("under")
        def guarded(self, x):
            return x * np.float32(1e-30)

        @functools.wraps(print)
        def wrapped(self, x):
            return x

    halves, tiny = Halves(), np.array([1e-30], np.float32)
    with np.errstate(under="raise"):
        assert halves.guarded(tiny) == 0
        with pytest.raises(FloatingPointError):
            unguarded(halves.guarded)(tiny)
    # A decorator of the user's own stays, and so does what has none.
    assert unguarded(halves.wrapped) == halves.wrapped
    assert unguarded(len) is len
