"""The examples run without a warning, and what they teach to write is right."""

import ast
import atexit
import functools
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import SGD, Callback, Dense, HalfSquaredError, Sequential, Tanh, Trainer
from layerkit.testing import numeric_gradient

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
by_name = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)

# The numeric gradients are good to about 1e-10 for functions as smooth as these, in float64; a
# wrong term or factor is off by far more than this.
TOLERANCE = 1e-6


FOLDER = tempfile.TemporaryDirectory(prefix="layerkit-")
atexit.register(FOLDER.cleanup)
PICTURES = ["denoising", "spirals", "variational"]  # which draw one where they are told to


@functools.cache
def run(path):
    command = [sys.executable, "-W", "error", str(path)]
    if path.stem in PICTURES:
        command.append(str(picture_of(path.stem)))
    environment = os.environ | {"MPLBACKEND": "agg"}
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)


def picture_of(name):
    return Path(FOLDER.name) / f"{name}.png"


def load(name):
    (path,) = [path for path in EXAMPLES if path.stem == name]
    spec = importlib.util.spec_from_file_location(f"examples_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_same_gradient(gradient, numeric):
    assert gradient.shape == numeric.value.shape
    size = np.linalg.norm(numeric.value)
    assert size > 0
    assert np.linalg.norm(gradient - numeric.value) <= TOLERANCE * size


def test_there_are_examples():
    assert EXAMPLES


@by_name
def test_example_runs_without_a_warning_and_prints(path):
    finished = run(path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip()
    assert finished.stderr == ""


@by_name
def test_example_says_what_it_shows(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_autoencoder_finds_a_code_for_each_input():
    (path,) = [path for path in EXAMPLES if path.stem == "autoencoder"]
    printed = run(path).stdout
    assert float(re.search(r"squared distance (\S+)", printed)[1]) <= 0.002
    inputs = re.findall(r"input \[(.*?)\]", printed)
    assert inputs == [" ".join(str(int(i == j)) for j in range(8)) for i in range(8)]
    codes = re.findall(r"code \[([01]) ([01]) ([01])\]", printed)
    assert len(codes) == len(set(codes)) == 8


def test_gradients_of_the_layer():
    rng = np.random.default_rng(0)
    layer = load("custom_layer").Gaussian(4)
    # Not the first layer: dx is used as well.
    model = Sequential([Dense(2, 3, Tanh()), layer], seed=0)
    # Each scale another, so that none can stand for its neighbour.
    layer.scale.value = rng.uniform(0.5, 1.5, 4)
    x, dy = rng.normal(size=(5, 2)), rng.normal(size=(5, 4))

    def function():
        return float((dy * model.predict(x)).sum())

    model.forward(x, training=True)
    dx = model.backward(dy)
    assert {parameter.name for parameter in layer.parameters} == {"centre", "scale"}
    for parameter in model.parameters:
        assert_same_gradient(parameter.grad, numeric_gradient(function, parameter.value))
    assert_same_gradient(dx, numeric_gradient(function, x))


def test_value_of_the_layer():
    layer = load("custom_layer").Gaussian(1)
    model = Sequential([layer], input_shape=(2,))
    model.set_weights([[[1.0, 2.0]], [0.5]])
    # Offsets of (0, 0) and (3, -4), half as long once scaled.
    assert_allclose(model.predict([[1, 2], [4, -2]]), np.exp([[0], [-0.5 * 2.5**2]]), rtol=1e-15)


@pytest.mark.parametrize("a", [1.0, 0.3, 4.0])
def test_derivative_of_the_activation(a):
    rng = np.random.default_rng(0)
    activation = load("custom_activation").Snake(a)
    z, dy = rng.normal(0, 2, (5, 3)), rng.normal(size=(5, 3))
    dz = activation.backward(dy, z, activation.forward(z))
    numeric = numeric_gradient(lambda: float((dy * activation.forward(z)).sum()), z)
    assert_same_gradient(dz, numeric)


def test_value_of_the_activation():
    z = np.array([[0.0, np.pi / 4, np.pi / 2]])
    expected = [[0.0, np.pi / 4 + 0.5, np.pi / 2]]
    assert_allclose(load("custom_activation").Snake(2.0).forward(z), expected, atol=1e-15)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_gradient_of_the_loss(quantile):
    rng = np.random.default_rng(0)
    loss = load("custom_loss").QuantileLoss(quantile)
    # Linear on either side of y_true, and no prediction is within a step of that kink.
    y_pred = rng.normal(size=(6, 2))
    y_true = y_pred + rng.choice([-1, 1], (6, 2)) * rng.uniform(0.5, 2, (6, 2))
    numeric = numeric_gradient(lambda: loss.value(y_pred, y_true), y_pred)
    assert_same_gradient(loss.gradient(y_pred, y_true), numeric)


def test_value_of_the_loss_is_the_mean_over_the_samples():
    loss = load("custom_loss").QuantileLoss(0.75)
    y_pred, y_true = np.array([[1.0, 0.0], [5.0, 2.0]]), np.array([[3.0, 0.0], [1.0, 1.0]])
    # 2 too low; 4 and 1 too high; two samples.
    assert loss.value(y_pred, y_true) == (0.75 * 2 + 0.25 * (4 + 1)) / 2


def test_optimizer_follows_its_recurrence():
    rng = np.random.default_rng(0)
    learning_rate, rho, epsilon = 0.1, 0.6, 0.01
    optimizer = load("custom_optimizer").RMSprop(learning_rate, rho, epsilon)
    values = rng.normal(size=4)
    expected, v = values.tolist(), [0.0] * 4
    for _ in range(5):
        grads = rng.normal(size=4)
        optimizer.step(values, grads)
        for i, grad in enumerate(grads.tolist()):
            v[i] = rho * v[i] + (1 - rho) * grad * grad
            expected[i] -= learning_rate * grad / (v[i] ** 0.5 + epsilon)
    # The same operations, whose roundings may differ in their order.
    assert_allclose(values, expected, rtol=1e-13)
    assert_allclose(optimizer.state["mean_square"], v, rtol=1e-13)


def test_callback_halves_the_learning_rate_when_the_loss_stalls():
    rates = []

    class WatchRate(Callback):
        def on_epoch_end(self, trainer):
            rates.append(trainer.optimizer.learning_rate)

    halve = load("custom_callback").HalveOnPlateau(patience=2)
    model = Sequential([Dense(1, 1, use_bias=False)])
    model.set_weights([[[1.0]]])
    trainer = Trainer(model, HalfSquaredError(), SGD(2.0), callbacks=[halve, WatchRate()])
    x, y_true = np.array([[1.0], [-1.0]]), np.zeros((2, 1))
    history = trainer.fit(x, y_true, epochs=8, batch_size=2)
    # At rate 2 the kernel jumps from 1 to -1 and back, as high as before; at rate 1 its first
    # step ends in the minimum, where the loss is 0 and can't fall any more.
    assert history["loss"] == [0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0]
    assert rates == [2, 2, 1, 1, 1, 1, 0.5, 0.5]
    # Another fit waits anew, as its first epoch is the lowest so far; so does each halving.
    trainer.fit(x, y_true, epochs=5, batch_size=2)
    assert rates[8:] == [0.5, 0.5, 0.25, 0.25, 0.125]


def test_callback_leaves_the_learning_rate_while_the_loss_falls():
    halve = load("custom_callback").HalveOnPlateau(patience=1)
    model = Sequential([Dense(1, 1)], seed=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(0.1), callbacks=[halve])
    losses = trainer.fit([[1.0]], [[3.0]], epochs=20)["loss"]
    assert losses == sorted(losses, reverse=True)
    assert trainer.optimizer.learning_rate == 0.1


def printed_by(name):
    (path,) = [path for path in EXAMPLES if path.stem == name]
    return run(path).stdout


def numbers(pattern, name):
    return [float(number) for number in re.findall(pattern, printed_by(name))]


def test_examples_are_short():
    for path in EXAMPLES:
        assert len(path.read_text().splitlines()) < 60 or path.stem.startswith("custom_")


def test_digits_are_told_apart():
    (accuracy,) = numbers(r"accuracy on 359 images: ([\d.]+)", "digits")
    assert accuracy >= 0.97


def test_mnist():
    (accuracy,) = numbers(r"best accuracy on 1,000 images: ([\d.]+)", "mnist")
    assert accuracy >= 0.92


def test_the_ensemble_disagrees_where_nothing_is_known():
    known, unknown, far = numbers(r"uncertainty ([\d.]+)", "uncertainty")
    assert 2 * known < min(unknown, far)


def test_spirals():
    (accuracy,) = numbers(r"accuracy on held-out points ([\d.]+)", "spirals")
    assert accuracy >= 0.95


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_drawn_where_asked_for(name):
    (path,) = [path for path in EXAMPLES if path.stem == name]
    assert run(path).returncode == 0
    # An empty picture of this size has some 2,000 bytes.
    assert picture_of(name).stat().st_size > 5_000


def test_autoencoders_of_digits():
    noisy, restored = numbers(r"mean error of a pixel: ([\d.]+)", "denoising")
    assert 2 * restored < noisy
    (error,) = numbers(r"made again: ([\d.]+)", "variational")
    assert error < 0.1  # the mean digit's is 0.19


def test_convolutional_networks():
    (accuracy,) = numbers(r"accuracy on 359 images: ([\d.]+)", "cnn_digits")
    assert accuracy >= 0.985
    (accuracy,) = numbers(r"accuracy on 1,000 images: ([\d.]+)", "mnist_cnn")
    assert accuracy >= 0.97


def test_sequences():
    plain, lstm, mean = numbers(r"error ([\d.]+)", "long_memory")
    assert lstm < 0.1 < 0.3 < plain
    assert mean == pytest.approx(0.408, abs=0.01)
    (right,) = numbers(r"([\d.]+) of the next characters right", "characters")
    assert right > 0.8
    assert "Thou art more lovely and more temperate:" in printed_by("characters")


def test_graphs_of_several_inputs():
    (explained,) = numbers(r"of the variance explained, on new patients: ([\d.]+)", "two_inputs")
    (right,) = numbers(r"right about further or not: ([\d.]+)", "two_inputs")
    assert explained > 0.35
    assert right > 0.65
    old, new = numbers(r"images: ([\d.]+) right", "siamese")
    assert min(old, new) > 0.95


def test_a_way_around_lets_many_layers_learn():
    plain, residual = numbers(r": ([\d.]+) of new digits right", "residual")
    assert residual > 0.85
    assert residual > plain + 0.2


def test_who_goes_on_learning_follows_the_drift():
    learning = numbers(r"learning ([\d.]+)", "drifting_stream")
    stopped = numbers(r"stopped ([\d.]+)", "drifting_stream")
    assert learning[:2] == stopped[:2]
    assert max(learning[2:]) < 0.02
    assert stopped[-1] > 20 * learning[-1]


def test_what_was_learned_elsewhere_helps():
    assert "features are as they were: True" in printed_by("transfer")
    frozen, slow, scratch = numbers(r"R² (-?[\d.]+)", "transfer")
    assert min(frozen, slow) > scratch + 0.1


def test_ranks_make_the_steps_of_one_process(tmp_path):
    (path,) = [path for path in EXAMPLES if path.stem == "ranks"]
    (alone,) = numbers(r"1 rank\(s\), 30 epochs, loss ([\d.]+)", "ranks")
    command = [sys.executable, "-m", "layerkit", "launch", "-n", "2", "--restarts", "3", str(path)]
    command.append(str(tmp_path / "run.checkpoint"))
    for _ in range(2):  # the second time there is nothing left to do
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
        (loss,) = re.findall(r"2 rank\(s\), 30 epochs, loss ([\d.]+)", done.stdout)
        # 600 steps may take rounding apart by some more digits.
        assert float(loss) == pytest.approx(alone, rel=1e-5)


def test_the_sweep_tells_good_rates_from_bad_ones():
    printed = printed_by("sweep")
    assert "12 runs" in printed
    assert "3 failed" in printed
    assert "failed: NonFiniteError: Trainer.fit" in printed
    slow, *_, best = numbers(r"accuracy ([\d.]+), between", "sweep")
    assert best > 0.9
    assert best > slow + 0.1
    assert "best: {'learning_rate': 0." in printed
