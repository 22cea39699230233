from __future__ import annotations

import ctypes
import errno
import os
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from postroad.adapters import files
from postroad.adapters.files import (
    read_tree,
    remove_directory,
    replace_directory,
    tree_signature,
    write_atomic,
)
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- one file ----------------------------------------------------------------------------------


def test_writes_a_file_with_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = os.umask(0o777)
    try:
        write_atomic(path, b"one", 0o640)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"one"
    assert mode_of(path) == 0o640


def test_a_file_is_private_by_default(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"one")
    assert mode_of(tmp_path / "a") == 0o600


def test_replaces_a_file_by_another_inode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"one")
    with path.open("rb") as reader:
        write_atomic(path, b"two")
        assert reader.read() == b"one"
    assert path.read_bytes() == b"two"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"one")

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"two")
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_a_file_is_synced_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    seen: list[bool] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        seen.append(path.exists())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    write_atomic(path, b"one")
    assert seen == [False, True]  # the file before, its directory after


# --- a directory -------------------------------------------------------------------------------


def test_a_directory_holds_exactly_the_new_files(tmp_path: Path) -> None:
    path = tmp_path / "EE"
    replace_directory(path, {"a": b"1", "b": b"2"})
    replace_directory(path, {"b": b"3", "c": b"4"})
    assert read_tree(tmp_path, 100) == {"EE/b": b"3", "EE/c": b"4"}
    assert names(tmp_path) == ["EE"]
    assert mode_of(path) == 0o750
    assert mode_of(path / "b") == 0o640


def test_a_directory_is_never_half_for_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "EE"
    states = [{"a": str(n).encode(), "b": str(n).encode()} for n in range(2)]
    replace_directory(path, states[0])
    stop = threading.Event()

    def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            replace_directory(path, states[count % 2])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(200):
            seen = read_tree(tmp_path, 100)
            assert seen["EE/a"] == seen["EE/b"]
    finally:
        stop.set()
        writer.join()


def test_a_failed_replacement_leaves_the_old_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "EE"
    replace_directory(path, {"a": b"1"})

    def fail(fresh: Path, target: Path) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(files, "_take_place", fail)
    with pytest.raises(OSError, match="broken disk"):
        replace_directory(path, {"a": b"2"})
    assert read_tree(tmp_path, 100) == {"EE/a": b"1"}
    assert names(tmp_path) == ["EE"]


def test_works_where_the_system_cannot_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    path = tmp_path / "EE"
    replace_directory(path, {"a": b"1"})
    replace_directory(path, {"b": b"2"})
    assert read_tree(tmp_path, 100) == {"EE/b": b"2"}
    assert names(tmp_path) == ["EE"]


class Rename:
    """Stands in for the C library's call."""

    def __init__(self, code: int) -> None:
        self.code = code

    def renameat2(self, *arguments: object) -> int:
        ctypes.set_errno(self.code)
        return -1


def test_an_unsupported_exchange_is_told_from_a_failed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *a, **k: Rename(errno.EINVAL))
    assert files._exchange(tmp_path, tmp_path) is False
    monkeypatch.setattr(ctypes, "CDLL", lambda *a, **k: Rename(errno.EACCES))
    with pytest.raises(PermissionError):
        files._exchange(tmp_path, tmp_path)
    monkeypatch.setattr(ctypes, "CDLL", lambda *a, **k: object())
    assert files._exchange(tmp_path, tmp_path) is False


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "."])
def test_refuses_file_names_that_leave_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        replace_directory(tmp_path / "EE", {name: b""})
    assert names(tmp_path) == []


def test_removes_a_directory_with_all_in_it(tmp_path: Path) -> None:
    path = tmp_path / "EE"
    replace_directory(path, {"a": b"1"})
    remove_directory(path)
    remove_directory(path)
    assert names(tmp_path) == []


# --- a tree ------------------------------------------------------------------------------------


def test_reads_a_tree_without_hidden_names_links_and_devices(tmp_path: Path) -> None:
    (tmp_path / "EE").mkdir()
    (tmp_path / "EE" / "a").write_bytes(b"1")
    (tmp_path / ".EE").mkdir()
    (tmp_path / ".EE" / "a").write_bytes(b"2")
    (tmp_path / "EE" / ".a").write_bytes(b"3")
    (tmp_path / "link").symlink_to(tmp_path / "EE")
    (tmp_path / "EE" / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "EE" / "pipe")
    assert read_tree(tmp_path, 100) == {"EE/a": b"1"}


def test_reads_no_more_than_allowed(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"12345")
    assert len(read_tree(tmp_path, 15, max_files=3)) == 3
    with pytest.raises(ConfigurationError):
        read_tree(tmp_path, 14)
    with pytest.raises(ConfigurationError):
        read_tree(tmp_path, 15, max_files=2)


def test_does_not_descend_forever(tmp_path: Path) -> None:
    deep = tmp_path / "/".join("abcdefgh")
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x")
    assert read_tree(tmp_path, 100) == {}


def test_a_missing_directory_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tree(tmp_path / "missing", 100)


def test_a_file_that_vanishes_makes_it_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    real = os.stat
    vanished: list[str] = []

    def vanish(name: str, **more: Any) -> os.stat_result:
        if name == "b" and not vanished:
            vanished.append(name)
            (tmp_path / "b").unlink()
        return real(name, **more)

    monkeypatch.setattr(os, "stat", vanish)
    assert read_tree(tmp_path, 100) == {"a": b"1"}


def test_a_tree_that_never_stands_still_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"1")

    def vanish(name: str, **more: Any) -> os.stat_result:
        raise FileNotFoundError(errno.ENOENT, "gone", name)

    monkeypatch.setattr(os, "stat", vanish)
    with pytest.raises(FileNotFoundError):
        read_tree(tmp_path, 100)


def test_signature_changes_with_the_tree_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "EE"
    replace_directory(path, {"a": b"1"})
    first = tree_signature(tmp_path)
    assert first == tree_signature(tmp_path) != ()
    (tmp_path / ".hidden").write_bytes(b"")
    assert tree_signature(tmp_path) == first
    replace_directory(path, {"a": b"1"})
    assert tree_signature(tmp_path) != first


def test_a_missing_tree_has_an_empty_signature(tmp_path: Path) -> None:
    assert tree_signature(tmp_path / "missing") == ()
