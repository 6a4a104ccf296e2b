"""Wiring of a graph: the order of its nodes, and arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer
from layerkit.layers.joins import Join

Reads = Mapping[str, tuple[str, ...]]


def sort_nodes(where: str, inputs: Mapping[str, Any], reads: Reads) -> tuple[str, ...]:
    """Sort the nodes so that each comes after those that it reads."""
    done, waiting = set(inputs), dict(reads)
    order: list[str] = []
    while waiting:
        ready = next((name for name in waiting if done.issuperset(waiting[name])), None)
        if ready is None:
            _refuse_cycle(where, waiting, done)
        order.append(ready)
        done.add(ready)
        del waiting[ready]
    return tuple(order)


def _refuse_cycle(where: str, waiting: dict[str, tuple[str, ...]], done: set[str]) -> NoReturn:
    path = [next(iter(waiting))]
    while path[-1] not in path[:-1]:
        path.append(next(read for read in waiting[path[-1]] if read not in done))
    cycle = path[path.index(path[-1]) :]
    got = check.Said(" reads ".join(map(repr, cycle)))
    check.fail(where, "nodes", "without a cycle", got, "Take one of these readings out.")


def check_use(
    where: str,
    inputs: Mapping[str, Any],
    reads: Reads,
    order: tuple[str, ...],
    outputs: tuple[str, ...],
) -> None:
    """Refuse inputs and nodes that no output depends on."""
    used = set(outputs)
    for name in reversed(order):
        if name in used:
            used.update(reads[name])
    for argument, names, remedy in (
        ("inputs", inputs, "Leave it out."),
        ("nodes", reads, "Leave it out, or name it among the outputs."),
    ):
        unused = [name for name in names if name not in used]
        if unused:
            got = check.Said(f"{listed(unused)}, which no output depends on")
            check.fail(where, argument, "in use", got, remedy)


def check_inputs(where: str, inputs: Any) -> dict[str, Shape]:
    """Check the names and the shapes of the inputs."""
    _check_names(where, "inputs", inputs)
    return {
        name: check.sample_shape(where, f"inputs[{name!r}]", shape)
        for name, shape in inputs.items()
    }


def _check_names(where: str, argument: str, named: Any) -> None:
    if not isinstance(named, Mapping) or not named:
        check.fail(where, argument, "a dict of at least one name", named)
    for name in named:
        if not isinstance(name, str) or not name or "." in name:
            check.fail(where, argument, "named by texts without a dot", name)


def check_nodes(
    where: str, inputs: Mapping[str, Shape], nodes: Any, dtype: np.dtype[Any]
) -> tuple[dict[str, Layer], dict[str, tuple[str, ...]]]:
    """Check each node by itself, and return the layers, and what they read."""
    _check_names(where, "nodes", nodes)
    layers: dict[str, Layer] = {}
    reads: dict[str, tuple[str, ...]] = {}
    known = {*inputs, *nodes}
    for name, node in nodes.items():
        place = f"nodes[{name!r}]"
        if not isinstance(node, tuple | list) or len(node) != 2:
            wanted = "a layer and what it reads, such as (Dense(3, 2), 'x')"
            check.fail(where, place, wanted, node)
        layer = check.instance(where, place, node[0], Layer)
        own = (node[1],) if isinstance(node[1], str) else node[1]
        if not isinstance(own, tuple | list) or not own:
            check.fail(where, place, "a layer and the names that it reads", node)
        if name in inputs:
            got = check.Said(f"{name!r} for an input and a node")
            check.fail(where, "nodes", "of names that are not taken", got, "Rename one of them.")
        check_layer(where, place, layer, layers, dtype)
        check_alone(where, place, layer)
        for read in own:
            if not isinstance(read, str) or read not in known:
                got = check.Said(f"{read!r}, which is neither an input nor a node")
                check.fail(where, place, f"one that reads {listed(known - {name})}", got)
        if len(own) > 1 and not isinstance(layer, Join):
            got = check.Said(f"{layer!r}, which reads {listed(own)}")
            remedy = "Join them first, with Concatenate() or another Join."
            check.fail(where, place, "a Join, if it reads several", got, remedy)
        layers[name], reads[name] = layer, tuple(own)
    return layers, reads


def check_alone(where: str, place: str, layer: Layer) -> None:
    """Refuse a graph of several inputs or outputs where a layer is to be."""
    shapes: tuple[Any, ...] = layer.input_shape, layer.output_shape
    if any(isinstance(shape, Mapping) for shape in shapes):
        wanted = "a graph of one input and one output, as a part of another"
        check.fail(where, place, wanted, layer, "Write its nodes into a graph of all.")


def check_layer(
    where: str, argument: str, layer: Layer, before: Mapping[str, Layer], dtype: np.dtype[Any]
) -> None:
    """Refuse a layer that is in use already, or of another dtype."""
    twin = next((own for own, other in before.items() if other is layer), None)
    if layer.is_owned or twin is not None:
        said = f"nodes[{twin!r}] again" if twin else "part of a model already"
        remedy = "Use copy.deepcopy(layer), which has parameters of its own."
        got = check.Said(f"{layer!r}, which is {said}")
        check.fail(where, argument, "a layer of this model alone", got, remedy)
    if layer.output_shape is not None and layer.dtype != dtype:
        got = check.Said(f"{layer!r}, of {layer.dtype}")
        remedy = f"Pass dtype=numpy.{layer.dtype}, or convert it: astype."
        check.fail(where, argument, f"of dtype {dtype}", got, remedy)


def check_outputs(where: str, reads: Reads, outputs: Any) -> tuple[str, ...]:
    """Check for the name of a node, or several of them, and return them."""
    if isinstance(outputs, str):
        outputs = (outputs,)
    if not isinstance(outputs, tuple | list):
        check.fail(where, "outputs", "the name of a node, or a tuple of them", outputs)
    if not outputs:
        check.fail(where, "outputs", "at least one node", check.Said("none"))
    for index, name in enumerate(outputs):
        if not isinstance(name, str) or name not in reads:
            check.fail(where, "outputs", f"among the nodes, {listed(reads)}", name)
        if name in outputs[:index]:
            got = check.Said(f"{name!r} twice")
            check.fail(where, "outputs", "of different names", got)
    return tuple(outputs)


def check_integers(
    where: str, inputs: Mapping[str, Any], reads: Reads, layers: Mapping[str, Layer]
) -> None:
    """Refuse layers of integers that read floats, also from an input that both kinds read."""
    kinds: dict[str, bool] = {}
    for name, layer in layers.items():
        for read in reads[name]:
            if layer.takes_integers and read not in inputs:
                got = check.Said(f"{layer!r}, which reads the floats of {read!r}")
                wanted = "one that reads an input, if it takes integers"
                check.fail(where, f"nodes[{name!r}]", wanted, got)
            if read in inputs and kinds.setdefault(read, layer.takes_integers) != (
                layer.takes_integers
            ):
                got = check.Said("nodes of both kinds")
                wanted = "read by layers of integers alone, or of floats alone"
                remedy = "Add another input, and pass the array to both."
                check.fail(where, f"inputs[{read!r}]", wanted, got, remedy)


def last_reads(
    order: tuple[str, ...], reads: Mapping[str, tuple[str, ...]], outputs: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Find the arrays that each node is the last to read, and that are no outputs."""
    kept, done = set(outputs), {}
    for name in reversed(order):
        done[name] = tuple(own for own in dict.fromkeys(reads[name]) if own not in kept)
        kept.update(reads[name])
    return done


def bare(arrays: dict[str, Any]) -> Any:
    """Return the only array of a dict, or the dict if there are several."""
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def listed(names: Any) -> str:
    """List names for a message."""
    return ", ".join(map(repr, sorted(names) if isinstance(names, set) else names))


def by_name(where: str, argument: str, given: Any, names: Any) -> list[tuple[str, str, Any]]:
    """Pair arrays with their names: of a dict, or of a bare array for the only name."""
    if not isinstance(given, Mapping):
        if len(names) > 1:
            wanted = f"a dict of arrays for {listed(names)}"
            check.fail(where, argument, wanted, given)
        return [(next(iter(names)), argument, given)]
    if set(given) != set(names):
        got = check.Said(f"one for {listed(given)}" if given else "an empty one")
        check.fail(where, argument, f"a dict of arrays for {listed(names)}", got)
    return [(name, f"{argument}[{name!r}]", given[name]) for name in names]


def clear_gradients(layer: Layer) -> None:
    """Write zero gradients into a layer that no gradient reaches."""
    for _, inner in layer.walk():
        for parameter in inner.own_parameters.values():  # those that are tied, too
            parameter.grad[...] = 0
    layer.forget_workspace()


def check_batch(
    where: str, x: Any, inputs: Mapping[str, Shape], dtypes: Mapping[str, np.dtype[Any]]
) -> dict[str, Array]:
    """Check the inputs: each of its shape, with as many samples as the others."""
    arrays = {
        name: check.batch(where, argument, value, inputs[name], dtypes[name])
        for name, argument, value in by_name(where, "x", x, inputs)
    }
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        wanted = "of the same number of samples in each input"
        check.fail(where, "x", wanted, check.Said(str(sizes)), error=ShapeError)
    return arrays
