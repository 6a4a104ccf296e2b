"""Where layerkit raises errors of its own, and which of these places no test has reached."""

import ast
from pathlib import Path

import layerkit

PACKAGE = Path(layerkit.__file__).parent


def sites():
    """Each place in layerkit that raises an error of its own: (file, first line, last line)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "testing" in path.parts:
            continue  # has bad input of its own
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "fail",
                "check.fail",
            )
            is_raise = (
                isinstance(node, ast.Raise)
                and isinstance(node.exc, ast.Call)
                # Others never reach a user: Refused, Unencodable, argparse's.
                and hasattr(layerkit, ast.unparse(node.exc.func))
            )
            if is_call or is_raise:
                yield str(path), node.lineno, node.end_lineno


def missed_sites(reached, names=None):
    """Name the places, in files of these names or in all, that no error has come from."""
    return [
        f"{Path(path).relative_to(PACKAGE)}:{first}"
        for path, first, last in sites()
        if (names is None or Path(path).name in names)
        and not any((path, line) in reached for line in range(first, last + 1))
    ]
