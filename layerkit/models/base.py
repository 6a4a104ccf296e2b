"""`Model`: a layer whose parameters lie in two flat vectors, and what all models can do."""

from __future__ import annotations

import copy
import importlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from layerkit._support import validation as check
from layerkit._support.numerics import ignoring
from layerkit._support.validation import Array, Shape
from layerkit.errors import StateError
from layerkit.layers.base import Layer
from layerkit.losses import Loss
from layerkit.models.assembled import AssembledLayer
from layerkit.models.chunks import FEW, samples_at_a_time
from layerkit.models.summary import figures, html_table, shorten, text_table
from layerkit.models.ties import find_ties

if TYPE_CHECKING:
    import numpy.typing as npt

    from layerkit.models.trace import LayerTrace

__all__ = ["Model"]


class Model(AssembledLayer):
    """Base class of the models: layers put together, and what can be done with the whole.

    A model is a layer itself, so models nest. All parameters lie in two contiguous vectors,
    ``model.values`` and ``model.grads``; each `Parameter` is a view into them. `Sequential`
    is a model of layers in a row, `Graph` one of named nodes.

    Attributes
    ----------
    seed : int, numpy.random.Generator or None
        Source of the parameters' first values.

    Examples
    --------
    >>> from layerkit import Dense, Model, Sequential
    >>> isinstance(Sequential([Dense(8, 3)]), Model)
    True
    """

    input_shape: Shape
    output_shape: Shape

    def _check_built(self, method: str) -> None:
        """Refuse a model that does not know the shape of its samples yet."""
        is_built = self.output_shape is not None
        if not is_built:
            where = f"{type(self).__name__}.{method}"
            remedy = "Write input_shape=(8,) for 8 features, or put the model into another one."
            check.fail(where, "input_shape", "known by then", None, remedy, error=StateError)

    @abstractmethod
    def compute_backward(self, dy: Any, cache: Any, *, need_dx: bool = True) -> Any:
        """Compute the gradients; dx too, unless nobody needs it."""

    @property
    def row(self) -> tuple[Layer, ...] | None:
        """Layers whose passes, one after the other, are the model's own; None if it has others."""
        return None

    @abstractmethod
    def places(self) -> list[tuple[str, Layer]]:
        """List the layers in the order of the pass, with the places that messages name.

        Returns
        -------
        list of tuple of str and Layer
            Such as ``("layers[0]", layer)``.
        """

    @abstractmethod
    def each_output(self, x: Any) -> Iterator[tuple[str, Layer, Array]]:
        """Compute the output of each layer in evaluation, which changes nothing.

        Parameters
        ----------
        x : ndarray of shape (batch_size, *input_shape), or a dict of such
            Batch of inputs.

        Yields
        ------
        place : str
            Place of the layer, such as ``"layers[0]"``.
        layer : Layer
            The layer.
        y : ndarray
            Its output.
        """

    def check_layers(self, x: Any) -> None:
        """Send a batch through, and refuse a layer whose output breaks its own promise.

        Parameters
        ----------
        x : ndarray of shape (batch_size, *input_shape), or a dict of such
            Batch of inputs.

        Raises
        ------
        LayerkitError
            If an output does not have the shape that the layer declared, or another dtype.
        """
        n_samples = len(next(iter(x.values())) if isinstance(x, Mapping) else x)
        # What overflows is no matter of shapes, and has errors of its own.
        with np.errstate(all="ignore"):
            for place, layer, y in self.each_output(x):
                where = f"{type(layer).__name__}.compute_forward, in {place}"
                shape = (n_samples, *(layer.output_shape or ()))
                check.computed(where, "y", y, shape, layer.dtype)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, first to last."""
        return self._children

    def predict(self, x: Any, batch_size: int | None = None) -> Array:
        """Compute the outputs; nothing in the model changes, so threads may share it.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape)
            The inputs; cast to the model's dtype.
        batch_size : int, optional
            Number of samples to compute at a time; by default as many as take some 64 MiB, or
            all, if a layer mixes samples. The outputs are those of all at once up to rounding;
            by default to the last bit, if the matrix products are of millions of numbers and use
            one thread. With several, a few rows where they divide the work may differ.

        Returns
        -------
        ndarray of shape (n_samples, *output_shape)
            The outputs.

        Raises
        ------
        ShapeError
            If x has another shape.
        """
        self._check_built("predict")
        if batch_size is None and isinstance(x, np.ndarray) and x.shape[:1] <= (FEW,):
            return self.forward(x)
        where = f"{type(self).__name__}.predict"
        if batch_size is not None:
            batch_size = check.integer(where, "batch_size", batch_size, minimum=1)
        # Cast batch by batch: the data may be larger than memory.
        samples = check.numeric_array(where, "x", x, None)
        check.batch_shape(where, "x", samples.shape, self.input_shape)
        y: Array | None = None
        for span in self._spans(batch_size, len(samples), samples.shape[1:]):
            own = self.forward(samples[span])
            if y is None:  # only now are the lengths of open axes known
                y = np.empty((len(samples), *own.shape[1:]), self.dtype)
            y[span] = own
        return y  # type: ignore[return-value]

    def _spans(self, batch_size: int | None, n_samples: int, input_shape: Shape) -> list[slice]:
        """Cut samples into those to predict at a time."""
        size = batch_size
        if size is None and n_samples > FEW:
            size = samples_at_a_time(dict(self.walk()), input_shape)
        size = size or max(n_samples, 1)
        starts = list(range(0, max(n_samples, 1), size))
        if batch_size is None and len(starts) > 1:
            starts.pop()  # few samples would be multiplied in another order
        return [slice(a, b) for a, b in pairwise([*starts, n_samples])]

    def _batch(self, where: str, x: Any) -> Any:
        """Check a batch of inputs, and cast it."""
        return check.batch(where, "x", x, self.input_shape, self.input_dtype)

    @ignoring("under")
    def trace(self, x: Any, y_true: Any, loss: Loss) -> dict[str, LayerTrace]:
        """Return the arrays of each layer in a step of training, forward and back.

        Parameters
        ----------
        x : array_like of shape (batch_size, *input_shape)
            The inputs.
        y_true : array_like
            The targets, in the form that the loss takes.
        loss : Loss
            Loss function whose gradients are traced.

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
        self._check_built("trace")
        where = f"{type(self).__name__}.trace"
        batch, y_true = self._check_batch(where, x, y_true, loss)
        trace: Any = importlib.import_module("layerkit.models.trace")  # few programs need it
        traced: dict[str, LayerTrace] = trace.trace_layers(self, Model, batch, y_true, loss)
        return traced

    @ignoring("under")
    def per_sample_gradients(self, x: Any, y_true: Any, loss: Loss) -> Array:
        """Return the gradient of each sample's own loss.

        Parameters
        ----------
        x : array_like of shape (n_samples, *input_shape)
            Inputs.
        y_true : array_like
            Targets, in the form that the loss takes.
        loss : Loss
            Loss function. The mean of the rows is its gradient over all samples.

        Returns
        -------
        ndarray of shape (n_samples, n_parameters)
            Gradients, a sample a row, each in the order of `grads`. The model stays as it is.

        Raises
        ------
        ArgumentError
            If the inputs or the targets can't be used, or a layer mixes the samples of a batch.

        Examples
        --------
        >>> import numpy as np
        >>> from layerkit import Dense, HalfSquaredError, Sequential
        >>> model = Sequential([Dense(2, 1)], seed=0)
        >>> x, y = np.ones((5, 2)), np.zeros((5, 1))
        >>> model.per_sample_gradients(x, y, HalfSquaredError()).shape
        (5, 3)
        """
        self._check_built("per_sample_gradients")
        where = f"{type(self).__name__}.per_sample_gradients"
        batch, y_true = self._check_batch(where, x, y_true, loss)
        module: Any = importlib.import_module("layerkit.models.per_sample")  # few programs need it
        gradients: Array = module.per_sample_gradients(where, self, batch, y_true, loss)
        return gradients

    def _check_batch(self, where: str, x: Any, y_true: Any, loss: Loss) -> tuple[Any, Any]:
        """Check a batch and its targets, and cast both to what the model and the loss take."""
        check.instance(where, "loss", loss, Loss)
        batch = self._batch(where, x)
        if not loss.takes_targets:
            return batch, None
        dtype: Any = loss.target_dtype(self.dtype)
        array = next(iter(batch.values())) if isinstance(batch, Mapping) else batch
        if isinstance(y_true, Mapping):
            y_true = {n: check.numeric_array(where, repr(n), y, None) for n, y in y_true.items()}
            loss.check_targets(where, y_true, self.output_shape)
            return batch, {n: y.astype(dtype[n], copy=False) for n, y in y_true.items()}
        y_true = check.numeric_array(where, "y_true", y_true, None)
        check.predictions(where, np.empty((len(array), 1)), y_true)
        loss.check_targets(where, y_true, self.output_shape)
        return batch, y_true.astype(dtype, copy=False)

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Copy the model, with parameters of another dtype.

        Parameters
        ----------
        dtype : {numpy.float64, numpy.float32}
            Dtype of the copy.

        Returns
        -------
        Model
            The copy.

        Raises
        ------
        ArgumentError
            If the dtype is another one.
        """
        self._check_built("astype")
        taken = check.floating_dtype(f"{type(self).__name__}.astype", "dtype", dtype)
        model = copy.deepcopy(self)
        model.dtype = taken
        model._pack({})
        return model

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs: the layers with their parameters, and no vectors."""
        state = super().__getstate__()
        for name in ("_known_vectors", "_flat_parameters", "_drawn", "_tied"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy: move the copied parameters into vectors of its own."""
        vars(self).update(state)
        for layer in self._children:
            layer.is_owned = True
        is_built = self.output_shape is not None
        if is_built:
            self._bind_ties(find_ties(type(self).__name__, self, self.ties))
            self._pack({})

    def __len__(self) -> int:
        """Count the layers."""
        return len(self._children)

    def __iter__(self) -> Iterator[Layer]:
        """Go through the layers, first to last."""
        return iter(self._children)

    def summary(self) -> str:
        """Describe the layers in a table, as text: shapes, parameters, and what is trainable.

        Returns
        -------
        str
            A row for each layer, and one for the whole.

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
        for name, layer in zip(self.layer_names, self._children, strict=True):
            rows.append((name, shorten(repr(layer)), *figures(layer)))
        return [*rows, ("total", str(self.dtype), *figures(self))]

    def _repr_html_(self) -> str:
        """Show the summary as a table in a notebook."""
        return html_table(self._table())
