"""What the checks of a layer are made with."""

import numpy as np

from layerkit import Dense, Dropout, Sequential
from layerkit.testing.layer_subject import Subject


def test_models_are_alike_and_off_their_initial_values():
    subject = Subject(lambda: Dense(3, 2), None, 0)
    first, second = subject.model(), subject.model()
    np.testing.assert_array_equal(first.values, second.values)
    assert (first[0].bias.value != 0).all()
    assert (subject.model(moved=False)[0].bias.value == 0).all()
    assert subject.model(np.float32).dtype == np.float32


def test_random_layers_draw_the_same_in_each_pass():
    subject = Subject(lambda: Dropout(0.5), (4,), 0)
    model = subject.model()
    results = [subject.passes(model, subject.x(), subject.dy()) for _ in range(2)]
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
    assert (results[0][0] == 0).any()


def test_batches_differ_by_salt_alone():
    subject = Subject(lambda: Dense(3, 2), None, 0)
    np.testing.assert_array_equal(subject.x(salt=1), subject.x(salt=1))
    assert (subject.x(salt=1) != subject.x(salt=2)).all()
    np.testing.assert_array_equal(subject.x(scale=4.0), 4 * subject.x())


def test_own_inputs_are_drawn_from_the_given_samples():
    samples = np.arange(12.0).reshape(4, 3)
    subject = Subject(lambda: Dense(3, 2), None, 0, inputs=samples)
    x = subject.x(50, scale=30.0)
    assert {tuple(row) for row in x} == {tuple(row) for row in samples}
    x[...] = -1
    assert (subject.x(50) >= 0).all()


def test_tags_of_layers_inside_count():
    subject = Subject(lambda: Sequential([Dense(3, 2), Dropout(0.5)]), None, 0)
    assert subject.is_random
    assert not subject.mixes_samples
