"""Schedules that go up and down, and a chain of schedules, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from layerkit._support import validation as check
from layerkit.optimizers.schedules import Schedule
from layerkit.optimizers.schedules_of_decay import increasing

__all__ = ["ChainedSchedule", "CosineRestarts", "OneCycle"]


class CosineRestarts(Schedule):
    """Cosine decay with warm restarts: period after period, each from its height to ``final``.

    Period k, counted from 0, takes duration · growthᵏ, and begins at
    final + (1 − final) · heightᵏ.

    Parameters
    ----------
    duration : int
        Time of the first period; at least 1.
    growth : float
        Factor of each period's time over that of the one before; at least 1.
    height : float
        Factor of each period's height over that of the one before; above 0 and at most 1.
    final : float
        Factor at the end of each period; from 0 to 1.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Loshchilov & Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", eq. 5 and
    section 4.

    Examples
    --------
    >>> from layerkit import CosineRestarts
    >>> [round(CosineRestarts(2, growth=2)(time), 3) for time in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    def __init__(
        self, duration: int, growth: float = 1.0, height: float = 1.0, final: float = 0.0
    ) -> None:
        where = "CosineRestarts.__init__"
        self.duration = check.integer(where, "duration", duration, minimum=1)
        self.growth = check.number(where, "growth", growth, minimum=1)
        self.height = check.number(where, "height", height, above=0, maximum=1)
        self.final = check.number(where, "final", final, minimum=0, maximum=1)

    def __call__(self, time: int) -> float:
        """Return the factor of the period that the time is in; see `Schedule`."""
        period, share = self._place(time)
        cosine = self.height**period * (1 + math.cos(math.pi * share)) / 2
        return self.final + (1 - self.final) * cosine

    def _place(self, time: int) -> tuple[int, float]:
        """Return which period a time is in, and the share of it that has passed."""
        if self.growth == 1:
            period, passed = divmod(time, self.duration)
            return period, passed / self.duration
        # Of the sum of the periods before; one further or back where the logarithm is rounded.
        ratio = time / self.duration * (self.growth - 1)
        period = max(0, int(math.log1p(ratio) / math.log(self.growth)) - 1)
        while time >= self._start(period + 1):
            period += 1
        return period, (time - self._start(period)) / (self.duration * self.growth**period)

    def _start(self, period: int) -> float:
        """Return when a period begins."""
        return self.duration * (self.growth**period - 1) / (self.growth - 1)


class OneCycle(Schedule):
    """One cycle: from ``start`` up to 1, and down to ``final``, then constant.

    The initial learning rate of the optimizer is the peak. Pass ``unit="step"`` to
    `LearningRateSchedule`, and the number of all steps as ``duration``.

    Parameters
    ----------
    duration : int
        Time of the whole cycle; at least 2. The last factor is that of time duration − 1.
    warmup : float
        Share of the time until the peak, above 0 and below 1.
    start : float
        Factor at the beginning; above 0 and at most 1.
    final : float
        Factor at the end; from 0 to 1.
    shape : {"cosine", "linear"}
        Way up and down: half a period of the cosine, or a straight line.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind or out of its range.

    References
    ----------
    Smith & Topin (2018), "Super-convergence: very fast training of neural networks using large
    learning rates", section 3, in two phases as in torch.

    Examples
    --------
    >>> from layerkit import OneCycle
    >>> [round(OneCycle(11, start=0.1, final=0.0)(time), 3) for time in range(12)]
    [0.1, 0.458, 0.963, 0.98, 0.884, 0.726, 0.531, 0.33, 0.157, 0.041, 0.0, 0.0]
    """

    def __init__(
        self,
        duration: int,
        warmup: float = 0.3,
        start: float = 0.04,
        final: float = 4e-6,
        shape: Literal["cosine", "linear"] = "cosine",
    ) -> None:
        where = "OneCycle.__init__"
        self.duration = check.integer(where, "duration", duration, minimum=2)
        self.warmup = check.number(where, "warmup", warmup, above=0, below=1)
        self.start = check.number(where, "start", start, above=0, maximum=1)
        self.final = check.number(where, "final", final, minimum=0, maximum=1)
        self.shape = check.choice(where, "shape", shape, ("cosine", "linear"))

    def __call__(self, time: int) -> float:
        """Return the factor on the way up, on the way down, or at the end; see `Schedule`."""
        peak, end = max(0.0, self.warmup * self.duration - 1), self.duration - 1
        if time < peak:
            return self._between(self.start, 1.0, time / peak)
        return self._between(1.0, self.final, min(1.0, (time - peak) / (end - peak)))

    def _between(self, first: float, last: float, share: float) -> float:
        if self.shape == "linear":
            return first + (last - first) * share
        return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


class ChainedSchedule(Schedule):
    """A chain of schedules, one after the other, each from its own time 0.

    Parameters
    ----------
    schedules : sequence of Schedule
        Schedules, at least two.
    boundaries : sequence of int
        Times at which each but the first takes over, each later than the one before; above 0.

    Raises
    ------
    ArgumentError
        If an argument is of the wrong kind, out of its range, or of another length.

    Notes
    -----
    It is torch's ``SequentialLR``. A product of schedules, torch's ``ChainedScheduler``, is that of
    two `LearningRateSchedule` callbacks.

    Examples
    --------
    >>> from layerkit import ChainedSchedule, Exponential, Warmup
    >>> schedule = ChainedSchedule([Warmup(2), Exponential(0.5)], [3])
    >>> [schedule(time) for time in range(6)]
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.25]
    """

    def __init__(self, schedules: Sequence[Schedule], boundaries: Sequence[int]) -> None:
        where = "ChainedSchedule.__init__"
        self.schedules = check.instances(where, "schedules", schedules, Schedule)
        self.boundaries = increasing(where, boundaries)
        if len(self.schedules) != len(self.boundaries) + 1:
            wanted = f"{len(self.boundaries) + 1} schedules, one more than the boundaries"
            check.fail(where, "schedules", wanted, check.Said(f"{len(self.schedules)} of them"))

    def __call__(self, time: int) -> float:
        """Return the value of the schedule whose turn it is; see `Schedule`."""
        place = sum(time >= boundary for boundary in self.boundaries)
        start = self.boundaries[place - 1] if place else 0
        return self.schedules[place].factor_at(time - start)
