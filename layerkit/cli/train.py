"""``python -m layerkit train``: train a classifier or a regressor on a table."""

import argparse
import importlib
import math
import sys
from typing import Any, NamedTuple

import numpy as np

from layerkit import activations
from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.activations import Activation
from layerkit.cli.options import number, refuse_to_overwrite, say
from layerkit.data.batches import held_out
from layerkit.data.readers import Table, read_csv
from layerkit.initializers import HeNormal
from layerkit.layers.base import Layer
from layerkit.layers.dense import Dense
from layerkit.layers.dropout import Dropout
from layerkit.layers.standardize import Standardize
from layerkit.losses import Loss, MeanSquaredError, SoftmaxCrossEntropy
from layerkit.metrics import Accuracy, F1Score, MeanAbsoluteError, Metric, R2Score
from layerkit.models.sequential import Sequential
from layerkit.optimizers import AdamW
from layerkit.training.callbacks import EarlyStopping
from layerkit.training.trainer import Trainer

_WHERE = "python -m layerkit train"
# A column of whole numbers with at most so many different values is a target of classes.
_MOST_CLASSES = 20
_ACTIVATIONS = {
    name.lower(): getattr(activations, name)
    for name in ("ELU", "GELU", "LeakyReLU", "ReLU", "Sigmoid", "SiLU", "Softplus", "Tanh")
}


class Task(NamedTuple):
    """Task of a model: classes by their names, or a number by its mean and standard deviation."""

    classes: list[Any] | None
    mean: float
    deviation: float

    @property
    def loss(self) -> Loss:
        """The loss function to minimise."""
        return MeanSquaredError() if self.classes is None else SoftmaxCrossEntropy()

    @property
    def metrics(self) -> list[Metric]:
        """The metrics to report."""
        if self.classes is None:
            return [MeanAbsoluteError(), R2Score()]
        return [Accuracy(), F1Score()]

    def encode(self, y: Array) -> Array:
        """Convert target values to the form that the loss takes."""
        if self.classes is None:
            encoded: Array = ((y - self.mean) / self.deviation)[:, None]
            return encoded
        return np.searchsorted(np.array(self.classes), y)


class Samples(NamedTuple):
    """Samples of a table, with the rows to train on and the rows that are held out."""

    x: Array
    target: Array
    trained: Array
    kept: Array


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "train",
        help="train a classifier or a regressor of a table (CSV)",
        description="Train a network that predicts a column of a table from the other columns, "
        "which are numbers; its inputs are standardised. Saves the model of the best epoch, as "
        "measured on samples that are held out, and the history.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    whole, positive = number(int, 0, "of at least 0"), number(int, 1, "of at least 1")
    above_zero = number(float, None, "above 0")
    add = parser.add_argument
    add("data", help="the table: a CSV file with a header")
    add("--target", required=True, help="the column to predict")
    add("--ignore", default="", metavar="A,B", help="columns to leave out")
    add("--delimiter", default=",", help="separator of the columns")
    add(
        "--task", choices=["auto", "classify", "regress"], default="auto", help="kind of the target"
    )
    add("--hidden", default="64,64", metavar="A,B", help="units of each hidden layer")
    add("--activation", choices=sorted(_ACTIVATIONS), default="relu", help="of the hidden layers")
    add("--dropout", type=share, default=0.0, help="fraction of units to drop")
    add("--epochs", type=positive, default=300, help="largest number of epochs")
    add("--batch-size", type=positive, default=32, help="samples for each update")
    add("--learning-rate", type=above_zero, default=0.001, help="learning rate of AdamW")
    add("--validation", type=share, default=0.2, help="fraction of samples held out")
    add("--patience", type=positive, default=30, help="epochs without improvement")
    add("--seed", type=whole, default=0, help="seed of all random numbers")
    add("--model", default="model.layerkit", help="file for the model")
    add("--history", default="history.csv", help="file for the loss and metrics")
    add("--force", action="store_true", help="replace existing files")
    parser.set_defaults(run=run)


def share(text: str) -> float:
    """Read a fraction from 0 to below 1."""
    taken: float = number(float, 0, "from 0 to below 1")(text)
    if taken >= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to below 1; got {text!r}")
    return taken


def run(options: argparse.Namespace) -> int:
    """Train, save and report, and return the exit status."""
    for option in ("model", "history"):
        refuse_to_overwrite(_WHERE, f"--{option}", getattr(options, option), options.force)
    widths = _widths(options.hidden)
    if not 0 < options.validation < 1:
        check.fail(_WHERE, "--validation", "above 0 and below 1", options.validation)
    ignore = [name.strip() for name in options.ignore.split(",") if name.strip()]
    table = read_csv(
        options.data, target=options.target, ignore=ignore, delimiter=options.delimiter
    )
    task, samples = _prepare(table, options)
    model = _network(task, table.features, widths, options, samples.x[samples.trained])
    stopping = EarlyStopping("val_loss", options.patience)
    trainer = Trainer(
        model,
        task.loss,
        AdamW(options.learning_rate),
        metrics=task.metrics,
        callbacks=[stopping],
        seed=options.seed,
    )
    interrupted = _fit(trainer, samples, options)
    extra = {
        "kind": "table",
        "features": table.features,
        "target": options.target,
        "classes": task.classes,
        "target_mean": task.mean,
        "target_deviation": task.deviation,
    }
    if trainer.history.n_epochs:
        model.save(options.model, extra=extra)
        _save_history(options.history, trainer)
        _report(trainer, stopping, task, samples)
        say(f"saved {options.model} and {options.history}")
    if interrupted:
        print(f"interrupted after {trainer.history.n_epochs:,} epochs", file=sys.stderr)
    return int(interrupted)


def _prepare(table: Table, options: argparse.Namespace) -> tuple[Task, Samples]:
    """Find out the task, split the samples, and print both."""
    x, y = table.x, np.asarray(table.y)
    rng = np.random.default_rng(options.seed)
    is_of_classes = _is_classification(options.task, y)
    trained, kept = held_out(rng, len(x), options.validation, _ranks(y) if is_of_classes else None)
    if not (len(trained) and len(kept)):
        got = check.Said(f"{len(x)} rows with --validation {options.validation:g}")
        check.fail(_WHERE, "data", "enough for training and for validation", got)
    task = _task(is_of_classes, y, y[trained])
    say(f"{len(x):,} rows, {len(table.features)} features: {', '.join(table.features)[:200]}")
    say(_describe(task, options.target, y))
    return task, Samples(x, task.encode(y), trained, kept)


def _fit(trainer: Trainer, samples: Samples, options: argparse.Namespace) -> bool:
    """Train, and return whether the training was interrupted."""
    x, target, trained, kept = samples
    try:
        trainer.fit(
            x[trained],
            target[trained],
            epochs=options.epochs,
            batch_size=options.batch_size,
            validation_data=(x[kept], target[kept]),
        )
    except KeyboardInterrupt:
        return True
    return False


def _widths(text: str) -> list[int]:
    try:
        widths = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        widths = [0]
    if any(width < 1 for width in widths):
        check.fail(_WHERE, "--hidden", "whole numbers above 0, such as 64,64", text)
    return widths


def _ranks(y: Array) -> Array:
    return np.unique(y, return_inverse=True)[1]


def _is_classification(task: str, y: Array) -> bool:
    is_text = y.dtype.kind == "U"
    if task == "regress":
        if is_text:
            bad = next(value for value in y.tolist() if not _is_number(value))
            check.fail(_WHERE, "--target", "a column of numbers to regress on", bad)
        return False
    few = not is_text and len(np.unique(y)) <= _MOST_CLASSES and (y == np.round(y)).all()
    return task == "classify" or is_text or bool(few)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _task(is_of_classes: bool, y: Array, trained: Array) -> Task:
    if not is_of_classes:
        deviation = float(trained.std())
        return Task(None, float(trained.mean()), deviation if deviation > 0 else 1.0)
    classes = np.unique(y)
    if len(classes) < 2:
        got = check.Said(f"{classes[0]} in every row")
        check.fail(_WHERE, "--target", "a column of at least two classes", got)
    return Task(classes.tolist(), 0.0, 1.0)


def _describe(task: Task, target: str, y: Array) -> str:
    if task.classes is None:
        return f"regression of {target!r}: from {y.min():g} to {y.max():g}"
    counts = ", ".join(f"{name} ({(y == name).sum()})" for name in task.classes[:10])
    more = ", ..." if len(task.classes) > 10 else ""
    return f"classification of {target!r}: {len(task.classes)} classes, {counts}{more}"


def _network(
    task: Task, features: list[str], widths: list[int], options: argparse.Namespace, x: Array
) -> Sequential:
    activation: Activation = _ACTIVATIONS[options.activation]()
    scaling = Standardize(name="scaling")
    layers: list[Layer] = [scaling]
    n_in = len(features)
    for width in widths:
        layers.append(Dense(n_in, width, activation, kernel_initializer=HeNormal()))
        if options.dropout:
            layers.append(Dropout(options.dropout))
        n_in = width
    n_out = 1 if task.classes is None else len(task.classes)
    layers.append(Dense(n_in, n_out, name="output"))
    model = Sequential(layers, input_shape=(len(features),), seed=options.seed)
    scaling.adapt(x)
    return model


def _save_history(path: str, trainer: Trainer) -> None:
    files: Any = importlib.import_module("layerkit.storage.files")
    history = trainer.history
    lines = [",".join(["epoch", *history])]
    for epoch in range(history.n_epochs):
        figures = (repr(history[name][epoch]) for name in history)
        lines.append(",".join([str(epoch + 1), *figures]))
    files.replace_file(_WHERE, path, ["\n".join([*lines, ""]).encode()])


def _report(trainer: Trainer, stopping: EarlyStopping, task: Task, samples: Samples) -> None:
    x, target, trained, kept = samples
    n_epochs = trainer.history.n_epochs
    print(f"best of {n_epochs:,} epochs: epoch {stopping.best_epoch:,}")
    for words, rows in (("trained on", trained), ("held out", kept)):
        figures = trainer.evaluate(x[rows], target[rows])
        if task.classes is None:
            error = figures["mean_absolute_error"] * task.deviation
            shown = f"mean absolute error {error:.4g}, R² {figures['r2_score']:.4f}"
        else:
            shown = f"accuracy {figures['accuracy']:.4f}, F1 {figures['f1_score']:.4f}"
        print(f"  {words:<10} {len(rows):>8,} rows: loss {figures['loss']:.4f}, {shown}")
    if task.classes is None:
        error = float(np.abs(target[kept]).mean()) * task.deviation
        print(f"  for comparison, always the mean: mean absolute error {error:.4g}")
    else:
        most = np.bincount(target[trained]).argmax()
        accuracy = float((target[kept] == most).mean())
        say(f"  for comparison, always {task.classes[most]}: accuracy {accuracy:.4f}")
