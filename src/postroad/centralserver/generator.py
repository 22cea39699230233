"""How is one generation of the configuration made and published, and how do we know that it was?

Source: reference ``GlobalConfGenerationServiceImpl``; PR-GCONF 2.6.
"""

from __future__ import annotations

import json
import secrets
import string
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from postroad.adapters.database import held_lock, snapshot, transaction
from postroad.centralserver.publication import exclusive, publish, store_copy
from postroad.centralserver.registry.change import changing
from postroad.centralserver.registry.parameters import (
    Parameter,
    find_parameter,
    number_parameter,
)
from postroad.centralserver.registry.published import (
    LogPosition,
    content_digest,
    log_position,
    note_failure,
    note_success,
    part_digests,
    published_content,
    record_publication,
    require_follows,
)
from postroad.centralserver.registry.sources import (
    SourceType,
    active_key,
    find_source,
    list_signing_keys,
)
from postroad.centralserver.snapshot import load_registry_snapshot
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.globalconf.generation import DirectorySigner, GenerationSettings, generate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import Session

    from postroad.centralserver.settings import Settings
    from postroad.centralserver.signing_keys import SigningToken
    from postroad.globalconf.generation import GeneratedConfiguration

_LETTERS = string.ascii_letters + string.digits
_BOUNDARY_LENGTH = 20
_TURN = 30
"""Seconds that a generation waits for another one of the same node."""


@dataclass(frozen=True, slots=True)
class GenerationStatus:
    """How the last generation went.

    ``time`` is that of the last success, or of the first failure since; ``error`` says why.
    """

    time: datetime
    success: bool
    error: str | None = None
    expires_at: datetime | None = None
    """Until when the published configuration counts, as far as known."""
    announced: Mapping[str, datetime] = field(default_factory=dict)
    """Signing key -> when a configuration that announces it was first published."""
    known: LogPosition | None = None
    """The end of the change log that the published configuration was made from."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A generation that isn't published yet, and what it was made from."""

    generated: GeneratedConfiguration
    keys: list[str]
    """The signing keys that it announces."""
    known: LogPosition
    published: str | None
    """The digest over what this node published before."""


def generate_and_publish(
    engine: Engine,
    token: SigningToken,
    settings: Settings,
    *,
    at: datetime,
    accept_other_history: bool = False,
) -> GeneratedConfiguration:
    """Make and publish one generation of every version, and note how it went.

    One process at a time does so for a node, wherever it runs. Nothing is published from a
    registry that is behind what this node has published, unless ``accept_other_history``. Raises
    ``PostroadError``, mostly ``ConfigurationError``: what was published before stays.
    """
    node_name = settings.central.node_name
    settings.status_path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with exclusive(settings.status_path.with_suffix(".lock")):
        last = load_status(settings)
        before = None if last is None or accept_other_history else last.known
        try:
            with held_lock(engine, f"generation:{node_name}", wait_seconds=_TURN) as still_held:
                made = _generate(engine, token, settings, at=at, before=before)
                _record(engine, made, node_name, at)
                still_held()
                _publish(made.generated, settings, at)
        except PostroadError as error:
            _note_failure(settings, error.message, at)
            with suppress(PostroadError), transaction(engine) as session:
                note_failure(session, node_name, error.message, at)
            raise
        announced = last.announced if last is not None else {}
        status = GenerationStatus(
            at,
            success=True,
            expires_at=made.generated.expires_at,
            announced={key: announced.get(key, at) for key in made.keys},
            known=made.known,
        )
        store_status(settings, status)
        # It is published; that the others can't be told shows in the next generation.
        with suppress(PostroadError), transaction(engine) as session:
            note_success(session, made.generated, node_name, made.known, at)
    return made.generated


def _publish(generated: GeneratedConfiguration, settings: Settings, at: datetime) -> None:
    retention = timedelta(seconds=settings.configuration.retention)
    publish(generated, settings.public_path, retention=retention, at=at)
    store_copy(generated.stored_copy, settings.globalconf_path)


def _record(engine: Engine, made: _Made, node_name: str, at: datetime) -> None:
    if content_digest(part_digests(made.generated)) == made.published:
        return
    with changing(engine, actor="generation", at=at) as change:
        record_publication(change, made.generated, node_name, made.known)


def _generate(
    engine: Engine,
    token: SigningToken,
    settings: Settings,
    *,
    at: datetime,
    before: LogPosition | None,
) -> _Made:
    node_name = settings.central.node_name
    with snapshot(engine) as session:
        known = log_position(session)
        if before is not None:
            require_follows(session, before)
        registry = load_registry_snapshot(session, node_name)
        digest = DigestAlgorithm.by_name(_required(session, Parameter.SIGN_DIGEST))
        internal = _signer(session, token, SourceType.INTERNAL, node_name, digest)
        external = _signer(session, token, SourceType.EXTERNAL, node_name, digest)
        how = GenerationSettings(
            oldest_version=settings.versions[0],
            validity=timedelta(seconds=number_parameter(session, Parameter.EXPIRE_INTERVAL)),
            part_digest=DigestAlgorithm.by_uri(_required(session, Parameter.PART_DIGEST_URI)),
            certificate_digest=DigestAlgorithm.by_uri(
                _required(session, Parameter.CERTIFICATE_DIGEST_URI)
            ),
        )
        keys = [key.key_identifier for key in list_signing_keys(session, node_name)]
        published = published_content(session, node_name)
    generated = generate(
        registry, at=at, internal=internal, external=external, boundary=_boundary, settings=how
    )
    return _Made(generated, keys, known, published)


def load_status(settings: Settings) -> GenerationStatus | None:
    """How the last generation went; None when there was none, or its note can't be read."""
    try:
        read = json.loads(settings.status_path.read_bytes())
        expires_at = read.get("expires_at")
        return GenerationStatus(
            datetime.fromisoformat(read["time"]),
            success=bool(read["success"]),
            error=read.get("error"),
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
            announced={
                key: datetime.fromisoformat(at) for key, at in read.get("announced", {}).items()
            },
            known=LogPosition(*read["known"]) if read.get("known") else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def store_status(settings: Settings, status: GenerationStatus) -> None:
    """Write the note about the last generation."""
    note = {
        "time": status.time.isoformat(),
        "success": status.success,
        "error": status.error,
        "expires_at": status.expires_at.isoformat() if status.expires_at else None,
        "announced": {key: at.isoformat() for key, at in status.announced.items()},
        "known": [status.known.sequence, status.known.entry_hash] if status.known else None,
    }
    path = settings.status_path
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(note), encoding="utf-8")
    temporary.replace(path)


def _note_failure(settings: Settings, message: str, at: datetime) -> None:
    before = load_status(settings)
    since = before.time if before is not None and not before.success else at
    expires_at = before.expires_at if before is not None else None
    failed = GenerationStatus(
        since,
        success=False,
        error=message,
        expires_at=expires_at,
        announced=before.announced if before is not None else {},
        known=before.known if before is not None else None,
    )
    store_status(settings, failed)


def _signer(
    session: Session,
    token: SigningToken,
    source_type: SourceType,
    node_name: str,
    digest: DigestAlgorithm,
) -> DirectorySigner:
    key = active_key(find_source(session, source_type, node_name))
    if key is None:
        raise ConfigurationError(
            f"the {source_type.value} source has no active signing key: run "
            f"`postroad central key generate {source_type.value}`",
            code=FaultCode.KEY_NOT_FOUND,
        )
    algorithm, sign = token.signer(key.key_identifier, digest)
    return DirectorySigner(key.certificate, algorithm, sign)


def _required(session: Session, key: Parameter) -> str:
    value = find_parameter(session, key)
    if not value:
        raise ConfigurationError(f"the system parameter {key.value} has no value")
    return value


def _boundary() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_BOUNDARY_LENGTH))
