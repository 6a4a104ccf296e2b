"""The examples: each runs, and each class of its own does what it says."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layerkit import SGD, Dense, HalfSquaredError, Sequential, Tanh, Trainer
from layerkit.testing import numeric_gradient

EXAMPLES = sorted(Path(__file__).parent.parent.joinpath("examples").glob("*.py"))


def example(name):
    path = next(path for path in EXAMPLES if path.stem == name)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_is_short(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 65
    assert ast.get_docstring(ast.parse(source))
    finished = subprocess.run(
        [sys.executable, "-W", "error", path], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert "->" in finished.stdout or "asked for" in finished.stdout


def test_there_is_one_of_each_kind():
    kinds = {"layer", "activation", "loss", "optimizer", "callback"}
    assert {f"custom_{kind}" for kind in kinds} <= {path.stem for path in EXAMPLES}


def assert_gradient(function, array, analytic):
    numeric = numeric_gradient(function, array, magnitude=10.0)
    # What finite differences leave is measured; 1e-6 of the coordinate is the promise.
    assert (numeric.error < 1e-7).all()
    assert (abs(analytic - numeric.value) <= 1e-6 * abs(analytic) + numeric.error).all()


def test_the_layer_has_the_right_gradients():
    layer = example("custom_layer").LayerNorm()
    model = Sequential([layer], input_shape=(5,))
    rng = np.random.default_rng(0)
    model.values = rng.normal(size=10)
    x, dy = rng.normal(size=(3, 5)), rng.choice([-1, 1], (3, 5)) * rng.uniform(0.5, 1.5, (3, 5))
    model.forward(x, training=True)
    dx = model.backward(dy)
    for array, analytic in [(x, dx), *((p.value, p.grad.copy()) for p in layer.parameters)]:
        assert_gradient(lambda: float((model.predict(x) * dy).sum()), array, analytic)


def test_the_layer_normalises():
    model = Sequential([example("custom_layer").LayerNorm()], input_shape=(50,))
    y = model.predict(np.random.default_rng(0).normal(3, 20, size=(4, 50)))
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("frequency", [0.5, 1.0, 3.0])
def test_the_activation_has_the_right_derivative(frequency):
    snake = example("custom_activation").Snake(frequency)
    z = np.random.default_rng(0).normal(0, 2, size=(3, 4))
    dy = np.random.default_rng(1).uniform(0.5, 1.5, size=(3, 4))
    analytic = snake.backward(dy, z, snake.forward(z))
    assert_gradient(lambda: float((snake.forward(z) * dy).sum()), z, analytic)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_loss_has_the_right_gradient(share):
    quantile = example("custom_loss").Quantile(share)
    rng = np.random.default_rng(0)
    y_pred, y_true = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    analytic = quantile.gradient(y_pred, y_true)
    assert_gradient(lambda: quantile.value(y_pred, y_true), y_pred, analytic)
    singles = [quantile.value(y_pred[i : i + 1], y_true[i : i + 1]) for i in range(4)]
    assert quantile.value(y_pred, y_true) == pytest.approx(np.mean(singles))


def test_the_optimizer_is_the_recurrence():
    optimizer = example("custom_optimizer").RMSprop(0.1, rho=0.8)
    value, mean_square = 1.0, 0.0
    values = np.array([value])
    for step in range(20):
        grad = np.cos(step) * value
        optimizer.step(values, np.array([grad]))
        mean_square = 0.8 * mean_square + 0.2 * grad**2
        value -= 0.1 * grad / (mean_square**0.5 + 1e-8)
        assert values[0] == pytest.approx(value, rel=1e-12)
    assert optimizer.state["mean_square"].shape == (1,)


def test_the_callback_halves_the_learning_rate_on_a_plateau(capsys):
    model = Sequential([Dense(2, 2, Tanh())], seed=0)
    model[0].kernel.trainable = model[0].bias.trainable = False
    optimizer = SGD(1.0)
    callback = example("custom_callback").HalveOnPlateau(patience=3)
    trainer = Trainer(model, HalfSquaredError(), optimizer, callbacks=[callback])
    trainer.fit(np.ones((4, 2)), np.zeros((4, 2)), epochs=8, batch_size=4)
    # The loss can't fall: epochs 2-4 and 5-7 are waited for in vain.
    assert optimizer.learning_rate == 0.25
    assert capsys.readouterr().out.count("learning rate") == 2
