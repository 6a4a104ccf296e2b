"""What the checks of a layer are made with: models of one fresh layer, and batches for it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from layerkit._support import validation
from layerkit._support.validation import Array, Shape
from layerkit.layers.base import Layer
from layerkit.models.sequential import Sequential
from layerkit.testing.problems import ModelProblem, generators
from layerkit.testing.suite import fail

__all__ = ["ROUNDING", "Inputs", "Reference", "Subject"]

Inputs = Callable[[np.random.Generator, int], Array]
Reference = Callable[..., Any]

# Sums over a batch may be added up in another order, in float64.
ROUNDING = 1e-10


class Subject:
    """Makes models of one fresh layer, with parameters off their initial values, and batches."""

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
        self.input_shape = input_shape
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
        self.output_shape, self.input_shape = model.output_shape, model.input_shape
        self.fewest = model.min_batch_size
        # What a layer inside does, the one around it does too.
        self.mixes_samples = any(inner.mixes_samples for _, inner in model.walk())
        self.is_random = any(inner.is_random for _, inner in model.walk())
        self.x()  # so that inputs of a wrong shape are refused before anything is checked

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
        return lambda rng, n_samples: samples[rng.integers(len(samples), size=n_samples)]

    def draw(self, rng: np.random.Generator, n_samples: int) -> Array:
        """Draw a batch of the user's own inputs."""
        where, what = "check_layer.inputs", "what inputs gives"
        assert self.inputs is not None and self.input_shape is not None  # noqa: PT018, S101
        dtype = np.dtype(np.int64 if self.takes_integers else np.float64)
        x = validation.batch(where, what, self.inputs(rng, n_samples), self.input_shape, dtype)
        validation.exact_shape(where, what, x, (n_samples, *self.input_shape))
        validation.finite(where, what, x)
        return x.copy()

    def model(self, dtype: type = np.float64, *, moved: bool = True) -> Sequential:
        """Make a model of a fresh layer; each has the same weights."""
        layer = self._layer()
        if self.input_shape is None and layer.input_shape is None:
            remedy = f"{layer!r} takes any: write check_layer(make, (3,)) for 3 features."
            got = validation.Said("None")
            validation.fail("check_layer", "input_shape", "the shape of one sample", got, remedy)
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
        """Draw a batch of inputs; the user's own are never scaled."""
        assert self.input_shape is not None  # noqa: S101 - known since the constructor
        rng = np.random.default_rng([self.seed, 2, salt])
        if self.inputs is not None:
            return self.draw(rng, n_samples)
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
        return ModelProblem(
            self.model(moved=False),
            x,
            name=lambda name: name.partition(".")[2],
            draw=None if self.inputs is None else self.draw,
        )
