import itertools

import pytest
from naive_windows import ends

from layerkit import Conv2D, LoadError, ShapeError
from layerkit.layers.windows import Windows
from layerkit.parameters import Loading


def all_windows():
    for size, stride, dilation in itertools.product((1, 2, 3, 4), (1, 2, 3), (1, 2)):
        for padding in ("valid", "same", 0, 1, 3):
            yield size, stride, dilation, padding


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8])
def test_counts_margins_and_places(length):
    for size, stride, dilation, padding in all_windows():
        windows = Windows(size, stride, padding, dilation, n_axes=1)
        before, after = ends(length, size, stride, dilation, padding)
        assert windows.margins(1, length) == (before, after)
        span = (size - 1) * dilation + 1
        starts = range(-before, length + after - span + 1, stride)
        n_windows = windows.count(1, length)
        assert max(n_windows, 0) == len(starts)
        if n_windows < 1:
            continue
        found = {tap: pair for tap, *pair in windows.places(1, length)}
        for tap in range(size):
            met = [(w, start + tap * dilation) for w, start in enumerate(starts)]
            met = [(w, place) for w, place in met if 0 <= place < length]
            assert (tap in found) == bool(met)
            if met:
                own, theirs = found[tap]
                assert list(range(length))[theirs] == [place for _, place in met]
                assert list(range(n_windows))[own] == [w for w, _ in met]
        assert windows.is_whole(1) == (size == stride == 1 and padding not in (1, 3))


def test_same_gives_a_window_for_each_stride_and_the_odd_one_at_the_end():
    assert Windows(2, 1, "same", 1, n_axes=1).margins(1, 5) == (0, 1)
    assert Windows(3, 2, "same", 1, n_axes=1).margins(1, 4) == (0, 1)
    assert Windows(1, 3, "same", 1, n_axes=1).margins(1, 5) == (0, 0)
    assert Windows(3, 2, "same", 1, n_axes=1).count(1, 5) == 3


def test_lengths_keep_open_axes_and_refuse_short_ones():
    windows = Windows((3, 2), (1, 1), "valid", (2, 1))
    assert windows.lengths("f", "x", (None, 4, 7)) == (None, 3)
    with pytest.raises(ShapeError, match="f: x must be of length 5 or more along axis 1; got"):
        windows.lengths("f", "x", (4, None, 7))


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"),
    [(1, (5_000, 5_000), 1), (9_000, (5_000, 5_000), 1), (1, "same", 9_000)],
)
def test_a_file_does_not_choose_how_much_memory_margins_take(stride, padding, dilation):
    windows = Windows((2, 2), (stride, stride), padding, (dilation, dilation))
    for shape in ((None, None, 1), (2, 2, 1)):
        with Loading(10), pytest.raises(LoadError, match="no larger than what the file has"):
            windows.lengths("f", "x", shape)
        windows.lengths("f", "x", shape)


def test_taps_that_are_never_inside_cost_nothing():
    windows = Windows((10**9, 10**9), (1, 1), "same", (1, 1))
    assert len(windows.places(0, 3)) == 5
    far = Windows(2, 5, 3, 1, n_axes=1)  # whose windows are at -3 and 2
    assert far.count(1, 1) == 2
    assert far.places(1, 1) == []


def test_the_length_that_is_needed_is_less_by_the_margins():
    with pytest.raises(ShapeError, match="f: x must be of length 3 or more along axis 1; got"):
        Windows(5, 1, 1, 1, n_axes=1).lengths("f", "x", (2, 1))


def test_windows_of_a_layer():
    windows = Conv2D(1, 1, (2, 3), stride=2, dilation=(1, 3), padding=1).windows
    assert (windows.size, windows.stride, windows.dilation) == ((2, 3), (2, 2), (1, 3))
    assert (windows.span, windows.padding) == ((2, 7), (1, 1))
    assert windows.are_never_empty
    assert not Windows((2, 2), (1, 1), (2, 0), (1, 1)).are_never_empty
