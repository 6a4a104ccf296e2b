"""`Graph`: named layers that read one another, with several inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.validation import Array
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer
from layerkit.layers.joins import Join
from layerkit.layers.passes import go_back, is_trained
from layerkit.models.base import Model
from layerkit.models.drawing import drawn_table
from layerkit.models.ties import add_gradients, check_ties
from layerkit.models.wiring import (
    bare,
    by_name,
    check_batch,
    check_inputs,
    check_integers,
    check_nodes,
    check_outputs,
    check_use,
    clear_gradients,
    last_reads,
    listed,
    sort_nodes,
)
from layerkit.storage.models import CLASSES

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Graph"]

_WHERE = "Graph.__init__"
_OWN = ("reads", "order", "_done")


class Graph(Model):
    """A model of named nodes, each of which reads inputs or other nodes.

    A node of one input is a `Layer`, a node of several a `Join`. Arrays are passed as dicts by
    name; where there is one input or one output, also as a bare array. Such a graph, of one input
    and one output, is a layer that can be part of other models. If several nodes read one array,
    their gradients are added.

    Parameters
    ----------
    inputs : dict of str to tuple of int
        Shape of one sample of each input.
    nodes : dict of str to tuple of (Layer, str or tuple of str)
        Layer of each node, and what it reads; in any order.
    outputs : str or tuple of str
        Nodes whose values are the model's outputs.
    dtype : {numpy.float64, numpy.float32}
        Dtype of the parameters and the outputs.
    seed : int or numpy.random.Generator, optional
        Source of the parameters' first values. The same seed gives the same bytes.
    ties : dict of str to str, optional
        Parameters that share the value of another one; see `Sequential`.
    name : str, optional
        Name of the model.

    Attributes
    ----------
    reads : dict of str to tuple of str
        Names that each node reads, in the order of the argument ``nodes``.
    order : tuple of str
        Nodes in the order of the forward pass.
    input_shape, output_shape : tuple of int, or dict of str to tuple of int
        Shape of one sample; by name if there are several inputs or outputs.
    input_dtype : numpy.dtype, or dict of str to numpy.dtype
        Dtype that inputs are cast to; by name if there are several.

    Raises
    ------
    ArgumentError
        If a name is unknown, unused or taken twice, if nodes form a cycle, or if a layer is part
        of a model already.
    ShapeError
        If a layer does not take the shape that it reads.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Concatenate, Dense, Graph, ReLU
    >>> model = Graph(
    ...     {"image": (4,), "place": (2,)},
    ...     {
    ...         "seen": (Dense(4, 3, ReLU()), "image"),
    ...         "both": (Concatenate(), ("seen", "place")),
    ...         "kind": (Dense(5, 2), "both"),
    ...         "size": (Dense(5, 1), "both"),
    ...     },
    ...     ("kind", "size"),
    ...     seed=0,
    ... )
    >>> y = model.predict({"image": np.ones((6, 4)), "place": np.ones((6, 2))})
    >>> y["kind"].shape, y["size"].shape
    ((6, 2), (6, 1))
    """

    def __init__(
        self,
        inputs: Mapping[str, Sequence[int | None]],
        nodes: Mapping[str, tuple[Layer, str | Sequence[str]]],
        outputs: str | Sequence[str],
        *,
        dtype: npt.DTypeLike = np.float64,
        seed: int | np.random.Generator | None = None,
        ties: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        self.dtype = check.floating_dtype(_WHERE, "dtype", dtype)
        self.seed = seed
        self.name = check.name(_WHERE, name)
        rng = check.generator(_WHERE, "seed", seed)
        self.ties = check_ties(_WHERE, ties)
        self.inputs = check_inputs(_WHERE, inputs)
        layers, self.reads = check_nodes(_WHERE, self.inputs, nodes, self.dtype)
        self.outputs = check_outputs(_WHERE, self.reads, outputs)
        self.order = sort_nodes(_WHERE, self.inputs, self.reads)
        self._done = last_reads(self.order, self.reads, self.outputs)
        check_use(_WHERE, self.inputs, self.reads, self.order, self.outputs)
        ordered = [layers[node] for node in self.order]
        self._assemble(_WHERE, ordered, partial(self._connect, _WHERE, ordered), rng)

    def _connect(self, where: str, layers: list[Layer]) -> None:
        """Build the layers in the order of the pass."""
        self._children = ()
        shapes: dict[str, Any] = dict(self.inputs)
        for name, layer in zip(self.order, layers, strict=True):
            own = tuple(shapes[read] for read in self.reads[name])
            shape: Any = own if isinstance(layer, Join) else own[0]
            if not layer.accepts(shape):
                got = check.Said(f"{layer!r}, which takes {layer.input_shape}")
                wanted = f"a layer that takes what it reads, of shape {shape}"
                check.fail(where, f"nodes[{name!r}]", wanted, got, error=ShapeError)
            shapes[name] = self.add_layer(layer, shape)
        named = dict(zip(self.order, layers, strict=True))
        check_integers(where, self.inputs, self.reads, named)
        self.input_shape = bare(self.inputs)
        self.output_shape = bare({name: shapes[name] for name in self.outputs})
        self.takes_integers = len(self.inputs) == 1 and all(
            dtype.kind == "i" for dtype in self.input_dtypes.values()
        )

    @property
    def layer_names(self) -> list[str]:
        """Names of the nodes, in the order of the forward pass."""
        return list(self.order[: len(self._children)])

    def _name_of_next(self, layer: Layer) -> str:
        return self.order[len(self._children)]

    @property
    def nodes(self) -> dict[str, tuple[Layer, str | tuple[str, ...]]]:
        """Layer of each node, and what it reads, in the order of the argument."""
        return {
            name: (self[name], reads if len(reads) > 1 else reads[0])
            for name, reads in self.reads.items()
        }

    def replace(
        self, name: str, layer: Layer, *, seed: int | np.random.Generator | None = None
    ) -> Layer:
        """Put a layer in the place of a node's; all others keep their parameters.

        An optimizer that was used on the model is for its old parameters: make another one.

        Parameters
        ----------
        name : str
            Node, which goes on to read what it has read.
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
            If there is no such node, the new layer is in use, or the old one has ties.
        ShapeError
            If the layer does not fit between what it reads and what reads it.
        StateError
            If the model is part of another one, or being trained. Nothing changes then.
        """
        where, leaving = "Graph.replace", self[name]
        rng = check.generator(where, "seed", seed)
        nodes = self.nodes | {name: (layer, self.nodes[name][1])}

        def connect() -> None:
            layers, _ = check_nodes(where, self.inputs, nodes, self.dtype)
            self._connect(where, [layers[node] for node in self.order])

        layers = [layer if own is leaving else own for own in self._children]
        self._reassemble(where, layers, leaving, connect, rng)
        return leaving

    @property
    def input_dtype(self) -> Any:
        """Dtype of the input; a dict by name if there are several."""
        return bare(self.input_dtypes)

    @property
    def input_dtypes(self) -> dict[str, np.dtype[Any]]:
        """Dtype of each input: the model's, or int64 where a layer takes integers."""
        dtypes = {}
        for name, layer in zip(self.order, self._children, strict=True):
            dtypes.update(dict.fromkeys(self.reads[name], layer.input_dtype))
        return {name: dtypes[name] for name in self.inputs}

    def compute_forward(self, x: Any, *, training: bool) -> tuple[Any, Any]:
        """Compute the outputs: a dict, or a bare array if there is one."""
        given = dict(x) if isinstance(x, Mapping) else {next(iter(self.inputs)): x}
        shapes = {name: array.shape for name, array in given.items()}
        caches: list[Any] = []
        for name, layer in zip(self.order, self._children, strict=True):
            given[name], cache = self._pass(name, layer, given, training=training)
            caches.append(cache if training else None)
            for own in () if training else self._done[name]:
                del given[own]  # nobody goes back through an evaluation: its memory is free
        return bare({name: given[name] for name in self.outputs}), (caches, shapes)

    def _pass(
        self, name: str, layer: Layer, values: dict[str, Any], *, training: bool
    ) -> tuple[Any, Any]:
        """Compute a node's output from what is known."""
        read: Any = tuple(values[own] for own in self.reads[name])
        try:
            read = read if isinstance(layer, Join) else read[0]
            return layer.compute_forward(read, training=training)
        except Exception as error:
            error.add_note(f"in node {name!r}, {layer!r}")
            raise

    def places(self) -> list[tuple[str, Layer]]:
        """List the nodes with the places that messages name; see `Model.places`."""
        return [(f"node {n!r}", node) for n, node in zip(self.order, self._children, strict=True)]

    def each_output(self, x: Any) -> Iterator[tuple[str, Layer, Array]]:
        """Compute the output of each node in evaluation; see `Model.each_output`.

        Yields
        ------
        place : str
            Place of the layer, such as ``"node 'both'"``.
        layer : Layer
            The layer.
        y : ndarray
            Its output.
        """
        values = dict(x) if isinstance(x, Mapping) else {next(iter(self.inputs)): x}
        for name, layer in zip(self.order, self._children, strict=True):
            values[name], _ = self._pass(name, layer, values, training=False)
            yield f"node {name!r}", layer, values[name]

    def compute_backward(
        self, dy: Any, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Compute the gradients of the inputs: a dict, or a bare array if there is one.

        The gradient of an input is None if no output's gradient reaches it.
        """
        caches, shapes = cache
        given = dy if isinstance(dy, Mapping) else {self.outputs[0]: dy}
        grads = {name: own for name, own in given.items() if own is not None}
        needed = self._needed(need_dx=need_dx, skip_frozen=skip_frozen)
        for name, layer in zip(reversed(self.order), reversed(self._children), strict=True):
            own, inner = grads.pop(name, None), caches.pop()
            if own is None:
                if name in needed:
                    clear_gradients(layer)
                else:
                    layer.release_workspace()
                continue
            reads = self.reads[name]
            is_read = not needed.isdisjoint(reads)
            dx: Any = go_back(layer, own, inner, need_dx=is_read, skip_frozen=skip_frozen)
            if not is_read:
                continue
            if not isinstance(layer, Join):
                dx = (dx,)
            elif not isinstance(dx, tuple) or len(dx) != len(reads):
                where = f"{type(layer).__name__}.compute_backward, in node {name!r}"
                check.fail(where, "dx", f"a tuple of {len(reads)}, one for each input", dx)
            for read, part in zip(reads, dx, strict=True):
                if part is not None:
                    # Not in place: two nodes may have been given the same array.
                    grads[read] = grads[read] + part if read in grads else part
        if self._tied:
            add_gradients(self._tied)
        if not need_dx:
            return None
        if len(self.inputs) == 1 and not grads and not self.takes_integers:
            return np.zeros(shapes[next(iter(self.inputs))], self.dtype)
        return bare({name: grads.get(name) for name in self.inputs})

    def _needed(self, *, need_dx: bool, skip_frozen: bool) -> set[str]:
        """Find the inputs and nodes whose gradients are needed, further back or by the caller."""
        needed = set(self.inputs) if need_dx else set()
        if not skip_frozen:
            return needed.union(self.order)
        for name, layer in zip(self.order, self._children, strict=True):
            if is_trained(layer) or not needed.isdisjoint(self.reads[name]):
                needed.add(name)
        return needed

    def _batch(self, where: str, x: Any) -> dict[str, Array]:
        return check_batch(where, x, self.inputs, self.input_dtypes)

    @ignoring("under")
    def forward(self, x: Any, training: bool = False) -> Any:
        """Compute the outputs of a batch.

        Parameters
        ----------
        x : dict of str to array_like of shape (batch_size, *input_shape)
            Inputs by name; a bare array if there is one.
        training : bool
            Whether to keep what `backward` needs.

        Returns
        -------
        dict of str to ndarray, or ndarray
            Outputs by name; a bare array if there is one.

        Raises
        ------
        ShapeError
            If an input has another shape, or another number of samples.
        """
        batch = self._batch(f"{type(self).__name__}.forward", x)
        for name, array in batch.items():
            batch[name] = array.copy() if training else array.view()
            batch[name].setflags(write=False)
        y, cache = self.compute_forward(batch, training=training)
        n_samples = len(next(iter(batch.values())))
        outputs: dict[str, Array] = {}
        computed = y if len(self.outputs) > 1 else {self.outputs[0]: y}
        for name, array in computed.items():
            layer = self[name]
            where = f"{type(layer).__name__}.compute_forward, in node {name!r}"
            shape = (n_samples, *(layer.output_shape or ()))
            check.computed(where, "y", array, shape, self.dtype)
            # The caller's to keep and to change: not a view of an input or another output.
            shared = any(
                np.may_share_memory(array, a) for a in (*batch.values(), *outputs.values())
            )
            outputs[name] = array.copy() if training or shared else array
        if training:
            shapes: Any = {name: array.shape for name, array in outputs.items()}
            self._cache = (cache, (), shapes)
        return bare(outputs)

    @ignoring("under")
    def backward(self, dy: Any) -> Any:
        """Carry gradients back through the last ``forward(x, training=True)``.

        Parameters
        ----------
        dy : dict of str to array_like of shape (batch_size, *output_shape)
            Gradients by output; a bare array if there is one.

        Returns
        -------
        dict of str to ndarray, or ndarray
            Gradients by input, None where there is none; a bare array if there is one input.

        Raises
        ------
        ShapeError
            If a gradient does not have its output's shape.
        StateError
            If no forward pass came before, or its backward pass is done already.
        """
        where = f"{type(self).__name__}.backward"
        cache, _, shapes = self._last_pass(where)
        grads = {}
        for name, argument, value in by_name(where, "dy", dy, shapes):
            grads[name] = check.numeric_array(where, argument, value, self.dtype)
            check.exact_shape(where, argument, grads[name], shapes[name])
        self._cache = None
        dx = self.compute_backward(grads, cache)
        taken = list(grads.values())
        own = dx if len(self.inputs) > 1 else {next(iter(self.inputs)): dx}
        for name, array in own.items():
            if array is not None:
                check.computed(where, f"dx[{name!r}]", array, cache[1][name], self.dtype)
                if any(np.may_share_memory(array, other) for other in taken):
                    own[name] = array.copy()
                taken.append(own[name])
        return bare(own)

    def predict(self, x: Any, batch_size: int | None = None) -> Any:
        """Compute the outputs; nothing in the model changes, so threads may share it.

        Parameters
        ----------
        x : dict of str to array_like of shape (n_samples, *input_shape)
            Inputs by name; a bare array if there is one.
        batch_size : int, optional
            Number of samples to compute at a time; by default as in `Model.predict`.

        Returns
        -------
        dict of str to ndarray, or ndarray
            Outputs by name; a bare array if there is one.

        Raises
        ------
        ShapeError
            If an input has another shape, or another number of samples.
        """
        where = f"{type(self).__name__}.predict"
        if batch_size is not None:
            batch_size = check.integer(where, "batch_size", batch_size, minimum=1)
        samples = {
            name: check.numeric_array(where, argument, value, None)
            for name, argument, value in by_name(where, "x", x, self.inputs)
        }
        n_samples = max(len(array) if array.ndim else 0 for array in samples.values())
        parts: list[dict[str, Array]] = []
        widths = tuple(width for array in samples.values() for width in array.shape[1:])
        spans = self._spans(batch_size, n_samples, widths)
        if len(spans) == 1:
            return self.forward(x)
        for span in spans:
            y = self.forward({name: array[span] for name, array in samples.items()})
            parts.append(y if len(self.outputs) > 1 else {self.outputs[0]: y})
        return bare({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def get_state(self) -> dict[str, Any]:
        """Return what training changes besides the parameters; see `Layer.get_state`."""
        return {name: value for name, value in super().get_state().items() if name not in _OWN}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments; see `Layer.get_config`."""
        return {
            "inputs": dict(self.inputs),
            "nodes": self.nodes,
            "outputs": self.outputs,
            "dtype": self.dtype,
            "seed": self.seed,
            **({"ties": dict(self.ties)} if self.ties else {}),
            "name": self.name,
        }

    def __getitem__(self, name: str) -> Layer:
        """Return the layer of a node."""
        if name not in self.reads:
            check.fail("Graph.__getitem__", "name", f"one of {listed(self.reads)}", name)
        return self._children[self.order.index(name)]

    def _table(self) -> list[tuple[str, ...]]:
        return drawn_table(super()._table(), self.inputs, self.reads)

    def __repr__(self) -> str:
        """Return the constructor call as text."""
        nodes = "".join(
            f"    {name!r}: ({layer!r}, {reads!r}),\n"
            for name, (layer, reads) in self.nodes.items()
        )
        rest = [f"dtype='{self.dtype}'"] if self.dtype != np.float64 else []
        rest += [f"seed={self.seed!r}"] if self.seed is not None else []
        rest += [f"ties={self.ties!r}"] if self.ties else []
        rest += [f"name={self.name!r}"] if self.name is not None else []
        return (
            f"Graph({self.inputs}, {{\n{nodes}" + ", ".join(["}", repr(self.outputs), *rest]) + ")"
        )


CLASSES["Graph"] = Graph
