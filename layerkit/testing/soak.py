"""``python -m layerkit.testing soak``: whether the checks raise false alarms on what is right."""

import argparse
import time
from typing import Any

import numpy as np

from layerkit._support import validation
from layerkit._support.validation import Array
from layerkit.layers.base import Layer
from layerkit.losses import Loss
from layerkit.models.sequential import Sequential
from layerkit.testing.gradient_check import check_gradients

__all__ = ["add_parser", "soak"]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command and its options."""
    parser = commands.add_parser(
        "soak",
        help="check random networks that are right, and count false alarms",
        description="Draw random networks of the built-in layers, activations and losses, check "
        "their gradients, and count what is called wrong or inconclusive. All of them are right: "
        "the exit status is 1 if any is not found so.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--examples", type=int, default=1000, help="how many networks")
    parser.add_argument("--seed", type=int, default=0, help="where they come from")
    parser.set_defaults(run=lambda options: soak(options.examples, options.seed))


def soak(examples: int, seed: int) -> int:
    """Check so many networks; print what came out, and give the exit status."""
    try:
        import hypothesis
        from hypothesis import strategies as st

        import layerkit.testing.strategies as strategies
    except ImportError:
        validation.missing_extra("testing.soak", "hypothesis", "testing")
    alarms: list[str] = []
    counts = {"right": 0, "wrong": 0, "inconclusive": 0}
    # A few minutes make 10,000 networks of up to three small layers.
    models = strategies.dense_stacks(max_layers=3, max_width=4)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(model=models, with_loss=st.booleans(), data=st.data())
    def check_one(model: Sequential, with_loss: bool, data: Any) -> None:
        x = data.draw(strategies.batches(model.input_shape, max_samples=3))
        where = data.draw(st.integers(0, 2**16))
        arguments: tuple[Any, ...] = (x,)
        if with_loss:
            loss, y_true = data.draw(strategies.losses_with_targets(len(x), *model.output_shape))
            arguments = (loss, x, y_true)
        _count(model, arguments, where, counts, alarms)

    began = time.perf_counter()
    check_one()
    seconds = time.perf_counter() - began
    _print(alarms, counts, seconds)
    return int(bool(alarms) or sum(counts.values()) < examples)


def _print(alarms: list[str], counts: dict[str, int], seconds: float) -> None:
    for alarm in alarms:
        print(alarm)
    n_checked = sum(counts.values())
    print(
        f"{n_checked:,} networks that are right: {counts['wrong']} called wrong, "
        f"{counts['inconclusive']} inconclusive ({1e3 * seconds / n_checked:.0f} ms each)"
    )


def _count(
    model: Layer, arguments: tuple[Any, ...], seed: int, counts: dict[str, int], alarms: list[str]
) -> None:
    report = check_gradients(model, *arguments, seed=seed, raise_on_failure=False)
    verdict = "right" if report.passed else "inconclusive" if report.inconclusive else "wrong"
    counts[verdict] += 1
    if not report.passed:
        shown = ", ".join(_written(argument) for argument in arguments)
        alarms.append(f"{report}\n  with {shown}")


def _written(argument: Array | Loss) -> str:
    return repr(argument.tolist()) if isinstance(argument, np.ndarray) else repr(argument)
