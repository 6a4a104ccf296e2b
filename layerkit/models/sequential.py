"""`Sequential`: layers in a row, which hold all their parameters in two flat vectors."""

from __future__ import annotations

import copy
import importlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import LoadError, ShapeError
from layerkit.layers.base import Layer
from layerkit.losses import Loss
from layerkit.models.summary import html_table, shorten, text_table
from layerkit.parameters import Parameter
from layerkit.storage.files import Path
from layerkit.storage.models import (
    classes_with,
    contents_of,
    fill,
    load_weights,
    read_tree,
    save_weights,
    write_tree,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from layerkit.models.trace import LayerTrace

__all__ = ["Sequential"]


class Sequential(Layer):
    """A model: layers in a row.

    It is a layer itself, so models nest. All parameters lie in two contiguous vectors,
    ``model.values`` and ``model.grads``; each `Parameter` is a view into them.

    Parameters
    ----------
    layers : list of Layer
        The layers, first to last; each fresh, or a copy of one that is in use. One that has
        been built already (a model, a copied layer) keeps its parameters.
    input_shape : tuple of int, optional
        The shape of one sample; needed only where the first layer doesn't say.
    dtype : {numpy.float64, numpy.float32}
        Of parameters, inputs and outputs.
    seed : int or numpy.random.Generator, optional
        Where the first values of the parameters come from. The same seed gives the same bytes.
    name : str, optional
        What a model around this one calls it.

    Raises
    ------
    ArgumentError
        If there is no layer, something that is not one, or one that is in use already.
    ShapeError
        If the shapes of neighbours don't fit.

    Examples
    --------
    >>> from layerkit import Dense, Sequential, Sigmoid
    >>> model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())], seed=0)
    >>> model
    Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, Sigmoid())], seed=0)
    >>> model.values.shape
    (59,)
    >>> encoder = model[:1]
    >>> encoder.predict([[1, 0, 0, 0, 0, 0, 0, 0]]).shape
    (1, 3)
    """

    input_shape: Shape
    output_shape: Shape
    _known_vectors: tuple[Array, Array] | None = None

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        input_shape: Shape | None = None,
        dtype: npt.DTypeLike = np.float64,
        seed: int | np.random.Generator | None = None,
        name: str | None = None,
    ) -> None:
        where = "Sequential.__init__"
        chain = check.instances(where, "layers", layers, Layer)
        self.dtype = check.floating_dtype(where, "dtype", dtype)
        self.seed = seed
        self.name = check.name(where, name)
        rng = check.generator(where, "seed", seed)
        self._check_layers(where, chain)
        shape = self._first_shape(where, chain[0], input_shape)
        before = [dict(vars(layer)) for layer in chain]
        try:
            drawn = self._connect(where, chain, shape, rng)
        except BaseException:
            # The layers are the caller's: give them back as they were.
            for layer, attributes in zip(chain, before, strict=True):
                vars(layer).clear()
                vars(layer).update(attributes)
            raise
        self._pack(drawn)
        for _, layer in self.walk():
            self.min_batch_size = max(self.min_batch_size, layer.min_batch_size)
            if layer.is_random and layer.rng is None:
                layer.rng = rng.spawn(1)[0]

    def _check_layers(self, where: str, chain: list[Layer]) -> None:
        """Refuse layers that can't be together in one model."""
        if not chain:
            check.fail(where, "layers", "a list of at least one layer", check.Said("none"))
        seen: dict[int, int] = {}
        named: dict[str, int] = {}
        for index, layer in enumerate(chain):
            got = None
            if layer is self:
                got = f"layers[{index}], the model itself"
            elif id(layer) in seen:
                got = f"layers[{index}], which is layers[{seen[id(layer)]}] again"
            elif layer.is_owned:
                got = f"layers[{index}], {layer!r}, which is part of a model already"
            if got:
                remedy = "Use copy.deepcopy(layer), which has parameters of its own."
                check.fail(where, "layers", "layers of this model alone", check.Said(got), remedy)
            if layer.name in named:
                got = f"{layer.name!r} for layers[{named[layer.name]}] and layers[{index}]"
                check.fail(where, "layers", "of different names", check.Said(got))
            if layer.output_shape is not None and layer.dtype != self.dtype:
                got = f"layers[{index}], {layer!r}, of {layer.dtype}"
                remedy = f"Pass dtype=numpy.{layer.dtype}, or convert it: astype."
                check.fail(where, "layers", f"of dtype {self.dtype}", check.Said(got), remedy)
            seen[id(layer)] = index
            if layer.name is not None:
                named[layer.name] = index

    def _first_shape(self, where: str, first: Layer, input_shape: Shape | None) -> Shape:
        """Find the shape of a sample: what the first layer says, or what the caller does."""
        if input_shape is None:
            if first.input_shape is None:
                remedy = f"layers[0], {first!r}, takes any: write input_shape=(8,) for 8 features."
                got = check.Said("None")
                check.fail(where, "input_shape", "the shape of one sample", got, remedy)
            return first.input_shape
        shape = check.sample_shape(where, "input_shape", input_shape)
        if not first.accepts(shape):
            expectation = f"{first.input_shape}, which layers[0], {first!r}, takes"
            check.fail(where, "input_shape", expectation, shape, error=ShapeError)
        return shape

    def _connect(
        self, where: str, chain: list[Layer], shape: Shape, rng: np.random.Generator
    ) -> dict[Parameter, Array]:
        """Build the layers, each on the output of the one before, and draw their parameters."""
        self._children = ()
        self.input_shape = shape
        drawn = {}
        for index, layer in enumerate(chain):
            if index and layer.takes_integers:
                giver = f"which layers[{index - 1}], {chain[index - 1]!r}, gives"
                got = check.Said(f"{layer!r}, which takes integers")
                remedy = "Put it first, or into a node of a graph that reads an input."
                check.fail(
                    where, f"layers[{index}]", f"one that takes floats, {giver}", got, remedy
                )
            if not layer.accepts(shape):
                giver = f"which layers[{index - 1}], {chain[index - 1]!r}, gives"
                check.fail(
                    where,
                    f"layers[{index}]",
                    f"a layer that takes inputs of shape {shape}, {giver}",
                    check.Said(f"{layer!r}, which takes {layer.input_shape}"),
                    error=ShapeError,
                )
            shape = self.add_layer(layer, shape)
            for parameter in layer.parameters:
                if not parameter.is_packed:
                    drawn[parameter] = flat.draw(parameter, f"{type(layer).__name__}.build", rng)
        self.output_shape = shape
        self.takes_integers = chain[0].takes_integers
        return drawn

    def _pack(self, drawn: dict[Parameter, Array]) -> None:
        """Bring all parameters together in two vectors of the model's own."""
        self._flat_parameters = super().parameters
        self._known_vectors = None
        flat.pack(self._flat_parameters, self.dtype, drawn)
        self.forget_workspace()  # they hold the arrays of where the parameters were
        for _, layer in self.walk():
            layer.dtype = self.dtype

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, first to last."""
        return self._children

    @property
    def parameters(self) -> list[Parameter]:
        """All parameters, layer by layer, each layer's in the order they were declared."""
        return list(self._flat_parameters)

    @property
    def vectors(self) -> tuple[Array, Array]:
        """`values` and `grads`: the same two objects as long as the parameters stay in place."""
        parameters, known = self._flat_parameters, self._known_vectors
        if known is None or not flat.is_in_place(parameters, known):
            # A model around this one has taken the parameters into its own vectors.
            known = self._known_vectors = flat.flat_vectors(parameters, self.dtype)
        return known

    @property
    def values(self) -> Array:
        """All parameters in one vector; assigning copies into it, as ``parameter.value`` does."""
        return self.vectors[0]

    @values.setter
    def values(self, values: Any) -> None:
        flat.copy_into(self.values, values, "Sequential.values", "values")

    @property
    def grads(self) -> Array:
        """All gradients in one vector; assigning copies into it, as ``parameter.grad`` does."""
        return self.vectors[1]

    @grads.setter
    def grads(self, grads: Any) -> None:
        flat.copy_into(self.grads, grads, "Sequential.grads", "grads")

    def check_layers(self, x: Array) -> None:
        """Send a batch through, and refuse a layer whose output breaks its own promise.

        Parameters
        ----------
        x : ndarray of shape (batch_size, *input_shape)
            The batch; the pass is one of evaluation, which changes nothing.

        Raises
        ------
        LayerkitError
            If an output has not the shape that the layer declared, or another dtype.
        """
        for index, layer in enumerate(self._children):
            y, _ = layer.compute_forward(x, training=False)
            where = f"{type(layer).__name__}.compute_forward, in layers[{index}]"
            check.computed(where, "y", y, (len(x), *layer.output_shape), layer.dtype)  # type: ignore[misc]
            x = y

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Send a batch through the layers, first to last."""
        caches: list[Any] = []
        try:
            for layer in self._children:
                x, cache = layer.compute_forward(x, training=training)
                # Nobody goes back through an evaluation: its caches needn't be kept in memory.
                caches.append(cache if training else None)
        except Exception as error:
            index = len(caches)
            error.add_note(f"in layers[{index}], {self._children[index]!r}")
            raise
        return x, caches

    def compute_backward(self, dy: Array, cache: Any, *, need_dx: bool = True) -> Any:
        """Send a gradient through the layers, last to first."""
        first = self._children[0]
        for layer in self._children[:0:-1]:
            dy = layer.compute_backward(dy, cache.pop())
        if need_dx or not first.takes_need_dx:
            return first.compute_backward(dy, cache.pop())
        return first.compute_backward(dy, cache.pop(), need_dx=False)  # type: ignore[call-arg]

    def predict(self, x: Any, batch_size: int | None = None) -> Array:
        """Compute the outputs; nothing in the model changes, so threads may share it.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape)
            The inputs; cast to the model's dtype.
        batch_size : int, optional
            How many samples to take at a time, to save memory; by default all at once.

        Returns
        -------
        ndarray of shape (n_samples, *output_shape)
            The outputs.

        Raises
        ------
        ShapeError
            If x has another shape.
        """
        where = "Sequential.predict"
        if batch_size is None:
            return self.forward(x)
        batch_size = check.integer(where, "batch_size", batch_size, minimum=1)
        # Cast batch by batch: the data may be larger than memory.
        samples = check.numeric_array(where, "x", x, None)
        check.batch_shape(where, "x", samples.shape, self.input_shape)
        y: Array | None = None
        for start in range(0, max(len(samples), 1), batch_size):
            span = slice(start, start + batch_size)
            own = self.forward(samples[span])
            if y is None:  # only now are the lengths of open axes known
                y = np.empty((len(samples), *own.shape[1:]), self.dtype)
            y[span] = own
        return y  # type: ignore[return-value]

    def trace(self, x: Any, y_true: Any, loss: Loss) -> dict[str, LayerTrace]:
        """Look inside: what each layer takes and gives in a step of training, forward and back.

        Parameters
        ----------
        x : array_like of shape (batch_size, *input_shape)
            The inputs.
        y_true : array_like
            The targets, in the form that the loss takes.
        loss : Loss
            Where the gradients come from.

        Returns
        -------
        dict of str to LayerTrace
            By the layers' names, first to last; those of models inside too. The model itself
            stays as it is.

        Raises
        ------
        ArgumentError
            If the inputs or the targets can't be used.
        """
        where = "Sequential.trace"
        check.instance(where, "loss", loss, Loss)
        batch = check.batch(where, "x", x, self.input_shape, self.input_dtype)
        y_true = check.numeric_array(where, "y_true", y_true, None)
        check.predictions(where, np.empty((len(batch), 1)), y_true)
        loss.check_targets(where, y_true, self.output_shape)
        y_true = y_true.astype(loss.target_dtype(self.dtype), copy=False)
        trace: Any = importlib.import_module("layerkit.models.trace")  # few programs need it
        traced: dict[str, LayerTrace] = trace.trace_layers(self, Sequential, batch, y_true, loss)
        return traced

    def get_weights(self) -> list[Array]:
        """Copy all parameters, in order: [kernel, bias, kernel, bias, …]."""
        return [parameter.value.copy() for parameter in self.parameters]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all parameters.

        Parameters
        ----------
        weights : list of array_like
            One array a parameter, in the order and the shapes of `get_weights`.

        Raises
        ------
        ShapeError
            If there are more or fewer, or one has another shape; then none is set.
        """
        where = "Sequential.set_weights"
        parameters = self.parameters
        shapes = [parameter.shape for parameter in parameters]
        if not isinstance(weights, list | tuple) or len(weights) != len(parameters):
            got = check.Said(f"{len(weights)} of them") if isinstance(weights, list) else weights
            expectation = f"a list of {len(parameters)} arrays, of the shapes {shapes}"
            check.fail(where, "weights", expectation, got, error=ShapeError)
        arrays = []
        for index, (weight, parameter) in enumerate(zip(weights, parameters, strict=True)):
            array = check.numeric_array(where, f"weights[{index}]", weight, None)
            check.exact_shape(where, f"weights[{index}]", array, parameter.shape)
            # A copy: the caller's array may be a view of these very parameters.
            arrays.append(array.copy())
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter.value = array

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Copy the model, with parameters of another dtype: float32 or float64."""
        taken = check.floating_dtype("Sequential.astype", "dtype", dtype)
        model = copy.deepcopy(self)
        model.dtype = taken
        model._pack({})
        return model

    def save(self, path: Path, *, extra: Mapping[str, Any] | None = None) -> None:
        """Write the model into a file: its layers, parameters, and what else training changed.

        The file is written whole or not at all: until then, and if anything goes wrong, what was
        there before stays.

        Parameters
        ----------
        path : str or path-like
            The file; ``"model.layerkit"``, for example.
        extra : mapping of str to object, optional
            What else to keep: numbers, texts, arrays, lists and dicts. `load_extra` gives it back.

        Raises
        ------
        SaveError
            If the file can't be written, or a layer's configuration can't be put into one.
        """
        where = "Sequential.save"
        tree = {"model": self, "contents": contents_of(self), "extra": dict(extra or {})}
        write_tree(where, path, "model", tree)

    @classmethod
    def load(cls, path: Path, *, custom_objects: Mapping[str, type] | None = None) -> Sequential:
        """Read a model from a file that `save` wrote.

        No code is loaded from the file: classes that are not layerkit's are named by the caller.

        Parameters
        ----------
        path : str or path-like
            The file.
        custom_objects : dict of str to type, optional
            The caller's own layers, activations and initializers, by their names.

        Returns
        -------
        Sequential
            The model, with the same parameters, bit for bit.

        Raises
        ------
        LoadError
            If the file is missing, damaged, or not a model, or names an unknown class.
        """
        return cls._load("Sequential.load", path, custom_objects)[0]

    @classmethod
    def load_extra(
        cls, path: Path, *, custom_objects: Mapping[str, type] | None = None
    ) -> tuple[Sequential, dict[str, Any]]:
        """Read a model, and what else was saved with it.

        Parameters
        ----------
        path : str or path-like
            The file.
        custom_objects : dict of str to type, optional
            As in `load`.

        Returns
        -------
        tuple of Sequential and dict
            The model, and the ``extra`` of `save`.
        """
        return cls._load("Sequential.load_extra", path, custom_objects)

    @classmethod
    def _load(
        cls, where: str, path: Path, custom_objects: Mapping[str, type] | None
    ) -> tuple[Sequential, dict[str, Any]]:
        classes = {"Sequential": Sequential} | classes_with(where, custom_objects)
        tree = read_tree(where, path, "model", classes)
        model, extra = tree.get("model"), tree.get("extra")
        if not isinstance(model, Sequential) or not isinstance(extra, dict):
            check.fail(where, "path", "a file with a model", model, error=LoadError)
        fill(where, model, tree.get("contents"))
        return model, extra

    def save_weights(self, path: Path) -> None:
        """Write the parameters alone, as safetensors, for other programs.

        Parameters
        ----------
        path : str or path-like
            The file; ``"weights.safetensors"``, for example.

        Raises
        ------
        SaveError
            If the file can't be written; an old one stays as it was.
        MissingExtraError
            If safetensors is not installed.
        """
        save_weights("Sequential.save_weights", path, self)

    def load_weights(self, path: Path) -> None:
        """Read the parameters from safetensors; the names and shapes must be this model's.

        Parameters
        ----------
        path : str or path-like
            The file.

        Raises
        ------
        LoadError
            If an array is missing, unknown or of another shape; then nothing has changed.
        MissingExtraError
            If safetensors is not installed.
        """
        load_weights("Sequential.load_weights", path, self)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments; see `Layer.get_config`."""
        return {
            "layers": list(self._children),
            "input_shape": self.input_shape,
            "dtype": self.dtype,
            "seed": self.seed,
            "name": self.name,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Give what a copy needs: the layers with their parameters, and no vectors."""
        state = super().__getstate__()
        del state["_known_vectors"], state["_flat_parameters"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy: bring the copied parameters together again."""
        vars(self).update(state)
        for layer in self._children:
            layer.is_owned = True
        self._pack({})

    @overload
    def __getitem__(self, key: int | str) -> Layer: ...
    @overload
    def __getitem__(self, key: slice) -> Sequential: ...
    def __getitem__(self, key: int | str | slice) -> Layer | Sequential:
        """Give a layer by its place or name, or a model of neighbours that *shares* them."""
        where = "Sequential.__getitem__"
        if isinstance(key, str):
            for name, layer in zip(self.layer_names, self._children, strict=True):
                if name == key:
                    return layer
            check.fail(where, "name", f"one of {', '.join(self.layer_names)}", key)
        if isinstance(key, slice):
            chain = self._children[key]
            if not chain or key.step not in (None, 1):
                got = check.Said(f"[{key.start}:{key.stop}:{key.step}]")
                check.fail(where, "slice", "at least one layer, neighbours in their order", got)
            return self._part(chain)
        return self._children[check.index(where, "index", key, len(self._children))]

    def _part(self, chain: tuple[Layer, ...]) -> Sequential:
        """Make a model of some of the layers, whose parameters stay where they are."""
        part = object.__new__(Sequential)
        part.dtype, part.name = self.dtype, None
        part.seed = None
        part._known_vectors = None
        part._children = chain
        part.is_owned = True
        part.takes_integers = chain[0].takes_integers
        part._flat_parameters = [p for layer in chain for p in layer.parameters]
        first, last = chain[0], chain[-1]
        part.input_shape, part.output_shape = first.input_shape, last.output_shape  # type: ignore[assignment]
        return part

    def __len__(self) -> int:
        """Count the layers."""
        return len(self._children)

    def __iter__(self) -> Iterator[Layer]:
        """Go through the layers, first to last."""
        return iter(self._children)

    def summary(self) -> str:
        """Describe the layers in a table, as text: shapes, parameters, and what is trainable.

        Examples
        --------
        >>> from layerkit import Dense, Sequential, Sigmoid
        >>> model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, name="out")])
        >>> print(model.summary())
        layer    kind                     output shape  parameters  trainable
        -------  -----------------------  ------------  ----------  ---------
        dense_0  Dense(8, 3, Sigmoid())   (n, 3)                27         27
        out      Dense(3, 8, name='out')  (n, 8)                32         32
        -------  -----------------------  ------------  ----------  ---------
        total    float64                  (n, 8)                59         59
        """
        return text_table(self._table())

    def _table(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("layer", "kind", "output shape", "parameters", "trainable")]
        for name, layer in [*zip(self.layer_names, self._children, strict=True), ("total", self)]:
            parameters = layer.parameters
            n_trainable = sum(p.size for p in parameters if p.trainable)
            rows.append(
                (
                    name,
                    str(self.dtype) if layer is self else shorten(repr(layer)),
                    f"({', '.join(['n', *map(str, layer.output_shape or ())])})",
                    f"{sum(p.size for p in parameters):,}",
                    f"{n_trainable:,}",
                )
            )
        return rows

    def _repr_html_(self) -> str:
        """Show the summary as a table in a notebook."""
        return html_table(self._table())

    def __repr__(self) -> str:
        """Write the call that makes a model like this one."""
        rest = []
        if self._children[0].has_learned_shape:
            rest.append(f"input_shape={self.input_shape}")
        if self.dtype != np.float64:
            rest.append(f"dtype='{self.dtype}'")
        if self.seed is not None:
            rest.append(f"seed={self.seed!r}")
        if self.name is not None:
            rest.append(f"name={self.name!r}")
        layers = [repr(layer) for layer in self._children]
        one_line = f"Sequential({', '.join(['[' + ', '.join(layers) + ']', *rest])})"
        if len(one_line) <= 88:
            return one_line
        listed = "".join(textwrap.indent(layer, "    ") + ",\n" for layer in layers)
        return "Sequential([\n" + listed + ", ".join(["]", *rest]) + ")"
