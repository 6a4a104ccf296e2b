"""The notebook that layerkit grew out of: its errors retraced, and its two exercises."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import (
    SGD,
    Dense,
    HalfSquaredError,
    Identity,
    ReLU,
    Sequential,
    Sigmoid,
    SquaredDistance,
    StopAt,
    Tanh,
    Trainer,
)

TRAJECTORIES = json.loads(
    (Path(__file__).parent / "recorded" / "notebook_trajectories.json").read_text()
)
ONE_HOT = np.eye(8)


def notebook_weights(seed):
    # The notebook draws from NumPy's global state; its generator, with a state of its own,
    # gives the same numbers.
    draw = np.random.RandomState(seed).rand
    return [draw(8, 3), draw(3), draw(3, 8), draw(8)]


@pytest.fixture(scope="module", params=itertools.product(sorted(TRAJECTORIES), ["numba", "numpy"]))
def run(request):
    seed, engine = request.param
    model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())])
    model.set_weights(notebook_weights(int(seed)))
    metrics = [SquaredDistance()]
    trainer = Trainer(model, HalfSquaredError(), SGD(1.0), metrics=metrics, engine=engine)
    history = trainer.fit(
        ONE_HOT,
        ONE_HOT,
        epochs=100_000,
        batch_size=1,
        shuffle=False,
        callbacks=[StopAt("squared_distance", 0.002)],
    )
    assert trainer.engine_used.name == engine
    return history, TRAJECTORIES[seed]


def test_first_100_epochs_are_retraced_digit_for_digit(run):
    history, expected = run
    # 1e-12: the order of a few additions differs, nothing else does.
    np.testing.assert_allclose(
        history["squared_distance"][:100], expected["first_100"], rtol=1e-12, atol=0
    )


def test_epoch_count_to_the_target_is_exact(run):
    history, expected = run
    assert history.n_epochs == expected["epochs_to_0.002"]
    assert len(history["squared_distance"]) == history.n_epochs


def test_long_run_agrees(run):
    history, expected = run
    distance = history["squared_distance"]
    later = [distance[999], distance[9_999], distance[-1]]
    # 1e-9: what the reference promises of itself after tens of thousands of updates.
    np.testing.assert_allclose(
        later, [expected["at_1000"], expected["at_10000"], expected["last"]], rtol=1e-9, atol=0
    )


def test_distance_is_twice_the_loss_summed(run):
    history, _ = run
    np.testing.assert_allclose(
        history["squared_distance"][:100], 2 * 8 * np.array(history["loss"][:100]), rtol=1e-14
    )


def test_lists_as_the_notebook_writes_them_give_the_same():
    one_hot = [[int(row == column) for column in range(8)] for row in range(8)]
    model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())])
    model.set_weights(notebook_weights(0))
    trainer = Trainer(model, HalfSquaredError(), SGD(1.0), metrics=[SquaredDistance()])
    history = trainer.fit(one_hot, one_hot, epochs=5, batch_size=1, shuffle=False)
    np.testing.assert_allclose(
        history["squared_distance"], TRAJECTORIES["0"]["first_100"][:5], rtol=1e-12, atol=0
    )


def notebook_update(weights, activations, x, y):
    """The notebook's update of one sample, with an activation of its own for each layer."""
    z, a, slopes = [], [x], []
    for (kernel, bias), (value, slope) in zip(weights, activations, strict=True):
        z.append(a[-1] @ kernel + bias)
        a.append(np.array([value(number) for number in z[-1]]))
        slopes.append(np.array([slope(number) for number in z[-1]]))
    delta = (y - a[-1]) * slopes[-1]
    deltas = [delta]
    for (kernel, _), slope in zip(weights[:0:-1], slopes[-2::-1], strict=True):
        delta = (kernel @ delta) * slope
        deltas.insert(0, delta)
    for (kernel, bias), before, delta in zip(weights, a, deltas, strict=False):
        kernel += np.outer(before, delta)
        bias += delta
    return np.sum((y - a[-1]) ** 2)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize(
    "names", [("relu", "sigmoid"), ("tanh", "relu"), ("sigmoid", "identity"), ("relu", "tanh")]
)
def test_exercise_1_an_activation_for_each_layer(names):
    known = {
        "relu": (ReLU(), lambda z: max(z, 0), lambda z: float(z >= 0)),
        "sigmoid": (Sigmoid(), sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
        "tanh": (Tanh(), np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "identity": (Identity(), lambda z: z, lambda z: 1.0),
    }
    rng = np.random.default_rng(3)
    start = [rng.normal(0, 0.4, shape) for shape in [(8, 3), (3,), (3, 8), (8,)]]
    model = Sequential([Dense(8, 3, known[names[0]][0]), Dense(3, 8, known[names[1]][0])])
    model.set_weights(start)
    trainer = Trainer(model, HalfSquaredError(), SGD(1.0), metrics=[SquaredDistance()])
    history = trainer.fit(ONE_HOT, ONE_HOT, epochs=20, batch_size=1, shuffle=False)

    weights = [(start[0].copy(), start[1].copy()), (start[2].copy(), start[3].copy())]
    functions = [known[name][1:] for name in names]
    expected = [sum(notebook_update(weights, functions, x, x) for x in ONE_HOT) for _ in range(20)]
    # Two orders of addition, over 160 updates.
    np.testing.assert_allclose(history["squared_distance"], expected, rtol=1e-9)


def test_exercise_2_a_batch_step_is_the_mean_of_the_single_ones():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 4)), rng.normal(size=(7, 2))
    model = Sequential([Dense(4, 5, Tanh()), Dense(5, 2, Sigmoid())], seed=1)
    start = model.get_weights()

    def step(x, y):
        model.set_weights(start)
        Trainer(model, HalfSquaredError(), SGD(0.5)).fit(x, y, epochs=1, batch_size=7)
        return model.values - before

    before = model.values.copy()
    singles = [step(x[i : i + 1], y[i : i + 1]) for i in range(7)]
    np.testing.assert_allclose(step(x, y), np.mean(singles, axis=0), rtol=1e-10, atol=1e-15)


def test_last_smaller_batch_takes_the_mean_over_its_own_size():
    x = np.arange(5.0)[:, None]
    model = Sequential([Dense(1, 1, use_bias=False)])
    model.set_weights([np.array([[0.0]])])
    seen = []

    class Watch(SGD):
        def update(self, values, grads, state):
            seen.append(grads.copy())

    history = Trainer(model, HalfSquaredError(), Watch(1.0)).fit(
        x, x, epochs=1, batch_size=3, shuffle=False
    )
    # d/dk ½(kx − x)² = −x² at k = 0: the means of 0, 1, 4 and of 9, 16.
    np.testing.assert_allclose(np.ravel(seen), [-5 / 3, -25 / 2])
    # And the epoch's loss is the mean over the samples, not over the batches.
    assert history["loss"] == [pytest.approx(np.mean(x**2) / 2)]
