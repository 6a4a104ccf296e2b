import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    Adafactor,
    Dense,
    HalfSquaredError,
    Lamb,
    Layer,
    LecunNormal,
    LoadError,
    Muon,
    Optimizer,
    Sequential,
    ShapeError,
    Tanh,
    Trainer,
)
from layerkit.optimizers.parameterwise import norm, root_mean_square
from layerkit.testing import CheckError, check_optimizer

SHAPES = [(3, 4), (4,), (2, 2, 3), (1,)]
MAKERS = [Adafactor, Lamb, Muon, lambda: Lamb(0.1, weight_decay=0.1)]


@pytest.mark.parametrize("make", MAKERS)
def test_views_are_parts_of_the_vector(make):
    optimizer, vector = make(), np.arange(29.0)
    assert [view.shape for view in optimizer.views(vector)] == [(29,)]
    optimizer.shapes = SHAPES
    views = optimizer.views(vector)
    assert [view.shape for view in views] == SHAPES
    assert all(np.shares_memory(view, vector) for view in views)
    assert_array_equal(np.concatenate([view.reshape(-1) for view in views]), vector)
    message = (
        rf"{type(optimizer).__name__}.step: shapes must be those of 5 numbers; got those of 29"
    )
    with pytest.raises(ShapeError, match=message):
        optimizer.step(np.ones(5), np.ones(5))


@pytest.mark.parametrize("make", MAKERS)
def test_shapes_are_no_state(make):
    optimizer = make()
    optimizer.shapes = SHAPES
    assert "shapes" not in optimizer.attributes()


class Several(Layer):
    """A sum of products with several matrices: a kernel of three axes, as a convolution has."""

    def build(self, input_shape):
        self.kernel = self.add_parameter("kernel", (2, *input_shape, 3), LecunNormal())
        return (3,)

    def compute_forward(self, x, *, training):
        return x @ self.kernel.value[0] + x**2 @ self.kernel.value[1], x

    def compute_backward(self, dy, x):
        self.kernel.grad = np.stack([x.T @ dy, (x**2).T @ dy])
        return dy @ self.kernel.value[0].T + 2 * x * (dy @ self.kernel.value[1].T)


@pytest.mark.parametrize("make", MAKERS)
def test_a_trainer_tells_the_shapes_and_freezes_parameters(make):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    ends = []
    for frozen in (False, True):
        layers = [Dense(4, 4, Tanh(), name="first"), Several(), Dense(3, 2, name="last")]
        model = Sequential(layers, seed=0)
        if frozen:
            model.freeze("first.kernel")
        before = {n: p.value.copy() for n, p in model.named_parameters().items()}
        optimizer = make()
        trainer = Trainer(model, HalfSquaredError(), optimizer)
        trainer.train_step(x, y)
        assert [tuple(s) for s in optimizer.shapes] == [p.shape for p in model.parameters]
        ends.append({n: p.value.copy() for n, p in model.named_parameters().items()})
    assert_array_equal(ends[1].pop("first.kernel"), before["first.kernel"])
    assert np.all(ends[0].pop("first.kernel") != before["first.kernel"])
    for name, value in ends[0].items():
        assert_allclose(ends[1][name], value, rtol=1e-12)
        assert not np.array_equal(value, before[name])
    state = optimizer.state["square"][: model["first"].kernel.size]
    assert not state.any()  # of what is frozen nothing is learned


def test_squares_are_not_below_0():
    optimizer, values = Lamb(), np.ones(3)
    optimizer.step(values, np.ones(3))
    state = optimizer.state | {"square": -optimizer.state["square"]}
    with pytest.raises(LoadError, match=r"Lamb.set_state: the state's 'square' must be at least 0"):
        Lamb().check_state(state, optimizer.attributes(), values)


def test_norms_of_small_numbers():
    tiny = np.full((2, 8), 1e-30, np.float32)
    assert norm(tiny) == pytest.approx(4e-30)
    assert root_mean_square(tiny) == pytest.approx(1e-30)


class Normed(Optimizer):
    """An optimizer of a user, with steps of one length for each parameter."""

    is_elementwise = False
    is_parameterwise = True

    def __init__(self, learning_rate=0.01):
        self.learning_rate = learning_rate

    def update(self, values, grads, state):
        length = lambda grad: max(1e-30, np.linalg.norm(grad))  # noqa: E731
        for value, grad in zip(self.views(values), self.views(grads), strict=True):
            value -= self.learning_rate * grad / length(grad)


class Mixed(Normed):
    def update(self, values, grads, state):
        values -= self.learning_rate * grads / max(1e-30, np.linalg.norm(grads))


def test_an_optimizer_of_a_user():
    check_optimizer(Normed)
    with pytest.raises(CheckError, match=r"the steps of a parameter of shape .* depend on others"):
        check_optimizer(Mixed)
