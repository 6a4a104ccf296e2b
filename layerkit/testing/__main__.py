"""The command line of the tools for tests: ``python -m layerkit.testing <command>``."""

import argparse
import sys
from collections.abc import Sequence

from layerkit.testing import soak


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and give its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m layerkit.testing", description="Commands of layerkit.testing."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    soak.add_parser(commands)
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
