import os
from pathlib import Path

import pytest

from layerkit import ArgumentError, SaveError
from layerkit.training.callbacks.paths import (
    check_fields,
    fields_of,
    filled,
    make_folder,
    text_of,
)


def test_the_names_in_braces():
    assert fields_of("here", "runs/{{x}}/{epoch:02d}-{val_loss:.3f}") == ["epoch", "val_loss"]
    assert fields_of("here", "runs/m") == []
    assert filled("{{x}}{epoch:02d}-{loss:.1f}", {"epoch": 3, "loss": 0.25}) == "{x}03-0.2"
    with pytest.raises(ArgumentError, match="here: path must be a path with names in braces"):
        fields_of("here", "m{epoch")


def test_only_these_names():
    check_fields("here", "{epoch:02d}{loss:.3f}", ["epoch", "loss"])
    check_fields("here", "{epoch}{step:3d}", ["epoch", "step"])
    with pytest.raises(ArgumentError, match=r"alone: epoch, loss; got '{step}'"):
        check_fields("here", "{step}", ["epoch", "loss"])
    with pytest.raises(ArgumentError, match="whose numbers can be written so"):
        check_fields("here", "{loss:d}", ["epoch", "loss"])
    for inside in ("other", "loss[0]", "loss.imag.x", "0"):
        with pytest.raises(ArgumentError, match="whose numbers can be written so"):
            check_fields("here", f"{{epoch:{{{inside}}}}}", ["epoch", "loss"])


def test_folders(tmp_path):
    for _ in range(2):
        make_folder("here", str(tmp_path / "a" / "b" / "file"))
    assert os.listdir(tmp_path / "a") == ["b"]
    with pytest.raises(SaveError, match="here: path must be a file in a folder that can be made"):
        make_folder("here", str(tmp_path / "a" / "b"))


@pytest.mark.parametrize("missing", [os.W_OK, os.X_OK])
def test_a_folder_that_lets_nobody_write(missing, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & missing)  # root may all
    with pytest.raises(SaveError, match=r"PermissionError: .* can't be written to"):
        make_folder("here", str(tmp_path / "a" / "file"))


def test_what_a_path_is():
    assert text_of("here", "folder", Path("a"), "the path of a folder") == "a"
    with pytest.raises(ArgumentError, match="here: folder must be the path of a folder; got 3"):
        text_of("here", "folder", 3, "the path of a folder")
