import pytest

from layerkit import ArgumentError, Dense, Sequential
from layerkit.models.selection import select, select_all


def network():
    inner = Sequential([Dense(4, 4, name="deep"), Dense(4, 4)], name="inner")
    layers = [Dense(3, 4, name="first"), inner, Dense(4, 3, name="last")]
    return Sequential(layers, ties={"last.kernel": "first.kernel.T"}, seed=0)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("first", ["first.kernel", "first.bias"]),
        ("inner", ["inner.deep.kernel", "inner.deep.bias", "inner.dense_1.kernel",
                   "inner.dense_1.bias"]),
        ("inner.deep", ["inner.deep.kernel", "inner.deep.bias"]),
        ("inner.deep.bias", ["inner.deep.bias"]),
        ("*.bias", ["first.bias", "inner.deep.bias", "inner.dense_1.bias", "last.bias"]),
        ("inner.*.kernel", ["inner.deep.kernel", "inner.dense_1.kernel"]),
        ("l*", ["last.kernel", "last.bias"]),  # a tied one too
        ("f?rst", ["first.kernel", "first.bias"]),
    ],
)  # fmt: skip
def test_names_and_patterns(name, found):
    model = network()
    chosen = select("test", model, name)
    assert list(chosen) == found
    for path, parameter in chosen.items():
        layer, _, own = path.rpartition(".")
        assert dict(model.walk())[layer].own_parameters[own] is parameter


def test_several_together_in_the_order_of_the_names_and_all_by_default():
    model = network()
    assert list(select_all("test", model, ["last", "first.bias"])) == [
        "last.kernel", "last.bias", "first.bias",
    ]  # fmt: skip
    assert len(select_all("test", model, [])) == 8


def test_a_name_that_looks_like_a_pattern_is_a_name_first():
    model = Sequential([Dense(2, 2, name="a[b]"), Dense(2, 2, name="ab")])
    assert list(select("test", model, "a[b]")) == ["a[b].kernel", "a[b].bias"]


@pytest.mark.parametrize("name", ["", "nobody", "*.weight", "first.kern", "FIRST"])
def test_what_stands_for_nothing_is_refused(name):
    message = r"test: a name must be one of 'first', 'inner', .*'last.bias', or a pattern of such"
    with pytest.raises(ArgumentError, match=message):
        select("test", network(), name)


def test_a_name_is_a_text():
    with pytest.raises(ArgumentError, match=r"a name must be a text such as 'encoder' or"):
        select_all("test", network(), [3])
