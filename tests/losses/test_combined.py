import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from layerkit import (
    HalfSquaredError,
    Loss,
    Losses,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)
from layerkit.losses.base import weighted

RNG = np.random.default_rng(0)
KIND, SIZE = SoftmaxCrossEntropy(), MeanSquaredError()
LOSS = Losses({"kind": KIND, "size": SIZE}, weights={"size": 0.25})
Y_PRED = {"kind": RNG.normal(size=(6, 3)), "size": RNG.normal(size=(6, 2))}
Y_TRUE = {"kind": RNG.integers(3, size=6), "size": RNG.normal(size=(6, 2))}
SHAPES = {"kind": (3,), "size": (2,)}


class Penalty(Loss):
    """½ Σ y² and its mean over the samples: a loss without targets."""

    takes_targets = False

    def value(self, y_pred, y_true):
        assert y_true is None
        return float((y_pred**2).sum() / 2 / len(y_pred))

    def gradient(self, y_pred, y_true):
        assert y_true is None
        return y_pred / len(y_pred)


def test_the_value_is_the_weighted_sum_and_the_gradient_its_parts():
    parts = {
        "kind": KIND.value(Y_PRED["kind"], Y_TRUE["kind"]),
        "size": SIZE.value(Y_PRED["size"], Y_TRUE["size"]),
    }
    assert LOSS.parts(Y_PRED, Y_TRUE) == parts
    assert LOSS.value(Y_PRED, Y_TRUE) == parts["kind"] + 0.25 * parts["size"]
    gradient = LOSS.gradient(Y_PRED, Y_TRUE)
    assert_array_equal(gradient["kind"], KIND.gradient(Y_PRED["kind"], Y_TRUE["kind"]))
    assert_array_equal(gradient["size"], 0.25 * SIZE.gradient(Y_PRED["size"], Y_TRUE["size"]))
    value, both = LOSS.value_and_gradient(Y_PRED, Y_TRUE)
    assert value == LOSS.value(Y_PRED, Y_TRUE)
    for name in SHAPES:
        assert_array_equal(both[name], gradient[name])


def test_the_gradient_is_that_of_the_value():
    gradient, step = LOSS.gradient(Y_PRED, Y_TRUE), 1e-6
    for name, part in Y_PRED.items():
        for index in np.ndindex(*part.shape):
            ahead, back = copy.deepcopy(Y_PRED), copy.deepcopy(Y_PRED)
            ahead[name][index] += step
            back[name][index] -= step
            slope = (LOSS.value(ahead, Y_TRUE) - LOSS.value(back, Y_TRUE)) / (2 * step)
            # 1e-8: a central difference with this step, in float64.
            assert gradient[name][index] == pytest.approx(slope, abs=1e-8)


def test_the_loss_of_each_sample():
    rows = [
        {name: array[i : i + 1] for name, array in both.items()}
        for i in range(6)
        for both in (Y_PRED, Y_TRUE)
    ]
    singles = [LOSS.value(*rows[2 * i : 2 * i + 2]) for i in range(6)]
    assert_allclose(LOSS.per_sample(Y_PRED, Y_TRUE), singles, rtol=1e-13)


def test_weights_of_samples_apply_to_each_part():
    weight = RNG.uniform(size=6)
    value, gradient = weighted(LOSS, Y_PRED, Y_TRUE, weight)
    kind, size = (
        weighted(loss, Y_PRED[name], Y_TRUE[name], weight)
        for name, loss in (("kind", KIND), ("size", SIZE))
    )
    assert value == pytest.approx(kind[0] + 0.25 * size[0], rel=1e-13)
    assert_allclose(gradient["kind"], kind[1], rtol=1e-13)
    assert_allclose(gradient["size"], 0.25 * size[1], rtol=1e-13)
    value, gradient = weighted(LOSS, Y_PRED, Y_TRUE, np.zeros(6))
    assert value == 0
    assert not gradient["kind"].any()
    assert not gradient["size"].any()


def test_weights_of_positions_apply_to_each_part_that_has_them():
    loss = Losses({"tag": KIND, "score": SIZE}, weights={"score": 2.0})
    y_pred = {"tag": RNG.normal(size=(4, 5, 3)), "score": RNG.normal(size=(4, 5, 2))}
    y_true = {"tag": RNG.integers(3, size=(4, 5)), "score": RNG.normal(size=(4, 5, 2))}
    shapes = {"tag": (5, 3), "score": (5, 2)}
    weight = (RNG.uniform(size=(4, 5)) > 0.4) * 1.5
    assert loss.position_shape(shapes) == (5,)
    value, gradient = weighted(loss, y_pred, y_true, weight)
    tag = weighted(KIND, y_pred["tag"], y_true["tag"], weight)
    score = weighted(SIZE, y_pred["score"], y_true["score"], weight)
    assert value == pytest.approx(tag[0] + 2 * score[0], rel=1e-13)
    assert_allclose(gradient["tag"], tag[1], rtol=1e-13)
    assert_allclose(gradient["score"], 2 * score[1], rtol=1e-13)
    whole = Losses({"tag": KIND, "size": HalfSquaredError()})
    assert whole.position_shape({"tag": (5, 3), "size": (2,)}) == ()
    assert Losses({"tag": KIND, "size": SIZE}).position_shape({"tag": (5, 3), "size": (2,)}) == ()


def test_a_part_without_targets():
    loss = Losses({"kind": KIND, "code": Penalty()}, weights={"code": 0.1})
    y_pred = {"kind": Y_PRED["kind"], "code": Y_PRED["size"]}
    y_true = {"kind": Y_TRUE["kind"]}
    expected = KIND.value(y_pred["kind"], y_true["kind"])
    expected += 0.1 * Penalty().value(y_pred["code"], None)
    assert loss.value(y_pred, y_true) == pytest.approx(expected, rel=1e-14)
    assert loss.value_and_gradient(y_pred, y_true)[0] == loss.value(y_pred, y_true)
    assert loss.per_sample(y_pred, y_true).mean() == pytest.approx(expected, rel=1e-13)
    loss.check_targets("here", y_true, {"kind": (3,), "code": (2,)})
    assert loss.takes_targets
    alone = Losses({"code": Penalty()})
    assert not alone.takes_targets
    alone.check_targets("here", None, {"code": (2,)})
    assert alone.value(y_pred={"code": Y_PRED["size"]}, y_true=None) > 0


def test_dtypes_and_copies():
    wanted = LOSS.target_dtype(np.dtype(np.float32))
    assert wanted == {"kind": np.dtype(np.intp), "size": np.dtype(np.float32)}
    narrow = {name: array.astype(np.float32) for name, array in Y_PRED.items()}
    for gradient in LOSS.gradient(narrow, Y_TRUE).values():
        assert gradient.dtype == np.float32
    text = "Losses({'kind': SoftmaxCrossEntropy(), 'size': MeanSquaredError()}, "
    assert repr(LOSS) == text + "weights={'size': 0.25})"
    for copied in (copy.deepcopy(LOSS), pickle.loads(pickle.dumps(LOSS))):
        assert copied.value(Y_PRED, Y_TRUE) == LOSS.value(Y_PRED, Y_TRUE)
    assert repr(Losses.from_config(LOSS.get_config())) == repr(LOSS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Losses({}), "losses must be a dict of at least one loss; got {}. Write Losses"),
        (lambda: Losses([KIND]), "losses must be a dict of at least one loss"),
        (lambda: Losses({"kind": SoftmaxCrossEntropy}), r"losses\['kind'\] must be an instance"),
        (lambda: Losses({"a": KIND}, weights=[1.0]), "weights must be a dict of numbers, or None"),
        (lambda: Losses({"a": KIND}, weights={"b": 1}), "weights must be for 'a' alone; got 'b'"),
        (lambda: Losses({"a": KIND}, weights={"a": -1}), r"weights\['a'\] must be .* at least 0"),
        (lambda: LOSS.value(Y_PRED["kind"], Y_TRUE), "Losses.value: y_pred must be a dict of arr"),
        (
            lambda: LOSS.gradient(Y_PRED, Y_TRUE["kind"]),
            "gradient: y_true must be a dict of arrays",
        ),
        (
            lambda: LOSS.parts({"kind": Y_PRED["kind"]}, Y_TRUE),
            "parts: loss must be one for each of 'kind'; got losses for 'kind', 'size'. An output",
        ),
        (
            lambda: LOSS.check_targets("here", Y_TRUE, {**SHAPES, "more": (1,)}),
            "here: loss must be one for each of 'kind', 'size', 'more'; got losses for",
        ),
        (
            lambda: LOSS.check_targets("here", {"kind": Y_TRUE["kind"]}, SHAPES),
            "here: y_true must be given for 'kind', 'size'; got none for 'size'",
        ),
        (
            lambda: LOSS.check_targets("here", {**Y_TRUE, "sise": Y_TRUE["size"]}, SHAPES),
            "here: y_true must be for 'kind', 'size' alone; got 'sise'",
        ),
        (
            lambda: LOSS.check_targets("here", {**Y_TRUE, "kind": Y_TRUE["kind"] + 5}, SHAPES),
            "here, output 'kind': y_true must be class indices",
        ),
        (
            lambda: LOSS.check_targets("here", Y_TRUE, (3,)),
            r"here: the model's output must be a dict; got one of shape \(3,\). Pass the loss its",
        ),
        (
            lambda: KIND.check_targets("here", Y_TRUE, SHAPES),
            r"here: loss must be one for each output.* Write Losses\({'kind': SoftmaxCrossEntropy",
        ),
        (
            lambda: SIZE.check_targets("here", Y_TRUE, SHAPES),
            r"here: loss must be one for each output.* Write Losses\({'kind': MeanSquaredError",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
