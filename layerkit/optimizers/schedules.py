"""Schedules: the learning rate as a function of time, in parts of the initial one."""

import math
from abc import ABC, abstractmethod

from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr

__all__ = ["Cosine", "Exponential", "Schedule", "Step", "Warmup"]


class Schedule(ConstructorRepr, ABC):
    """Base of the schedules: a subclass writes ``__call__``.

    Time is counted in epochs or in steps, from 0, as `LearningRateSchedule` is told.

    Examples
    --------
    >>> from layerkit import Schedule
    >>> class Inverse(Schedule):
    ...     def __call__(self, time):
    ...         return 1 / (1 + time)
    >>> Inverse()(3)
    0.25
    """

    @abstractmethod
    def __call__(self, time: int) -> float:
        """Give what the initial learning rate is multiplied by."""


class Step(Schedule):
    """factor to the power of ⌊time / every⌋: lowered by steps.

    Parameters
    ----------
    every : int
        How long a step is; at least 1.
    factor : float
        What each multiplies by, above 0.

    Examples
    --------
    >>> from layerkit import Step
    >>> [Step(every=2, factor=0.5)(time) for time in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, every: int, factor: float = 0.1) -> None:
        self.every = check.integer("Step.__init__", "every", every, minimum=1)
        self.factor = check.number("Step.__init__", "factor", factor, above=0)

    def __call__(self, time: int) -> float:
        """Count the steps; see `Schedule`."""
        return float(self.factor ** (time // self.every))


class Exponential(Schedule):
    """factor to the power of the time.

    Parameters
    ----------
    factor : float
        What each unit of time multiplies by, above 0.

    Examples
    --------
    >>> from layerkit import Exponential
    >>> [Exponential(0.5)(time) for time in range(3)]
    [1.0, 0.5, 0.25]
    """

    def __init__(self, factor: float) -> None:
        self.factor = check.number("Exponential.__init__", "factor", factor, above=0)

    def __call__(self, time: int) -> float:
        """Take the power; see `Schedule`."""
        return float(self.factor**time)


class Cosine(Schedule):
    """From 1 down to ``final`` along half a wave of the cosine; then it stays there.

    Parameters
    ----------
    duration : int
        How long it takes; at least 1.
    final : float
        Where it ends, from 0 to 1.

    References
    ----------
    Loshchilov & Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", eq. 5.

    Examples
    --------
    >>> from layerkit import Cosine
    >>> [round(Cosine(4)(time), 3) for time in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    def __init__(self, duration: int, final: float = 0.0) -> None:
        self.duration = check.integer("Cosine.__init__", "duration", duration, minimum=1)
        self.final = check.number("Cosine.__init__", "final", final, minimum=0)

    def __call__(self, time: int) -> float:
        """Follow the wave; see `Schedule`."""
        share = min(time / self.duration, 1.0)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * share)) / 2


class Warmup(Schedule):
    """In equal steps from 1 / duration up to 1, then another schedule from its own beginning.

    Parameters
    ----------
    duration : int
        How long the rise takes; at least 1.
    then : Schedule, optional
        What follows; by default it stays at 1.

    References
    ----------
    Goyal et al. (2017), "Accurate, large minibatch SGD: training ImageNet in 1 hour", section 2.2.

    Examples
    --------
    >>> from layerkit import Step, Warmup
    >>> [Warmup(2, Step(every=2, factor=0.5))(time) for time in range(6)]
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.5]
    """

    def __init__(self, duration: int, then: Schedule | None = None) -> None:
        self.duration = check.integer("Warmup.__init__", "duration", duration, minimum=1)
        self.then = then
        if then is not None:
            check.instance("Warmup.__init__", "then", then, Schedule)

    def __call__(self, time: int) -> float:
        """Rise, then hand over; see `Schedule`."""
        if time < self.duration:
            return (time + 1) / self.duration
        return 1.0 if self.then is None else self.then(time - self.duration)
