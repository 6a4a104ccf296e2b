"""Problems: they move, come back, and draw the same random numbers each time."""

import numpy as np
import pytest

from layerkit import Dense, HalfSquaredError, Layer, Sequential, Sigmoid, Tanh
from layerkit.testing.problems import (
    ActivationProblem,
    LossProblem,
    ModelProblem,
    generators,
    named_parameters,
)


class Noise(Layer):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def compute_forward(self, x, *, training):
        mask = self.rng.random(x.shape)
        return x * mask, mask

    def compute_backward(self, dy, cache):
        return dy * cache


class Wrapper(Layer):
    def __init__(self, inner):
        self.inner = inner

    def build(self, input_shape):
        return self.add_layer(self.inner, input_shape)

    def compute_forward(self, x, *, training):
        return self.inner.compute_forward(x, training=training)

    def compute_backward(self, dy, cache):
        return self.inner.compute_backward(dy, cache)


def test_names_are_expressions():
    model = Sequential([Dense(2, 3), Sequential([Wrapper(Dense(3, 2))], input_shape=(3,))])
    names = [name for name, _ in named_parameters(model)]
    assert names[:2] == ["layers[0].kernel", "layers[0].bias"]
    assert names[2:] == ["layers[1].layers[0].inner.kernel", "layers[1].layers[0].inner.bias"]
    for name, parameter in named_parameters(model):
        assert eval(f"model.{name}", {"model": model}) is parameter


def test_random_draws_repeat():
    model = Sequential([Wrapper(Noise())], input_shape=(3,))
    assert len(list(generators(model))) == 1
    problem = ModelProblem(model, np.ones((2, 3)))
    first = problem.evaluate().copy()
    assert (problem.evaluate() == first).all()
    dx = problem.gradients(np.ones(6))["x"]
    assert (dx.reshape(-1) == first).all()


def problems():
    x = np.random.default_rng(0).normal(size=(4, 3))
    model = Sequential([Dense(3, 2, Tanh())], seed=0)
    yield ModelProblem(model, x)
    yield ModelProblem(Sequential([Dense(3, 2)]), x, HalfSquaredError(), x[:, :2])
    yield ActivationProblem(Sigmoid(), x)
    yield LossProblem(HalfSquaredError(), x, lambda rng, n: rng.normal(size=(n, 3)))


@pytest.mark.parametrize("problem", list(problems()), ids=lambda p: type(p).__name__)
def test_points_can_be_kept_and_found_again(problem):
    rng = np.random.default_rng(1)
    problem.move(rng, 2.0, 1.0, 3)
    state = problem.snapshot()
    y, gradients = problem.evaluate().copy(), problem.gradients(np.ones(len(problem.evaluate())))
    first = next(iter(problem.arrays.values())).copy()
    assert len(first) == 3
    problem.jitter(rng)
    assert 0 < abs(next(iter(problem.arrays.values())) - first).max() < 0.1
    problem.move(rng, 8.0, 2.0, 2)
    problem.restore(state)
    assert (problem.evaluate() == y).all()
    for name, gradient in problem.gradients(np.ones(len(y))).items():
        assert (gradient == gradients[name]).all()


def test_what_was_in_the_gradients_before_is_kept():
    (problem, *_) = problems()
    problem.gradients(np.ones(8))
    assert set(problem.before) == {"layers[0].kernel", "layers[0].bias"}
    assert all((before >= 1).all() for before in problem.before.values())


def test_a_fresh_copy_is_at_the_same_point():
    (problem, *_) = problems()
    problem.move(np.random.default_rng(2), 1.0, 1.0, 3)
    fresh = problem.fresh()
    assert fresh.model is not problem.model
    assert (fresh.evaluate() == problem.evaluate()).all()
    assert next(p for p in problems() if isinstance(p, LossProblem)).fresh() is None
