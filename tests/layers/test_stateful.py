import copy

import numpy as np
import pytest

from layerkit import BatchNorm, Layer, LoadError, Sequential
from layerkit.layers.base import Workspace
from layerkit.layers.stateful import Stateful


class Counts(Layer):
    """Keeps a number, an array that build makes, and one that only training makes."""

    def build(self, input_shape):
        self.n_calls, self.sums = 0, np.zeros(input_shape)
        return input_shape

    def compute_forward(self, x, *, training):
        if training:
            self.n_calls += 1
            self.sums += x.sum(axis=0)
            self.last = x[-1].copy()
        return x.copy(), None

    def compute_backward(self, dy, cache):
        return dy


def trained():
    layer = Counts()
    Sequential([layer], input_shape=(2,)).forward(np.ones((3, 2)), training=True)
    return layer


def test_the_state_is_what_training_changed():
    layer, other = trained(), Counts()
    Sequential([other], input_shape=(2,))
    state = layer.get_state()
    assert set(state) == {"n_calls", "sums", "last"}
    assert set(layer.as_built) == {"n_calls", "sums"}
    assert not layer.as_built["sums"].any()
    other.set_state(copy.deepcopy(state))
    assert other.n_calls == 1
    np.testing.assert_array_equal(other.sums, [3, 3])
    np.testing.assert_array_equal(other.last, [1, 1])


@pytest.mark.parametrize(
    "change", [{"n_calls": "x"}, {"sums": np.zeros(3)}, {"build": 3}, {"__class__": 3}]
)
def test_what_can_not_be_its_state_changes_nothing(change):
    layer = trained()
    before = copy.deepcopy(layer.get_state())
    for refuses in (layer.check_state, layer.set_state):
        with pytest.raises(LoadError, match=r"Counts.set_state"):
            refuses(before | change)
    assert layer.n_calls == 1
    np.testing.assert_array_equal(layer.sums, before["sums"])


def test_copies_are_deep_and_without_workspaces():
    layer = trained()
    layer.workspace(4, lambda n: Workspace())
    copied = copy.copy(layer)
    assert copied.sums is not layer.sums
    assert copied._workspace is None
    assert issubclass(BatchNorm, Stateful)


@pytest.fixture
def scale():
    return Counts()


def test_a_workspace_is_kept_for_a_batch_size_while_it_is_not_in_use(scale):
    made = []

    def take(batch_size):
        workspace = scale.workspace(batch_size, lambda n: made.append(n) or Workspace())
        assert workspace.in_use
        return workspace

    first = take(4)
    second = take(4)
    assert second is not first
    first.in_use = second.in_use = False
    assert {take(4), take(4)} == {first, second}
    assert made == [4, 4]
    take(4)  # a pass that never comes back does not keep others waiting
    take(4).in_use = False
    made.clear()
    for batch_size in (4, 4, 3, 4, 4, 3):
        take(batch_size).in_use = False
    assert made == [3]
    scale.forget_workspace()
    take(4)
    assert made == [3, 4]
    assert Counts._workspace is None
