"""``python -m layerkit autoencoder``: train an 8-3-8 autoencoder of one-hot inputs."""

import argparse
import importlib
import math
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from layerkit._support.validation import Array
from layerkit.activations import Sigmoid
from layerkit.cli.options import number, pyplot, save_figure
from layerkit.initializers import Uniform
from layerkit.layers.dense import Dense
from layerkit.losses import HalfSquaredError
from layerkit.metrics import SquaredDistance
from layerkit.models.base import Model
from layerkit.models.sequential import Sequential
from layerkit.optimizers import SGD
from layerkit.training.callbacks import Callback, StopAt, TrainingState
from layerkit.training.trainer import Trainer


class PrintDistance(Callback):
    """Print the distance whenever it has halved, and on a terminal also in between."""

    period = 500

    def __init__(self, live: bool) -> None:
        self.live = live

    def on_train_begin(self, trainer: TrainingState) -> None:
        """Reset the distance of the next line."""
        self.next = math.inf
        self.n_printed = 0

    def on_epoch_end(self, trainer: TrainingState) -> None:
        """Print the lines of the epochs since the last call."""
        distances = trainer.history["squared_distance"]
        for epoch, distance in enumerate(distances[self.n_printed :], self.n_printed + 1):
            if distance <= self.next:
                self.next = distance / 2
                self._print(epoch, distance, end="\n")
        self.n_printed = len(distances)
        if self.live and distances:
            self._print(len(distances), distances[-1], end="")

    def _print(self, epoch: int, distance: float, end: str) -> None:
        line = f"epoch {epoch:>7,}  distance= {distance:f}"
        # On a terminal, over what the line showed before.
        print(f"\r{line:<40}" if self.live else line, end=end, flush=True)

    def on_train_end(self, trainer: TrainingState) -> None:
        """Print the remaining lines, and end the live line."""
        self.on_epoch_end(trainer)
        if self.live:
            print("\r", end="")


ONE_HOT = np.eye(8)


def build(
    seed: int,
    learning_rate: float,
    *,
    target: float,
    engine: Literal["auto", "numpy", "numba"],
    callbacks: Sequence[Callback] = (),
) -> tuple[Trainer, StopAt]:
    """Return the trainer of a run, and the callback that stops it at the target."""
    start: dict[str, Any] = {
        "kernel_initializer": Uniform(0, 1),
        "bias_initializer": Uniform(0, 1),
    }
    layers = [Dense(8, 3, Sigmoid(), **start), Dense(3, 8, Sigmoid(), **start)]
    stop = StopAt("squared_distance", target)
    trainer = Trainer(
        Sequential(layers, seed=seed),
        HalfSquaredError(),
        SGD(learning_rate),
        metrics=[SquaredDistance()],
        callbacks=[*callbacks, stop],
        seed=seed,
        engine=engine,
    )
    return trainer, stop


def codes_of(model: Model) -> tuple[Array, Array]:
    """Return the hidden codes of the inputs, and the codes rounded to bits."""
    (_, _, hidden), *_ = model.each_output(ONE_HOT)
    return hidden, hidden.round().astype(int)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "autoencoder",
        help="train an 8-3-8 autoencoder of one-hot inputs",
        description="Train an 8-3-8 network of sigmoids to reproduce its one-hot inputs, until "
        "the squared distance over an epoch is at most a target; then show its codes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    whole, above_zero = number(int, 0, "of at least 0"), number(float, None, "above 0")
    positive = number(int, 1, "of at least 1")
    add = parser.add_argument
    add("--seed", type=whole, default=0, help="seed of the initial weights")
    add(
        "--batch-size",
        type=positive,
        default=1,
        help="samples for each update; 1 is online training",
    )
    add("--target", type=above_zero, default=0.002, help="the distance to reach")
    add("--learning-rate", type=above_zero, default=1.0, help="learning rate of SGD")
    add(
        "--engine",
        choices=["auto", "numpy", "numba"],
        default="auto",
        help="engine of the training",
    )
    add("--max-epochs", type=positive, default=1_000_000, help="largest number of epochs")
    add("--plot", metavar="FILE", help="file for a plot of the distance and the codes")
    parser.set_defaults(run=run)


_WHERE = "python -m layerkit autoencoder"


def draw(path: str, trainer: Trainer, hidden: Array) -> None:
    """Draw the distance over the epochs, and the eight codes in the cube."""
    plots: Any = importlib.import_module("layerkit.plots")
    plt = pyplot(_WHERE)
    figure = plt.figure(figsize=(11, 5), layout="constrained")
    left = figure.add_subplot(1, 2, 1)
    plots.learning_curves(trainer.history, left, figures=["squared_distance"], log=True)
    left.set_xscale("log")
    left.set_ylabel("squared distance of an epoch")
    right = figure.add_subplot(1, 2, 2, projection="3d")
    plots.codes_cube(hidden, right)
    right.set_title("codes of the 8 inputs")
    save_figure(_WHERE, path, figure)


def run(options: argparse.Namespace) -> int:
    """Train and print, and return the exit status: 0 if the target was reached, else 1."""
    if options.plot:
        pyplot(_WHERE)  # an error before the training, not after it
    trainer, stop = build(
        options.seed,
        options.learning_rate,
        target=options.target,
        engine=options.engine,
        callbacks=[PrintDistance(live=sys.stdout.isatty())],
    )
    try:
        trainer.fit(
            ONE_HOT,
            ONE_HOT,
            epochs=options.max_epochs,
            batch_size=options.batch_size,
            shuffle=False,
            progress=False,
        )
    except KeyboardInterrupt:
        print(f"interrupted after {trainer.history.n_epochs:,} epochs", file=sys.stderr)
        return 1
    distance = trainer.history["squared_distance"][-1]
    print(f"epoch {trainer.history.n_epochs:>7,}  distance= {distance:f}")
    hidden, codes = codes_of(trainer.model)
    for one_hot, level, code in zip(ONE_HOT.astype(int), hidden, codes, strict=True):
        digits = " ".join(f"{unit:.2f}" for unit in level)
        print(f"input = {one_hot.tolist()}  hidden level = [{digits}]  code = {code.tolist()}")
    n_codes = len(np.unique(codes, axis=0))
    print(f"{n_codes} distinct codes for 8 inputs")
    if options.plot:
        draw(options.plot, trainer, hidden)
    if not stop.reached:
        print(
            f"the target of {options.target:g} was not reached in {options.max_epochs:,} epochs; "
            "try more of them (--max-epochs), or another --learning-rate or --seed",
            file=sys.stderr,
        )
        return 1
    return 0
