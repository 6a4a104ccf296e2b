from html.parser import HTMLParser

import pytest

from layerkit import (
    GRU,
    LSTM,
    Add,
    ArgumentError,
    Bidirectional,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    CrossAttention,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Embedding,
    Graph,
    Maxout,
    MultiHeadAttention,
    Parallel,
    Residual,
    SeparableConv2D,
    Sequential,
    Sigmoid,
    SimpleRNN,
    StateError,
    SwiGLU,
    TimeDistributed,
)
from layerkit.models.summary import in_bytes, shorten, text_table


def test_summary_counts_what_is_trainable():
    model = Sequential([Dense(8, 3, Sigmoid()), Dense(3, 8, name="out")], dtype="float32")
    model["out"].kernel.trainable = False
    assert model.summary().splitlines() == [
        "layer    kind                     output shape  parameters  trainable",
        "-------  -----------------------  ------------  ----------  ---------",
        "dense_0  Dense(8, 3, Sigmoid())   (n, 3)                27         27",
        "out      Dense(3, 8, name='out')  (n, 8)                32          8",
        "-------  -----------------------  ------------  ----------  ---------",
        "total    float32                  (n, 8)                59         35",
    ]


def test_costs():
    layers = [Dense(8, 3, Sigmoid()), Dropout(0.1), Dense(3, 8, name="out")]
    model = Sequential(layers, dtype="float32")
    assert [line.split()[-3:] for line in model.summary(costs=True).splitlines()[2:]] == [
        ["48", "12", "B"],
        ["0", "12", "B"],
        ["48", "32", "B"],
        ["---------", "-----", "-------"],
        ["96", "56", "B"],
    ]
    assert "flops  outputs" in model.summary(costs=True)
    assert "flops" not in model.summary() + model._repr_html_()
    nodes = {"a": (Dense(4, 2), "x"), "b": (Dense(4, 2), "x"), "c": (Add(), ("a", "b"))}
    graph = Graph({"x": (4,)}, nodes, "c")
    assert graph.summary(costs=True).splitlines()[-1].split() == (
        "total float64 (n, 2) 20 20 32 48 B".split()
    )
    with pytest.raises(ArgumentError, match=r"Sequential.summary: costs must be True or False"):
        model.summary(costs=1)


@pytest.mark.parametrize(
    ("layer", "shape", "flops", "outputs"),
    [
        (lambda: Dense(3, 4), (3,), 24, 4),
        (lambda: Dense(3, 4), (5, 3), 120, 20),
        (lambda: Dense(3, 4), (None, 3), 24, 4),
        (lambda: Dense(3, 4), (2, 5, 3), 240, 40),
        (lambda: TimeDistributed(Dense(3, 4)), (5, 3), 120, 20 + 4),
        (lambda: TimeDistributed(Dense(3, 4)), (None, 3), 24, 4 + 4),
        (lambda: Residual([Dense(3, 4), Dense(4, 3)]), (3,), 48, 3 + 4 + 3),
        (lambda: Parallel([Dense(3, 4), Dense(3, 2)]), (3,), 36, 6 + 6 + 4 + 2),
        (lambda: SwiGLU(3, 4), (3,), 48, 4 + 4 + 4),
        (lambda: Maxout(3, 4, 2), (3,), 48, 4 + 8),
        (lambda: Sequential([Dense(3, 4), Dense(4, 1)]), (3,), 32, 5),
        # The operations are those that torch 2.14 counts, by FlopCounterMode.
        (lambda: Conv1D(3, 5, 2, dilation=2), (9, 3), 420, 35),
        (
            lambda: Conv2D(4, 6, 3, stride=2, padding=1, n_groups=2),
            (7, 8, 4),
            3456,
            96,
        ),
        (lambda: Conv2DTranspose(3, 5, 3, stride=2), (4, 5, 3), 5400, 9 * 11 * 5),
        (lambda: MultiHeadAttention(8, 2), (5, 8), 3360, 40 + 120 + 40),
        (lambda: LSTM(3, 4), (1, 3), 224, 4),
        (lambda: GRU(3, 4), (5, 3), 5 * 2 * (3 + 4) * 12, 4),
        (lambda: Bidirectional(SimpleRNN(3, 4)), (None, 3), 2 * 56, 24),
        (lambda: DepthwiseConv2D(3, 2, depth_multiplier=2), (3, 3, 3), 2 * 24 * 4, 24),
        (lambda: SeparableConv2D(3, 5, 2), (3, 3, 3), 2 * (12 + 15) * 4, 20 + 12 + 20),
        (lambda: Embedding(9, 4), (5,), 0, 20),
    ],
)
def test_counts(layer, shape, flops, outputs):
    made = layer()
    with pytest.raises(StateError):
        Dense(3, 4).count_flops()
    with pytest.raises(StateError):
        Dropout(0.1).count_outputs()
    model = Sequential([made], input_shape=shape)
    assert (made.count_flops(), made.count_outputs()) == (flops, outputs)
    assert (model.count_flops(), model.count_outputs()) == (flops, outputs)


def test_attention_to_a_memory_counts_its_steps():
    products = 2 * (5 * 8 * 8 + 7 * 6 * 16 + 5 * 8 * 8) + 4 * 5 * 7 * 8
    assert Graph({"x": (5, 8), "memory": (7, 6)}, nodes_of(), "y").count_flops() == products
    assert Graph({"x": (None, 8), "memory": (None, 6)}, nodes_of(), "y").count_flops() == (
        2 * (8 * 8 + 6 * 16 + 8 * 8) + 4 * 8
    )


def nodes_of():
    return {"y": (CrossAttention(8, 2), ("x", "memory"))}


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (123456, "123 kB"), (2.5e6, "2.5 MB"),
     (1e9, "1 GB"), (5e12, "5 TB"), (4e15, "4e+03 TB")],
)  # fmt: skip
def test_sizes(size, text):
    assert in_bytes(size) == text


def test_html_is_escaped_and_well_formed():
    model = Sequential([Dense(1, 1, name="<script>alert('&')</script>")])
    text = model._repr_html_()
    assert "<script>" not in text
    assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)" in text
    opened, cells = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

        def handle_data(self, data):
            cells.append(data)

    Reader().feed(text)
    assert opened == []
    assert "<script>alert('&')</script>" in cells


def test_long_names_are_cut():
    assert shorten("a\n  b") == "a b"
    assert shorten("x" * 99, 10) == "x" * 7 + "..."


def test_numbers_stand_to_the_right():
    table = text_table([("a", "count"), ("b", "7"), ("c", "1,000")])
    assert table.splitlines() == ["a  count", "-  -----", "b      7", "-  -----", "c  1,000"]
