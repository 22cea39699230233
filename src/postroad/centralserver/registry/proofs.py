"""What did the registry say on a day, and how is that proved to somebody who doesn't trust us?

The change log binds every publication to the one end of the log that everybody can be told. A proof
is the stretch of the log from a publication to such an end: whoever noted the end, and has kept the
configuration, needs nobody's word for it. It shows what operators did meanwhile, so it is for those
who may know. The hash of an entry holds all that is in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import select

from postroad.centralserver.models.history import ChangeLogEntry
from postroad.centralserver.registry.change import details_of, entry_hash
from postroad.centralserver.registry.published import PUBLICATION, LogPosition
from postroad.errors import FaultCode, MalformedInput, RefusedRequest, TrustError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

MAX_PROOF_BYTES: Final = 256 * 1024 * 1024
_FORMAT: Final = "postroad-log-proof 1"


@dataclass(frozen=True, slots=True)
class Publication:
    """What a node began to publish, as the change log says."""

    position: LogPosition
    at: datetime
    node_name: str
    stamp: str
    parameters: str
    """SHA-256 (hex) of the newest version of the shared parameters."""
    parts: Sequence[str]
    """``VERSION/FILE=SHA-256`` of every part."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    sequence: int
    at: datetime
    actor: str
    event: str
    data: str
    previous_hash: str
    entry_hash: str


class _Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: str
    entries: list[_Entry]


def position_at(session: Session, at: datetime) -> LogPosition:
    """The end of the change log as it was at that moment; refused before its beginning."""
    newest = (
        select(ChangeLogEntry)
        .where(ChangeLogEntry.at <= at)
        .order_by(ChangeLogEntry.sequence.desc())
        .limit(1)
    )
    entry = session.scalars(newest).one_or_none()
    if entry is None:
        raise RefusedRequest(
            f"the change log begins after {at.isoformat()}", code=FaultCode.NOT_FOUND
        )
    return LogPosition(entry.sequence, entry.entry_hash)


def publications_at(session: Session, at: datetime) -> list[Publication]:
    """What each node was publishing at that moment, by its name."""
    found: dict[str, Publication] = {}
    until = position_at(session, at).sequence
    entries = (
        select(ChangeLogEntry)
        .where(ChangeLogEntry.event == PUBLICATION, ChangeLogEntry.sequence <= until)
        .order_by(ChangeLogEntry.sequence)
    )
    for entry in session.scalars(entries.execution_options(yield_per=500)):
        publication = publication_of(entry)
        found[publication.node_name] = publication
    return [found[name] for name in sorted(found)]


def publication_of(entry: ChangeLogEntry) -> Publication:
    """Read an entry; ``MalformedInput`` if it is about something else."""
    details = details_of(entry) if entry.event == PUBLICATION else {}
    parts = details.get("parts")
    if not isinstance(parts, list):
        raise MalformedInput(f"entry {entry.sequence} of the change log is no publication")
    return Publication(
        LogPosition(entry.sequence, entry.entry_hash),
        entry.at,
        str(details.get("haNode", "")),
        str(details.get("stamp", "")),
        str(details.get("parameters", "")),
        [str(part) for part in parts],
    )


def encode_proof(session: Session, publication: Publication) -> bytes:
    """Write the log from a publication to its end."""
    entries = (
        select(ChangeLogEntry)
        .where(ChangeLogEntry.sequence >= publication.position.sequence)
        .order_by(ChangeLogEntry.sequence)
    )
    written = [
        _Entry(**{name: getattr(row, name) for name in _Entry.__struct_fields__})
        for row in session.scalars(entries)
    ]
    return msgspec.json.encode(_Proof(format=_FORMAT, entries=written))


def verify_proof(data: bytes, head: str, part: bytes | None = None) -> tuple[Publication, str]:
    """Judge a proof by the end of the log that was noted, needing nothing else.

    The publication, and the name of ``part`` in it (``V6/shared-params.xml``; "" without). Raises
    ``MalformedInput``, and ``TrustError`` for a proof that proves nothing or something else.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise MalformedInput(f"a proof is larger than {MAX_PROOF_BYTES} bytes")
    try:
        proof = msgspec.json.decode(data, type=_Proof)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedInput(f"not a proof: {error}") from error
    if proof.format != _FORMAT or not proof.entries:
        raise MalformedInput(f"not a proof of the form {_FORMAT!r}")
    before: _Entry | None = None
    for entry in proof.entries:
        if before is not None and (
            entry.previous_hash != before.entry_hash or entry.sequence != before.sequence + 1
        ):
            raise _proves_nothing(f"entry {entry.sequence} doesn't follow the one before it")
        if entry.at.tzinfo is None or entry.entry_hash != entry_hash(_as_row(entry)):
            raise _proves_nothing(f"entry {entry.sequence} was altered")
        before = entry
    if before is None or before.entry_hash != head.strip().lower():
        raise _proves_nothing("it doesn't lead to the end of the log that was noted")
    publication = publication_of(_as_row(proof.entries[0]))
    return publication, "" if part is None else _name_of(part, publication)


def _name_of(part: bytes, publication: Publication) -> str:
    digest = hashlib.sha256(part).hexdigest()
    for each in reversed(publication.parts):  # the newest of versions that say the same
        name, _separator, value = each.rpartition("=")
        if value == digest:
            return name
    raise _proves_nothing("the file isn't what was published")


def _as_row(entry: _Entry) -> ChangeLogEntry:
    return ChangeLogEntry(**msgspec.structs.asdict(entry))


def _proves_nothing(reason: str) -> TrustError:
    return TrustError(f"the proof does not hold: {reason}", code=FaultCode.INVALID_HASH_CHAIN)
