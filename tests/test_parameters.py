import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from layerkit import Dense, Parameter, Sequential, ShapeError, StateError, Zeros
from layerkit import parameters as flat


@pytest.fixture
def model():
    return Sequential([Dense(3, 2), Dense(2, 2)], seed=0)


def assert_in_place(model):
    """Each parameter is a view of the model's vectors, one behind the other."""
    start = 0
    for parameter in model.parameters:
        stop = start + parameter.size
        for view, vector in [(parameter.value, model.values), (parameter.grad, model.grads)]:
            assert view.base is not None
            assert np.shares_memory(view, vector[start:stop])
            assert_array_equal(view.ravel(), vector[start:stop])
            assert view.flags.c_contiguous
            assert view.dtype == model.dtype
        start = stop
    assert model.values.shape == model.grads.shape == (start,)


def test_views_lie_one_behind_the_other(model):
    assert_in_place(model)


@pytest.mark.parametrize("attribute", ["value", "grad"])
def test_assigning_copies_into_the_view(model, attribute):
    parameter = model[0].kernel
    view = getattr(parameter, attribute)
    new = np.arange(6.0).reshape(3, 2)
    setattr(parameter, attribute, new)
    assert getattr(parameter, attribute) is view
    assert_array_equal(view, new)
    new[:] = 9
    assert view[0, 1] == 1
    assert_in_place(model)


def test_changing_in_place_keeps_the_view(model):
    parameter = model[0].kernel
    view, before = parameter.value, parameter.value.copy()
    parameter.value += 1
    parameter.value *= 2
    parameter.value -= np.ones(2)
    assert parameter.value is view
    assert_array_equal(view, (before + 1) * 2 - 1)
    assert_in_place(model)


def test_assigning_a_part_of_itself_is_safe(model):
    bias = model[1].bias
    bias.value = [1, 2]
    bias.value = bias.value[::-1]
    assert_array_equal(bias.value, [2, 1])


def test_nothing_is_broadcast(model):
    with pytest.raises(ShapeError, match=r"kernel must be of shape \(3, 2\); got \(2,\)"):
        model[0].kernel.value = np.ones(2)
    with pytest.raises(ShapeError, match=r"Parameter.grad: kernel .* got \(\)"):
        model[0].kernel.grad = 1.0


@pytest.mark.parametrize(
    "make_copy", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_a_copy_has_arrays_of_its_own(model, make_copy):
    original = model[0].kernel
    original.grad = np.ones((3, 2))
    original.trainable = False
    copied = make_copy(original)
    assert copied.name == "kernel"
    assert not copied.trainable
    assert_array_equal(copied.value, original.value)
    assert_array_equal(copied.grad, original.grad)
    assert not np.shares_memory(copied.value, model.values)
    assert not np.shares_memory(copied.grad, model.grads)


def test_before_a_model_there_is_no_value():
    parameter = Parameter("factor", (2,), Zeros())
    for attribute in ("value", "grad"):
        with pytest.raises(StateError, match="factor must be part of a model"):
            getattr(parameter, attribute)
    with pytest.raises(StateError):
        parameter.value = np.zeros(2)
    assert not copy.deepcopy(parameter).is_packed


def test_repr():
    parameter = Parameter("factor", (2,), Zeros(), trainable=False)
    assert repr(parameter) == "Parameter('factor', (2,), trainable=False)"
    assert parameter.size == 2
    assert Parameter("factor", (2,), Zeros()).trainable
    assert Parameter("scalar", (), Zeros()).size == 1


def test_stacked_models_are_rows_that_begin_cache_lines():
    models = [Sequential([Dense(3, 2), Dense(2, 1)], seed=seed) for seed in range(3)]
    before = [m.values.copy() for m in models]
    values, grads = flat.stack([m.parameters for m in models], np.dtype(np.float64))
    assert values.shape == grads.shape == (3, 11)
    for k, model in enumerate(models):
        assert_array_equal(values[k], before[k])
        for table, vector in ((values, model.values), (grads, model.grads)):
            assert np.shares_memory(table[k], vector)
            assert vector.ctypes.data % 64 == 0
        room = flat.grads_with_room(model.parameters, model.dtype)
        assert len(room) == 11 + flat.ROOM
        assert np.shares_memory(room[:11], model.grads)
        assert flat.is_whole(model.parameters)
        assert not flat.is_whole(model[:1].parameters)


def test_there_is_room_behind_the_gradients_of_a_model_and_of_a_part():
    model = Sequential([Dense(3, 2), Dense(2, 1)])
    for part, n in ((model, 11), (model[:1], 8), (model[1:], 3), (Sequential([model]), 11)):
        room = flat.grads_with_room(part.parameters, part.dtype)
        assert len(room) == n + flat.ROOM
        assert np.shares_memory(room, part.grads)
        assert room.flags.c_contiguous
