"""``python -m layerkit.communication script.py …``: the program that the launcher runs as a rank.

The ranks are watched from before the script starts, so a failure of its imports is noticed too.
"""

import importlib
import sys
from typing import Any

from layerkit.communication.mpi import MPICommunicator


def main() -> None:
    """Run a script as a rank of a job; if it fails, the whole job ends."""
    communicator = MPICommunicator()
    runner: Any = importlib.import_module("mpi4py.run")
    try:
        runner.run_command_line(sys.argv[1:])
    except SystemExit as error:
        if error.code in (None, 0) or communicator.size == 1:
            raise
        if not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
        code = error.code if isinstance(error.code, int) else 1
        communicator.abort(f"rank {communicator.rank} ended with exit status {code}", code)


if __name__ == "__main__":
    main()
