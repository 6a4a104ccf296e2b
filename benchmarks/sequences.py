"""Recurrent layers on 28 steps of 28 features, batches of 64: layerkit, torch eager and JAX.

    pip install -e '.[benchmarks]'
    python benchmarks/sequences.py

64 units and a layer of 10 outputs after the last step, softmax cross-entropy, float32, SGD with
momentum, one thread. All contenders start from the same weights and are checked to have the same
loss after the same steps. The matrix products of a step alone, done by NumPy, are the floor.
"""

import argparse
import os
import subprocess
import sys

import numpy as np
from side_by_side import missing, race, ratio, table, write

import layerkit
from layerkit import SGD, Dense, Sequential, SoftmaxCrossEntropy, Trainer

N_STEPS, N_IN, UNITS, N_OUT = 28, 28, 64, 10
RATE, MOMENTUM = 0.01, 0.9
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ONE_THREAD["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def weights(kind):
    """Return those of the recurrent layer and of the last, as layerkit has them."""
    model = Sequential([getattr(layerkit, kind)(N_IN, UNITS), Dense(UNITS, N_OUT)], seed=0)
    return [weight.astype(np.float32) for weight in model.get_weights()]


class Data:
    """Some batches, in their order."""

    def __init__(self, batch_size=64, n_batches=8):
        rng = np.random.default_rng(1)
        self.batch_size, self.n_batches = batch_size, n_batches
        size = batch_size * n_batches
        self.x = rng.normal(size=(size, N_STEPS, N_IN)).astype(np.float32)
        self.y = rng.integers(N_OUT, size=size)
        spans = [slice(i * batch_size, (i + 1) * batch_size) for i in range(n_batches)]
        self.batches = [(self.x[span], self.y[span]) for span in spans]


class Layerkit:
    """`Trainer.fit`; each call goes through the data so many times."""

    def __init__(self, kind, data):
        layers = [getattr(layerkit, kind)(N_IN, UNITS), Dense(UNITS, N_OUT)]
        model = Sequential(layers, dtype=np.float32)
        model.set_weights(weights(kind))
        self.trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(RATE, momentum=MOMENTUM))
        self.data = data

    def epochs(self, n_epochs):
        data = self.data
        size = data.batch_size
        self.trainer.fit(data.x, data.y, epochs=n_epochs, batch_size=size, shuffle=False)
        return self.trainer.batch_loss


class Products:
    """The matrix products of a step of an LSTM or GRU, and nothing else."""

    def __init__(self, kind, data):
        rng = np.random.default_rng(0)
        n_rows = {"LSTM": 4, "GRU": 3}[kind] * UNITS
        columns = N_STEPS * data.batch_size

        def drawn(*shape):
            return rng.normal(size=shape).astype(np.float32)

        self.weights, self.inputs = (
            drawn(n_rows, UNITS + N_IN),
            drawn(UNITS + N_IN, data.batch_size),
        )
        self.z, self.dz = drawn(n_rows, data.batch_size), drawn(n_rows, data.batch_size)
        self.hidden, self.dh = drawn(UNITS, n_rows), drawn(UNITS, data.batch_size)
        self.each_dz, self.each_input = drawn(n_rows, columns), drawn(columns, UNITS + N_IN)
        self.grad = np.empty((n_rows, UNITS + N_IN), np.float32)
        self.n_batches = data.n_batches

    def epochs(self, n_epochs):
        for _ in range(n_epochs * self.n_batches):
            for _ in range(N_STEPS):
                self.weights.dot(self.inputs, self.z)
                self.hidden.dot(self.dz, self.dh)
            self.each_dz.dot(self.each_input, self.grad)


# Parts of the weights in torch's order, by layerkit's.
ORDERS = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2)}


class Torch:
    """torch, eager."""

    def __init__(self, kind, data):
        import torch

        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        self.layer = getattr(torch.nn, kind)(N_IN, UNITS, batch_first=True)
        self.last = torch.nn.Linear(UNITS, N_OUT)
        kernel, recurrent_kernel, bias, *last = weights(kind)
        rows = np.concatenate([np.arange(i * UNITS, (i + 1) * UNITS) for i in ORDERS[kind]])
        biases = bias if kind == "GRU" else [bias, 0 * bias]
        values = [kernel.T[rows], recurrent_kernel.T[rows], *(b[rows] for b in biases)]
        self.parameters = [*self.layer.parameters(), *self.last.parameters()]
        with torch.no_grad():
            for parameter, value in zip(
                self.parameters, [*values, last[0].T, last[1]], strict=True
            ):
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        self.optimizer = torch.optim.SGD(self.parameters, lr=RATE, momentum=MOMENTUM)
        self.loss = torch.nn.CrossEntropyLoss()
        self.batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in data.batches]

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            for x, y in self.batches:
                self.optimizer.zero_grad()
                loss = self.loss(self.last(self.layer(x)[0][:, -1]), y)
                loss.backward()
                self.optimizer.step()
        return loss.item()


def moves_of(jax):
    """Return a step of each kind, from one state to the next."""
    jnp, sigmoid = jax.numpy, jax.nn.sigmoid

    def lstm(state, z, recurrent_kernel, bias):
        h, c = state
        i, f, g, o = jnp.split(z + h @ recurrent_kernel + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        return (sigmoid(o) * jnp.tanh(c), c), None

    def gru(state, a, recurrent_kernel, bias):
        (h, _), b = state, state[0] @ recurrent_kernel + bias[1]
        (a_z, a_r, a_n), (b_z, b_r, b_n) = (jnp.split(each, 3, axis=1) for each in (a + bias[0], b))
        z = sigmoid(a_z + b_z)
        return (z * h + (1 - z) * jnp.tanh(a_n + sigmoid(a_r + b_r) * b_n), h), None

    return {"LSTM": lstm, "GRU": gru}


class Jax:
    """JAX, a jitted function a step, whose loop over time is a `scan`."""

    def __init__(self, kind, data):
        import jax

        jnp = jax.numpy
        move = moves_of(jax)[kind]

        def loss(weights, x, y):
            kernel, recurrent_kernel, bias, last, last_bias = weights
            each = (x @ kernel).swapaxes(0, 1)  # of all steps at once
            zeros = jnp.zeros((len(x), UNITS), jnp.float32)
            (h, _), _ = jax.lax.scan(
                lambda state, z: move(state, z, recurrent_kernel, bias), (zeros, zeros), each
            )
            scores = jax.nn.log_softmax(h @ last + last_bias)
            return -jnp.take_along_axis(scores, y[:, None], axis=1).mean()

        def step(weights, velocities, x, y):
            value, grads = jax.value_and_grad(loss)(weights, x, y)
            pairs = zip(velocities, grads, strict=True)
            velocities = [MOMENTUM * v + g for v, g in pairs]
            weights = [w - RATE * v for w, v in zip(weights, velocities, strict=True)]
            return weights, velocities, value

        self.step = jax.jit(step, donate_argnums=(0, 1))
        self.weights = [jnp.asarray(weight) for weight in weights(kind)]
        self.velocities = [jnp.zeros_like(weight) for weight in self.weights]
        self.batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in data.batches]

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            for x, y in self.batches:
                self.weights, self.velocities, value = self.step(
                    self.weights, self.velocities, x, y
                )
        return float(value)


MAKERS = {"layerkit": Layerkit, "torch, eager": Torch, "JAX, jit": Jax}


def ready(kind, data, makers=MAKERS):
    """Make the contenders, and check that they have the same loss after the same steps."""
    contenders, expected = {}, None
    for name, make in makers.items():
        try:
            contender = make(kind, data)
        except ImportError as error:
            missing(error.name)
            continue
        loss = contender.epochs(2)
        expected = loss if expected is None else expected
        assert np.isclose(loss, expected, rtol=1e-3), f"{name}: {loss} is not {expected}"
        contenders[name] = contender
    return contenders


def side_by_side(kind, rounds):
    data, floor = Data(), "the products alone"
    few = 3
    contenders = {floor: Products(kind, data), **ready(kind, data)}
    contenders[floor].epochs(1)
    n_steps = few * data.n_batches
    runs = {
        name: (lambda run=contender.epochs: run(few), n_steps)
        for name, contender in contenders.items()
    }
    times = race(runs, rounds)
    lines = [table(f"{kind}({UNITS}), a step of training", times, floor, unit="ms"), ""]
    least = {name: min(own) for name, own in times.items()}
    lines += [
        f"layerkit takes {ratio(times, 'layerkit', other):.2f} times as long as {other}; by the "
        f"least of each, {least['layerkit'] / least[other]:.2f}.\\"
        for other in times
        if other != "layerkit"
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        # Libraries read it as they are loaded.
        again = [sys.executable, *sys.argv]
        sys.exit(subprocess.run(again, env=os.environ | ONE_THREAD).returncode)
    text = [
        f"`python benchmarks/sequences.py`: {N_STEPS} steps of {N_IN} features, batches of 64, "
        "float32, SGD with momentum, one thread."
    ]
    text += [side_by_side(kind, options.rounds) for kind in ("LSTM", "GRU")]
    write("Sequences", "\n\n".join(text))


if __name__ == "__main__":
    main()
