"""Schedules that go down for good: polynomial, inverse in time, or in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from layerkit._support import validation as check
from layerkit.optimizers.schedules import Schedule

__all__ = ["InverseTime", "PiecewiseConstant", "Polynomial"]


class Polynomial(Schedule):
    """Polynomial decay: from 1 to ``final`` along a power of the time that is left, then constant.

    Parameters
    ----------
    duration : int
        Time of the decay; at least 1.
    power : float
        Power of the share that is left, above 0; 1 is a straight line.
    final : float
        Factor at the end; from 0 to 1.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Chen et al. (2018), "DeepLab: semantic image segmentation with deep convolutional nets, atrous
    convolution, and fully connected CRFs", section 4.1.2.

    Examples
    --------
    >>> from layerkit import Polynomial
    >>> [Polynomial(4, power=2)(time) for time in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    def __init__(self, duration: int, power: float = 1.0, final: float = 0.0) -> None:
        where = "Polynomial.__init__"
        self.duration = check.integer(where, "duration", duration, minimum=1)
        self.power = check.number(where, "power", power, above=0)
        self.final = check.number(where, "final", final, minimum=0, maximum=1)

    def __call__(self, time: int) -> float:
        """Return final + (1 − final) · (1 − time / duration)^power; see `Schedule`."""
        left = 1 - min(time / self.duration, 1.0)
        return self.final + (1 - self.final) * float(left**self.power)


class InverseTime(Schedule):
    """Inverse decay in time: 1 / (1 + rate · time / every).

    Parameters
    ----------
    rate : float
        Rate of the decay, above 0.
    every : int
        Time in which the decay goes on by ``rate``; at least 1.
    staircase : bool
        Whether the factor changes at multiples of ``every`` only: ⌊time / every⌋.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Robbins & Monro (1951), "A stochastic approximation method", whose rates are of this kind.

    Examples
    --------
    >>> from layerkit import InverseTime
    >>> [InverseTime(1.0)(time) for time in range(4)]
    [1.0, 0.5, 0.3333333333333333, 0.25]
    """

    def __init__(self, rate: float, every: int = 1, staircase: bool = False) -> None:
        where = "InverseTime.__init__"
        self.rate = check.number(where, "rate", rate, above=0)
        self.every = check.integer(where, "every", every, minimum=1)
        self.staircase = check.boolean(where, "staircase", staircase)

    def __call__(self, time: int) -> float:
        """Return 1 / (1 + rate · time / every); see `Schedule`."""
        passed = time // self.every if self.staircase else time / self.every
        return 1 / (1 + self.rate * passed)


class PiecewiseConstant(Schedule):
    """Given factors, each up to a given time.

    Parameters
    ----------
    boundaries : sequence of int
        Times from which on the next factor counts, each later than the one before; above 0.
    factors : sequence of float
        Factors, one more than there are boundaries; at least 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind, out of its range, or of another length.

    Notes
    -----
    At a boundary the next factor counts already, as at a milestone of torch's ``MultiStepLR``.
    Keras's ``PiecewiseConstantDecay`` changes one step later.

    Examples
    --------
    >>> from layerkit import PiecewiseConstant
    >>> [PiecewiseConstant([2, 3], [1.0, 0.5, 0.1])(time) for time in range(5)]
    [1.0, 1.0, 0.5, 0.1, 0.1]
    """

    def __init__(self, boundaries: Sequence[int], factors: Sequence[float]) -> None:
        where = "PiecewiseConstant.__init__"
        self.boundaries = increasing(where, boundaries)
        if not isinstance(factors, list | tuple):
            check.fail(where, "factors", "a list of numbers", factors)
        self.factors = [
            check.number(where, f"factors[{k}]", factor, minimum=0)
            for k, factor in enumerate(factors)
        ]
        if len(self.factors) != len(self.boundaries) + 1:
            wanted = f"{len(self.boundaries) + 1} numbers, one more than the boundaries"
            check.fail(where, "factors", wanted, check.Said(f"{len(self.factors)} of them"))

    def __call__(self, time: int) -> float:
        """Return the factor of the piece that the time is in; see `Schedule`."""
        return self.factors[sum(time >= boundary for boundary in self.boundaries)]


def increasing(where: str, boundaries: Sequence[int]) -> list[int]:
    """Check for times above 0, each later than the one before."""
    if not isinstance(boundaries, list | tuple) or not boundaries:
        check.fail(where, "boundaries", "a list of at least one time", boundaries)
    times = [
        check.integer(where, f"boundaries[{k}]", time, minimum=1)
        for k, time in enumerate(boundaries)
    ]
    if times != sorted(set(times)):
        check.fail(where, "boundaries", "each later than the one before", times)
    return times
