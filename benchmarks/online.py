"""Online training, a sample an update: layerkit against loops written by hand, torch and JAX.

    pip install -e '.[benchmarks]'
    python benchmarks/online.py

All contenders start from the same weights, and are checked to have the same error after the same
epochs. Those that are not installed are left out.
"""

import argparse
import math

import numpy as np
from numba import njit
from side_by_side import missing, race, ratio, table, write

from layerkit import SGD, Dense, HalfSquaredError, Sequential, Sigmoid, SquaredDistance, Trainer

ONE_HOT = np.eye(8)
OPTIONS = {"error_model": "numpy", "fastmath": {"contract", "reassoc"}}


def notebook_weights():
    rng = np.random.default_rng(0)
    return [rng.uniform(size=shape) for shape in [(8, 3), (3,), (3, 8), (8,)]]


@njit(**OPTIONS)
def specialised(kernel_1, bias_1, kernel_2, bias_2, x, n_epochs):
    """8-3-8 with its sizes as constants: nothing for the compiler to find out."""
    hidden, y, dz_1, dz_2 = np.empty(3), np.empty(8), np.empty(3), np.empty(8)
    distance = 0.0
    for _ in range(n_epochs):
        distance = 0.0
        for sample in range(8):
            for j in range(3):
                z = bias_1[j]
                for i in range(8):
                    z += x[sample, i] * kernel_1[i, j]
                hidden[j] = 1 / (1 + math.exp(-z))
            for j in range(8):
                z = bias_2[j]
                for i in range(3):
                    z += hidden[i] * kernel_2[i, j]
                y[j] = 1 / (1 + math.exp(-z))
                error = y[j] - x[sample, j]
                distance += error * error
                dz_2[j] = error * y[j] * (1 - y[j])
            for i in range(3):
                dx = 0.0
                for j in range(8):
                    dx += kernel_2[i, j] * dz_2[j]
                    kernel_2[i, j] -= hidden[i] * dz_2[j]
                dz_1[i] = dx * hidden[i] * (1 - hidden[i])
            for j in range(8):
                bias_2[j] -= dz_2[j]
            for i in range(8):
                for j in range(3):
                    kernel_1[i, j] -= x[sample, i] * dz_1[j]
            for j in range(3):
                bias_1[j] -= dz_1[j]
    return distance


@njit(**OPTIONS)
def two_layers(kernel_1, bias_1, kernel_2, bias_2, x, targets, rate, n_epochs):
    """Two layers of sigmoids as one would write them for numba: by rows, sizes from the arrays."""
    n_in, n_hidden = kernel_1.shape
    n_out = len(bias_2)
    hidden, y = np.empty(n_hidden), np.empty(n_out)
    dz_1, dz_2 = np.empty(n_hidden), np.empty(n_out)
    distance = 0.0
    for _ in range(n_epochs):
        distance = 0.0
        for sample in range(len(x)):
            hidden[:] = bias_1
            for i in range(n_in):
                for j in range(n_hidden):
                    hidden[j] += x[sample, i] * kernel_1[i, j]
            for j in range(n_hidden):
                hidden[j] = 1 / (1 + math.exp(-hidden[j]))
            y[:] = bias_2
            for i in range(n_hidden):
                for j in range(n_out):
                    y[j] += hidden[i] * kernel_2[i, j]
            for j in range(n_out):
                y[j] = 1 / (1 + math.exp(-y[j]))
                error = y[j] - targets[sample, j]
                distance += error * error
                dz_2[j] = error * y[j] * (1 - y[j])
            for i in range(n_hidden):
                dx, step = 0.0, rate * hidden[i]
                for j in range(n_out):
                    dx += kernel_2[i, j] * dz_2[j]
                    kernel_2[i, j] -= step * dz_2[j]
                dz_1[i] = dx * hidden[i] * (1 - hidden[i])
            for j in range(n_out):
                bias_2[j] -= rate * dz_2[j]
            for i in range(n_in):
                step = rate * x[sample, i]
                for j in range(n_hidden):
                    kernel_1[i, j] -= step * dz_1[j]
            for j in range(n_hidden):
                bias_1[j] -= rate * dz_1[j]
    return distance


class Specialised:
    def __init__(self):
        self.weights = notebook_weights()

    def epochs(self, n_epochs):
        return specialised(*self.weights, ONE_HOT, n_epochs)


class Barest:
    """A vectorised loop as one would write it at first: no functions, no checks."""

    def __init__(self):
        self.weights = notebook_weights()

    def epochs(self, n_epochs):
        kernel_1, bias_1, kernel_2, bias_2 = self.weights
        for _ in range(n_epochs):
            distance = 0.0
            for x in ONE_HOT:
                hidden = 1 / (1 + np.exp(-(x @ kernel_1 + bias_1)))
                y = 1 / (1 + np.exp(-(hidden @ kernel_2 + bias_2)))
                error = y - x
                distance += error @ error
                dz_2 = error * y * (1 - y)
                dz_1 = (kernel_2 @ dz_2) * hidden * (1 - hidden)
                kernel_2 -= np.outer(hidden, dz_2)
                bias_2 -= dz_2
                kernel_1 -= np.outer(x, dz_1)
                bias_1 -= dz_1
        return distance


class WithOut:
    """The best such loop we know: all results into arrays made before, one vector to update."""

    def __init__(self):
        self.values = np.concatenate([weight.ravel() for weight in notebook_weights()])
        self.grads = np.zeros_like(self.values)

    def epochs(self, n_epochs):
        values, grads = self.values, self.grads
        (k_1, b_1, k_2, b_2), (dk_1, db_1, dk_2, db_2) = (
            (v[:24].reshape(8, 3), v[24:27], v[27:51].reshape(3, 8), v[51:])
            for v in (values, grads)
        )
        h, s_1, dh = np.empty((3, 3))
        y, s_2, error = np.empty((3, 8))
        one = np.array(1.0)
        h_column, dz_1, dz_2 = h[:, None], db_1[None], db_2[None]
        dot, add, subtract, multiply = np.dot, np.add, np.subtract, np.multiply
        negative, exp, reciprocal = np.negative, np.exp, np.reciprocal
        columns = [(x, x[:, None]) for x in ONE_HOT]
        for _ in range(n_epochs):
            distance = 0.0
            for x, x_column in columns:
                dot(x, k_1, h)
                add(h, b_1, h)
                reciprocal(add(exp(negative(h, h), h), one, h), h)
                dot(h, k_2, y)
                add(y, b_2, y)
                reciprocal(add(exp(negative(y, y), y), one, y), y)
                subtract(y, x, error)
                distance += error.dot(error)
                multiply(error, multiply(subtract(one, y, s_2), y, s_2), db_2)
                dot(k_2, db_2, dh)
                multiply(dh, multiply(subtract(one, h, s_1), h, s_1), db_1)
                dot(h_column, dz_2, dk_2)
                dot(x_column, dz_1, dk_1)
                subtract(values, grads, values)
        return distance


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def slope(z):
    return sigmoid(z) * (1 - sigmoid(z))


class Notebook:
    """The from-scratch notebook's own steps: np.vectorize, and a loop over each weight."""

    def __init__(self):
        kernel_1, bias_1, kernel_2, bias_2 = notebook_weights()
        self.w, self.b = [kernel_1, kernel_2], [bias_1, bias_2]
        self.rows = ONE_HOT.astype(int).tolist()

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            distance = 0
            for x in self.rows:
                distance += self.update(x, x)
        return distance

    def update(self, x, y):
        w, b = self.w, self.b
        z, a, d = [None, None], [x, None, None], [None, None]
        for i in range(2):
            z[i] = np.dot(a[i], w[i]) + b[i]
            a[i + 1] = np.vectorize(sigmoid)(z[i])
        d[1] = (y - a[2]) * np.vectorize(slope)(z[1])
        d[0] = np.dot(w[1], d[1]) * np.vectorize(slope)(z[0])
        for i in range(2):
            for k in range(len(b[i])):
                for j in range(len(a[i])):
                    w[i][j, k] = w[i][j, k] + a[i][j] * d[i][k]
                b[i][k] = b[i][k] + d[i][k]
        return np.sum((y - a[2]) ** 2)


class Layerkit:
    """`Trainer.fit`, with the metric that the others compute."""

    def __init__(self, engine, widths=(8, 3, 8), weights=None, rate=1.0, x=ONE_HOT, y=ONE_HOT):
        layers = [Dense(widths[0], widths[1], Sigmoid()), Dense(widths[1], widths[2], Sigmoid())]
        model = Sequential(layers, seed=0)
        model.set_weights(weights or notebook_weights())
        metrics = [SquaredDistance()]
        self.trainer = Trainer(model, HalfSquaredError(), SGD(rate), metrics=metrics, engine=engine)
        self.x, self.y = x, y

    def epochs(self, n_epochs):
        history = self.trainer.fit(self.x, self.y, epochs=n_epochs, batch_size=1, shuffle=False)
        return history["squared_distance"][-1]


class LayerkitSteps(Layerkit):
    """`Trainer.train_step`, which checks each batch, and computes no metric."""

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            for i in range(8):
                x = ONE_HOT[i : i + 1]
                self.trainer.train_step(x, x)
        return self.trainer.evaluate(ONE_HOT, ONE_HOT)["squared_distance"]


class Torch:
    """torch, eager."""

    def __init__(self):
        import torch

        torch.set_default_dtype(torch.float64)
        kernel_1, bias_1, kernel_2, bias_2 = map(torch.tensor, notebook_weights())
        first, second = torch.nn.Linear(8, 3), torch.nn.Linear(3, 8)
        with torch.no_grad():
            for parameter, value in [
                (first.weight, kernel_1.T),
                (first.bias, bias_1),
                (second.weight, kernel_2.T),
                (second.bias, bias_2),
            ]:
                parameter.copy_(value)
        sigmoid = torch.nn.Sigmoid
        self.model = torch.nn.Sequential(first, sigmoid(), second, sigmoid())
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1.0)
        self.x = torch.tensor(ONE_HOT)

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            distance = 0.0
            for i in range(8):
                x = self.x[i : i + 1]
                self.optimizer.zero_grad()
                loss = ((self.model(x) - x) ** 2).sum() / 2
                loss.backward()
                self.optimizer.step()
                distance += 2 * loss.item()
        return distance


class Jax:
    """JAX: a jitted function a step, or a scan over 200 epochs compiled together."""

    def __init__(self, scan):
        import jax

        jax.config.update("jax_enable_x64", True)
        jnp = jax.numpy

        def loss(weights, x):
            kernel_1, bias_1, kernel_2, bias_2 = weights
            hidden = jax.nn.sigmoid(x @ kernel_1 + bias_1)
            return ((jax.nn.sigmoid(hidden @ kernel_2 + bias_2) - x) ** 2).sum() / 2

        def step(weights, x):
            value, gradients = jax.value_and_grad(loss)(weights, x)
            return [w - g for w, g in zip(weights, gradients, strict=True)], 2 * value

        def epoch(weights, _):
            weights, distances = jax.lax.scan(step, weights, x)
            return weights, distances.sum()

        self.scan, self.jax = scan, jax
        x = jnp.asarray(ONE_HOT)
        self.rows = [jnp.asarray(row) for row in ONE_HOT]
        self.step = jax.jit(step)
        self.many = {
            n: jax.jit(lambda weights, n=n: jax.lax.scan(epoch, weights, length=n))
            for n in (50, 200)
        }
        self.weights = [jnp.asarray(weight) for weight in notebook_weights()]

    def epochs(self, n_epochs):
        if self.scan:
            n = min(n_epochs, 200)
            for _ in range(n_epochs // n):
                self.weights, distances = self.many[n](self.weights)
            return float(distances[-1])
        for _ in range(n_epochs):
            squares = []
            for x in self.rows:
                self.weights, square = self.step(self.weights, x)
                squares.append(square)
        return sum(map(float, squares))


class Keras:
    """Keras on JAX, `train_on_batch`."""

    def __init__(self):
        import os

        os.environ.setdefault("KERAS_BACKEND", "jax")
        import keras

        keras.backend.set_floatx("float64")
        dense = keras.layers.Dense
        self.model = keras.Sequential(
            [keras.Input((8,)), dense(3, activation="sigmoid"), dense(8, activation="sigmoid")]
        )
        self.model.set_weights(notebook_weights())

        def half_squared_error(y_true, y_pred):
            return keras.ops.sum((y_pred - y_true) ** 2, axis=-1) / 2

        self.model.compile(optimizer=keras.optimizers.SGD(1.0), loss=half_squared_error)

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            distance = 0.0
            for i in range(8):
                x = ONE_HOT[i : i + 1]
                # Keras gives a running mean, which is reset for each figure of its own.
                self.model.reset_metrics()
                distance += 2 * float(self.model.train_on_batch(x, x))
        return distance


def autoencoder(rounds):
    makers = {
        "numba by hand, sizes fixed": (Specialised, 40_000),
        "layerkit, engine numba": (lambda: Layerkit("numba"), 40_000),
        "JAX, scan over 200 epochs": (lambda: Jax(scan=True), 8000),
        "JAX, jit a step": (lambda: Jax(scan=False), 50),
        "NumPy by hand with out=": (WithOut, 300),
        "NumPy by hand, the barest": (Barest, 200),
        "layerkit, engine numpy": (lambda: Layerkit("numpy"), 200),
        "layerkit, train_step": (lambda: LayerkitSteps("numpy"), 100),
        "the notebook": (Notebook, 50),
        "torch, eager": (Torch, 30),
        "Keras on JAX, train_on_batch": (Keras, 10),
    }
    contenders, reference = {}, None
    for name, (make, n_epochs) in makers.items():
        try:
            contender = make()
        except ImportError as error:
            missing(error.name)
            continue
        distance = contender.epochs(50)
        if reference is None:
            reference = distance
        if name != "layerkit, train_step":  # gives the distance after its epoch, not during it
            assert np.isclose(distance, reference, rtol=1e-10), f"{name} computes something else"
        run = getattr(contender, "epochs")  # noqa: B009 - bound now, not when the loop is over
        run(n_epochs)
        contenders[name] = (lambda run=run, n=n_epochs: run(n), 8 * n_epochs)
    times = race(contenders, rounds)
    lines = [table("8-3-8, an update a sample", times, "numba by hand, sizes fixed"), ""]
    for other in ("the notebook", "torch, eager", "JAX, scan over 200 epochs"):
        if other in times:
            faster = 1 / ratio(times, "layerkit, engine numba", other)
            lines.append(f"The compiled engine is {faster:.1f} times as fast as {other}.\\")
    against = ratio(times, "layerkit, engine numpy", "NumPy by hand with out=")
    lines.append(f"The NumPy engine takes {against:.2f} times as long as the loop with out=.")
    return "\n".join(lines)


def other_shapes(rounds):
    head = "| shape | by hand, µs | engine numba, µs | ratio | engine numpy, µs |"
    lines = [head, "|---|---|---|---|---|"]
    for widths in ((2, 4, 1), (64, 32, 10), (784, 64, 10), (256, 256, 256)):
        rng = np.random.default_rng(0)
        n_samples = 64
        x = rng.uniform(size=(n_samples, widths[0]))
        y = rng.uniform(size=(n_samples, widths[2]))
        shapes = [widths[:2], widths[1:2], widths[1:], widths[2:]]
        weights = [rng.normal(size=shape) / 10 for shape in shapes]
        by_hand = [weight.copy() for weight in weights]
        kits = {e: Layerkit(e, widths, weights, 0.1, x, y) for e in ("numba", "numpy")}
        expected = two_layers(*by_hand, x, y, 0.1, 20)
        for engine, kit in kits.items():
            assert np.isclose(kit.epochs(20), expected, rtol=1e-10), engine
        n_weights = sum(weight.size for weight in weights)
        n_epochs = max(1, int(4e7 / n_samples / (n_weights + 100)))
        few = max(1, n_epochs // 100)

        def run_by_hand(weights=by_hand, x=x, y=y, n=n_epochs):
            two_layers(*weights, x, y, 0.1, n)

        times = race(
            {
                "hand": (run_by_hand, n_samples * n_epochs),
                "numba": (lambda k=kits["numba"], n=n_epochs: k.epochs(n), n_samples * n_epochs),
                "numpy": (lambda k=kits["numpy"], n=few: k.epochs(n), n_samples * few),
            },
            rounds,
        )
        middle = {name: 1e6 * float(np.median(own)) for name, own in times.items()}
        lines.append(
            f"| {'-'.join(map(str, widths))} | {middle['hand']:.3f} | {middle['numba']:.3f} "
            f"| {ratio(times, 'numba', 'hand'):.2f} | {middle['numpy']:.1f} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    text = [
        "`python benchmarks/online.py`: µs an update, float64, two layers of sigmoids, SGD.",
        autoencoder(options.rounds),
        "Other shapes, against the same two layers written for numba by hand:",
        other_shapes(options.rounds),
    ]
    write("Online", "\n\n".join(text))


if __name__ == "__main__":
    main()
