"""Large bodies as files beside the log's database."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.body_files import BodyFiles
from postroad.securityserver.messagelog.records import SpooledBody
from support.messagelog import OpenLog, open_log, spool


@pytest.fixture
def files(tmp_path: Path) -> BodyFiles:
    return BodyFiles(tmp_path / "bodies")


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def test_a_kept_body_has_left_the_spool_and_can_be_read(files: BodyFiles, waiting: Path) -> None:
    assert files.keep(waiting, spool(waiting, b"body"), 12_345, 2)
    assert files.read(12_345, 2) == b"body"
    assert list(waiting.iterdir()) == []


def test_folders_and_files_are_for_us_alone(files: BodyFiles, waiting: Path) -> None:
    assert files.keep(waiting, spool(waiting, b"body"), 1, 1)
    for folder in waiting.parent.glob("bodies/**/"):
        assert folder.stat().st_mode & 0o077 == 0


def test_a_body_on_another_file_system_stays_there(files: BodyFiles) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        directory = Path(elsewhere)
        body = spool(directory, b"body")
        assert not files.keep(directory, body, 1, 1)
        assert (directory / body.file_name).read_bytes() == b"body"


def test_a_body_never_takes_the_place_of_another(files: BodyFiles, waiting: Path) -> None:
    """A database that was restored gives the numbers of lost records again."""
    assert files.keep(waiting, spool(waiting, b"first"), 1, 1)
    second = spool(waiting, b"second")
    assert not files.keep(waiting, second, 1, 1)
    assert files.read(1, 1) == b"first"
    assert (waiting / second.file_name).read_bytes() == b"second"


def test_what_was_not_signed_is_refused(files: BodyFiles, waiting: Path) -> None:
    body = spool(waiting, b"body")
    with pytest.raises(ConfigurationError, match="isn't the one that was signed"):
        files.keep(waiting, SpooledBody(body.file_name, bytes(64), body.size), 1, 1)


def test_a_link_is_not_followed(files: BodyFiles, waiting: Path, tmp_path: Path) -> None:
    body = spool(tmp_path / "others", b"body")
    waiting.mkdir()
    (waiting / body.file_name).symlink_to(tmp_path / "others" / body.file_name)
    with pytest.raises(ConfigurationError, match="can't be opened"):
        files.keep(waiting, body, 1, 1)


def test_the_files_of_one_record_go_alone(files: BodyFiles, waiting: Path) -> None:
    for record_id, number in ((2, 1), (2, 2), (22, 1), (1002, 2)):
        assert files.keep(waiting, spool(waiting, b"body"), record_id, number)
    files.remove(2)
    files.remove(2)
    for number in (1, 2):
        with pytest.raises(ConfigurationError) as gone:
            files.read(2, number)
        assert gone.value.code is FaultCode.DATABASE_ERROR
    assert files.read(22, 1) == files.read(1002, 2) == b"body"
    files.remove(22)
    assert [path.name for path in waiting.parent.glob("bodies/*")] == ["1"]


def test_files_of_a_record_that_never_was_go_at_the_next_start(
    tmp_path: Path, waiting: Path
) -> None:
    url = f"sqlite:///{tmp_path}/log.sqlite"

    def begin(log: OpenLog) -> None:
        files = log.store.body_files
        assert files is not None
        assert files.keep(waiting, spool(waiting, b"body"), log.store.begin_pieces(), 1)

    with open_log(url) as log:
        begin(log)
    assert list(tmp_path.glob("log-bodies/*/*"))
    with open_log(url):
        assert not list(tmp_path.glob("log-bodies/*"))
