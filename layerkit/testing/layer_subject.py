"""What the checks of a layer are made with: models of one fresh layer, and batches for it."""

import copy
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from layerkit._support import validation
from layerkit._support.signatures import arguments_of
from layerkit._support.validation import Array, Shape
from layerkit.errors import LayerkitError
from layerkit.layers.base import Layer
from layerkit.models.sequential import Sequential
from layerkit.models.statistics import layers_with_statistics
from layerkit.testing.problems import ModelProblem, generators
from layerkit.testing.suite import fail

__all__ = ["ROUNDING", "Inputs", "Reference", "Subject"]

Inputs = Callable[..., Array]
Reference = Callable[..., Any]

# Sums over a batch may be added up in another order, in float64.
ROUNDING = 1e-10
# Lengths of an open axis: one to run the checks at, and others, of which a layer may refuse some.
_LENGTHS = (5, 8, 16, 32)
_OTHER_LENGTHS = (1, 2, 3, 7, 13)


class Subject:
    """Makes models of one fresh layer, with parameters off their initial values, and batches.

    Attributes
    ----------
    input_shape : tuple of int or None
        Shape for which the models are built; None for an axis that is open.
    sample_shape, output_shape : tuple of int
        Shapes of a sample before and after, without open axes.
    """

    def __init__(
        self,
        make: Callable[[], Layer],
        input_shape: Shape | None,
        seed: int,
        *,
        inputs: Inputs | Any = None,
        reference: Reference | None = None,
    ) -> None:
        self.make, self.seed, self.reference = make, seed, reference
        self.input_shape: Any = input_shape
        self._samples: Array | None = None
        self.inputs = None if inputs is None else self._own_inputs(inputs)
        self._initial: list[Array] | None = None
        layer = self._layer()
        if layer is make():
            got = validation.Said(f"{layer!r}, the same one again")
            remedy = "Write lambda: MyLayer(4), which makes one at each call."
            where = "check_layer.make"
            validation.fail(where, "what make gives", "a fresh layer each time", got, remedy)
        self.name = repr(layer)
        self.takes_integers = layer.takes_integers
        if self.takes_integers and inputs is None:
            got = validation.Said(f"none, for {layer!r}, which takes integers")
            remedy = "Write inputs=lambda rng, n_samples: rng.integers(100, size=(n_samples, 7))."
            where = "check_layer.inputs"
            validation.fail(where, "inputs", "what draws batches", got, remedy)
        model = self.model()
        assert model.input_shape is not None  # noqa: S101 - a model of one input is built
        self.input_shape = model.input_shape
        self.fewest = model.min_batch_size
        # What a layer inside does, the one around it does too.
        self.mixes_samples = any(inner.mixes_samples for _, inner in model.walk())
        self.is_random = any(inner.is_random for _, inner in model.walk())
        self.keeps_statistics = bool(layers_with_statistics(model))
        self.is_open = None in self.input_shape
        if self.is_open and hasattr(inputs, "__code__") and len(arguments_of(inputs)) < 2:
            wanted = "a function of rng, n_samples and sample_shape, as an axis is open"
            remedy = "Write lambda rng, n_samples, sample_shape: ..."
            where = "check_layer.inputs"
            validation.fail(where, "inputs", wanted, validation.Said("one without"), remedy)
        self._set_sample_shape(model)
        self.x()  # so that inputs of a wrong shape are refused before anything is checked

    def _set_sample_shape(self, model: Sequential) -> None:
        """Choose the lengths of open axes: the first that the layer takes."""
        if not self.is_open:
            self.sample_shape, self.output_shape = self.input_shape, model.output_shape
            return
        if self._samples is not None:
            self._set_shape(self._samples.shape[1:])
            return
        for length in _LENGTHS:
            try:
                self._set_shape(self._of_length(length))
            except LayerkitError:
                if length == _LENGTHS[-1]:
                    raise
            else:
                return

    def _of_length(self, length: int) -> Shape:
        """Return the shape of a sample whose open axes have this length, and one, two more."""
        lengths = count(length)
        return tuple(next(lengths) if n is None else n for n in self.input_shape)

    def _set_shape(self, sample_shape: Shape) -> None:
        built = self.model(input_shape=sample_shape)
        self.sample_shape, self.output_shape = sample_shape, built.output_shape
        self.fewest = built.min_batch_size
        if None in self.output_shape:  # a model that was built before, for any length
            y = built.predict(self.x(self.fewest))
            validation.exact_shape("check_layer", "y", y, (len(y), *self.output_shape))
            self.output_shape = y.shape[1:]

    def made_by(self, make: Callable[[], Layer]) -> "Subject":
        """Return the same for layers that are made in another way."""
        other = copy.copy(self)
        other.make, other._initial = make, None
        return other

    def at_other_lengths(self) -> list["Subject"]:
        """Return the same for other lengths of the open axes, if there are any.

        Left out are lengths for which the layer can't be built, and those that an array of inputs
        does not have.
        """
        others = []
        for length in _OTHER_LENGTHS if self.is_open else ():
            shape, other = self._of_length(length), copy.copy(self)
            if self._samples is not None:
                known = self._samples.shape[1:]
                if any(n > own for n, own in zip(shape, known, strict=True)):
                    continue
            try:
                other._set_shape(shape)
            except LayerkitError:
                continue
            others.append(other)
        return others

    def _layer(self) -> Layer:
        where = "check_layer.make"
        return validation.instance(where, "what make gives", self.make(), Layer)

    def _own_inputs(self, inputs: Inputs | Any) -> Inputs:
        """Return what draws batches: ``inputs``, or rows of it where it is an array."""
        if callable(inputs):
            return inputs
        where = "check_layer.inputs"
        samples = validation.numeric_array(where, "inputs", inputs, None)
        if not samples.ndim or not len(samples):
            validation.fail(where, "inputs", "at least one sample", samples)
        if self.input_shape is None:
            self.input_shape = samples.shape[1:]
        self._samples = samples

        def rows(rng: np.random.Generator, n_samples: int, sample_shape: Shape = ()) -> Array:
            cut = (slice(None), *(slice(length) for length in sample_shape))
            return samples[rng.integers(len(samples), size=n_samples)][cut]

        return rows

    def draw(self, rng: np.random.Generator, n_samples: int) -> Array:
        """Draw a batch of the user's own inputs."""
        where, what = "check_layer.inputs", "what inputs gives"
        assert self.inputs is not None  # noqa: S101
        dtype = np.dtype(np.int64 if self.takes_integers else np.float64)
        shape = self.sample_shape
        drawn = self.inputs(rng, n_samples, shape) if self.is_open else self.inputs(rng, n_samples)
        x = validation.batch(where, what, drawn, shape, dtype)
        validation.exact_shape(where, what, x, (n_samples, *shape))
        validation.finite(where, what, x)
        return x.copy()

    def model(
        self,
        dtype: type = np.float64,
        *,
        moved: bool = True,
        input_shape: Shape | None = None,
    ) -> Sequential:
        """Make a model of a fresh layer; each has the same weights."""
        layer = self._layer()
        if self.input_shape is None and layer.input_shape is None:
            remedy = f"{layer!r} takes any: write check_layer(make, (3,)) for 3 features."
            got = validation.Said("None")
            validation.fail("check_layer", "input_shape", "the shape of one sample", got, remedy)
        built = layer.output_shape is not None  # a model, with a dtype of its own
        model = Sequential(
            [layer],
            input_shape=input_shape or self.input_shape,
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
        """Draw a batch of inputs; the user's own are never scaled."""
        rng = np.random.default_rng([self.seed, 2, salt])
        if self.inputs is not None:
            return self.draw(rng, n_samples)
        return scale * rng.normal(size=(n_samples, *self.sample_shape))

    def dy(self, n_samples: int = 5, salt: int = 0) -> Array:
        """Draw a gradient with respect to the output."""
        rng = np.random.default_rng([self.seed, 3, salt])
        size = (n_samples, *self.output_shape)
        return rng.choice([-1.0, 1.0], size=size) * rng.uniform(0.5, 1.5, size=size)

    def passes(self, model: Sequential, x: Array, dy: Array) -> tuple[Array, Array, Array]:
        """Go forward and back; give y, dx and all gradients."""
        self.rewind(model)
        y = model.forward(x, training=True)
        dx = self.dx(model.backward(dy), x)
        return y.copy(), dx.copy(), model.grads.copy()

    def dx(self, result: Any, x: Array) -> Array:
        """Return what a backward pass returned; zeros for the None of a layer of integers."""
        if not self.takes_integers:
            return result  # type: ignore[no-any-return]
        if result is not None:
            fail("dx of a layer that takes integers must be None")
        return np.zeros(x.shape)

    def spoil(self, array: Array) -> None:
        """Overwrite an array, to see who still reads it."""
        array[...] = 0 if array.dtype.kind == "i" else np.nan

    def problem(self, x: Array | None = None) -> ModelProblem:
        """Put the gradients of a model of the layer into the form that is compared."""
        x = self.x() if x is None else x
        model = self.model(moved=False)
        model.min_batch_size = self.fewest  # for these lengths
        return ModelProblem(
            model,
            x,
            name=lambda name: name.partition(".")[2],
            draw=None if self.inputs is None else self.draw,
        )
