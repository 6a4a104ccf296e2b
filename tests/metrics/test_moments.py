import numpy as np
import pytest

from layerkit.metrics.moments import merged_moments, moments

RNG = np.random.default_rng(0)
A, B = RNG.normal(5, 1, size=(9, 2)), RNG.normal(size=(9, 2))
WEIGHT = np.array([1.0, 0.5, 2, 0, 3, 1, 1, 0.25, 4])


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_moments_of_parts_are_those_of_the_whole(weight):
    w = np.ones(9) if weight is None else weight
    means = [np.average(values, axis=0, weights=w) for values in (A, B)]
    da, db = A - means[0], B - means[1]
    expected = [[w.sum()] * 2, *means, w @ (da * da), w @ (db * db), w @ (da * db)]
    np.testing.assert_allclose(moments(A, B, weight), expected, rtol=1e-13)
    parts = [moments(A[k], B[k], None if weight is None else w[k]) for k in (slice(4), slice(4, 9))]
    kept = [part.copy() for part in parts]
    np.testing.assert_allclose(merged_moments(*parts), expected, rtol=1e-13)
    np.testing.assert_array_equal(parts, kept)
    assert merged_moments(0.0, parts[0]) is merged_moments(parts[0], 0.0) is parts[0]


def test_equal_numbers_have_no_deviation():
    found = moments(np.full((7, 1), 0.1), np.full((7, 1), 1e9 + 0.3), None)
    assert found[3:].tolist() == [[0], [0], [0]]
    assert not moments(A[:1], B[:1], np.zeros(1))[[0, 3, 4, 5]].any()
