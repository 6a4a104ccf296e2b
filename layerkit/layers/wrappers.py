"""Layers around others: a sum with the input, branches side by side, one layer for each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer
from layerkit.layers.joins import Concatenate, Join
from layerkit.layers.passes import go_back, go_back_through, go_forth

__all__ = ["Chain", "Parallel", "Residual", "TimeDistributed"]


class Chain(Layer):
    """Layers in a row, inside another layer.

    A branch of `Parallel`, or the layers of a subclass such as `Residual`. A whole model is a
    `Sequential`. A mask (see `Masked`) reaches each layer that takes one.

    Parameters
    ----------
    layers : Layer or sequence of Layer
        Layers, first to last.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If there is no layer, or something that is not one.
    ShapeError
        By `build`, if the shapes of neighbours don't fit.

    Examples
    --------
    >>> from layerkit import Chain, Dense, ReLU, Sequential
    >>> Sequential([Chain([Dense(3, 4, ReLU()), Dense(4, 2)])], seed=0).output_shape
    (2,)
    """

    def __init__(self, layers: Layer | Sequence[Layer], *, name: str | None = None) -> None:
        where = f"{type(self).__name__}.__init__"
        given = [layers] if isinstance(layers, Layer) else layers
        self.layers = check.instances(where, "layers", given, Layer)
        if not self.layers:
            check.fail(where, "layers", "at least one layer", check.Said("none"))
        self.name = check.name(where, name)
        self.input_shape = self.layers[0].input_shape
        self.takes_integers = self.layers[0].takes_integers

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether the first layer can be built for such samples."""
        if self.output_shape is None:
            return self.layers[0].accepts(input_shape)
        return super().accepts(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Add the layers, each on the output of the one before."""
        shape = input_shape
        for layer in self.layers:
            shape = self.add_layer(layer, shape)
        return shape

    @property
    def takes_mask(self) -> bool:
        """Whether one of the layers takes a mask."""
        return any(layer.takes_mask for layer in self.layers)

    def compute_forward(
        self, x: Array, *, training: bool, mask: Array | None = None
    ) -> tuple[Array, Any]:
        """Send a batch through the layers, first to last."""
        caches: list[Any] = []
        for layer in self.layers:
            x, cache = go_forth(layer, x, training=training, mask=mask)
            caches.append(cache if training else None)
        return x, caches

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Send a gradient through the layers, last to first."""
        return go_back_through(self.layers, dy, cache, need_dx=need_dx, skip_frozen=skip_frozen)


class Residual(Chain):
    """y = x + f(x), with layers f in a row: a residual block.

    Parameters
    ----------
    layers : Layer or sequence of Layer
        Layers, first to last, whose output has the shape of their input.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If there is no layer, something that is not one, or a first one that takes integers.
    ShapeError
        By `build`, if the shapes of neighbours don't fit, or the last gives another shape than
        the first takes.

    References
    ----------
    He et al. (2016), "Deep residual learning for image recognition", eq. 1.

    Examples
    --------
    >>> from layerkit import Dense, ReLU, Residual, Sequential
    >>> block = Residual([Dense(4, 8, ReLU()), Dense(8, 4)])
    >>> Sequential([block], seed=0).predict([[1, 2, 3, 4]]).shape
    (1, 4)
    """

    def build(self, input_shape: Shape) -> Shape:
        """Add the layers, whose output is to have the shape of the input."""
        shape = super().build(input_shape)
        if self.takes_integers:
            wanted = "layers that take floats, to which their output is added"
            got = check.Said(f"{self.layers[0]!r}, which takes integers")
            check.fail("Residual.build", "layers", wanted, got)
        if shape != input_shape:
            remedy = "End with a layer of that width, or use Parallel with a Dense beside."
            wanted = f"layers that give samples of shape {input_shape}, as they take"
            check.fail("Residual.build", "layers", wanted, shape, remedy, error=ShapeError)
        return shape

    def compute_forward(
        self, x: Array, *, training: bool, mask: Array | None = None
    ) -> tuple[Array, Any]:
        """Compute y = x + f(x)."""
        y, caches = super().compute_forward(x, training=training, mask=mask)
        check.exact_shape("Residual.compute_forward", "f(x)", y, x.shape)
        return x + y, caches

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Compute dx as the sum over both ways."""
        dx = super().compute_backward(dy, cache, need_dx=need_dx, skip_frozen=skip_frozen)
        return dy + dx if need_dx else None


class Parallel(Layer):
    """Branches side by side, which all read the input, and whose outputs are joined.

    Parameters
    ----------
    branches : sequence of (Layer or sequence of Layer)
        Branches, each a layer or some in a row.
    join : Join, optional
        Join of their outputs, by default `Concatenate` along the last axis.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If there are fewer than two branches, or something that is neither.
    ShapeError
        By `build`, if a branch can't take the input, or the join not the branches' outputs.

    References
    ----------
    Szegedy et al. (2015), "Going deeper with convolutions", figure 2.

    Examples
    --------
    >>> from layerkit import Add, Dense, Parallel, Sequential, Tanh
    >>> block = Parallel([Dense(3, 2), [Dense(3, 5, Tanh()), Dense(5, 2)]])
    >>> Sequential([block], seed=0).output_shape
    (4,)
    >>> block = Parallel([Dense(3, 2), [Dense(3, 5, Tanh()), Dense(5, 2)]], Add())
    >>> Sequential([block], seed=0).output_shape
    (2,)
    """

    def __init__(
        self,
        branches: Sequence[Layer | Sequence[Layer]],
        join: Join | None = None,
        *,
        name: str | None = None,
    ) -> None:
        where = "Parallel.__init__"
        if not isinstance(branches, tuple | list) or len(branches) < 2:
            check.fail(where, "branches", "a list of at least two branches", branches)
        self.branches: list[Layer] = [
            branch if isinstance(branch, Layer) else Chain(branch) for branch in branches
        ]
        join = Concatenate() if join is None else join
        self.join = check.instance(where, "join", join, Join)
        self.name = check.name(where, name)
        known = (b.input_shape for b in self.branches if b.input_shape is not None)
        self.input_shape = next(known, None)

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether each branch can be built for such samples."""
        if self.output_shape is None:
            return all(branch.accepts(input_shape) for branch in self.branches)
        return super().accepts(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Add the branches, and their join."""
        shapes = tuple(self.add_layer(branch, input_shape) for branch in self.branches)
        return self.add_layer(self.join, shapes)

    @property
    def takes_mask(self) -> bool:
        """Whether one of the branches takes a mask."""
        return any(branch.takes_mask for branch in self.branches)

    def compute_forward(
        self, x: Array, *, training: bool, mask: Array | None = None
    ) -> tuple[Array, Any]:
        """Send a batch through each branch, and join the outputs."""
        passes = [go_forth(branch, x, training=training, mask=mask) for branch in self.branches]
        outputs = tuple(y for y, _ in passes)
        y, cache = self.join.compute_forward(outputs, training=training)
        return y, ([cache for _, cache in passes], cache)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Compute dx as the sum over the branches."""
        caches, joined = cache
        dx: Any = None
        parts = go_back(self.join, dy, joined, skip_frozen=skip_frozen)
        for branch, part, inner in zip(self.branches, parts, caches, strict=True):
            own = go_back(branch, part, inner, need_dx=need_dx, skip_frozen=skip_frozen)
            if need_dx:
                dx = own if dx is None else dx + own
        return dx


class TimeDistributed(Layer):
    """One layer for each step: (batch_size, time, …) is (batch_size · time, …) to the layer inside.

    `Dense` needs no such wrapper: it takes any axes before the last. A layer that counts samples,
    such as `BatchNorm`, counts steps in here: a batch of 1 has as many as there are.

    Parameters
    ----------
    layer : Layer
        Layer to apply to each step.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If ``layer`` is not one.
    ShapeError
        By `build`, if a sample has no axis of time, or the layer can't take its steps.

    Examples
    --------
    >>> from layerkit import Dense, Flatten, Sequential, TimeDistributed
    >>> frames = Sequential([TimeDistributed(Flatten())], input_shape=(7, 4, 4))
    >>> frames.output_shape
    (7, 16)
    """

    def __init__(self, layer: Layer, *, name: str | None = None) -> None:
        self.layer = check.instance("TimeDistributed.__init__", "layer", layer, Layer)
        self.name = check.name("TimeDistributed.__init__", name)

    def build(self, input_shape: Shape) -> Shape:
        """Add the layer, for samples of one step."""
        if not input_shape:
            wanted = "of at least one axis, that of time"
            check.fail(
                "TimeDistributed.build", "input_shape", wanted, input_shape, error=ShapeError
            )
        n_steps, *step = input_shape
        shape = self.add_layer(self.layer, tuple(step))
        for _, inner in self.layer.walk():
            inner.min_batch_size = -(-inner.min_batch_size // (n_steps or inner.min_batch_size))
        return (n_steps, *shape)

    def count_flops(self) -> int:
        """Count those of the layer inside, for each step; see `Layer.count_flops`."""
        return super().count_flops() * flat.count_numbers((self.input_shape or ())[:1])

    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Apply the layer to all steps at once."""
        y, cache = self.layer.compute_forward(x.reshape(-1, *x.shape[2:]), training=training)
        return y.reshape(*x.shape[:2], *y.shape[1:]), (cache, x.shape)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Go back through the layer, all steps at once."""
        inner, shape = cache
        rows = dy.reshape(-1, *dy.shape[2:])
        dx = go_back(self.layer, rows, inner, need_dx=need_dx, skip_frozen=skip_frozen)
        return dx.reshape(shape) if need_dx else None
