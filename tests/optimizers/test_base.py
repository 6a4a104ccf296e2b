import numpy as np

from layerkit import SGD, Adam, Optimizer


def test_steps_are_counted():
    optimizer, values = SGD(0.1), np.ones(2)
    for _ in range(3):
        optimizer.step(values, values)
    assert optimizer.n_steps == 3


def test_another_goes_on_by_state_and_attributes():
    first, values = Adam(0.1), np.ones(3)
    for _ in range(4):
        first.step(values, 2 * values)
    first.learning_rate = 0.05
    second, there = Adam(0.3), values.copy()
    second.set_state(first.state, first.attributes())
    for optimizer, x in ((first, values), (second, there)):
        for _ in range(3):
            optimizer.step(x, 2 * x)
    assert values.tobytes() == there.tobytes()
    assert second.learning_rate == 0.05
    assert not np.shares_memory(first.state["mean"], second.state["mean"])


def test_attributes_of_a_class_of_ones_own():
    class Counting(Optimizer):
        def __init__(self):
            self.learning_rate, self.seen, self.room = 1.0, 3, np.ones(2)

        def update(self, values, grads, state):
            pass

    assert Counting().attributes() == {"learning_rate": 1.0, "n_steps": 0, "seen": 3}
