"""How does the message log use SQLite so that an acknowledged record survives a power cut?

Write-ahead log with full synchronisation: ``COMMIT`` returns after the disk has the frames.
Checkpoints aren't made by commits (they would take tens of milliseconds from some unlucky
message) but by another connection; see ``writer``.

A commit that makes the file of the write-ahead log longer waits for the file system's records, too,
and takes twice as long as one that overwrites. So the log writer has room made in that file
beforehand (``log_reserve``), and begins the log again before that room is full (``housekeeping``).

After trouble the connection is dropped and opened again by the next call, and opening begins the
write-ahead log anew: frames whose synchronisation once failed must not stand before later ones, or
those would be lost with them. A file that has vanished is never made anew by a running process:
records would go to a place where nobody looks for them (under a mount point, for example).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog import schema
from postroad.securityserver.messagelog.body_files import BodyFiles
from postroad.securityserver.messagelog.database import refused_row, unusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroad.securityserver.messagelog.database import Row, Value

BUSY_TIMEOUT_S: Final = 10.0
PAGE_SIZE: Final = 8192
"""About three records without bodies."""
JOURNAL_SIZE_LIMIT: Final = 64 * 1024 * 1024
"""What the write-ahead log's file shrinks to when the log starts from its beginning again."""
_SHORT_WAIT_MS: Final = 200
_IDS_AHEAD: Final = 1024
_ROOM_STEP: Final = 64 * 1024
"""What is written at once becomes one large page of the cache in newer kernels, and every small
write into a large page is slow; so the steps are small."""
_REFUSALS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    OverflowError,
    UnicodeError,
)
_TROUBLE: Final = (*_REFUSALS, sqlite3.Error, OSError)
_CACHE_KIB: Final = 32 * 1024
_WRITER_PRAGMAS: Final = (
    f"PRAGMA page_size={PAGE_SIZE}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA wal_autocheckpoint=0",
    f"PRAGMA journal_size_limit={JOURNAL_SIZE_LIMIT}",
    f"PRAGMA cache_size=-{_CACHE_KIB}",
)
_READER_PRAGMAS: Final = ("PRAGMA query_only=ON", f"PRAGMA cache_size=-{_CACHE_KIB // 4}")


def path_of_url(url: str) -> Path:
    """Return the file that ``sqlite:///path`` names.

    >>> path_of_url("sqlite:////var/lib/postroad/messagelog.sqlite")
    PosixPath('/var/lib/postroad/messagelog.sqlite')
    """
    path = url.partition(":///")[2]
    if not path:
        raise ConfigurationError(f"no file in the database address {url!r}: use sqlite:///path")
    return Path(path)


class SqliteDatabase:
    """The message log in one SQLite file; see ``LogDatabase``."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        log_reserve: int = 0,
        tables: schema.Schema = schema.MESSAGE_LOG,
    ) -> None:
        """Prepare to use the file; ``log_reserve`` bytes are made ready for the write-ahead log."""
        self._path = path
        self._log_reserve = log_reserve
        self._location = os.fspath(path)
        self._body_files = BodyFiles(path.with_name(f"{path.stem}-bodies"))
        self._read_only = read_only
        self._tables = tables
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._ids: range = range(0)

    @property
    def is_remote(self) -> bool:
        """Always false: the file is ours alone."""
        return False

    @property
    def body_files(self) -> BodyFiles:
        """A folder beside the file."""
        return self._body_files

    def migrate(self) -> None:
        """Create the file if there is none, and create or upgrade the schema."""
        try:
            self._create_private_file()
        except OSError as error:
            raise self._translated(error) from error
        with self.transaction():
            schema.migrate(self, "sqlite", self._tables)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock from the start; commit at the end, or roll everything back.

        A read-only connection takes no lock and sees one moment of the log throughout.
        """
        begin = "BEGIN" if self._read_only else "BEGIN IMMEDIATE"
        self._execute(begin)
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def rows(self, statement: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run a query and return all its rows."""
        try:
            return cast("list[Row]", self._open().execute(statement, parameters).fetchall())
        except _TROUBLE as error:
            raise self._translated(error) from error

    def change(self, statement: str, parameters: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        return self._execute(statement, parameters)

    def change_many(self, statement: str, parameters: Sequence[Sequence[Value]]) -> int:
        """Run a statement once for each of ``parameters``; return how many rows all changed."""
        try:
            return self._open().executemany(statement, parameters).rowcount
        except _TROUBLE as error:
            raise self._translated(error) from error

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Insert rows, if any, with one prepared statement."""
        if rows:
            self.change_many(_insertion(table, tuple(columns)), rows)

    def reserve_ids(self, count: int) -> list[int]:
        """Advance the sequence, ahead of need; numbers of a failed transaction are never used."""
        if len(self._ids) < count:
            ahead = max(count, _IDS_AHEAD)
            found = self.rows(
                "UPDATE logrecord_sequence SET value = value + ? RETURNING value", (ahead,)
            )
            last = cast("int", found[0][0])
            self._ids = range(last - ahead + 1, last + 1)
        taken, self._ids = self._ids[:count], self._ids[count:]
        return list(taken)

    def checkpoint(self) -> int:
        """Copy committed pages to the file (``PASSIVE``); return the log's extent in bytes."""
        _busy, in_log, _moved = self.rows("PRAGMA wal_checkpoint(PASSIVE)")[0]
        return cast("int", in_log) * PAGE_SIZE

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._ids = range(0)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and not self._connection.in_transaction:
            self._close_if_moved()
        if self._connection is not None:
            return self._connection
        mode = "ro" if self._read_only else "rw"
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in _READER_PRAGMAS if self._read_only else _WRITER_PRAGMAS:
                connection.execute(pragma)
            if not self._read_only:
                connection.execute(f"PRAGMA busy_timeout={_SHORT_WAIT_MS}")
                connection.execute("PRAGMA wal_checkpoint(RESTART)")
                connection.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
            status = self._path.stat()
        except (sqlite3.Error, OSError):
            connection.close()
            raise
        self._connection = connection
        self._identity = (status.st_dev, status.st_ino)
        self._make_room()
        return connection

    def _create_private_file(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its -wal and -shm files the mode of the database file.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def _make_room(self) -> None:
        """Make the write-ahead log's file as long as it may become; SQLite overlooks the zeros.

        They go behind its end only, so nothing that is there can be touched. If there is no room,
        a commit will say so.
        """
        if not self._log_reserve:
            return
        with contextlib.suppress(OSError):
            file = os.open(f"{self._location}-wal", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                while (missing := self._log_reserve - os.fstat(file).st_size) > 0:
                    os.write(file, bytes(min(missing, _ROOM_STEP)))
                os.fdatasync(file)
            finally:
                os.close(file)

    def _close_if_moved(self) -> None:
        """Let go of a file that is no longer the one at our path: records would be lost there."""
        try:
            status = os.stat(self._location)  # noqa: PTH116 - for every transaction: twice as fast
            moved = (status.st_dev, status.st_ino) != self._identity
        except OSError:
            moved = True
        if moved:
            self.close()

    def _execute(self, statement: str, parameters: Sequence[Value] = ()) -> int:
        try:
            return self._open().execute(statement, parameters).rowcount
        except _TROUBLE as error:
            raise self._translated(error) from error

    def _roll_back(self) -> None:
        self._ids = range(0)  # the sequence may be back at a value before them
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()

    def _translated(self, error: Exception) -> ConfigurationError:
        """Say whose fault it is; after trouble with the database let go of the connection."""
        if isinstance(error, _REFUSALS):
            return refused_row(str(error), self._tables.name)
        self.close()
        return unusable(f"{self._path}: {error}", self._tables.name)


@cache
def _insertion(table: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own names
