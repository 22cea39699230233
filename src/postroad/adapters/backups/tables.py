"""How is a database written so that every product can take it back?

A logical form: JSON of all tables and their rows, with the schema's revision. It goes back into a
database that was emptied and brought to the newest schema, in one transaction. Rows name tables and
columns that the code's own schema has: nothing in a backup is ever run.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy
from sqlalchemy import TypeDecorator, insert, select

from postroad.adapters.database import emptied, migrate, schema_revision, snapshot
from postroad.errors import ConfigurationError, MalformedInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Column, MetaData, Table
    from sqlalchemy.engine import Connection, Engine

_BATCH: Final = 500


def dump_tables(engine: Engine, metadata: MetaData) -> bytes:
    """Write all rows of all tables, as they are at one moment."""
    tables: dict[str, object] = {}
    with snapshot(engine) as session:
        for table in metadata.sorted_tables:
            rows = session.execute(select(table).order_by(*table.primary_key.columns))
            tables[table.name] = {
                "columns": [column.name for column in table.columns],
                "rows": [[_encode(value) for value in row] for row in rows.yield_per(_BATCH)],
            }
    dumped = {"revision": schema_revision(engine), "tables": tables}
    return json.dumps(dumped, ensure_ascii=False, separators=(",", ":")).encode()


def check_dump(data: bytes, metadata: MetaData, revision: str | None) -> None:
    """Refuse what :func:`load_tables` couldn't load, before anything is changed.

    Raises ``MalformedInput``, and ``ConfigurationError`` for the schema of another version.
    """
    dumped = _parse(data)
    if dumped.get("revision") != revision:
        raise ConfigurationError(
            f"the backup's database is of revision {dumped.get('revision')!r}, this version's of "
            f"{revision!r}: restore with the version that made it, then upgrade"
        )
    for table, rows in _read(dumped, metadata):
        for row in rows:
            _decoded(table, row)


def load_tables(engine: Engine, metadata: MetaData, migrations: str, data: bytes) -> None:
    """Replace a database by a dump, as a whole or not at all.

    Raises ``MalformedInput``, and ``ConfigurationError`` when the database can't be used.
    """
    migrate(engine, migrations)
    dumped = _parse(data)
    with emptied(engine, metadata) as connection:
        try:
            for table, rows in _read(dumped, metadata):
                decoded = [_decoded(table, row) for row in rows]
                for at in range(0, len(decoded), _BATCH):
                    connection.execute(insert(table), decoded[at : at + _BATCH])
        except sqlalchemy.exc.DBAPIError as error:
            raise MalformedInput(f"the database refuses the backup's rows: {error.orig}") from error
        if engine.dialect.name == "postgresql":
            _continue_numbers(connection, metadata)


def _continue_numbers(connection: Connection, metadata: MetaData) -> None:
    """Let new rows get numbers after those that were loaded."""
    for table in metadata.sorted_tables:
        for column in table.primary_key.columns:
            sequence = connection.execute(
                sqlalchemy.text("SELECT pg_get_serial_sequence(:table, :column)"),
                {"table": table.name, "column": column.name},
            ).scalar()
            if sequence is not None:
                newest = connection.execute(select(sqlalchemy.func.max(column))).scalar()
                connection.execute(
                    sqlalchemy.text("SELECT setval(:sequence, :value, :called)"),
                    {"sequence": sequence, "value": newest or 1, "called": newest is not None},
                )


def _parse(data: bytes) -> Mapping[str, object]:
    try:
        dumped = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedInput("a backup's database is not JSON") from error
    if not isinstance(dumped, dict):
        raise MalformedInput("a backup's database is no object")
    return dumped


def _read(
    dumped: Mapping[str, object], metadata: MetaData
) -> list[tuple[Table, list[dict[str, object]]]]:
    tables = dumped.get("tables")
    if not isinstance(tables, dict) or set(tables) != set(metadata.tables):
        raise MalformedInput("a backup's database has not the tables of this schema")
    read = []
    for table in metadata.sorted_tables:
        content = tables[table.name]
        columns = [column.name for column in table.columns]
        if (
            not isinstance(content, dict)
            or content.get("columns") != columns
            or not isinstance(content.get("rows"), list)
            or any(not isinstance(row, list) or len(row) != len(columns) for row in content["rows"])
        ):
            raise MalformedInput(f"a backup's table {table.name} has not the columns it should")
        read.append((table, [dict(zip(columns, row, strict=True)) for row in content["rows"]]))
    return read


def _decoded(table: Table, row: Mapping[str, object]) -> dict[str, object]:
    return {name: _decode(table.columns[name], value) for name, value in row.items()}


def _encode(value: object) -> object:
    match value:
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case datetime():
            return value.astimezone(UTC).isoformat()
        case None | bool() | int() | str():
            return value
        case _:
            raise TypeError(f"a backup can't hold a {type(value).__name__}")


def _decode(column: Column[object], value: object) -> object:
    if value is None:
        return None
    try:
        plain = column.type
        if isinstance(plain, TypeDecorator):
            plain = plain.impl_instance
        kind = plain.python_type
        if kind is bytes:
            return base64.b64decode(_text(value), validate=True)
        if kind is datetime:
            return datetime.fromisoformat(_text(value))
    except (binascii.Error, ValueError, NotImplementedError) as error:
        raise MalformedInput(f"a backup's column {column} holds something else") from error
    if type(value) is not kind:
        raise MalformedInput(f"a backup's column {column} holds a {type(value).__name__}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise MalformedInput("a backup's column holds no text")
    return value
