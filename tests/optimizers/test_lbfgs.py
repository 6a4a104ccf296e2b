import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose

from layerkit import LBFGS, Dense, HalfSquaredError, Sequential, Tanh, Trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = np.sin(X[:, :1]) + 0.5 * X[:, 1:2] * X[:, 2:]


def network():
    return Sequential([Dense(3, 8, Tanh()), Dense(8, 1)], seed=1)


def test_it_gets_as_far_as_scipy():
    model = network()

    def loss_and_gradient(values):
        model.values = values
        y = model.forward(X, training=True)
        model.backward(HalfSquaredError().gradient(y, Y))
        return HalfSquaredError().value(y, Y), model.grads.copy()

    reference = scipy.optimize.minimize(
        loss_and_gradient, model.values.copy(), jac=True, method="L-BFGS-B",
        options={"maxiter": 150, "maxcor": 10},
    )  # fmt: skip
    trainer = Trainer(network(), HalfSquaredError(), LBFGS(0.5))
    losses = trainer.fit(X, Y, epochs=300, batch_size=40, shuffle=False)["loss"]
    # Both end in some minimum; the path differs, as there is no line search here.
    assert losses[-1] < max(1.5 * reference.fun, 1e-3) < losses[0] / 20


def test_a_quadratic_takes_few_steps_down_to_rounding():
    scales = np.array([1.0, 3.0, 10.0, 30.0])
    values, optimizer = np.ones(4), LBFGS(history_size=4)
    for _ in range(45):
        optimizer.step(values, scales * values)
    assert abs(values).max() < 1e-12


def test_no_gradient_no_step():
    optimizer, values = LBFGS(), np.ones(2)
    for gradient in ([1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.5, 0.5]):
        before = values.copy()
        optimizer.step(values, np.array(gradient))
        assert any(gradient) == (values != before).any()
        assert np.isfinite(values).all()


def test_what_is_no_descent_is_forgotten():
    optimizer, values = LBFGS(0.5), np.array([1.0, 1.0])
    for _ in range(3):
        optimizer.step(values, np.array([1.0, 10.0]) * values)
    assert optimizer.n_pairs == 2
    # A memory that points uphill, as rounding or another function may leave it.
    for place in range(3):
        optimizer.state[f"change_{place}"] *= -1
    before, gradient = values.copy(), np.array([3.0, 4.0])
    optimizer.last_length = 0.0
    optimizer.step(values, gradient)
    assert optimizer.n_pairs == 0
    assert_allclose(values, before - 0.5 / 7 * gradient, rtol=1e-12)


@pytest.mark.parametrize("history", [1, 3, 10])
def test_only_so_many_steps_are_remembered(history):
    optimizer, values = LBFGS(0.1, history), np.ones(5)
    for _ in range(15):
        optimizer.step(values, np.arange(1.0, 6.0) * values)
    assert len(optimizer.state) == 2 + 2 * history
    assert optimizer.n_pairs == 14
    assert_allclose(optimizer.state["gradient"].shape, (5,))
