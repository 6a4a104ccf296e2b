import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import (
    SGD,
    Adam,
    Concatenate,
    Contrastive,
    Dense,
    Flatten,
    Graph,
    Sequential,
    Tanh,
    TimeDistributed,
    Trainer,
    Triplet,
)
from layerkit.losses.base import weighted
from layerkit.testing import check_gradients, check_loss

RNG = np.random.default_rng(0)


def distance(first, second):
    return np.linalg.norm(first - second, axis=-1)


@pytest.mark.parametrize("swap", [False, True])
def test_a_triplet_is_the_formula(swap):
    y_pred = RNG.normal(size=(20, 6))
    a, p, n = np.split(y_pred, 3, axis=1)
    far = np.minimum(distance(a, n), distance(p, n)) if swap else distance(a, n)
    expected = np.maximum(0, distance(a, p) - far + 0.5)
    loss = Triplet(0.5, swap=swap)
    assert_allclose(loss.per_sample(y_pred, None), expected, rtol=1e-13)
    assert loss.value(y_pred, None) == pytest.approx(expected.mean())


def test_pairs_are_the_formula():
    y_pred, y = RNG.normal(size=(20, 6)), RNG.integers(2, size=(20, 1)).astype(float)
    d = distance(*np.split(y_pred, 2, axis=1))
    expected = np.where(y[:, 0] == 1, d**2, np.maximum(0, 2 - d) ** 2) / 2
    assert_allclose(Contrastive(2).per_sample(y_pred, y), expected, rtol=1e-12)


def test_embeddings_that_meet_have_no_direction():
    y_pred = np.ones((1, 6))
    with np.errstate(all="raise"):
        assert Triplet(0.5).value(y_pred, None) == 0.5
        assert_allclose(Triplet().gradient(y_pred, None), 0)
        assert Contrastive(2).value(y_pred, [[0]]) == 2
        assert_allclose(Contrastive(2).gradient(y_pred, [[0]]), 0)


@pytest.mark.parametrize(
    ("make", "width", "targets"),
    [
        (lambda: Triplet(3, swap=True), 6, None),
        (lambda: Contrastive(3), 4, lambda rng, n: rng.uniform(size=(n, 5, 1))),
    ],
)
def test_the_public_checks_hold_for_positions(make, width, targets):
    check_loss(make, (5, width), targets=targets)
    assert make().position_shape((5, width)) == (5,)
    y_pred = RNG.normal(size=(2, 5, width))
    y_true = None if targets is None else targets(RNG, 2)
    weight = RNG.integers(2, size=(2, 5)).astype(float)
    value, gradient = weighted(make(), y_pred, y_true, weight)
    losses = make().per_position(y_pred, y_true)
    assert value == pytest.approx((weight * losses).sum() / weight.sum())
    assert (gradient[weight == 0] == 0).all()


def triplets(n):
    """Points on one side of a line, twice, and one on the other side, among other numbers."""
    x = RNG.normal(size=(n, 3, 4))
    side = RNG.choice([-1.0, 1.0], size=n)
    x[..., 0] = 0.5 * side[:, None] * np.array([1, 1, -1])
    return x


def test_three_samples_go_through_the_same_layers():
    x = triplets(200)
    encoder = Sequential([Dense(4, 8, Tanh()), Dense(8, 2)])
    model = Sequential([TimeDistributed(encoder), Flatten()], input_shape=(3, 4), seed=0)
    trainer = Trainer(model, Triplet(), Adam(0.02), seed=0)
    history = trainer.fit(x, epochs=40, batch_size=50)
    assert history["loss"][-1] < 0.2 < 0.7 < history["loss"][0]
    assert check_gradients(model, Triplet(), x[:4], None).passed
    # Weights of samples leave out as many.
    weight = np.repeat([1.0, 0.0], 100)
    left = trainer.evaluate(x, sample_weight=weight)["loss"]
    assert left == pytest.approx(trainer.evaluate(x[:100])["loss"], rel=1e-12)


def test_three_branches_of_a_graph_share_their_weights():
    names = ("anchor", "positive", "negative")
    nodes = {f"of_{name}": (Dense(4, 2), name) for name in names}
    nodes["all"] = (Concatenate(), tuple(f"of_{name}" for name in names))
    ties = {
        f"of_{name}.{own}": f"of_anchor.{own}" for name in names[1:] for own in ("kernel", "bias")
    }
    model = Graph(dict.fromkeys(names, (4,)), nodes, "all", ties=ties, seed=0)
    x = triplets(100)
    inputs = {name: x[:, i] for i, name in enumerate(names)}
    trainer = Trainer(model, Triplet(), SGD(0.3), seed=0)
    history = trainer.fit(inputs, epochs=60, batch_size=20)
    assert history["loss"][-1] < 0.2 < history["loss"][0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Triplet(0), r"Triplet.__init__: margin must be a finite number above 0; got 0"),
        (lambda: Triplet(swap=1), r"Triplet.__init__: swap must be True or False; got 1"),
        (lambda: Contrastive(-1), r"Contrastive.__init__: margin must be a finite number above 0"),
        (lambda: Triplet().value(np.ones((2, 4)), None),
         r"y_pred's last axis must be a multiple of 3 long, for anchor, positive and negative; "
         r"got 4. Give the last layer as many units"),
        (lambda: Triplet().value(np.ones(3), None), r"Triplet.value: y_pred must be of shape"),
        (lambda: Contrastive().value(np.ones((2, 3)), np.ones((2, 1))),
         "a multiple of 2 long, for two embeddings; got 3"),
        (lambda: Contrastive().value(np.ones((2, 4)), np.ones((2, 2))),
         r"y_true must be of shape \(2, 1\); got \(2, 2\)"),
        (lambda: Contrastive().value(np.ones((2, 4)), np.full((2, 1), -1.0)),
         "y_true must be between 0 and 1; got -1.0 in sample 0"),
        (lambda: Contrastive().check_targets("here", np.ones((2, 1)), {"a": (4,)}),
         "loss must be one for each output of the model"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
