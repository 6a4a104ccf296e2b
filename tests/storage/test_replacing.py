"""What a save may replace, what it leaves about, and what it says of it."""

import errno
import os
import socket
import stat
import time

import pytest

from layerkit import Dense, SaveError, Sequential
from layerkit.storage.replacing import replace_file


def write(path, content=b"new"):
    replace_file("here", path, [content])


def kind_of(path):
    return stat.S_IFMT(os.lstat(path).st_mode)


def fifo(path):
    os.mkfifo(path)


def bound(path):
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(path))


def device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:  # not as root: the system's own, which nobody else may replace anyway
        os.symlink("/dev/null", path)


@pytest.mark.parametrize(
    ("make", "words"),
    [(fifo, "a FIFO"), (bound, "a socket"), (device, "a device"), (os.mkdir, "a folder")],
)
@pytest.mark.parametrize("is_linked", [False, True])
def test_only_a_regular_file_is_replaced(make, words, is_linked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path has few letters
    make("thing")
    path = "thing"
    if is_linked:
        os.symlink("thing", "link")
        path = "link"
    before = kind_of("thing"), sorted(os.listdir())
    with pytest.raises(SaveError, match=f"here: path must be that of a regular file, .*{words}"):
        write(path)
    with pytest.raises(SaveError, match=r"Sequential.save: path must be that of a regular file"):
        Sequential([Dense(1, 1)]).save(path)
    assert (kind_of("thing"), sorted(os.listdir())) == before


def test_a_link_that_leads_nowhere_yet_gets_its_file(tmp_path):
    os.symlink(tmp_path / "later", tmp_path / "link")
    write(tmp_path / "link")
    assert (tmp_path / "later").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
    os.symlink(tmp_path / "circle", tmp_path / "circle")
    with pytest.raises(SaveError, match="a file that can be written; got OSError"):
        write(tmp_path / "circle")
    assert (tmp_path / "circle").is_symlink()


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o640, 0o660, 0o755])
def test_the_mode_stays(mode, tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    os.chmod(tmp_path / "f", mode)
    write(tmp_path / "f")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode
    assert (tmp_path / "f").read_bytes() == b"new"


def test_nobody_else_can_read_it_on_the_way(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"old")
    os.chmod(tmp_path / "f", 0o600)
    modes, real = [], os.fsync

    def fsync(descriptor):
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "f")
    assert modes[0] == 0o600


@pytest.mark.parametrize(("umask", "mode"), [(0o027, 0o640), (0o022, 0o644), (0, 0o666)])
def test_a_new_file_is_as_the_umask_has_it(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write(tmp_path / "f")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o444, 0o400, 0o555])
def test_a_read_only_file_is_not_replaced(mode, tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    os.chmod(tmp_path / "f", mode)
    with pytest.raises(SaveError, match=r"one that is read-only, .* or allow to write it"):
        write(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode
    assert os.listdir(tmp_path) == ["f"]


def test_nor_is_one_that_others_alone_may_write(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write any
    with pytest.raises(SaveError, match="one that is read-only"):
        write(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"old"


def test_a_system_whose_folders_can_not_be_synchronised(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECTORY")
    write(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"new"


def aged(path, hours):
    path.write_bytes(b"cut")
    os.utime(path, times=(time.time() - hours * 3600,) * 2)


def test_what_killed_processes_have_left_is_removed_after_a_day(tmp_path):
    begin = ".model.layerkit-"
    old = tmp_path / f"{begin}0123456789ab.tmp"
    kept = [
        (f"{begin}0123456789ac.tmp", 23.9),  # which may be at work
        (f"{begin}0123456789a.tmp", 48),
        (f"{begin}0123456789aX.tmp", 48),
        (f"{begin}0123456789ad.tmp.bak", 48),
        (".other.layerkit-0123456789ab.tmp", 48),
        (".model.0123456789ab.tmp", 48),
        ("model.tmp", 48),
        ("0123456789ab", 48),
        ("0123456789ab.tmp", 48),
        (f"{begin}0123456789ab", 48),
    ]
    aged(old, 24.1)
    for name, hours in kept:
        aged(tmp_path / name, hours)
    (tmp_path / f"{begin}0123456789ae.tmp").mkdir()
    os.utime(tmp_path / f"{begin}0123456789ae.tmp", times=(0, 0))
    (tmp_path / f"{begin}0123456789af.tmp").symlink_to(tmp_path / "model.tmp")
    os.utime(tmp_path / f"{begin}0123456789af.tmp", times=(0, 0), follow_symlinks=False)
    write(tmp_path / "model")
    left = {name for name, _ in kept} | {f"{begin}0123456789a{x}.tmp" for x in "ef"} | {"model"}
    assert set(os.listdir(tmp_path)) == left


def test_one_that_can_not_be_removed_keeps_no_other(tmp_path, monkeypatch):
    left = [tmp_path / f".f.layerkit-0123456789a{x}.tmp" for x in "ab"]
    for path in left:
        aged(path, 48)
    refused, real = [], os.unlink

    def unlink(path):
        if not refused:
            refused.append(path)
            raise PermissionError
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    write(tmp_path / "f")
    assert [str(path) for path in left if path.exists()] == refused


@pytest.mark.parametrize("number", [None, errno.EIO, errno.EINVAL])
def test_nothing_stays_open(number, tmp_path, monkeypatch):
    if number is not None:
        monkeypatch.setattr(os, "fsync", failing(number))
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        try:
            write(tmp_path / "f")
        except SaveError:
            assert number == errno.EIO
    assert len(os.listdir("/dev/fd")) <= before  # others may have been closed meanwhile


def test_its_own_temporary_file_is_known_by_its_name(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.extend(os.listdir(tmp_path)))
    write(tmp_path / "model")
    assert seen[0].startswith(".model.layerkit-")
    assert seen[0].endswith(".tmp")


@pytest.mark.parametrize(
    "name", ["m" * 255, "ä" * 127, "雪" * 85, *("m" * n for n in range(223, 232))]
)
def test_a_name_as_long_as_any(name, tmp_path):
    write(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def failing(number):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    return fsync


def test_a_folder_that_fails_to_synchronise_has_the_new_file(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(SaveError, match=r"can be synchronised; got OSError.* The new file is in"):
        write(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_filesystem_without_that_is_no_failure(number, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(number))
    write(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"new"
