"""Many runs at once: `layerkit.replicas` against single fits, and against JAX's vmap.

    pip install -e '.[benchmarks]'
    python benchmarks/replicas.py

All contenders start from the same weights, and are checked to come to the same numbers after the
same epochs. JAX is left out where it is not installed.
"""

import argparse

import numpy as np
from side_by_side import missing, race, ratio, write

from layerkit import (
    SGD,
    Adam,
    Dense,
    HalfSquaredError,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Trainer,
    Uniform,
)
from layerkit.replicas import Replicas


class Online:
    """8-3-8, sigmoids, an update a sample."""

    title = "8-3-8 online, SGD"
    batch_size = 1
    x = y = np.eye(8)

    def build(self, seed, engine):
        start = {"kernel_initializer": Uniform(0, 1), "bias_initializer": Uniform(0, 1)}
        layers = [Dense(8, 3, Sigmoid(), **start), Dense(3, 8, Sigmoid(), **start)]
        return Trainer(Sequential(layers, seed=seed), HalfSquaredError(), SGD(1.0), engine=engine)

    def jax_loss(self, jax, weights, x, y):
        kernel_1, bias_1, kernel_2, bias_2 = weights
        hidden = jax.nn.sigmoid(x @ kernel_1 + bias_1)
        return ((jax.nn.sigmoid(hidden @ kernel_2 + bias_2) - y) ** 2).sum() / 2

    def jax_step(self, jax, weights, grads, state):
        return [w - g for w, g in zip(weights, grads, strict=True)], state


class Minibatch:
    """20-64-64-2, ReLU, batches of 32."""

    title = "20-64-64-2, batches of 32, Adam"
    batch_size = 32

    def __init__(self):
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(512, 20))
        self.y = rng.integers(2, size=512)

    def build(self, seed, engine):
        layers = [Dense(20, 64, ReLU()), Dense(64, 64, ReLU()), Dense(64, 2)]
        model = Sequential(layers, seed=seed)
        return Trainer(model, SoftmaxCrossEntropy(), Adam(0.001), engine=engine)

    def jax_loss(self, jax, weights, x, y):
        kernel_1, bias_1, kernel_2, bias_2, kernel_3, bias_3 = weights
        # At 0, where jax.nn.relu takes 0 for its derivative, layerkit takes 1; nobody gets there.
        x = jax.nn.relu(x @ kernel_1 + bias_1)
        x = jax.nn.relu(x @ kernel_2 + bias_2)
        logs = jax.nn.log_softmax(x @ kernel_3 + bias_3)
        return -jax.numpy.take_along_axis(logs, y[:, None], axis=1).mean()

    def jax_step(self, jax, weights, grads, state):
        t, means, squares = state
        t, corrected = t + 1, []
        means = [0.9 * m + 0.1 * g for m, g in zip(means, grads, strict=True)]
        squares = [0.999 * s + 0.001 * g * g for s, g in zip(squares, grads, strict=True)]
        for w, m, s in zip(weights, means, squares, strict=True):
            root = jax.numpy.sqrt(s / (1 - 0.999**t)) + 1e-8
            corrected.append(w - 0.001 / (1 - 0.9**t) * m / root)
        return corrected, (t, means, squares)


class Singles:
    """One fit after the other."""

    def __init__(self, problem, n_replicas, engine):
        self.problem = problem
        self.trainers = [problem.build(seed, engine) for seed in range(n_replicas)]

    def epochs(self, n_epochs):
        problem = self.problem
        for trainer in self.trainers:
            trainer.fit(
                problem.x,
                problem.y,
                epochs=n_epochs,
                batch_size=problem.batch_size,
                shuffle=False,
                progress=False,
            )

    def values(self):
        return np.stack([trainer.model.values for trainer in self.trainers])


class AtOnce:
    """`Replicas.fit`."""

    def __init__(self, problem, n_replicas, engine):
        self.problem, self.engine = problem, engine
        self.replicas = Replicas(lambda seed: problem.build(seed, "auto"), n_replicas)

    def epochs(self, n_epochs):
        problem = self.problem
        self.replicas.fit(
            problem.x,
            problem.y,
            epochs=n_epochs,
            batch_size=problem.batch_size,
            shuffle=False,
            progress=False,
            engine=self.engine,
        )

    def values(self):
        return self.replicas.values.copy()


class JaxVmap:
    """A jitted scan over the steps of all epochs, mapped over the replicas."""

    def __init__(self, problem, n_replicas):
        import jax

        jax.config.update("jax_enable_x64", True)
        jnp, size = jax.numpy, problem.batch_size
        n_batches = len(problem.x) // size
        x = jnp.asarray(problem.x.reshape(n_batches, size, -1))
        y = jnp.asarray(problem.y.reshape(n_batches, size, *problem.y.shape[1:]))

        def step(carried, batch):
            weights, state = carried
            grads = jax.grad(lambda w: problem.jax_loss(jax, w, *batch))(weights)
            return problem.jax_step(jax, weights, grads, state), None

        def epoch(carried, _):
            return jax.lax.scan(step, carried, (x, y))[0], None

        def run(carried, n_epochs):
            return jax.lax.scan(epoch, carried, length=n_epochs)[0]

        self.run = jax.jit(jax.vmap(run, (0, None)), static_argnums=1)
        models = [problem.build(seed, "numpy").model for seed in range(n_replicas)]
        kinds = zip(*[model.get_weights() for model in models], strict=True)
        weights = [jnp.asarray(np.stack(kind)) for kind in kinds]
        zeros = [jnp.zeros_like(weight) for weight in weights]
        self.carried = weights, (jnp.zeros(n_replicas), zeros, zeros)
        self.n_replicas = n_replicas

    def epochs(self, n_epochs):
        self.carried = self.run(self.carried, n_epochs)
        self.carried[0][0].block_until_ready()

    def values(self):
        return np.concatenate([np.reshape(w, (self.n_replicas, -1)) for w in self.carried[0]], 1)


NUMPY_SINGLES, NUMPY_AT_ONCE = "single fits, NumPy", "replicas, NumPy at once"
COMPILED = {"single fits, numba", "replicas, numba over the cores"}


def contenders_for(problem, n_replicas):
    """Give each contender, checked to compute the same as the others."""
    makers = {
        NUMPY_SINGLES: lambda: Singles(problem, n_replicas, "numpy"),
        "single fits, numba": lambda: Singles(problem, n_replicas, "numba"),
        NUMPY_AT_ONCE: lambda: AtOnce(problem, n_replicas, "numpy"),
        "replicas, numba over the cores": lambda: AtOnce(problem, n_replicas, "numba"),
        "JAX, vmap of a scan": lambda: JaxVmap(problem, n_replicas),
    }
    if isinstance(problem, Minibatch):  # whole epochs of Adam are not compiled
        makers = {name: make for name, make in makers.items() if name not in COMPILED}
    contenders, expected = {}, None
    for name, make in makers.items():
        try:
            contender = make()
        except ImportError as error:
            missing(error.name)
            continue
        contender.epochs(2)
        expected = contender.values() if expected is None else expected
        assert np.allclose(contender.values(), expected, rtol=1e-9, atol=1e-11), name
        contenders[name] = contender
    return contenders


def compare(problem, sizes, n_updates, rounds):
    """Time all of them, and write a table."""
    lines = [
        f"| {problem.title} | replicas | µs a replica's update | single NumPy fits over this |",
        "|---|---|---|---|",
    ]
    n_batches = len(problem.x) // problem.batch_size
    for n_replicas in sizes:
        runs = {}
        for name, contender in contenders_for(problem, n_replicas).items():
            # Slow ones make fewer updates, all of them enough to hide what a fit begins with.
            share = n_updates[name] if name in n_updates else n_updates["others"]
            n_epochs = max(2, int(share / n_replicas / n_batches))
            contender.epochs(n_epochs)  # JAX compiles for each number of epochs
            units = n_replicas * n_batches * n_epochs
            runs[name] = (lambda run=contender.epochs, n=n_epochs: run(n), units)
        times = race(runs, rounds)
        for name, own in times.items():
            middle = 1e6 * float(np.median(own))
            digits = 3 if middle < 1 else 1
            faster = ratio(times, NUMPY_SINGLES, name)
            lines.append(f"| {name} | {n_replicas:,} | {middle:.{digits}f} | {faster:.1f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    few = {NUMPY_SINGLES: 40_000, "others": 1_000_000} | dict.fromkeys(COMPILED, 8_000_000)
    many = {"others": 4000}
    text = [
        "`python benchmarks/replicas.py`: float64, no shuffling. A ratio of 10 says: in the time "
        "of one single NumPy fit, ten.",
        compare(Online(), (10, 100, 1000), few, options.rounds),
        compare(Minibatch(), (10, 100), many, options.rounds),
    ]
    write("Replicas", "\n\n".join(text))


if __name__ == "__main__":
    main()
