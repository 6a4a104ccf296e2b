"""Findings of a check, as data and as text; and the error that carries them."""

from dataclasses import dataclass, field

from layerkit.errors import LayerkitError

__all__ = ["ArrayReport", "CheckError", "GradientReport", "InconclusiveError", "Mismatch"]


@dataclass(frozen=True)
class Mismatch:
    """One coordinate whose gradient is wrong, or could not be told.

    Parameters
    ----------
    location : str
        Place of the coordinate: ``layers[1].kernel[1, 2]``.
    analytic, numeric : float
        The gradient that was computed, and the one found by finite differences.
    relative_error : float
        Their difference over the larger of the two.
    step, noise : float
        The step of the differences, and how far rounding may put them off.
    left, right : float
        The one-sided slopes; at a kink they differ.

    Examples
    --------
    >>> from layerkit.testing import Mismatch
    >>> print(Mismatch("bias[0]", 3.0, 1.5, 0.5, 1e-3, 2e-13, 1.5, 1.5))
    bias[0]: computed 3, by differences 1.5 (relative error 0.5)
      step 1.0e-03, noise 2.0e-13, slopes 1.5 on the left, 1.5 on the right
    """

    location: str
    analytic: float
    numeric: float
    relative_error: float
    step: float
    noise: float
    left: float
    right: float

    def __str__(self) -> str:
        """Write a line for the gradient and one for how it was measured."""
        return (
            f"{self.location}: computed {self.analytic:.9g}, by differences {self.numeric:.9g} "
            f"(relative error {self.relative_error:.2g})\n"
            f"  step {self.step:.1e}, noise {self.noise:.1e}, "
            f"slopes {self.left:.9g} on the left, {self.right:.9g} on the right"
        )


@dataclass(frozen=True)
class ArrayReport:
    """Findings on one array's gradient.

    Parameters
    ----------
    name : str
        ``x``, or a parameter such as ``layers[1].kernel``.
    n_checked, n_wrong, n_inconclusive : int
        Numbers of coordinates, over all points: compared; wrong; not to be told.
    worst : Mismatch or None
        The one that is furthest off.
    diagnosis : str
        Likely mistake, by the pattern of the errors; empty if the array is right.

    Examples
    --------
    >>> from layerkit.testing import ArrayReport
    >>> print(ArrayReport("layers[0].bias", n_checked=24, n_wrong=0, n_inconclusive=0))
    layers[0].bias: right at 24 places
    """

    name: str
    n_checked: int
    n_wrong: int
    n_inconclusive: int
    worst: Mismatch | None = None
    diagnosis: str = ""

    def __str__(self) -> str:
        """Write what is wrong with the array."""
        n_failing = self.n_wrong + self.n_inconclusive
        if not n_failing:
            return f"{self.name}: right at {self.n_checked} places"
        kind = "wrong" if self.n_wrong else "inconclusive"
        share = f"{n_failing} of {self.n_checked} places ({n_failing / self.n_checked:.0%})"
        lines = [f"{self.name}: {kind} at {share}"]
        if self.diagnosis:
            lines.append(f"  diagnosis: {self.diagnosis}")
        if self.worst:
            lines.append("  worst: " + str(self.worst).replace("\n", "\n  "))
        return "\n".join(lines)


@dataclass(frozen=True)
class GradientReport:
    """Findings of a gradient check.

    Parameters
    ----------
    subject : str
        The layer, model, activation or loss that was checked, as text.
    arrays : tuple of ArrayReport
        Each array with respect to which gradients were compared.
    notes : tuple of str
        Remarks for the reader, such as that a float64 copy was checked.
    seed : int
        Seed of the random points.
    replay : str
        A line of code that runs the same check again.

    Examples
    --------
    >>> from layerkit.testing import ArrayReport, GradientReport
    >>> report = GradientReport("MyLayer(2)", (ArrayReport("x", 8, 2, 0, diagnosis="twice"),))
    >>> report.passed, report.diagnoses
    (False, {'x': 'twice'})
    """

    subject: str
    arrays: tuple[ArrayReport, ...]
    notes: tuple[str, ...] = ()
    seed: int = 0
    replay: str = ""

    @property
    def passed(self) -> bool:
        """Whether every gradient was told, and is right."""
        return bool(self.arrays) and not any(a.n_wrong or a.n_inconclusive for a in self.arrays)

    @property
    def inconclusive(self) -> bool:
        """Whether no gradient is wrong, but some could not be told."""
        return not self.passed and not any(a.n_wrong for a in self.arrays)

    @property
    def diagnoses(self) -> dict[str, str]:
        """The diagnosis of each array that failed, by its name."""
        return {a.name: a.diagnosis for a in self.arrays if a.n_wrong or a.n_inconclusive}

    def __str__(self) -> str:
        """Write the report."""
        verdict = "right" if self.passed else "inconclusive" if self.inconclusive else "wrong"
        lines = [f"gradients of {self.subject}: {verdict}"]
        failing = [a for a in self.arrays if a.n_wrong or a.n_inconclusive]
        for array in [*failing, *(a for a in self.arrays if a not in failing)]:
            lines += ["  " + line for line in str(array).split("\n")]
        lines += [f"  note: {note}" for note in self.notes]
        if not self.passed and self.replay:
            lines.append(f"  seed {self.seed}; again: {self.replay}")
        return "\n".join(lines)


@dataclass(eq=False)
class CheckError(LayerkitError, AssertionError):
    """A check has failed.

    Attributes
    ----------
    message : str
        Description of what is wrong.
    report : GradientReport or None
        The report of a gradient check.
    failures : dict of str to CheckError
        Of a suite: each check that failed, by name.
    """

    message: str
    report: GradientReport | None = None
    failures: "dict[str, CheckError]" = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class InconclusiveError(CheckError):
    """A gradient could not be told right or wrong, which is no pass."""
