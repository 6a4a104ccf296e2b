"""How far a fit has come: what is added, what goes into a file, and what comes back."""

import numpy as np
from numpy.testing import assert_array_equal

from layerkit.steps.position import Position, no_totals


def example():
    position = Position()
    position.epoch = 2
    position.begin_epoch(1)
    position.order = np.array([2, 0, 1])
    position.step = 1
    position.add(0.5, 2, 3.0, [4.0, 2])
    position.accumulated, position.accumulated_weight = np.array([1.0, 2.0]), 3.0
    position.n_accumulated = 1
    position.settings = {"shuffle": True}
    return position


def test_a_step_is_added_to_all_sums():
    position = example()
    position.add(0.25, 1, 1.0, [5.0, 3])
    assert (position.steps_done, position.n_batches, position.n_samples) == (2, 2, 3)
    assert position.loss_total == 0.5 * 3 + 0.25
    assert position.total_weight == 4
    assert position.totals == [5.0, 3]
    assert position.batch_loss == 0.25
    position.add(0.25, 1, 1.0, None)
    assert position.totals == [5.0, 3]


def test_a_file_has_all_of_it():
    position = example()
    again = Position(position.as_tree())
    left, right = vars(position), vars(again)
    for name in left.keys() - {"is_resumed", "step", "epoch"}:
        assert_array_equal(left[name], right[name], err_msg=name)
    assert (again.epoch, again.step) == (2, 1)
    assert again.is_resumed
    assert not position.is_resumed


def test_what_a_file_has_besides_is_left_alone():
    tree = example().as_tree() | {"add": 1, "__class__": int, "is_resumed": False}
    again = Position(tree)
    assert callable(again.add)
    assert again.is_resumed


def test_numbers_of_numpy_are_numbers_again():
    again = Position(example().as_tree() | {"batch_loss": np.array(0.5, np.float32)})
    assert type(again.batch_loss) is float


def test_the_end_of_an_epoch():
    position = example()
    position.end_epoch()
    assert not position.is_mid_epoch
    assert (position.steps_done, position.order, position.totals) == (0, None, [])
    assert position.epochs_begun == 2


def test_totals_of_an_older_file_and_of_other_ranks():
    assert no_totals(0) == []
    assert no_totals(2) == [0.0, 0.0, 0]
    position = example()
    position.complete_totals(1, is_first=True)
    assert position.totals == [4.0, 2]
    for is_first, counted in ((True, 2), (False, 0)):  # 0.1.0 had no number of samples there
        position.totals = [4.0]
        position.complete_totals(1, is_first=is_first)
        assert position.totals == [4.0, counted]
    position.totals = []
    position.complete_totals(1, is_first=False)
    assert position.totals == [0.0, 0]


def test_an_epoch_without_samples_is_only_to_be_recorded():
    position = Position()
    assert not position.is_only_to_be_recorded
    position.steps_done = 3
    assert position.is_only_to_be_recorded
    assert not example().is_only_to_be_recorded
