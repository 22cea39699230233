from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from postroad.errors import MalformedInput
from postroad.evidence.linking_info import ArchiveEnd
from postroad.evidence.log_archive import (
    MAX_NAME_BYTES,
    archive_file_name,
    check_links,
    parse_archive_name,
)
from support.archives import archive_of, read
from support.signing import REFERENCE

LOGARCHIVE = REFERENCE / "messagelog" / "logarchive"
AT = datetime(2023, 10, 23, 12, 12, 55, tzinfo=UTC)
DIGEST = "9011ab557706b5050584"


def problems(data: bytes) -> list[str]:
    return [f"{name}: {wrong}" for name, _data, wrong in check_links(read(data)) if wrong]


def test_the_same_records_give_the_same_bytes() -> None:
    assert archive_of(b"one", b"two") == archive_of(b"one", b"two")
    assert archive_of(b"one")[1] != archive_of(b"one", previous=ArchiveEnd("ab", "x.zip"))[1]


def test_what_was_written_is_read() -> None:
    _end, data = archive_of(b"one", b"two")
    archive = read(data)
    assert archive.names == ["q0-request-0.asice", "q1-request-1.asice"]
    assert archive.read("q1-request-1.asice") == b"two"
    assert problems(data) == []


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("WITH_LINKINGINFO", []),
        (
            "WITH_INVALID_LINKINGINFO",
            ["1234567890-request-OUxhMqY0Kx.asice: its digest is not the linked one"],
        ),
        (
            "EXCESSIVE_FILES_IN_LINKINGINFO",
            ["8888888888-request-OUxhMqY0Kx.asice: it is missing from the archive"],
        ),
        (
            "NO_ASIC_CONTAINERS",
            ["1234567890-request-OUxhMqY0Kx.asice: it is missing from the archive"],
        ),
    ],
)
def test_the_references_archives_get_its_verdicts(name: str, verdict: list[str]) -> None:
    assert problems((LOGARCHIVE / f"mlog-{name}.zip").read_bytes()) == verdict


def test_an_archive_without_links_is_none() -> None:
    with pytest.raises(MalformedInput, match="no entry 'linkinginfo'"):
        read((LOGARCHIVE / "mlog-NO_LINKINGINFO.zip").read_bytes())


def test_names_are_those_of_the_reference() -> None:
    name = archive_file_name("", AT, AT, DIGEST, encrypted=True)
    assert name == "mlog-20231023121255-20231023121255-9011ab557706b505.zip.gpg"
    local = AT.astimezone(timezone(timedelta(hours=3)))
    assert archive_file_name("", local, local, DIGEST, encrypted=True) == name


@pytest.mark.parametrize("group", ["EE/GOV/1", "EE/GOV/1/a b", 'a\\<>/:|*?\x00\n"', "ä" * 300])
def test_a_group_becomes_a_plain_file_name(group: str) -> None:
    name = archive_file_name(group, AT, AT, DIGEST, encrypted=True)
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert not set(name) & set("/\\<>:|*?\0\n")
    found = parse_archive_name(name)
    assert found is not None
    assert found.digest_start == "9011ab557706b505"


def test_other_names_say_nothing() -> None:
    assert parse_archive_name("message-archive-0.zip") is None
