"""How are operational monitoring records kept, found and removed?

One table, columns as in ``record``. Records are asked for by the second in which they were stored,
nothing else: exchanges that end out of order would otherwise be missed by whoever reads on from
where it stopped. Source: PR-OPMON 2.2; reference: OperationalDataRecordManager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

import msgspec

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.database import is_unusable
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.schema import Schema
from postroad.securityserver.opmonitoring.record import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.securityserver.messagelog.database import LogDatabase
    from postroad.securityserver.opmonitoring.protocol import QueryArgument
    from postroad.securityserver.opmonitoring.record import OperationalRecord, Value

TABLE: Final = "operational_data"
_STORED_AT: Final = "monitoring_data_ts"
_INTERNAL_IP: Final = "security_server_internal_ip"
_PARTS: Final = ("xroad_instance", "member_class", "member_code", "subsystem_code")
_SHORT: Final = "VARCHAR(255)"
_NUMBERS: Final = ("_ts", "_size", "_count")


def _type_of(column: str) -> str:
    if column.endswith(_NUMBERS):
        return "BIGINT"
    if column in {"succeeded", "status_code"}:
        return "INTEGER"
    return "VARCHAR(2048)" if column == "fault_string" else _SHORT


_FIRST: Final = (
    f"CREATE TABLE {TABLE} ({', '.join(f'{column} {_type_of(column)}' for column in COLUMNS)})",
    f"CREATE INDEX {TABLE}_stored ON {TABLE} ({_STORED_AT})",
)
SCHEMA: Final = Schema(
    "operational monitoring",
    "opmonitoring_schema",
    ({"sqlite": _FIRST, "postgresql": _FIRST},),
)


class Page(NamedTuple):
    """Rows of ``columns``, oldest first."""

    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]
    next_from: int | None


class OperationalStore:
    """The records of one server; one caller at a time."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self._database: LogDatabase = open_database(url, tables=SCHEMA, read_only=read_only)
        self._ready = read_only

    def prepare(self) -> None:
        """Create the database, or bring it to the form that this program knows."""
        self._opened()

    def add(self, records: Sequence[OperationalRecord], at: int) -> int:
        """Store records in the second ``at``; how many a database refused for their values.

        Raises ``ConfigurationError`` if the database can't be used now.
        """
        for record in records:
            record.monitoring_data_ts = at
        rows = [cast("tuple[Value, ...]", msgspec.structs.astuple(record)) for record in records]
        try:
            self._insert(rows)
        except ConfigurationError as error:
            if is_unusable(error):
                raise
            return sum(not self._is_taken(row) for row in rows)
        return 0

    def _is_taken(self, row: tuple[Value, ...]) -> bool:
        try:
            self._insert([row])
        except ConfigurationError as error:
            if is_unusable(error):
                raise
            return False
        return True

    def _insert(self, rows: Sequence[tuple[Value, ...]]) -> None:
        with self._opened().transaction():
            self._database.insert(TABLE, COLUMNS, rows)

    def find(self, question: QueryArgument, limit: int) -> Page:
        """Find records; a page ends with the last record of a second, so it may exceed ``limit``.

        An address of the inner network is told only to who may see everything.
        """
        wanted = _columns(question)
        condition, values = _parties(question)
        with self._opened().transaction():
            rows = self._select(
                wanted,
                f"{_STORED_AT} BETWEEN ? AND ?{condition} ORDER BY {_STORED_AT} LIMIT ?",
                (question.records_from, question.records_to, *values, limit),
            )
            next_from = None
            if len(rows) == limit:
                place = wanted.index(_STORED_AT)
                last = cast("int", rows[-1][place])
                rows = [row for row in rows if row[place] != last]
                rows += self._select(wanted, f"{_STORED_AT} = ?{condition}", (last, *values))
                more = self._select(
                    (_STORED_AT,),
                    f"{_STORED_AT} BETWEEN ? AND ?{condition} LIMIT 1",
                    (last + 1, question.records_to, *values),
                )
                next_from = last + 1 if more else None
        return Page(wanted, rows, next_from)

    def _select(
        self, columns: Sequence[str], condition: str, values: Sequence[Value]
    ) -> list[tuple[Value, ...]]:
        statement = f"SELECT {', '.join(columns)} FROM {TABLE} WHERE {condition}"  # noqa: S608 - names of ours
        return cast("list[tuple[Value, ...]]", self._database.rows(statement, values))

    def remove_before(self, at: int) -> int:
        """Remove what was stored before the second ``at``; how many records."""
        with self._opened().transaction():
            return self._database.change(f"DELETE FROM {TABLE} WHERE {_STORED_AT} < ?", (at,))  # noqa: S608 - names of ours

    def checkpoint(self) -> None:
        """Move what was stored to its final place in the file."""
        self._opened().checkpoint()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _opened(self) -> LogDatabase:
        if not self._ready:
            self._database.migrate()
            self._ready = True
        return self._database


def _columns(question: QueryArgument) -> tuple[str, ...]:
    wanted = question.columns or COLUMNS
    if question.client is not None:
        wanted = tuple(column for column in wanted if column != _INTERNAL_IP)
    return wanted if _STORED_AT in wanted else (*wanted, _STORED_AT)


def _parties(question: QueryArgument) -> tuple[str, list[Value]]:
    condition = ""
    values: list[Value] = []
    if question.client is not None:
        sides = [_is_party(side, question.client) for side in ("client", "service")]
        condition += f" AND ({sides[0][0]} OR {sides[1][0]})"
        values += [*sides[0][1], *sides[1][1]]
    if question.provider is not None:
        test, named = _is_party("service", question.provider)
        condition += f" AND {test}"
        values += named
    return condition, values


def _is_party(side: str, parts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """A member is not its subsystems, and a subsystem is not its member."""
    tests = [f"{side}_{name} = ?" for name in _PARTS[: len(parts)]]
    tests += [f"{side}_{name} IS NULL" for name in _PARTS[len(parts) :]]
    return f"({' AND '.join(tests)})", parts
