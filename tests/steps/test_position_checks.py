"""Positions from a file: each number is of its kind, in its range, and of these data."""

import numpy as np
import pytest

from layerkit import LoadError
from layerkit.steps.position import Position
from layerkit.steps.position_checks import (
    check_held_out,
    check_place,
    check_position,
    totals_fit,
)

VALUES = np.zeros(2)


def example():
    position = Position()
    position.epoch = 2
    position.begin_epoch(1)
    position.order = np.array([2, 0, 1])
    position.add(0.5, 2, 3.0, [4.0, 2])
    position.accumulated, position.accumulated_weight = np.array([1.0, 2.0]), 3.0
    position.n_accumulated = 1
    position.held_out = np.array([1, 4])
    position.settings = {"shuffle": True, "batch_size": 2}
    return position.as_tree()


def test_what_is_written_is_taken():
    check_position("here", example(), VALUES)
    check_position("here", Position().as_tree(), VALUES)  # before any fit
    # A loss of one's own may compute NumPy's numbers.
    check_position("here", example() | {"batch_loss": np.array(0.5, np.float32)}, VALUES)
    settings = {"a" * 99: None, "b": "x" * 100, "c": True, "d": -3}
    check_position("here", example() | {"settings": settings}, VALUES)
    # Of metrics that count for each class.
    for kind in (np.int64, np.uint8, np.float32):
        check_position("here", example() | {"totals": [0.5, np.ones((3, 2), kind), 2]}, VALUES)
    for engine in ("numpy", "parts", "numba"):
        check_position("here", example() | {"arithmetic": engine}, VALUES)
    # All samples so far have had a weight of 0.
    check_position("here", example() | {"accumulated": (np.ones(2), 0.0, 1)}, VALUES)


COUNTS = [None, "1", 1.5, True, -1, 2**60, 10**400, [1], np.array(1.5)]
WRONG = [(name, value) for name in ("epoch", "step", "n_samples", "n_batches") for value in COUNTS]
WRONG += [
    (name, value)
    for name in ("loss_total", "total_weight", "batch_loss")
    for value in (None, "1", True, [1], np.ones(2), 10**400)
]
WRONG += [("total_weight", value) for value in (-1.0, float("nan"), float("inf"))]
WRONG += [(name, value) for name in ("is_mid_epoch", "stopped") for value in (None, 1, "x", [])]
WRONG += [("settings", value) for value in (None, [], {1: 2}, {"a": np.ones(2)}, {"a": [1]}, "x")]
WRONG += [("settings", value) for value in ({"a" * 100: 1}, {"a": "x" * 101}, {"a": 0.5})]
WRONG += [("arithmetic", value) for value in ("else", 3, ["numpy"], np.ones(2), {})]
WRONG += [
    ("order", value)
    for value in (
        3,
        [0, 1, 2],
        np.array([0, 1, 3]),
        np.array([0, 1, 10**9]),
        np.array([0, 1, -1]),
        np.array([0, 1, 1]),
        np.array([0.0, 1, 2]),
        np.array([0, 1, 2], np.int32),
        np.array([[0, 1, 2]]),
        np.array([True, False]),
        np.array(0),
    )
]
WRONG += [
    ("held_out", value)
    for value in (3, [1], np.array([-1]), np.array([0.5]), np.ones((2, 2), int), np.array([], int))
]
WRONG += [("totals", value) for value in (None, 3, ("x",), ["x"], [None], [True], [np.ones(2) > 0])]
WRONG += [("totals", [np.ones(2, np.complex128)])]
WRONG += [
    ("accumulated", value)
    for value in (
        3,
        [np.ones(2), 1.0, 1],
        (np.ones(2), 1.0),
        (None, 1.0, 1),
        (np.ones(3), 1.0, 1),
        (np.ones((2, 1)), 1.0, 1),
        (np.ones(2, np.float16), 1.0, 1),
        (np.array([1, np.nan]), 1.0, 1),
        (np.array([1, np.inf]), 1.0, 1),
        (np.ones(2), -1.0, 1),
        (np.ones(2), float("nan"), 1),
        (np.ones(2), float("inf"), 1),
        (np.ones(2), "x", 1),
        (np.ones(2), 1.0, 0),
        (np.ones(2), 1.0, 1.5),
        (np.ones(2), 1.0, "x"),
    )
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_what_is_not_a_position(name, value):
    with pytest.raises(LoadError, match=rf"here: the position's {name}.* must be"):
        check_position("here", example() | {name: value}, VALUES)
    tree = example()
    del tree[name]
    with pytest.raises(LoadError, match=f"the position's {name} must be in the file; got nothing"):
        check_position("here", tree, VALUES)


@pytest.mark.parametrize("tree", [None, 3, [], {}])
def test_what_has_none_of_it(tree):
    with pytest.raises(LoadError, match="here: the position"):
        check_position("here", tree, VALUES)


def test_nobody_is_in_the_middle_of_epoch_0():
    with pytest.raises(LoadError, match="epoch must be at least 1 inside of one; got 0"):
        check_position("here", example() | {"epoch": 0}, VALUES)


def test_a_place_in_the_data():
    check_place("here", example(), 3, 2, 2)
    check_place("here", example() | {"order": None}, None, None, 2)
    check_place("here", example() | {"accumulated": None}, 3, 2, 1)
    check_place("here", example() | {"step": 2, "n_batches": 4}, 3, 2, 2)
    for tree, arguments, message in (
        ({}, (4, 2, 2), "order must be that of 4 samples"),
        ({}, (None, 2, 2), "order must be that of no samples"),
        ({"step": 3}, (3, 2, 2), "step must be at most 2; got 3"),
        ({"n_batches": 5}, (3, 2, 2), "n_batches must be at most 2 an epoch; got 5"),
        ({}, (3, 2, 1), "accumulated must be fewer than 1 batches; got 1"),
    ):
        with pytest.raises(LoadError, match=f"here: the position's {message}"):
            check_place("here", example() | tree, *arguments)


def test_samples_that_are_held_out():
    check_held_out("here", None, 3)
    check_held_out("here", np.array([0, 2]), 3)
    for wrong in ([0, 3], [1, 1], [0, 1, 2], [0, 10**12]):
        with pytest.raises(LoadError, match="held_out must be some of 3 samples, each once"):
            check_held_out("here", np.array(wrong), 3)


def test_totals_of_metrics():
    sample = [1.5, np.ones((3, 2))]
    for right in (
        [2.0, np.zeros((3, 2)), 4],
        [2.0, np.zeros((3, 2))],  # of version 0.1.0
        [0.0, 0.0, 0],  # before the first batch
        [np.array(2.0), np.zeros((3, 2), int), 4],
    ):
        assert totals_fit(right, sample, 2, 4, is_whole=True)
        assert totals_fit(right, None, 2, 4, is_whole=True)
    for wrong in (
        [2.0, 1.0, 4],
        [2.0, np.zeros((2, 2)), 4],
        [2.0, np.zeros((2, 3)), 4],
        [np.zeros(2), np.zeros((3, 2)), 4],
        [2.0, 0.0, 4],  # 0 of an array, though samples were seen
        [2.0, 0.0],
    ):
        assert not totals_fit(wrong, sample, 2, 4, is_whole=True)
    for wrong in ([2.0], [2.0, 1.0, 4, 5], [2.0, 1.0, np.ones(2)]):
        assert not totals_fit(wrong, sample, 2, 4, is_whole=True)
        assert not totals_fit(wrong, None, 2, 4, is_whole=True)
    assert totals_fit([0.0, 0.0], sample, 2, 0, is_whole=True)
    assert not totals_fit([0.0, 0.5], sample, 2, 0, is_whole=True)
    assert not totals_fit([np.zeros(2), 0.0], sample, 2, 0, is_whole=True)
    assert not totals_fit([0.0, 0.0, 4], sample, 2, 0, is_whole=True)  # its own number counts
    assert not totals_fit([], sample, 2, 4, is_whole=True)
    assert totals_fit([], sample, 2, 4, is_whole=False)  # where another rank has them


def test_totals_that_are_lists_and_tuples():
    """A list may have more arrays, and longer ones, than that of a batch; a tuple is a record."""
    sample = [[np.zeros((3, 4))], (np.zeros((3, 2)), 1.0)]
    for right in (
        sample,
        [[np.zeros((3, 40)), np.zeros((3, 1))], (np.ones((3, 2)), 0.5)],
    ):
        assert totals_fit([*right, 4], sample, 2, 4, is_whole=True)
    assert totals_fit([0.0, 0.0, 0], sample, 2, 0, is_whole=True)
    for wrong in (
        [[np.zeros((2, 4))], sample[1]],
        [[np.zeros(3)], sample[1]],
        [[np.zeros((3, 4)), 1.0], sample[1]],
        [np.zeros((3, 4)), sample[1]],
        [1.0, sample[1]],
        [(np.zeros((3, 4)),), sample[1]],
        [sample[0], [np.zeros((3, 2)), 1.0]],
        [sample[0], (np.zeros((3, 3)), 1.0)],
        [sample[0], (np.zeros((3, 2)),)],
        [sample[0], (np.zeros((3, 2)), [1.0])],
        [sample[0], np.zeros((3, 2))],
    ):
        assert not totals_fit([*wrong, 4], sample, 2, 4, is_whole=True)
    assert not totals_fit([[np.ones(2)], 4], [np.ones(2)], 1, 4, is_whole=True)


@pytest.mark.parametrize("total", [[], (), ["x"], [[[[[1.0]]]]], [np.ones(2) > 0]])
def test_lists_that_are_no_totals(total):
    with pytest.raises(LoadError, match="the position's totals must be a list of numbers and arr"):
        check_position("here", example() | {"totals": [total, 4]}, VALUES)
