import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
from minima import PROBLEMS
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    L2,
    LBFGS,
    ArgumentError,
    BatchNorm,
    Dense,
    HalfSquaredError,
    LambdaCallback,
    MeanSquaredError,
    Sequential,
    Tanh,
    Trainer,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = np.sin(X[:, :1]) + 0.5 * X[:, 1:2] * X[:, 2:]


def network():
    return Sequential([Dense(3, 8, Tanh()), Dense(8, 1)], seed=1)


class Descent:
    """Steps of an optimizer on a function; counts how often a step evaluates it."""

    def __init__(self, optimizer, compute, start, dtype=np.float64):
        self.optimizer, self.compute = optimizer, compute
        self.values, self.grads = np.array(start, dtype), np.empty(len(start), dtype)
        self.losses, self.n_evaluations = [self.closure()], 0

    def closure(self):
        self.n_evaluations = getattr(self, "n_evaluations", 0) + 1
        loss, self.grads[:] = self.compute(self.values)
        return float(loss)

    def step(self, n_steps=1):
        for _ in range(n_steps):
            gradient = self.grads.copy()
            self.optimizer.step_with(self.values, self.grads, self.losses[-1], self.closure)
            assert_array_equal(self.grads, gradient)
            self.losses.append(self.closure())
            self.n_evaluations -= 1
        return self


# Side by side


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_ends_as_low_as_scipy(name):
    compute, start = PROBLEMS[name]
    reference = scipy.optimize.minimize(
        compute, start, jac=True, method="L-BFGS-B",
        options={"maxcor": 10, "ftol": 0, "gtol": 1e-10, "maxiter": 5000, "maxfun": 20000},
    )  # fmt: skip
    descent = Descent(LBFGS(), compute, start).step(2000)
    assert (np.diff(descent.losses) <= 1e-15 * np.abs(descent.losses[1:])).all()
    # The problem of condition 1e6 is as flat as that near its minimum, for both.
    assert descent.losses[-1] <= reference.fun + 1e-10 * max(1, abs(reference.fun))


# Made by benchmarks/lbfgs_minima.py.
RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "lbfgs_minima.json").read_text())


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_ends_as_low_as_torch(name):
    lowest = RECORDED["problems"][name]["lowest"]
    descent = Descent(LBFGS(), *PROBLEMS[name]).step(2000)
    assert descent.losses[-1] <= lowest + 1e-10 * max(1, abs(lowest))


def test_it_takes_as_few_evaluations_as_scipy():
    totals = np.zeros(2, int)
    for compute, start in PROBLEMS.values():
        tried = []

        def recorded(x, compute=compute, tried=tried):
            loss, gradient = compute(x)
            tried.append(loss)
            return loss, gradient

        options = {"maxcor": 10, "ftol": 0, "gtol": 1e-10, "maxiter": 5000, "maxfun": 20000}
        scipy.optimize.minimize(recorded, start, jac=True, method="L-BFGS-B", options=options)
        losses = [tried.copy()]
        tried.clear()
        # A step begins with the loss that the last one ended at, which is no evaluation more.
        descent = Descent(LBFGS(), recorded, start)
        while descent.n_evaluations < len(losses[0]) * 3 and len(descent.losses) < 2000:
            tried.pop()
            descent.step()
        losses.append(tried.copy())
        lowest = min(map(min, losses))
        near = lowest + 1e-6 * max(1, abs(lowest))
        totals += [next(i for i, loss in enumerate(each) if loss <= near) for each in losses]
    assert totals[1] < 1.2 * totals[0]


def test_a_network_gets_as_far_as_with_scipy():
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
    trainer = Trainer(network(), HalfSquaredError(), LBFGS())
    losses = trainer.fit(X, Y, epochs=150, batch_size=40, shuffle=False)["loss"]
    # Both end in some minimum; the paths differ.
    assert losses[-1] < max(1.5 * reference.fun, 1e-3) < losses[0] / 20
    # Without a search it takes more steps, and smaller ones.
    trainer = Trainer(network(), HalfSquaredError(), LBFGS(0.5, line_search=None))
    losses = trainer.fit(X, Y, epochs=300, batch_size=40, shuffle=False)["loss"]
    assert losses[-1] < max(1.5 * reference.fun, 1e-3) < losses[0] / 20


# Convergence


def regression(seed, noise=0.0, spread=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(50, 5)) * np.logspace(0, spread, 5)
    return x, x @ rng.normal(size=(5, 2)) + 0.3 + noise * rng.normal(size=(50, 2))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("line_search", ["strong_wolfe", None])
@pytest.mark.parametrize("seed", range(12))
def test_a_regression_without_noise_stays_where_it_has_converged(seed, line_search, shuffle):
    x, y = regression(seed)
    model = Sequential([Dense(5, 2)], seed=seed, dtype=np.float32)
    trainer = Trainer(model, MeanSquaredError(), LBFGS(line_search=line_search), seed=seed)
    losses = np.array(trainer.fit(x, y, epochs=600, batch_size=50, shuffle=shuffle)["loss"])
    # Errors of some roundings of float32, squared: about 1e-14 for targets of about 1, and up to
    # ten times the roundings.
    assert losses[40:].max() < 1e-12
    if line_search:  # samples in another order may be rounded in another way
        assert losses[-1] <= (2 if shuffle else 1) * losses.min()


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("spread", [0, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_once_converged_it_stays_and_evaluates_nothing_more(dtype, spread, noise):
    x, y = regression(0, noise, spread)
    model = Sequential([Dense(5, 2)], seed=0, dtype=dtype)
    evaluations, steps = [], []
    optimizer = LBFGS()
    search = optimizer.step_with

    def counted(values, grads, loss, closure):
        steps.append(values.copy())
        search(values, grads, loss, lambda: evaluations.append(len(steps)) or closure())

    optimizer.step_with = counted
    trainer = Trainer(model, MeanSquaredError(), optimizer, seed=0)
    losses = np.array(trainer.fit(x, y, epochs=600, batch_size=50, shuffle=False)["loss"])
    eps = np.finfo(dtype).eps
    assert (losses[1:] <= losses[:-1] * (1 + eps)).all()
    assert max(evaluations) < 500
    assert_array_equal(steps[500], model.values)
    assert optimizer.n_pairs == 0
    best, *_ = np.linalg.lstsq(np.c_[x, np.ones(50)], y, rcond=None)
    # The loss has converged; where it is flat, the weights are known to the root of its rounding.
    tolerance = 30 * math.sqrt(eps)
    assert_allclose(model[0].kernel.value, best[:5], rtol=tolerance, atol=tolerance)


def test_after_other_data_it_goes_on():
    trainer = Trainer(Sequential([Dense(5, 2)], seed=0), MeanSquaredError(), LBFGS(), seed=0)
    for seed in (0, 1):
        losses = trainer.fit(*regression(seed), epochs=60, batch_size=50)["loss"]
        assert losses[0] > 0.1
        assert losses[-1] < 1e-25


def test_a_stall_is_forgotten_as_soon_as_a_step_is_found():
    compute, _ = PROBLEMS["quadratic 10"]
    optimizer = LBFGS()
    flat = Descent(optimizer, lambda x: (abs(x).sum(), np.sign(x) + (x == 0)), np.zeros(4)).step()
    assert optimizer.stalled_at == 0.0
    flat.compute = compute
    flat.closure()
    flat.losses[-1] = 7.0
    flat.step()
    assert math.isnan(optimizer.stalled_at)


def test_it_stops_at_a_kink_and_at_a_gradient_of_0():
    def kink(x):
        return abs(x).sum(), np.sign(x) + (x == 0)

    descent = Descent(LBFGS(), kink, [0.0, 0.0]).step(3)
    assert_array_equal(descent.values, 0)
    assert descent.n_evaluations <= 25  # of the first step, as none is lower
    assert descent.optimizer.stalled_at == 0
    flat = Descent(LBFGS(), lambda x: (1.0, 0 * x), [1.0, 2.0]).step(2)
    assert flat.n_evaluations == 0
    assert (flat.optimizer.stalled_at, flat.optimizer.last_length) == (1.0, 0.0)
    assert_array_equal(flat.values, [1, 2])


def test_a_stall_forgets_the_estimate_before_it_is_believed():
    compute, start = PROBLEMS["quadratic 10"]
    descent = Descent(LBFGS(), compute, start).step(6)
    optimizer, before = descent.optimizer, descent.values.copy()
    assert optimizer.n_pairs > 3
    for place in range(optimizer.n_pairs):
        optimizer.state[f"step_{place}"] *= 1e-30  # of no use: too short a step to lower anything
    descent.step()
    assert_array_equal(descent.values, before)
    assert optimizer.n_pairs == 0
    assert math.isnan(optimizer.stalled_at)
    descent.step()
    assert descent.losses[-1] < descent.losses[-2]
    assert optimizer.n_pairs == 1


# Steps


def test_the_first_length_is_the_learning_rates():
    lengths = []

    def compute(x):
        lengths.append(x[0])
        return x @ x, 2 * x

    Descent(LBFGS(0.5), compute, [0.25]).step()
    assert lengths[:2] == [0.25, 0.25 - 0.5 * 0.5]
    lengths.clear()
    Descent(LBFGS(0.5), compute, [8.0]).step()  # −η · min(1, 1 / ‖g‖₁) · g
    assert lengths[:2] == [8.0, 7.5]
    lengths.clear()
    descent = Descent(LBFGS(0.5), compute, [8.0]).step(2)
    assert lengths[-2] == descent.values[0]  # a step of half of Newton's, which lies at 0
    assert descent.values[0] == pytest.approx(lengths[-3] / 2)


def test_what_was_found_is_remembered():
    compute, start = PROBLEMS["rosenbrock 2"]
    descent = Descent(LBFGS(history_size=3), compute, start)
    for n in range(1, 6):
        before, gradient = descent.values.copy(), descent.grads.copy()
        descent.step()
        assert descent.optimizer.n_pairs == n
        state, place = descent.optimizer.state, (n - 1) % 3
        assert_array_equal(state[f"step_{place}"], descent.values - before)
        assert_allclose(state[f"change_{place}"], descent.grads - gradient, rtol=1e-12)
    assert descent.optimizer.n_steps == 5


def test_places_where_the_loss_is_no_number_are_left_again():
    def barrier(x):
        with np.errstate(all="ignore"):
            return x.sum() - np.log(x).sum(), 1 - 1 / x

    descent = Descent(LBFGS(100.0), barrier, [0.01, 3.0]).step(30)
    assert_allclose(descent.values, 1, rtol=1e-6)
    assert np.isfinite(descent.losses).all()


def test_an_error_on_the_way_leaves_everything_as_it_was():
    compute, start = PROBLEMS["rosenbrock 2"]
    descent = Descent(LBFGS(), compute, start).step(3)
    values, grads = descent.values.copy(), descent.grads.copy()

    def fail():
        descent.grads[:] = 7
        raise KeyError("no data")

    with pytest.raises(KeyError):
        descent.optimizer.step_with(descent.values, descent.grads, descent.losses[-1], fail)
    assert_array_equal(descent.values, values)
    assert_array_equal(descent.grads, grads)
    assert descent.optimizer.n_pairs == 3


@pytest.mark.parametrize("how", ["deepcopy", "state"])
def test_a_copy_goes_on_to_the_same_bytes(how):
    compute, start = PROBLEMS["wood"]
    for n in (1, 2, 7, 30):
        descent = Descent(LBFGS(history_size=3), compute, start).step(n)
        twin = copy.deepcopy(descent)
        if how == "state":
            twin.optimizer = LBFGS(history_size=3)
            twin.optimizer.set_state(descent.optimizer.state, descent.optimizer.attributes())
        assert descent.step(20).values.tobytes() == twin.step(20).values.tobytes()
        assert descent.losses == twin.losses


@pytest.mark.parametrize("batch_size", [17, 40])
def test_a_fit_is_resumed_at_every_step(batch_size, tmp_path):
    paths = []

    def save(trainer):
        paths.append(str(tmp_path / f"{len(paths)}"))
        trainer.save_checkpoint(paths[-1])

    def run(seed, hook=lambda trainer: None, path=None):
        layers = [Dense(3, 8, Tanh()), BatchNorm(), Dense(8, 1)]
        model = Sequential(layers, seed=seed, dtype=np.float32)
        trainer = Trainer(
            model, HalfSquaredError(), LBFGS(history_size=3), regularizers=[L2(1e-4)], seed=seed
        )
        if path:
            trainer.resume(path)
        callbacks = [LambdaCallback(on_batch_end=hook)]
        history = trainer.fit(X, Y, epochs=12, batch_size=batch_size, callbacks=callbacks)
        running = model[1].running_variance.tobytes()
        return model.values.tobytes(), running, list(history["loss"]), trainer.optimizer.n_pairs

    expected = run(0, save)
    assert len(paths) == 12 * (3 if batch_size == 17 else 1)
    for number, path in enumerate(paths):
        assert run(number + 1, path=path) == expected


def test_numbers_whose_squares_underflow_are_minimised_as_well():
    def parabola(x):
        scaled = np.array([1.0, 3.0]) * x.astype(float)
        return x @ scaled, (2 * scaled).astype(np.float32)

    descent = Descent(LBFGS(), parabola, [1.0, -2.0], np.float32).step(40)
    assert abs(descent.values).max() < 1e-30


# Without a search


def test_a_quadratic_takes_few_steps_down_to_rounding():
    scales = np.array([1.0, 3.0, 10.0, 30.0])
    values, optimizer = np.ones(4), LBFGS(history_size=4)
    for _ in range(45):
        optimizer.step(values, scales * values)
    assert abs(values).max() < 1e-12


def test_step_with_is_step_without_a_search():
    compute, start = PROBLEMS["quadratic 10"]
    descent = Descent(LBFGS(0.3, line_search=None), compute, start).step(5)
    optimizer, values = LBFGS(0.3), start.copy()
    for _ in range(5):
        optimizer.step(values, compute(values)[1])
    assert_array_equal(values, descent.values)
    assert descent.n_evaluations == 0
    assert (LBFGS().needs_closure, descent.optimizer.needs_closure) == (True, False)


def test_no_gradient_no_step():
    optimizer, values = LBFGS(), np.ones(2)
    for gradient in ([1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [-0.5, -0.5]):
        before = values.copy()
        optimizer.step(values, np.array(gradient))
        assert any(gradient) == (values != before).any()
        assert np.isfinite(values).all()
        assert any(gradient) == bool(optimizer.last_length)
    # After no step, no change of the gradient is one that a step has made.
    assert optimizer.n_pairs == 1


def test_what_is_no_descent_is_forgotten():
    optimizer, values = LBFGS(0.5), np.array([1.0, 1.0])
    for _ in range(3):
        optimizer.step(values, np.array([1.0, 10.0]) * values)
    assert optimizer.n_pairs == 2
    # A memory that points uphill, as rounding or another function may leave it.
    for place in range(3):
        optimizer.state[f"change_{place}"] *= -1
    for gradient, length in (([3.0, 4.0], 0.5 / 7), ([0.03, 0.04], 0.5)):
        twin, there = copy.deepcopy(optimizer), values.copy()
        twin.last_length = 0.0
        twin.step(there, np.array(gradient))
        assert twin.n_pairs == 0
        assert_allclose(there, values - length * np.array(gradient), rtol=1e-12)


def test_a_direction_that_underflows_is_forgotten():
    optimizer, values = LBFGS(0.5), np.array([1.0, 1.0])
    for _ in range(3):
        optimizer.step(values, np.array([1.0, 10.0]) * values)
    for place in range(2):
        optimizer.state[f"change_{place}"] *= 1e150
    optimizer.last_length = 0.0
    optimizer.step(values, np.array([3e-200, 4e-200]))
    assert optimizer.n_pairs == 0
    assert_array_equal(optimizer.state["direction"], [-3e-200, -4e-200])


@pytest.mark.parametrize("history", [1, 3, 10])
def test_only_so_many_steps_are_remembered(history):
    optimizer, values = LBFGS(0.1, history), np.ones(5)
    for _ in range(15):
        optimizer.step(values, np.arange(1.0, 6.0) * values)
    assert len(optimizer.state) == 2 + 2 * history
    assert optimizer.n_pairs == 14
    assert_allclose(optimizer.state["gradient"].shape, (5,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_and_changes_that_are_rounding_are_not_remembered(dtype):
    eps = np.finfo(dtype).eps
    for length, angle, is_kept in [
        (1.0, 1.0, True),
        (20 * eps, 1.0, True),
        (5 * eps, 1.0, False),
        (1.0, 20 * max(eps, 1e-11), True),
        (1.0, 5 * max(eps, 1e-11), False),
        (1.0, -1.0, False),
        (1.0, 0.0, False),
    ]:
        optimizer, values = LBFGS(1.0), np.array([1.0, 0.0], dtype)
        optimizer.step(values, np.array([0.0, 1.0], dtype))
        optimizer.state["direction"][:] = 0.0, -length
        values[:] = 1.0, 0.0
        change = np.array([math.sqrt(1 - angle**2), -angle], dtype)
        optimizer.step(values, np.array([0.0, 1.0], dtype) + change)
        assert optimizer.n_pairs == is_kept, (length, angle)


def test_it_uses_all_parameters_together():
    assert not LBFGS.is_elementwise
    values = np.ones(3)
    optimizer = LBFGS()
    optimizer.step(values, np.array([1.0, 2.0, 4.0]))
    assert optimizer.last_length == 1 / 7


def test_bad_arguments():
    with pytest.raises(ArgumentError, match="line_search must be 'strong_wolfe'; got 'armijo'"):
        LBFGS(line_search="armijo")
    with pytest.raises(ArgumentError, match="history_size must be a whole number of at least 1"):
        LBFGS(history_size=0)
    assert repr(LBFGS(0.5, line_search=None)) == "LBFGS(0.5, line_search=None)"
    assert (LBFGS().history_size, LBFGS().learning_rate) == (10, 1.0)
