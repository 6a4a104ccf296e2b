import numpy as np
import pytest
from numpy.testing import assert_array_equal
from recorded_layers import compare

from layerkit import (
    SGD,
    Adam,
    ArgumentError,
    Chain,
    Constant,
    Dense,
    Embedding,
    Flatten,
    Graph,
    HalfSquaredError,
    Losses,
    PaddingMask,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from layerkit.testing import check_layer, layer_checks


def ids(rng, n_samples, sample_shape=(4,)):
    return rng.integers(6, size=(n_samples, *sample_shape))


def rows(table, x, padding=None):
    return np.array([[table[i] * (i != padding) for i in row] for row in x.astype(int)])


CASES = [
    (lambda: Embedding(6, 3), (None,), lambda x, table: rows(table, x)),
    (lambda: Embedding(9, 1, padding_id=2), (4,), lambda x, table: rows(table, x, 2)),
    (lambda: Embedding(6, 2, 0), (3, 2), lambda x, table: table[x] * (x != 0)[..., None]),
    (lambda: Embedding(6, 2), (), lambda x, table: table[x]),
    # On its own, a mask has no gradient that could be checked.
    (lambda: Chain([PaddingMask(), Dense(4, 2)]), (None, 4), lambda x, k, b: (x != 0) @ k + b),
    (lambda: Chain([PaddingMask(3), Dense(4, 2)]), (4,), lambda x, k, b: (x != 3) @ k + b),
]


def test_conformance():
    for make, shape, reference in CASES:

        def inputs(rng, n_samples, sample_shape=shape):
            return ids(rng, n_samples, sample_shape)

        given = inputs if None in shape else (lambda rng, n, own=inputs: own(rng, n))
        check_layer(make, shape, inputs=given, reference=reference)
        assert len(layer_checks(make, shape, inputs=given)) > 20


@pytest.mark.parametrize("call", ["Embedding(5, 2)", "Embedding(5, 2, 1)"])
def test_values_and_gradients_are_those_of_torch(call):
    compare(call)


def test_the_gradient_of_a_row_is_the_sum_over_its_places():
    layer = Embedding(4, 2, padding_id=3)
    model = Sequential([layer], input_shape=(None,))
    model.grads[:] = 7
    model.forward([[1, 1, 3], [0, 1, 3]], training=True)
    model.backward(np.arange(12.0).reshape(2, 3, 2))
    assert_array_equal(layer.table.grad, [[6, 7], [0 + 2 + 8, 1 + 3 + 9], [0, 0], [0, 0]])


def test_float32_keeps_ids_that_it_could_not_count():
    layer = Embedding(2**24 + 2, 1, table_initializer=Constant(0.0))
    model = Sequential([layer], input_shape=(1,), dtype=np.float32)
    layer.table.value[2**24 + 1] = 5
    assert model.predict([[2**24 + 1]]).item() == 5


def test_the_sum_of_many_places_is_that_of_rows_in_any_layout():
    rng = np.random.default_rng(0)
    layer = Embedding(50, 8)
    model = Sequential([layer], input_shape=(40,), seed=0)
    x, dy = rng.integers(50, size=(30, 40)), rng.normal(size=(8, 40, 30)).T
    _, cache = model.compute_forward(x, training=True)
    model.compute_backward(dy, cache)
    expected = np.zeros((50, 8))
    np.add.at(expected, x, dy)
    # Sums of some 24 terms, in the same order.
    np.testing.assert_allclose(layer.table.grad, expected, rtol=1e-12, atol=1e-14)


def test_it_learns_and_the_padding_does_not(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(1, 8, size=(64, 3))
    x[::5, 2] = 0
    y = (x.sum(axis=1) > 11).astype(int)
    layers = [Embedding(8, 4, padding_id=0), Flatten(), Dense(12, 2)]
    model = Sequential(layers, input_shape=(3,), seed=0)
    first = layers[0].table.value.copy()
    trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(0.05), seed=0)
    history = trainer.fit(x, y, epochs=60, batch_size=16)
    assert history["loss"][-1] < 0.1
    assert_array_equal(layers[0].table.value[0], first[0])
    assert (layers[0].table.value[1:] != first[1:]).all()
    model.save(tmp_path / "model")
    assert_array_equal(Sequential.load(tmp_path / "model").predict(x), model.predict(x))


def test_a_mask_from_ids_in_a_graph():
    nodes = {
        "mask": (PaddingMask(), "ids"),
        "vectors": (Embedding(5, 2, 0), "ids"),
    }
    model = Graph({"ids": (None,)}, nodes, ("mask", "vectors"), seed=0)
    y = model.predict([[3, 0], [1, 2]])
    assert_array_equal(y["mask"], [[1, 0], [1, 1]])
    assert_array_equal(y["vectors"][0, 1], [0, 0])
    losses = Losses({"mask": HalfSquaredError(), "vectors": HalfSquaredError()})
    history = Trainer(model, losses, SGD(0.1)).fit(np.array([[3, 0], [1, 2]]), y, epochs=1)
    assert history["loss"] == [0]


BAD = {
    "Embedding.__init__: n_ids must be": lambda: Embedding(0, 3),
    "Embedding.__init__: n_out must be": lambda: Embedding(3, 0),
    "Embedding.__init__: padding_id must be a whole number": lambda: Embedding(3, 2, -1),
    "Embedding.__init__: padding_id must be below 3; got 3": lambda: Embedding(3, 2, 3),
    "Embedding.__init__: table_initializer must be": lambda: Embedding(
        3, 2, table_initializer=Constant
    ),
    "PaddingMask.__init__: padding_id must be": lambda: PaddingMask(0.5),
    r"Embedding.compute_forward: x must be made of ids from 0 to 2; got 3 at \[1, 0\]. Number": (
        lambda: Sequential([Embedding(3, 2)], input_shape=(2,)).predict([[0, 1], [3, 4]])
    ),
    r"Embedding.compute_forward: x must be .*; got -1 at \[0, 1\]": (
        lambda: Sequential([Embedding(3, 2)], input_shape=(2,)).predict([[0, -1]])
    ),
    "Sequential.forward: x must be an array of integers": (
        lambda: Sequential([Embedding(3, 2)], input_shape=(2,)).predict([[0, 1.5]])
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    with pytest.raises(ArgumentError, match=message):
        BAD[message]()


def test_a_frozen_table_has_no_gradient_computed():
    model = Sequential([Embedding(5, 2)], input_shape=(3,), seed=0)
    model.freeze()
    model[0].table.grad = np.full((5, 2), 7.0)
    y, cache = model[0].compute_forward(np.array([[0, 1, 4]]), training=True)
    model[0].compute_backward(y, cache, skip_frozen=True)
    assert (model[0].table.grad == 7).all()
    model[0].compute_backward(y, cache)
    assert (model[0].table.grad[[2, 3]] == 0).all()
