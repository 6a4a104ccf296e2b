"""What the benchmarks share: contenders that take turns, and tables in RESULTS.md.

Machines are noisy, so times are taken in short rounds in which all contenders have their turn, and
a ratio is the median of the ratios within the rounds. A pause between two turns lets the threads of
one library go to sleep before the next one's begin.
"""

import contextlib
import importlib.metadata
import io
import re
import statistics
import time
from pathlib import Path

import layerkit

RESULTS = Path(__file__).with_name("RESULTS.md")


def race(contenders, rounds, pause=0.02):
    """Time each contender once a round: a function, and how many units of work a call of it does.

    Returns the seconds a unit, by name.
    """
    times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (run, n_units) in contenders.items():
            time.sleep(pause)
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) / n_units)
    return times


def ratio(times, name, reference):
    """How many times as long as the reference a contender takes."""
    return statistics.median(a / b for a, b in zip(times[name], times[reference], strict=True))


def table(title, times, reference, unit="µs"):
    """Write the medians, their range, and their ratio to the reference."""
    scale = {"µs": 1e6, "ms": 1e3}[unit]
    lines = [f"| {title} | {unit}, median | min-max | over {reference} |", "|---|---|---|---|"]
    for name, own in times.items():
        numbers = [scale * seconds for seconds in own]
        middle, low, high = statistics.median(numbers), min(numbers), max(numbers)
        digits = 3 if middle < 1 else 2 if middle < 10 else 1
        lines.append(
            f"| {name} | {middle:.{digits}f} | {low:.{digits}f}-{high:.{digits}f} "
            f"| {ratio(times, name, reference):.2f} |"
        )
    return "\n".join(lines)


def machine():
    """Describe what the figures were measured on."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        layerkit.show_config(measure=False)
    versions = []
    for package in ("torch", "jax", "keras", "scikit-learn"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    peers = ", ".join(versions) or "none installed"
    return f"```\n{shown.getvalue()}peers      {peers}\n```"


def write(heading, text):
    """Put a section into RESULTS.md, in the place of its last version, and print it."""
    print(f"\n## {heading}\n\n{text}\n")
    old = RESULTS.read_text() if RESULTS.is_file() else ""
    sections = dict(re.findall(r"^## (.*?)\n\n(.*?)(?=\n## |\Z)", old, re.DOTALL | re.MULTILINE))
    sections[heading] = f"{text}\n"
    sections["Machine"] = f"{machine()}\n"
    order = ["Machine", *(name for name in sections if name != "Machine")]
    body = "\n".join(f"## {name}\n\n{sections[name]}" for name in order)
    RESULTS.write_text(
        "# What was measured\n\n"
        "Each section was written by the command that it begins with. Read the ratios: the\n"
        "contenders took turns, and times alone change with the machine and the hour.\n\n"
        f"{body}"
    )


def missing(package):
    """Say that a peer is left out."""
    print(f"{package} is not installed, and left out: pip install -e '.[benchmarks]'")
