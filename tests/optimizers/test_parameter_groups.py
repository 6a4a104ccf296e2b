import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import (
    LBFGS,
    SGD,
    Adafactor,
    Adam,
    AdamW,
    BatchNorm,
    Dense,
    HalfSquaredError,
    Lamb,
    Muon,
    NAdam,
    Optimizer,
    ParameterGroup,
    Sequential,
    Tanh,
    Trainer,
)

X = np.random.default_rng(0).normal(size=(8, 3))
Y = X[:, :2]


def network():
    inner = Sequential([Dense(4, 4, Tanh(), name="middle")], name="inner", seed=1)
    return Sequential([Dense(3, 4, Tanh(), name="first"), inner, Dense(4, 2, name="last")], seed=0)


def span(model, name):
    return np.concatenate(
        [p.value.reshape(-1) for n, p in model.named_parameters().items() if n.startswith(name)]
    )


@pytest.mark.parametrize("make", [SGD, Adam, AdamW, NAdam, lambda rate: SGD(rate, 0.9)])
def test_each_group_is_trained_as_if_alone(make):
    """With one gradient for all, a group's values move as those of an optimizer of its own."""
    model, rates = network(), {"first": 0.3, "inner": 0.1, "last": 0.02}
    groups = [ParameterGroup([name], learning_rate=rates[name]) for name in ("first", "last")]
    trainer = Trainer(model, HalfSquaredError(), make(0.1), groups=groups)
    own = {name: make(rate) for name, rate in rates.items()}
    expected = {name: span(model, name) for name in rates}
    for _ in range(5):
        trainer.train_step(X, Y)
        # The gradients of the step that was just made.
        for name, optimizer in own.items():
            own_parameters = [p for n, p in model.named_parameters().items() if n.startswith(name)]
            grads = np.concatenate([p.grad.reshape(-1) for p in own_parameters])
            optimizer.step(expected[name], grads)
            assert_allclose(span(model, name), expected[name], rtol=1e-12, atol=1e-14)
    assert trainer.optimizer.n_steps == 5
    assert trainer.optimizer.learning_rate == 0.1


def test_decay_and_freezing():
    model = network()
    before = {name: span(model, name) for name in ("first", "inner", "last")}
    groups = [
        ParameterGroup(["first"], frozen=True),
        ParameterGroup(["inner.middle"], weight_decay=0.5),
    ]
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), groups=groups)
    trainer.train_step(X, Y)
    plain = network()
    Trainer(plain, HalfSquaredError(), SGD(0.1)).train_step(X, Y)
    np.testing.assert_array_equal(span(model, "first"), before["first"])
    assert_allclose(span(model, "last"), span(plain, "last"), rtol=1e-13)
    decayed = span(plain, "inner") - 0.05 * before["inner"]
    assert_allclose(span(model, "inner"), decayed, rtol=1e-10, atol=1e-14)
    assert trainer.optimizer.weight_decay == 0


def test_rates_change_in_proportion():
    model = network()
    trainer = Trainer(
        model, HalfSquaredError(), SGD(0.1), groups=[ParameterGroup(["last"], learning_rate=0.4)]
    )
    trainer.optimizer.learning_rate = 0.05
    before = span(model, "last"), span(model, "first")
    trainer.train_step(X, Y)
    grads = model["last"].kernel.grad.reshape(-1)
    assert_allclose((before[0] - span(model, "last"))[:8], 0.2 * grads, rtol=1e-9)
    assert_allclose((before[1] - span(model, "first"))[:12],
                    0.05 * model["first"].kernel.grad.reshape(-1), rtol=1e-9)  # fmt: skip


class NoDecay(Optimizer):
    def __init__(self):
        self.learning_rate = 1.0

    def update(self, values, grads, state):
        values -= grads


def trainer_with(*groups, optimizer=None):
    return Trainer(network(), HalfSquaredError(), optimizer or SGD(0.1), groups=groups)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ParameterGroup([]), "layers must be the names of at least one layer"),
        (lambda: ParameterGroup("first"), "layers must be a list of names"),
        (lambda: ParameterGroup(["a"], learning_rate=0), "learning_rate must be"),
        (lambda: ParameterGroup(["a"], weight_decay=-1), "weight_decay must be"),
        (lambda: ParameterGroup(["a"], frozen=1), "frozen must be"),
        (lambda: ParameterGroup(["a"], max_axes=-1), "max_axes must be"),
        (lambda: trainer_with(ParameterGroup(["x"])), "name must be one of 'first'"),
        (
            lambda: trainer_with(ParameterGroup(["inner"]), ParameterGroup(["inner.middle"])),
            "groups must be of different layers, or of different settings; got 'inner.middle' in",
        ),
        (
            lambda: trainer_with(
                ParameterGroup.without_decay(), ParameterGroup(["last"], weight_decay=1)
            ),
            "groups must be of different layers, or of different settings; got 'last' in two of",
        ),
        (
            lambda: trainer_with(ParameterGroup(["last"], weight_decay=1), optimizer=NoDecay()),
            "groups must be without weight_decay; got",
        ),
        (
            lambda: trainer_with(ParameterGroup(["last"]), optimizer=LBFGS()),
            "groups must be empty for an optimizer that uses all parameters together",
        ),
        (lambda: trainer_with({"last": 1}), "an instance of ParameterGroup"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_optimizer_without_decay_may_have_groups():
    trainer = trainer_with(ParameterGroup(["last"], learning_rate=2.0), optimizer=NoDecay())
    trainer.train_step(X, Y)


def test_decay_without_biases_and_norms():
    layers = [Dense(3, 4, Tanh()), BatchNorm(), Dense(4, 2)]
    ends = {}
    for name, decay, groups in (
        ("none", 0.0, []),
        ("all", 0.5, []),
        ("kernels", 0.5, [ParameterGroup.without_decay()]),
    ):
        model = Sequential(copy.deepcopy(layers), seed=0)
        model.values += 0.5
        trainer = Trainer(model, HalfSquaredError(), AdamW(0.01, weight_decay=decay), groups=groups)
        trainer.train_step(X, Y)
        ends[name] = {n: p.value.copy() for n, p in model.named_parameters().items()}
    assert len(ends["none"]) == 6
    for name, value in ends["kernels"].items():
        other = "all" if name.endswith("kernel") else "none"
        assert_allclose(value, ends[other][name], rtol=1e-13)
        assert not np.allclose(ends["all"][name], ends["none"][name], rtol=1e-4)


def test_groups_of_different_settings_have_parameters_in_common():
    model = network()
    before = {n: p.value.copy() for n, p in model.named_parameters().items()}
    groups = [ParameterGroup.without_decay(), ParameterGroup(["last", "inner"], learning_rate=0.2)]
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1, weight_decay=0.5), groups=groups)
    trainer.train_step(X, Y)
    for name, parameter in model.named_parameters().items():
        rate = 0.1 if name.startswith("first") else 0.2
        decay = 0.5 if name.endswith("kernel") else 0.0
        expected = (1 - rate * decay) * before[name] - rate * parameter.grad
        assert_allclose(parameter.value, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", [Adafactor, Lamb, Muon])
def test_groups_of_an_optimizer_that_needs_shapes(make):
    """Each parameter is trained as by an optimizer of its own."""
    model, rates = network(), {"first": 0.3, "inner": 0.1, "last": 0.02}
    groups = [ParameterGroup([name], learning_rate=rates[name]) for name in ("first", "last")]
    trainer = Trainer(model, HalfSquaredError(), make(0.1), groups=groups)
    own = {n: make(rates[n.split(".")[0]]) for n in model.named_parameters()}
    expected = {n: p.value.reshape(-1).copy() for n, p in model.named_parameters().items()}
    for _ in range(4):
        trainer.train_step(X, Y)
        for name, parameter in model.named_parameters().items():
            own[name].shapes = [parameter.shape]
            own[name].step(expected[name], parameter.grad.reshape(-1))
            assert_allclose(parameter.value.reshape(-1), expected[name], rtol=1e-12, atol=1e-14)
    assert [tuple(s) for s in trainer.optimizer.shapes] == [p.shape for p in model.parameters]
