"""How does the message log use PostgreSQL with the same promises as its own file?

One connection of psycopg 3, used by one thread. Rows go in as pipelined batches, which cost less
than ``COPY`` for the small groups that messages come in, and as little for large ones.
``synchronous_commit`` is set by us: a server configured to lie about durability is overruled.
A lost connection is opened again by the next call.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final, cast

import psycopg
from psycopg import sql

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog import schema
from postroad.securityserver.messagelog.database import refused_row, unusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroad.securityserver.messagelog.database import Row, Value

CONNECT_TIMEOUT_S: Final = 10
_MIGRATION_LOCK: Final = 0x706F6C67
"""The advisory lock that lets one process migrate at a time."""
_IDS_AHEAD: Final = 256
_BEGIN: Final = "BEGIN"
_BEGIN_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SESSION: Final = (
    # What the disk hasn't got isn't logged, whatever the server's own setting says.
    "SELECT set_config('synchronous_commit', 'on', false)",
    # A statement that hangs must become an error that the message's sender hears.
    "SELECT set_config('statement_timeout', '60s', false)",
    "SELECT set_config('idle_in_transaction_session_timeout', '120s', false)",
)


class PostgresqlDatabase:
    """The message log in a PostgreSQL database; see ``LogDatabase``."""

    def __init__(
        self, url: str, *, read_only: bool = False, tables: schema.Schema = schema.MESSAGE_LOG
    ) -> None:
        scheme, _, rest = url.partition("://")
        self._url = f"{scheme.partition('+')[0]}://{rest}"
        self._read_only = read_only
        self._tables = tables
        self._connection: psycopg.Connection[Row] | None = None
        self._pipeline: psycopg.Pipeline | None = None
        self._ids: list[int] = []

    @property
    def is_remote(self) -> bool:
        """Always true: every call waits for the server."""
        return True

    @property
    def body_files(self) -> None:
        """Nowhere: what is in a database on another machine must not depend on files of ours."""
        return

    def migrate(self) -> None:
        """Create or upgrade the schema."""
        with self.transaction():
            self.rows("SELECT pg_advisory_xact_lock(?)", (_MIGRATION_LOCK,))
            schema.migrate(self, "postgresql", self._tables)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin, and commit at the end, or roll everything back.

        The statements go out without waiting for each other's answers (pipeline mode), so a
        transaction costs one round trip unless it asks for rows.
        """
        try:
            with self._translated(), self._open().pipeline() as pipeline:
                self._pipeline = pipeline
                connection = self._open()
                connection.execute(_BEGIN_READING if self._read_only else _BEGIN)
                yield
                connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._pipeline = None

    def rows(self, statement: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run a query and return all its rows."""
        with self._translated():
            return self._open().execute(_marked(statement), parameters or None).fetchall()

    def change(self, statement: str, parameters: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        with self._translated():
            cursor = self._open().execute(_marked(statement), parameters or None)
            return self._counted(cursor)

    def change_many(self, statement: str, parameters: Sequence[Sequence[Value]]) -> int:
        """Run a statement for each of ``parameters``, without waiting for each answer."""
        if not parameters:
            return 0
        with self._translated(), self._open().cursor() as cursor:
            cursor.executemany(_marked(statement), parameters)
            return self._counted(cursor)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Insert rows, if any, as one batch; mistakes show at the end of the transaction."""
        if not rows:
            return
        with self._translated(), self._open().cursor() as cursor:
            cursor.executemany(_insertion(table, tuple(columns)), rows)

    def reserve_ids(self, count: int) -> list[int]:
        """Advance the sequence, ahead of need; numbers of a failed transaction are never used."""
        if len(self._ids) < count:
            found = self.rows(
                "SELECT nextval('logrecord_sequence') FROM generate_series(1, ?)",
                (max(count, _IDS_AHEAD),),
            )
            self._ids += [cast("int", row[0]) for row in found]
        taken, self._ids = self._ids[:count], self._ids[count:]
        return taken

    def checkpoint(self) -> int:
        """Do nothing: the server looks after its own write-ahead log."""
        return 0

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> psycopg.Connection[Row]:
        if self._connection is not None:
            return self._connection
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name=f"postroad {self._tables.name}",
        )
        try:
            for statement in _SESSION:
                connection.execute(statement)
            if self._read_only:
                connection.execute("SELECT set_config('default_transaction_read_only','on',false)")
        except psycopg.Error:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _counted(self, cursor: psycopg.Cursor[Row]) -> int:
        """Return how many rows a statement changed, which is known once the answers are in."""
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.rowcount

    def _roll_back(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise refused_row(_first_line(error), self._tables.name) from error
        except psycopg.Error as error:
            self.close()
            raise unusable(_first_line(error), self._tables.name) from error
        except ConfigurationError:
            self.close()
            raise


@cache
def _insertion(table: str, columns: tuple[str, ...]) -> bytes:
    command = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )
    return command.as_bytes()


def _marked(statement: str) -> str:
    """Write our ``?`` as psycopg's ``%s``; statements are constants of this package."""
    return statement.replace("?", "%s")


def _first_line(error: BaseException) -> str:
    # The server's text may quote a row's values after its first line; those stay out of our logs.
    return str(error).partition("\n")[0] or type(error).__name__
