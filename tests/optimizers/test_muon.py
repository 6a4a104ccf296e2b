"""The steps themselves are compared with torch's in test_adaptive.py."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from layerkit import Muon
from layerkit.optimizers.muon import orthogonalised


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (5, 5), (1, 4)])
def test_singular_values_become_about_1_and_the_vectors_stay(shape):
    matrix = np.random.default_rng(0).normal(size=shape)
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    got = u.T @ orthogonalised(matrix, 5) @ v.T
    # The polynomial takes all from 0.01 of the norm on to between 0.68 and 1.2.
    assert s[-1] > 0.01 * np.linalg.norm(matrix)
    assert (np.diag(got) > 0.65).all()
    assert (np.diag(got) < 1.25).all()
    assert_allclose(got - np.diag(np.diag(got)), 0, atol=1e-12)


def test_a_kernel_of_three_axes_counts_as_a_matrix_of_its_last():
    grads = np.random.default_rng(1).normal(size=(3, 24))
    ends = []
    for shape in ((2, 3, 4), (6, 4)):
        optimizer, values = Muon(0.1, weight_decay=0.2), np.ones(24)
        optimizer.shapes = [shape]
        for gradient in grads:
            optimizer.step(values, gradient)
        ends.append(values)
    assert ends[0].tobytes() == ends[1].tobytes()


def test_steps_do_not_depend_on_the_scale_of_the_gradient():
    grads = np.random.default_rng(2).normal(size=(4, 12))
    ends = []
    for scale in (1.0, 1e5):
        optimizer, values = Muon(0.1), np.ones(12)
        optimizer.shapes = [(4, 3)]
        for gradient in grads:
            optimizer.step(values, scale * gradient)
        ends.append(values)
    assert_allclose(ends[0], ends[1], rtol=1e-12)
