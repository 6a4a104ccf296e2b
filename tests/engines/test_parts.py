"""The compiled parts of the NumPy engine."""

import copy
import itertools
import math
import pickle
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from small_fits import (
    Cubic,
    SlowDown,
    Square,
    fit,
    targets,
)

from layerkit import (
    SGD,
    Adam,
    AdamW,
    Dense,
    HalfSquaredError,
    Lamb,
    Layer,
    MeanSquaredError,
    ParameterGroup,
    ReLU,
    Sequential,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
)
from layerkit.engines import kernels as _kernels
from layerkit.engines import parts as parts_module
from layerkit.engines.parts import compiled_parts


def wide_trainer(name, loss=None, layer=None):
    widths = (6, 60, 40, 3)  # of more parameters than a compiled step begins to pay for
    layers = [Dense(a, b, ReLU()) for a, b in itertools.pairwise(widths)]
    model = Sequential([*layers, *([layer] if layer else [])], seed=0)
    loss = loss or SoftmaxCrossEntropy()
    optimizer = SGD(0.01, momentum=0.9, nesterov=True)
    return Trainer(model, loss, optimizer, seed=0, engine=name)


LOSSES = [HalfSquaredError(), MeanSquaredError(), SigmoidCrossEntropy(), SoftmaxCrossEntropy()]


@pytest.mark.parametrize("loss", [*LOSSES, SoftmaxCrossEntropy("probabilities")], ids=repr)
def test_the_numpy_engine_borrows_compiled_parts(loss, monkeypatch):
    monkeypatch.setattr(parts_module, "_LOADING_COST", 0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 6)), targets(loss, 70, 3, rng)
    calls = []
    for kernel in ("lose", "descend"):
        compiled = getattr(_kernels, kernel)
        spy = lambda *a, f=compiled, k=kernel: calls.append(k) or f(*a)  # noqa: E731
        monkeypatch.setattr(_kernels, kernel, spy)
    trainers = {}
    for name in ("auto", "numpy"):
        trainers[name] = wide_trainer(name, loss, layer=Square())
        trainers[name].fit(x, y, epochs=4, batch_size=32)
        assert trainers[name].engine_used.name == "numpy"
    assert calls == ["lose", "descend"] * 12  # neither of them with engine="numpy"
    auto, plain = trainers.values()
    assert_allclose(auto.model.values, plain.model.values, rtol=1e-11, atol=1e-13)
    assert_allclose(auto.history["loss"], plain.history["loss"], rtol=1e-12)
    velocity = plain.optimizer.state["velocity"]
    assert_allclose(auto.optimizer.state["velocity"], velocity, rtol=1e-10, atol=1e-12)
    # Read-only targets are of the same type to numba.
    y.flags.writeable = False
    n_compiled = len(_kernels.run.overloads)
    auto.fit(x, y, epochs=1, batch_size=32)
    assert len(_kernels.run.overloads) == n_compiled
    pickle.loads(pickle.dumps(auto))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("make", [lambda: Adam(0.01), lambda: AdamW(0.01, weight_decay=0.1)])
def test_adams_step_is_compiled_too(make, dtype, monkeypatch):
    monkeypatch.setattr(parts_module, "_LOADING_COST", 0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 40)), rng.normal(size=(70, 30))
    ends = {}
    for name in ("auto", "numpy"):
        model = Sequential([Dense(40, 50, Tanh()), Dense(50, 30)], seed=0, dtype=dtype)
        trainer = Trainer(model, HalfSquaredError(), make(), seed=0, engine=name)
        trainer.fit(x, y, epochs=6, batch_size=32)
        assert trainer.optimizer.n_steps == 18
        ends[name] = [model.values, *trainer.optimizer.state.values()]
    tolerance = 1e-10 if dtype == "float64" else 2e-3
    for first, second in zip(*ends.values(), strict=True):
        assert_allclose(first, second, rtol=tolerance, atol=tolerance * 1e-2)
    assert (ends["auto"][0] != ends["numpy"][0]).any()  # indeed another way to compute it


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adam(0.01, amsgrad=True),
        lambda: Lamb(0.01),
        lambda: SGD(0.01, 0.9, dampening=0.5),
        lambda: SGD(0.01, coupled_decay=0.5),
    ],
)
def test_other_steps_are_numpys(make, monkeypatch):
    monkeypatch.setattr(parts_module, "_LOADING_COST", 0)
    model = Sequential([Dense(40, 50, Tanh()), Dense(50, 30)], seed=0)
    assert compiled_parts(model, HalfSquaredError(), make(), 1e9)[0] is None
    assert compiled_parts(model, HalfSquaredError(), SGD(0.01, 0.9), 1e9)[0] is not None


def test_groups_keep_their_own_steps(monkeypatch):
    monkeypatch.setattr(parts_module, "_LOADING_COST", 0)
    model = Sequential([Dense(40, 50, name="first"), Dense(50, 30, name="last")], seed=0)
    before = model["first"].kernel.value.copy()
    groups = [ParameterGroup(["first"], frozen=True)]
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), groups=groups)
    trainer.fit(np.ones((4, 40)), np.ones((4, 30)), epochs=1)
    assert (model["first"].kernel.value == before).all()
    assert trainer.engine_used.reason == "the fit has groups"


class Stack(Layer):
    """Gives each sample twice, one below the other: outputs of two dimensions."""

    def build(self, input_shape):
        return (2, *input_shape)

    def compute_forward(self, x, *, training):
        return np.stack([x, x], axis=1), None

    def compute_backward(self, dy, cache):
        return dy.sum(axis=1)


def test_a_compiled_loss_takes_what_it_can(monkeypatch):
    monkeypatch.setattr(parts_module, "_LOADING_COST", 0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 6)), rng.normal(size=(20, 3))
    fit(name="auto", model=Sequential([Dense(2, 2), Square()], seed=0), batch_size=2)
    n_compiled = len(_kernels.lose.overloads)
    # Columns in memory one after another: another type to numba, and nothing to compile for.
    for layer, target in ((Square(), np.asfortranarray(y)), (Stack(), np.stack([y, y], axis=1))):
        values = []
        for name in ("auto", "numpy"):
            layers = [Dense(6, 3, Tanh()), copy.deepcopy(layer)]
            model = Sequential(layers, seed=0)
            trainer = Trainer(model, HalfSquaredError(), SGD(0.01), seed=0, engine=name)
            trainer.fit(x, target, epochs=3, batch_size=8, shuffle=False)
            values.append(model.values)
        assert_allclose(*values, rtol=1e-12)
    assert len(_kernels.lose.overloads) == n_compiled


def test_loading_numba_must_pay(monkeypatch):
    trainer = wide_trainer("auto")
    parts = trainer.model, trainer.loss, trainer.optimizer
    monkeypatch.delitem(sys.modules, "layerkit.engines.kernels")
    assert compiled_parts(*parts, n_steps=10) == (None, None)
    assert "layerkit.engines.kernels" not in sys.modules
    monkeypatch.setitem(sys.modules, "layerkit.engines.kernels", _kernels)
    assert None not in compiled_parts(*parts, n_steps=10)
    parts = trainer.model, Cubic(), SlowDown()
    assert compiled_parts(*parts, n_steps=10) == (None, None)


CLASSIFICATION = [
    SigmoidCrossEntropy(),
    SoftmaxCrossEntropy(),
    SoftmaxCrossEntropy("probabilities"),
]


@pytest.mark.parametrize("loss", CLASSIFICATION, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1.0, 10.0, 17.4, 30.0, 60.0, 1e5, np.inf])
def test_both_engines_find_the_same_losses_near_0_and_of_infinite_logits(
    loss, dtype, size, monkeypatch
):
    monkeypatch.setattr(parts_module, "_LOADING_COST", 0)
    model = Sequential([Dense(2, 3)], dtype=dtype)
    _, compiled = compiled_parts(model, loss, SGD(0.1), math.inf)
    labels = np.array([0, 2])
    y_true = labels if loss.target_dtype(np.dtype(dtype)) == np.intp else np.eye(3)[labels]
    y_true = y_true.astype(loss.target_dtype(np.dtype(dtype)))
    y_pred = np.full((2, 3), -size, dtype)
    y_pred[[0, 1], labels] = size if isinstance(loss, SigmoidCrossEntropy) else 1.0
    y_pred[1] *= 1 if isinstance(loss, SigmoidCrossEntropy) or size == np.inf else 1.5
    for logits, is_right in ((y_pred, True), (y_pred[:, ::-1].copy(), False)):
        with np.errstate(all="ignore"):
            expected, slopes = loss.value_and_gradient(logits, y_true)
            got, gradient = compiled(logits, y_true)
        # Half of the digits are left above the bound below which NumPy computes them all.
        tolerance = 4 * math.sqrt(float(np.finfo(dtype).eps))
        assert got == pytest.approx(expected, rel=tolerance)
        assert np.isinf(got) == (size == np.inf and not is_right)
        if np.isfinite(got):
            tiny = 4 * float(np.finfo(dtype).eps)
            assert_allclose(gradient, slopes, rtol=tiny, atol=tiny)
        if is_right and size <= 60:
            wide = logits.astype(np.float64), y_true
            exact = loss.per_sample(*wide).mean()
            assert got == pytest.approx(exact, rel=16 * float(np.finfo(dtype).eps))
