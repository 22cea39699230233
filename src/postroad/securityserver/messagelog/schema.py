"""Which tables does the message log have, and how does an older database become a newer one?

Names follow the protocol's message log (reference: ``logrecord``, ``message_attachment``,
``last_archive_digest``; DM-ML), with one change of shape: what is written once and is large
(message, signature, hash chains, time-stamps) has tables of its own, and ``logrecord`` keeps the
small columns that change. SQLite rewrites a whole row when one column changes, so stamping ten
thousand records would otherwise write their ten thousand messages again.

A small attachment is stored beside its digest. A large one is stored in pieces, which are written
between the commits of other records instead of holding them up; ``pieces`` says how many there
are, and ``unfinished_record`` names what a crash may have left half written. An attachment with
neither is proven by its digest alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from postroad.securityserver.messagelog.database import LogDatabase

Product = Literal["sqlite", "postgresql"]

_FIRST: Final = (
    """
    CREATE TABLE logrecord (
        id BIGINT PRIMARY KEY,
        discriminator VARCHAR(1) NOT NULL CHECK (discriminator IN ('m', 't')),
        time BIGINT NOT NULL,
        archived INTEGER NOT NULL DEFAULT 0,
        queryid VARCHAR(255),
        xrequestid VARCHAR(255),
        response INTEGER,
        side VARCHAR(6),
        instance VARCHAR(255),
        memberclass VARCHAR(255),
        membercode VARCHAR(255),
        subsystemcode VARCHAR(255),
        signaturehash BYTES,
        timestamprecord BIGINT REFERENCES logrecord (id)
    )
    """,
    "CREATE INDEX logrecord_query ON logrecord (queryid) WHERE discriminator = 'm'",
    "CREATE INDEX logrecord_not_stamped ON logrecord (time, id) WHERE signaturehash IS NOT NULL",
    """
    CREATE INDEX logrecord_not_archived
        ON logrecord (memberclass, membercode, subsystemcode, id)
        WHERE discriminator = 'm' AND archived = 0
    """,
    """
    CREATE INDEX logrecord_timestamp ON logrecord (timestamprecord)
        WHERE timestamprecord IS NOT NULL
    """,
    """
    CREATE TABLE message_content (
        logrecord_id BIGINT PRIMARY KEY REFERENCES logrecord (id) ON DELETE CASCADE,
        message BYTES,
        signature BYTES NOT NULL,
        hashchainresult BYTES,
        hashchain BYTES,
        keyid VARCHAR(255),
        ciphermessage BYTES
    )
    """,
    """
    CREATE TABLE timestamp_token (
        logrecord_id BIGINT PRIMARY KEY REFERENCES logrecord (id) ON DELETE CASCADE,
        timestamp BYTES NOT NULL,
        hashchainresult BYTES
    )
    """,
    """
    CREATE TABLE timestamp_chain (
        logrecord_id BIGINT PRIMARY KEY REFERENCES logrecord (id) ON DELETE CASCADE,
        timestamphashchain BYTES NOT NULL
    )
    """,
    """
    CREATE TABLE message_attachment (
        logrecord_id BIGINT NOT NULL REFERENCES logrecord (id) ON DELETE CASCADE,
        attachment_no INTEGER NOT NULL,
        size BIGINT NOT NULL,
        digest BYTES NOT NULL,
        pieces INTEGER,
        content BYTES,
        PRIMARY KEY (logrecord_id, attachment_no)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE attachment_piece (
        logrecord_id BIGINT NOT NULL,
        attachment_no INTEGER NOT NULL,
        piece_no INTEGER NOT NULL,
        content BYTES NOT NULL,
        PRIMARY KEY (logrecord_id, attachment_no, piece_no)
    )
    """,
    "CREATE TABLE unfinished_record (logrecord_id BIGINT PRIMARY KEY)",
    """
    CREATE TABLE last_archive_digest (
        id BIGINT PRIMARY KEY,
        groupname VARCHAR(1023) UNIQUE,
        digest VARCHAR(255),
        filename VARCHAR(255)
    )
    """,
    "CREATE TABLE log_state (name VARCHAR(64) PRIMARY KEY, value BYTES NOT NULL)",
)
_FIRST_SQLITE: Final = (
    "CREATE TABLE logrecord_sequence (value BIGINT NOT NULL)",
    "INSERT INTO logrecord_sequence (value) VALUES (0)",
)
_FIRST_POSTGRESQL: Final = (
    "CREATE SEQUENCE logrecord_sequence AS BIGINT",
    # Message bodies and signatures are compressed badly or not at all by their senders: let the
    # server spend its time on the disk instead of on trying.
    "ALTER TABLE attachment_piece ALTER COLUMN content SET STORAGE EXTERNAL",
)

_MIGRATIONS: Final[tuple[dict[Product, tuple[str, ...]], ...]] = (
    {"sqlite": _FIRST + _FIRST_SQLITE, "postgresql": _FIRST + _FIRST_POSTGRESQL},
)
SCHEMA_VERSION: Final = len(_MIGRATIONS)

_TYPES: Final[dict[Product, dict[str, str]]] = {
    # An INTEGER primary key is SQLite's own row number: no second index, rows in order of arrival.
    "sqlite": {"BYTES": "BLOB", "BIGINT PRIMARY KEY": "INTEGER PRIMARY KEY"},
    "postgresql": {"BYTES": "BYTEA", "WITHOUT ROWID": ""},
}


def migrate(database: LogDatabase, product: Product) -> None:
    """Apply the migrations that this database doesn't have yet; call it inside a transaction.

    Raises ``ConfigurationError`` if a newer version of the program has used the database.
    """
    database.change("CREATE TABLE IF NOT EXISTS messagelog_schema (version INTEGER NOT NULL)")
    found = database.rows("SELECT version FROM messagelog_schema")
    version = found[0][0] if found else 0
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"the message log's database has schema version {version!r}; this program knows "
            f"versions up to {SCHEMA_VERSION}: use the newer program"
        )
    if version == SCHEMA_VERSION:
        return
    for step in _MIGRATIONS[version:]:
        for statement in step[product]:
            database.change(_in_dialect(statement, product))
    if found:
        database.change("UPDATE messagelog_schema SET version = ?", (SCHEMA_VERSION,))
    else:
        database.change("INSERT INTO messagelog_schema (version) VALUES (?)", (SCHEMA_VERSION,))


def _in_dialect(statement: str, product: Product) -> str:
    for ours, theirs in _TYPES[product].items():
        statement = statement.replace(ours, theirs)
    return statement
