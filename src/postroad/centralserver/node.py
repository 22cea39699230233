"""What does a Central Server node consist of, once its home directory is opened?

Settings, database (migrated), clock; and the first start, which makes an instance out of nothing.
Commands and the running server both work through this.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from postroad.adapters.backups.restoring import require_finished
from postroad.adapters.database import create_engine, migrate, snapshot
from postroad.adapters.private_files import read_private_file
from postroad.adapters.system_clock import SystemClock
from postroad.centralserver.generator import generate_and_publish, load_status
from postroad.centralserver.registry.change import changing
from postroad.centralserver.registry.nodes import ClusterNode, list_nodes, require_new_node
from postroad.centralserver.registry.provider import set_management_certificate
from postroad.centralserver.registry.sources import (
    SourceType,
    activate_signing_key,
    find_source,
)
from postroad.centralserver.registry.system import initialize
from postroad.centralserver.settings import Settings, database_password, load_settings
from postroad.centralserver.signing_keys import (
    KeyAlgorithm,
    Operator,
    SigningToken,
    generate_signing_key,
    initialize_token,
    open_hardware_token,
    remove_signing_key,
)
from postroad.centralserver.tls_certificates import ensure_tls_certificate
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import Session

    from postroad.centralserver.models.history import ChangeLogEntry
    from postroad.centralserver.registry.change import Change
    from postroad.clock import Clock
    from postroad.globalconf.generation import GeneratedConfiguration

MIGRATIONS = "postroad.centralserver:migrations"


@dataclass(frozen=True, slots=True)
class CentralServerNode:
    """An opened node; make it with :func:`open_node`."""

    settings: Settings
    engine: Engine
    clock: Clock

    @contextmanager
    def changing(self, actor: str) -> Iterator[Change]:
        """One transaction of operations on the registry, done by ``actor`` now."""
        strict = self.settings.central.strict_identifier_checks
        with changing(
            self.engine, actor=actor, at=self.clock.now(), strict_identifiers=strict
        ) as change:
            yield change

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees the registry at one moment."""
        with snapshot(self.engine) as session:
            yield session

    def unlock(self, pin: str) -> SigningToken:
        """Open the token of the signing keys, and the hardware token if the settings name one.

        Raises ``ConfigurationError`` for a wrong PIN.
        """
        software = SigningToken(self.settings.token_path, pin)
        section = self.settings.token
        if section.device is None:
            return software
        device_pin = read_private_file(self.settings.home_path / section.device_pin_file)
        return open_hardware_token(
            software, section.device, device_pin.split("\n", 1)[0].strip("\r")
        )

    def published_at(self, key_id: str) -> datetime | None:
        """When a configuration that announces a key was first published; None if never."""
        status = load_status(self.settings)
        return status.announced.get(key_id) if status is not None else None

    def activate_key(
        self, key_id: str, actor: str, *, force: bool = False
    ) -> Sequence[ChangeLogEntry]:
        """Let an announced key sign from the next generation on.

        Refused, unless ``force``, until it has been published long enough for every client to have
        learnt of it: a key that was made while the generation failed is known to nobody.
        """
        with self.changing(actor) as change:
            published = self.published_at(key_id)
            activate_signing_key(change, key_id, published_at=published, force=force)
        return change.entries

    def generate_key(
        self,
        token: SigningToken,
        source_type: SourceType,
        algorithm: KeyAlgorithm,
        actor: str,
        *,
        label: str = "",
    ) -> str:
        """Make and announce a signing key; returns its id."""
        by = Operator(actor, self.clock.now(), self.settings.central.node_name)
        return generate_signing_key(
            self.engine, token, source_type, algorithm=algorithm, by=by, label=label
        )

    def delete_key(self, token: SigningToken, key_id: str, actor: str) -> None:
        """Delete a signing key that doesn't sign."""
        by = Operator(actor, self.clock.now(), self.settings.central.node_name)
        remove_signing_key(self.engine, token, key_id, by=by)

    def generate(
        self, token: SigningToken, *, accept_other_history: bool = False
    ) -> GeneratedConfiguration:
        """Make and publish one generation of the configuration now."""
        return generate_and_publish(
            self.engine,
            token,
            self.settings,
            at=self.clock.now(),
            accept_other_history=accept_other_history,
        )

    def nodes(self) -> list[ClusterNode]:
        """All nodes of the cluster, and how the generation goes on each."""
        interval = timedelta(seconds=self.settings.configuration.generation_interval)
        with self.reading() as session:
            return list_nodes(session, at=self.clock.now(), interval=interval)

    def close(self) -> None:
        """Give back the database connections."""
        self.engine.dispose()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstance:
    """What an instance is made from: its identifier, this node's address, the token's PIN."""

    instance: str
    address: str
    """Host name or IP address, with a port if the configuration isn't served on port 80."""
    pin: str = field(repr=False)
    algorithm: KeyAlgorithm = KeyAlgorithm.RSA
    """Of the first signing keys."""


def open_node(
    home: Path, *, clock: Clock | None = None, settings: Settings | None = None
) -> CentralServerNode:
    """Open the node in ``home`` and bring its database to the newest schema.

    Raises ``ConfigurationError`` for settings or a database that can't be used.
    """
    require_finished(home)
    settings = settings or load_settings(home)
    engine = create_engine(settings.database_url, password=database_password(settings))
    with ExitStack() as cleanup:
        cleanup.callback(engine.dispose)
        migrate(engine, MIGRATIONS)
        cleanup.pop_all()
    return CentralServerNode(settings, engine, clock or SystemClock())


def initialize_node(node: CentralServerNode, new: NewInstance, actor: str) -> SigningToken:
    """Make an instance out of nothing; what was done before is left as it is.

    Identifier and address, the token with its PIN, one signing key for each source, the TLS
    certificates. Afterwards only the management service provider must be named.
    """
    token = initialize_instance(node, new, actor)
    for source_type in SourceType:
        with node.reading() as session:
            source = find_source(session, source_type, node.settings.central.node_name)
            missing = source is None or not source.keys
        if missing:
            node.generate_key(token, source_type, new.algorithm, actor)
    return token


def join_node(node: CentralServerNode, new: NewInstance, actor: str) -> SigningToken:
    """Add this node to an instance that others run on the same database, with keys of its own.

    From now on the anchors and the configuration announce it. Refused for another instance, for a
    name that is taken, and for a database that only one machine can use.
    """
    if node.engine.dialect.name != "postgresql":
        raise ConfigurationError("nodes share one PostgreSQL database: set [database] url")
    with node.reading() as session:
        require_new_node(session, new.instance, node.settings.central.node_name)
    return initialize_node(node, new, actor)


def initialize_instance(node: CentralServerNode, new: NewInstance, actor: str) -> SigningToken:
    """Make an instance without signing keys, as the management interface does."""
    with node.changing(actor) as change:
        initialize(change, new.instance, new.address, node.settings.central.node_name)
    initialize_token(node.settings.token_path, new.pin)
    token = node.unlock(new.pin)
    management_certificate = ensure_tls_certificates(node, new.address)
    with node.changing(actor) as change:
        set_management_certificate(change, management_certificate, node.settings.central.node_name)
    return token


def ensure_tls_certificates(node: CentralServerNode, address: str) -> bytes:
    """Make the TLS certificates that are missing; that of the registration service (PEM)."""
    settings = node.settings
    at = node.clock.now()
    wanted = [(settings.management_certificate_path, settings.management_key_path)]
    if settings.distribution.https:
        wanted.append((settings.tls_certificate_path, settings.tls_key_path))
    if settings.management_api.enabled:
        wanted.append((settings.api_certificate_path, settings.api_key_path))
    management_certificate, *_others = [
        ensure_tls_certificate(certificate, key, address=address, at=at)
        for certificate, key in wanted
    ]
    return management_certificate
