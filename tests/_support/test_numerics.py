import numpy as np
import pytest

from layerkit import ArgumentError
from layerkit._support.numerics import CONSTANTS, sigmoid


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
