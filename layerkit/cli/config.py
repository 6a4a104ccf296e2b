"""``python -m layerkit config``: the versions and settings, and measured advice on speed."""

import argparse

from layerkit.config import show_config


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "config",
        help="show NumPy, its BLAS and numba, and measure faster settings",
        description="Show versions and settings; then time matrix products in child processes, "
        "with the settings as they are and with others, and advise what to set.",
    )
    parser.add_argument(
        "--no-measure", action="store_true", help="print no advice, without measuring"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the configuration, and return the exit status 0."""
    show_config(measure=not options.no_measure)
    return 0
