import argparse
import sys

import pytest

from layerkit import MissingExtraError, SaveError
from layerkit.cli.options import number, pyplot, refuse_to_overwrite, save_figure


@pytest.mark.parametrize(
    ("kind", "minimum", "good", "bad"),
    [
        (int, 1, ["1", "20"], ["0", "-1", "1.5", "x", "nan"]),
        (int, 0, ["0"], ["-1"]),
        (float, None, ["0.1", "1e-9"], ["0", "-1", "inf", "nan", "x"]),
        (float, 0, ["0", "0.5"], ["-0.1"]),
    ],
)
def test_numbers(kind, minimum, good, bad):
    read = number(kind, minimum, "as wanted")
    assert [read(text) for text in good] == [kind(text) for text in good]
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=f"number as wanted; got '{text}'"):
            read(text)


def test_files_are_not_overwritten(tmp_path):
    refuse_to_overwrite("here", "--out", str(tmp_path / "new"), False)
    (tmp_path / "old").write_text("kept")
    with pytest.raises(
        SaveError, match=r"--out must be a file that does not exist yet; .* --force"
    ):
        refuse_to_overwrite("here", "--out", str(tmp_path / "old"), False)
    refuse_to_overwrite("here", "--out", str(tmp_path / "old"), True)
    for force in (False, True):
        with pytest.raises(SaveError, match="does not exist yet"):
            refuse_to_overwrite("here", "--out", str(tmp_path), force)
        with pytest.raises(SaveError, match="whose folder does not exist"):
            refuse_to_overwrite("here", "--out", str(tmp_path / "no" / "f"), force)


def test_pictures(tmp_path, monkeypatch):
    plt = pyplot("here.plot")
    before = plt.get_fignums()
    save_figure("here.plot", str(tmp_path / "out.png"), plt.figure())
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SaveError, match="--plot must be a path to which a picture can be written"):
        save_figure("here.plot", str(tmp_path / "no" / "out.png"), plt.figure())
    assert plt.get_fignums() == before
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"here\.plot: matplotlib must be installed"):
        pyplot("here.plot")
