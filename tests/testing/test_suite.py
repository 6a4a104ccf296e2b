"""Checks with names, and the tools that they are written with."""

import pickle

import numpy as np
import pytest

from layerkit import ArgumentError, Dense, Layer, Sigmoid
from layerkit.testing import Check, CheckError, InconclusiveError
from layerkit.testing.suite import equal, fail, maker, pickled, read_only, run_checks, state_of


def broken(error):
    def run():
        raise error

    return run


def test_a_check_says_whose_it_is():
    check = Check("finite", "Scale()", broken(CheckError("not so")))
    with pytest.raises(CheckError, match=r"^Scale\(\), finite: not so$"):
        check()
    assert str(check) == "finite"
    with pytest.raises(CheckError, match="finite: raises KeyError: 'kernel'"):
        Check("finite", "Scale()", broken(KeyError("kernel")))()


def test_a_write_into_the_callers_array_is_said_to_be_one():
    def run():
        read_only(np.ones(2))[0] = 1

    with pytest.raises(CheckError, match="an array of the caller's is changed in place"):
        Check("x", "y", run)()


def test_all_run_and_all_failures_are_kept():
    ran = []
    checks = [
        Check("a", "s", broken(CheckError("first"))),
        Check("b", "s", lambda: ran.append("b")),
        Check("c", "s", broken(InconclusiveError("third"))),
    ]
    with pytest.raises(
        CheckError, match=r"2 of 3 checks failed\ns, a: first\ns, c: third"
    ) as caught:
        run_checks(checks)
    assert not isinstance(caught.value, InconclusiveError)
    assert list(caught.value.failures) == ["a", "c"]
    assert ran == ["b"]
    run_checks(checks[1:2])
    with pytest.raises(InconclusiveError):
        run_checks(checks[2:])


def test_equal():
    a = np.array([1.0, np.nan])
    equal(a, a.copy(), "")
    equal(np.array([1.0, 1e6]), np.array([1.0 + 1e-6, 1e6]), "", rtol=1e-11)
    with pytest.raises(CheckError, match=r"other \(they differ by up to 1, at sizes of 2\)"):
        equal(np.array([1.0]), np.array([2.0]), "other")
    with pytest.raises(CheckError, match="they differ by up to 1e-06"):
        equal(np.array([1.0]), np.array([1.0 + 1e-6]), "", rtol=1e-7)
    with pytest.raises(CheckError, match=r"shapes \(1,\) and \(2,\)"):
        equal(np.ones(1), np.ones(2), "")
    with pytest.raises(CheckError):
        equal(np.array([1.0, 2.0]), a, "", rtol=1.0)
    with pytest.raises(CheckError, match=r"^why$"):
        fail("why")


class Holder:
    pass


def test_state_of_sees_changes_at_any_depth():
    holder = Holder()
    holder.array = np.zeros(2)
    holder.rng = np.random.default_rng(0)
    holder.inner = {"list": [Holder(), 1]}
    before = state_of(holder)
    assert state_of(holder) == before
    for change in (
        lambda: holder.array.__setitem__(0, 1),
        lambda: holder.rng.random(),
        lambda: setattr(holder.inner["list"][0], "new", 3),
        lambda: holder.inner["list"].append(None),
    ):
        change()
        after = state_of(holder)
        assert after != before
        before = after


def test_expected_failures():
    checks = [
        Check("a", "s", broken(CheckError("first"))),
        Check("b", "s", lambda: None),
        Check("c", "s", broken(InconclusiveError("third"))),
    ]
    run_checks(checks, ["a", "c"])
    with pytest.raises(CheckError, match=r"1 of 3 checks failed\ns, b: passes, though except_for"):
        run_checks(checks, ("a", "b", "c"))
    ran = []
    with pytest.raises(ArgumentError, match=r"^here: except_for must be among a; got 'x', 'y'\.$"):
        run_checks([Check("a", "s", lambda: ran.append("a"))], ["x", "a", "y"], "here")
    assert not ran


def test_a_maker_stays_as_it_is_and_an_instance_is_copied():
    assert maker("here", Sigmoid, Sigmoid) is Sigmoid
    layer = Dense(3, 2)
    make = maker("here", layer, Layer)
    layer.n_out = 7
    first, second = make(), make()
    assert first is not layer
    assert first is not second
    assert first.n_out == 2
    with pytest.raises(ArgumentError, match="here: make must be a layer, its class, or a function"):
        maker("here", "Dense", Layer)


class Outer:
    class Inner:
        pass


class Hidden:
    __qualname__ = "NotThere"


def test_pickling_knows_a_local_class_from_a_fault():
    class Local:
        def __init__(self, inside):
            self.inside = inside

    class Part:
        pass

    array = np.arange(3.0)
    copied = pickled(Local([Part(), Outer.Inner(), Hidden, array]))
    part, inner, hidden, numbers = copied.inside
    assert [type(copied), type(part), type(inner), hidden] == [Local, Part, Outer.Inner, Hidden]
    assert numbers.tolist() == array.tolist()
    assert numbers is not array
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickled(Local(lambda x: x))
    with pytest.raises(TypeError, match="generator"):
        pickled(Local(x for x in "abc"))
