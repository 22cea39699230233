"""Which questions do the services ask of the global configuration, and what are the answers?

:class:`GlobalConfiguration` is one immutable state of all known instances. It never reads the
clock: whoever holds it asks for ``visible_at(now)`` from time to time, which hides foreign
instances that have expired, and calls ``ensure_valid(now)`` before it serves a message.
Source: PR-GCONF 2; reference: ``GlobalConfImpl``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from postroad.crypto.ocsp import OcspPolicy
from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.extensions import FetchInterval, Monitoring, NextUpdate
from postroad.globalconf.indexes import (
    ApprovedCertificate,
    InstanceIndex,
    OcspResponder,
    ProviderServer,
    TimestampingService,
)
from postroad.globalconf.shared_parameters import OLDEST_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from postroad.crypto.certificates import Certificate
    from postroad.globalconf.private_parameters import ManagementService, PrivateParameters
    from postroad.globalconf.shared_parameters import SharedParameters
    from postroad.identifiers import ClientId, GlobalGroupId, SecurityServerId

__all__ = [
    "ApprovedCertificate",
    "GlobalConfiguration",
    "InstanceConfiguration",
    "OcspResponder",
    "ProviderServer",
    "TimestampingService",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConfiguration:
    """Everything that is known of one instance; private and optional parts of our own only.

    An expiry of None means that the part never expires.
    """

    instance: str
    index: InstanceIndex | None = None
    shared_version: int = OLDEST_VERSION
    shared_expires_at: datetime | None = None
    private: PrivateParameters | None = None
    private_expires_at: datetime | None = None
    monitoring: Monitoring = field(default_factory=Monitoring)
    fetch_interval: FetchInterval = field(default_factory=FetchInterval)
    next_update: NextUpdate = field(default_factory=NextUpdate)

    def is_shared_expired(self, at: datetime) -> bool:
        """Whether the shared parameters have expired; at the very moment they still count."""
        return self.shared_expires_at is not None and at > self.shared_expires_at


class GlobalConfiguration:
    """One state of the global configuration; immutable and cheap to ask."""

    __slots__ = ("_foreign_until", "_indexes", "_instances", "own_instance", "warnings")

    def __init__(
        self,
        own_instance: str,
        instances: Iterable[InstanceConfiguration],
        *,
        warnings: Iterable[str] = (),
    ) -> None:
        self.own_instance = own_instance
        self._instances = {entry.instance: entry for entry in instances}
        self._indexes = {
            name: entry.index for name, entry in self._own_first() if entry.index is not None
        }
        self._foreign_until = min(
            (
                entry.shared_expires_at
                for name, entry in self._instances.items()
                if name != own_instance and entry.shared_expires_at is not None
            ),
            default=None,
        )
        """When the first foreign instance expires; None if none does."""
        problems = [text for index in self._indexes.values() for text in index.warnings]
        self.warnings: tuple[str, ...] = (*warnings, *problems)

    def _own_first(self) -> Iterator[tuple[str, InstanceConfiguration]]:
        own = self._instances.get(self.own_instance)
        if own is not None:
            yield self.own_instance, own
        for name, entry in sorted(self._instances.items()):
            if entry is not own:
                yield name, entry

    # --- state -----------------------------------------------------------------------------

    @property
    def instances(self) -> tuple[str, ...]:
        """Names of the instances whose shared parameters are at hand, our own first."""
        return tuple(self._indexes)

    @property
    def own(self) -> InstanceConfiguration:
        """What is known of our own instance; ``ConfigurationError`` when nothing is."""
        own = self._instances.get(self.own_instance)
        if own is None:
            raise ConfigurationError(
                f"no configuration of our own instance {self.own_instance!r}",
                code=FaultCode.MALFORMED_GLOBAL_CONF,
            )
        return own

    def instance(self, name: str) -> InstanceConfiguration | None:
        """What is known of an instance, None when it is unknown."""
        return self._instances.get(name)

    def shared(self, instance: str) -> SharedParameters | None:
        """The shared parameters of an instance, None when it is unknown."""
        index = self._indexes.get(instance)
        return None if index is None else index.shared

    @property
    def private(self) -> PrivateParameters:
        """Our own private parameters; ``ConfigurationError`` when there are none."""
        private = self.own.private
        if private is None:
            raise ConfigurationError(
                f"no private parameters of our own instance {self.own_instance!r}",
                code=FaultCode.MALFORMED_GLOBAL_CONF,
            )
        return private

    @property
    def version(self) -> int:
        """Configuration version of our own shared parameters."""
        return self.own.shared_version

    @property
    def expires_at(self) -> datetime | None:
        """When our own parameters stop being valid; None means never."""
        own = self.own
        first, other = own.shared_expires_at, own.private_expires_at
        return min(first, other) if first is not None and other is not None else first or other

    def ensure_valid(self, at: datetime) -> None:
        """Return quietly while messages may be served.

        Raises ``ConfigurationError``: ``global_conf_outdated`` once our own private or shared
        parameters have expired, ``malformed_global_conf`` when either is missing.
        """
        expires_at = self.expires_at
        if expires_at is not None and at > expires_at:
            raise ConfigurationError(
                f"the global configuration has expired at {expires_at:%Y-%m-%d %H:%M:%S} UTC",
                code=FaultCode.GLOBAL_CONF_OUTDATED,
            )
        if self.own_instance not in self._indexes:
            raise ConfigurationError(
                f"no shared parameters of our own instance {self.own_instance!r}",
                code=FaultCode.MALFORMED_GLOBAL_CONF,
            )
        _ = self.private

    def visible_at(self, at: datetime) -> GlobalConfiguration:
        """The same configuration without foreign instances that have expired at that moment.

        Our own instance stays: it can be looked at, though nothing is served once it has expired.
        """
        if self._foreign_until is None or at <= self._foreign_until:
            return self
        visible = [
            entry
            for name, entry in self._instances.items()
            if name == self.own_instance or not entry.is_shared_expired(at)
        ]
        return GlobalConfiguration(self.own_instance, visible)

    # --- members, servers, groups ----------------------------------------------------------

    def client_exists(self, client: ClientId) -> bool:
        """Whether the member or subsystem is in the registry of its instance."""
        index = self._indexes.get(client.instance)
        return index is not None and client in index.names

    def name_of(self, client: ClientId) -> str | None:
        """Name of a member or subsystem; None when it has none or is unknown."""
        index = self._indexes.get(client.instance)
        return None if index is None else index.names.get(client)

    def servers_of(self, client: ClientId) -> tuple[ProviderServer, ...]:
        """Servers with an address at which the client is registered (owners count)."""
        index = self._indexes.get(client.instance)
        return () if index is None else index.servers_by_client.get(client, ())

    def is_registered(self, client: ClientId, server_id: SecurityServerId) -> bool:
        """Whether the client is registered at that server, or owns it."""
        index = self._indexes.get(server_id.instance)
        return index is not None and client in index.clients_of.get(server_id, ())

    def server_exists(self, server_id: SecurityServerId) -> bool:
        """Whether the server is in the registry of its instance."""
        index = self._indexes.get(server_id.instance)
        return index is not None and server_id in index.servers

    def address_of(self, server_id: SecurityServerId) -> str | None:
        """Address of a server; None when it has none or is unknown."""
        index = self._indexes.get(server_id.instance)
        server = None if index is None else index.servers.get(server_id)
        return None if server is None else server.address or None

    def maintenance_of(self, server_id: SecurityServerId) -> str | None:
        """The message of a server's maintenance mode ("" without one); None when not in it."""
        index = self._indexes.get(server_id.instance)
        server = None if index is None else index.servers.get(server_id)
        return None if server is None else server.maintenance

    def clients_of(self, server_id: SecurityServerId) -> frozenset[ClientId]:
        """Everyone registered at the server, its owner included."""
        index = self._indexes.get(server_id.instance)
        return frozenset() if index is None else index.clients_of.get(server_id, frozenset())

    def global_groups_of(self, client: ClientId) -> frozenset[GlobalGroupId]:
        """All global groups, of any instance, that have the client as a member."""
        found: frozenset[GlobalGroupId] = frozenset()
        for index in self._indexes.values():
            found |= index.groups_of.get(client, frozenset())
        return found

    def is_in_global_group(self, client: ClientId, group: GlobalGroupId) -> bool:
        """Whether exactly this client is listed in the group of the group's instance."""
        index = self._indexes.get(group.instance)
        return index is not None and group in index.groups_of.get(client, ())

    # --- certificates ----------------------------------------------------------------------

    def _servers_by_certificate(
        self, index: InstanceIndex, certificate: Certificate
    ) -> tuple[SecurityServerId, ...]:
        # The hash's length tells its algorithm: instances of version 2 distribute SHA-1, later
        # ones SHA-256, and both kinds may be at hand at once.
        by_hash = index.servers_by_hash
        return by_hash.get(certificate.sha256, ()) + by_hash.get(certificate.sha1, ())

    def server_by_auth_certificate(
        self, certificate: Certificate, instance: str | None = None
    ) -> SecurityServerId | None:
        """The server that this authentication certificate is registered for, our instance first.

        ``instance`` asks that one only: another may list the certificate under a name of its own.
        """
        for name, index in self._indexes.items():
            if instance is not None and name != instance:
                continue
            found = self._servers_by_certificate(index, certificate)
            if found:
                return found[0]
        return None

    def has_auth_certificate(self, sha256: bytes) -> bool:
        """Whether an authentication certificate with that hash is registered for any server."""
        return any(sha256 in index.servers_by_hash for index in self._indexes.values())

    def auth_certificate_serves(self, certificate: Certificate, client: ClientId) -> bool:
        """Whether a server with this authentication certificate has the client (owners count).

        Only the client's own instance is asked: no other one can register its clients.
        """
        index = self._indexes.get(client.instance)
        return index is not None and any(
            client in index.clients_of[server_id]
            for server_id in self._servers_by_certificate(index, certificate)
        )

    def issuers_of(
        self, certificate: Certificate, instance: str
    ) -> tuple[ApprovedCertificate, ...]:
        """Approved CA certificates of the instance whose subject is the certificate's issuer.

        All that bear the name, for renewed CAs keep it: the caller tries each signature.
        """
        index = self._indexes.get(instance)
        if index is None:
            return ()
        return index.approved_by_subject.get(certificate.issuer_key, ())

    def issuers_anywhere(self, certificate: Certificate) -> tuple[ApprovedCertificate, ...]:
        """As :meth:`issuers_of`, in all instances, our own first."""
        return tuple(
            entry
            for index in self._indexes.values()
            for entry in index.approved_by_subject.get(certificate.issuer_key, ())
        )

    def approved_certificates(self, instance: str) -> tuple[ApprovedCertificate, ...]:
        """All approved CA certificates of an instance, top and intermediate."""
        index = self._indexes.get(instance)
        return () if index is None else index.approved

    def approved_entries(self, ca: Certificate) -> tuple[ApprovedCertificate, ...]:
        """What the instances say of one CA certificate; empty when it isn't approved anywhere."""
        return tuple(
            entry
            for index in self._indexes.values()
            for entry in index.approved_by_subject.get(ca.subject_key, ())
            if entry.certificate == ca
        )

    def responders_of(
        self, ca: Certificate, instance: str | None = None
    ) -> tuple[OcspResponder, ...]:
        """OCSP responders that an instance configures for the CA; None: any, our own first.

        Whose certificates are judged names the instance: a federated one may approve the same CA
        with another responder, and must not excuse what was revoked elsewhere.
        """
        if instance is None:
            return _unique(r for entry in self.approved_entries(ca) for r in entry.responders)
        return _unique(
            responder
            for entry in self.approved_certificates(instance)
            if entry.certificate == ca
            for responder in entry.responders
        )

    def ca_certificates(self) -> tuple[Certificate, ...]:
        """All approved CA certificates of all instances."""
        return _unique(
            entry.certificate for index in self._indexes.values() for entry in index.approved
        )

    def ocsp_responder_certificates(self) -> tuple[Certificate, ...]:
        """All configured OCSP responder certificates of all instances."""
        return _unique(
            responder.certificate
            for index in self._indexes.values()
            for entry in index.approved
            for responder in entry.responders
            if responder.certificate is not None
        )

    def approved_tsas(self, instance: str) -> tuple[TimestampingService, ...]:
        """The time-stamping services of an instance."""
        index = self._indexes.get(instance)
        return () if index is None else index.timestamping

    def tsa_certificates(self) -> tuple[Certificate, ...]:
        """Time-stamping certificates of all instances: stamps of any of them are accepted."""
        return _unique(
            service.certificate
            for index in self._indexes.values()
            for service in index.timestamping
        )

    # --- settings of our own instance ------------------------------------------------------

    @property
    def ocsp_policy(self) -> OcspPolicy:
        """How old OCSP responses may be, and whether nextUpdate counts."""
        shared = self.shared(self.own_instance)
        seconds = 3600 if shared is None else shared.global_settings.ocsp_freshness_seconds
        return OcspPolicy(
            freshness=timedelta(seconds=seconds), verify_next_update=self.own.next_update.verify
        )

    @property
    def ocsp_fetch_interval(self) -> timedelta:
        """How often our own certificates' OCSP responses are fetched."""
        return self.own.fetch_interval.interval

    @property
    def timestamping_interval(self) -> timedelta:
        """How long a message may wait for its time-stamp."""
        return timedelta(seconds=self.private.timestamping_interval_seconds)

    @property
    def management_service(self) -> ManagementService:
        """Where registration requests go, and who provides the management services."""
        return self.private.management_service

    @property
    def monitoring_client(self) -> ClientId | None:
        """The only client that may ask for other servers' monitoring data."""
        return self.own.monitoring.client


def _unique(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))
