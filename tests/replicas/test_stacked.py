"""The arithmetic of stacks; what it does in a fit is tested in test_batched.py."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    SGD,
    AbsoluteError,
    Accuracy,
    Adam,
    Dense,
    HalfSquaredError,
    MeanAbsoluteError,
    MeanSquaredError,
    RMSprop,
    RootMeanSquaredError,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredDistance,
    TopKAccuracy,
)
from layerkit.replicas import stacked as arithmetic
from layerkit.replicas.stacked import Layout, StackedChain, StackedMetric, StackedStep

RNG = np.random.default_rng(0)
LAYOUTS = [Layout(replicas_last=False), Layout(replicas_last=True)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_the_same_by_its_axes(layout):
    table = RNG.normal(size=(5, 7))
    copied = layout.copy(table)
    assert_array_equal(copied, table)
    assert layout.as_it_lies(copied).flags.c_contiguous
    numbers = RNG.integers(5, size=(3, 4))
    for array in (table, table[:, 0]):
        rows = layout.rows(array, numbers)
        assert_array_equal(rows, array[numbers])
        assert (rows.T if layout.replicas_last else rows).flags.c_contiguous


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("loss", [HalfSquaredError(), MeanSquaredError(), AbsoluteError()])
def test_the_passes_are_those_of_the_models(layout, shared, loss):
    models = [Sequential([Dense(4, 3, Sigmoid()), Dense(3, 2)], seed=s) for s in range(6)]
    values = np.stack([model.values for model in models])
    chain = StackedChain(models[0].layers, models[0].parameters, layout, values)
    x = RNG.normal(size=(5, 4)) if shared else RNG.normal(size=(6, 5, 4))
    y_pred, caches = chain.forward(x)
    losses, dy = chain.lose(loss, y_pred, np.ones((1, 5, 2)))
    outputs = y_pred.copy()
    chain.backward(dy, caches)
    for k, model in enumerate(models):
        own = x if shared else x[k]
        expected = model.forward(own, training=True)
        model.backward(loss.gradient(expected, np.ones((5, 2))))
        assert_allclose(outputs[k], expected, rtol=1e-13, atol=1e-15)
        assert_allclose(losses[k], loss.value(expected, np.ones((5, 2))), rtol=1e-13)
        assert_allclose(chain.grads[k], model.grads, rtol=1e-12, atol=1e-15)
    some = chain.of(np.array([4, 1]))
    assert_array_equal(some.values, values[[4, 1]])
    assert_array_equal(some.grads, chain.grads[[4, 1]])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_loss_of_class_indices(layout):
    model = Sequential([Dense(2, 3)])
    chain = StackedChain(model.layers, model.parameters, layout, np.zeros((4, 9)))
    y_pred, labels = layout.copy(RNG.normal(size=(4, 5, 3))), RNG.integers(3, size=(4, 5))
    loss = SoftmaxCrossEntropy()
    for y_true in (labels, labels[:1]):
        losses, dy = chain.lose(loss, y_pred, y_true)
        for k in range(4):
            own = y_true[k % len(y_true)]
            assert_allclose(losses[k], loss.value(y_pred[k], own), rtol=1e-13)
            assert_allclose(dy[k], loss.gradient(y_pred[k], own), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "metric",
    [
        SquaredDistance(),
        MeanAbsoluteError(),
        RootMeanSquaredError(),
        Accuracy(),
        Accuracy(multilabel=True),
        TopKAccuracy(2),
    ],
    ids=repr,
)
def test_a_metric_adds_up_for_each(metric):
    stacked = StackedMetric(metric, 3)
    y_pred, y_true = RNG.normal(size=(3, 8, 4)), np.eye(4)[RNG.integers(4, size=(3, 8))]
    stacked.add(y_pred[:, :5], y_true[:, :5])
    assert stacked.total_of(1) == pytest.approx(metric.total(y_pred[1, :5], y_true[1, :5]))
    stacked.add(y_pred[:, 5:], y_true[:, 5:])
    expected = [metric(y_pred[k], y_true[k]) for k in range(3)]
    assert_allclose(stacked.result(8), expected, rtol=1e-13)


def test_the_accuracy_of_class_indices():
    metric, stacked = Accuracy(), StackedMetric(Accuracy(), 3)
    y_pred, y_true = RNG.normal(size=(3, 8, 4)), RNG.integers(4, size=(3, 8))
    stacked.add(y_pred, y_true)
    expected = [metric.total(y_pred[k], y_true[k]) for k in range(3)]
    assert [stacked.total_of(k) for k in range(3)] == expected


def test_the_accuracy_of_one_output_at_its_very_threshold():
    metric = Accuracy(0.5)
    y_pred = np.array([[0.5, 0.4, 0.6, 0.5], [0.1, 0.5, 0.5, 0.9]])[..., None]
    y_true = np.array([[1, 0, 1, 0.5], [1, 0.5, 1, 1]])
    expected = [metric.total(p, t[:, None]) for p, t in zip(y_pred, y_true, strict=True)]
    assert expected == [4, 3]
    for truth in (y_true, y_true[..., None]):
        stacked = StackedMetric(metric, 2)
        stacked.add(y_pred, truth)
        assert [stacked.total_of(k) for k in range(2)] == expected


@pytest.mark.parametrize("n_targets", [1, 3])
def test_targets_that_all_share_are_those_of_each(n_targets):
    metric, rng = TopKAccuracy(2), np.random.default_rng(0)
    stacked = StackedMetric(metric, 3)
    y_pred, y_true = rng.normal(size=(3, 8, 4)), rng.integers(4, size=(n_targets, 8))
    stacked.add(y_pred, np.eye(4)[y_true])
    expected = [metric.total(y_pred[k], np.eye(4)[y_true[k % n_targets]]) for k in range(3)]
    assert len(set(expected)) > 1
    assert [stacked.total_of(k) for k in range(3)] == expected


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("block", [1, 16, 1 << 16])  # numbers, of 8 for each replica
@pytest.mark.parametrize("decay", [0, 0.1])
@pytest.mark.parametrize(
    "make",
    [
        SGD,
        lambda rate: SGD(rate, momentum=0.9),
        lambda rate: RMSprop(rate, momentum=0.5),
        Adam,
    ],
)
def test_each_steps_at_its_own_rate(layout, block, decay, make, monkeypatch):
    monkeypatch.setattr(arithmetic, "_BLOCK", block)
    model = Sequential([Dense(3, 2)])
    values, grads = RNG.normal(size=(5, 8)), RNG.normal(size=(5, 8))
    chain = StackedChain(model.layers, model.parameters, layout, values)
    chain.grads[:] = grads
    rates = np.array([[0.1], [0.2], [0.01], [3.0], [0.4]])
    decays = decay * np.array([[1.0], [2.0], [0.0], [0.5], [3.0]])
    optimizer = make(0.1)
    state = {n: np.tile(v, (5, 1)) for n, v in optimizer.init_state(values[0]).items()}
    step = StackedStep(optimizer, rates, decays, state, chain)
    for _ in range(3):
        step()
    for k in range(5):
        single, own = copy.copy(optimizer), values[k].copy()
        single.learning_rate, single.weight_decay = rates[k, 0], decays[k, 0]
        for _ in range(3):
            single.step(own, grads[k])
        assert_allclose(chain.values[k], own, rtol=1e-13)
    assert optimizer.n_steps == 0
    some = chain.of(np.array([2]))
    one = step.of(np.array([2]), some)
    one()
    step()
    assert_allclose(some.values[0], chain.values[2], rtol=1e-13)
