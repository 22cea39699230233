"""How are messages kept in the database so that whoever steals it can't read them?

What a message said (the message itself, its body, attachments and their pieces) is encrypted with
AES-256-GCM, each value with a nonce of its own. Number of the record, place within it and the id of
the key are authenticated, so that no value can be put in the place of another. What searches need
stays as it is, and so do signatures and hash chains, which hold names and digests only.

The reference uses AES-CTR without authentication and a counter by the record's number (UG-SS
11.1.3, MessageRecordEncryption); a number that is used again after a database was restored would
then give both messages away, so nonces are random here. A key serves for 2^32 values.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from postroad.securityserver.messagelog.database import LogDatabase, Row, Value
    from postroad.securityserver.messagelog.record_keys import LogKeys

NONCE_BYTES: Final = 12
MESSAGE: Final = "message"
BODY: Final = "body"


def attachment_label(number: int) -> str:
    """Return the place of an attachment's content within its record."""
    return f"attachment {number}"


def piece_label(number: int, piece: int) -> str:
    """Return the place of a piece of an attachment within its record."""
    return f"attachment {number} piece {piece}"


class RecordCipher:
    """Seals and opens the values of records with one key."""

    def __init__(self, key_id: str, key: bytes) -> None:
        self.key_id = key_id
        self._aead = AESGCM(key)

    def seal(self, data: bytes, record_id: int, label: str) -> bytes:
        """Encrypt a value for its place."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data, self._place(record_id, label))

    def open(self, sealed: bytes, record_id: int, label: str) -> bytes:
        """Decrypt a value; raises ``ConfigurationError`` (``database_error``) if it isn't whole."""
        nonce, data = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._aead.decrypt(nonce, data, self._place(record_id, label))
        except (InvalidTag, ValueError) as error:
            raise ConfigurationError(
                f"the {label} of log record {record_id} can't be decrypted with the key "
                f"{self.key_id!r}: the message log is damaged, or the key isn't the one",
                code=FaultCode.DATABASE_ERROR,
            ) from error

    def _place(self, record_id: int, label: str) -> bytes:
        return f"{record_id}\0{label}\0{self.key_id}".encode()


class RecordCiphers:
    """Finds the cipher by the id that a record names."""

    def __init__(self, keys: LogKeys | None) -> None:
        self._keys = keys
        self._known: dict[str, RecordCipher] = {}

    def cipher(self, key_id: str) -> RecordCipher:
        """Return the cipher of a key; raises ``ConfigurationError`` (``key_not_found``)."""
        if self._keys is None:
            raise ConfigurationError(
                f"the message log is encrypted with the key {key_id!r}, and there is no key file",
                code=FaultCode.KEY_NOT_FOUND,
            )
        if key_id not in self._known:
            self._known[key_id] = RecordCipher(key_id, self._keys.key(key_id))
        return self._known[key_id]


class EncryptingDatabase:
    """A ``LogDatabase`` that encrypts what the store puts into it.

    It stands between the store and the database, so a log that isn't encrypted pays nothing.
    """

    def __init__(self, database: LogDatabase, cipher: RecordCipher) -> None:
        self._database = database
        self._cipher = cipher
        self._sealers: dict[
            str, Callable[[Sequence[str], Sequence[Sequence[Value]]], list[Row]]
        ] = {
            "logrecord": self._records,
            "message_attachment": self._attachments,
            "attachment_piece": self._pieces,
        }

    @property
    def is_remote(self) -> bool:
        """Whether another process or machine must answer before a call returns."""
        return self._database.is_remote

    @property
    def body_files(self) -> None:
        """Nowhere: files wouldn't be encrypted."""
        return

    def migrate(self) -> None:
        """See ``LogDatabase``."""
        self._database.migrate()

    def transaction(self) -> AbstractContextManager[None]:
        """See ``LogDatabase``."""
        return self._database.transaction()

    def rows(self, statement: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """See ``LogDatabase``; what is read stays encrypted."""
        return self._database.rows(statement, parameters)

    def change(self, statement: str, parameters: Sequence[Value] = ()) -> int:
        """See ``LogDatabase``; parameters are stored as they are."""
        return self._database.change(statement, parameters)

    def change_many(self, statement: str, parameters: Sequence[Sequence[Value]]) -> int:
        """See ``LogDatabase``; parameters are stored as they are."""
        return self._database.change_many(statement, parameters)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Insert rows, with what messages said encrypted."""
        sealer = self._sealers.get(table)
        if sealer is not None and rows:
            rows = sealer(columns, rows)
            if table == "logrecord":
                columns = (*columns, "keyid")
        self._database.insert(table, columns, rows)

    def reserve_ids(self, count: int) -> list[int]:
        """See ``LogDatabase``."""
        return self._database.reserve_ids(count)

    def checkpoint(self) -> int:
        """See ``LogDatabase``."""
        return self._database.checkpoint()

    def close(self) -> None:
        """See ``LogDatabase``."""
        self._database.close()

    def _records(self, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> list[Row]:
        record, message, body = (columns.index(name) for name in ("id", "message", "body"))
        sealed: list[Row] = []
        for row in rows:
            cells = list(row)
            cells[message] = self._seal(cells[message], cells[record], MESSAGE)
            cells[body] = self._seal(cells[body], cells[record], BODY)
            sealed.append((*cells, self._cipher.key_id))
        return sealed

    def _attachments(self, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> list[Row]:
        names = ("logrecord_id", "attachment_no", "content")
        record, number, content = (columns.index(name) for name in names)
        sealed: list[Row] = []
        for row in rows:
            cells = list(row)
            label = attachment_label(_number(cells[number]))
            cells[content] = self._seal(cells[content], cells[record], label)
            sealed.append(tuple(cells))
        return sealed

    def _pieces(self, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> list[Row]:
        names = ("logrecord_id", "attachment_no", "piece_no", "content")
        record, number, piece, content = (columns.index(name) for name in names)
        sealed: list[Row] = []
        for row in rows:
            cells = list(row)
            label = piece_label(_number(cells[number]), _number(cells[piece]))
            cells[content] = self._seal(cells[content], cells[record], label)
            sealed.append(tuple(cells))
        return sealed

    def _seal(self, data: Value, record_id: Value, label: str) -> Value:
        if data is None:
            return None
        if not isinstance(data, bytes):
            raise TypeError(f"the {label} of a record is bytes")
        return self._cipher.seal(data, _number(record_id), label)


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError("numbers of records and attachments are whole")
    return value
