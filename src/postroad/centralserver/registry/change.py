"""How does an operation on the registry become durable, and how is it remembered?

Every operation runs in one transaction, holds the end of the change log while it runs (so writers
follow each other, whatever the database and the node: none overwrites what it hasn't read) and
appends an entry: who, what, when, and the hash of the entry before. An entry that was altered,
removed or put in later breaks the chain. A writer waits for the others for a bounded time; one that
died or hangs loses its turn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from postroad.adapters.database import bound_waiting, transaction
from postroad.adapters.logs import logger
from postroad.centralserver.models.history import ChangeLogEntry, ChangeLogHead
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.errors import ConfigurationError, FaultCode, TrustError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import Session

_TURN_SECONDS = 30
"""How long a writer waits for the one before it."""

_HOLD_SECONDS = 60
"""How long a writer may hold the end of the log and do nothing: its machine may be gone."""

Detail = str | int | bool | None | Sequence[str]
"""What a change log entry may say about one aspect of an operation."""


@dataclass(frozen=True, slots=True)
class Change:
    """One operation under way: its transaction, who does it, and when."""

    session: Session
    actor: str
    at: datetime
    strict_identifiers: bool = True
    """Refuse identifier characters that the reference's strict mode refuses."""
    entries: list[ChangeLogEntry] = field(default_factory=list)
    """What has been recorded so far, for those who report it."""

    def record(self, event: str, **details: Detail) -> ChangeLogEntry:
        """Append an entry to the change log, in this transaction."""
        session = self.session
        session.flush()
        head = session.get(ChangeLogHead, 1, populate_existing=True)
        if head is None:
            raise ConfigurationError("the change log has lost its head: restore the database")
        data = json.dumps(details, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        entry = ChangeLogEntry(
            sequence=head.sequence + 1,
            at=self.at,
            actor=self.actor,
            event=event,
            data=data,
            previous_hash=head.entry_hash,
            entry_hash="",
        )
        entry.entry_hash = entry_hash(entry)
        session.add(entry)
        head.sequence = entry.sequence
        head.entry_hash = entry.entry_hash
        session.flush()
        self.entries.append(entry)
        return entry


@contextmanager
def changing(
    engine: Engine, *, actor: str, at: datetime, strict_identifiers: bool = True
) -> Iterator[Change]:
    """Run one or more operations as a whole: all of them take effect, or none.

    Raises what the operations raise, and ``ConfigurationError`` when the database can't be used.
    """
    try:
        with transaction(engine) as session:
            bound_waiting(session, lock_seconds=_TURN_SECONDS, idle_seconds=_HOLD_SECONDS)
            session.execute(select(ChangeLogHead).where(ChangeLogHead.id == 1).with_for_update())
            yield Change(session, actor, at, strict_identifiers)
    except IntegrityError as error:
        # Writers follow each other and each rule is checked first, so this is somebody who
        # writes past us. The constraint has held; what it is called, and the rows in its message,
        # are for our own log.
        logger("central").warning("change_refused_by_database", reason=str(error.orig))
        raise RegistryRefusal(
            Problem.CONFLICT, "the change conflicts with what the registry holds: look again"
        ) from error


def entry_hash(entry: ChangeLogEntry) -> str:
    """The SHA-256 (hex) that binds an entry's content to the entry before it."""
    moment = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    content = [entry.sequence, moment, entry.actor, entry.event, entry.data, entry.previous_hash]
    encoded = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha256(encoded).hexdigest()


@dataclass(frozen=True, slots=True)
class VerifiedChangeLog:
    """A change log whose chain holds from its first entry to its head."""

    entries: int
    head_hash: str
    """Keep it elsewhere: whoever rewrites the whole log can't reproduce it."""


def verify_change_log(session: Session, known: str | None = None) -> VerifiedChangeLog:
    """Walk the whole chain; ``known`` is a former head that it must still hold.

    Whoever can write everything can write another log, whole again: it holds no former head. Raises
    ``TrustError`` that names the first entry that doesn't fit.
    """
    previous, count, missing = "0" * 64, 0, known is not None
    entries = select(ChangeLogEntry).order_by(ChangeLogEntry.sequence)
    for entry in session.scalars(entries.execution_options(yield_per=500)):
        count += 1
        if entry.sequence != count:
            raise _broken(f"entry {count} is missing")
        if entry.previous_hash != previous or entry.entry_hash != entry_hash(entry):
            raise _broken(f"entry {count} was altered, or the one before it")
        previous = entry.entry_hash
        missing = missing and previous != known
    head = session.get(ChangeLogHead, 1)
    if head is None or (head.sequence, head.entry_hash) != (count, previous):
        raise _broken(f"entries after {count} are missing")
    if missing:
        raise _broken("it isn't the log that ended in the hash you know")
    return VerifiedChangeLog(count, previous)


def details_of(entry: ChangeLogEntry) -> Mapping[str, Detail]:
    """What an entry says about its operation."""
    details: dict[str, Detail] = json.loads(entry.data)
    return details


def _broken(reason: str) -> TrustError:
    return TrustError(f"the change log does not hold: {reason}", code=FaultCode.INVALID_HASH_CHAIN)


def list_change_log(session: Session, *, limit: int = 50) -> Sequence[ChangeLogEntry]:
    """The newest entries of the change log, newest first."""
    newest = select(ChangeLogEntry).order_by(ChangeLogEntry.sequence.desc()).limit(limit)
    return session.scalars(newest).all()
