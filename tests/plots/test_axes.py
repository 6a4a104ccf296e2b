import sys
import unittest.mock

import matplotlib.pyplot as plt
import numpy as np
import pytest

from layerkit import ArgumentError, MissingExtraError, plots


def test_axes_that_are_given_are_drawn_on():
    _, ax = plt.subplots()
    assert plots.hidden_codes(np.ones((2, 3)), ax) is ax
    assert plots.hidden_codes(np.ones((2, 3))) is not ax


@pytest.mark.parametrize("codes", [np.ones(3), np.ones((0, 3)), np.ones((1, 2, 3))])
def test_a_matrix_is_wanted(codes):
    with pytest.raises(ArgumentError, match="codes must be a matrix that is not empty"):
        plots.hidden_codes(codes)


def test_without_matplotlib():
    hidden = {"matplotlib": None, "matplotlib.pyplot": None}
    with unittest.mock.patch.dict(sys.modules, hidden):
        with pytest.raises(MissingExtraError, match=r"pip install 'layerkit\[plot\]'"):
            plots.learning_curves({"loss": [1.0]})
