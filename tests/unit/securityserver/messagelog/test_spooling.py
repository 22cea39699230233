from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.records import SpooledBody
from postroad.securityserver.messagelog.spooling import (
    SpoolFile,
    remove_orphans,
    remove_spool_file,
)
from postroad.securityserver.messagelog.store import PIECE_BYTES
from support.messagelog import spool


def read_all(directory: Path, body: SpooledBody) -> list[bytes]:
    file = SpoolFile(directory, body)
    pieces = []
    try:
        while piece := file.read_piece():
            pieces.append(piece)
    finally:
        file.close()
    return pieces


def refusal(directory: Path, body: SpooledBody) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read_all(directory, body)
    assert refused.value.fault_code == "logging_failed"
    return refused.value.message


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_a_body_is_read_in_pieces(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    pieces = read_all(tmp_path, spool(tmp_path, data))
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)


def test_a_body_other_than_the_signed_one_is_refused(tmp_path: Path) -> None:
    body = spool(tmp_path, b"signed")
    (tmp_path / body.file_name).write_bytes(b"forged")
    assert "isn't the one that was signed" in refusal(tmp_path, body)


def test_a_body_of_another_length_is_refused(tmp_path: Path) -> None:
    body = spool(tmp_path, b"signed")
    (tmp_path / body.file_name).write_bytes(b"signed and more")
    assert "15 bytes instead of 6" in refusal(tmp_path, body)


def test_a_body_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    body = spool(tmp_path, bytes(PIECE_BYTES + 10))
    file = SpoolFile(tmp_path, body)
    file.read_piece()
    os.truncate(tmp_path / body.file_name, PIECE_BYTES)
    with pytest.raises(ConfigurationError, match="shorter"):
        file.read_piece()
    file.close()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "can't be opened" in refusal(tmp_path, SpooledBody("none", bytes(64), 1))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    body = spool(tmp_path, b"outside", "target")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert "can't be opened" in refusal(tmp_path, msgspec.structs.replace(body, file_name="link"))


def test_something_else_than_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "instead of" in refusal(tmp_path, SpooledBody("pipe", bytes(64), 0))


@pytest.mark.parametrize("name", ["", ".", "..", "../escape", "/etc/passwd", "a/b", "a\0b"])
def test_a_name_that_leaves_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    body = SpooledBody(name, bytes(64), 1)
    assert "plain file name" in refusal(tmp_path, body)
    with pytest.raises(ConfigurationError):
        remove_spool_file(tmp_path, body)


def test_a_file_is_removed_once_and_again(tmp_path: Path) -> None:
    body = spool(tmp_path, b"data")
    remove_spool_file(tmp_path, body)
    remove_spool_file(tmp_path, body)
    assert list(tmp_path.iterdir()) == []


def test_orphans_are_removed_and_fresh_files_stay(tmp_path: Path) -> None:
    spool(tmp_path, b"old", "old")
    spool(tmp_path, b"new", "new")
    (tmp_path / "directory").mkdir()
    os.utime(tmp_path / "old", (1000, 1000))
    os.utime(tmp_path / "directory", (1000, 1000))
    assert remove_orphans(tmp_path, older_than=2000) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"new", "directory"}


def test_no_spool_directory_means_no_orphans(tmp_path: Path) -> None:
    assert remove_orphans(tmp_path / "none", older_than=2000) == 0
