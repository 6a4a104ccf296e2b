"""Probabilities of outputs: as they are, or of logits, as the loss says."""

import numpy as np
import pytest
from scipy.special import log_softmax as reference

from layerkit import AUC, SGD, ArgumentError, Brier, Dense, Hinge, LogLoss, Sequential, Trainer
from layerkit.metrics.scores import log_softmax

RNG = np.random.default_rng(0)


def test_what_the_loss_says():
    for predictions, is_logits in [
        ("logits", True), ("class_logits", True), ("probabilities", False), (None, False)
    ]:  # fmt: skip
        assert Brier().for_predictions("here", predictions).from_logits is is_logits
        assert Brier(from_logits=False).for_predictions("here", predictions).from_logits is False
    assert Brier().from_logits is None


def test_scores_are_no_probabilities():
    words = r"Trainer.__init__: metrics must be of scores, .* no probabilities; got Brier\(\).* AUC"
    with pytest.raises(ArgumentError, match=words):
        Trainer(Sequential([Dense(2, 1)]), Hinge(), SGD(0.1), metrics=[Brier()])
    with pytest.raises(ArgumentError, match="metrics must be of scores"):
        AUC(n_thresholds=9).for_predictions("here", "scores")
    Trainer(Sequential([Dense(2, 1)]), Hinge(), SGD(0.1), metrics=[AUC()])
    assert LogLoss(from_logits=True).for_predictions("here", "scores").from_logits


def test_labels_beside_a_loss_of_classes():
    with pytest.raises(ArgumentError, match="metrics must be of one class in each sample"):
        Brier(multilabel=True).for_predictions("here", "class_logits")


@pytest.mark.parametrize("bad", [-0.1, 1.01, 40.0, np.inf])
def test_outputs_that_are_no_probabilities(bad):
    words = r"Brier.total: y_pred must be probabilities, from 0 to 1; got .*Brier\(from_logits=True"
    with pytest.raises(ArgumentError, match=words):
        Brier()(np.array([[0.5], [bad]]), [0, 1])
    Brier()(np.array([[1.001], [-0.001]], np.float16), [0, 1])  # which rounding makes of 1 and 0


@pytest.mark.parametrize("argument", ["from_logits", "multilabel"])
def test_yes_or_no(argument):
    with pytest.raises(ArgumentError, match=rf"LogLoss.__init__: {argument} must be True or False"):
        LogLoss(**{argument: 2})


def test_log_softmax_keeps_its_digits():
    z = RNG.normal(0, 30, size=(9, 4))
    # scipy adds the exponential of the largest, 1, to the others, and takes the log.
    np.testing.assert_allclose(log_softmax(z), reference(z, axis=1), rtol=1e-13, atol=1e-15)
    # Where one class is certain, scipy has 0 for what is −exp(−50).
    assert log_softmax(np.array([[50.0, 0.0]]))[0, 0] == pytest.approx(-np.exp(-50), rel=1e-14)
    with np.errstate(under="ignore"):
        assert log_softmax(np.array([[1e5, -1e5]])).tolist() == [[0, -2e5]]
        assert log_softmax(np.array([[np.inf, 0.0]])).tolist() == [[0, -np.inf]]
    assert z.max() > 30
