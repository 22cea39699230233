from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroad.clock import FixedClock
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.intake import LogWriter, WriterRules
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.reading import LogReader, StoredRecord
from postroad.securityserver.messagelog.record_encryption import (
    EncryptingDatabase,
    RecordCipher,
    RecordCiphers,
)
from postroad.securityserver.messagelog.record_keys import LogKeys
from postroad.securityserver.messagelog.records import InlineBody
from postroad.securityserver.messagelog.stop_rule import STATE_NAME
from postroad.securityserver.messagelog.store import PIECE_BYTES, LogStore
from support.messagelog import NOW, WORKING, record, spool, submit
from support.postgresql import PostgresqlServer

CANARY = b"canary-3141592653589793"
KEYS = LogKeys({"old": bytes(32), "new": bytes(range(32))})


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/log.sqlite"
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    return server.create_database()


def store_of(url: str, key_id: str | None) -> LogStore:
    database = open_database(url)
    if key_id is None:
        return LogStore(database)
    return LogStore(EncryptingDatabase(database, RecordCiphers(KEYS).cipher(key_id)))


async def write(url: str, tmp_path: Path, key_id: str | None) -> list[int]:
    """Store a record of every shape: no body, one, several, one in pieces."""
    writer = LogWriter(store_of(url, key_id), tmp_path / "spool", WriterRules(), FixedClock(NOW))
    await writer.set_state(STATE_NAME, WORKING.encode())
    small, large = InlineBody(b"body " + CANARY), bytes(PIECE_BYTES) + CANARY + bytes(100)
    (tmp_path / "spool").mkdir(exist_ok=True)
    message = b"GET\r\n/r1/x/" + CANARY
    try:
        return [
            await submit(writer, record(message=message)),
            await submit(writer, record(small, message=message)),
            await submit(writer, record(small, InlineBody(b""), message=message)),
            await submit(writer, record(spool(tmp_path / "spool", large), message=message)),
        ]
    finally:
        await writer.close()


def load_all(url: str, ids: list[int], keys: LogKeys | None) -> list[StoredRecord]:
    reader = LogReader.open(url, keys)
    try:
        return [found for number in ids if (found := reader.load(number)) is not None]
    finally:
        reader.close()


def contents(found: StoredRecord) -> tuple[bytes, ...]:
    return (found.message, *(item.content or b"" for item in found.attachments))


def test_what_is_read_is_what_was_logged(url: str, tmp_path: Path) -> None:
    plain = load_all(url, asyncio.run(write(url, tmp_path, None)), None)
    sealed = load_all(url, asyncio.run(write(url, tmp_path, "new")), KEYS)
    assert len(sealed) == 4
    for before, after in zip(plain, sealed, strict=True):
        assert contents(before) == contents(after)
        assert CANARY in b"".join(contents(after))


def test_nothing_of_a_message_lies_readable_in_the_database(tmp_path: Path) -> None:
    asyncio.run(write(f"sqlite:///{tmp_path}/log.sqlite", tmp_path, "new"))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) > PIECE_BYTES
    assert [path.name for path in files if CANARY in path.read_bytes()] == []


def test_the_canary_would_be_seen(tmp_path: Path) -> None:
    asyncio.run(write(f"sqlite:///{tmp_path}/log.sqlite", tmp_path, None))
    assert any(CANARY in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_records_of_former_keys_and_of_none_stay_readable(url: str, tmp_path: Path) -> None:
    ids = [
        record_id
        for key_id in (None, "old", "new")
        for record_id in asyncio.run(write(url, tmp_path, key_id))
    ]
    assert len(load_all(url, ids, KEYS)) == 12


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.sqlite"
    ids = asyncio.run(write(url, tmp_path, "old"))
    for keys in (None, LogKeys({"new": bytes(32)})):
        with pytest.raises(ConfigurationError, match="'old'") as caught:
            load_all(url, ids, keys)
        assert caught.value.code is FaultCode.KEY_NOT_FOUND


def test_another_key_under_the_same_id_opens_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.sqlite"
    ids = asyncio.run(write(url, tmp_path, "old"))
    with pytest.raises(ConfigurationError, match="can't be decrypted"):
        load_all(url, ids, LogKeys({"old": bytes(31) + b"1"}))


@pytest.fixture
def stolen(tmp_path: Path) -> Iterator[tuple[str, list[int], sqlite3.Connection]]:
    """A database that somebody may write to, without having the key."""
    url = f"sqlite:///{tmp_path}/log.sqlite"
    ids = asyncio.run(write(url, tmp_path, "old"))
    connection = sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)
    yield url, ids, connection
    connection.close()


@pytest.mark.parametrize(
    "forgery",
    [
        (
            "UPDATE logrecord SET message = (SELECT message FROM logrecord WHERE id = {1}) "
            "WHERE id = {0}"
        ),
        "UPDATE logrecord SET message = body WHERE id = {1}",
        "UPDATE logrecord SET keyid = 'new' WHERE id = {0}",
        (
            "UPDATE message_attachment SET content = (SELECT content FROM message_attachment "
            "WHERE logrecord_id = {2} AND attachment_no = 2), size = 0 "
            "WHERE logrecord_id = {2} AND attachment_no = 1"
        ),
        (
            "UPDATE attachment_piece SET content = (SELECT content FROM attachment_piece "
            "WHERE logrecord_id = {3} AND piece_no = 0) WHERE logrecord_id = {3} AND piece_no = 1"
        ),
        "UPDATE logrecord SET message = zeroblob(5) WHERE id = {0}",
    ],
)
def test_no_value_can_stand_in_the_place_of_another(
    stolen: tuple[str, list[int], sqlite3.Connection], forgery: str
) -> None:
    url, ids, connection = stolen
    assert len(load_all(url, ids, KEYS)) == 4
    assert connection.execute(forgery.format(*ids)).rowcount == 1
    with pytest.raises(ConfigurationError, match="can't be decrypted"):
        load_all(url, ids, KEYS)


def test_the_same_value_is_never_encrypted_the_same_way() -> None:
    cipher = RecordCipher("a", bytes(32))
    assert cipher.seal(b"x", 1, "message") != cipher.seal(b"x", 1, "message")
