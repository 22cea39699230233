"""What did each node publish, and where does the change log say so?

Before a node publishes other content than the last time, an entry of the change log names the
digest of every part. So a member who has kept its configuration can have it proved, and the
registry can show what it said on any day. Notes about generations of the same content are no
entries.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from postroad.centralserver.models.history import (
    ChangeLogEntry,
    ChangeLogHead,
    PublishedParameters,
)
from postroad.centralserver.models.system import NodeGeneration
from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.parts import SHARED_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change
    from postroad.globalconf.generation import GeneratedConfiguration

PUBLICATION: Final = "Publish global configuration"
"""The event of the entries."""


@dataclass(frozen=True, slots=True)
class LogPosition:
    """An entry of the change log, by its number and hash."""

    sequence: int
    entry_hash: str


def log_position(session: Session) -> LogPosition:
    """The end of the change log."""
    head = session.get(ChangeLogHead, 1)
    if head is None:
        raise ConfigurationError("the change log has lost its head: restore the database")
    return LogPosition(head.sequence, head.entry_hash)


def require_follows(session: Session, before: LogPosition) -> None:
    """Refuse a registry that doesn't know what this node has published already.

    It would be a stale copy of the database, or one that was restored: members would lose what
    they were told was done. Raises ``ConfigurationError``.
    """
    entry = session.get(ChangeLogEntry, before.sequence) if before.sequence else None
    if before.sequence and (entry is None or entry.entry_hash != before.entry_hash):
        raise ConfigurationError(
            f"the registry doesn't know entry {before.sequence} of its change log, which this node "
            "has published: the database is a stale copy, or was restored; if that is meant, run "
            "`postroad central generate-now --accept-other-history`",
            code=FaultCode.INVALID_HASH_CHAIN,
        )


def part_digests(generated: GeneratedConfiguration) -> dict[str, str]:
    """The SHA-256 (hex) of every part, by version and file name: ``V6/shared-params.xml``."""
    digests = {}
    for path, data in sorted(generated.parts.items()):
        version, _stamp, name = path.split("/")
        digests[f"{version}/{name}"] = hashlib.sha256(data).hexdigest()
    return digests


def content_digest(digests: Mapping[str, str]) -> str:
    """One SHA-256 (hex) over all digests: tells whether anything has changed."""
    lines = "".join(f"{name}={digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def published_content(session: Session, node_name: str) -> str | None:
    """The digest over all that a node published last, as :func:`content_digest` makes it."""
    note = session.get(NodeGeneration, node_name)
    return None if note is None else note.content


def record_publication(
    change: Change, generated: GeneratedConfiguration, node_name: str, known: LogPosition
) -> None:
    """Say in the change log what a node is about to publish, and keep the newest version of it.

    ``known`` is the end of the log as the configuration was made.
    """
    digests = part_digests(generated)
    newest = max(digests, key=lambda name: (name.endswith(f"/{SHARED_FILE}"), _version(name)))
    version = newest.partition("/")[0]
    data = generated.parts[f"{version}/{generated.stamp}/{SHARED_FILE}"]
    if change.session.get(PublishedParameters, digests[newest]) is None:
        change.session.add(
            PublishedParameters(
                digest=digests[newest], compressed=zlib.compress(data, 9), published_at=change.at
            )
        )
    note = _note(change.session, node_name)
    note.content = content_digest(digests)
    change.record(
        PUBLICATION,
        haNode=node_name,
        stamp=generated.stamp,
        logSequence=known.sequence,
        parameters=digests[newest],
        parts=[f"{name}={digest}" for name, digest in digests.items()],
    )


def note_success(
    session: Session,
    generated: GeneratedConfiguration,
    node_name: str,
    known: LogPosition,
    at: datetime,
) -> None:
    """Note for the other nodes that a generation is published."""
    note = _note(session, node_name)
    note.generated_at = at
    note.expires_at = generated.expires_at
    note.stamp = generated.stamp
    note.log_sequence = known.sequence
    note.failing_since = None
    note.error = ""


def note_failure(session: Session, node_name: str, error: str, at: datetime) -> None:
    """Note for the other nodes that a generation failed, and since when they do."""
    note = _note(session, node_name)
    note.failing_since = note.failing_since or at
    note.error = error


def load_parameters(session: Session, digest: str) -> bytes:
    """The shared parameters that were published, by the SHA-256 (hex) that the log names.

    Raises ``ConfigurationError`` when they aren't there, or aren't those.
    """
    row = session.scalars(
        select(PublishedParameters).where(PublishedParameters.digest == digest)
    ).one_or_none()
    try:
        data = b"" if row is None else zlib.decompress(row.compressed)
    except zlib.error:
        data = b""
    if hashlib.sha256(data).hexdigest() != digest:
        raise ConfigurationError(
            f"the published parameters {digest} aren't in the database, or were altered",
            code=FaultCode.INVALID_HASH_CHAIN,
        )
    return data


def _version(name: str) -> int:
    return int(name.partition("/")[0].removeprefix("V"))


def _note(session: Session, node_name: str) -> NodeGeneration:
    note = session.get(NodeGeneration, node_name)
    if note is None:
        note = NodeGeneration(node_name=node_name, stamp="", log_sequence=0, content="", error="")
        session.add(note)
    return note
