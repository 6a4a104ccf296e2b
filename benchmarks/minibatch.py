"""Minibatch training of 784-512-256-10: layerkit against torch, JAX, Keras and scikit-learn.

    pip install -e '.[benchmarks]'
    python benchmarks/minibatch.py

ReLU, softmax cross-entropy, float32, SGD with momentum. All contenders start from the same weights
and are checked to have the same loss after the same steps. The matrix products of a step alone,
done by NumPy, are the floor: the same BLAS with the same threads.
"""

import argparse
import itertools
import os
import subprocess
import sys

import numpy as np
from side_by_side import missing, race, ratio, table, write

from layerkit import SGD, Dense, ReLU, Sequential, SoftmaxCrossEntropy, Trainer
from layerkit.engines.tables import load_kernels

WIDTHS = (784, 512, 256, 10)
RATE, MOMENTUM = 0.01, 0.9


def weights():
    rng = np.random.default_rng(0)
    drawn = []
    for n_in, n_out in itertools.pairwise(WIDTHS):
        kernel = rng.normal(size=(n_in, n_out)) * np.sqrt(2 / n_in)
        drawn += [kernel.astype(np.float32), np.zeros(n_out, np.float32)]
    return drawn


class Data:
    """Some batches, in their order."""

    def __init__(self, batch_size, n_batches=8):
        rng = np.random.default_rng(1)
        self.batch_size, self.n_batches = batch_size, n_batches
        self.x = rng.normal(size=(batch_size * n_batches, WIDTHS[0])).astype(np.float32)
        self.y = rng.integers(WIDTHS[-1], size=len(self.x))
        spans = [slice(i * batch_size, (i + 1) * batch_size) for i in range(n_batches)]
        self.batches = [(self.x[span], self.y[span]) for span in spans]


class Layerkit:
    """`Trainer.fit`; each call goes through the data so many times."""

    def __init__(self, data, engine="auto"):
        a, b, c, d = WIDTHS
        layers = [Dense(a, b, ReLU()), Dense(b, c, ReLU()), Dense(c, d)]
        model = Sequential(layers, dtype=np.float32)
        model.set_weights(weights())
        optimizer = SGD(RATE, momentum=MOMENTUM)
        if engine == "auto":  # short fits don't load numba; long ones, which these stand for, do
            load_kernels("minibatch")
        self.trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, engine=engine)
        self.data = data

    def epochs(self, n_epochs):
        data = self.data
        size = data.batch_size
        self.trainer.fit(data.x, data.y, epochs=n_epochs, batch_size=size, shuffle=False)
        return self.trainer.batch_loss


class Products:
    """The matrix products of a step, and nothing else."""

    def __init__(self, data):
        size, dtype = data.batch_size, np.float32
        rng = np.random.default_rng(0)
        self.kernels = weights()[::2]
        self.values = [rng.normal(size=(size, width)).astype(dtype) for width in WIDTHS]
        self.z = [np.empty((size, width), dtype) for width in WIDTHS[1:]]
        self.dx = [np.empty((size, width), dtype) for width in WIDTHS]
        self.grads = [np.empty_like(kernel) for kernel in self.kernels]
        self.n_batches = data.n_batches

    def epochs(self, n_epochs):
        layers = range(len(self.kernels))
        for _ in range(n_epochs * self.n_batches):
            for i in layers:
                self.values[i].dot(self.kernels[i], self.z[i])
            for i in reversed(layers):
                self.values[i].T.dot(self.z[i], self.grads[i])
                if i:
                    self.z[i].dot(self.kernels[i].T, self.dx[i])


class Torch:
    """torch, eager or compiled."""

    def __init__(self, data, compiled=False):
        import torch

        torch.set_default_dtype(torch.float32)
        layers = []
        for n_in, n_out in itertools.pairwise(WIDTHS):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers[:-1])
        with torch.no_grad():
            for parameter, value in zip(self.model.parameters(), weights(), strict=True):
                parameter.copy_(torch.from_numpy(value.T if value.ndim == 2 else value))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=MOMENTUM)
        self.loss = torch.nn.CrossEntropyLoss()
        self.call = torch.compile(self._loss) if compiled else self._loss
        self.batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in data.batches]

    def _loss(self, x, y):
        return self.loss(self.model(x), y)

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            for x, y in self.batches:
                self.optimizer.zero_grad()
                loss = self.call(x, y)
                loss.backward()
                self.optimizer.step()
        return loss.item()


class Jax:
    """JAX, a jitted function a step, which may reuse its arguments' memory."""

    def __init__(self, data):
        import jax

        jnp = jax.numpy

        def loss(weights, x, y):
            for i in range(0, len(weights), 2):
                x = x @ weights[i] + weights[i + 1]
                x = jax.nn.relu(x) if i + 2 < len(weights) else x
            return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1).mean()

        def step(weights, velocities, x, y):
            value, grads = jax.value_and_grad(loss)(weights, x, y)
            pairs = zip(velocities, grads, strict=True)
            velocities = [MOMENTUM * v + g for v, g in pairs]
            weights = [w - RATE * v for w, v in zip(weights, velocities, strict=True)]
            return weights, velocities, value

        self.step = jax.jit(step, donate_argnums=(0, 1))
        self.weights = [jnp.asarray(weight) for weight in weights()]
        self.velocities = [jnp.zeros_like(weight) for weight in self.weights]
        self.batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in data.batches]

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            for x, y in self.batches:
                self.weights, self.velocities, value = self.step(
                    self.weights, self.velocities, x, y
                )
        return float(value)


class Keras:
    """Keras on JAX, `fit`."""

    def __init__(self, data):
        os.environ.setdefault("KERAS_BACKEND", "jax")
        import keras

        keras.backend.set_floatx("float32")
        layers = [keras.Input((WIDTHS[0],))]
        layers += [keras.layers.Dense(width, activation="relu") for width in WIDTHS[1:-1]]
        self.model = keras.Sequential([*layers, keras.layers.Dense(WIDTHS[-1])])
        self.model.set_weights(weights())
        # Keras's velocity has the learning rate in it, which is the same while that stays.
        self.model.compile(
            optimizer=keras.optimizers.SGD(RATE, momentum=MOMENTUM),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        self.data = data

    def epochs(self, n_epochs):
        data = self.data
        size = data.batch_size
        self.model.fit(data.x, data.y, batch_size=size, epochs=n_epochs, shuffle=False, verbose=0)


class ScikitLearn:
    """scikit-learn, `MLPClassifier.partial_fit` batch by batch."""

    def __init__(self, data):
        from sklearn.neural_network import MLPClassifier

        self.model = MLPClassifier(
            WIDTHS[1:-1],
            solver="sgd",
            alpha=0,
            batch_size=data.batch_size,
            learning_rate_init=RATE,
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            shuffle=False,
        )
        self.data, self.started = data, False

    def epochs(self, n_epochs):
        classes = np.arange(WIDTHS[-1])
        if not self.started:
            # It draws its weights at the first call; they are replaced after a step of no length.
            self.model.learning_rate_init = 1e-30
            self.model.partial_fit(*self.data.batches[0], classes=classes)
            drawn = weights()
            for own, value in zip(self.model.coefs_, drawn[::2], strict=True):
                own[...] = value
            for own, value in zip(self.model.intercepts_, drawn[1::2], strict=True):
                own[...] = value
            self.model._optimizer.learning_rate = RATE
            self.model._optimizer.learning_rate_init = RATE
            for velocity in self.model._optimizer.velocities:
                velocity[...] = 0
            self.started = True
        for _ in range(n_epochs):
            for x, y in self.data.batches:
                self.model.partial_fit(x, y, classes=classes)
        return self.model.loss_


MAKERS = {
    "layerkit": Layerkit,
    "layerkit without numba": lambda data: Layerkit(data, "numpy"),
    "torch, eager": Torch,
    "torch, compiled": lambda data: Torch(data, compiled=True),
    "JAX, jit": Jax,
    "Keras on JAX, fit": Keras,
    "scikit-learn": ScikitLearn,
}


def ready(makers, data):
    """Make the contenders, and check that they have the same loss after the same steps."""
    contenders, expected = {}, None
    for name, make in makers.items():
        try:
            contender = make(data)
            loss = contender.epochs(2)
        except ImportError as error:
            missing(error.name)
            continue
        except Exception as error:  # torch.compile needs a C++ compiler
            print(f"{name} is left out: {type(error).__name__}")
            continue
        expected = loss if expected is None else expected
        if loss is not None:  # Keras's is a mean over its epoch
            assert np.isclose(loss, expected, rtol=1e-3), f"{name}: {loss} is not {expected}"
        contenders[name] = contender
    return contenders


def side_by_side(batch_size, rounds):
    data = Data(batch_size)
    few = max(3, 512 // batch_size)
    products = Products(data)
    products.epochs(1)
    floor = "the products alone"
    n_steps = few * data.n_batches
    contenders = {floor: (lambda: products.epochs(few), n_steps * batch_size)}
    for name, contender in ready(MAKERS, data).items():
        contenders[name] = (lambda run=contender.epochs: run(few), n_steps * batch_size)
    times = race(contenders, rounds, pause=0.1)
    lines = [table(f"batches of {batch_size}, a sample", times, floor), ""]
    lines += [
        f"layerkit takes {ratio(times, 'layerkit', other):.2f} times as long as {other}.\\"
        for other in times
        if other not in ("layerkit", "layerkit without numba")
    ]
    return "\n".join(lines)


def peak_memory(name):
    """Tell the MB that a process takes at most, which trains this contender and no other."""
    code = "import minibatch as m\n"
    code += f"m.MAKERS[{name!r}](m.Data(128)).epochs(3)\n"
    # Not getrusage, which counts what this process has taken too.
    code += "print(next(s for s in open('/proc/self/status') if s.startswith('VmHWM')))"
    folder = os.path.dirname(os.path.abspath(__file__))
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    return int(run.stdout.split()[-2]) / 1024 if run.returncode == 0 else None


def memory():
    lines = ["| peak memory of the training | MB |", "|---|---|"]
    for name in MAKERS:
        megabytes = peak_memory(name)
        if megabytes is not None:
            lines.append(f"| {name} | {megabytes:.0f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 128, 1024])
    options = parser.parse_args()
    text = ["`python benchmarks/minibatch.py`: 784-512-256-10, float32, SGD with momentum."]
    text += [side_by_side(size, options.rounds) for size in options.batch_sizes]
    write("Minibatch", "\n\n".join([*text, memory()]))


if __name__ == "__main__":
    main()
