"""Training a small CNN on 28×28 images, batches of 64: layerkit against torch, JAX and Keras.

    pip install -e '.[benchmarks]'
    python benchmarks/conv.py

Convolution 3×3×32, pool, convolution 3×3×64, pool, dense 10; ReLU, softmax cross-entropy, float32,
SGD with momentum; with one thread, and with two. All contenders start from the same weights and are
checked to have the same loss after the same steps. The matrix products of a step alone, done by
NumPy on patches that are laid out, are the floor.

Each contender has a process of its own, and they take turns: arrays of some MB are given back to
the system and asked for again, or kept, as the sizes of all others in a process decide. With one
thread the processor's time is compared too, which other programs on the machine change less.
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np
from side_by_side import race, ratio, table, write

from layerkit import (
    SGD,
    Conv2D,
    Dense,
    Flatten,
    MaxPooling2D,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)

BATCH, RATE, MOMENTUM = 64, 0.01, 0.9
SHAPES = [(3, 3, 1, 32), (3, 3, 32, 64), (1600, 10)]


def weights():
    rng = np.random.default_rng(0)
    drawn = []
    for shape in SHAPES:
        kernel = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
        drawn += [kernel.astype(np.float32), np.zeros(shape[-1], np.float32)]
    return drawn


class Data:
    """Some batches, in their order."""

    def __init__(self, n_batches=4):
        rng = np.random.default_rng(1)
        self.batch_size, self.n_batches = BATCH, n_batches
        self.x = rng.normal(size=(BATCH * n_batches, 28, 28, 1)).astype(np.float32)
        self.y = rng.integers(10, size=len(self.x))
        spans = [slice(i * BATCH, (i + 1) * BATCH) for i in range(n_batches)]
        self.batches = [(self.x[span], self.y[span]) for span in spans]


class Layerkit:
    """`Trainer.fit`; each call goes through the data so many times."""

    def __init__(self, data):
        layers = [Conv2D(1, 32, 3, ReLU()), MaxPooling2D(2)]
        layers += [Conv2D(32, 64, 3, ReLU()), MaxPooling2D(2), Flatten(), Dense(1600, 10)]
        model = Sequential(layers, input_shape=(28, 28, 1), dtype=np.float32)
        model.set_weights(weights())
        self.trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(RATE, momentum=MOMENTUM))
        self.data = data

    def epochs(self, n_epochs):
        data = self.data
        data = {"x": data.x, "y": data.y, "batch_size": BATCH}
        self.trainer.fit(**data, epochs=n_epochs, shuffle=False)
        return self.trainer.batch_loss


class Products:
    """The matrix products of a step, and nothing else."""

    def __init__(self, data):
        rng = np.random.default_rng(0)
        self.n_batches, self.layers = data.n_batches, []
        for n_rows, n_in, n_out in ((BATCH * 26**2, 9, 32), (BATCH * 11**2, 288, 64)):
            sizes = ((n_rows, n_in), (n_in, n_out), (n_rows, n_out))
            arrays = [rng.normal(size=size).astype(np.float32) for size in sizes]
            self.layers.append((*arrays, [np.empty_like(array) for array in arrays]))

    def epochs(self, n_epochs):
        for _ in range(n_epochs * self.n_batches):
            for index, (patches, kernel, z, (dx, grad, y)) in enumerate(self.layers):
                patches.dot(kernel, y)
                patches.T.dot(z, grad)
                if index:
                    z.dot(kernel.T, dx)


class Torch:
    """torch, eager."""

    def __init__(self, data, channels_last=False):
        import torch
        from torch import nn

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        layers = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
        self.model = nn.Sequential(*layers, nn.Linear(1600, 10))
        # Its images lie channels first, so that Flatten has another order than the others'.
        own = weights()
        own[4] = own[4].reshape(5, 5, 64, 10).transpose(2, 0, 1, 3).reshape(1600, 10)
        with torch.no_grad():
            for parameter, value in zip(self.model.parameters(), own, strict=True):
                axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(value.transpose(axes))))
        self.batches = [
            (torch.from_numpy(x).movedim(3, 1).contiguous(), torch.from_numpy(y))
            for x, y in data.batches
        ]
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            form = torch.channels_last
            self.batches = [(x.to(memory_format=form), y) for x, y in self.batches]
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=MOMENTUM)
        self.loss = nn.CrossEntropyLoss()

    def epochs(self, n_epochs):
        for _ in range(n_epochs):
            for x, y in self.batches:
                self.optimizer.zero_grad()
                loss = self.loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
        return loss.item()


class Jax:
    """JAX, a jitted function a step, which may reuse its arguments' memory."""

    def __init__(self, data):
        import jax

        jnp, lax = jax.numpy, jax.lax

        def loss(weights, x, y):
            for kernel, bias in (weights[:2], weights[2:4]):
                form = ("NHWC", "HWIO", "NHWC")
                x = lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=form)
                x = jax.nn.relu(x + bias)
                window = (1, 2, 2, 1)
                x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
            x = x.reshape(len(x), -1) @ weights[4] + weights[5]
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
        kinds = keras.layers
        layers = [keras.Input((28, 28, 1)), kinds.Conv2D(32, 3, activation="relu")]
        layers += [kinds.MaxPooling2D(2), kinds.Conv2D(64, 3, activation="relu")]
        layers += [kinds.MaxPooling2D(2), kinds.Flatten(), kinds.Dense(10)]
        self.model = keras.Sequential(layers)
        self.model.set_weights(weights())
        # Keras's velocity has the learning rate in it, which is the same while that stays.
        self.model.compile(
            optimizer=keras.optimizers.SGD(RATE, momentum=MOMENTUM),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        self.data = data

    def epochs(self, n_epochs):
        data = self.data
        self.model.fit(data.x, data.y, batch_size=BATCH, epochs=n_epochs, shuffle=False, verbose=0)


MAKERS = {
    "layerkit": Layerkit,
    "torch, eager": Torch,
    "torch, eager, channels last": lambda data: Torch(data, channels_last=True),
    "JAX, jit": Jax,
    "Keras on JAX, fit": Keras,
}
FLOOR = "the products alone"
CONTENDERS = {FLOOR: Products, **MAKERS}


class Worker:
    """A contender in a process of its own, which trains when it is told to."""

    def __init__(self, name, n_threads):
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, str(n_threads))
        command = [sys.executable, __file__, "--worker", name, "--threads", str(n_threads)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.seconds = []

    def ask(self, n_epochs):
        """Train, and return what the contender does: its loss, or None if it can't be made."""
        self.process.stdin.write(f"{n_epochs}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("trained"):
                loss, seconds = line.split()[1:]
                self.seconds.append(float(seconds))
                return float(loss)
        return None

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def work(name, n_threads):
    """Train as standard input says, until it ends."""
    if n_threads == 1:  # JAX has as many threads as there are cores
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    contender = CONTENDERS[name](Data())
    for line in sys.stdin:
        start = time.process_time()
        loss = contender.epochs(int(line))
        print("trained", float("nan") if loss is None else loss, time.process_time() - start)
        sys.stdout.flush()


def compare(n_threads, rounds):
    """Let the contenders take turns, and write tables of what they take."""
    workers = {name: Worker(name, n_threads) for name in CONTENDERS}
    losses = {name: worker.ask(2) for name, worker in workers.items()}
    for name, loss in losses.items():
        if loss is None:
            print(f"{name} is left out: not installed?")
            workers.pop(name).stop()
        elif not np.isnan(loss):
            same = np.isclose(loss, losses["layerkit"], rtol=1e-3)
            assert same, f"{name}: {loss} is not {losses['layerkit']}"
    n_steps = 4 * Data().n_batches
    turns = {name: (lambda ask=worker.ask: ask(4), n_steps) for name, worker in workers.items()}
    for worker in workers.values():  # what is compiled or allocated at first
        worker.ask(2)
        worker.seconds.clear()
    times = race(turns, rounds, pause=0.05)
    for worker in workers.values():
        worker.stop()
    words = "1 thread" if n_threads == 1 else f"{n_threads} threads"
    parts = [table(f"a step of 64 images, {words}", times, FLOOR, unit="ms"), ratios(times)]
    if n_threads == 1:
        own = {name: [s / n_steps for s in worker.seconds] for name, worker in workers.items()}
        parts += [table("the same, time of the processor", own, FLOOR, unit="ms"), ratios(own)]
    return "\n\n".join(parts)


def ratios(times):
    return "\n".join(
        f"layerkit takes {ratio(times, 'layerkit', other):.2f} times as long as {other}, in the "
        f"fastest rounds {min(times['layerkit']) / min(times[other]):.2f}.\\"
        for other in times
        if other not in ("layerkit", FLOOR)
    )


PEAK = """
import conv
def megabytes(what):
    return int(next(s for s in open("/proc/self/status") if s.startswith(what)).split()[1]) / 1024
contender = conv.MAKERS[{name!r}](conv.Data())
before = megabytes("VmRSS")
contender.epochs(3)
print(megabytes("VmHWM"), megabytes("VmHWM") - before)
"""


def memory():
    """Compare the MB that a process takes at most, which trains a contender and no other."""
    lines = ["| peak memory of the training | MB | of it, beyond the library and the model |"]
    lines.append("|---|---|---|")
    folder = os.path.dirname(os.path.abspath(__file__))
    for name in MAKERS:
        command = [sys.executable, "-c", PEAK.format(name=name)]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if run.returncode == 0:
            whole, own = (float(word) for word in run.stdout.split()[-2:])
            lines.append(f"| {name} | {whole:.0f} | {own:.0f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, *options.threads)
        return
    text = ["`python benchmarks/conv.py`: 28×28, two convolutions, float32, SGD with momentum."]
    text += [compare(n_threads, options.rounds) for n_threads in options.threads]
    write("Convolution", "\n\n".join([*text, memory()]))


if __name__ == "__main__":
    main()
