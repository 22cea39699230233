"""What is in the message log: which records wait for a time-stamp, and what belongs to a message?

``LogReader`` has a read-only connection of its own, in any process, and never holds up the writer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.digests import SIGNATURES_PART, TIMESTAMP_CHAIN_PART
from postroad.evidence.hashchain import HashTree
from postroad.identifiers import ClientId, client_id
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.record_encryption import (
    BODY,
    MESSAGE,
    RecordCiphers,
    attachment_label,
    piece_label,
)
from postroad.securityserver.messagelog.records import (
    BODY_DIGEST,
    LISTED_STATE,
    SIGNATURE_DIGEST,
    Direction,
    listed_up_to,
    moment,
    query_hash,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.securityserver.messagelog.database import LogDatabase, Row, Value
    from postroad.securityserver.messagelog.record_encryption import RecordCipher
    from postroad.securityserver.messagelog.record_keys import LogKeys

MAX_FOUND: Final = 1000
"""Most records that one search returns; a message id is chosen by its sender, so may repeat."""

T = TypeVar("T")


class PendingSignature(msgspec.Struct, frozen=True, array_like=True):
    """A signature that waits for its time-stamp; it has the number of its first record."""

    id: int
    signature_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRecord:
    """One record of a search: enough to name it and to see whether it is stamped."""

    id: int
    query_id: str
    direction: Direction
    created_at: datetime
    is_stamped: bool
    attachment_bytes: int


@dataclass(frozen=True, slots=True)
class StoredAttachment:
    """One attachment: number (from 1), size in bytes, SHA-512, and its bytes if they were kept."""

    number: int
    size: int
    digest: bytes
    content: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredTimestamp:
    """The time-stamp of a record: DER token; of a batch also its hash chain result and chain."""

    token: bytes
    hash_chain_result: bytes | None
    hash_chain: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """Everything the log knows about one message."""

    id: int
    query_id: str
    request_id: str | None
    direction: Direction
    party: ClientId
    created_at: datetime
    message: bytes
    signature: bytes
    hash_chain_result: bytes | None
    hash_chain: bytes | None
    attachments: tuple[StoredAttachment, ...]
    timestamp: StoredTimestamp | None


class _FoundRow(msgspec.Struct, array_like=True):
    id: int
    query_id: str
    response: int
    time: int
    stamped: int
    attachment_bytes: int


class _RecordRow(msgspec.Struct, array_like=True):
    id: int
    query_id: str
    request_id: str | None
    response: int
    instance: str
    member_class: str
    member_code: str
    subsystem_code: str | None
    time: int
    message: bytes
    signature: bytes
    hash_chain_result: bytes | None
    hash_chain: bytes | None
    body: bytes | None
    timestamp_id: int | None
    token: bytes | None
    token_chain_result: bytes | None
    leaf: int | None
    key_id: str | None


class _AttachmentRow(msgspec.Struct, array_like=True):
    number: int
    size: int
    digest: bytes
    pieces: int | None
    content: bytes | None
    filed: int | None


_FIND: Final = """
    SELECT r.id, r.queryid, r.response, r.time,
           CASE WHEN EXISTS (SELECT 1 FROM stamped_signature s
                              WHERE s.signature_id = r.signature_id) THEN 1 ELSE 0 END,
           CAST(COALESCE(LENGTH(r.body), 0) + COALESCE(
               (SELECT SUM(a.size) FROM message_attachment a
                 WHERE a.logrecord_id = r.id
                   AND (a.content IS NOT NULL OR a.pieces IS NOT NULL OR a.filed IS NOT NULL)), 0
           ) AS BIGINT)
      FROM logrecord r
     WHERE r.id IN (SELECT logrecord_id FROM query_index WHERE queryhash = ?
                    UNION ALL
                    SELECT id FROM logrecord WHERE id > ? AND queryid = ?)
       AND r.queryid = ?
       AND (? = 0 OR r.instance = ? AND r.memberclass = ? AND r.membercode = ?
                     AND COALESCE(r.subsystemcode, '') = ?)
     ORDER BY r.id LIMIT ?
"""
_LOAD: Final = """
    SELECT r.id, r.queryid, r.xrequestid, r.response,
           r.instance, r.memberclass, r.membercode, r.subsystemcode, r.time,
           r.message, s.signature, s.hashchainresult, r.hashchain, r.body,
           t.id, t.timestamp, t.hashchainresult, m.leaf, r.keyid
      FROM logrecord r
      JOIN signature s ON s.id = r.signature_id
      LEFT JOIN stamped_signature m ON m.signature_id = r.signature_id
      LEFT JOIN timestamp_record t ON t.id = m.timestamprecord
     WHERE r.id = ?
"""
_PENDING: Final = """
    SELECT signature_id, signaturehash FROM waiting_signature ORDER BY signature_id LIMIT ?
"""
_PENDING_OF: Final = """
    SELECT w.signature_id, w.signaturehash
      FROM logrecord r JOIN waiting_signature w ON w.signature_id = r.signature_id
     WHERE r.id = ?
"""
_OLDEST_PENDING: Final = "SELECT time FROM waiting_signature ORDER BY signature_id LIMIT 1"
_COUNT_PENDING: Final = "SELECT COUNT(*) FROM waiting_signature"
_LEAVES: Final = "SELECT leaves FROM timestamp_record WHERE id = ?"
_ATTACHMENTS: Final = """
    SELECT attachment_no, size, digest, pieces, content, filed FROM message_attachment
     WHERE logrecord_id = ? ORDER BY attachment_no
"""
_PIECES: Final = """
    SELECT content FROM attachment_piece
     WHERE logrecord_id = ? AND attachment_no = ? ORDER BY piece_no
"""


class LogReader:
    """Reads the message log at ``sqlite:///path`` or ``postgresql://…``.

    Every method raises ``ConfigurationError`` (``logging_failed.database_error``) when the
    database can't be read. Use it from one thread at a time.
    """

    def __init__(self, database: LogDatabase, keys: LogKeys | None = None) -> None:
        self._database = database
        self._ciphers = RecordCiphers(keys)
        self._last_tree: tuple[bytes, HashTree] | None = None
        """The tree used last, by its result: a batch's records are mostly read one by one."""

    @classmethod
    def open(cls, url: str, keys: LogKeys | None = None) -> LogReader:
        """Build a reader of the log at ``url``; nothing connects yet.

        ``keys`` are wanted by ``load`` alone, for records that are encrypted.
        """
        return cls(open_database(url, read_only=True), keys)

    def pending(self, limit: int) -> list[PendingSignature]:
        """Return up to ``limit`` signatures without a time-stamp, in the order they came."""
        return _typed(self._database.rows(_PENDING, (limit,)), PendingSignature)

    def pending_among(self, record_ids: Sequence[int]) -> list[PendingSignature]:
        """Return the signatures of the given records that have no time-stamp, each once."""
        found: dict[PendingSignature, None] = {}
        for record_id in record_ids:
            rows = self._database.rows(_PENDING_OF, (record_id,))
            found.update(dict.fromkeys(_typed(rows, PendingSignature)))
        return list(found)

    def oldest_pending(self) -> datetime | None:
        """Return the moment of the first signature without a time-stamp."""
        found = _typed(self._database.rows(_OLDEST_PENDING), tuple[int])
        return moment(found[0][0]) if found else None

    def count_pending(self) -> int:
        """Return how many signatures have no time-stamp yet."""
        return _typed(self._database.rows(_COUNT_PENDING), tuple[int])[0][0]

    def signature(self, signature_id: int) -> bytes | None:
        """Return a signature document."""
        statement = "SELECT signature FROM signature WHERE id = ?"
        found = _typed(self._database.rows(statement, (signature_id,)), tuple[bytes])
        return found[0][0] if found else None

    def state(self, name: str) -> bytes | None:
        """Return a value kept by ``LogStore.set_state``."""
        statement = "SELECT value FROM log_state WHERE name = ?"
        found = _typed(self._database.rows(statement, (name,)), tuple[bytes])
        return found[0][0] if found else None

    def find(
        self, query_id: str, party: ClientId | None = None, *, direction: Direction | None = None
    ) -> list[FoundRecord]:
        """Return the records of a message id, those of ``party`` only, in the order of storing.

        A member's search finds none of its subsystems' records. At most ``MAX_FOUND``.
        """
        owner: tuple[Value, ...] = (0, "", "", "", "")
        if party is not None:
            owner = (1, *party.member.parts, party.subsystem_code or "")
        # What was stored lately isn't in the index yet; it is looked through.
        listed = listed_up_to(self.state(LISTED_STATE))
        rows = self._database.rows(
            _FIND, (query_hash(query_id), listed, query_id, query_id, *owner, MAX_FOUND)
        )
        found = [
            FoundRecord(
                id=row.id,
                query_id=row.query_id,
                direction=_direction(row.response),
                created_at=moment(row.time),
                is_stamped=bool(row.stamped),
                attachment_bytes=row.attachment_bytes,
            )
            for row in _typed(rows, _FoundRow)
        ]
        return [record for record in found if direction in (None, record.direction)]

    def load(self, record_id: int) -> StoredRecord | None:
        """Return a record with its attachments and time-stamp.

        Raises also ``ConfigurationError`` (``key_not_found``) if it is encrypted with a key that
        isn't there.
        """
        with self._database.transaction():
            rows = _typed(self._database.rows(_LOAD, (record_id,)), _RecordRow)
            if not rows:
                return None
            row = rows[0]
            cipher = None if row.key_id is None else self._ciphers.cipher(row.key_id)
            if cipher is not None:
                row.message = cipher.open(row.message, record_id, MESSAGE)
                if row.body is not None:
                    row.body = cipher.open(row.body, record_id, BODY)
            attachments = self._attachments(record_id, row.body, cipher)
            timestamp = self._timestamp(row)
        return StoredRecord(
            id=row.id,
            query_id=row.query_id,
            request_id=row.request_id,
            direction=_direction(row.response),
            party=client_id(row.instance, row.member_class, row.member_code, row.subsystem_code),
            created_at=moment(row.time),
            message=row.message,
            signature=row.signature,
            hash_chain_result=row.hash_chain_result,
            hash_chain=row.hash_chain,
            attachments=attachments,
            timestamp=timestamp,
        )

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._database.close()

    def _timestamp(self, row: _RecordRow) -> StoredTimestamp | None:
        if row.token is None or row.timestamp_id is None:
            return None
        chain = None
        if row.leaf is not None and row.token_chain_result is not None:
            tree = self._tree(row.timestamp_id, row.token_chain_result)
            if not 0 <= row.leaf < len(tree):
                raise _damaged(f"time-stamp record {row.timestamp_id} has no digest {row.leaf}")
            if tree.leaf(row.leaf) != SIGNATURE_DIGEST.digest(row.signature):
                raise _damaged(f"the signature of record {row.id} isn't the one that was stamped")
            chain = tree.chain(row.leaf, SIGNATURES_PART)
        return StoredTimestamp(row.token, row.token_chain_result, chain)

    def _tree(self, timestamp_id: int, result: bytes) -> HashTree:
        """Make the tree that a time-stamp covers again, and check that it is the one."""
        if self._last_tree is not None and self._last_tree[0] == result:
            return self._last_tree[1]
        rows = _typed(self._database.rows(_LEAVES, (timestamp_id,)), tuple[bytes | None])
        leaves = (rows[0][0] if rows else None) or b""
        size = SIGNATURE_DIGEST.size
        try:
            values = [leaves[at : at + size] for at in range(0, len(leaves), size)]
            tree = HashTree(values, SIGNATURE_DIGEST)
        except ValueError as error:
            raise _damaged(f"time-stamp record {timestamp_id}: {error}") from error
        if tree.result(TIMESTAMP_CHAIN_PART) != result:
            raise _damaged(f"the digests of time-stamp record {timestamp_id} aren't those stamped")
        self._last_tree = (result, tree)
        return tree

    def _attachments(
        self, record_id: int, body: bytes | None, cipher: RecordCipher | None
    ) -> tuple[StoredAttachment, ...]:
        if body is not None:
            return (StoredAttachment(1, len(body), BODY_DIGEST.digest(body), body),)
        rows = _typed(self._database.rows(_ATTACHMENTS, (record_id,)), _AttachmentRow)
        return tuple(
            StoredAttachment(
                row.number,
                row.size,
                row.digest,
                self._content(record_id, row, cipher),
            )
            for row in rows
        )

    def _content(
        self, record_id: int, row: _AttachmentRow, cipher: RecordCipher | None
    ) -> bytes | None:
        content = row.content
        if content is not None and cipher is not None:
            content = cipher.open(content, record_id, attachment_label(row.number))
        if row.pieces is not None:
            pieces = _typed(self._database.rows(_PIECES, (record_id, row.number)), tuple[bytes])
            content = b"".join(
                piece
                if cipher is None
                else cipher.open(piece, record_id, piece_label(row.number, number))
                for number, (piece,) in enumerate(pieces)
            )
        if row.filed is not None:
            files = self._database.body_files
            if files is None:
                raise _damaged(f"attachment {row.number} of log record {record_id} is a file")
            content = files.read(record_id, row.number)
        if content is not None and len(content) != row.size:
            raise _damaged(
                f"attachment {row.number} of log record {record_id} has {len(content)} bytes "
                f"instead of {row.size}"
            )
        return content


def _damaged(what: str) -> ConfigurationError:
    return ConfigurationError(f"{what}: the message log is damaged", code=FaultCode.DATABASE_ERROR)


def _direction(response: int) -> Direction:
    return Direction.RESPONSE if response else Direction.REQUEST


def _typed(rows: Sequence[Row], row_type: type[T]) -> list[T]:
    """Check that rows have the columns we think they have; a foreign database may not."""
    try:
        return [msgspec.convert(row, row_type, builtin_types=(bytes,)) for row in rows]
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"the message log holds an unexpected value: {error}", code=FaultCode.DATABASE_ERROR
        ) from error
