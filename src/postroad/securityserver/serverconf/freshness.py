"""Is there anything to do for the server configuration before the workers start?

A start normally finds the database at the newest schema and its snapshot exported. This is looked
up without the database library, whose import would take longer than the rest of the start.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from postroad.errors import ConfigurationError
from postroad.securityserver.serverconf.snapshot import load_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.identifiers import SecurityServerId

NEWEST_SCHEMA: Final = "0002"
"""The last of the packaged migrations; a test compares it with them."""


def has_newest_schema(database: Path) -> bool:
    """Whether the database file is there and needs no migration."""
    try:
        with _opened(database) as connection:
            return _schema(connection) == NEWEST_SCHEMA
    except (sqlite3.Error, TypeError):
        return False


def is_published(database: Path, snapshot_path: Path, server_id: SecurityServerId) -> bool:
    """Whether the database has the newest schema, and the snapshot is that of its revision."""
    try:
        with _opened(database) as connection:
            schema = _schema(connection)
            query = "SELECT identifier, revision FROM server WHERE id = 1"
            stored = connection.execute(query).fetchone()
        snapshot = load_snapshot(snapshot_path)
    except (sqlite3.Error, TypeError, ConfigurationError):
        return False
    exported = (snapshot.server, snapshot.revision)
    return schema == NEWEST_SCHEMA and stored == exported and exported[0] == server_id.encoded()


def _opened(database: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True))


def _schema(connection: sqlite3.Connection) -> object:
    (schema,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return schema
