"""Problems: functions to differentiate, a model, an activation or a loss, in one form.

A problem has arrays that can be moved, outputs that follow, and gradients of its own to compare.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from layerkit._support.validation import Array
from layerkit.activations import Activation
from layerkit.layers.base import Layer
from layerkit.losses import Loss
from layerkit.models.base import Model
from layerkit.parameters import Parameter
from layerkit.testing.gradients import rms

__all__ = [
    "ActivationProblem",
    "LossProblem",
    "ModelProblem",
    "Problem",
    "each",
    "each_input",
    "generators",
    "named_parameters",
]


class Problem(ABC):
    """Something to differentiate.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Arrays that the outputs depend on; changed in place.
    before : dict of str to ndarray
        Contents of the gradients before the backward pass; empty where they are not kept.
    """

    arrays: dict[str, Array]
    before: dict[str, Array]

    @abstractmethod
    def evaluate(self) -> Array:
        """Compute the outputs at the present point, flat; the array may be used again."""

    @abstractmethod
    def gradients(self, dy: Array) -> dict[str, Array]:
        """Compute the gradients of Σ dy · outputs, as the code in question computes them."""

    @abstractmethod
    def move(self, rng: np.random.Generator, scale: float, spread: float, n_samples: int) -> None:
        """Go to a random point: inputs of size ``scale``, parameters ``spread`` times as large."""

    def jitter(self, rng: np.random.Generator) -> None:
        """Go a little beside the present point, off whatever kinks are there."""
        for array in self.arrays.values():
            array += rng.normal(0, 1e-3 * rms(array), size=array.shape)

    def snapshot(self) -> dict[str, Any]:
        """Keep the present point."""
        return {"arrays": {name: array.copy() for name, array in self.arrays.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a point that was kept."""
        self.arrays = {name: array.copy() for name, array in state["arrays"].items()}

    def fresh(self) -> "Problem | None":
        """Return the same point on a copy that has never been used, if there is such a thing."""
        return None


def random_batch(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Array:
    """Draw inputs, none of them next to zero or to another, where kinks are."""
    return rng.normal(size=shape) * scale


def named_parameters(layer: Layer) -> Iterator[tuple[str, Parameter]]:
    """Go through the parameters with the expressions that lead to them: layers[1].kernel."""
    # A tied one is a view: its gradient is a part of the other's.
    yield from ((name, p) for name, p in layer.own_parameters.items() if not p.is_tied)
    for index, child in enumerate(layer.children):
        places = [name for name, value in vars(layer).items() if value is child]
        place = f"layers[{index}]" if isinstance(layer, Model) or not places else places[0]
        for name, parameter in named_parameters(child):
            yield f"{place}.{name}", parameter


def generators(model: Layer) -> Iterator[np.random.Generator]:
    """Find the random generators that a layer, or a layer inside it, keeps."""
    found: dict[int, np.random.Generator] = {}
    for _, layer in model.walk():
        for value in vars(layer).values():
            found |= {id(generator): generator for generator in _generators_in(value)}
    yield from found.values()


def _generators_in(thing: Any, depth: int = 3) -> Iterator[np.random.Generator]:
    if isinstance(thing, np.random.Generator):
        yield thing
    elif depth:
        inner: Sequence[Any] = ()
        if isinstance(thing, Layer | Activation):
            inner = list(vars(thing).values())
        elif isinstance(thing, list | tuple):
            inner = thing
        elif isinstance(thing, dict):
            inner = list(thing.values())
        for value in inner:
            yield from _generators_in(value, depth - 1)


def each(function: Callable[[Any], Any], data: Any) -> Any:
    """Apply a function to an array, or to each array of a dict."""
    if isinstance(data, Mapping):
        return {name: function(array) for name, array in data.items()}
    return function(data)


def each_input(function: Callable[[str, Any], Any], x: Any) -> Any:
    """Apply a function to the inputs and their names in reports: x, or dx['tokens'] of a dict."""
    if isinstance(x, Mapping):
        return {name: function(f"dx[{name!r}]", array) for name, array in x.items()}
    return function("x", x)


def _labelled(x: Any) -> dict[str, Any]:
    """Return the inputs, or their gradients, by their names in reports."""
    found: dict[str, Any] = {}
    each_input(found.__setitem__, x)
    return found


def _without_gradient(model: Model, x: Any) -> list[str]:
    """List the inputs whose gradient is None, such as integers and masks."""
    if not isinstance(x, Mapping):
        return ["x"] if model.takes_integers else []
    trial = copy.deepcopy(model)
    with np.errstate(all="ignore"):
        dx = _labelled(trial.backward(each(np.ones_like, trial.forward(x, training=True))))
    return [label for label, a in _labelled(x).items() if a.dtype.kind != "f" or dx[label] is None]


def _flat(y: Any) -> Array:
    """Return the outputs as a vector, one output after the other."""
    arrays = y.values() if isinstance(y, Mapping) else (y,)
    return np.concatenate([array.reshape(-1) for array in arrays])


def _like(vector: Array, y: Any) -> Any:
    """Return copies of a vector's parts, in the shapes of the outputs; see `_flat`."""
    start = 0

    def part(array: Array) -> Array:
        nonlocal start
        start += array.size
        return vector[start - array.size : start].reshape(array.shape).copy()

    return each(part, y)


class ModelProblem(Problem):
    """A model's outputs, or its loss, in training mode, with the same random draws each time.

    Attributes
    ----------
    without_gradient : list of str
        Inputs that are not compared, as their gradient is None.
    """

    def __init__(
        self,
        model: Model,
        x: Any,
        loss: Loss | None = None,
        y_true: Any = None,
        name: Callable[[str], str] = str,
        draw: Callable[[np.random.Generator, int], Array] | None = None,
    ) -> None:
        self.model, self.loss = model, loss
        self._pristine = copy.deepcopy(model)
        self._home = {p: p.value.copy() for p in model.parameters}
        self._x, self._y_true = x, y_true
        self._name, self._draw = name, draw
        self.without_gradient = _without_gradient(model, x)
        self._set(each(np.ndarray.copy, x), y_true)
        self.rewind()

    def _set(self, x: Any, y_true: Any) -> None:
        self.y_true = y_true
        self._parameters = {
            self._name(name): parameter
            for name, parameter in named_parameters(self.model)
            if parameter.trainable
        }
        self.x = x
        inputs = {n: a for n, a in _labelled(x).items() if n not in self.without_gradient}
        self.arrays = {**inputs, **{name: p.value for name, p in self._parameters.items()}}
        self._generators = [(g, g.bit_generator.state) for g in generators(self.model)]

    def rewind(self) -> None:
        """Set the generators in the model back, so that each pass draws the same numbers."""
        for generator, state in self._generators:
            generator.bit_generator.state = state

    def snapshot(self) -> dict[str, Any]:
        """Keep the present point; see `Problem.snapshot`."""
        return {**super().snapshot(), "x": each(np.ndarray.copy, self.x), "y_true": self.y_true}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a point that was kept; see `Problem.restore`."""
        self.rewind()
        self._set(each(np.ndarray.copy, state["x"]), state["y_true"])
        for name, parameter in self._parameters.items():
            parameter.value = state["arrays"][name]

    def outputs(self) -> Any:
        """Compute the model's outputs."""
        self.rewind()
        x = each_input(self.arrays.get, self.x)
        y, _ = self.model.compute_forward(x, training=True)
        return y

    def evaluate(self) -> Array:
        """Compute the outputs, or the loss; see `Problem.evaluate`."""
        y = self.outputs()
        if self.loss is None:
            return _flat(y)
        return np.array([self.loss.value(y, self.y_true)])

    def gradients(self, dy: Array) -> dict[str, Array]:
        """Go forward and back through the public methods; see `Problem.gradients`."""
        self.before = {}
        # What was there before has to be gone afterwards, and shows where it isn't.
        rng = np.random.default_rng(0)
        for name, parameter in self._parameters.items():
            self.before[name] = parameter.grad = rng.uniform(1, 2, size=parameter.shape)
        self.rewind()
        y = self.model.forward(self.x, training=True)
        if self.loss is None:
            upstream = _like(dy, y)
        else:
            upstream = each(lambda gradient: dy[0] * gradient, self.loss.gradient(y, self.y_true))
        dx = _labelled(self.model.backward(upstream))
        grads = {name: p.grad.copy() for name, p in self._parameters.items()}
        for label, array in self.arrays.items():
            if label not in grads:
                # None at this point alone claims that the gradient is zero here.
                grads[label] = np.zeros_like(array) if dx[label] is None else dx[label]
        return grads

    def move(self, rng: np.random.Generator, scale: float, spread: float, n_samples: int) -> None:
        """Go to a random point; see `Problem.move`."""
        n_samples = max(n_samples, self.model.min_batch_size)
        n_given = len(next(iter(_labelled(self._x).values())))
        rows = np.arange(n_given)
        if n_samples != n_given:
            rows = rng.integers(n_given, size=n_samples) if n_given else rows
        y_true = None if self._y_true is None else each(lambda y: y[rows], self._y_true)
        if self._draw is None:
            x = each_input(
                lambda label, given: self._other(label, given, rng, rows, scale), self._x
            )
        else:
            x = self._draw(rng, len(rows))
        self._set(x, y_true)
        for parameter, home in self._home.items():
            if parameter.trainable:
                # Off the initial values: a scale that starts at 1 or a bias at 0 hides errors.
                size = max(rms(home) if home.any() else 0.0, 0.3)
                parameter.value = spread * (home + rng.normal(size=home.shape) * size)

    def _other(
        self, label: str, given: Array, rng: np.random.Generator, rows: Array, scale: float
    ) -> Array:
        """Draw another batch of an input."""
        shape = (len(rows), *given.shape[1:])
        if given.dtype.kind != "f":
            # Which integers there are is not known, but for those that were given.
            return rng.choice(given.reshape(-1), size=shape)
        if label in self.without_gradient:
            return given[rows]  # a mask may have to be made of 0 and 1
        return random_batch(rng, shape, scale * rms(given))

    def fresh(self) -> "ModelProblem":
        """Return the same point on a copy from before the first pass; see `Problem.fresh`."""
        problem = copy.copy(self)
        problem.model = copy.deepcopy(self._pristine)
        problem.model.values = self.model.values
        problem._set(each(np.ndarray.copy, self.x), self.y_true)
        return problem


class ActivationProblem(Problem):
    """An activation's outputs, as a function of z."""

    def __init__(self, activation: Activation, z: Array) -> None:
        self.activation, self._z = activation, z
        self.arrays, self.before = {"z": z.copy()}, {}

    def evaluate(self) -> Array:
        """Compute y, flat; see `Problem.evaluate`."""
        return self.activation.forward(self.arrays["z"]).reshape(-1)

    def gradients(self, dy: Array) -> dict[str, Array]:
        """Compute dz; see `Problem.gradients`."""
        z = self.arrays["z"]
        y = self.activation.forward(z)
        return {"z": self.activation.backward(dy.reshape(y.shape).copy(), z, y)}

    def move(self, rng: np.random.Generator, scale: float, spread: float, n_samples: int) -> None:
        """Go to a random point; see `Problem.move`."""
        self.arrays = {"z": random_batch(rng, (n_samples, *self._z.shape[1:]), scale)}


class LossProblem(Problem):
    """A loss, as a function of the predictions."""

    def __init__(
        self, loss: Loss, y_pred: Array, targets: Callable[[np.random.Generator, int], Array]
    ) -> None:
        self.loss, self._y_pred, self._targets = loss, y_pred, targets
        self.arrays, self.before = {"y_pred": y_pred.copy()}, {}
        self.y_true = targets(np.random.default_rng(0), len(y_pred))

    def evaluate(self) -> Array:
        """Compute the loss; see `Problem.evaluate`."""
        return np.array([self.loss.value(self.arrays["y_pred"], self.y_true)])

    def gradients(self, dy: Array) -> dict[str, Array]:
        """Compute the gradient; see `Problem.gradients`."""
        return {"y_pred": dy[0] * self.loss.gradient(self.arrays["y_pred"], self.y_true)}

    def snapshot(self) -> dict[str, Any]:
        """Keep the present point; see `Problem.snapshot`."""
        return {**super().snapshot(), "y_true": self.y_true}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a point that was kept; see `Problem.restore`."""
        super().restore(state)
        self.y_true = state["y_true"]

    def move(self, rng: np.random.Generator, scale: float, spread: float, n_samples: int) -> None:
        """Go to a random point; see `Problem.move`."""
        shape = (n_samples, *self._y_pred.shape[1:])
        self.arrays = {"y_pred": random_batch(rng, shape, scale)}
        self.y_true = self._targets(rng, n_samples)
