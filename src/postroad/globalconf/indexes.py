"""Which lookups does one instance's shared parameters answer, and how are they made fast?

Everything here is computed once, when the parameters are loaded. Source: reference
``SharedParametersCache``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.crypto.certificates import Certificate
from postroad.errors import MalformedInput, PostroadError
from postroad.identifiers import (
    ClientId,
    GlobalGroupId,
    MemberId,
    SecurityServerId,
    SubsystemId,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroad.crypto.certificates import NameKey
    from postroad.globalconf.shared_parameters import (
        ApprovedCa,
        CertificationAuthority,
        CostType,
        OcspInfo,
        SecurityServer,
        SharedParameters,
    )


@dataclass(frozen=True, slots=True)
class OcspResponder:
    """Where to ask for a certificate's state, and who answers when it isn't the CA itself."""

    url: str
    certificate: Certificate | None = None
    cost_type: CostType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedCertificate:
    """A CA certificate that an instance approves, with what the approval says."""

    certificate: Certificate
    profile: str
    """Class name of the certificate profile: how subjects name members."""
    responders: tuple[OcspResponder, ...]
    authentication_only: bool
    ca_name: str
    is_top: bool


@dataclass(frozen=True, slots=True)
class TimestampingService:
    """A time-stamping service with its certificate."""

    name: str
    url: str
    certificate: Certificate
    cost_type: CostType | None = None


@dataclass(frozen=True, slots=True)
class ProviderServer:
    """A server at which a client can be reached.

    ``maintenance`` is the message of the maintenance mode ("" without one), None when not in it.
    """

    server_id: SecurityServerId
    address: str
    maintenance: str | None = None


class InstanceIndex:
    """The lookups of one instance. Certificates that don't parse are left out, with a warning."""

    def __init__(self, shared: SharedParameters) -> None:
        self.shared = shared
        self.warnings: list[str] = []
        self.names: dict[ClientId, str | None] = {}
        self.servers: dict[SecurityServerId, SecurityServer] = {}
        self.clients_of: dict[SecurityServerId, frozenset[ClientId]] = {}
        self.servers_by_client: dict[ClientId, tuple[ProviderServer, ...]] = {}
        self.servers_by_hash: dict[bytes, tuple[SecurityServerId, ...]] = {}
        self.groups_of: dict[ClientId, frozenset[GlobalGroupId]] = {}
        self.approved: tuple[ApprovedCertificate, ...] = ()
        self.approved_by_subject: dict[NameKey, tuple[ApprovedCertificate, ...]] = {}
        self.timestamping: tuple[TimestampingService, ...] = ()
        self._index_names()
        self._index_servers()
        self._index_groups()
        self._index_trust_services()

    def _index_names(self) -> None:
        instance = self.shared.instance
        for member in self.shared.members:
            member_class = member.member_class.code
            self.names[MemberId(instance, member_class, member.code)] = member.name
            for subsystem in member.subsystems:
                client = SubsystemId(instance, member_class, member.code, subsystem.code)
                self.names[client] = subsystem.name

    def _index_servers(self) -> None:
        by_client: defaultdict[ClientId, list[ProviderServer]] = defaultdict(list)
        by_hash: defaultdict[bytes, list[SecurityServerId]] = defaultdict(list)
        for server in self.shared.security_servers:
            server_id = server.server_id
            # The owner is a client of its server although the list doesn't repeat it.
            clients = frozenset((server.owner, *server.clients))
            self.servers[server_id] = server
            self.clients_of[server_id] = clients
            for value in server.auth_certificate_hashes:
                by_hash[value].append(server_id)
            if server.address:
                provider = ProviderServer(server_id, server.address, server.maintenance)
                for client in clients:
                    by_client[client].append(provider)
        self.servers_by_client = {client: tuple(found) for client, found in by_client.items()}
        self.servers_by_hash = {value: tuple(found) for value, found in by_hash.items()}

    def _index_groups(self) -> None:
        groups: defaultdict[ClientId, set[GlobalGroupId]] = defaultdict(set)
        for group in self.shared.global_groups:
            try:
                group_id = GlobalGroupId(self.shared.instance, group.code)
            except MalformedInput as error:
                self._warn(f"global group left out: {error}")
                continue
            for client in group.members:
                groups[client].add(group_id)
        self.groups_of = {client: frozenset(found) for client, found in groups.items()}

    def _index_trust_services(self) -> None:
        approved: list[ApprovedCertificate] = []
        for ca in self.shared.approved_cas:
            approved.extend(self._approved_of(ca))
        by_subject: defaultdict[NameKey, list[ApprovedCertificate]] = defaultdict(list)
        for entry in approved:
            by_subject[entry.certificate.subject_key].append(entry)
        self.approved = tuple(approved)
        self.approved_by_subject = {name: tuple(found) for name, found in by_subject.items()}
        services: list[TimestampingService] = []
        for tsa in self.shared.approved_tsas:
            certificate = self._certificate(tsa.certificate, f"time-stamping service {tsa.name!r}")
            if certificate is not None:
                services.append(TimestampingService(tsa.name, tsa.url, certificate, tsa.cost_type))
        self.timestamping = tuple(services)

    def _approved_of(self, ca: ApprovedCa) -> Iterator[ApprovedCertificate]:
        authorities: Sequence[CertificationAuthority] = (ca.top, *ca.intermediates)
        for position, authority in enumerate(authorities):
            certificate = self._certificate(
                authority.certificate, f"certification service {ca.name!r}"
            )
            if certificate is None:
                continue
            yield ApprovedCertificate(
                certificate=certificate,
                profile=ca.certificate_profile.strip(),
                responders=tuple(self._responder(info, ca.name) for info in authority.ocsp),
                authentication_only=ca.authentication_only,
                ca_name=ca.name,
                is_top=position == 0,
            )

    def _responder(self, info: OcspInfo, ca_name: str) -> OcspResponder:
        certificate = None
        if info.certificate:
            certificate = self._certificate(info.certificate, f"OCSP responder of {ca_name!r}")
        return OcspResponder(info.url.strip(), certificate, info.cost_type)

    def _certificate(self, data: bytes, owner: str) -> Certificate | None:
        try:
            certificate = Certificate.from_pem_or_der(data)
            _ = certificate.public_key  # a key that can't be read can't verify anything
        except PostroadError as error:
            self._warn(f"certificate of {owner} left out: {error}")
            return None
        return certificate

    def _warn(self, message: str) -> None:
        self.warnings.append(f"{self.shared.instance}: {message}")
