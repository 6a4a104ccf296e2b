import numpy as np

import layerkit


def test_targets_that_are_all_equal():
    y_true = np.full((4, 1), 0.1)
    assert layerkit.R2Score()(y_true, y_true) == 1
    assert layerkit.R2Score()(y_true + 0.1, y_true) == 0
