"""Learning rate schedules: factors of the initial learning rate, as functions of time."""

import math
from abc import ABC, abstractmethod

from layerkit._support import validation as check
from layerkit._support.repr import ConstructorRepr

__all__ = ["Cosine", "Exponential", "Schedule", "Step", "Warmup"]


class Schedule(ConstructorRepr, ABC):
    """Base class of learning rate schedules: a subclass defines ``__call__``.

    Time is counted from 0, in epochs or in steps: the ``unit`` of `LearningRateSchedule`.

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
        """Return the factor of the initial learning rate.

        Parameters
        ----------
        time : int
            Number of epochs or steps since the beginning of the training.

        Returns
        -------
        float
            Factor of the learning rate: finite, and at least 0.
        """

    def factor_at(self, time: int) -> float:
        """Return the factor, and refuse one that no learning rate may have.

        Parameters
        ----------
        time : int
            Number of epochs or steps since the beginning of the training.

        Returns
        -------
        float
            Factor of the learning rate: finite, and at least 0.

        Raises
        ------
        ArgumentError
            If the schedule returns anything else.
        """
        where = f"{type(self).__name__}.__call__"
        return check.number(where, f"the factor at time {time}", self(time), minimum=0)


class Step(Schedule):
    """Step decay: factor to the power of ⌊time / every⌋.

    Parameters
    ----------
    every : int
        Time from one change to the next; at least 1.
    factor : float
        Factor of each change, above 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range; when called, if the power is too
        large for a number.

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
        """Return factor to the power of ⌊time / every⌋; see `Schedule`."""
        return _power("Step", self.factor, time // self.every)


class Exponential(Schedule):
    """Exponential decay: factor to the power of the time.

    Parameters
    ----------
    factor : float
        Factor of each epoch or step, above 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range; when called, if the power is too
        large for a number.

    Examples
    --------
    >>> from layerkit import Exponential
    >>> [Exponential(0.5)(time) for time in range(3)]
    [1.0, 0.5, 0.25]
    """

    def __init__(self, factor: float) -> None:
        self.factor = check.number("Exponential.__init__", "factor", factor, above=0)

    def __call__(self, time: int) -> float:
        """Return factor to the power of the time; see `Schedule`."""
        return _power("Exponential", self.factor, time)


class Cosine(Schedule):
    """Cosine decay: from 1 to ``final`` along half a period of the cosine, then constant.

    Parameters
    ----------
    duration : int
        Time of the decay; at least 1.
    final : float
        Factor at the end; from 0 to 1.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

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
        self.final = check.number("Cosine.__init__", "final", final, minimum=0, maximum=1)

    def __call__(self, time: int) -> float:
        """Return final + (1 − final) · (1 + cos(π · time / duration)) / 2; see `Schedule`."""
        share = min(time / self.duration, 1.0)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * share)) / 2


class Warmup(Schedule):
    """Linear warm-up: from 1 / duration to 1 in equal steps, then another schedule from time 0.

    Parameters
    ----------
    duration : int
        Time of the warm-up; at least 1.
    then : Schedule, optional
        Schedule after the warm-up; by default, the factor stays 1.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

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
        """Return (time + 1) / duration, or the value of ``then`` after that; see `Schedule`."""
        if time < self.duration:
            return (time + 1) / self.duration
        return 1.0 if self.then is None else self.then.factor_at(time - self.duration)


def _power(schedule: str, factor: float, exponent: int) -> float:
    """Return a power that is finite: one below the smallest number is 0, a greater is refused."""
    try:
        return float(factor**exponent)
    except OverflowError:
        got = check.Said(f"{factor:g} to the power of {exponent}")
        remedy = "Use a smaller factor, or train for less time."
        check.fail(f"{schedule}.__call__", "the factor", "finite", got, remedy)
