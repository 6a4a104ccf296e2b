from layerkit import Add, Concatenate, Dense, Graph
from layerkit.models.drawing import lanes


def test_a_chain_is_one_lane():
    assert lanes(["x"], [("a", ["x"]), ("b", ["a"])]) == ["o", "o", "o"]


def test_what_is_read_later_goes_on():
    drawn = lanes(["x"], [("a", ["x"]), ("b", ["a"]), ("y", ["x", "b"])])
    assert drawn == ["o", "+-o", "| o", "o-'"]


def test_two_inputs_meet():
    assert lanes(["a", "b"], [("y", ["a", "b"])]) == ["o", "| o", "o-'"]
    assert lanes(["a", "b"], [("y", ["b", "a"])]) == ["o", "| o", "'-o"]


def test_a_value_read_twice_by_one_node_is_drawn_once():
    assert lanes(["x"], [("y", ["x", "x"])]) == ["o", "o"]


def test_lanes_that_pass_are_crossed_and_free_ones_used_again():
    nodes = [
        ("a", ["x"]),
        ("b", ["x"]),
        ("p", ["a"]),  # an output: nothing reads it
        ("q", ["b", "z"]),
        ("r", ["q", "x"]),
    ]
    assert lanes(["x", "z"], nodes) == [
        "o",
        "| o",
        "+-|-o",
        "+-|-|-o",
        "| | o |",
        "| '---o",
        "'-----o",
    ]


def test_the_summary_draws_what_each_node_reads():
    model = Graph(
        {"x": (3,), "z": (2,)},
        {
            "a": (Dense(3, 4), "x"),
            "b": (Dense(2, 4), "z"),
            "both": (Add(), ("a", "b")),
            "kind": (Concatenate(), ("both", "x")),
            "size": (Dense(4, 1), "both"),
        },
        ("kind", "size"),
    )
    model["b"].bias.trainable = False
    assert model.summary().splitlines() == [
        "       node   reads    kind           output shape              parameters  trainable",
        "-----  -----  -------  -------------  ------------------------  ----------  ---------",
        "o      x               input          (n, 3)",
        "| o    z               input          (n, 2)",
        "+-|-o  a      x        Dense(3, 4)    (n, 4)                            16         16",
        "| o |  b      z        Dense(2, 4)    (n, 4)                            12          8",
        "| '-o  both   a, b     Add()          (n, 4)                             0          0",
        "o---+  kind   both, x  Concatenate()  (n, 7)                             0          0",
        "    o  size   both     Dense(4, 1)    (n, 1)                             5          5",
        "-----  -----  -------  -------------  ------------------------  ----------  ---------",
        "       total           float64        kind (n, 7), size (n, 1)          33         29",
    ]
    assert "<td>+-|-o</td><td>a</td><td>x</td>" in model._repr_html_()
