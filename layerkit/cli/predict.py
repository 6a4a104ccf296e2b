"""``python -m layerkit predict``: predict the rows of a table with a model."""

import argparse
import csv
import io
import sys

import numpy as np

from layerkit._support import validation as check
from layerkit.cli.options import refuse_to_overwrite, say
from layerkit.cli.saved import columns_of
from layerkit.data.readers import read_csv
from layerkit.errors import LoadError
from layerkit.models.sequential import Sequential
from layerkit.storage.files import replace_file

_WHERE = "python -m layerkit predict"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "predict",
        help="predict the rows of a table (CSV) with a model that train saved",
        description="Write a CSV file with a prediction for each row; for classes, with the "
        "probability of each as well. The table has the columns that the model was trained on, "
        "by their names; others are left out. The names of classes are those of the file that it "
        "was trained on: pass --spreadsheet before you open predictions of a stranger's in one.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("model", help="the file that train saved")
    add("data", help="the table: a CSV file with a header")
    add("--out", default="predictions.csv", help="file for the predictions; - prints them")
    add("--delimiter", default=",", help="separator of the columns")
    add(
        "--spreadsheet",
        action="store_true",
        help="write an apostrophe before a text that a spreadsheet would run as a formula",
    )
    add("--force", action="store_true", help="replace an existing file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the predictions, and return the exit status 0."""
    if options.out != "-":
        refuse_to_overwrite(_WHERE, "--out", options.out, options.force)
    model, extra = Sequential.load_extra(options.model)
    columns = columns_of(_WHERE, model, extra)
    if columns is None:
        got = check.Said("one that was saved by another program")
        check.fail(_WHERE, "model", "one that train saved", got, error=LoadError)
    table = read_csv(options.data, columns=columns.features, delimiter=options.delimiter)
    y = model.predict(table.x, batch_size=4096)
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    cell = _harmless if options.spreadsheet else str
    classes = columns.classes
    if classes is None:
        writer.writerow([cell(columns.target)])
        for (number,) in y * float(columns.deviation) + float(columns.mean):
            writer.writerow([repr(float(number))])
    else:
        writer.writerow([cell(columns.target), *(f"p({name})" for name in classes)])
        shares = np.exp(y - y.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        for row in shares:
            writer.writerow([cell(classes[row.argmax()]), *(f"{p:.6f}" for p in row)])
    if options.out == "-":
        text = written.getvalue()
        sys.stdout.write(check.printable(text) if sys.stdout.isatty() else text)
    else:
        replace_file(_WHERE, options.out, [written.getvalue().encode()])
        say(f"{len(y):,} predictions of {columns.target!r} in {options.out}")
    return 0


def _harmless(value: object) -> str:
    """Return the text of a cell that no spreadsheet takes for a formula; a number is as it is."""
    text = str(value)
    if isinstance(value, str) and text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{text}"
    return text
