"""``python -m layerkit inspect``: show the contents of a model's file."""

import argparse

from layerkit.cli.options import say
from layerkit.cli.saved import columns_of
from layerkit.models.sequential import Sequential


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "inspect",
        help="show the contents of a model's file",
        description="Show the layers of a saved model, and what else its file contains.",
    )
    parser.add_argument("model", help="the file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the contents, and return the exit status 0."""
    model, extra = Sequential.load_extra(options.model)
    say(model.summary())
    columns = columns_of("python -m layerkit inspect", model, extra)
    if columns is not None:
        say(f"predicts {columns.target!r} from {', '.join(map(repr, columns.features))}")
        if columns.classes is not None:
            say(f"classes: {', '.join(map(str, columns.classes))}")
    elif extra:
        say(f"besides: {', '.join(map(str, extra))}")
    return 0
