"""The suite for optimizers: all of the built-in ones pass."""

import numpy as np
import pytest

import layerkit
from layerkit import SGD, ArgumentError, Dense, Optimizer
from layerkit.testing import CheckError, check_optimizer, optimizer_checks


def plain(momentum, nesterov):
    def reference(values, grads):
        velocity = np.zeros_like(values)
        for gradient in grads:
            velocity = momentum * velocity + gradient
            step = gradient + momentum * velocity if nesterov else velocity
            values = values - 0.1 * step
        return values

    return reference


MAKERS = {
    "SGD": [
        (lambda: SGD(0.1), plain(0, False)),
        (lambda: SGD(0.1, momentum=0.9), plain(0.9, False)),
        (lambda: SGD(0.1, momentum=0.9, nesterov=True), plain(0.9, True)),
        (lambda: SGD(0.1, weight_decay=0.5), None),
        (lambda: SGD(0.1, momentum=0.9, dampening=0.5, coupled_decay=0.1), None),
    ],
    # Against torch, Keras and optax: tests/optimizers/test_adaptive.py.
    "Adafactor": [
        (layerkit.Adafactor, None),
        (lambda: layerkit.Adafactor(0.1, 0.5, 2.0, 0.1, 0.1), None),
    ],
    "Adamax": [(layerkit.Adamax, None)],
    "FTRL": [
        (lambda: layerkit.FTRL(0.1), None),
        (lambda: layerkit.FTRL(0.1, beta=1.0, initial_square=0.0), None),
    ],
    "Lamb": [(layerkit.Lamb, None), (lambda: layerkit.Lamb(0.1, weight_decay=0.1), None)],
    "Muon": [(layerkit.Muon, None), (lambda: layerkit.Muon(0.1, 0.5, False, 0.1), None)],
    "RAdam": [(layerkit.RAdam, None), (lambda: layerkit.RAdam(0.01, beta_2=0.5), None)],
    "Rprop": [(layerkit.Rprop, None), (lambda: layerkit.Rprop(0.1, 0.4, 1.5, 0.1, 5.0), None)],
    "ScheduleFreeAdamW": [
        (layerkit.ScheduleFreeAdamW, None),
        (lambda: layerkit.ScheduleFreeAdamW(0.1, 0.5, 0.9, 1e-4, 0.1), None),
    ],
    "Adadelta": [(lambda: layerkit.Adadelta(0.5), None)],
    "Adagrad": [(lambda: layerkit.Adagrad(0.1), None)],
    "Adam": [
        (layerkit.Adam, None),
        (lambda: layerkit.Adam(0.1, 0.5, 0.9, 1e-4), None),
        (lambda: layerkit.Adam(0.1, amsgrad=True), None),
    ],
    "AdamW": [(lambda: layerkit.AdamW(0.01, weight_decay=0.1), None)],
    "LBFGS": [(layerkit.LBFGS, None), (lambda: layerkit.LBFGS(0.5, 2), None)],
    "Lion": [(lambda: layerkit.Lion(0.01), None)],
    "NAdam": [(layerkit.NAdam, None)],
    "RMSprop": [
        (layerkit.RMSprop, None),
        (lambda: layerkit.RMSprop(0.01, momentum=0.5), None),
        (lambda: layerkit.RMSprop(0.01, centered=True), None),
    ],
}


def test_every_public_optimizer_is_here():
    public = {
        name
        for name in layerkit.__all__
        if isinstance(getattr(layerkit, name), type)
        and issubclass(getattr(layerkit, name), Optimizer)
        and name != "Optimizer"
    }
    assert public == set(MAKERS)


@pytest.mark.parametrize(
    ("make", "reference"), [pair for pairs in MAKERS.values() for pair in pairs]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_built_in_optimizers_pass(make, reference, seed):
    check_optimizer(make, reference=reference, seed=seed)


class Adam(Optimizer):
    def __init__(self, learning_rate=0.01):
        self.learning_rate = learning_rate

    def init_state(self, values):
        return {name: np.zeros_like(values) for name in ("mean", "square", "steps")}

    def update(self, values, grads, state):
        mean, square, steps = state["mean"], state["square"], state["steps"]
        steps += 1
        mean += 0.1 * (grads - mean)
        square += 0.001 * (grads**2 - square)
        scale = np.sqrt(square / (1 - 0.999**steps)) + 1e-8
        values -= self.learning_rate * mean / (1 - 0.9**steps) / scale


@pytest.mark.parametrize("seed", range(3))
def test_an_adaptive_optimizer_passes(seed):
    check_optimizer(Adam, seed=seed)


def test_the_reference_is_a_check_of_its_own():
    with_one = {check.name for check in optimizer_checks(lambda: SGD(0.1), reference=plain(0, 0))}
    without = {check.name for check in optimizer_checks(lambda: SGD(0.1))}
    assert with_one - without == {"follows_reference"}


def test_what_is_no_optimizer_is_refused():
    with pytest.raises(ArgumentError, match="an instance of Optimizer; got Dense"):
        check_optimizer(lambda: Dense(3, 2))
    message = "check_optimizer.make: make must be an optimizer, its class, or a function that"
    with pytest.raises(ArgumentError, match=message):
        check_optimizer(0.1)


def test_an_instance_is_checked_and_stays_as_it_is():
    optimizer = SGD(0.1, momentum=0.9)
    check_optimizer(optimizer, reference=plain(0.9, False))
    assert optimizer.state == {}
    assert optimizer.learning_rate == 0.1
    optimizer.step(np.zeros(3), np.ones(3))  # of any model still


def test_an_instance_of_a_local_class():
    class Local(SGD):
        pass

    class Wrong(SGD):
        def update(self, values, grads, state):
            super().update(values, -grads, state)

    check_optimizer(Local(0.1))
    with pytest.raises(CheckError, match="a sign is wrong"):
        check_optimizer(Wrong(0.1))
