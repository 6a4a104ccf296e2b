"""`check_layer`: whether a layer keeps every promise that a layer makes."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from layerkit._support import validation
from layerkit._support.validation import Shape
from layerkit.layers.base import Layer
from layerkit.testing.layer_array_checks import (
    check_empty_batch,
    check_evaluation_equals_training,
    check_finite,
    check_float32,
    check_follows_reference,
    check_inputs_untouched,
    check_memory_layouts,
    check_new_batch_size,
    check_no_aliasing,
    check_output_shape,
    check_per_sample_equals_batch,
)
from layerkit.testing.layer_gradient_checks import (
    check_backward_is_linear,
    check_batch_gradient_is_the_sum,
    check_gradients,
    check_gradients_at_extremes,
    check_gradients_at_ties,
    check_overwrites_gradients,
    check_zero_cotangent,
)
from layerkit.testing.layer_length_checks import check_open_axes
from layerkit.testing.layer_state_checks import (
    check_backward_order,
    check_concurrent_predict,
    check_config_round_trip,
    check_deepcopy,
    check_evaluation_is_pure,
    check_instances_independent,
    check_pickle,
    check_save,
    check_training_steps,
    check_two_calls_in_a_step,
    check_weights_round_trip,
)
from layerkit.testing.layer_statistics_checks import check_statistics
from layerkit.testing.layer_subject import Inputs, Reference, Subject
from layerkit.testing.suite import Check, maker, run_checks

__all__ = ["check_layer", "layer_checks"]

_CHECKS = [
    check_gradients,
    check_gradients_at_extremes,
    check_gradients_at_ties,
    check_inputs_untouched,
    check_no_aliasing,
    check_overwrites_gradients,
    check_new_batch_size,
    check_open_axes,
    check_training_steps,
    check_two_calls_in_a_step,
    check_backward_order,
    check_evaluation_is_pure,
    check_evaluation_equals_training,
    check_instances_independent,
    check_per_sample_equals_batch,
    check_batch_gradient_is_the_sum,
    check_empty_batch,
    check_memory_layouts,
    check_float32,
    check_zero_cotangent,
    check_backward_is_linear,
    check_finite,
    check_deepcopy,
    check_pickle,
    check_output_shape,
    check_follows_reference,
    check_config_round_trip,
    check_weights_round_trip,
    check_save,
    check_statistics,
    check_concurrent_predict,
]
# What a layer's tags take out.
_OF_FIXED_LAYERS = {check_evaluation_equals_training, check_batch_gradient_is_the_sum}
_OF_SAMPLES = {
    check_per_sample_equals_batch,
    check_batch_gradient_is_the_sum,
    check_evaluation_equals_training,
}


def layer_checks(
    make: Layer | Callable[[], Layer],
    input_shape: Shape | None = None,
    *,
    inputs: Inputs | Any = None,
    reference: Reference | None = None,
    seed: int = 0,
) -> list[Check]:
    """List the checks that apply to a layer, to be run one by one.

    Parameters
    ----------
    make : Layer or callable
        A layer, of which copies are checked; or what makes a fresh one: ``lambda: MyLayer(4)``.
    input_shape : tuple of int, optional
        The shape of one sample; needed where neither the layer nor ``inputs`` has it. None for an
        axis that is open: then the layer is checked at several of its lengths.
    inputs : callable or array_like, optional
        Inputs of your own; see `check_layer`.
    reference : callable, optional
        The layer's output once more; see `check_layer`.
    seed : int
        Seed of the inputs and the parameters.

    Returns
    -------
    list of Check
        Each has a ``name``, and is called without arguments. Left out are those that the layer's
        tags ``mixes_samples`` and ``is_random`` rule out, ``gradients_at_ties`` with inputs of
        your own, ``follows_reference`` without a reference, ``open_axes`` without any, and
        ``statistics`` of layers that keep none.

    Raises
    ------
    LayerkitError
        If no model can be made of such a layer.

    Examples
    --------
    >>> from layerkit import Dense
    >>> from layerkit.testing import layer_checks
    >>> checks = layer_checks(Dense(3, 2))
    >>> checks[0].name
    'gradients'
    >>> checks[0]()
    """
    subject = Subject(
        maker("check_layer.make", make, Layer),
        input_shape,
        validation.integer("layer_checks", "seed", seed, minimum=0),
        inputs=inputs,
        reference=reference,
    )
    left_out = set()
    if subject.mixes_samples:
        left_out |= _OF_SAMPLES
    if subject.is_random:
        left_out |= _OF_FIXED_LAYERS
    if inputs is not None:
        left_out |= {check_gradients_at_ties}  # which inputs may be equal is not known
    if reference is None:
        left_out |= {check_follows_reference}
    if not subject.is_open:
        left_out |= {check_open_axes}
    if not subject.keeps_statistics:
        left_out |= {check_statistics}
    return [
        Check(check.__name__.removeprefix("check_"), subject.name, partial(check, subject))
        for check in _CHECKS
        if check not in left_out
    ]


def check_layer(
    make: Layer | Callable[[], Layer],
    input_shape: Shape | None = None,
    *,
    inputs: Inputs | Any = None,
    reference: Reference | None = None,
    except_for: Collection[str] = (),
    seed: int = 0,
) -> None:
    """Check a layer: its gradients, and every promise that a layer makes.

    Parameters
    ----------
    make : Layer or callable
        A layer, of which copies are checked; or what makes a fresh one: ``lambda: MyLayer(4)``.
    input_shape : tuple of int, optional
        The shape of one sample; needed where neither the layer nor ``inputs`` has it. None for an
        axis that is open: then the layer is checked at several of its lengths.
    inputs : callable or array_like, optional
        Inputs of your own, for a layer that does not take any numbers: ``inputs(rng, n_samples)``
        returns a batch of shape (n_samples, *input_shape), or an array has samples to draw from.
        They are never scaled: large ones are yours to draw. A layer that takes integers needs
        them. Where an axis is open, it is ``inputs(rng, n_samples, sample_shape)``, with the
        lengths in ``sample_shape``; an array's samples are cut to them.
    reference : callable, optional
        ``reference(x, *parameters)`` returns the layer's output in evaluation, in plain NumPy;
        the parameters are the values in the order of `Layer.parameters`. It finds what no
        gradient can: a padding on the wrong side, a mask that leaks, time that runs backwards.
    except_for : collection of str
        Names of checks that are meant to fail. One that passes is an error.
    seed : int
        Seed of the inputs and the parameters.

    Raises
    ------
    CheckError
        If a check fails, or one in ``except_for`` passes. The message holds the report of each;
        ``failures`` has them by name.
    InconclusiveError
        If nothing is wrong, but a gradient can't be told.
    ArgumentError
        If ``except_for`` names a check that the layer does not have, or an argument is wrong.
    LayerkitError
        If no model can be made of such a layer.

    Examples
    --------
    >>> import numpy as np
    >>> from layerkit import Dense, Sigmoid
    >>> from layerkit.testing import check_layer
    >>> check_layer(Dense(3, 2, Sigmoid()))
    >>> check_layer(
    ...     Dense(3, 2),
    ...     inputs=lambda rng, n_samples: rng.uniform(0, 1, (n_samples, 3)),
    ...     reference=lambda x, kernel, bias: x @ kernel + bias,
    ... )
    """
    checks = layer_checks(make, input_shape, inputs=inputs, reference=reference, seed=seed)
    run_checks(checks, except_for, "check_layer")
