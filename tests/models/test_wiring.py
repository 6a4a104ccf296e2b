import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerkit import ArgumentError
from layerkit.models.wiring import check_use, sort_nodes


@given(st.permutations(range(8)))
def test_a_node_comes_after_what_it_reads_whatever_the_order_given(places):
    reads = {f"n{i}": ("x",) if i == 0 else (f"n{i - 1}", f"n{i // 2 if i > 1 else 0}", "x")
             for i in places}  # fmt: skip
    assert sort_nodes("here", {"x": ()}, reads) == tuple(f"n{i}" for i in range(8))


def test_nodes_that_are_ready_keep_their_order():
    assert sort_nodes("here", {"x": ()}, {"b": ("x",), "a": ("x",)}) == ("b", "a")


def test_the_cycle_is_named_without_what_leads_to_it():
    reads = {"y": ("b",), "b": ("c", "x"), "c": ("d",), "d": ("b",)}
    with pytest.raises(ArgumentError, match=r"^here: .* got 'b' reads 'c' reads 'd' reads 'b'\."):
        sort_nodes("here", {"x": ()}, reads)


def test_what_only_leads_to_unused_nodes_is_unused():
    reads = {"a": ("z",), "b": ("a",), "y": ("x",)}
    order = ("a", "b", "y")
    with pytest.raises(ArgumentError, match=r"^here: inputs must be in use; got 'z', which"):
        check_use("here", {"x": (), "z": ()}, reads, order, ("y",))
    with pytest.raises(ArgumentError, match=r"^here: nodes must be in use; got 'b', which"):
        check_use("here", {"x": (), "z": ()}, reads, order, ("y", "a"))
    check_use("here", {"x": (), "z": ()}, reads, order, ("y", "b"))
