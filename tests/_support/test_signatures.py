import functools

import pytest

from layerkit._support.signatures import MISSING, Argument, arguments_of, takes


class Subject:
    def __init__(self, a, b=2, *rest, c, d=4, **options):
        local = a
        del local

    def plain(self):
        out = 1
        return out


def wrapped(method):
    @functools.wraps(method)
    def wrapper(*arguments, **options):
        return method(*arguments, **options)

    return wrapper


@pytest.mark.parametrize("function", [Subject.__init__, wrapped(wrapped(Subject.__init__))])
def test_arguments_and_their_defaults(function):
    assert arguments_of(function) == [
        Argument("a", MISSING, False),
        Argument("b", 2, False),
        Argument("c", MISSING, True),
        Argument("d", 4, True),
    ]


def test_what_is_written_in_c_has_none():
    assert arguments_of(object.__init__) == []


def test_takes():
    assert takes(Subject.__init__, "d")
    # Neither the first argument, nor what takes up the rest, nor local variables.
    assert not any(takes(Subject.__init__, name) for name in ("self", "rest", "options", "local"))
    assert not takes(Subject.plain, "out")
