"""Reports: data that says whether a check passed, and text for a person."""

from layerkit import LayerkitError
from layerkit.testing import ArrayReport, CheckError, GradientReport, InconclusiveError, Mismatch

WORST = Mismatch("kernel[1, 2]", 2.0, 1.0, 0.5, 1e-3, 1e-12, 0.9, 1.1)
RIGHT = ArrayReport("x", 10, 0, 0)
WRONG = ArrayReport("kernel", 8, 4, 0, WORST, "twice the true one")
UNTOLD = ArrayReport("bias", 3, 0, 3, WORST, "finite differences give no answer here")


def test_verdicts():
    assert GradientReport("layer", (RIGHT,)).passed
    wrong, untold = (
        GradientReport("l", (RIGHT, UNTOLD, WRONG)),
        GradientReport("l", (RIGHT, UNTOLD)),
    )
    assert not wrong.passed
    assert not wrong.inconclusive
    assert not untold.passed
    assert untold.inconclusive
    assert not GradientReport("nothing", ()).passed
    assert wrong.diagnoses == {"bias": UNTOLD.diagnosis, "kernel": WRONG.diagnosis}


def test_text():
    report = GradientReport("Scale(3)", (RIGHT, WRONG), ("a note",), 7, "check_layer(...)")
    assert str(report) == (
        "gradients of Scale(3): wrong\n"
        "  kernel: wrong at 4 of 8 places (50%)\n"
        "    diagnosis: twice the true one\n"
        "    worst: kernel[1, 2]: computed 2, by differences 1 (relative error 0.5)\n"
        "      step 1.0e-03, noise 1.0e-12, slopes 0.9 on the left, 1.1 on the right\n"
        "  x: right at 10 places\n"
        "  note: a note\n"
        "  seed 7; again: check_layer(...)"
    )
    assert "inconclusive at 3 of 3 places (100%)" in str(GradientReport("l", (UNTOLD,)))


def test_errors_are_failed_assertions_and_layerkits_own():
    error = InconclusiveError("text")
    assert isinstance(error, CheckError | AssertionError | LayerkitError)
    assert str(error) == "text"
    assert error.report is None
    assert error.failures == {}
