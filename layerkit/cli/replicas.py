"""``python -m layerkit replicas``: how many of many seeds solve 8-3-8, and in how many epochs."""

import argparse
import importlib
import sys
from functools import partial
from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.cli import autoencoder
from layerkit.cli.options import number, pyplot, save_figure
from layerkit.replicas import Replicas
from layerkit.training.trainer import Trainer

_WHERE = "python -m layerkit replicas"
# So many seeds are trained together: the figures of all epochs of a thousand would fill some
# gigabytes of memory, and hardly make it faster.
_TOGETHER = 200
_N_BARS, _WIDTH = 12, 50


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "replicas",
        help="show how many of many seeds solve 8-3-8, and in how many epochs",
        description="Train the network of `python -m layerkit autoencoder` once for each seed from "
        "0 on, and show how many epochs it takes to reach the target.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    above_zero, positive = number(float, None, "above 0"), number(int, 1, "of at least 1")
    add = parser.add_argument
    add("--seeds", type=positive, default=1000, help="number of seeds")
    add("--target", type=above_zero, default=0.002, help="the distance to reach")
    add("--learning-rate", type=above_zero, default=1.0, help="learning rate of SGD")
    add(
        "--engine",
        choices=["auto", "numpy", "numba"],
        default="auto",
        help="engine of the training",
    )
    add("--max-epochs", type=positive, default=100_000, help="largest number of epochs")
    add("--plot", metavar="FILE", help="file for a plot of the histogram")
    parser.set_defaults(run=run)


def build(options: argparse.Namespace, seed: int) -> Trainer:
    """Return the trainer of a seed."""
    trainer, _ = autoencoder.build(
        seed, options.learning_rate, target=options.target, engine=options.engine
    )
    return trainer


def histogram(n_epochs: Array) -> list[str]:
    """Return the lines of a histogram of epochs as text, with logarithmic bins."""
    low, high = n_epochs.min(), n_epochs.max()
    edges = np.geomspace(low, high + 1, _N_BARS + 1) if high > low else np.array([low, high + 1])
    edges = np.unique(np.ceil(edges).astype(int))
    counts, _ = np.histogram(n_epochs, edges)
    digits = len(f"{edges[-1]:,}")
    return [
        f"{first:>{digits},} - {last - 1:>{digits},} {count:>6,} "
        f"{'#' * int(np.ceil(_WIDTH * count / counts.max()))}".rstrip()
        for first, last, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def run(options: argparse.Namespace) -> int:
    """Train and print, and return the exit status: 0, however many seeds succeed."""
    if options.plot:
        pyplot(_WHERE)  # an error before the training, not after it
    epochs, reached, n_codes = [], [], []
    for first in range(0, options.seeds, _TOGETHER):
        seeds = range(first, min(first + _TOGETHER, options.seeds))
        replicas = Replicas(partial(build, options), seeds)
        try:
            results = replicas.fit(
                autoencoder.ONE_HOT,
                autoencoder.ONE_HOT,
                epochs=options.max_epochs,
                batch_size=1,
                shuffle=False,
                progress=sys.stderr.isatty(),
                engine=options.engine,
            )
        except KeyboardInterrupt:
            print(f"interrupted in seeds {seeds[0]:,} to {seeds[-1]:,}", file=sys.stderr)
            return 1
        epochs.append(results.n_epochs)
        reached.append(results.reached)
        for trainer in replicas.trainers:
            _, codes = autoencoder.codes_of(trainer.model)
            n_codes.append(len(np.unique(codes, axis=0)))
    n_epochs, solved = np.concatenate(epochs), np.concatenate(reached)
    report(options, n_epochs, solved, np.array(n_codes), str(results.engine_used))
    if options.plot:
        plots: Any = importlib.import_module("layerkit.plots")
        ax = plots.epochs_to_target(n_epochs, solved)
        ax.set_title(f"8-3-8: {ax.get_title()} of {options.target:g}")
        save_figure(_WHERE, options.plot, ax.figure)
    return 0


def report(
    options: argparse.Namespace, n_epochs: Array, solved: Array, n_codes: Array, engine: str
) -> None:
    """Print a summary of the results."""
    n_solved = int(solved.sum())
    print(
        f"{n_solved:,} of {options.seeds:,} seeds ({n_solved / options.seeds:.1%}) reached a "
        f"distance of {options.target:g} in {options.max_epochs:,} epochs"
    )
    print(f"{int((solved & (n_codes == 8)).sum()):,} of them with 8 distinct codes")
    if n_solved:
        quartiles = np.percentile(n_epochs[solved], [0, 25, 50, 75, 100])
        names = ("min", "quartile", "median", "quartile", "max")
        words = [f"{name} {value:,.0f}" for name, value in zip(names, quartiles, strict=True)]
        print(f"epochs: {', '.join(words)}")
        print("\n".join(histogram(n_epochs[solved])))
    print(f"trained by {engine}")
