"""What several losses ask of their targets; their own tests have the words for each."""

import numpy as np
import pytest

from layerkit import KLDivergence, SoftmaxCrossEntropy
from layerkit.losses.targets import refuse_where


def test_the_first_wrong_number_is_named_by_its_sample():
    y_true = np.zeros((1_000_000, 1))  # more than one block
    y_true[900_000:] = -1
    message = r"here: y_true must be at least 0; got -1.0 in sample 900000. Do this."
    with pytest.raises(ValueError, match=message):
        refuse_where("here", y_true, lambda rows: rows < 0, "at least 0", "Do this.")
    refuse_where("here", y_true, lambda rows: rows > 0, "at most 0")


@pytest.mark.parametrize("kind", [SoftmaxCrossEntropy, KLDivergence])
def test_classes_have_a_place_for_each_but_the_last_axis(kind):
    assert kind().position_shape((5, 2, 3)) == (5, 2)


def test_targets_are_cast_by_their_kind():
    of = np.dtype(np.float32)
    assert SoftmaxCrossEntropy().target_dtype(of) == np.intp
    assert SoftmaxCrossEntropy("probabilities").target_dtype(of) == np.float32
