"""`PackedLayer`: the two flat vectors of a model, and its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.validation import Array
from layerkit.errors import ShapeError
from layerkit.models.selection import select_all
from layerkit.models.stored import StoredLayer
from layerkit.parameters import Parameter

__all__ = ["PackedLayer"]


class PackedLayer(StoredLayer):
    """A layer that owns the vectors in which its parameters lie; the base of `Model`."""

    _known_vectors: tuple[Array, Array] | None = None
    _flat_parameters: Sequence[Parameter] = ()

    def _pack(self, drawn: dict[Parameter, Array]) -> None:
        """Move all parameters into two vectors of the model's own."""
        self._flat_parameters = super().parameters
        self._known_vectors = None
        flat.pack(self._flat_parameters, self.dtype, drawn)
        self.forget_workspace()  # it may hold the arrays of where the parameters were
        for _, layer in self.walk():
            layer.dtype = self.dtype

    @property
    def parameters(self) -> list[Parameter]:
        """All parameters, layer by layer, each layer's in the order they were declared."""
        self._check_built("parameters")
        return [parameter for parameter in self._flat_parameters if not parameter.is_tied]

    @property
    def vectors(self) -> tuple[Array, Array]:
        """`values` and `grads`: the same two objects as long as the parameters stay in place."""
        parameters, known = self._flat_parameters, self._known_vectors
        if known is None or not flat.is_in_place(parameters, known):
            self._check_built("vectors")
            # A model around this one has taken the parameters into its own vectors.
            self._flat_parameters = parameters = self.parameters
            known = self._known_vectors = flat.flat_vectors(parameters, self.dtype)
        return known

    @property
    def values(self) -> Array:
        """All parameters in one vector; assigning copies into it, as ``parameter.value`` does."""
        return self.vectors[0]

    @values.setter
    def values(self, values: Any) -> None:
        flat.copy_into(self.values, values, f"{type(self).__name__}.values", "values")

    @property
    def grads(self) -> Array:
        """All gradients in one vector; assigning copies into it, as ``parameter.grad`` does."""
        return self.vectors[1]

    @grads.setter
    def grads(self, grads: Any) -> None:
        flat.copy_into(self.grads, grads, f"{type(self).__name__}.grads", "grads")

    def get_weights(self) -> list[Array]:
        """Copy all parameters, in order.

        Returns
        -------
        list of ndarray
            Values such as [kernel, bias, kernel, bias], in the order of `parameters`.
        """
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
        where = f"{type(self).__name__}.set_weights"
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

    def freeze(self, *names: str) -> list[str]:
        """Keep parameters as they are in training, from the next step on.

        What lies before the first layer that trains is not gone back through any more, and the
        gradients of frozen kernels are not computed. The compiled engine leaves such models to
        NumPy.

        Parameters
        ----------
        *names : str
            Dotted names of layers (all parameters in each) or of parameters, or patterns of such
            names, in which ``*`` stands for any text; none for all.

        Returns
        -------
        list of str
            Names of the parameters that are frozen now.

        Raises
        ------
        ArgumentError
            If a name is that of no layer and no parameter; then nothing changes.

        Examples
        --------
        >>> from layerkit import Dense, Sequential, Tanh
        >>> layers = [Dense(8, 3, Tanh(), name="encoder"), Dense(3, 8, name="decoder")]
        >>> model = Sequential(layers, seed=0)
        >>> model.freeze("encoder", "*.bias")
        ['encoder.kernel', 'encoder.bias', 'decoder.bias']
        >>> model.unfreeze("encoder")
        ['decoder.bias']
        """
        return self._set_trainable("freeze", names, is_free=False)

    def unfreeze(self, *names: str) -> list[str]:
        """Make parameters trainable again, but for what a layer declared as not trainable.

        Parameters
        ----------
        *names : str
            Names or patterns, as for `freeze`; none for all.

        Returns
        -------
        list of str
            Names of the parameters that are still frozen.

        Raises
        ------
        ArgumentError
            If a name is that of no layer and no parameter; then nothing changes.
        """
        return self._set_trainable("unfreeze", names, is_free=True)

    def _set_trainable(self, method: str, names: Sequence[str], *, is_free: bool) -> list[str]:
        self._check_built(method)
        where = f"{type(self).__name__}.{method}"
        for parameter in select_all(where, self, names).values():
            parameter.trainable = is_free and not parameter.is_constant
        return [name for name, p in self.named_parameters().items() if not p.trainable]
