"""Which records can the message log keep as they are, and how does it refuse the others?

The record itself is a value of ``postroad.evidence.log_record``; its names can be had here, too.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.log_record import (
    Body,
    Direction,
    InlineBody,
    MessageRecord,
    OmittedBody,
    Side,
    SpooledBody,
    build_record,
)

__all__ = [
    "BODY_DIGEST",
    "LISTED_STATE",
    "MAX_QUERY_ID",
    "SIGNATURE_DIGEST",
    "Body",
    "Direction",
    "InlineBody",
    "MessageRecord",
    "OmittedBody",
    "Side",
    "SpooledBody",
    "build_record",
    "check_record",
    "epoch_milliseconds",
    "listed_up_to",
    "logging_failed",
    "moment",
    "query_hash",
    "record_bytes",
]

MAX_QUERY_ID: Final = 255
"""Longest message id that can be logged, in characters; a longer one fails the exchange."""
MAX_IDENTIFIER: Final = 255
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Bound of every part of a record that is kept in memory: message, signature, hash chains."""
MAX_ATTACHMENTS: Final = 1000
MAX_INLINE_BYTES: Final = 1024 * 1024
"""Largest attachment handed over inside a record; larger ones are handed over as a spool file."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

LISTED_STATE: Final = "listed"
"""Where the log's database keeps the number of the last record that ``query_index`` has."""

BODY_DIGEST: Final = DigestAlgorithm.SHA512
"""The algorithm of attachment digests: the one that signatures and hash chains use."""
SIGNATURE_DIGEST: Final = DigestAlgorithm.SHA512
"""The algorithm of ``signaturehash``, and so of the leaves of time-stamp hash chains."""


def check_record(record: MessageRecord) -> None:
    """Refuse a record that can't be stored as it is.

    Raises ``ConfigurationError`` (``logging_failed``) that says which field is too long, empty or
    holds a character that a database can't keep.
    """
    if not _is_plain(record):
        _check_texts(record)
    if (record.hash_chain_result is None) != (record.hash_chain is None):
        raise logging_failed("a record has both a hash chain and its result, or neither")
    if not record.message or not record.signature:
        raise logging_failed("a record needs a message and its signature")
    size = record_bytes(record)
    if size > MAX_MESSAGE_BYTES:
        raise logging_failed(
            f"message, signature and hash chains are {size} bytes; at most "
            f"{MAX_MESSAGE_BYTES} can be logged"
        )
    if record.attachments:
        if len(record.attachments) > MAX_ATTACHMENTS:
            raise logging_failed(
                f"{len(record.attachments)} attachments; at most {MAX_ATTACHMENTS} can be logged"
            )
        for body in record.attachments:
            _check_body(body)


def record_bytes(record: MessageRecord) -> int:
    """Bytes that a record takes in memory, spooled attachments not counted."""
    size = (
        len(record.message)
        + len(record.signature)
        + len(record.hash_chain_result or b"")
        + len(record.hash_chain or b"")
    )
    for body in record.attachments:
        if isinstance(body, InlineBody):
            size += len(body.data)
    return size


def logging_failed(
    message: str, *, code: FaultCode = FaultCode.LOGGING_FAILED
) -> ConfigurationError:
    """Build the error of a message that could not be logged (``logging_failed[.code]``)."""
    prefix = () if code is FaultCode.LOGGING_FAILED else (FaultCode.LOGGING_FAILED.value,)
    return ConfigurationError(message, code=code, prefix=prefix)


def epoch_milliseconds(at: datetime) -> int:
    """Return a moment as the database keeps it: whole milliseconds since 1970 (UTC).

    >>> epoch_milliseconds(datetime(1970, 1, 1, 0, 0, 1, 999, tzinfo=UTC))
    1000
    """
    return (at - _EPOCH) // timedelta(milliseconds=1)


def query_hash(query_id: str) -> int:
    """Return the number by which records of a message id are found; others may share it.

    >>> query_hash("5b1c-17")
    -3742272047194418478
    """
    digest = hashlib.blake2b(query_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def listed_up_to(state: bytes | None) -> int:
    """Return the last record that ``query_index`` has, by ``LISTED_STATE``; 0 if unknown."""
    return int(state) if state is not None and state.isdigit() else 0


def moment(milliseconds: int) -> datetime:
    """Return the moment that is ``milliseconds`` after 1970 (UTC)."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _is_plain(record: MessageRecord) -> bool:
    """Whether all texts are there, short enough and without NUL; asked for every message."""
    texts = (
        record.query_id,
        record.instance,
        record.member_class,
        record.member_code,
        "-" if record.request_id is None else record.request_id,
        "-" if record.subsystem_code is None else record.subsystem_code,
    )
    return (
        all(texts)
        and len(max(texts, key=len)) <= min(MAX_QUERY_ID, MAX_IDENTIFIER)
        and "\0" not in "".join(texts)
    )


def _check_texts(record: MessageRecord) -> None:
    """Say which text can't be kept."""
    _check_text("query id", record.query_id, MAX_QUERY_ID)
    if record.request_id is not None:
        _check_text("request id", record.request_id, MAX_IDENTIFIER)
    if record.subsystem_code is not None:
        _check_text("subsystem code", record.subsystem_code, MAX_IDENTIFIER)
    _check_text("instance", record.instance, MAX_IDENTIFIER)
    _check_text("member class", record.member_class, MAX_IDENTIFIER)
    _check_text("member code", record.member_code, MAX_IDENTIFIER)


def _check_text(name: str, value: str, limit: int) -> None:
    if not value:
        raise logging_failed(f"the {name} is empty")
    if len(value) > limit:
        raise logging_failed(
            f"the {name} is {len(value)} characters long; at most {limit} can be logged"
        )
    if "\0" in value:
        raise logging_failed(f"the {name} holds a NUL character, which can't be logged")


def _check_body(body: Body) -> None:
    if isinstance(body, InlineBody):
        if len(body.data) > MAX_INLINE_BYTES:
            raise logging_failed(
                f"an attachment of {len(body.data)} bytes must be handed over as a spool file"
            )
        return
    if len(body.digest) != BODY_DIGEST.size:
        raise logging_failed(
            f"an attachment's digest is {len(body.digest)} bytes; {BODY_DIGEST.label} has "
            f"{BODY_DIGEST.size}"
        )
    if body.size < 0:
        raise logging_failed("an attachment's size is negative")
