"""Layers around recurrent ones: both directions, a state to begin with, one that is carried on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from layerkit._support import validation as check
from layerkit._support.state_checks import refuse
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.layers.base import Layer
from layerkit.layers.joins import Concatenate, Join
from layerkit.layers.masking import check_mask
from layerkit.layers.passes import go_back, go_forth
from layerkit.layers.recurrence import Recurrent

__all__ = ["Bidirectional", "Carried", "WithState"]


class Bidirectional(Layer):
    """A layer of sequences and a second of its kind that reads them from the end, joined.

    What the second one returns for each step is put back into the order of x. Padded steps (see
    `Masked`) are passed by both, so each begins with the real elements.

    Parameters
    ----------
    layer : Layer
        Layer of samples of shape (n_steps, …), such as `LSTM` or a `Chain` of them. The second is
        a copy, with first values of its own.
    join : Join, optional
        Join of both outputs, by default `Concatenate` along the last axis.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    layer, reverse : Layer
        The layer, and the one that reads from the end.

    Raises
    ------
    ArgumentError
        If ``layer`` is no layer, or is built already, or ``join`` is not a `Join`.
    ShapeError
        By `build`, if samples have no axis of time, or the layer can't take them.

    References
    ----------
    Schuster & Paliwal (1997), "Bidirectional recurrent neural networks", section II.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import LSTM, Add, Bidirectional, Sequential
    >>> Sequential([Bidirectional(LSTM(3, 4))], seed=0).output_shape
    (8,)
    >>> layer = Bidirectional(LSTM(3, 4, return_sequences=True), Add())
    >>> Sequential([layer], seed=0).predict(np.ones((2, 7, 3))).shape
    (2, 7, 4)
    """

    def __init__(self, layer: Layer, join: Join | None = None, *, name: str | None = None) -> None:
        where = "Bidirectional.__init__"
        self.layer = check.instance(where, "layer", layer, Layer)
        if layer.output_shape is not None:
            remedy = "Pass a fresh one: both directions draw first values of their own."
            got = check.Said(f"{layer!r}, which is part of a model")
            check.fail(where, "layer", "one that is not built yet", got, remedy)
        self.reverse = copy.deepcopy(layer)
        if layer.name is not None:
            self.reverse.name = f"{layer.name}_reverse"
        join = Concatenate() if join is None else join
        self.join = check.instance(where, "join", join, Join)
        self.name = check.name(where, name)
        self.input_shape = layer.input_shape

    @property
    def takes_mask(self) -> bool:
        """Whether the layer takes a mask."""
        return self.layer.takes_mask

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether the layer can be built for such samples."""
        if self.output_shape is None:
            return self.layer.accepts(input_shape)
        return super().accepts(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Add both layers, and their join."""
        if not input_shape:
            wanted = "of at least one axis, that of time"
            where = "Bidirectional.build"
            check.fail(where, "input_shape", wanted, input_shape, error=ShapeError)
        shapes = tuple(self.add_layer(layer, input_shape) for layer in (self.layer, self.reverse))
        return self.add_layer(self.join, shapes)

    @property
    def _has_steps(self) -> bool:
        """Whether the layer's output has the steps of its input."""
        before, after = self.layer.input_shape, self.layer.output_shape
        return bool(before and after) and len(before) == len(after)  # type: ignore[arg-type]

    def _turned(self, y: Array) -> Array:
        """Turn a sequence around, if it is one."""
        return y[:, ::-1] if self._has_steps else y

    def compute_forward(
        self, x: Array, *, training: bool, mask: Array | None = None
    ) -> tuple[Array, Any]:
        """Go through the steps in both directions, and join the outputs."""
        turned = None if mask is None else mask[:, ::-1]
        y, cache = go_forth(self.layer, x, training=training, mask=mask)
        other, other_cache = go_forth(self.reverse, x[:, ::-1], training=training, mask=turned)
        joined, join_cache = self.join.compute_forward((y, self._turned(other)), training=training)
        return joined, (cache, other_cache, join_cache)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Compute dx as the sum over both directions."""
        inner, other_inner, joined = cache
        own, other = self.join.compute_backward(dy, joined)
        options = {"need_dx": need_dx, "skip_frozen": skip_frozen}
        dx = go_back(self.layer, own, inner, **options)
        other_dx = go_back(self.reverse, self._turned(other), other_inner, **options)
        return dx + other_dx[:, ::-1] if need_dx else None


class WithState(Join):
    """A recurrent layer whose state to begin with is an input: (x, state), or (x, state, mask).

    The state is of shape (batch_size, n_state): h, and for `LSTM` h and c side by side, such as
    another layer returns with ``return_state``: an encoder hands on what it has read. Gradients go
    back to x and to the state.

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
        Recurrent layer.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Raises
    ------
    ArgumentError
        If ``layer`` is not recurrent or, by `build`, there are not two or three inputs; in a pass,
        if the mask has other numbers than 0 and 1.
    ShapeError
        By `build`, if the state or the mask has another shape than the layer needs.

    References
    ----------
    Sutskever et al. (2014), "Sequence to sequence learning with neural networks", section 2.

    Examples
    --------
    >>> from layerkit import LSTM, Graph, WithState
    >>> nodes = {
    ...     "read": (LSTM(3, 4, return_state=True), "source"),
    ...     "written": (WithState(LSTM(2, 4, return_sequences=True)), ("target", "read")),
    ... }
    >>> Graph({"source": (None, 3), "target": (None, 2)}, nodes, "written").output_shape
    (None, 4)
    """

    def __init__(self, layer: Recurrent, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.layer = check.instance("WithState.__init__", "layer", layer, Recurrent)

    def build(self, input_shapes: tuple[Shape, ...]) -> Shape:
        """Add the layer, for the first of the inputs."""
        where = "WithState.build"
        if len(input_shapes) not in (2, 3):
            got = check.Said(f"{len(input_shapes)} of them")
            check.fail(where, "input_shapes", "those of x, a state, and maybe a mask", got)
        shape, *others = input_shapes
        expected = [(self.layer.n_state,), shape[:1]][: len(others)]
        if others != expected:
            got = check.Said(", ".join(map(str, others)))
            wanted = " and ".join(map(str, expected))
            remedy = "A state comes from a layer with return_state=True and as many units."
            wanted = f"{wanted} behind that of x"
            check.fail(where, "input_shapes", wanted, got, remedy, error=ShapeError)
        return self.add_layer(self.layer, shape)

    def compute_forward(self, x: Any, *, training: bool) -> tuple[Array, Any]:
        """Go through the steps from the given state on."""
        sequence, state, *masks = x
        mask = masks[0] if masks else None
        if mask is not None:
            check_mask("WithState.compute_forward", mask, sequence.shape[:2])
        y, cache = self.layer.compute_forward(
            sequence, training=training, mask=mask, initial_state=state
        )
        return y, (cache, len(x))

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Compute dx and the gradient of the state; there is none for a mask."""
        inner, n_inputs = cache
        found = go_back(self.layer, dy, inner, need_dx=need_dx, skip_frozen=skip_frozen)
        dx, d_state = found if need_dx else (None, None)
        return (dx, d_state, None)[:n_inputs]


class Carried(Layer):
    """A recurrent layer that, in training, goes on from its state after the batch before.

    So long sequences are trained on piece by piece: sample i of a batch is the next piece of
    sample i of the batch before, and ``fit`` is not to shuffle. Gradients go back to the beginning
    of a piece and no further: truncated backpropagation through time. `reset_state` before what is
    not a continuation, such as at the beginning of an epoch.

    In evaluation the state is 0 to begin with, and changes nothing: predict whole sequences, or
    element by element with ``layer.step``.

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
        Recurrent layer.
    name : str, optional
        Name of the layer, in messages and for ``model["name"]``.

    Attributes
    ----------
    carried : tuple of ndarray
        The state after the last batch, of shape (batch_size, n_state); empty if there is none.

    Raises
    ------
    ArgumentError
        If ``layer`` is not recurrent.
    ShapeError
        In a pass of training, if the batch before had another number of samples.

    References
    ----------
    Williams & Peng (1990), "An efficient gradient-based algorithm for on-line training of
    recurrent network trajectories", section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import GRU, SGD, Carried, Dense, HalfSquaredError, LambdaCallback
    >>> from layerkit import Sequential, Trainer
    >>> carried = Carried(GRU(1, 4, return_sequences=True))
    >>> model = Sequential([carried, Dense(4, 1)], seed=0)
    >>> wave = np.sin(np.arange(101.0))
    >>> x, y = (part.reshape(1, 10, 10, 1) for part in (wave[:-1], wave[1:]))
    >>> reset = LambdaCallback(on_epoch_begin=lambda trainer: carried.reset_state())
    >>> trainer = Trainer(model, HalfSquaredError(), SGD(0.01), callbacks=[reset])
    >>> _ = trainer.fit(x[0], y[0], epochs=5, batch_size=1, shuffle=False)
    >>> carried.carried[0].shape
    (1, 4)
    """

    def __init__(self, layer: Recurrent, *, name: str | None = None) -> None:
        self.layer = check.instance("Carried.__init__", "layer", layer, Recurrent)
        self.name = check.name("Carried.__init__", name)
        self.carried: tuple[Array, ...] = ()
        self.input_shape = layer.input_shape

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether the layer can be built for such samples."""
        if self.output_shape is None:
            return self.layer.accepts(input_shape)
        return super().accepts(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        """Add the layer."""
        return self.add_layer(self.layer, input_shape)

    def reset_state(self) -> None:
        """Begin with a state of 0 again."""
        self.carried = ()

    def compute_forward(
        self, x: Array, *, training: bool, mask: Array | None = None
    ) -> tuple[Array, Any]:
        """Go through the steps; in training, from the state after the batch before."""
        if not training:
            return self.layer.compute_forward(x, training=False, mask=mask)
        before = self.carried[0] if self.carried else None
        if before is not None and len(before) != len(x):
            remedy = "Choose a batch_size that leaves no smaller batch, or call reset_state()."
            wanted = f"a batch of {len(before)} samples, as the one before, whose state goes on"
            got = check.Said(str(len(x)))
            check.fail("Carried.compute_forward", "x", wanted, got, remedy, error=ShapeError)
        y, cache = self.layer.compute_forward(x, training=True, mask=mask, initial_state=before)
        after = self.layer.last_state(cache)
        # An overflow ends the training with an error; the state stays good.
        if np.isfinite(after).all():
            self.carried = (after,)
        return y, (cache, before is not None)

    def compute_backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, skip_frozen: bool = False
    ) -> Any:
        """Compute dx; what came before the batch gets no gradient."""
        inner, is_given = cache
        found = go_back(self.layer, dy, inner, need_dx=need_dx, skip_frozen=skip_frozen)
        if not need_dx:
            return None
        return found[0] if is_given else found

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse a state that the layer can't have; see `Layer.check_state`."""
        super().check_state(state)
        if len(state.get("carried", ())) > 1:
            refuse("Carried.set_state", "carried", "one array, or none", state["carried"])
        for carried in state.get("carried", ()):
            width = self.layer.n_state
            is_state = isinstance(carried, np.ndarray) and carried.shape[1:] == (width,)
            if not (is_state and carried.dtype == self.dtype and np.isfinite(carried).all()):
                wanted = f"finite numbers of {self.dtype}, {width} a sample"
                refuse("Carried.set_state", "carried", wanted, carried)
