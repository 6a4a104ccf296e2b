"""`check_layer`: whether a layer keeps every promise that a layer makes.

Each function below that starts with ``check_`` is a named check. Most call `compute_forward` and
`compute_backward` themselves, as a `Trainer` does, and not only the public methods, which would
copy and refuse in the layer's place.
"""

import copy
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from layerkit._support import validation
from layerkit._support.repr import ConstructorRepr
from layerkit._support.validation import Array, Shape
from layerkit.errors import StateError
from layerkit.layers.base import Layer
from layerkit.models.sequential import Sequential
from layerkit.testing.gradient_check import EXTREMES, POINTS, gradient_report, verdict
from layerkit.testing.problems import ModelProblem, generators
from layerkit.testing.rebuilding import rebuilt
from layerkit.testing.suite import (
    Check,
    can_be_pickled,
    equal,
    fail,
    read_only,
    run_checks,
    state_of,
)

__all__ = ["check_layer", "layer_checks"]

# Sums over a batch may be added up in another order, in float64.
_ROUNDING = 1e-10


class Subject:
    """Makes models of one fresh layer, with parameters off their initial values, and batches."""

    def __init__(self, make: Callable[[], Layer], input_shape: Shape | None, seed: int) -> None:
        self.make, self.seed = make, seed
        self.input_shape = input_shape
        self._initial: list[Array] | None = None
        layer = self._layer()
        self.name = repr(layer)
        self.is_local = not can_be_pickled(layer)
        model = self.model()
        self.output_shape, self.input_shape = model.output_shape, model.input_shape
        self.fewest = model.min_batch_size
        # What a layer inside does, the one around it does too.
        self.mixes_samples = any(inner.mixes_samples for _, inner in model.walk())
        self.is_random = any(inner.is_random for _, inner in model.walk())

    def _layer(self) -> Layer:
        where = "check_layer.make"
        layer = validation.instance(where, "what make gives", self.make(), Layer)
        if layer.is_owned:
            got = validation.Said(f"{layer!r}, which is part of a model already")
            remedy = "Write lambda: MyLayer(4), which makes one at each call."
            validation.fail(where, "what make gives", "a fresh layer each time", got, remedy)
        return layer

    def model(self, dtype: type = np.float64, *, moved: bool = True) -> Sequential:
        """Make a model of a fresh layer; each has the same weights."""
        layer = self._layer()
        built = layer.output_shape is not None  # a model, with a dtype of its own
        model = Sequential(
            [layer],
            input_shape=self.input_shape,
            dtype=layer.dtype if built else dtype,
            seed=self.seed,
        )
        if built:
            model = model.astype(dtype)
        if self._initial is None:
            self._initial = model.get_weights()
        model.set_weights(self._initial)
        if moved:
            rng = np.random.default_rng([self.seed, 1])
            for parameter in model.parameters:
                if parameter.trainable:
                    parameter.value = parameter.value + rng.normal(0, 0.5, parameter.shape)
        self.rewind(model)
        return model

    def rewind(self, model: Layer) -> None:
        """Set the generators of a model back, so that the next pass draws the same numbers."""
        for generator in generators(model):
            bits: Any = generator.bit_generator
            bits.state = type(bits)(self.seed).state

    def x(self, n_samples: int = 5, salt: int = 0, scale: float = 1.0) -> Array:
        """Draw a batch of inputs."""
        assert self.input_shape is not None  # noqa: S101 - known since the constructor
        rng = np.random.default_rng([self.seed, 2, salt])
        return scale * rng.normal(size=(n_samples, *self.input_shape))

    def dy(self, n_samples: int = 5, salt: int = 0) -> Array:
        """Draw a gradient with respect to the output."""
        rng = np.random.default_rng([self.seed, 3, salt])
        size = (n_samples, *self.output_shape)
        return rng.choice([-1.0, 1.0], size=size) * rng.uniform(0.5, 1.5, size=size)

    def passes(self, model: Sequential, x: Array, dy: Array) -> tuple[Array, Array, Array]:
        """Go forward and back; give y, dx and all gradients."""
        self.rewind(model)
        y = model.forward(x, training=True)
        dx = model.backward(dy)
        return y.copy(), dx.copy(), model.grads.copy()

    def problem(self, x: Array | None = None) -> ModelProblem:
        """Put the gradients of a model of the layer into the form that is compared."""
        x = self.x() if x is None else x
        return ModelProblem(self.model(moved=False), x, name=lambda name: name.partition(".")[2])


def check_gradients(subject: Subject) -> None:
    """The gradients are those of the output, at inputs and parameters of everyday size."""
    _gradients(subject, POINTS)


def check_gradients_at_extremes(subject: Subject) -> None:
    """They still are, up to saturation."""
    _gradients(subject, EXTREMES)


def _gradients(subject: Subject, points: Any) -> None:
    replay = f"check_layer(lambda: {subject.name}, {subject.input_shape}, seed={subject.seed})"
    report = gradient_report(
        subject.problem(), points, subject.name, seed=subject.seed, replay=replay
    )
    verdict(report)


def check_gradients_at_ties(subject: Subject) -> None:
    """Where inputs are equal, moving all of them together changes the output as dx says."""
    rng = np.random.default_rng([subject.seed, 4])
    for _ in range(3):
        level = rng.normal()
        model = subject.model()
        x = np.full((2, *subject.x().shape[1:]), level)
        dy = subject.dy(2)
        y, dx, _ = subject.passes(model, x, dy)
        if not (np.isfinite(y).all() and np.isfinite(dx).all()):
            fail("where all inputs are equal, y or dx is not finite: something is divided by 0")

        def total(offset: float, model: Sequential = model, x: Array = x, dy: Array = dy) -> float:
            subject.rewind(model)
            y, _ = model.compute_forward(x + offset, training=True)
            return float((y * dy).sum())

        step = 1e-4
        centre, right, left = total(0), total(step), total(-step)
        near, far = (right - centre) / step, (centre - left) / step
        size = float(abs(dx).sum()) + abs(near) + 1e-12
        if abs(near - far) > 1e-2 * size:
            continue  # a kink in this direction too
        slope = (right - left) / (2 * step)
        if abs(dx.sum() - slope) > 1e-2 * size:
            fail(
                f"where all inputs are equal, dx adds up to {dx.sum():.6g}, but the output changes "
                f"by {slope:.6g}: the gradient goes to more than one, or to none, of tied inputs"
            )


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
        given[...] = np.nan
        dx = callee.backward(upstream)
        message = "backward goes wrong when the caller changes x or y after forward: it keeps them"
        equal(dx, expected[1], message)
        equal(model.grads, expected[2], message)
        upstream[...] = np.nan
        equal(dx, expected[1], "dx shares memory with dy")
        dx[...] = np.nan
        message = "a parameter's gradient shares memory with dx or dy"
        equal(model.grads, expected[2], message)
    first = subject.passes(model, x, dy)
    y, dx = model.forward(x, training=True), model.backward(dy)
    kept_y, kept_dx = y.copy(), dx.copy()
    subject.passes(model, subject.x(salt=3), subject.dy(salt=3))
    equal(y, kept_y, "an output of training changes with the next batch: a buffer is used again")
    equal(dx, kept_dx, "dx changes with the next batch: a buffer is used again")
    equal(first[1], expected[1], "the same batch gives another dx the second time")


def check_overwrites_gradients(subject: Subject) -> None:
    """A second backward pass leaves the gradients of its own batch, not a sum."""
    model = subject.model()
    x, dy = subject.x(), subject.dy()
    first = subject.passes(model, x, dy)[2]
    second = subject.passes(model, x, dy)[2]
    equal(second, first, "the gradients of the same batch differ the second time: accumulated?")


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
            equal(first, second, message, rtol=_ROUNDING)


def check_training_steps(subject: Subject) -> None:
    """Steps as a Trainer makes them, in the workspace, give what the public methods give."""
    model = subject.model()
    for salt in range(3):
        x, dy = subject.x(salt=salt), subject.dy(salt=salt)
        expected = subject.passes(subject.model(), x, dy)
        subject.rewind(model)
        y, cache = model.compute_forward(x, training=True)
        equal(y, expected[0], "y of a training step is not that of forward", rtol=_ROUNDING)
        model.compute_backward(dy, cache, need_dx=False)
        message = "gradients of a training step (need_dx=False) are not those of backward"
        equal(model.grads, expected[2], message, rtol=_ROUNDING)


def check_backward_order(subject: Subject) -> None:
    """Backward without forward, after one of evaluation, or twice, is refused."""
    dy = subject.dy()
    earlier: dict[str, Callable[[Layer], Any]] = {
        "without a forward pass": lambda m: None,
        "after a forward pass of evaluation alone": lambda m: m.forward(subject.x()),
        "twice": lambda m: (m.forward(subject.x(), training=True), m.backward(dy)),
    }
    for words, before in earlier.items():
        for model in (subject.model(), subject.model()[0]):
            before(model)
            try:
                model.backward(dy)
            except StateError:
                continue
            fail(f"backward {words} must be a StateError; it gave a result")


def check_evaluation_is_pure(subject: Subject) -> None:
    """Evaluation gives the same twice, and changes no parameter, buffer or cache."""
    model = subject.model()
    x, dy = subject.x(), subject.dy()
    expected = subject.passes(subject.model(), x, dy)
    subject.passes(model, subject.x(salt=1), dy)
    first = model.predict(x)
    layer = model[0]
    before, values = state_of(layer), model.values.copy()
    second = model.predict(x)
    equal(first, second, "the same input gives another output: evaluation is not deterministic")
    model.predict(subject.x(3, salt=1))
    after = state_of(layer)
    changed = [name for name in after if after[name] != before.get(name)]
    if changed:
        fail(f"evaluation changes the layer: self.{', self.'.join(changed)}")
    equal(model.values, values, "evaluation changes the parameters")
    model = subject.model()
    model.forward(x, training=True)
    model.predict(subject.x(4, salt=1))
    model.predict(subject.x(salt=1))
    message = "a forward pass of evaluation between forward and backward changes the gradients"
    equal(model.backward(dy), expected[1], message)
    equal(model.grads, expected[2], message)


def check_evaluation_equals_training(subject: Subject) -> None:
    """Forward gives the same output in training and in evaluation."""
    model = subject.model()
    y = model.forward(subject.x(), training=True)
    message = (
        "y differs between training and evaluation; a layer that is random or mixes samples in "
        "training says so: is_random = True, mixes_samples = True"
    )
    equal(y, model.predict(subject.x()), message, rtol=_ROUNDING)


def check_instances_independent(subject: Subject) -> None:
    """Two layers share neither caches nor parameters."""
    x, dy = subject.x(), subject.dy()
    alone = subject.model()
    expected = subject.passes(alone, x, dy)
    first, second = subject.model(), subject.model()
    first.forward(x, training=True)
    second.forward(subject.x(salt=1), training=True)
    second.backward(subject.dy(salt=1))
    second.values = second.values + 1.0
    second.forward(subject.x(salt=2), training=True)
    message = "another layer of the same class changes this one's gradients: they share a cache"
    equal(first.backward(dy), expected[1], message)
    equal(first.grads, expected[2], message)
    equal(first.values, alone.values, "another layer's parameters are this one's too")


def check_per_sample_equals_batch(subject: Subject) -> None:
    """A sample's output does not depend on the others in its batch."""
    model, x = subject.model(), subject.x()
    single = np.concatenate([model.predict(x[i : i + 1]) for i in range(len(x))])
    message = (
        "a sample's output depends on the others in its batch: an axis is mixed up? (A layer that "
        "is meant to says so: mixes_samples = True)"
    )
    equal(model.predict(x), single, message, rtol=_ROUNDING)


def check_batch_gradient_is_the_sum(subject: Subject) -> None:
    """A batch's gradients are the sum of the samples' own."""
    x, dy = subject.x(), subject.dy()
    model = subject.model()
    _, dx, grads = subject.passes(model, x, dy)
    parts = [subject.passes(model, x[i : i + 1], dy[i : i + 1]) for i in range(len(x))]
    single = np.concatenate([part[1] for part in parts])
    equal(dx, single, "dx of a sample depends on the others in its batch", rtol=_ROUNDING)
    total = np.sum([part[2] for part in parts], axis=0)
    message = (
        "the gradients of a batch are not the sum of the samples' (the mean is the loss's to take)"
    )
    equal(grads, total, message, rtol=_ROUNDING)


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
        equal(y, expected[0], f"y of an x {words} is another", rtol=_ROUNDING)
        dx = model.compute_backward(laid(dy), cache)
        equal(dx, expected[1], f"dx of an x and dy {words} is another", rtol=_ROUNDING)
        message = f"the gradients of an x and dy {words} are others"
        equal(model.grads, expected[2], message, rtol=_ROUNDING)
        public = subject.passes(subject.model(), laid(x), laid(dy))
        equal(public[1], expected[1], f"dx of an x {words} is another", rtol=_ROUNDING)


def check_float32(subject: Subject) -> None:
    """In a float32 model everything stays float32, and close to float64."""
    model = subject.model(np.float32)
    x, dy = subject.x().astype(np.float32), subject.dy().astype(np.float32)
    subject.rewind(model)
    y, cache = model.compute_forward(x, training=True)
    _dtype("y", y)
    dx = model.compute_backward(dy, cache)
    _dtype("dx", dx)
    _dtype("y in evaluation", model.compute_forward(x, training=False)[0])
    expected = subject.passes(subject.model(), x.astype(float), dy.astype(float))
    # A thousand times float32's rounding: room for sums, none for another formula.
    for what, got, true in zip(
        ("y", "dx", "the gradients"), (y, dx, model.grads), expected, strict=True
    ):
        equal(got.astype(float), true, f"{what} in float32 is far from float64", rtol=1e-4)


def _dtype(what: str, array: Array) -> None:
    if array.dtype != np.float32:
        fail(f"{what} of a float32 model is {array.dtype}: a constant of float64 widens it?")


def check_zero_cotangent(subject: Subject) -> None:
    """A gradient of 0 goes back as 0."""
    model = subject.model()
    _, dx, grads = subject.passes(model, subject.x(), np.zeros_like(subject.dy()))
    if dx.any() or grads.any():
        fail("dy = 0 gives gradients that are not 0")


def check_backward_is_linear(subject: Subject) -> None:
    """Twice the dy gives twice the gradients, however large: backward must not look at its size."""
    model = subject.model()
    x, dy = subject.x(), subject.dy()
    _, dx, grads = subject.passes(model, x, dy)
    for factor in (-2.0, 2.0**20, 2.0**-20):
        _, scaled, scaled_grads = subject.passes(model, x, factor * dy)
        message = f"{factor:g} times dy doesn't give {factor:g} times the gradients"
        equal(scaled / factor, dx, message, rtol=_ROUNDING)
        equal(scaled_grads / factor, grads, message, rtol=_ROUNDING)


def check_finite(subject: Subject) -> None:
    """Inputs up to 1e5 in size, and those of 0, give finite results, without a warning."""
    for scale in (30.0, 1e3, 1e5):
        model = subject.model(moved=False)
        x = np.clip(subject.x(scale=scale), -1e5, 1e5)
        x.flat[0] = scale
        x.flat[-1] = -scale
        x[1] = 0
        try:
            with np.errstate(all="raise", under="ignore"):
                y, dx, grads = subject.passes(model, x, subject.dy())
                y_evaluated = model.predict(x)
        except FloatingPointError as error:
            fail(f"inputs up to {scale:g} in size: {error}; a formula that overflows on the way")
        for what, array in (("y", y), ("y", y_evaluated), ("dx", dx), ("a gradient", grads)):
            if not np.isfinite(array).all():
                fail(f"inputs up to {scale:g} in size: {what} is not finite")


def check_deepcopy(subject: Subject) -> None:
    """A deep copy is equal, of its own, and packed."""
    _check_copy(subject, copy.deepcopy, "copy.deepcopy")


def check_pickle(subject: Subject) -> None:
    """So is one by pickle."""
    _check_copy(subject, lambda model: pickle.loads(pickle.dumps(model)), "pickle")


def _check_copy(subject: Subject, make_copy: Callable[[Sequential], Sequential], how: str) -> None:
    model = subject.model()
    x, dy = subject.x(), subject.dy()
    subject.passes(model, subject.x(salt=1), dy)
    expected = model.predict(x)
    copied = make_copy(model)
    equal(copied.predict(x), expected, f"a copy by {how} gives other outputs")
    for parameter in copied.parameters:
        if not np.shares_memory(parameter.value, copied.values):
            fail(f"after {how}, {parameter.name}.value is no view of model.values")
        if not np.shares_memory(parameter.grad, copied.grads):
            fail(f"after {how}, {parameter.name}.grad is no view of model.grads")
    wanted = subject.passes(model, x, dy)
    got = subject.passes(copied, x, dy)
    equal(got[2], wanted[2], f"a copy by {how} has other gradients")
    expected = model.predict(x)  # training may have moved statistics that evaluation uses
    copied.values = copied.values + 1.0
    subject.passes(copied, subject.x(salt=2), dy)
    message = f"changing a copy by {how} changes the original: something is shared"
    equal(model.predict(x), expected, message)
    copied = make_copy(model)
    model.values = model.values + 1.0
    subject.passes(model, subject.x(salt=3), dy)
    equal(copied.predict(x), expected, f"changing the original changes a copy by {how}")


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


def check_config_round_trip(subject: Subject) -> None:
    """Made again from its constructor's arguments, the layer is the same."""
    original = subject.make()
    twin = rebuilt(original)
    if repr(twin) != repr(original):
        fail(f"made again from its arguments it is {twin!r}, not {original!r}")
    model = subject.model()
    again = Subject(lambda: rebuilt(subject.make()), subject.input_shape, subject.seed).model()
    again.set_weights(model.get_weights())
    x = subject.x()
    equal(again.predict(x), model.predict(x), "made again from its arguments it computes another y")


def check_weights_round_trip(subject: Subject) -> None:
    """All that training changes is in get_weights, and get_state."""
    model, again = _trained(subject), subject.model()
    again.set_weights(model.get_weights())
    for (_, inner), (_, trained) in zip(again.walk(), model.walk(), strict=True):
        inner.set_state(copy.deepcopy(trained.get_state()))
    x = subject.x()
    message = (
        "with get_weights and get_state of a trained layer another one computes another y: state "
        "is missing"
    )
    equal(again.predict(x), model.predict(x), message)


def _trained(subject: Subject) -> Sequential:
    model = subject.model()
    for salt in range(2):
        _, _, grads = subject.passes(model, subject.x(salt=salt), subject.dy())
        model.values = model.values - 0.01 * grads
    return model


def check_save(subject: Subject) -> None:
    """A trained layer that is saved and loaded goes on as the original does."""
    model = _trained(subject)
    classes = {type(part).__name__: type(part) for part in _parts(model)}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        model.save(path)
        loaded = Sequential.load(path, custom_objects=classes)
    x, dy = subject.x(), subject.dy()
    equal(loaded.predict(x), model.predict(x), "once saved and loaded, it gives other outputs")
    results = []
    for each in (model, loaded):
        each.forward(x, training=True)
        results.append((each.backward(dy), each.grads, each.predict(x)))
    for what, got, true in zip(("dx", "gradients", "outputs"), *results, strict=True):
        message = f"a further step of training, once saved and loaded, gives other {what}"
        equal(got, true, message)


def _parts(thing: Any) -> Iterator[Any]:
    """List the objects that something is made of, as `get_config` tells."""
    if isinstance(thing, ConstructorRepr):
        yield thing
        thing = list(thing.get_config().values())
    if isinstance(thing, dict):
        thing = list(thing.values())
    if isinstance(thing, list | tuple):
        for item in thing:
            yield from _parts(item)


def check_concurrent_predict(subject: Subject) -> None:
    """Threads that share a model get what one alone gets, bit for bit."""
    model = subject.model()
    batches = [subject.x(4, salt) for salt in range(4)]
    expected = [model.predict(batch) for batch in batches]
    wrong: list[str] = []
    start = threading.Barrier(len(batches))

    def work(index: int) -> None:
        start.wait()
        for _ in range(12):
            try:
                if not np.array_equal(model.predict(batches[index]), expected[index]):
                    wrong.append("another result")
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        fail(f"threads that predict with one model disturb one another: {wrong[0]}")


_CHECKS = [
    check_gradients,
    check_gradients_at_extremes,
    check_gradients_at_ties,
    check_inputs_untouched,
    check_no_aliasing,
    check_overwrites_gradients,
    check_new_batch_size,
    check_training_steps,
    check_backward_order,
    check_evaluation_is_pure,
    check_evaluation_equals_training,
    check_instances_independent,
    check_per_sample_equals_batch,
    check_batch_gradient_is_the_sum,
    check_empty_batch,
    check_memory_layouts,
    check_float32,
    check_zero_cotangent,
    check_backward_is_linear,
    check_finite,
    check_deepcopy,
    check_pickle,
    check_output_shape,
    check_config_round_trip,
    check_weights_round_trip,
    check_save,
    check_concurrent_predict,
]
# What a layer's tags take out.
_OF_FIXED_LAYERS = {check_evaluation_equals_training, check_batch_gradient_is_the_sum}
_OF_SAMPLES = {
    check_per_sample_equals_batch,
    check_batch_gradient_is_the_sum,
    check_evaluation_equals_training,
}


def layer_checks(
    make: Callable[[], Layer], input_shape: Shape | None = None, *, seed: int = 0
) -> list[Check]:
    """List the checks that apply to a layer, to be run one by one.

    Parameters
    ----------
    make : callable
        Makes a fresh layer: ``lambda: MyLayer(4)``.
    input_shape : tuple of int, optional
        The shape of one sample; needed where the layer doesn't say.
    seed : int
        Where inputs and parameters come from.

    Returns
    -------
    list of Check
        Each has a ``name``, and is called without arguments. Left out are those that the layer's
        tags ``mixes_samples`` and ``is_random`` rule out, and pickle for a class that is defined
        in a function, which pickle can't find.

    Raises
    ------
    LayerkitError
        If no model can be made of such a layer.

    Examples
    --------
    >>> from layerkit import Dense
    >>> from layerkit.testing import layer_checks
    >>> checks = layer_checks(lambda: Dense(3, 2))
    >>> checks[0].name
    'gradients'
    >>> checks[0]()
    """
    subject = Subject(
        make, input_shape, validation.integer("layer_checks", "seed", seed, minimum=0)
    )
    left_out = set()
    if subject.mixes_samples:
        left_out |= _OF_SAMPLES
    if subject.is_random:
        left_out |= _OF_FIXED_LAYERS
    if subject.is_local:
        left_out |= {check_pickle}
    return [
        Check(check.__name__.removeprefix("check_"), subject.name, partial(check, subject))
        for check in _CHECKS
        if check not in left_out
    ]


def check_layer(
    make: Callable[[], Layer], input_shape: Shape | None = None, *, seed: int = 0
) -> None:
    """Check a layer: its gradients, and every promise that a layer makes.

    Parameters
    ----------
    make : callable
        Makes a fresh layer: ``lambda: MyLayer(4)``.
    input_shape : tuple of int, optional
        The shape of one sample; needed where the layer doesn't say.
    seed : int
        Where inputs and parameters come from.

    Raises
    ------
    CheckError
        If a check fails. The message holds the report of each; ``failures`` has them by name.
    InconclusiveError
        If nothing is wrong, but a gradient can't be told.
    LayerkitError
        If no model can be made of such a layer.

    Examples
    --------
    >>> from layerkit import Dense, Sigmoid
    >>> from layerkit.testing import check_layer
    >>> check_layer(lambda: Dense(3, 2, Sigmoid()))
    """
    run_checks(layer_checks(make, input_shape, seed=seed))
