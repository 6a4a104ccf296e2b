import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import layerkit
from layerkit import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    Normal,
    Orthogonal,
    Uniform,
    Zeros,
)
from layerkit.initializers import Initializer, fans


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 3), (8, 3)), ((5,), (5, 5)), ((), (1, 1)), ((3, 2, 4, 16), (24, 96))],
)
def test_fans(shape, expected):
    assert fans(shape) == expected


SHAPE = (3, 3, 20, 30)  # fans of 180 and 270


@pytest.mark.parametrize(
    ("initializer", "variance", "bound"),
    [
        (Uniform(-2, 4), 3, 4),
        (Normal(0, 0.3), 0.09, None),
        (GlorotUniform(), 2 / 450, np.sqrt(6 / 450)),
        (GlorotNormal(), 2 / 450, None),
        (HeUniform(), 2 / 180, np.sqrt(6 / 180)),
        (HeNormal(), 2 / 180, None),
        (LecunNormal(), 1 / 180, None),
    ],
    ids=repr,
)
def test_distributions(initializer, variance, bound):
    drawn = initializer(SHAPE, rng())
    assert drawn.shape == SHAPE
    # 5,400 draws: the sample's mean is off by 1.4 % of the standard deviation, the variance by
    # 2 %, at one standard deviation.
    centre = 1 if isinstance(initializer, Uniform) else 0
    assert drawn.mean() == pytest.approx(centre, abs=0.06 * np.sqrt(variance))
    assert drawn.var() == pytest.approx(variance, rel=0.08)
    if bound is not None:
        assert 0.99 * bound < abs(drawn).max() <= bound


def test_uniform_and_normal_have_their_centre():
    assert Uniform(2, 4)((10_000,), rng()).mean() == pytest.approx(3, abs=0.03)
    assert Normal(5, 0.1)((10_000,), rng()).mean() == pytest.approx(5, abs=0.01)
    assert Uniform(2, 4)((10_000,), rng()).min() >= 2


def test_constants():
    assert_array_equal(Zeros()((2, 2), rng()), np.zeros((2, 2)))
    assert_array_equal(Constant(0.5)((2,), rng()), [0.5, 0.5])


def test_defaults():
    drawn = Normal()((10_000,), rng())
    assert drawn.mean() == pytest.approx(0, abs=0.003)
    assert drawn.std() == pytest.approx(0.05, rel=0.03)
    assert_allclose(Orthogonal()((3, 3), rng()) * 2, Orthogonal(2.0)((3, 3), rng()))


@pytest.mark.parametrize("shape", [(8, 3), (3, 8), (5, 5), (3, 2, 4)])
def test_orthogonal(shape):
    kernel = Orthogonal(2.0)(shape, rng()).reshape(-1, shape[-1])
    gram = kernel.T @ kernel if len(kernel) >= shape[-1] else kernel @ kernel.T
    assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-13)


def test_orthogonal_is_even_over_all_directions():
    # Without the signs of R's diagonal, QR would make the first entry negative every time.
    generator = rng()
    first = [Orthogonal()((2, 2), generator)[0, 0] > 0 for _ in range(400)]
    assert 0.4 < np.mean(first) < 0.6


def test_every_one_is_deterministic_and_leaves_the_global_state_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    arguments = {Uniform: (0, 1), Constant: (1,)}
    public = {getattr(layerkit, name) for name in layerkit.__all__}
    kinds = [kind for kind in Initializer.__subclasses__() if kind in public]
    assert len(kinds) == 10
    for kind in kinds:
        initializer = kind(*arguments.get(kind, ()))
        assert_array_equal(initializer((3, 4), rng()), initializer((3, 4), rng()))
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
