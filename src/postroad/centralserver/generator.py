"""How is one generation of the configuration made and published, and how do we know that it was?

Source: reference ``GlobalConfGenerationServiceImpl``; PR-GCONF 2.6.
"""

from __future__ import annotations

import json
import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from postroad.adapters.database import snapshot
from postroad.centralserver.publication import exclusive, publish, store_copy
from postroad.centralserver.registry.parameters import (
    Parameter,
    find_parameter,
    number_parameter,
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


def generate_and_publish(
    engine: Engine, token: SigningToken, settings: Settings, *, at: datetime
) -> GeneratedConfiguration:
    """Make and publish one generation of every version, and note how it went.

    Raises ``PostroadError``, mostly ``ConfigurationError``: what was published before stays.
    """
    settings.status_path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with exclusive(settings.status_path.with_suffix(".lock")):
        last = load_status(settings)
        try:
            generated, keys = _generate(engine, token, settings, at=at)
            publish(
                generated,
                settings.public_path,
                retention=timedelta(seconds=settings.configuration.retention),
                at=at,
            )
            store_copy(generated.stored_copy, settings.globalconf_path)
        except PostroadError as error:
            _note_failure(settings, error.message, at)
            raise
        before = last.announced if last is not None else {}
        status = GenerationStatus(
            at,
            success=True,
            expires_at=generated.expires_at,
            announced={key: before.get(key, at) for key in keys},
        )
        store_status(settings, status)
    return generated


def _generate(
    engine: Engine, token: SigningToken, settings: Settings, *, at: datetime
) -> tuple[GeneratedConfiguration, list[str]]:
    """One generation, and the signing keys that it announces."""
    node_name = settings.central.node_name
    with snapshot(engine) as session:
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
    generated = generate(
        registry, at=at, internal=internal, external=external, boundary=_boundary, settings=how
    )
    return generated, keys


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
    }
    path = settings.status_path
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(note), encoding="utf-8")
    temporary.replace(path)


def _note_failure(settings: Settings, message: str, at: datetime) -> None:
    before = load_status(settings)
    since = before.time if before is not None and not before.success else at
    expires_at = before.expires_at if before is not None else None
    announced = before.announced if before is not None else {}
    failed = GenerationStatus(
        since, success=False, error=message, expires_at=expires_at, announced=announced
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
