"""Which database product does an address name?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.record_encryption import EncryptingDatabase, RecordCiphers
from postroad.securityserver.messagelog.record_keys import load_log_keys
from postroad.securityserver.messagelog.schema import MESSAGE_LOG, Schema
from postroad.securityserver.messagelog.sqlite import SqliteDatabase, path_of_url

if TYPE_CHECKING:
    from postroad.securityserver.messagelog.database import LogDatabase
    from postroad.securityserver.settings import Settings


def open_for_writing(settings: Settings, *, log_reserve: int = 0) -> LogDatabase:
    """Prepare a server's database for its writer, encrypting if the settings want that.

    Raises ``ConfigurationError`` (``key_not_found``) if the key isn't there.
    """
    database = open_database(settings.messagelog_url, log_reserve=log_reserve)
    section = settings.message_log
    if not section.messagelog_encryption_enabled:
        return database
    keys = load_log_keys(settings.log_keys_path)
    return EncryptingDatabase(database, RecordCiphers(keys).cipher(section.messagelog_key_id))


def open_database(
    url: str, *, read_only: bool = False, log_reserve: int = 0, tables: Schema = MESSAGE_LOG
) -> LogDatabase:
    """Prepare the database at ``sqlite:///path`` or ``postgresql://…``; nothing connects yet.

    ``log_reserve`` bytes are made ready for the write-ahead log, where that is ours to look after.
    Raises ``ConfigurationError`` for any other address.
    """
    scheme, separator, _rest = url.partition("://")
    product = scheme.partition("+")[0]
    if separator and product == "sqlite":
        return SqliteDatabase(
            path_of_url(url), read_only=read_only, log_reserve=log_reserve, tables=tables
        )
    if separator and product in ("postgresql", "postgres"):
        # Most servers keep their log in a file; psycopg would cost each of their processes 10 MiB.
        from postroad.securityserver.messagelog.postgresql import (  # noqa: PLC0415 - only where the log is in PostgreSQL
            PostgresqlDatabase,
        )

        return PostgresqlDatabase(url, read_only=read_only, tables=tables)
    raise ConfigurationError(
        f"{tables.name} database {scheme!r} is not supported: use sqlite:///path or postgresql://…"
    )
