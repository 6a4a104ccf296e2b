"""`parametrize_with_checks`: the suites as pytest tests, one id a check."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from layerkit._support import validation
from layerkit.activations import Activation
from layerkit.layers.base import Layer
from layerkit.losses import Loss
from layerkit.optimizers import Optimizer
from layerkit.testing.activation_checks import activation_checks
from layerkit.testing.layer_checks import layer_checks
from layerkit.testing.loss_checks import loss_checks
from layerkit.testing.optimizer_checks import optimizer_checks
from layerkit.testing.suite import Check

__all__ = ["checks_of", "parametrize_with_checks"]

_SUITES: dict[type, Callable[..., list[Check]]] = {
    Layer: layer_checks,
    Activation: activation_checks,
    Loss: loss_checks,
    Optimizer: optimizer_checks,
}
_WANTED = "(make, shape) or (make, shape, {check: why it is expected to fail})"


def checks_of(make: Any, shape: Any = None, *, seed: int = 0) -> list[Check]:
    """List the checks of a layer, activation, loss or optimizer, or of what ``make`` makes."""
    thing = make if isinstance(make, tuple(_SUITES)) else make()
    for kind, suite in _SUITES.items():
        if isinstance(thing, kind):
            return suite(make, *(() if shape is None else (shape,)), seed=seed)
    wanted = "a layer, an activation, a loss or an optimizer"
    validation.fail("parametrize_with_checks.subjects", "what make gives", wanted, thing)


def parametrize_with_checks(subjects: Sequence[Any], *, seed: int = 0) -> Any:
    """Make a pytest decorator that runs a test once for each check of each subject.

    Parameters
    ----------
    subjects : list of tuple
        For a layer ``(make, input_shape)``, for a loss ``(make, output_shape)``, for an
        activation or an optimizer ``(make,)``; ``make`` is one, of which copies are checked, or
        makes a fresh one. A dict may follow that names checks which are expected to fail, each
        with the reason; such a check that passes is a failure.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    decorator
        Of a test function that takes ``check`` and calls it.

    Raises
    ------
    MissingExtraError
        If pytest is not installed.
    ArgumentError
        If a subject is none of these, or an expected failure no name of a check.

    Examples
    --------
    >>> from layerkit import Dense
    >>> from layerkit.testing import parametrize_with_checks
    >>> @parametrize_with_checks([(Dense(3, 2), (3,))])
    ... def test_my_layer(check):
    ...     check()
    """
    try:
        import pytest
    except ImportError:
        validation.missing_extra("testing.parametrize_with_checks", "pytest", "testing")
    where = "parametrize_with_checks.subjects"
    cases = []
    for subject in subjects:
        make, *rest = subject if isinstance(subject, tuple | list) else (subject,)
        expected: Mapping[str, str] = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        if not (callable(make) or isinstance(make, tuple(_SUITES))) or len(rest) > 1:
            validation.fail(where, "a subject", _WANTED, subject)
        checks = checks_of(make, *rest, seed=seed)
        unknown = set(expected) - {check.name for check in checks}
        if unknown:
            got = validation.Said(", ".join(sorted(unknown)))
            names = ", ".join(check.name for check in checks)
            validation.fail(where, "expected failures", f"among {names}", got)
        for check in checks:
            reason = expected.get(check.name)
            marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
            cases.append(pytest.param(check, id=f"{check.subject}-{check.name}", marks=marks))
    return pytest.mark.parametrize("check", cases)
