"""The command line: ``python -m layerkit <command>``."""

import argparse
import sys
from collections.abc import Sequence

from layerkit._support.validation import printable
from layerkit.cli import autoencoder, config, inspect, launch, predict, replicas, train
from layerkit.errors import LayerkitError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m layerkit", description="layerkit's commands.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (autoencoder, replicas, train, predict, inspect, launch, config):
        command.add_parser(commands)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except LayerkitError as error:
        print(printable(str(error)), file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
