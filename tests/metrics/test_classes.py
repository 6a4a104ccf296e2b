"""What metrics of classes take for targets, and what they refuse with the remedy."""

import numpy as np
import pytest

from layerkit import (
    Accuracy,
    ArgumentError,
    ConfusionMatrix,
    F1Score,
    ForOutput,
    Precision,
    Recall,
    TopKAccuracy,
)

ONE_CLASS = [
    Accuracy(),
    TopKAccuracy(2),
    Precision(),
    Recall("micro"),
    F1Score("weighted"),
    ConfusionMatrix(),
]
LABELS = np.array([2, 0, 1])
SCORES = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.2, 0.1, 0.7]])
each = pytest.mark.parametrize("metric", ONE_CLASS, ids=repr)


@each
@pytest.mark.parametrize(
    "y_true",
    [
        np.eye(3)[LABELS],
        np.eye(3, dtype=bool)[LABELS],
        np.eye(3, dtype=np.uint8)[LABELS],
        2 * np.eye(3)[LABELS] - 1,
        0.1 + 0.8 * np.eye(3)[LABELS],
        np.array([[0.2, 0.3, 0.5], [0.6, 0.4, 0], [0, 0.9, 0.1]], np.float16),
        LABELS.astype(np.uint64),
        LABELS.astype(np.float32),
        LABELS.tolist(),
    ],
)
def test_one_class_in_any_form(metric, y_true):
    np.testing.assert_array_equal(metric(SCORES, y_true), metric(SCORES, LABELS))


@each
@pytest.mark.parametrize(
    ("y_true", "words"),
    [
        ([[1, 1, 0], [0, 1, 1], [1, 0, 1]], r"one class in each row.* got \[1, 1, 0\] in sample 0"),
        ([[1, 0, 0], [0, 0, 0], [0, 0, 1]], r"got \[0, 0, 0\] in sample 1. For several classes"),
        ([[1, 0.9, 0], [1, 0, 0], [1, 0, 0]], r"got \[1, 0.9, 0\] in sample 0"),
        ([[1, 0, 0], [1.5, -0.2, -0.3], [1, 0, 0]], "in sample 1"),
        ([[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0]], "in sample 2"),
        ([0, 7, 2], r"a class from 0 to 2; got 7 in sample 1"),
        ([0, 1, -1], r"a class from 0 to 2; got -1 in sample 2"),
        ([0, 1, 3], r"a class from 0 to 2; got 3 in sample 2"),
        ([0, 1.5, 2], r"a class from 0 to 2; got 1.5 in sample 1"),
        ([[0], [1], [2]], r"y_true must be of shape \(3, 3\); got \(3, 1\)"),
        (np.zeros((3, 3, 1)), r"y_true must be of shape \(3, 3\); got \(3, 3, 1\)"),
        (np.zeros((3, 3, 3)), r"y_true must be of shape \(3, 3\)"),
        ([0, np.nan, 1], "y_true must be finite; got nan in sample 1"),
    ],
)
def test_what_one_class_can_not_be(metric, y_true, words):
    with pytest.raises(ArgumentError, match=words):
        metric(SCORES, np.array(y_true))


def test_the_remedy_for_several_classes_is_one_that_helps():
    y_true = np.array([[1, 1, 0], [0, 0, 0]])
    for metric in (Accuracy(), Recall(), ConfusionMatrix()):
        name = type(metric).__name__
        with pytest.raises(ArgumentError, match=rf"write {name}\(multilabel=True\)"):
            metric(SCORES[:2], y_true)
        type(metric)(multilabel=True)(SCORES[:2], y_true)
    with pytest.raises(ArgumentError, match=r"write Accuracy\(multilabel=True\)"):
        TopKAccuracy(2)(SCORES[:2], y_true)


def test_a_long_row_is_shown_in_part():
    with pytest.raises(ArgumentError, match=r"got \[0, 0, 0, 0, 0, 0, 0, 0, \.\.\.\] in sample 0"):
        Accuracy()(np.ones((1, 9)), np.zeros((1, 9)))
    with pytest.raises(ArgumentError, match=r"got \[0, 0, 0, 0, 0, 0, 0, 0\] in sample 0"):
        Accuracy()(np.ones((1, 8)), np.zeros((1, 8)))


def test_probabilities_add_up_but_for_the_rounding_of_half_precision():
    Accuracy()(SCORES[:1], [[0.2, 0.3, 0.5015]])
    with pytest.raises(ArgumentError, match=r"got \[0.2, 0.3, 0.505\] in sample 0"):
        Accuracy()(SCORES[:1], [[0.2, 0.3, 0.505]])


ONE_OUTPUT = np.array([[0.2], [0.8], [0.6]])


@pytest.mark.parametrize("metric", [Accuracy(), F1Score(), ConfusionMatrix()], ids=repr)
@pytest.mark.parametrize("y_true", [[-1, 1, 1], [False, True, True], [0.2, 0.9, 1.0]])
def test_answers_in_any_form(metric, y_true):
    expected = metric(ONE_OUTPUT, [0, 1, 1])
    np.testing.assert_array_equal(metric(ONE_OUTPUT, y_true), expected)
    np.testing.assert_array_equal(metric(ONE_OUTPUT, np.array(y_true)[:, None]), expected)


@pytest.mark.parametrize("bad", [2, -0.5, 1.5, 17])
def test_answers_that_are_none(bad):
    words = f"y_true must be 0 or 1, or -1 or 1, or a probability; got {bad:g}.* in sample 2"
    for metric in (Accuracy(), Precision(), ConfusionMatrix()):
        with pytest.raises(ArgumentError, match=words):
            metric(ONE_OUTPUT, np.array([0, 1, bad]))
    for metric in (Accuracy(multilabel=True), Precision(multilabel=True)):
        with pytest.raises(ArgumentError, match=f"{words}, position 1"):
            metric(np.zeros((3, 2)), np.array([[0, 1], [1, 0], [0, bad]]))


def test_a_half_is_a_yes_of_targets_and_predictions():
    y_pred = np.array([[0.5], [0.49]])
    for metric in (Accuracy(), F1Score(), Accuracy(multilabel=True), F1Score(multilabel=True)):
        assert metric(y_pred, [[0.5], [0.49]]) == 1
    assert ConfusionMatrix()(y_pred, [[0.5], [0.49]]).tolist() == [[1, 0], [0, 1]]


def test_a_single_label_may_have_no_axis():
    y_pred = np.array([[0.9], [0.1]])
    for kind in (Accuracy, F1Score):
        assert kind(multilabel=True)(y_pred, [1, 0]) == 1


def test_labels_have_a_number_each():
    with pytest.raises(ArgumentError, match=r"y_true must be of shape \(3, 3\); got \(3,\)"):
        Accuracy(multilabel=True)(SCORES, LABELS)
    with pytest.raises(ArgumentError, match="each for one output of the model"):
        Accuracy(multilabel=True).check_targets("here", {"kind": (6,)}, {"kind": (4,)})


def test_there_is_nothing_to_choose_of_a_single_output():
    words = r"the scores of several classes; got \(1,\), a single one, where TopKAccuracy\(2\) has"
    with pytest.raises(ArgumentError, match=words):
        TopKAccuracy(2)(ONE_OUTPUT, [0, 1, 1])


@pytest.mark.parametrize(
    "metric", [*ONE_CLASS, Accuracy(multilabel=True), ForOutput("a", Accuracy())], ids=repr
)
def test_predictions_of_nan_are_refused(metric):
    y_pred = SCORES.copy()
    y_pred[1, 2] = np.nan
    y_true = np.eye(3)[LABELS]
    if isinstance(metric, ForOutput):
        y_pred, y_true = {"a": y_pred}, {"a": y_true}
    with pytest.raises(ArgumentError, match="y_pred must be numbers; got nan in sample 1"):
        metric(y_pred, y_true)


@pytest.mark.parametrize("metric", ONE_CLASS, ids=repr)
def test_infinite_predictions_have_an_order(metric):
    y_pred = np.array([[-np.inf, 0, 1], [np.inf, 0, 1], [0, 1, -np.inf]])
    np.testing.assert_array_equal(
        metric(y_pred, LABELS), metric(np.eye(3)[LABELS] + y_pred, LABELS)
    )


def test_positions_are_named_and_padding_is_explained():
    words = r"got 4 in sample 1, position 0. Padding takes any class, and 0 in sample_weight"
    with pytest.raises(ArgumentError, match=words):
        Accuracy()(np.zeros((2, 2, 3)), np.array([[0, 1], [4, 2]]))
    with pytest.raises(ArgumentError, match=r"got \[0, 0, 0\] in sample 0, position 1"):
        Accuracy()(np.zeros((1, 2, 3)), np.array([[[1, 0, 0], [0, 0, 0]]]))


def test_classes_whose_number_is_open():
    Accuracy().check_values("here", np.array([0, 9]), (None,))
    with pytest.raises(ArgumentError, match=r"a class from 0 to \.\.\.; got -1 in sample 0"):
        Accuracy().check_values("here", np.array([-1]), (None,))


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (4, 2, 3), (4, 2, 1), (4, 1, 1, 2)])
def test_figures_are_shares_whatever_the_axes(shape):
    """What is taken gives a share; axes too many are refused, and not broadcast."""
    rng = np.random.default_rng(0)
    n_taken = 0
    for output in [(1,), (3,), (2, 3), (2, 1), (3, 3), (1, 1, 2)]:
        for metric in (Accuracy(), F1Score(), TopKAccuracy(1), Recall(multilabel=True)):
            y_pred, y_true = rng.normal(size=(4, *output)), np.zeros(shape, int)
            if len(shape) == len(output) + 1 and shape[-1] > 1:
                y_true[..., 0] = 1
            try:
                figure = metric(y_pred, y_true)
            except ArgumentError:
                continue
            n_taken += 1
            assert 0 <= figure <= 1
            assert shape[1:] in (output, output[:-1])
    assert n_taken >= 3


def test_a_threshold_that_nobody_set():
    y_pred = np.array([[0.3], [0.5]])
    for metric in (Accuracy(), Accuracy(0.5), Accuracy(multilabel=True)):
        assert metric(y_pred, [[0], [1]]) == 1
    suited = Accuracy().for_predictions("here", "logits")
    assert suited(y_pred, [[1], [1]]) == 1
    assert Accuracy(0.4).for_predictions("here", "logits").threshold == 0.4


def test_labels_beside_a_loss_of_classes():
    words = r"here: metrics must be of one class in each sample.*multilabel=True.*write SigmoidCro"
    with pytest.raises(ArgumentError, match=words):
        F1Score(multilabel=True).for_predictions("here", "class_logits")
    with pytest.raises(ArgumentError, match=words):
        ForOutput("a", F1Score(multilabel=True)).for_predictions("here", {"a": "class_logits"})
    assert F1Score(multilabel=True).for_predictions("here", "logits").multilabel


@pytest.mark.parametrize("multilabel", [1, None, "yes"])
def test_multilabel_is_a_yes_or_no(multilabel):
    with pytest.raises(ArgumentError, match=r"Accuracy.__init__: multilabel must be True or False"):
        Accuracy(multilabel=multilabel)
