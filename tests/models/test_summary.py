from html.parser import HTMLParser

from layerkit import Dense, Sequential, Sigmoid
from layerkit.models.summary import shorten, text_table


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
