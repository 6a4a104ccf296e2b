"""Near overflow, all engines come to one verdict, which is NumPy's."""

import itertools

import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from small_fits import targets

from layerkit import (
    ELU,
    GELU,
    SGD,
    Dense,
    HalfSquaredError,
    Identity,
    LeakyReLU,
    MeanSquaredError,
    NonFiniteError,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SiLU,
    Softmax,
    SoftmaxCrossEntropy,
    Softplus,
    Tanh,
    Trainer,
)
from layerkit.engines import compiled as compiled_module
from layerkit.engines import parts as parts_module

ACTIVATIONS = [
    *(Identity(), Sigmoid(), Tanh(), ReLU(), LeakyReLU(0.1)),
    *(ELU(0.7), Softplus(), SiLU(), GELU(approximate=True), Softmax()),
]
ENGINES = ("numpy", "numba")
LOSSES = [
    *(HalfSquaredError(), MeanSquaredError(), SigmoidCrossEntropy()),
    *(SoftmaxCrossEntropy(), SoftmaxCrossEntropy("probabilities")),
]


def outcome(engine, make, x, y, **options):
    """Return what a fit came to: its error or its losses, and the parameters' bytes."""
    trainer = make(engine)
    try:
        end = list(trainer.fit(x, y, **options)["loss"])
    except NonFiniteError as error:
        end = str(error)
    assert trainer.engine_used.name == engine
    return end, trainer.model.values, trainer.optimizer.n_steps


def draw_problem(seed):
    """Draw a small network and data, with numbers of any size, of which some overflow."""
    rng = np.random.default_rng(seed)
    dtype, largest = [(np.float32, 36), (np.float64, 300)][rng.integers(2)]
    n_layers = rng.integers(1, 4)
    widths = [*rng.integers(1, 4, n_layers), rng.integers(2, 4)]
    exponents = rng.random(n_layers + 1) ** rng.integers(1, 6) * largest
    exponents *= rng.random(n_layers + 1) < 0.6
    n, loss = int(rng.integers(1, 4)), LOSSES[rng.integers(len(LOSSES))]
    activations = [ACTIVATIONS[i] for i in rng.integers(len(ACTIVATIONS), size=n_layers)]
    biases = rng.random(n_layers) < 0.5
    options = {"momentum": 0.9, "nesterov": True} if rng.random() < 0.5 else {}

    def sparse(shape, exponent):
        return rng.normal(size=shape) * (rng.random(shape) < 0.75) * 10.0**exponent

    x = sparse((n, widths[0]), exponents[0]).astype(dtype)
    pairs = list(itertools.pairwise(widths))
    kernels = [sparse(shape, e) for shape, e in zip(pairs, exponents[1:], strict=True)]
    y = targets(loss, n, widths[-1], rng)

    def make(engine):
        layers = [
            Dense(int(a), int(b), activation, use_bias=bool(bias))
            for (a, b), activation, bias in zip(pairs, activations, biases, strict=True)
        ]
        model = Sequential(layers, seed=0, dtype=dtype)
        for layer, kernel in zip(layers, kernels, strict=True):
            layer.kernel.value = kernel
        return Trainer(model, loss, SGD(1e-3, **options), engine=engine)

    return make, x, y


@given(seed=st.integers(0, 2**32 - 1))
@example(seed=2703)
@example(seed=2868)
@example(seed=3214)
@example(seed=3346)
@settings(max_examples=400, deadline=None)
def test_a_step_is_made_or_refused_by_both_engines(seed):
    make, x, y = draw_problem(seed)
    fit = {"epochs": 1, "batch_size": len(x), "shuffle": False}
    ends = [outcome(engine, make, x, y, **fit) for engine in ENGINES]
    (numpys, values, n_steps), (compiled, others, n_others) = ends
    event("refused" if isinstance(numpys, str) else "made")
    if isinstance(numpys, str):
        assert compiled == numpys
        assert n_steps == n_others == 0
        start = make("numpy").model.values.tobytes()
        assert values.tobytes() == others.tobytes() == start
    else:
        # Numbers aren't compared: sums of all sizes are as exact as their largest summand.
        assert not isinstance(compiled, str), compiled
        assert n_steps == n_others == 1


def trainers(*layers, kernels, dtype=np.float64, optimizer=lambda: SGD(1e-3)):
    """Return a function that makes a trainer on an engine, of a model with these kernels."""

    def make(engine):
        model = Sequential([Dense(*layer, use_bias=False) for layer in layers], dtype=dtype)
        model.set_weights([np.array(kernel) for kernel in kernels])
        return Trainer(model, HalfSquaredError(), optimizer(), engine=engine)

    return make


MOMENTUM = [lambda: SGD(1e-3), lambda: SGD(1e-3, 0.9)]


@pytest.mark.parametrize("optimizer", MOMENTUM)
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("place", [0, 3, 7])
@pytest.mark.parametrize(("dtype", "huge"), [(np.float32, 3e37), (np.float64, 1e307)])
def test_a_sum_of_opposite_infinities_is_what_numpy_says(dtype, huge, place, batch_size, optimizer):
    # Minus infinity in one order of operations, which the sigmoid takes to 0, and NaN in another.
    kernels = [[100.0], [100.0], [100.0]], [[0.5]]
    layers = (3, 1, Sigmoid()), (1, 1)
    make = trainers(*layers, kernels=kernels, dtype=dtype, optimizer=optimizer)
    x = np.zeros((8, 3))
    x[place] = -huge, huge / 2, huge / 3
    fit = {"epochs": 3, "batch_size": batch_size, "shuffle": False}
    numpys, compiled = (outcome(engine, make, x, x[:, :1] * 0, **fit) for engine in ENGINES)
    if isinstance(numpys[0], str):
        assert compiled[0] == numpys[0]
        assert f"epoch 1, step {place // batch_size + 1}, " in compiled[0]
        assert "NaN or infinity first in the output of layers[0], Dense(3, 1" in compiled[0]
    else:
        assert_allclose(compiled[0], numpys[0], rtol=1e-5)
    assert_allclose(compiled[1], numpys[1], rtol=1e-5)
    assert compiled[2] == numpys[2]


@pytest.mark.parametrize("optimizer", MOMENTUM)
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(
    ("kernels", "x", "y"),
    [
        # The gradient of the hidden unit is infinite, and that of a zero beside it NaN.
        (([[0.5], [0.5]], [[1e200]]), [0.0, 0.0], 1e150),
        # A gradient that overflows, times a rate that brings it back.
        (([[0.0], [0.0]], [[1.0]]), [1e180, 0.0], 1e150),
        (([[1e90], [0.0]], [[0.0]]), [1e90, 0.0], 1e150),
    ],
)
def test_gradients_that_overflow_where_a_kernel_needs_none_are_refused(
    kernels, x, y, batch_size, optimizer
):
    def tiny_steps():
        chosen = optimizer()
        chosen.learning_rate = 1e-250
        return chosen

    make = trainers((2, 1), (1, 1), kernels=kernels, optimizer=tiny_steps)
    # Not in the last step, behind which the engine looks at the gradients.
    data = np.array([[0.0, 0.0], x, [0.0, 0.0], [0.0, 0.0]]), np.array([[1.0], [y], [1.0], [1.0]])
    fit = {"epochs": 2, "batch_size": batch_size, "shuffle": False}
    numpys, compiled = (outcome(engine, make, *data, **fit) for engine in ENGINES)
    assert compiled[0] == numpys[0]
    assert f"step {2 // batch_size}, samples [{2 - batch_size}" in compiled[0]
    assert "infinity first in the gradient of 'kernel' of layers[" in compiled[0]
    assert compiled[1].tobytes() == numpys[1].tobytes()


@pytest.mark.parametrize("optimizer", MOMENTUM)
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_infinity_that_leaves_loss_and_gradient_finite_is_trained_on(
    dtype, batch_size, optimizer, monkeypatch
):
    huge = 1e30 if dtype == np.float32 else 1e200
    layers = (1, 1, Tanh()), (1, 1)
    make = trainers(*layers, kernels=([[huge]], [[0.5]]), dtype=dtype, optimizer=optimizer)
    x = np.linspace(-1, 1, 6)[:, None] / huge
    x[[1, 2, 3]] = huge
    calls = []
    kernel_call = compiled_module.CompiledEngine._run
    spy = lambda engine, n: calls.append(n) or kernel_call(engine, n)  # noqa: E731
    monkeypatch.setattr(compiled_module.CompiledEngine, "_run", spy)
    fit = {"epochs": 50, "batch_size": batch_size, "shuffle": False}
    numpys, compiled = (outcome(engine, make, x, np.cos(x), **fit) for engine in ENGINES)
    tolerance = 1e-4 if dtype == np.float32 else 1e-11  # roundings of 300 steps
    assert_allclose(compiled[0], numpys[0], rtol=tolerance)
    assert_allclose(compiled[1], numpys[1], rtol=tolerance)
    assert compiled[2] == numpys[2] == 50 * 6 // batch_size
    assert len(calls) < 4 * compiled[2]  # a step that is NumPy's costs few calls, at any place


@pytest.mark.parametrize("loss", [HalfSquaredError(), MeanSquaredError()])
def test_a_compiled_loss_of_a_batch_overflows_where_numpys_does(loss, monkeypatch):
    monkeypatch.setattr(parts_module, "_LOADING_COST", 0)
    x = np.zeros((300, 20), np.float32)
    x[:, 0] = 1.5e19  # each squared error is below 3.4e38, their sum is not
    ends = []
    for engine in ("numpy", "auto"):
        model = Sequential([Dense(20, 1, use_bias=False)], dtype=np.float32)
        model.set_weights([np.ones((20, 1))])
        trainer = Trainer(model, loss, SGD(1e-38), engine=engine)
        with pytest.raises(NonFiniteError, match="got a loss of inf") as caught:
            trainer.fit(x, -x[:, :1] / 6, epochs=1, batch_size=len(x), shuffle=False)
        ends.append((str(caught.value), model.values.tobytes(), trainer.setup.position.arithmetic))
    assert ends[0][:2] == ends[1][:2]
    assert [end[2] for end in ends] == ["numpy", "parts"]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_data_beyond_the_models_dtype_is_refused_in_the_step_that_takes_it(batch_size):
    x = np.linspace(-1, 1, 6)[:, None]
    x[3] = 1e300  # infinite in float32
    make = trainers((1, 1), kernels=[[[0.5]]], dtype=np.float32)
    fit = {"epochs": 2, "batch_size": batch_size, "shuffle": False}
    numpys, compiled = (outcome(engine, make, x, np.cos(x), **fit) for engine in ENGINES)
    assert compiled[0] == numpys[0]
    assert f"epoch 1, step {3 // batch_size + 1}, " in numpys[0]
    assert_allclose(compiled[1], numpys[1], rtol=1e-6)


@pytest.mark.parametrize("loss", [HalfSquaredError(), MeanSquaredError()])
def test_losses_whose_sum_overflows_are_refused_by_both_engines(loss):
    x, y = np.zeros((2, 6, 1))
    y[4:] = 2e19  # half of each squared error is below 3.4e38, the sum of two is not
    y *= 0.7 if isinstance(loss, MeanSquaredError) else 1

    def make(engine):
        model = Sequential([Dense(1, 1, use_bias=False)], dtype=np.float32)
        model.set_weights([np.ones((1, 1))])
        return Trainer(model, loss, SGD(1e-38), engine=engine)

    fit = {"epochs": 1, "batch_size": 2, "shuffle": False}
    numpys, compiled = (outcome(engine, make, x, y, **fit) for engine in ENGINES)
    assert (
        "epoch 1, step 3, samples [4, 5], and its gradient must be finite; got a loss of inf"
        in (numpys[0])
    )
    assert compiled[0] == numpys[0]
    assert compiled[1] == numpys[1] == 1
    assert compiled[2] == numpys[2] == 2
