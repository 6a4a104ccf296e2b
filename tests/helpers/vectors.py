"""Where the parameters of a model are to lie."""

import numpy as np
from numpy.testing import assert_array_equal


def assert_in_place(model):
    """Each parameter is a view of the model's vectors, one behind the other."""
    start = 0
    for parameter in model.parameters:
        stop = start + parameter.size
        for view, vector in [(parameter.value, model.values), (parameter.grad, model.grads)]:
            assert np.shares_memory(view, vector[start:stop])
            assert_array_equal(view.ravel(), vector[start:stop])
        start = stop
    assert model.values.shape == model.grads.shape == (start,)
    assert model.values.dtype == model.grads.dtype == model.dtype
