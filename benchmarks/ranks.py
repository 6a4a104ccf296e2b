"""Training over ranks: what a second one is worth, and what more would be.

    pip install -e '.[mpi]'
    python benchmarks/ranks.py

Jobs of one rank and of two, with one thread each, take turns with 784-512-256-10 and a global batch
that stays the same. An all-reduce of n bytes is fitted by α + β · n; that and the time of one
rank's step by its batch project larger jobs. A projection is no measurement.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from side_by_side import write

from layerkit import (
    SGD,
    Dense,
    LambdaCallback,
    MPICommunicator,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)

BATCHES = (256, 1024, 4096)
ROUNDS = 7
SIZES = [2**k for k in range(3, 24)]
# A network of a cluster, to project as well: seconds a message, and a byte (10 Gbit/s).
CLUSTER = 20e-6, 1 / 1.25e9


def train(batch_sizes):
    """As a rank: time steps, and give the median of each batch size."""
    communicator = MPICommunicator()
    rng = np.random.default_rng(0)
    layers = [Dense(784, 512, ReLU()), Dense(512, 256, ReLU()), Dense(256, 10)]
    model = Sequential(layers, dtype="float32", seed=0)
    seconds = {}
    for batch_size in batch_sizes:
        x = rng.normal(size=(max(8192, batch_size), 784)).astype(np.float32)
        labels = rng.integers(10, size=len(x))
        ends = []
        trainer = Trainer(
            model,
            SoftmaxCrossEntropy("indices"),
            SGD(0.01, momentum=0.9),
            callbacks=[
                LambdaCallback(on_batch_end=lambda _, ends=ends: ends.append(time.perf_counter()))
            ],
            communicator=communicator,
            engine="numpy",
            seed=0,
        )
        trainer.fit(x, labels, epochs=3 if batch_size > 1024 else 1, batch_size=batch_size)
        seconds[batch_size] = statistics.median(np.diff(ends[1:]))
    if communicator.rank == 0:
        print(json.dumps([len(model.values), seconds]))


def exchange():
    """As a rank: time all-reduces by their size."""
    communicator = MPICommunicator()
    seconds = {}
    for size in SIZES:
        array = np.ones(size // 4, np.float32)
        times = []
        for _ in range(50 if size > 2**18 else 300):
            communicator.barrier()
            started = time.perf_counter()
            communicator.allreduce_(array)
            times.append(time.perf_counter() - started)
        seconds[size] = statistics.median(times)
    if communicator.rank == 0:
        print(json.dumps(seconds))


def job(n_ranks, *arguments):
    """Run this file as ranks with one thread each, and give what they print."""
    launcher = ["-m", "layerkit", "launch", "-n", str(n_ranks), "--threads", "1"]
    command = [sys.executable, *launcher, os.path.abspath(__file__), *map(str, arguments)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def fit_line(sizes, seconds):
    """Fit α + β · n, with the same weight to a relative error of each."""
    weights = 1 / np.array(seconds)
    columns = np.stack([np.ones(len(sizes)), np.array(sizes, float)], axis=1)
    fitted = np.linalg.lstsq(columns * weights[:, None], np.array(seconds) * weights, rcond=None)
    return [max(0.0, float(number)) for number in fitted[0]]


def all_reduce(n_ranks, n_bytes, alpha, beta):
    """Project the time of an all-reduce that halves and doubles (Rabenseifner's), in seconds.

    α and β are those of one between two ranks, which is a round there and a round back.
    """
    return alpha * math.log2(n_ranks) + beta * n_bytes * 2 * (n_ranks - 1) / n_ranks


def least_batch(n_ranks, n_bytes, by_sample, alpha, beta):
    """Find the global batch from which so many ranks are faster than half of them."""
    half = all_reduce(n_ranks // 2, n_bytes, alpha, beta) if n_ranks > 2 else 0.0
    more = all_reduce(n_ranks, n_bytes, alpha, beta) - half
    return max(n_ranks, math.ceil(more * n_ranks / by_sample))  # each rank has a sample


def projection(n_parameters, step, alpha, beta):
    """Write the table of a network: for each number of ranks, what a step of 4,096 would take."""
    constant, by_sample = step
    n_bytes = 4 * n_parameters
    lines = ["| ranks | all-reduce, ms | step of 4,096, ms | speed-up | pays from a batch of |"]
    lines.append("|---|---|---|---|---|")
    for k in (2**power for power in range(1, 11)):
        exchanged = all_reduce(k, n_bytes, alpha, beta)
        seconds = constant + by_sample * 4096 / k + exchanged
        speed_up = (constant + by_sample * 4096) / seconds
        least = least_batch(k, n_bytes, by_sample, alpha, beta)
        lines.append(
            f"| {k:,} | {1e3 * exchanged:.2f} | {1e3 * seconds:.2f} | {speed_up:.1f} | {least:,} |"
        )
    return "\n".join(lines)


def measure():
    rounds = []
    for _ in range(ROUNDS):
        rounds.append([job(n, "train", *BATCHES)[1] for n in (1, 2)])
    n_parameters, alone = job(1, "train", 16, 64, 256, 1024, 4096)
    exchanged = [job(2, "exchange") for _ in range(3)]
    times = {size: min(e[str(size)] for e in exchanged) for size in SIZES}
    lines = ["| global batch | 1 rank, ms | 2 ranks, ms | speed-up | efficiency |"]
    lines.append("|---|---|---|---|---|")
    for size in map(str, BATCHES):
        one, two = (statistics.median(r[k][size] for r in rounds) for k in (0, 1))
        speed_up = statistics.median(first[size] / second[size] for first, second in rounds)
        lines.append(
            f"| {int(size):,} | {1e3 * one:.2f} | {1e3 * two:.2f} | {speed_up:.2f} "
            f"| {speed_up / 2:.0%} |"
        )
    alpha, beta = fit_line(list(times), list(times.values()))
    step = fit_line([int(size) for size in alone], list(alone.values()))
    gradients = times[min(SIZES, key=lambda size: abs(size - 4 * n_parameters))]
    lines += [
        "",
        f"An all-reduce between 2 ranks here takes {1e6 * alpha:.1f} µs + {1e9 * beta:.3f} ns a "
        f"byte ({1e3 * gradients:.2f} ms were measured for 2 MB, about the size of the gradients), "
        f"a step of one rank {1e3 * step[0]:.2f} ms + {1e6 * step[1]:.2f} µs a sample.",
        "",
        "**Projected, not measured: as if all ranks were connected as two are here**",
        "",
        projection(n_parameters, step, alpha, beta),
        "",
        "**Projected, not measured: ranks on machines of their own, with 20 µs a message and "
        "10 Gbit/s**",
        "",
        projection(n_parameters, step, *CLUSTER),
        "",
        "A batch pays from where so many ranks are faster than half of them.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train([int(size) for size in sys.argv[2:]])
    elif sys.argv[1:2] == ["exchange"]:
        exchange()
    else:
        write("Ranks", "`python benchmarks/ranks.py`\n\n" + measure())
