import numpy as np

from layerkit.metrics.weights import at_positions, count, mean_sum

RNG = np.random.default_rng(0)


def test_sums_of_means():
    values, weight = RNG.normal(size=(4, 3)), np.array([0.5, 2.0, 0.0, 1.0])
    assert np.isclose(mean_sum(values, None), values.mean(axis=1).sum(), rtol=1e-14)
    assert np.isclose(mean_sum(values, weight), values.mean(axis=1) @ weight, rtol=1e-14)
    assert mean_sum(values[:, 0], weight) == values[:, 0] @ weight
    assert mean_sum(np.full((4, 1), 0.1, np.float32), weight) == 3.5 * float(np.float32(0.1))


def test_positions_weigh_what_their_sample_does():
    assert at_positions(np.array([1, 2]), 6).tolist() == [1, 1, 1, 2, 2, 2]
    assert at_positions(None, 2).tolist() == [1, 1]


def test_counts():
    marks = np.array([[True, False], [True, True]])
    assert count(marks, None).tolist() == [2, 1]
    assert count(marks, np.array([0.5, 0.25])).tolist() == [0.75, 0.25]
    assert count(marks, np.array([0.5])).tolist() == [1.0, 0.5]
