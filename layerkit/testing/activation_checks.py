"""`check_activation`: whether an activation keeps every promise that an activation makes."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from layerkit._support import validation
from layerkit._support.validation import Array
from layerkit.activations import Activation
from layerkit.layers.dense import Dense
from layerkit.testing.gradient_check import EXTREMES, POINTS, gradient_report, verdict
from layerkit.testing.layer_checks import layer_checks
from layerkit.testing.problems import ActivationProblem
from layerkit.testing.rebuilding import rebuilt
from layerkit.testing.suite import (
    Check,
    equal,
    fail,
    maker,
    pickled,
    read_only,
    run_checks,
    state_of,
)

__all__ = ["activation_checks", "check_activation"]

_ROUNDING = 1e-12


class Subject:
    """Makes activations, and arguments for them."""

    def __init__(self, make: Callable[[], Activation], seed: int) -> None:
        self.make, self.seed = make, seed
        self.name = repr(self.activation())

    def activation(self) -> Activation:
        """Make one."""
        where = "check_activation.make"
        return validation.instance(where, "what make gives", self.make(), Activation)

    def z(self, n_samples: int = 4, salt: int = 0, scale: float = 2.0) -> Array:
        """Draw what comes before the activation."""
        return scale * np.random.default_rng([self.seed, salt]).normal(size=(n_samples, 5))

    def dy(self, n_samples: int = 4) -> Array:
        """Draw a gradient with respect to its output."""
        rng = np.random.default_rng([self.seed, 100])
        size = (n_samples, 5)
        return rng.choice([-1.0, 1.0], size=size) * rng.uniform(0.5, 1.5, size=size)

    def is_elementwise(self) -> bool:
        """Test whether each unit's y follows from its own z alone."""
        activation, z = self.activation(), self.z()
        other = z.copy()
        other[:, 1:] += 1.0
        return bool((activation.forward(z)[:, 0] == activation.forward(other)[:, 0]).all())


def check_gradients(subject: Subject) -> None:
    """Backward gives the gradients of forward, at inputs of everyday size."""
    _gradients(subject, POINTS)


def check_gradients_at_extremes(subject: Subject) -> None:
    """It still does, up to saturation."""
    _gradients(subject, [point for point in EXTREMES if point[1] == 1])


def _gradients(subject: Subject, points: Any) -> None:
    problem = ActivationProblem(subject.activation(), subject.z())
    replay = f"check_activation(lambda: {subject.name}, seed={subject.seed})"
    # More samples than for a layer: each has few numbers, and some parts of a function are narrow.
    points = [(scale, spread, 4 * n) for scale, spread, n in points]
    verdict(gradient_report(problem, points, subject.name, seed=subject.seed, replay=replay))


def check_kinks(subject: Subject) -> None:
    """At a kink the derivative lies between the one-sided slopes; elsewhere it is the slope."""
    if not subject.is_elementwise():
        return
    activation = subject.activation()
    # Where kinks are in practice: 0, ±1 (hard tanh), ±2.5 and ±3 (hard sigmoid), 6 (ReLU6).
    z = np.arange(-20, 21).reshape(1, -1) / 2.0
    y = activation.forward(z)
    slope = activation.backward(np.ones_like(z), z.copy(), y)
    step = 2.0**-20
    left = (y - activation.forward(z - step)) / step
    right = (activation.forward(z + step) - y) / step
    # The slopes of a smooth function differ by the step times its curvature, and by rounding.
    room = 1e-4 * (1 + abs(left) + abs(right))
    outside = (slope < np.minimum(left, right) - room) | (slope > np.maximum(left, right) + room)
    if outside.any():
        at = tuple(np.argwhere(outside)[0])
        fail(
            f"the derivative at z = {z[at]:g} is {slope[at]:.6g}, which is not between the slopes "
            f"on its left, {left[at]:.6g}, and on its right, {right[at]:.6g}"
        )


def check_derivative(subject: Subject) -> None:
    """Where a class has a backward and a derivative, the two agree."""
    activation = subject.activation()
    order = [kind for kind in type(activation).__mro__]
    definer = {
        method: next(kind for kind in order if method in vars(kind))
        for method in ("derivative", "backward")
    }
    # A derivative that is inherited from further up than the backward belongs to another one.
    if not issubclass(definer["derivative"], definer["backward"]):
        return
    if definer["derivative"] is Activation:
        return
    z = np.concatenate([subject.z(), np.zeros((1, 5))])
    y = activation.forward(z)
    got = activation.backward(np.ones_like(z), z.copy(), y.copy())
    message = "backward doesn't multiply dy with what derivative gives"
    equal(got, activation.derivative(z, y), message, rtol=_ROUNDING)


def check_scalar_functions(subject: Subject) -> None:
    """The functions of single numbers, for the compiled engine, give what the arrays' do."""
    activation = subject.activation()
    pair = activation.scalar_functions()
    if pair is None:
        return
    value, derivative = pair
    z = np.concatenate([subject.z(), np.zeros((1, 5)), subject.z(scale=5.0)])
    y = activation.forward(z)
    slopes = activation.backward(np.ones_like(z), z.copy(), y.copy())
    numbers = list(zip(z.ravel().tolist(), y.ravel().tolist(), strict=True))
    values = np.array([value(z) for z, _ in numbers]).reshape(z.shape)
    message = "the value of scalar_functions is not what forward gives"
    equal(values, y, message, rtol=_ROUNDING)
    derivatives = np.array([derivative(z, y) for z, y in numbers]).reshape(z.shape)
    message = "the derivative of scalar_functions is not what backward gives"
    equal(derivatives, slopes, message, rtol=_ROUNDING)


def check_inputs_untouched(subject: Subject) -> None:
    """Z and dy keep their bytes, and may be read-only; so does y in backward."""
    activation = subject.activation()
    z, dy = subject.z(), subject.dy()
    given = z.copy()
    y = activation.forward(given)
    equal(given, z, "forward changes z in place")
    arrays = [dy.copy(), z.copy(), y.copy()]
    activation.backward(*arrays)
    for what, array, before in zip(("dy", "z", "y"), arrays, (dy, z, y), strict=True):
        equal(array, before, f"backward changes {what} in place")
    activation.forward(read_only(z))
    activation.backward(read_only(dy), read_only(z), read_only(y))


def check_out(subject: Subject) -> None:
    """What ``out`` receives, z itself among others, is what is given without."""
    activation: Any = subject.activation()
    z, dy = subject.z(), subject.dy()
    y = activation.forward(z)
    expected = activation.backward(dy, z, y).copy()
    y = y.copy()
    if activation.forward_takes_out:
        equal(activation.forward(z, out=np.empty_like(z)), y, "forward differs with out")
    if activation.backward_takes_out:
        given = z.copy()
        got = activation.backward(dy, given, y.copy(), out=given)
        equal(got, expected, "backward differs when out is z")


def check_stateless(subject: Subject) -> None:
    """An activation keeps nothing from call to call, so that it may serve many layers."""
    activation = subject.activation()
    z, other, dy = subject.z(), subject.z(3, salt=1), subject.dy()
    before = state_of(activation)
    y = activation.forward(z)
    kept = y.copy()
    expected = activation.backward(dy, z.copy(), y.copy()).copy()
    activation.backward(subject.dy(3), other, activation.forward(other).copy())
    equal(y, kept, "an output changes with the next call: a buffer is used again")
    equal(activation.forward(z), kept, "the same z gives another y")
    activation.forward(other)
    message = "backward depends on an earlier call: it must use the z and y that it is given"
    equal(activation.backward(dy, z.copy(), kept.copy()), expected, message)
    changed = [name for name, value in state_of(activation).items() if value != before.get(name)]
    if changed:
        fail(f"forward or backward changes the activation: self.{', self.'.join(changed)}")
    single = np.concatenate([activation.forward(z[i : i + 1]) for i in range(len(z))])
    message = "a sample's output depends on the others in its batch: an axis is mixed up?"
    equal(kept, single, message, rtol=_ROUNDING)


def check_shapes(subject: Subject) -> None:
    """Y and dz have the shape of z, for any number of samples, none among them."""
    activation = subject.activation()
    for n_samples in (0, 1, 3):
        z = subject.z(n_samples)
        y = activation.forward(z)
        if y.shape != z.shape:
            fail(f"for z of shape {z.shape}, y has {y.shape}")
        dz = activation.backward(subject.dy(n_samples), z, y)
        if dz.shape != z.shape:
            fail(f"for z of shape {z.shape}, dz has {dz.shape}")


def check_memory_layouts(subject: Subject) -> None:
    """Results don't depend on how z and dy lie in memory."""
    activation = subject.activation()
    z, dy = subject.z(), subject.dy()
    y = activation.forward(z)
    dz = activation.backward(dy, z, y).copy()
    for laid in (
        np.asfortranarray,
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.repeat(2, 1)[:, ::2],
    ):
        equal(activation.forward(laid(z)), y, "y depends on z's layout", rtol=_ROUNDING)
        got = activation.backward(laid(dy), laid(z), laid(y))
        equal(got, dz, "dz depends on the layout of dy, z or y", rtol=_ROUNDING)


def check_float32(subject: Subject) -> None:
    """Float32 stays float32, and close to float64."""
    activation = subject.activation()
    z, dy = subject.z().astype(np.float32), subject.dy().astype(np.float32)
    y = activation.forward(z)
    dz = activation.backward(dy, z, y)
    wide = z.astype(float)
    true = activation.forward(wide)
    for what, got, expected in (
        ("y", y, true),
        ("dz", dz, activation.backward(dy.astype(float), wide, true)),
    ):
        if got.dtype != np.float32:
            fail(f"{what} of a float32 z is {got.dtype}: a constant of float64 widens it?")
        equal(got.astype(float), expected, f"{what} in float32 is far from float64", rtol=1e-4)


def check_backward_is_linear(subject: Subject) -> None:
    """Twice the dy gives twice the dz, and 0 gives 0."""
    activation = subject.activation()
    z, dy = subject.z(), subject.dy()
    y = activation.forward(z)
    dz = activation.backward(dy, z, y)
    for factor in (0.0, -2.0, 2.0**20, 2.0**-20):
        got = activation.backward(factor * dy, z, y)
        message = f"{factor:g} times dy doesn't give {factor:g} times dz"
        equal(got, factor * dz, message, rtol=_ROUNDING)


def check_finite(subject: Subject) -> None:
    """Z up to 1e5 in size gives finite results, without a warning, in both dtypes."""
    activation = subject.activation()
    for dtype in (np.float64, np.float32):
        sizes = [0, 1, 20, 90, 400, 720, 1e3, 1e4, 1e5]
        z = np.array([sizes + [-size for size in sizes]], dtype)
        try:
            with np.errstate(all="raise", under="ignore"):
                y = activation.forward(z)
                dz = activation.backward(np.ones_like(z), z.copy(), y.copy())
        except FloatingPointError as error:
            fail(f"z up to 1e5 in size: {error}; a formula that overflows on the way")
        for what, array in (("y", y), ("dz", dz)):
            if not np.isfinite(array).all():
                first = z[~np.isfinite(array)][0]
                fail(f"{what} is not finite at z = {first:g}, in {np.dtype(dtype)}")


def check_copies(subject: Subject) -> None:
    """A copy, by copy.deepcopy or pickle or from its arguments, is the same."""
    activation, z = subject.activation(), subject.z()
    copies = {
        "copy.deepcopy": copy.deepcopy(activation),
        "pickle": pickled(activation),
        "its arguments": rebuilt(activation),
    }
    for how, copied in copies.items():
        if repr(copied) != repr(activation):
            fail(f"made from {how} it is {copied!r}, not {activation!r}")
        equal(copied.forward(z), activation.forward(z), f"made from {how} it gives another y")


_CHECKS = [
    check_gradients,
    check_gradients_at_extremes,
    check_kinks,
    check_derivative,
    check_scalar_functions,
    check_inputs_untouched,
    check_out,
    check_stateless,
    check_shapes,
    check_memory_layouts,
    check_float32,
    check_backward_is_linear,
    check_finite,
    check_copies,
]


def activation_checks(make: Activation | Callable[[], Activation], *, seed: int = 0) -> list[Check]:
    """List the checks of an activation: its own, and those of a `Dense` layer that has it.

    Parameters
    ----------
    make : Activation or callable
        An activation, of which copies are checked; or what makes one: ``lambda: Square()``, or
        the class.
    seed : int
        Seed of the inputs.

    Returns
    -------
    list of Check
        Each has a ``name``, and is called without arguments.

    Raises
    ------
    ArgumentError
        If ``make`` makes no activation, or the seed is not an integer of at least 0.

    Examples
    --------
    >>> from layerkit import Tanh
    >>> from layerkit.testing import activation_checks
    >>> [check.name for check in activation_checks(Tanh)][:3]
    ['gradients', 'gradients_at_extremes', 'kinks']
    """
    seed = validation.integer("activation_checks", "seed", seed, minimum=0)
    subject = Subject(maker("check_activation.make", make, Activation), seed)
    own = [
        Check(check.__name__.removeprefix("check_"), subject.name, partial(check, subject))
        for check in _CHECKS
    ]
    of_layer = layer_checks(lambda: Dense(3, 4, subject.activation()), seed=seed)
    return own + [replace(check, name=f"dense_{check.name}") for check in of_layer]


def check_activation(make: Activation | Callable[[], Activation], *, seed: int = 0) -> None:
    """Check an activation: its derivative, kinks among them, and all that it promises.

    Parameters
    ----------
    make : Activation or callable
        An activation, of which copies are checked; or what makes one: ``lambda: Square()``, or
        the class.
    seed : int
        Seed of the inputs.

    Raises
    ------
    CheckError
        If a check fails. The message holds the report of each; ``failures`` has them by name.
    InconclusiveError
        If nothing is wrong, but a gradient can't be told.

    Examples
    --------
    >>> from layerkit import LeakyReLU
    >>> from layerkit.testing import check_activation
    >>> check_activation(LeakyReLU(0.1))
    """
    run_checks(activation_checks(make, seed=seed))
