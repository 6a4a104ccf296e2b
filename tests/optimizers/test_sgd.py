import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import SGD, ArgumentError, Optimizer, StateError


def run(optimizer, n_steps, values, first=0):
    for step in range(first, first + n_steps):
        optimizer.step(values, np.cos(np.arange(len(values)) + step).astype(values.dtype))
    return values


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.5, True)])
def test_sgd_is_the_recurrence(momentum, nesterov):
    values = run(SGD(0.1, momentum, nesterov), 50, np.array([1.0, -2.0]))
    for i, value in enumerate([1.0, -2.0]):
        velocity = 0.0
        for step in range(50):
            grad = np.cos(i + step)
            velocity = momentum * velocity + grad
            value -= 0.1 * (grad + momentum * velocity if nesterov else velocity)
        assert values[i] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, True)], ids=repr)
def test_dtype_and_gradients_are_kept(optimizer, dtype):
    optimizer = copy.deepcopy(optimizer)
    values, grads = np.ones(4, dtype), np.arange(4, dtype=dtype)
    grads.flags.writeable = False
    optimizer.step(values, grads)
    assert values.dtype == dtype
    assert (values[1:] < 1).all()
    for vector in optimizer.state.values():
        assert vector.shape == values.shape
        assert vector.dtype == dtype


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, True)], ids=repr)
def test_a_long_vector_is_stepped_in_blocks_of_the_same_bytes(optimizer):
    size = 3 * (1 << 15) + 77
    whole, parts = copy.deepcopy(optimizer), [copy.deepcopy(optimizer) for _ in range(7)]
    rng = np.random.default_rng(0)
    values = rng.normal(size=size)
    expected = values.copy()
    pieces = np.array_split(expected, 7)  # each short enough to be one block
    for _ in range(3):
        grads = rng.normal(size=size)
        whole.step(values, grads)
        for part, piece, grad in zip(parts, pieces, np.array_split(grads, 7), strict=True):
            part.step(piece, grad)
    assert_array_equal(values, expected)


def test_a_step_makes_no_vector_as_long_as_the_models():
    values, grads = np.ones(1 << 20), np.ones(1 << 20)
    optimizer = SGD(0.1, momentum=0.9, nesterov=True)
    optimizer.step(values, grads)
    tracemalloc.start()
    try:
        optimizer.step(values, grads)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < values.nbytes / 8


def test_state_is_named():
    optimizer = SGD(0.1, momentum=0.9)
    assert optimizer.state == {}
    run(optimizer, 1, np.ones(3))
    assert list(optimizer.state) == ["velocity"]
    plain = SGD(0.1)
    run(plain, 1, np.ones(3))
    assert plain.state == {}


def test_the_learning_rate_may_change_between_steps():
    optimizer, values = SGD(1.0), np.array([10.0])
    optimizer.step(values, np.array([1.0]))
    optimizer.learning_rate = 0.25
    optimizer.step(values, np.array([1.0]))
    assert values == 8.75
    with pytest.raises(ArgumentError):
        optimizer.learning_rate = 0
    assert optimizer.learning_rate == 0.25


@pytest.mark.parametrize("how", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_goes_on_where_it_was(how):
    optimizer = SGD(0.1, momentum=0.9, nesterov=True)
    values = run(optimizer, 7, np.ones(5))
    copied, its_values = how(optimizer), values.copy()
    run(optimizer, 5, values, first=7)
    run(copied, 5, its_values, first=7)
    assert_array_equal(its_values, values)
    assert not np.shares_memory(copied.state["velocity"], optimizer.state["velocity"])


def test_one_optimizer_one_model():
    optimizer, vector = SGD(0.1), np.ones(6)
    optimizer.step(vector[:3], np.ones(3))
    optimizer.step(vector[:3], np.ones(3))  # another view of the same memory
    assert_allclose(vector, [0.8, 0.8, 0.8, 1, 1, 1])
    for other in (vector[3:], vector, np.ones(3)):
        before = other.copy()
        with pytest.raises(StateError, match="another model's"):
            optimizer.step(other, np.ones(len(other)))
        assert_array_equal(other, before)


def test_an_optimizer_of_ones_own_needs_no_super_init():
    class Momentumless(Optimizer):
        def update(self, values, grads, state):
            state["n_steps"] += 1
            values -= grads

        def init_state(self, values):
            return {"n_steps": np.zeros_like(values)}

    optimizer, values = Momentumless(), np.ones(2)
    optimizer.step(values, np.ones(2))
    assert_array_equal(values, [0, 0])
    assert_array_equal(optimizer.state["n_steps"], [1, 1])


def test_repr():
    assert repr(SGD(1)) == "SGD(1.0)"
    assert repr(SGD(0.1, 0.9, nesterov=True)) == "SGD(0.1, 0.9, True)"
    assert repr(SGD(0.1, momentum=0.9)) == "SGD(0.1, 0.9)"
