"""Which tables does the message log have, and how does an older database become a newer one?

Names follow the protocol's message log (reference: ``logrecord``, ``message_attachment``,
``last_archive_digest``; DM-ML), with some changes of shape:

- ``logrecord`` holds messages only, and a row of it never changes once it is written. SQLite
  rewrites a whole row when one column changes, so stamping ten thousand records would otherwise
  write their ten thousand messages again. The only attachment of a message is in ``body``.
- Messages that were signed together have the same signature document, so it is kept once, in
  ``signature``, under the number of the first record that has it (in ``logrecord``, too). A
  record has the signature of an earlier one only if that isn't ``SHARING_DISTANCE`` records away
  (see ``store``), so whoever removes old records knows where to look for others that need it.
- Messages are found by ``query_index``, whose keys come in no order at all, so each would cost
  writing a page of its own. They are listed there later, many at a time and sorted; ``log_state``
  says up to which record that has been done, and searches look through the few others.
- Signatures are what is stamped: ``waiting_signature`` lists those that wait, and
  ``stamped_signature`` names the time-stamp of each and its place among the digests (``leaves``)
  that the time-stamp's hash chain joins. The chain of one is made from them when it's wanted.

Some references aren't declared as such, because checking them would read large rows at the wrong
moment: who removes a signature removes its entry in ``stamped_signature``, and who removes a record
removes its entry in ``query_index`` and its pieces.

An attachment that isn't in ``body`` has a row in ``message_attachment``. A large one is stored in
pieces, which are written between the commits of other records instead of holding them up;
``pieces`` says how many there are, and ``unfinished_record`` names what a crash may have left half
written. Or it is a file of its own (``filed``, see ``body_files``). An attachment with neither
content nor pieces nor file is proven by its digest alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postroad.securityserver.messagelog.database import LogDatabase

Product = Literal["sqlite", "postgresql"]


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one database, as the steps by which they came to be."""

    name: str
    """What the database is, for people."""
    version_table: str
    migrations: tuple[Mapping[Product, tuple[str, ...]], ...]


_FIRST: Final = (
    """
    CREATE TABLE signature (
        id BIGINT PRIMARY KEY,
        hashchainresult BYTES,
        signature BYTES NOT NULL
    )
    """,
    """
    CREATE TABLE waiting_signature (
        signature_id BIGINT PRIMARY KEY REFERENCES signature (id) ON DELETE CASCADE,
        time BIGINT NOT NULL,
        signaturehash BYTES NOT NULL
    )
    """,
    """
    CREATE TABLE timestamp_record (
        id BIGINT PRIMARY KEY,
        time BIGINT NOT NULL,
        timestamp BYTES NOT NULL,
        hashchainresult BYTES,
        leaves BYTES
    )
    """,
    """
    CREATE TABLE stamped_signature (
        signature_id BIGINT PRIMARY KEY,
        timestamprecord BIGINT NOT NULL REFERENCES timestamp_record (id),
        leaf INTEGER
    )
    """,
    "CREATE INDEX stamped_signature_timestamp ON stamped_signature (timestamprecord)",
    """
    CREATE TABLE logrecord (
        id BIGINT PRIMARY KEY,
        time BIGINT NOT NULL,
        signature_id BIGINT NOT NULL,
        response INTEGER NOT NULL,
        side VARCHAR(6) NOT NULL,
        queryid VARCHAR(255) NOT NULL,
        xrequestid VARCHAR(255),
        instance VARCHAR(255) NOT NULL,
        memberclass VARCHAR(255) NOT NULL,
        membercode VARCHAR(255) NOT NULL,
        subsystemcode VARCHAR(255),
        message BYTES NOT NULL,
        hashchain BYTES,
        body BYTES
    )
    """,
    """
    CREATE TABLE query_index (
        queryhash BIGINT NOT NULL,
        logrecord_id BIGINT NOT NULL,
        PRIMARY KEY (queryhash, logrecord_id)
    ) WITHOUT ROWID
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
    # Compressing evidence would take longer than everything else that is done to a message. What
    # fits stays in its row; the rest is cut up as it is.
    "ALTER TABLE logrecord SET (toast_tuple_target = 8160)",
    "ALTER TABLE signature SET (toast_tuple_target = 8160)",
    "ALTER TABLE logrecord ALTER COLUMN message SET STORAGE EXTERNAL",
    "ALTER TABLE logrecord ALTER COLUMN hashchain SET STORAGE EXTERNAL",
    "ALTER TABLE logrecord ALTER COLUMN body SET STORAGE EXTERNAL",
    "ALTER TABLE signature ALTER COLUMN signature SET STORAGE EXTERNAL",
    "ALTER TABLE message_attachment ALTER COLUMN content SET STORAGE EXTERNAL",
    "ALTER TABLE attachment_piece ALTER COLUMN content SET STORAGE EXTERNAL",
    # A few of very many leaves are read at a time.
    "ALTER TABLE timestamp_record ALTER COLUMN leaves SET STORAGE EXTERNAL",
)

_ENCRYPTION: Final = (
    # The key that message, body, attachments and pieces are encrypted with; none: they aren't.
    "ALTER TABLE logrecord ADD COLUMN keyid VARCHAR(64)",
)
_ARCHIVES: Final = (
    # ``records`` holds the numbers of an archive's records, eight bytes each, until every record
    # up to ``lastrecord`` is archived. See ``archive_register``.
    """
    CREATE TABLE archive_file (
        id BIGINT PRIMARY KEY,
        time BIGINT NOT NULL,
        groupname VARCHAR(1023) NOT NULL,
        filename VARCHAR(255) NOT NULL UNIQUE,
        digest VARCHAR(255) NOT NULL,
        lastrecord BIGINT NOT NULL,
        records BYTES NOT NULL,
        state INTEGER NOT NULL
    )
    """,
    "CREATE INDEX archive_file_state ON archive_file (state)",
    "CREATE INDEX archive_file_lastrecord ON archive_file (lastrecord)",
)

_FILES: Final = (
    # 1: the attachment is a file beside the database. See ``body_files``.
    "ALTER TABLE message_attachment ADD COLUMN filed INTEGER",
)

_MIGRATIONS: Final[tuple[dict[Product, tuple[str, ...]], ...]] = (
    {"sqlite": _FIRST + _FIRST_SQLITE, "postgresql": _FIRST + _FIRST_POSTGRESQL},
    {"sqlite": _ENCRYPTION, "postgresql": _ENCRYPTION},
    {"sqlite": _ARCHIVES, "postgresql": _ARCHIVES},
    {"sqlite": _FILES, "postgresql": _FILES},
)
SCHEMA_VERSION: Final = len(_MIGRATIONS)
MESSAGE_LOG: Final = Schema("message log", "messagelog_schema", _MIGRATIONS)

_TYPES: Final[dict[Product, dict[str, str]]] = {
    # An INTEGER primary key is SQLite's own row number: no second index, rows in order of arrival.
    "sqlite": {"BYTES": "BLOB", "BIGINT PRIMARY KEY": "INTEGER PRIMARY KEY"},
    "postgresql": {"BYTES": "BYTEA", "WITHOUT ROWID": ""},
}


def migrate(database: LogDatabase, product: Product, schema: Schema = MESSAGE_LOG) -> None:
    """Apply the migrations that this database doesn't have yet; call it inside a transaction.

    Raises ``ConfigurationError`` if a newer version of the program has used the database.
    """
    table, newest = schema.version_table, len(schema.migrations)
    database.change(f"CREATE TABLE IF NOT EXISTS {table} (version INTEGER NOT NULL)")
    found = database.rows(f"SELECT version FROM {table}")  # noqa: S608 - our own name
    version = found[0][0] if found else 0
    if not isinstance(version, int) or version > newest:
        raise ConfigurationError(
            f"the {schema.name}'s database has schema version {version!r}; this program knows "
            f"versions up to {newest}: use the newer program"
        )
    if version == newest:
        return
    for step in schema.migrations[version:]:
        for statement in step[product]:
            database.change(_in_dialect(statement, product))
    if found:
        database.change(f"UPDATE {table} SET version = ?", (newest,))  # noqa: S608 - our own name
    else:
        database.change(f"INSERT INTO {table} (version) VALUES (?)", (newest,))  # noqa: S608 - our own name


def _in_dialect(statement: str, product: Product) -> str:
    for ours, theirs in _TYPES[product].items():
        statement = statement.replace(ours, theirs)
    return statement
