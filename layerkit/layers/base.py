"""`Layer`: what a model is a chain of.

A subclass writes two pure functions and, if it has parameters, `build`; this base keeps the
state (parameters, the cache between forward and backward) and checks what goes in and out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from layerkit import parameters as flat
from layerkit._support import validation as check
from layerkit._support.signatures import takes
from layerkit._support.state_checks import is_ours
from layerkit._support.validation import Array, Shape
from layerkit.errors import ShapeError
from layerkit.initializers import Initializer
from layerkit.layers.checked import CheckedPasses
from layerkit.layers.stateful import Workspace
from layerkit.parameters import Parameter

__all__ = ["Layer", "Workspace"]


class Layer(CheckedPasses, ABC):
    """Base of the layers: a subclass writes `compute_forward` and `compute_backward`.

    Its ``__init__`` only keeps arguments (``super().__init__()`` is not needed); `build`
    declares the parameters, if there are any.

    Attributes
    ----------
    name : str or None
        Name of the layer, in messages and for ``model["name"]``.
    input_shape, output_shape : tuple of int or None
        Shapes of one sample before and after, None for an axis whose length may differ from
        batch to batch. A layer that knows its ``input_shape`` sets it in ``__init__``; otherwise
        both are known once it is part of a model.
    dtype : numpy.dtype
        The model's: float64 or float32.
    takes_integers : bool
        Tag that a class sets to True: x arrives as int64 whatever the model's dtype, so that no
        number is rounded, and `compute_backward` returns None. Only the first layer of a model
        can be one: what other layers give are floats.
    mixes_samples, is_random : bool
        Tags that a class sets to True: a sample's output depends on the others in its batch;
        training draws random numbers, from a Generator kept in an attribute.
    keeps_statistics : bool
        Tag that a class sets to True: evaluation uses statistics of training's inputs, kept in its
        state, and `compute_statistics` computes them again; not those of a layer that is frozen.
    rng : numpy.random.Generator or None
        For a layer that ``is_random``: where it leaves this at None, the model gives it a child
        of its own generator, with a stream apart from all others.
    min_batch_size : int
        The fewest samples that the layer can be trained on at a time.
    is_owned : bool
        Whether the layer is part of a model or of another layer.
    has_learned_shape : bool
        Whether ``input_shape`` comes from the model, and not from the layer's own arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Constant, Layer, Sequential
    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_parameter("factor", input_shape, Constant(2.0))
    ...         return input_shape
    ...     def compute_forward(self, x, *, training):
    ...         return x * self.factor.value, x
    ...     def compute_backward(self, dy, cache):
    ...         self.factor.grad = (dy * cache).sum(axis=0)
    ...         return dy * self.factor.value
    >>> Sequential([Scale()], input_shape=(2,)).predict([[1, 3]])
    array([[2., 6.]])
    """

    # Defaults of the class, so that a subclass owes no super().__init__().
    name: str | None = None
    takes_need_dx: bool = False
    takes_skip_frozen: bool = False
    mixes_samples: bool = False
    keeps_statistics: bool = False
    is_random: bool = False
    rng: np.random.Generator | None = None
    min_batch_size: int = 1
    _own_parameters: Mapping[str, Parameter] = MappingProxyType({})
    _children: tuple[Layer, ...] = ()
    _is_frozen: bool = False
    is_owned: bool = False
    has_learned_shape: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read what `compute_backward` takes besides; one that is overridden may not."""
        super().__init_subclass__(**kwargs)
        cls.takes_need_dx = takes(cls.compute_backward, "need_dx")
        cls.takes_skip_frozen = takes(cls.compute_backward, "skip_frozen")

    def build(self, input_shape: Shape) -> Shape:
        """Declare the parameters (`add_parameter`), and return the shape of one sample's output.

        Called once, when the layer becomes part of a model.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample, without the batch axis; None for an axis that is open.

        Returns
        -------
        tuple of int
            Shape of one sample's output; an axis may be open if one of ``input_shape`` is.
        """
        return input_shape

    def accepts(self, input_shape: Shape) -> bool:
        """Return whether samples may have this shape: the layer's own, or any if it has none.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample; None for an axis that is open.

        Returns
        -------
        bool
            Whether the layer can be built for such samples.
        """
        return self.input_shape is None or check.fits(input_shape, self.input_shape)

    @property
    def takes_mask(self) -> bool:
        """Whether `compute_forward` takes a ``mask`` too, as `Masked` hands it over."""
        return takes(type(self).compute_forward, "mask")

    @abstractmethod
    def compute_forward(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Compute y of shape (batch_size, *output_shape) and a cache for `compute_backward`.

        It may be called several times before `compute_backward` is, with the cache of each once.
        A layer of sequences may take ``mask=None`` too; see `Masked`.

        Parameters
        ----------
        x : ndarray of shape (batch_size, *input_shape)
            Inputs; not to be changed.
        training : bool
            Whether a backward pass may follow. If not, nothing of the layer is to be changed:
            many threads may be here at once.

        Returns
        -------
        y : ndarray of shape (batch_size, *output_shape)
            Outputs, in the layer's dtype.
        cache : object
            Whatever `compute_backward` needs of this pass.
        """

    @abstractmethod
    def compute_backward(self, dy: Array, cache: Any) -> Any:
        """Compute dx, and overwrite each parameter's ``grad`` with its sum over the batch.

        A method that takes ``need_dx=True`` too may return None when it is False: nobody reads dx
        before the first layer of a model in training. One that takes ``skip_frozen=False`` may
        leave out, when it is True, the gradients of parameters that are not trainable. A layer
        around others calls them by `go_back`, which passes both on. A layer that calls one inside
        it twice in a step adds the gradients itself: each call overwrites what the one before has
        written.

        Parameters
        ----------
        dy : ndarray of shape (batch_size, *output_shape)
            Gradient with respect to y; not to be changed.
        cache : object
            Cache of the forward pass.

        Returns
        -------
        ndarray of shape (batch_size, *input_shape), or None
            Gradient with respect to x; None for a layer that takes integers.
        """

    def compute_sample_gradients(self, dy: Array, cache: Any) -> tuple[Any, dict[str, Array]]:
        """Compute dx, and the gradient of each sample alone for each of the layer's parameters.

        A layer may offer it, so that `Model.per_sample_gradients` takes one pass. A subclass that
        changes a pass offers its own or none.

        Parameters
        ----------
        dy : ndarray of shape (batch_size, *output_shape)
            Gradient with respect to y.
        cache : object
            Cache of a forward pass of training.

        Returns
        -------
        dx : ndarray of shape (batch_size, *input_shape), or None
            Gradient with respect to x.
        gradients : dict of str to ndarray of shape (batch_size, *shape)
            Gradients by the parameters' names.

        Raises
        ------
        NotImplementedError
            If the layer does not offer it.
        """
        raise NotImplementedError

    def count_flops(self) -> int:
        """Count the floating-point operations of a forward pass of one sample.

        Those of products of matrices and of convolutions, 2 for each pair of numbers that is
        multiplied and added; elementwise operations take less time, and are left out. An axis that
        is open counts as 1 place. A backward pass takes about twice as many.

        Returns
        -------
        int
            Number of operations; unless overridden, the sum over the layers inside.

        Raises
        ------
        StateError
            If the layer is not part of a model yet.

        Examples
        --------
        >>> from layerkit import Dense, Sequential
        >>> Sequential([Dense(8, 3), Dense(3, 8)]).count_flops()
        96
        """
        self._check_built("count_flops")
        return sum(child.count_flops() for child in self._children)

    def count_outputs(self) -> int:
        """Count the numbers that the layer and those inside it give for one sample.

        Returns
        -------
        int
            Number of numbers, of which training keeps most for the way back; an axis that is open
            counts as 1 place.

        Raises
        ------
        StateError
            If the layer is not part of a model yet.
        """
        self._check_built("count_outputs")
        own = flat.count_numbers(self.output_shape or ())
        return own + sum(child.count_outputs() for child in self._children)

    def compute_statistics(self, batches: Iterable[Array]) -> None:
        """Set the statistics that the layer keeps to those of all these inputs together.

        For a layer that has the tag ``keeps_statistics``; `Model.update_statistics` calls it. It
        changes the state (see `get_state`), and no parameter.

        Parameters
        ----------
        batches : iterable of ndarray of shape (batch_size, *input_shape)
            Inputs, to go through once: all samples, in batches of any sizes.

        Raises
        ------
        NotImplementedError
            If the layer keeps none.
        """
        raise NotImplementedError

    def add_parameter(
        self, name: str, shape: Shape, initializer: Initializer, *, trainable: bool = True
    ) -> Parameter:
        """Declare a parameter, for use in `build`; it has a value once a model is built.

        Parameters
        ----------
        name : str
            Name of the parameter, such as ``"kernel"``.
        shape : tuple of int
            Shape of its value.
        initializer : Initializer
            Initializer that draws its first value.
        trainable : bool
            Whether training changes it.

        Returns
        -------
        Parameter
            The parameter, to keep as an attribute.

        Raises
        ------
        ArgumentError
            If the name is taken, or an argument is of the wrong kind.
        ShapeError
            If the shape has an open axis.
        """
        where = f"{type(self).__name__}.add_parameter"
        taken = {*self._own_parameters, *self.layer_names}
        if not isinstance(name, str) or not name or name in taken:
            check.fail(where, "name", "a name that the layer does not have yet", name)
        if None in shape:
            remedy = "A parameter's size can't depend on an axis whose length differs."
            check.fail(where, "shape", "without an open axis", shape, remedy, error=ShapeError)
        shape = tuple(check.integer(where, "shape", width, minimum=1) for width in shape)
        check.instance(where, "initializer", initializer, Initializer)
        parameter = Parameter(name, shape, initializer, trainable=trainable)
        self._own_parameters = {**self._own_parameters, name: parameter}
        return parameter

    def add_layer(self, layer: Layer, input_shape: Shape) -> Shape:
        """Add a layer inside this one, for use in `build`, and return the shape of its output.

        Its parameters become this layer's too. `compute_forward` and `compute_backward` of a
        wrapping layer call those of the layers inside.

        Parameters
        ----------
        layer : Layer
            Layer that is part of no other.
        input_shape : tuple of int
            Shape of one sample of its input.

        Returns
        -------
        tuple of int
            Shape of one sample of its output.

        Raises
        ------
        ArgumentError
            If it is no layer, part of another one already, or of a name that is taken.
        ShapeError
            If it does not take inputs of this shape.
        """
        where = f"{type(self).__name__}.add_layer"
        check.instance(where, "layer", layer, Layer)
        if layer.is_owned:
            remedy = "Use copy.deepcopy(layer), which has parameters of its own."
            got = check.Said(f"{layer!r}, which is in one already")
            check.fail(where, "layer", "in no other model", got, remedy)
        name = self._name_of_next(layer)
        if name in {*self._own_parameters, *self.layer_names}:
            remedy = "Pass it another name."
            got = check.Said(f"{layer!r}, called {name!r}")
            check.fail(where, "layer", "of a name that is not taken", got, remedy)
        if not layer.accepts(input_shape):
            got = check.Said(f"{layer!r}, which takes {layer.input_shape}")
            expectation = f"a layer that takes inputs of shape {input_shape}"
            check.fail(where, "layer", expectation, got, error=ShapeError)
        shape = layer.input_shape
        if layer.output_shape is None or not check.fits(input_shape, shape or ()):
            built = f"{type(layer).__name__}.build"
            before = dict(vars(layer))
            layer.output_shape = check.sample_shape(built, "output_shape", layer.build(input_shape))
            if is_ours(type(layer)):  # a caller vouches for the classes that they name
                flat.check_growth(built, input_shape, layer.output_shape)
            layer.note_built(before)
            layer.has_learned_shape = layer.input_shape != input_shape
            layer.input_shape = input_shape
        layer.is_owned = True
        self._children = (*self._children, layer)
        return layer.output_shape

    def _name_of_next(self, layer: Layer) -> str:
        """Return the name that a layer gets inside this one, if it is added now."""
        return layer.name or f"{type(layer).__name__.lower()}_{len(self._children)}"

    @property
    def children(self) -> tuple[Layer, ...]:
        """The layers inside, in the order they were added."""
        return self._children

    @property
    def own_parameters(self) -> Mapping[str, Parameter]:
        """The parameters that the layer itself declared, by name, in that order."""
        return self._own_parameters

    @property
    def parameters(self) -> list[Parameter]:
        """The layer's own parameters in the order they were declared, then those inside it.

        Without those that are tied: they are views of others.
        """
        inner = [parameter for child in self._children for parameter in child.parameters]
        return [p for p in self._own_parameters.values() if not p.is_tied] + inner

    def walk(self, name: str = "") -> Iterator[tuple[str, Layer]]:
        """Go through this layer and all inside it, each with its dotted name.

        Parameters
        ----------
        name : str
            Name of this layer, with which the others begin.

        Yields
        ------
        name : str
            Dotted name, such as ``"encoder.dense_0"``.
        layer : Layer
            The layer.
        """
        yield name, self
        prefix = f"{name}." if name else ""
        for inner, child in zip(self.layer_names, self._children, strict=True):
            yield from child.walk(prefix + inner)

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers inside: their own, or else their classes and places."""
        return [
            layer.name or f"{type(layer).__name__.lower()}_{index}"
            for index, layer in enumerate(self._children)
        ]

    def named_parameters(self) -> dict[str, Parameter]:
        """Return all parameters by name, in their order.

        Returns
        -------
        dict of str to Parameter
            Parameters by dotted name, such as ``"dense_0.kernel"``.
        """
        return {
            f"{path}.{name}".removeprefix("."): parameter
            for path, layer in self.walk()
            for name, parameter in layer._own_parameters.items()
            if not parameter.is_tied
        }

    @property
    def trainable(self) -> bool:
        """Whether training changes the layer: one of its parameters, or of those inside it.

        Setting it freezes all of them, or frees them but for those that the layer declared as not
        trainable. It may be set at any time, before the layer is built or by a callback, and
        counts from the next step on. For some of a model's parameters: `Model.freeze`.
        """
        parameters = [p for _, layer in self.walk() for p in layer.own_parameters.values()]
        return any(p.trainable for p in parameters) if parameters else not self._is_frozen

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        is_free = check.boolean(f"{type(self).__name__}.trainable", "trainable", trainable)
        for _, layer in self.walk():
            layer._is_frozen = not is_free
            for parameter in layer.own_parameters.values():
                parameter.trainable = is_free and not parameter.is_constant

    def note_built(self, before: Mapping[str, Any]) -> None:
        """Note the state that `build` has set, and freeze what was frozen before it was there."""
        super().note_built(before)
        if self._is_frozen:
            self.trainable = False

    def release_workspace(self) -> None:
        """Release the workspaces of the last pass, here and in the layers inside."""
        super().release_workspace()
        for child in self._children:
            child.release_workspace()

    def forget_workspace(self) -> None:
        """Drop the workspaces, here and in the layers inside."""
        super().forget_workspace()
        for child in self._children:
            child.forget_workspace()
