"""The checks of the arrays that a layer takes and returns: shapes, layouts, dtypes, memory.

Each function that starts with ``check_`` is a named check; `layer_checks` puts them together.
Most call `compute_forward` and `compute_backward` themselves, as a `Trainer` does, and not only
the public methods, which would copy and refuse in the layer's place.
"""

from collections.abc import Callable, Iterator

import numpy as np

from layerkit._support.validation import Array, Shape
from layerkit.testing.layer_subject import ROUNDING, Subject
from layerkit.testing.suite import equal, fail, read_only

__all__ = [
    "check_empty_batch",
    "check_evaluation_equals_training",
    "check_finite",
    "check_float32",
    "check_follows_reference",
    "check_inputs_untouched",
    "check_memory_layouts",
    "check_new_batch_size",
    "check_no_aliasing",
    "check_output_shape",
    "check_per_sample_equals_batch",
]


def check_inputs_untouched(subject: Subject) -> None:
    """X and dy keep their bytes, and may be read-only."""
    x, dy = subject.x(), subject.dy()
    for training in (True, False):
        model = subject.model()
        given = x.copy()
        _, cache = model.compute_forward(given, training=training)
        equal(given, x, f"compute_forward(training={training}) changes x in place")
        if training:
            upstream = dy.copy()
            model.compute_backward(upstream, cache)
            equal(upstream, dy, "compute_backward changes dy in place")
            equal(given, x, "compute_backward changes x in place")
    model = subject.model()
    _, cache = model.compute_forward(read_only(x), training=True)
    model.compute_backward(read_only(dy), cache)
    subject.passes(subject.model(), read_only(x), read_only(dy))


def check_no_aliasing(subject: Subject) -> None:
    """What the caller does with x, y and dx afterwards changes nothing in the layer."""
    x, dy = subject.x(), subject.dy()
    model = subject.model()
    earlier = model.predict(x)
    kept = earlier.copy()
    model.predict(subject.x(salt=1))
    subject.passes(model, subject.x(salt=2), dy)
    model.values = model.values + 1.0
    equal(earlier, kept, "an output changes later: it shares memory with a buffer or a parameter")
    expected = subject.passes(subject.model(), x, dy)
    for of_layer in (False, True):
        model = subject.model()
        callee = model[0] if of_layer else model  # users call a layer's own methods too
        given, upstream = x.copy(), dy.copy()
        y = callee.forward(given, training=True)
        y[...] = np.nan
        subject.spoil(given)
        dx = subject.dx(callee.backward(upstream), x)
        message = "backward goes wrong when the caller changes x or y after forward: it keeps them"
        equal(dx, expected[1], message)
        equal(model.grads, expected[2], message)
        upstream[...] = np.nan
        equal(dx, expected[1], "dx shares memory with dy")
        dx[...] = np.nan
        message = "a parameter's gradient shares memory with dx or dy"
        equal(model.grads, expected[2], message)
    first = subject.passes(model, x, dy)
    y, dx = model.forward(x, training=True), subject.dx(model.backward(dy), x)
    kept_y, kept_dx = y.copy(), dx.copy()
    subject.passes(model, subject.x(salt=3), subject.dy(salt=3))
    equal(y, kept_y, "an output of training changes with the next batch: a buffer is used again")
    equal(dx, kept_dx, "dx changes with the next batch: a buffer is used again")
    equal(first[1], expected[1], "the same batch gives another dx the second time")


def check_new_batch_size(subject: Subject) -> None:
    """A batch of another size gives what a fresh layer gives."""
    model = subject.model()
    for salt, n_samples in enumerate((5, 2, 7, subject.fewest, 5)):
        x, dy = subject.x(n_samples, salt), subject.dy(n_samples)
        expected = subject.passes(subject.model(), x, dy)
        got = subject.passes(model, x, dy)
        for what, first, second in zip(("y", "dx", "gradients"), got, expected, strict=True):
            message = (
                f"{what} of {n_samples} samples, after a batch of another size, is not what a "
                "fresh layer gives: something of an earlier batch is kept"
            )
            equal(first, second, message, rtol=ROUNDING)


def check_per_sample_equals_batch(subject: Subject) -> None:
    """A sample's output does not depend on the others in its batch."""
    model, x = subject.model(), subject.x()
    single = np.concatenate([model.predict(x[i : i + 1]) for i in range(len(x))])
    message = (
        "a sample's output depends on the others in its batch: an axis is mixed up? (A layer that "
        "is meant to says so: mixes_samples = True)"
    )
    equal(model.predict(x), single, message, rtol=ROUNDING)


def check_evaluation_equals_training(subject: Subject) -> None:
    """Forward gives the same output in training and in evaluation."""
    model = subject.model()
    y = model.forward(subject.x(), training=True)
    message = (
        "y differs between training and evaluation; a layer that is random or mixes samples in "
        "training says so: is_random = True, mixes_samples = True"
    )
    equal(y, model.predict(subject.x()), message, rtol=ROUNDING)


def check_empty_batch(subject: Subject) -> None:
    """No samples give no outputs, and gradients of zero."""
    model = subject.model()
    x, dy = subject.x(0), subject.dy(0)
    _shape("the output of 0 samples", model.predict(x), (0, *subject.output_shape))
    _, dx, grads = subject.passes(model, x, dy)
    _shape("dx of 0 samples", dx, x.shape)
    if grads.any():
        fail("the gradients of 0 samples are not 0")


def check_memory_layouts(subject: Subject) -> None:
    """Results don't depend on how x and dy lie in memory."""
    x, dy = subject.x(), subject.dy()
    expected = subject.passes(subject.model(), x, dy)
    layouts: dict[str, Callable[[Array], Array]] = {
        "in Fortran order": np.asfortranarray,
        "with negative strides": lambda a: a[::-1].copy()[::-1],
        "with gaps": lambda a: np.repeat(a, 2, axis=0)[::2],
        "read-only": read_only,
    }
    for words, laid in layouts.items():
        model = subject.model()
        y, cache = model.compute_forward(laid(x), training=True)
        equal(y, expected[0], f"y of an x {words} is another", rtol=ROUNDING)
        dx = subject.dx(model.compute_backward(laid(dy), cache), x)
        equal(dx, expected[1], f"dx of an x and dy {words} is another", rtol=ROUNDING)
        message = f"the gradients of an x and dy {words} are others"
        equal(model.grads, expected[2], message, rtol=ROUNDING)
        public = subject.passes(subject.model(), laid(x), laid(dy))
        equal(public[1], expected[1], f"dx of an x {words} is another", rtol=ROUNDING)


def check_float32(subject: Subject) -> None:
    """In a float32 model everything stays float32, and close to float64."""
    model = subject.model(np.float32)
    x, dy = subject.x(), subject.dy().astype(np.float32)
    if not subject.takes_integers:
        x = x.astype(np.float32)
    subject.rewind(model)
    y, cache = model.compute_forward(x, training=True)
    _dtype("y", y)
    dx = subject.dx(model.compute_backward(dy, cache), x)
    if not subject.takes_integers:
        _dtype("dx", dx)
    _dtype("y in evaluation", model.compute_forward(x, training=False)[0])
    expected = subject.passes(
        subject.model(), x if subject.takes_integers else x.astype(float), dy.astype(float)
    )
    # A thousand times float32's rounding: room for sums, none for another formula.
    for what, got, true in zip(
        ("y", "dx", "the gradients"), (y, dx, model.grads), expected, strict=True
    ):
        equal(got.astype(float), true, f"{what} in float32 is far from float64", rtol=1e-4)


def _dtype(what: str, array: Array) -> None:
    if array.dtype != np.float32:
        fail(f"{what} of a float32 model is {array.dtype}: a constant of float64 widens it?")


def check_finite(subject: Subject) -> None:
    """Inputs up to 1e5 in size, and those of 0, give finite results, without a warning."""
    for scale, x in _large(subject):
        model = subject.model(moved=False)
        try:
            with np.errstate(all="raise", under="ignore"):
                y, dx, grads = subject.passes(model, x, subject.dy())
                y_evaluated = model.predict(x)
        except FloatingPointError as error:
            fail(f"inputs up to {scale:g} in size: {error}; a formula that overflows on the way")
        for what, array in (("y", y), ("y", y_evaluated), ("dx", dx), ("a gradient", grads)):
            if not np.isfinite(array).all():
                fail(f"inputs up to {scale:g} in size: {what} is not finite")


def _large(subject: Subject) -> Iterator[tuple[float, Array]]:
    """Draw large inputs, with zeros among them; or the user's own, which have their range."""
    if subject.inputs is not None:
        x = subject.x()
        yield float(abs(x).max(initial=0)), x
        return
    for scale in (30.0, 1e3, 1e5):
        x = np.clip(subject.x(scale=scale), -1e5, 1e5)
        x.flat[0] = scale
        x.flat[-1] = -scale
        x[1] = 0
        yield scale, x


def check_follows_reference(subject: Subject) -> None:
    """The output is that of the reference, at initial and at other parameters."""
    assert subject.reference is not None  # noqa: S101 - the check is left out without one
    for moved in (False, True):
        for salt, (n_samples, scale) in enumerate(((5, 1.0), (subject.fewest, 1.0), (4, 8.0))):
            model = subject.model(moved=moved)
            x = subject.x(n_samples, salt, scale)
            parameters = [parameter.value.copy() for parameter in model.parameters]
            expected = np.asarray(subject.reference(x.copy(), *parameters), dtype=float)
            y = model.predict(x)
            if expected.shape != y.shape:
                fail(f"y is of shape {y.shape}, the reference's is {expected.shape}")
            size = abs(expected).max(initial=0)
            off = ~(abs(y - expected) <= ROUNDING * size)
            if off.any():
                at = tuple(int(i) for i in np.argwhere(off)[0])
                place = "initial parameters" if not moved else "parameters that have been moved"
                fail(
                    f"y{list(at)} is {y[at]:.9g}, the reference's is {expected[at]:.9g} "
                    f"({off.sum()} of {off.size} differ; at {place})"
                )


def check_output_shape(subject: Subject) -> None:
    """The output has the shape that build declared."""
    for n_samples in (subject.fewest, 4):
        for training in (True, False):
            model = subject.model()
            y, _ = model.compute_forward(subject.x(n_samples), training=training)
            _shape("y, by what build declared,", y, (n_samples, *subject.output_shape))


def _shape(what: str, array: Array, shape: Shape) -> None:
    if array.shape != shape:
        fail(f"{what} must be of shape {shape}; got {array.shape}")
