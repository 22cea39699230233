"""How does the message log use SQLite so that an acknowledged record survives a power cut?

Write-ahead log with full synchronisation: ``COMMIT`` returns after the disk has the frames.
Checkpoints aren't made by commits (they would take tens of milliseconds from some unlucky
message) but by another connection; see ``writer``.

After trouble the connection is dropped and opened again by the next call, and opening empties the
write-ahead log: frames whose synchronisation once failed must not stand before later ones, or
those would be lost with them. A file that has vanished is never made anew by a running process:
records would go to a place where nobody looks for them (under a mount point, for example).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog import schema
from postroad.securityserver.messagelog.database import refused_row, unusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroad.securityserver.messagelog.database import Row, Value

BUSY_TIMEOUT_S: Final = 10.0
PAGE_SIZE: Final = 4096
JOURNAL_SIZE_LIMIT: Final = 64 * 1024 * 1024
"""What the write-ahead log's file shrinks to when the log starts from its beginning again."""
_SHORT_WAIT_MS: Final = 200
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

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def migrate(self) -> None:
        """Create the file if there is none, and create or upgrade the schema."""
        with self._translated():
            self._create_private_file()
        with self.transaction():
            schema.migrate(self, "sqlite")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock from the start; commit at the end, or roll everything back.

        A read-only connection takes no lock and sees one moment of the log throughout.
        """
        with self._translated():
            self._open().execute("BEGIN" if self._read_only else "BEGIN IMMEDIATE")
        try:
            yield
            with self._translated():
                self._open().execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def rows(self, statement: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run a query and return all its rows."""
        with self._translated():
            return cast("list[Row]", self._open().execute(statement, parameters).fetchall())

    def change(self, statement: str, parameters: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        with self._translated():
            return self._open().execute(statement, parameters).rowcount

    def change_many(self, statement: str, parameters: Sequence[Sequence[Value]]) -> int:
        """Run a statement once for each of ``parameters``; return how many rows all changed."""
        with self._translated():
            return self._open().executemany(statement, parameters).rowcount

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Insert rows, if any, with one prepared statement."""
        if not rows:
            return
        marks = ", ".join("?" * len(columns))
        names = ", ".join(columns)
        self.change_many(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)  # noqa: S608 - our own names

    def reserve_ids(self, count: int) -> list[int]:
        """Advance the sequence, as part of the transaction."""
        found = self.rows(
            "UPDATE logrecord_sequence SET value = value + ? RETURNING value", (count,)
        )
        last = cast("int", found[0][0])
        return list(range(last - count + 1, last + 1))

    def checkpoint(self) -> int:
        """Copy committed pages to the file (``PASSIVE``); return the log's extent in bytes."""
        _busy, in_log, _moved = self.rows("PRAGMA wal_checkpoint(PASSIVE)")[0]
        return cast("int", in_log) * PAGE_SIZE

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
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
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
            status = self._path.stat()
        except (sqlite3.Error, OSError):
            connection.close()
            raise
        self._connection = connection
        self._identity = (status.st_dev, status.st_ino)
        return connection

    def _create_private_file(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its -wal and -shm files the mode of the database file.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def _close_if_moved(self) -> None:
        """Let go of a file that is no longer the one at our path: records would be lost there."""
        try:
            status = self._path.stat()
            moved = (status.st_dev, status.st_ino) != self._identity
        except OSError:
            moved = True
        if moved:
            self.close()

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError) as error:
            raise refused_row(str(error)) from error
        except (OverflowError, UnicodeError) as error:
            raise refused_row(str(error)) from error
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise unusable(f"{self._path}: {error}") from error
