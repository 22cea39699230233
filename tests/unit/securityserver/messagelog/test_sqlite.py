from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.sqlite import SqliteDatabase, path_of_url
from postroad.securityserver.messagelog.store import LogStore
from support.messagelog import open_log, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db" / "messagelog.sqlite"


def test_an_address_needs_a_file() -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///path"):
        path_of_url("sqlite:///")


def test_the_log_is_private(path: Path) -> None:
    with open_log(f"sqlite:///{path}") as log:
        log.store.append_many([record()])
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_every_commit_waits_for_the_disk(path: Path) -> None:
    database = SqliteDatabase(path)
    database.migrate()
    assert database.rows("PRAGMA journal_mode") == [("wal",)]
    assert database.rows("PRAGMA synchronous") == [(2,)]
    assert database.rows("PRAGMA foreign_keys") == [(1,)]
    assert database.rows("PRAGMA wal_autocheckpoint") == [(0,)]
    database.close()


def test_a_checkpoint_empties_the_write_ahead_log(path: Path) -> None:
    store = LogStore(SqliteDatabase(path))
    store.append_many([record(message=bytes(100_000))])
    checkpoints = SqliteDatabase(path)
    checkpoints.checkpoint()
    store.append_many([record(message=bytes(100_000))])
    assert checkpoints.checkpoint() > 100_000
    store.append_many([record()])
    assert checkpoints.checkpoint() < 100_000
    checkpoints.close()
    store.close()


def test_a_full_database_is_told_and_works_again_with_space(path: Path) -> None:
    database = SqliteDatabase(path)
    store = LogStore(database)
    store.prepare()
    ((pages,),) = database.rows("PRAGMA page_count")
    database.rows(f"PRAGMA max_page_count={pages}")
    with pytest.raises(ConfigurationError, match="full") as full:
        store.append_many([record(message=bytes(100_000))])
    assert full.value.fault_code == "logging_failed.database_error"
    assert store.append_many([record()])  # a connection without the limit
    store.close()


def test_a_broken_file_is_told_and_works_again_when_mended(path: Path) -> None:
    store = LogStore(SqliteDatabase(path))
    (first,) = store.append_many([record()])
    store.close()
    sound = path.read_bytes()
    path.write_bytes(b"not a database at all" * 1000)
    broken = LogStore(SqliteDatabase(path))
    with pytest.raises(ConfigurationError) as refused:
        broken.append_many([record()])
    assert refused.value.fault_code == "logging_failed.database_error"
    path.write_bytes(sound)
    assert broken.append_many([record()])[0] > first
    broken.close()


def test_a_file_that_has_gone_is_not_made_anew(path: Path) -> None:
    store = LogStore(SqliteDatabase(path))
    store.append_many([record()])
    away = path.rename(path.with_name("elsewhere"))
    for _ in range(2):
        with pytest.raises(ConfigurationError) as refused:
            store.append_many([record()])
        assert refused.value.fault_code == "logging_failed.database_error"
    assert not path.exists()
    away.rename(path)
    assert store.append_many([record()])
    store.close()


def test_another_file_in_its_place_is_not_taken_for_the_log(path: Path) -> None:
    store = LogStore(SqliteDatabase(path))
    store.append_many([record()])
    path.rename(path.with_name("elsewhere"))
    sqlite3.connect(path).close()
    with pytest.raises(ConfigurationError):
        store.append_many([record()])
    store.close()


def test_a_read_only_log_is_told(path: Path) -> None:
    store = LogStore(SqliteDatabase(path, read_only=True))
    with pytest.raises(ConfigurationError):
        store.prepare()
    writable = LogStore(SqliteDatabase(path))
    writable.append_many([record()])
    reader = SqliteDatabase(path, read_only=True)
    with pytest.raises(ConfigurationError) as refused:
        reader.change("DELETE FROM signature")
    assert refused.value.fault_code == "logging_failed.database_error"
    reader.close()
    writable.close()


def test_a_failed_transaction_is_rolled_back(path: Path) -> None:
    database = SqliteDatabase(path)
    database.migrate()

    def write_and_fail() -> None:
        with database.transaction():
            database.change("INSERT INTO log_state (name, value) VALUES ('a', x'00')")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert database.rows("SELECT name FROM log_state") == []
    database.close()


def test_another_writers_lock_is_waited_for_and_then_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from postroad.securityserver.messagelog import sqlite

    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
    store = LogStore(SqliteDatabase(path))
    store.prepare()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigurationError, match="locked"):
        store.append_many([record()])
    other.execute("COMMIT")
    assert store.append_many([record()])
    other.close()
    store.close()


def test_a_reader_does_not_hold_up_the_writer(path: Path) -> None:
    store = LogStore(SqliteDatabase(path))
    store.append_many([record()])
    reader = SqliteDatabase(path, read_only=True)
    with reader.transaction():
        before = reader.rows("SELECT COUNT(*) FROM logrecord")
        store.append_many([record()])
        assert reader.rows("SELECT COUNT(*) FROM logrecord") == before == [(1,)]
    assert reader.rows("SELECT COUNT(*) FROM logrecord") == [(2,)]
    reader.close()
    store.close()


@pytest.mark.parametrize("value", [1 << 70, "\ud800"])
def test_a_value_that_cannot_be_stored_is_a_refused_row(path: Path, value: object) -> None:
    database = SqliteDatabase(path)
    database.migrate()
    with pytest.raises(ConfigurationError) as refused:
        database.insert("unfinished_record", ("logrecord_id",), [(value,)])
    assert refused.value.fault_code == "logging_failed"
    database.close()


def test_inserting_no_rows_does_nothing(path: Path) -> None:
    database = SqliteDatabase(path)
    database.insert("logrecord", ("id",), [])
    assert not path.exists()


def test_a_reader_opens_a_log_that_nobody_writes(path: Path) -> None:
    store = LogStore(SqliteDatabase(path))
    store.append_many([record()])
    store.close()
    assert not path.with_name("messagelog.sqlite-wal").exists()
    reader = LogReader.open(f"sqlite:///{path}")
    assert reader.count_pending() == 1
    reader.close()


def test_numbers_of_a_transaction_that_failed_are_never_used(path: Path) -> None:
    database = SqliteDatabase(path)
    database.migrate()
    with database.transaction():
        first = database.reserve_ids(2)

    def reserve_and_fail() -> None:
        with database.transaction():
            database.reserve_ids(3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        reserve_and_fail()
    with database.transaction():
        later = database.reserve_ids(5000)
    assert len(set(first + later)) == 5002
    assert later == sorted(later)
    assert later[0] > first[-1]
    database.close()


def test_room_is_made_for_the_write_ahead_log_and_nothing_is_lost_by_it(path: Path) -> None:
    wal = path.with_name("messagelog.sqlite-wal")
    room = 1_000_000
    store = LogStore(SqliteDatabase(path, log_reserve=room))
    store.append_many([record() for _ in range(3)])
    assert wal.stat().st_size == room
    # A process that dies here leaves the log with the zeros behind it.
    copy = path.with_name("copy.sqlite")
    copy.write_bytes(path.read_bytes())
    copy.with_name("copy.sqlite-wal").write_bytes(wal.read_bytes())
    store.append_many([record()])
    assert wal.stat().st_size == room
    store.close()
    again = LogStore(SqliteDatabase(copy, log_reserve=room))
    again.append_many([record()])
    reader = LogReader.open(f"sqlite:///{copy}")
    assert reader.count_pending() == 4
    reader.close()
    again.close()


def test_a_checkpoint_makes_use_of_the_room_again(path: Path) -> None:
    wal = path.with_name("messagelog.sqlite-wal")
    room = 500_000
    store = LogStore(SqliteDatabase(path, log_reserve=room))
    for _ in range(20):
        store.append_many([record(message=bytes(100_000))])
        store.checkpoint()
    assert wal.stat().st_size == room
    store.close()
