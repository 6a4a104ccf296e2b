"""`Sequential`: layers in a row, which hold all their parameters in two flat vectors."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer
from layerkit.layers.passes import go_back_through
from layerkit.models.base import Model
from layerkit.models.chain import check_chain, first_shape
from layerkit.models.first_values import as_they_are, put_back
from layerkit.models.ties import Tie, add_gradients, check_ties, ties_inside
from layerkit.storage.models import CLASSES

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Sequential"]


class Sequential(Model):
    """A model: layers in a row.

    It is a layer itself, so models nest. All parameters lie in two contiguous vectors,
    ``model.values`` and ``model.grads``; each `Parameter` is a view into them.

    Parameters
    ----------
    layers : list of Layer
        The layers, first to last; each fresh, or a copy of one that is in use. One that has
        been built already (a model, a copied layer) keeps its parameters.
    input_shape : tuple of int, optional
        The shape of one sample, None for an axis whose length differs between batches; needed
        only where the first layer doesn't say. A model that is to be part of another one needs
        none: it is built there, for the shape there, as long as it has its first values.
    dtype : {numpy.float64, numpy.float32}
        Of parameters, inputs and outputs.
    seed : int or numpy.random.Generator, optional
        Source of the first values of the parameters. The same seed gives the same bytes. A model
        without one, in another model, is drawn again from that one's seed, unless its parameters
        have been changed since they were drawn.
    ties : dict of str to str, optional
        Parameters that share the value of another one, by their names in `named_parameters`:
        ``{"decoder.kernel": "encoder.kernel.T"}``, where ``.T`` transposes it. The tied parameter
        is a view; its gradient is added to the other's, which is counted, saved and trained.
    name : str, optional
        Name of the model, in a model around it.

    Raises
    ------
    ArgumentError
        If there is no layer, something that is not one, or one that is in use already; if a tie
        names no parameter, or one that is tied already.
    ShapeError
        If the shapes of neighbours don't fit, or those of a tie.

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
    >>> layers = [Dense(8, 3, Sigmoid(), name="encoder"), Dense(3, 8, name="decoder")]
    >>> tied = Sequential(layers, ties={"decoder.kernel": "encoder.kernel.T"})
    >>> tied.values.shape
    (35,)
    """

    _has_own_shape = True

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        input_shape: Shape | None = None,
        dtype: npt.DTypeLike = np.float64,
        seed: int | np.random.Generator | None = None,
        ties: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        where = "Sequential.__init__"
        chain = check.instances(where, "layers", layers, Layer)
        self.dtype = check.floating_dtype(where, "dtype", dtype)
        self.seed = seed
        self.name = check.name(where, name)
        rng = check.generator(where, "seed", seed)
        self.ties = check_ties(where, ties)
        check_chain(where, self, chain)
        shape = first_shape(where, chain[0], input_shape)
        self._has_own_shape = input_shape is not None
        if shape is not None:
            self._assemble(where, chain, partial(self._connect, where, chain, shape), rng)
            return
        for layer in chain:
            layer.is_owned = True
        self._children = tuple(chain)

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether samples may have this shape.

        A model that was given none, and has its first values still, can be built again for
        another shape if its first layer takes it.
        """
        if super().accepts(input_shape):
            return True
        drawn = self._drawn
        if drawn is None or self._has_own_shape or not drawn.are_kept():
            return False
        first = self._children[0]
        unbuilt = object.__new__(type(first))
        put_back([(unbuilt, was) for layer, was in drawn.unbuilt if layer is first])
        return unbuilt.accepts(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Build the layers for samples of this shape, none or another of which was known before."""
        where, chain = "Sequential.build", list(self._children)
        before = as_they_are([self])
        rng = check.generator(where, "seed", self.seed)
        try:
            if self._drawn is not None:
                rng = self._drawn.generator()
                put_back(self._drawn.unbuilt)
            for layer in chain:
                layer.is_owned = False
            connect = partial(self._connect, where, chain, input_shape)
            self._assemble(where, chain, connect, rng)
        except BaseException:
            put_back(before)
            raise
        return self.output_shape

    def _connect(self, where: str, chain: list[Layer], shape: Shape) -> None:
        """Build the layers, each on the output of the one before."""
        self._children = ()
        self.input_shape = shape
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
        self.output_shape = shape
        self.takes_integers = chain[0].takes_integers

    def insert(
        self, index: int, layer: Layer, *, seed: int | np.random.Generator | None = None
    ) -> None:
        """Put a layer before the one at a place; all others keep their parameters.

        Names that layers have from their places, such as ``"dense_1"``, move with them. An
        optimizer that was used on the model is for its old parameters: make another one.

        Parameters
        ----------
        index : int
            Place, from 0 to the number of layers; one below 0 counts from the end.
        layer : Layer
            New layer, or a copy of one that is in use.
        seed : int or numpy.random.Generator, optional
            Source of the first values of the new layer.

        Raises
        ------
        ArgumentError
            If an argument is of the wrong kind, or the layer is in use.
        ShapeError
            If the shapes of neighbours don't fit.
        StateError
            If the model is part of another one, or being trained. Nothing changes then.

        Examples
        --------
        >>> from layerkit import Dense, Dropout, Sequential, Tanh
        >>> model = Sequential([Dense(4, 3, Tanh()), Dense(3, 2)], seed=0)
        >>> model.insert(1, Dropout(0.2))
        >>> model.replace(-1, Dense(3, 5, name="head"), seed=1)
        Dense(3, 2)
        >>> model.pop("dropout_1")
        Dropout(0.2)
        >>> model
        Sequential([Dense(4, 3, Tanh()), Dense(3, 5, name='head')], seed=0)
        """
        where, n_layers = "Sequential.insert", len(self._children)
        place = check.index(where, "index", index, n_layers + 1)
        if place < -n_layers:
            check.fail(where, "index", f"at least {-n_layers}", index)
        chain = list(self._children)
        chain.insert(place, check.instance(where, "layer", layer, Layer))
        self._rebuild(where, chain, None, seed)

    def replace(
        self, key: int | str, layer: Layer, *, seed: int | np.random.Generator | None = None
    ) -> Layer:
        """Put a layer in the place of another one; all others keep their parameters.

        Parameters
        ----------
        key : int or str
            Place or name of the layer that leaves.
        layer : Layer
            New layer, or a copy of one that is in use.
        seed : int or numpy.random.Generator, optional
            Source of the first values of the new layer.

        Returns
        -------
        Layer
            The layer that has left, with its parameters; it may become part of another model.

        Raises
        ------
        ArgumentError
            If there is no such layer, or the new one is in use; if the old one has ties.
        ShapeError, StateError
            As for `insert`.
        """
        where, chain = "Sequential.replace", list(self._children)
        leaving = self[key]
        check.instance(where, "layer", layer, Layer)
        chain[next(k for k, old in enumerate(chain) if old is leaving)] = layer
        self._rebuild(where, chain, leaving, seed)
        return leaving

    def pop(self, key: int | str = -1) -> Layer:
        """Remove a layer; all others keep their parameters.

        Parameters
        ----------
        key : int or str
            Place or name of the layer; by default the last.

        Returns
        -------
        Layer
            The layer, with its parameters; it may become part of another model.

        Raises
        ------
        ArgumentError
            If there is no such layer, if it is the only one, or has ties.
        ShapeError, StateError
            As for `insert`.
        """
        leaving = self[key]
        chain = [layer for layer in self._children if layer is not leaving]
        self._rebuild("Sequential.pop", chain, leaving, None)
        return leaving

    def _rebuild(
        self,
        where: str,
        chain: list[Layer],
        leaving: Layer | None,
        seed: int | np.random.Generator | None,
    ) -> None:
        """Connect other layers than before."""
        self._check_built(where.partition(".")[2])
        rng = check.generator(where, "seed", seed)
        shape: Shape | None = self.input_shape

        def connect() -> None:
            check_chain(where, self, chain)
            first = chain[0]
            known = None if first.input_shape and not first.accepts(self.input_shape) else shape
            self._connect(where, chain, first_shape(where, first, known) or self.input_shape)

        self._reassemble(where, chain, leaving, connect, rng)

    @property
    def row(self) -> tuple[Layer, ...] | None:
        """The layers, unless a subclass has passes of its own; see `Model.row`."""
        own = (Sequential.compute_forward, Sequential.compute_backward)
        is_row = (type(self).compute_forward, type(self).compute_backward) == own
        return self._children if is_row else None

    def places(self) -> list[tuple[str, Layer]]:
        """List the layers with the places that messages name; see `Model.places`."""
        return [(f"layers[{index}]", layer) for index, layer in enumerate(self._children)]

    def each_output(self, x: Any) -> Iterator[tuple[str, Layer, Array]]:
        """Compute the output of each layer in evaluation; see `Model.each_output`.

        Yields
        ------
        place : str
            Place of the layer, such as ``"layers[0]"``.
        layer : Layer
            The layer.
        y : ndarray
            Its output.
        """
        for index, layer in enumerate(self._children):
            try:
                x, _ = layer.compute_forward(x, training=False)
            except Exception as error:
                error.add_note(f"in layers[{index}], {layer!r}")
                raise
            yield f"layers[{index}]", layer, x

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

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Send a gradient through the layers, last to first."""
        dx: Any
        if skip_frozen:
            dx = go_back_through(
                self._children, dy, cache, need_dx=need_dx, skip_frozen=skip_frozen
            )
        else:  # by hand what that does, in half of its time
            first = self._children[0]
            for layer in self._children[:0:-1]:
                dy = layer.compute_backward(dy, cache.pop())
            if need_dx or not first.takes_need_dx:
                dx = first.compute_backward(dy, cache.pop())
            else:
                dx = first.compute_backward(dy, cache.pop(), need_dx=False)  # type: ignore[call-arg]
        if self._tied:
            add_gradients(self._tied)
        return dx

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments; see `Layer.get_config`."""
        return {
            "layers": list(self._children),
            "input_shape": self.input_shape,
            "dtype": self.dtype,
            "seed": self.seed,
            **({"ties": dict(self.ties)} if self.ties else {}),
            "name": self.name,
        }

    @overload
    def __getitem__(self, key: int | str) -> Layer: ...
    @overload
    def __getitem__(self, key: slice) -> Sequential: ...
    def __getitem__(self, key: int | str | slice) -> Layer | Sequential:
        """Return a layer by its place or name, or a model of neighbours that *shares* them."""
        where = "Sequential.__getitem__"
        if isinstance(key, str):
            for name, layer in zip(self.layer_names, self._children, strict=True):
                if name == key:
                    return layer
            check.fail(where, "name", f"one of {', '.join(self.layer_names)}", key)
        if isinstance(key, slice):
            self._check_built("__getitem__")
            chain = self._children[key]
            if not chain or key.step not in (None, 1):
                got = check.Said(f"[{key.start}:{key.stop}:{key.step}]")
                check.fail(where, "slice", "at least one layer, neighbours in their order", got)
            return self._part(chain)
        return self._children[check.index(where, "index", key, len(self._children))]

    def _part(self, chain: tuple[Layer, ...]) -> Sequential:
        """Make a model of some of the layers, whose parameters stay where they are."""
        part = object.__new__(Sequential)
        part._share(chain, self._tied)
        return part

    def _share(self, chain: tuple[Layer, ...], ties: tuple[Tie, ...]) -> None:
        """Become a model of layers that are part of another one, and stay so."""
        first, last = chain[0], chain[-1]
        self.dtype, self.name, self.seed = first.dtype, None, None
        self._known_vectors = None
        self._children = chain
        self.is_owned = True
        self.takes_integers = first.takes_integers
        self._flat_parameters = [p for layer in chain for p in layer.parameters]
        self._tied, self.ties = ties_inside(self, ties)
        self.input_shape, self.output_shape = first.input_shape, last.output_shape  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Write the call that makes a model like this one."""
        rest = []
        if self._children[0].has_learned_shape:
            rest.append(f"input_shape={self.input_shape}")
        if self.dtype != np.float64:
            rest.append(f"dtype='{self.dtype}'")
        if self.seed is not None:
            rest.append(f"seed={self.seed!r}")
        if self.ties:
            rest.append(f"ties={self.ties!r}")
        if self.name is not None:
            rest.append(f"name={self.name!r}")
        layers = [repr(layer) for layer in self._children]
        one_line = f"Sequential({', '.join(['[' + ', '.join(layers) + ']', *rest])})"
        if len(one_line) <= 88:
            return one_line
        listed = "".join(textwrap.indent(layer, "    ") + ",\n" for layer in layers)
        return "Sequential([\n" + listed + ", ".join(["]", *rest]) + ")"


CLASSES["Sequential"] = Sequential
