"""The check of open axes: whether a layer computes the same whatever the lengths of its batches."""

from layerkit.testing.layer_array_checks import check_follows_reference
from layerkit.testing.layer_gradient_checks import check_gradients
from layerkit.testing.layer_subject import ROUNDING, Subject
from layerkit.testing.report import CheckError
from layerkit.testing.suite import equal

__all__ = ["check_open_axes"]


def check_open_axes(subject: Subject) -> None:
    """At each length of an open axis it is right, and as if it had been built for that length."""
    others = subject.at_other_lengths()
    for other in others:
        try:
            check_gradients(other)
            if other.reference is not None:
                check_follows_reference(other)
        except CheckError as error:
            message = f"with samples of shape {other.sample_shape}: {error}"
            raise type(error)(message, error.report) from None
        except Exception as error:
            shape, kind = other.sample_shape, type(error).__name__
            raise CheckError(f"with samples of shape {shape}: raises {kind}: {error}") from error
    model = subject.model()
    for each in [*others, subject, *reversed(others)]:
        x, dy = each.x(), each.dy()
        got = each.passes(model, x, dy)
        for expected, alone in (
            (each.passes(each.model(), x, dy), "a fresh layer"),
            (
                each.passes(each.model(input_shape=each.sample_shape), x, dy),
                "a layer built for that length",
            ),
        ):
            for what, first, second in zip(("y", "dx", "gradients"), got, expected, strict=True):
                message = (
                    f"{what} of samples of shape {each.sample_shape}, after batches of other "
                    f"lengths, is not what {alone} gives"
                )
                equal(first, second, message, rtol=ROUNDING)
