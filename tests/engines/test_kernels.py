"""The kernels' own arithmetic; what they do together is tested in test_compiled.py."""

import ctypes
import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from layerkit import (
    GELU,
    SGD,
    ArgumentError,
    Dense,
    HalfSquaredError,
    LogSoftmax,
    Sequential,
    Sigmoid,
    Softmin,
    Sparsemax,
    Tanh,
    Trainer,
)
from layerkit.activations import Activation
from layerkit.engines import kernels as _kernels
from layerkit.engines import tables
from layerkit.metrics import Metric
from layerkit.testing.strategies import concrete


@pytest.mark.parametrize("n", [1, 2, 3, 8, 100, 70_000])
def test_permutations_are_numpys(n):
    ours, numpys = np.random.default_rng(n), np.random.default_rng(n)
    order = np.empty((3, n), np.int64)
    _kernels.permutations(ours, order)
    assert_array_equal(order, [numpys.permutation(n) for _ in range(3)])
    assert ours.bit_generator.state == numpys.bit_generator.state


def test_the_codes_are_in_the_order_of_the_classes():
    names = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus"]
    names += ["silu", "gelu", "softmax"]
    assert [getattr(_kernels, name.upper()) for name in names] == list(range(10))
    kinds = [kind.__name__.lower() for kind in tables.ACTIVATIONS]
    assert kinds == [name.replace("_", "") for name in names]
    assert tables.METRICS[_kernels.OTHER] is Metric


def test_each_activation_is_compiled_unless_it_mixes_the_units():
    made = [kind() for kind in concrete(Activation)]
    assert {kind for kind in tables.ACTIVATIONS} <= {type(activation) for activation in made}
    others = [a for a in made if tables.code_of(a) == _kernels.CUSTOM]
    mixing = {type(a) for a in others if a.scalar_functions() is None}
    assert mixing == {LogSoftmax, Softmin, Sparsemax}
    assert GELU in {type(activation) for activation in others}
    assert tables.code_of(GELU(approximate=True)) == _kernels.GELU
    for kind in mixing:
        model = Sequential([Dense(2, 3, kind())], seed=0)
        trainer = Trainer(model, HalfSquaredError(), SGD(0.1), engine="numba")
        message = rf"{kind.__name__}\(\) computes with all units of a sample"
        with pytest.raises(ArgumentError, match=message):
            trainer.fit(np.ones((4, 2)), np.ones((4, 3)), epochs=1, batch_size=1)


def test_one_kernel_serves_all_networks():
    # A network of other sizes, or of other activations, compiles nothing.
    compiled = None
    for widths, activation in (((2, 3, 1), Sigmoid()), ((5, 4, 4, 2), Tanh())):
        layers = [Dense(a, b, activation) for a, b in itertools.pairwise(widths)]
        trainer = Trainer(Sequential(layers, seed=0), HalfSquaredError(), SGD(0.1), engine="numba")
        x, y = np.ones((4, widths[0])), np.ones((4, widths[-1]))
        trainer.fit(x, y, epochs=2, batch_size=1)
        now = len(_kernels.run.overloads)
        assert compiled in (None, now)
        compiled = now


def test_scalar_functions_become_loops():
    forward, backward = _kernels.compile_scalar(lambda z: z * z, lambda z, y: z + y, np.float32)
    z, y = np.array([1, 2, 3], np.float32), np.zeros(3, np.float32)
    dy = np.array([1, 10, 100], np.float32)

    def pointer(array):
        return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))

    forward.ctypes(pointer(dy), pointer(z), pointer(y), 3)
    assert_array_equal(y, [1, 4, 9])
    backward.ctypes(pointer(dy), pointer(z), pointer(y), 3)
    assert_array_equal(dy, [2, 60, 1200])
