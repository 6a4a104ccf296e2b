"""Hypothesis strategies: batches, activations, layers, models, losses with their targets.

Each shrinks to the smallest of its kind: one sample, one unit, one layer.
"""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from layerkit._support import validation
from layerkit._support.validation import Array, Shape
from layerkit.activations import ELU, Activation, Identity, LeakyReLU
from layerkit.layers.base import Layer
from layerkit.layers.dense import Dense
from layerkit.losses import (
    CTC,
    Contrastive,
    CosineDistance,
    GaussianNLL,
    Hinge,
    Loss,
    Losses,
    MeanAbsolutePercentageError,
    NegativeBinomial,
    SoftmaxCrossEntropy,
    Triplet,
)
from layerkit.losses.targets import ClassLoss
from layerkit.models.sequential import Sequential

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as st_numpy
except ImportError:
    validation.missing_extra("testing.strategies", "hypothesis", "testing")

__all__ = ["activations", "batches", "dense_stacks", "layers", "losses_with_targets"]


def batches(
    shape: Shape | None = None,
    *,
    min_samples: int = 1,
    max_samples: int = 6,
    bound: float = 10.0,
    dtype: npt.DTypeLike = np.float64,
) -> "st.SearchStrategy[Array]":
    """Draw batches of inputs.

    Parameters
    ----------
    shape : tuple of int, optional
        That of one sample; by default one axis of 1 to 8 features.
    min_samples, max_samples : int
        Smallest and largest number of samples; 0 is a batch too.
    bound : float
        Largest size of a number. All are finite, and none is subnormal.
    dtype : {numpy.float64, numpy.float32}
        The numbers are those of this dtype, each as it is.

    Returns
    -------
    SearchStrategy
        Of ndarray of shape (n_samples, *shape).

    Examples
    --------
    >>> from hypothesis import given
    >>> from layerkit import Dense, Sequential
    >>> from layerkit.testing import strategies
    >>> @given(x=strategies.batches((3,)))
    ... def test_shapes(x):
    ...     assert Sequential([Dense(3, 2)]).predict(x).shape == (len(x), 2)
    >>> test_shapes()
    """
    taken = validation.floating_dtype("strategies.batches", "dtype", dtype)
    # The bounds have to be numbers of the dtype themselves.
    limit = float(taken.type(bound))
    numbers = st.floats(
        -limit, limit, width=32 if taken == np.float32 else 64, allow_subnormal=False
    )
    shapes = st.just(shape) if shape is not None else st.tuples(st.integers(1, 8))
    return st.tuples(st.integers(min_samples, max_samples), shapes).flatmap(
        lambda drawn: st_numpy.arrays(taken, (drawn[0], *drawn[1]), elements=numbers)
    )


def is_public(kind: type[Any]) -> bool:
    """Test whether a class is for users, and no base that others share."""
    return kind.__name__ in sys.modules[kind.__module__].__all__


def concrete(base: type[Any]) -> list[type[Any]]:
    """Find the built-in classes of a kind, as many as there are."""
    found = []
    for kind in base.__subclasses__():
        found += concrete(kind)
        if kind.__module__.startswith("layerkit.") and is_public(kind):
            found.append(kind)
    return sorted(found, key=lambda kind: kind.__name__)


def activations() -> "st.SearchStrategy[Activation]":
    """Draw activations: every built-in one, those with a parameter over its range."""
    plain = [kind() for kind in concrete(Activation) if kind not in (ELU, LeakyReLU, Identity)]
    return st.one_of(
        st.just(Identity()),
        st.sampled_from(plain),
        st.floats(1 / 64, 0.5, width=32).map(LeakyReLU),
        st.floats(0.25, 2, width=32).map(ELU),
    )


def layers(n_in: int | None = None, *, max_width: int = 8) -> "st.SearchStrategy[Layer]":
    """Draw fresh layers, for inputs of ``n_in`` features or any number of them."""
    widths = st.integers(1, max_width)
    return st.builds(
        lambda n_in, n_out, activation, bias: Dense(n_in, n_out, activation, use_bias=bias),
        widths if n_in is None else st.just(n_in),
        widths,
        activations(),
        st.booleans(),
    )


@st.composite
def dense_stacks(
    draw: st.DrawFn,
    *,
    max_layers: int = 4,
    max_width: int = 8,
    dtype: npt.DTypeLike = np.float64,
) -> Sequential:
    """Draw models of 1 to ``max_layers`` Dense layers, with seeded parameters.

    Examples
    --------
    >>> from hypothesis import given
    >>> from layerkit.testing import strategies
    >>> @given(model=strategies.dense_stacks())
    ... def test_models(model):
    ...     assert 1 <= len(model) <= 4
    >>> test_models()
    """
    width = draw(st.integers(1, max_width))
    chain: list[Layer] = []
    for _ in range(draw(st.integers(1, max_layers))):
        layer = draw(layers(width, max_width=max_width))
        width = layer.n_out  # type: ignore[attr-defined]
        chain.append(layer)
    return Sequential(chain, dtype=dtype, seed=draw(st.integers(0, 2**16)))


@st.composite
def losses_with_targets(
    draw: st.DrawFn, n_samples: int | None = None, n_outputs: int | None = None
) -> tuple[Loss, Any]:
    """Draw built-in losses, each with targets ``y_true`` that it takes."""
    n = draw(st.integers(1, 6)) if n_samples is None else n_samples
    width = draw(st.integers(1, 8)) if n_outputs is None else n_outputs
    of_one_output = [kind() for kind in concrete(Loss) if kind not in (CTC, Losses)]
    kinds = [*of_one_output, SoftmaxCrossEntropy("probabilities")]
    loss = draw(st.sampled_from([kind for kind in kinds if width % _n_parts(kind) == 0]))
    if isinstance(loss, ClassLoss):
        classes = draw(st.lists(st.integers(0, width - 1), min_size=n, max_size=n))
        indices = np.array(classes, dtype=np.intp)
        return loss, indices if loss.targets == "indices" else np.eye(width)[indices]
    if isinstance(loss, Hinge):
        signs = st.sampled_from([-1.0, 1.0])
        return loss, draw(st_numpy.arrays(np.float64, (n, width), elements=signs))
    # A vector of zeros has no direction, and no number is a percentage of 0.
    is_divided = isinstance(loss, CosineDistance | MeanAbsolutePercentageError)
    least = 1 / 64 if is_divided else 0
    unit = st.floats(least, 1, allow_subnormal=False)
    if not loss.takes_targets:
        return loss, None
    shape = (n, 1 if isinstance(loss, Contrastive) else width // _n_parts(loss))
    return loss, draw(st_numpy.arrays(np.float64, shape, elements=unit))


def _n_parts(loss: Loss) -> int:
    """Return how many parts the outputs have."""
    if isinstance(loss, Triplet):
        return 3
    return 2 if isinstance(loss, Contrastive | GaussianNLL | NegativeBinomial) else 1
