import itertools

import numpy as np
import pytest
from pictures import drawn

from layerkit import Add, ArgumentError, Concatenate, Dense, Graph, Multiply, Sequential, plots
from layerkit.plots.graphs import _places, _ranks


def network():
    return Graph(
        {"tokens": (4,), "mask": (3,)},
        {
            "words": (Dense(4, 3), "tokens"),
            "seen": (Multiply(), ("words", "mask")),
            "deep": (Dense(3, 3), "seen"),
            "skip": (Add(), ("deep", "words")),
            "all": (Concatenate(), ("skip", "mask")),
            "kind": (Dense(6, 2), "all"),
            "size": (Dense(3, 1), "deep"),
        },
        ("kind", "size"),
    )


def test_each_node_is_a_box_and_each_reading_an_arrow():
    model = network()
    ax = drawn(plots.graph(model))
    boxes = {text.get_text().split("\n")[0]: text for text in ax.texts if text.get_text()}
    assert list(boxes) == [*model.inputs, *model.order]
    assert boxes["tokens"].get_text() == "tokens\n(n, 4)"
    assert boxes["all"].get_text() == "all\nConcatenate (n, 6)"
    colours = {name: box.get_bbox_patch().get_facecolor() for name, box in boxes.items()}
    assert colours["kind"] == colours["size"] != colours["all"]
    assert colours["tokens"] == colours["mask"] != colours["all"]
    arrows = [text for text in ax.texts if not text.get_text()]
    assert len(arrows) == sum(len(reads) for reads in model.reads.values())
    ends = [arrow.xycoords.get_text().split("\n")[0] for arrow in arrows]
    assert ends == [name for name in model.order for _ in model.reads[name]]


def test_nodes_stand_below_what_they_read_and_apart():
    model = network()
    ranks, edges = _ranks(model)
    places = _places(ranks, edges)
    for name, reads in model.reads.items():
        assert all(places[read][1] < places[name][1] for read in reads)
    for one, other in itertools.combinations(places.values(), 2):
        assert one[1] != other[1] or abs(one[0] - other[0]) >= 1
    for path in edges:  # each step leads one rank down: no arrow passes behind a box
        assert np.diff([places[point][1] for point in path]).tolist() == [1] * (len(path) - 1)


def test_arrows_that_need_not_cross_do_not():
    nodes = {f"n{i}": (Dense(2, 2), f"x{3 - i}") for i in range(4)}
    model = Graph({f"x{i}": (2,) for i in range(4)}, nodes, tuple(nodes))
    ranks, edges = _ranks(model)
    places = _places(ranks, edges)
    assert all(places[path[0]][0] == places[path[-1]][0] for path in edges)


def test_a_value_that_is_read_twice_by_one_node_is_one_arrow():
    ax = drawn(plots.graph(Graph({"x": (2,)}, {"y": (Add(), ("x", "x"))}, "y")))
    assert len([text for text in ax.texts if not text.get_text()]) == 1


def test_axes_of_the_caller():
    ax = plots.graph(network())
    assert plots.graph(network(), ax) is ax


def test_only_graphs_are_drawn():
    with pytest.raises(ArgumentError, match=r"plots.graph: model must be an instance of Graph"):
        plots.graph(Sequential([Dense(2, 2)]))
