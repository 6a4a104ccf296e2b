"""How arrays of wrong gradients are compared."""

import numpy as np

from layerkit.testing.comparison import Comparison
from layerkit.testing.evidence import Evidence, every, pairs, same, wrong_and_right


def evidence(gradient, moves, wrong, unclear, numeric=None):
    gradient = np.array(gradient, float)
    numeric = np.ones(len(moves)) if numeric is None else np.array(numeric, float)
    wrong, unclear = np.array(wrong, bool), np.array(unclear, bool)
    comparison = Comparison("x", moves, numeric * 2, numeric, wrong, unclear, 0.0, gradient, [])
    return Evidence(None, {"arrays": {"x": gradient}}, {}, comparison, np.ones(1))


def test_the_same_to_a_tolerance_where_both_are_known():
    a = np.array([1.0, np.nan, 3.0])
    assert same(a, np.array([1.0, 7.0, 3.0]))
    assert same(a, np.array([1.00001, 7.0, 3.0]))
    assert not same(a, np.array([1.001, 7.0, 3.0]))
    assert not same(a, np.array([1.0, 3.0]))
    assert not same(np.full(2, np.nan), np.ones(2))
    assert not same(np.zeros(2), np.zeros(2))  # says nothing


def test_what_was_not_looked_at_is_neither_wrong_nor_right():
    direction = np.ones((2, 2)) / 2
    item = evidence(np.ones((2, 2)), [0, 1, 3, direction], [1, 0, 0, 1], [0, 0, 1, 0])
    wrong, right = wrong_and_right(item)
    assert wrong.tolist() == [[True, False], [False, False]]
    assert right.tolist() == [[False, True], [False, False]]


def test_pairs_and_every():
    items = [evidence([2.0, 2.0], [0, 1], [1, 1], [0, 0], [1.0, 1.0]) for _ in range(2)]
    assert [numeric.tolist() for _, _, numeric in pairs(items)] == [[1, 1], [1, 1]]
    assert every(items, lambda item, analytic, numeric: same(analytic, 2 * numeric))
    items.append(evidence([1.0, 2.0], [0, 1], [0, 1], [0, 0], [1.0, 1.0]))
    assert not every(items, lambda item, analytic, numeric: same(analytic, 2 * numeric))
    assert items[0].batch_size == 2
    assert items[0].before is None
