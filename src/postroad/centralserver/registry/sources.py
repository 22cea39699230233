"""Which keys sign the configuration, and which anchors lead to them?

Source: reference configuration sources, signing keys and anchors. Each node of a cluster has an
internal and an external source with at most two keys, one of them active. Every key is announced
(shared parameters, anchor) before it signs, so a key can be replaced without losing a client.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.system import ConfigurationSigningKey, ConfigurationSource
from postroad.centralserver.registry.parameters import Parameter, find_parameter, own_instance
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.globalconf.anchor import build_anchor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change

MAX_KEYS = 2
"""Keys per source: the one that signs, and its successor or predecessor."""

ANNOUNCEMENT = timedelta(seconds=180)
"""How long a new key is announced before it may sign: one generation and two polls of clients."""


class SourceType(StrEnum):
    """For whom a source is: our own security servers, or federated instances."""

    INTERNAL = "internal"
    EXTERNAL = "external"

    @property
    def directory(self) -> str:
        """The name of the signed directory in its address."""
        return f"{self.value}conf"

    @property
    def key_name(self) -> str:
        """The common name in the certificates of this source's keys."""
        return f"{self.value}SigningKey"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that a token has just made: its id there, RSA or EC, and its certificate (DER)."""

    key_identifier: str
    algorithm: str
    certificate: bytes
    label: str = ""
    """What people call it."""


def list_sources(session: Session, source_type: SourceType) -> Sequence[ConfigurationSource]:
    """The sources of that type, one per node, in a stable order."""
    wanted = (
        select(ConfigurationSource)
        .where(ConfigurationSource.source_type == source_type.value)
        .order_by(ConfigurationSource.node_name)
    )
    return session.scalars(wanted).all()


def find_source(
    session: Session, source_type: SourceType, node_name: str = ""
) -> ConfigurationSource | None:
    """The source of a node, None while it has no key yet."""
    sources = list_sources(session, source_type)
    return next((source for source in sources if source.node_name == node_name), None)


def list_signing_keys(session: Session, node_name: str = "") -> list[ConfigurationSigningKey]:
    """All signing keys of a node, internal ones first."""
    sources = (find_source(session, source_type, node_name) for source_type in SourceType)
    return [key for source in sources if source is not None for key in source.keys]


def active_key(source: ConfigurationSource | None) -> ConfigurationSigningKey | None:
    """The key that signs, None when there is none."""
    return next((key for key in source.keys if key.is_active), None) if source else None


def load_signing_key(session: Session, key_identifier: str) -> ConfigurationSigningKey:
    """The signing key of that identifier; refused when there is none."""
    wanted = select(ConfigurationSigningKey).where(
        ConfigurationSigningKey.key_identifier == key_identifier
    )
    found = session.scalars(wanted).one_or_none()
    if found is None:
        raise RegistryRefusal(Problem.SIGNING_KEY_NOT_FOUND, f"no signing key {key_identifier!r}")
    return found


def require_room_for_key(session: Session, source_type: SourceType, node_name: str = "") -> None:
    """Refuse a further key for a source that has two."""
    source = find_source(session, source_type, node_name)
    if source is not None and len(source.keys) >= MAX_KEYS:
        raise RegistryRefusal(
            Problem.TOO_MANY_SIGNING_KEYS,
            f"the {source_type.value} source has {MAX_KEYS} signing keys; delete one first",
        )


def add_signing_key(
    change: Change, source_type: SourceType, new: NewKey, node_name: str = ""
) -> ConfigurationSigningKey:
    """Announce a new key, whose private half lies in the node's token; the first one is active.

    The anchor of this source changes.
    """
    session = change.session
    own_instance(session)
    require_room_for_key(session, source_type, node_name)
    source = find_source(session, source_type, node_name)
    if source is None:
        source = ConfigurationSource(source_type=source_type.value, node_name=node_name)
        session.add(source)
    key = ConfigurationSigningKey(
        key_identifier=new.key_identifier,
        algorithm=new.algorithm,
        active=True if active_key(source) is None else None,
        certificate=new.certificate,
        generated_at=change.at,
        label=new.label,
    )
    source.keys.append(key)
    session.flush()
    change.record(
        f"Generate {source_type.value} configuration signing key",
        keyId=new.key_identifier,
        keyAlgorithm=new.algorithm,
        active=key.is_active,
        haNode=node_name,
    )
    rebuild_anchors(change, source_type)
    return key


def activate_signing_key(
    change: Change,
    key_identifier: str,
    *,
    published_at: datetime | None = None,
    force: bool = False,
) -> bool:
    """Let an announced key sign from now on; False when it does already.

    Refused while clients may not have learnt of the key, unless ``force``: a client that never saw
    it announced can't verify what it signs, and needs a new anchor. ``published_at`` is when a
    configuration with the key was first published; None means never.
    """
    key = load_signing_key(change.session, key_identifier)
    if key.is_active:
        return False
    ready_at = None if published_at is None else published_at + ANNOUNCEMENT
    if not force and (ready_at is None or change.at < ready_at):
        since = (
            f"clients know it from {_written(ready_at)} on"
            if ready_at is not None
            else "no configuration that announces it was published yet"
        )
        raise RegistryRefusal(
            Problem.SIGNING_KEY_NOT_ANNOUNCED,
            f"signing key {key_identifier} was made at {_written(key.generated_at)}; {since}. "
            "Those that have not seen it would be lost",
        )
    for other in key.source.keys:
        other.active = None
    change.session.flush()  # the two are never active together, not even inside the transaction
    key.active = True
    change.record(
        f"Activate {key.source.source_type} configuration signing key",
        keyId=key_identifier,
        haNode=key.source.node_name,
    )
    return True


def delete_signing_key(change: Change, key_identifier: str) -> None:
    """No longer announce a key; refused for the one that signs. The anchor changes.

    The caller removes the private key from the token once this has been committed.
    """
    key = load_signing_key(change.session, key_identifier)
    source = key.source
    if key.is_active:
        raise RegistryRefusal(
            Problem.SIGNING_KEY_ACTIVE,
            f"signing key {key_identifier} signs the {source.source_type} configuration; "
            "activate another key first",
        )
    source.keys.remove(key)
    change.record(
        f"Delete {source.source_type} configuration signing key",
        keyId=key_identifier,
        haNode=source.node_name,
    )
    rebuild_anchors(change, SourceType(source.source_type))


def rebuild_anchors(change: Change, source_type: SourceType) -> bytes | None:
    """Make the anchor of a source anew and keep it with every node; None without any key."""
    session = change.session
    sources = [source for source in list_sources(session, source_type) if source.keys]
    if not sources:
        return None
    nodes = [
        (node_address(session, source.node_name), [key.certificate for key in source.keys])
        for source in sources
    ]
    data = build_anchor(
        own_instance(session), nodes, directory=source_type.directory, at=change.at
    ).encode()
    for source in sources:
        source.anchor = data
        source.anchor_generated_at = change.at
    change.record(f"Re-create {source_type.value} configuration anchor")
    return data


def load_anchor(session: Session, source_type: SourceType, node_name: str = "") -> bytes:
    """The newest anchor of a source, as a file; refused while there is no key."""
    source = find_source(session, source_type, node_name)
    if source is None or source.anchor is None:
        raise RegistryRefusal(
            Problem.ANCHOR_NOT_FOUND,
            f"the {source_type.value} source has no anchor yet: generate a signing key first",
        )
    return source.anchor


def node_address(session: Session, node_name: str = "") -> str:
    """Where a node is reached; refused when it has no address."""
    address = find_parameter(session, Parameter.CENTRAL_SERVER_ADDRESS, node_name)
    if address is None:
        raise RegistryRefusal(
            Problem.NOT_INITIALIZED, f"node {node_name!r} of the Central Server has no address"
        )
    return address


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
