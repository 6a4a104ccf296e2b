import numpy as np
import pytest
from pictures import drawn

from layerkit import AUC, ArgumentError, AveragePrecision, PrecisionRecallCurve, ROCCurve, plots

RNG = np.random.default_rng(0)
Y_PRED, LABELS = RNG.dirichlet(np.ones(3), size=40), RNG.integers(3, size=40)
PAIRS = [
    (plots.roc_curve, ROCCurve(), AUC(None), "area"),
    (
        plots.precision_recall_curve,
        PrecisionRecallCurve(),
        AveragePrecision(None),
        "average precision",
    ),
]
each = pytest.mark.parametrize(("draw", "curve", "figure", "word"), PAIRS)


@each
def test_of_several_classes(draw, curve, figure, word):
    curves = curve(Y_PRED, LABELS)
    ax = drawn(draw(curves, classes=["cat", "dog", "eel"]))
    figures = figure(Y_PRED, LABELS)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    names = ("cat", "dog", "eel")
    expected = [f"{name}: {word} {own:.3f}" for name, own in zip(names, figures, strict=True)]
    assert labels == expected
    for line, own in zip(ax.lines[-3:], curves, strict=True):
        np.testing.assert_array_equal(line.get_xydata().T, own[:2])
    ax = drawn(draw(curves))
    assert ax.get_legend().get_texts()[0].get_text().startswith(f"class 0: {word}")


@each
def test_of_one_output(draw, curve, figure, word):
    points = curve(Y_PRED[:, :1], LABELS == 0)
    ax = drawn(draw(points))
    (own,) = figure(Y_PRED[:, :1], LABELS == 0)
    assert ax.get_legend().get_texts()[0].get_text() == f"{word} {own:.3f}"
    assert draw(points, ax=ax) is ax


@pytest.mark.parametrize("draw", [plots.roc_curve, plots.precision_recall_curve])
@pytest.mark.parametrize(
    ("curve", "classes", "message"),
    [
        (np.ones((2, 5)), None, r"curve must be of shape \(3, 5\)"),
        (3.0, None, r"curve must be of shape \(3, 0\)"),
        ([], None, "curve must be at least one curve"),
        (np.ones((3, 5)), ["a", "b"], "classes must be as many as curves, 1"),
        (np.ones((3, 5)), "ab", "classes must be a list of names"),
    ],
)
def test_bad_arguments(draw, curve, classes, message):
    with pytest.raises(ArgumentError, match=message):
        draw(curve, classes=classes)
