"""The check of the statistics that a layer keeps of its inputs, computed again over all samples."""

from layerkit.testing.layer_subject import ROUNDING, Subject
from layerkit.testing.suite import equal

__all__ = ["check_statistics"]


def check_statistics(subject: Subject) -> None:
    """They are those of all samples, however these are cut and whatever came before."""
    x = subject.x(4 * subject.fewest + 3)
    whole, cut = subject.model(), subject.model()
    subject.passes(cut, subject.x(salt=1), subject.dy())
    whole.update_statistics(x, batch_size=len(x))
    cut.update_statistics(x, batch_size=2)
    message = "compute_statistics gives others for samples in several batches than for all in one"
    equal(cut.predict(x), whole.predict(x), message, rtol=ROUNDING)
