"""Objects made again from their constructor's arguments."""

import pytest

from layerkit import ELU, Dense, GlorotNormal, Sequential
from layerkit.testing import CheckError
from layerkit.testing.rebuilding import rebuilt


def test_with_what_is_inside():
    model = Sequential(
        [Dense(3, 4, ELU(0.5), kernel_initializer=GlorotNormal()), Dense(4, 2, name="out")], seed=3
    )
    twin = rebuilt(model)
    assert repr(twin) == repr(model)
    assert (twin.values == model.values).all()
    assert twin[0].activation is not model[0].activation


def test_an_argument_that_is_not_kept():
    class Forgetful(Dense):
        def __init__(self, width):
            super().__init__(width, width)

    with pytest.raises(CheckError, match=r"'width' of Forgetful.*write self.width = width"):
        rebuilt(Forgetful(2))


def test_arguments_by_position_and_any_number_of_others():
    class Odd(Dense):
        def __init__(self, width, /, *rest, **others):
            self.width = width
            super().__init__(width, width)

    assert rebuilt(Odd(2)).n_in == 2
