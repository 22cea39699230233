"""How does the message log speak to its database, whichever product it is?

The log needs very little: run a statement, insert many rows, one transaction and one caller at a
time. ``LogDatabase`` says so; ``sqlite`` and ``postgresql`` fulfil it. Statements are written
once, with ``?`` for parameters. This isn't SQLAlchemy because the log is on the path of every
message: what counts here is the processor time per row and when exactly a commit is on the disk.

Two kinds of trouble are told apart by their code, both below ``logging_failed``: a row that the
database refuses (``logging_failed``: only its record fails) and a database that can't be used,
because it's full, read-only, broken or down (``logging_failed.database_error``: everybody fails
until it can be used again; every later call tries anew).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from postroad.errors import FaultCode
from postroad.securityserver.messagelog.records import logging_failed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from postroad.errors import ConfigurationError
    from postroad.securityserver.messagelog.body_files import BodyFiles

Value: TypeAlias = int | str | bytes | None
Row: TypeAlias = tuple[Value, ...]


class LogDatabase(Protocol):
    """One connection to the message log's database; opened on first use and again after trouble.

    Every method raises ``ConfigurationError``: ``logging_failed.database_error`` when the database
    can't be used, ``logging_failed`` when it refuses the values of a row.
    """

    @property
    def is_remote(self) -> bool:
        """Whether another process or machine must answer before a call returns."""
        ...

    @property
    def body_files(self) -> BodyFiles | None:
        """Where large bodies are kept beside the database; None if they belong into it."""
        ...

    def migrate(self) -> None:
        """Bring the schema to the version this code knows, creating it if there is none."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Do everything inside as a whole or not at all; it is durable when this returns."""
        ...

    def rows(self, statement: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run a query and return all its rows."""
        ...

    def change(self, statement: str, parameters: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        ...

    def change_many(self, statement: str, parameters: Sequence[Sequence[Value]]) -> int:
        """Run a statement once for each of ``parameters``; return how many rows all changed."""
        ...

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Insert rows, if any, by the product's fastest way; names are never from outside."""
        ...

    def reserve_ids(self, count: int) -> list[int]:
        """Take ``count`` record numbers that nobody has had, inside a transaction."""
        ...

    def checkpoint(self) -> int:
        """Move committed work from the write-ahead log to its final place, holding up nobody.

        Returns how many bytes the log extends over, moved or not. It starts from its beginning
        again when a commit finds all of it moved.
        """
        ...

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        ...


def unusable(what: str, database: str = "message log") -> ConfigurationError:
    """Build the error of a database that can't be used now."""
    return logging_failed(
        f"the {database}'s database can't be used: {what}", code=FaultCode.DATABASE_ERROR
    )


def refused_row(what: str, database: str = "message log") -> ConfigurationError:
    """Build the error of values that the database doesn't take."""
    return logging_failed(f"the {database}'s database refused the record: {what}")


def is_unusable(error: ConfigurationError) -> bool:
    """Whether an error means that the database as a whole can't be used now."""
    return error.code is FaultCode.DATABASE_ERROR
