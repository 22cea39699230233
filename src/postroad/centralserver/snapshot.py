"""What does the registry say at this moment, as the values that configuration is made of?

One database transaction gives one consistent picture. Source: reference
``SharedParametersLoader``, ``PrivateParametersLoader``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from postroad.centralserver.models import parties, trust_services
from postroad.centralserver.models.system import TrustedAnchor
from postroad.centralserver.registry.groups import group_clients
from postroad.centralserver.registry.names import host_of
from postroad.centralserver.registry.optional_parts import list_optional_parts
from postroad.centralserver.registry.parameters import (
    ADDRESS_PLACEHOLDER,
    Parameter,
    find_parameter,
    number_parameter,
    own_instance,
)
from postroad.centralserver.registry.provider import (
    find_management_certificate,
    find_management_provider,
)
from postroad.centralserver.registry.sources import SourceType, list_sources, node_address
from postroad.centralserver.registry.trust_services import (
    intermediate_certificates,
    top_certificate,
)
from postroad.errors import ConfigurationError
from postroad.globalconf.anchor import Anchor
from postroad.globalconf.generation import OptionalPart, RegistryServer, RegistrySnapshot
from postroad.globalconf.private_parameters import ManagementService
from postroad.globalconf.shared_parameters import (
    AcmeServer,
    ApprovedCa,
    ApprovedTsa,
    CertificationAuthority,
    ConfigurationSource,
    CostType,
    CsrFormat,
    GlobalGroup,
    Member,
    MemberClass,
    OcspInfo,
    Subsystem,
)
from postroad.identifiers import ClientId, MemberId, SubsystemId

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def load_registry_snapshot(session: Session, node_name: str = "") -> RegistrySnapshot:
    """Everything that is distributed, as this node sees it.

    Raises ``ConfigurationError`` when something is missing without which no configuration can be
    made: the management service's provider or address.
    """
    instance = own_instance(session)
    return RegistrySnapshot(
        instance=instance,
        management_service=_management_service(session, node_name),
        sources=_sources(session),
        members=_members(session),
        security_servers=_servers(session, instance),
        global_groups=_groups(session),
        approved_cas=_approved_cas(session),
        approved_tsas=_approved_tsas(session),
        member_classes=_member_classes(session),
        trusted_anchors=_trusted_anchors(session),
        optional_parts=tuple(
            OptionalPart(part.content_identifier, part.data)
            for part in list_optional_parts(session)
        ),
        ocsp_freshness_seconds=number_parameter(session, Parameter.OCSP_FRESHNESS),
        timestamping_interval_seconds=number_parameter(session, Parameter.TIMESTAMPING_INTERVAL),
    )


def _management_service(session: Session, node_name: str) -> ManagementService:
    provider = find_management_provider(session)
    if provider is None:
        raise ConfigurationError(
            "nobody provides the management services yet: name a member or subsystem with "
            "`postroad central provider`"
        )
    certificate = find_management_certificate(session, node_name)
    if certificate is None:
        raise ConfigurationError(
            "the management service has no TLS certificate: run `postroad central init` again"
        )
    template = find_parameter(session, Parameter.AUTH_CERT_REG_URL) or ""
    if not template.strip():
        raise ConfigurationError("the system parameter authCertRegUrl is empty")
    host = host_of(node_address(session, node_name))
    return ManagementService(template.replace(ADDRESS_PLACEHOLDER, host), provider, certificate)


def _sources(session: Session) -> tuple[ConfigurationSource, ...]:
    keys: dict[str, dict[SourceType, tuple[bytes, ...]]] = {}
    for source_type in SourceType:
        for source in list_sources(session, source_type):
            certificates = tuple(key.certificate for key in source.keys)
            keys.setdefault(source.node_name, {})[source_type] = certificates
    return tuple(
        ConfigurationSource(
            node_address(session, node_name),
            certificates[SourceType.INTERNAL],
            certificates[SourceType.EXTERNAL],
        )
        for node_name, certificates in sorted(keys.items())
        # Clients of 7.4 refuse a source without a certificate of each kind.
        if certificates.get(SourceType.INTERNAL) and certificates.get(SourceType.EXTERNAL)
    )


def _member_classes(session: Session) -> tuple[MemberClass, ...]:
    rows = session.scalars(select(parties.MemberClass).order_by(parties.MemberClass.id))
    return tuple(MemberClass(row.code, row.description) for row in rows)


def _members(session: Session) -> tuple[Member, ...]:
    rows = session.scalars(
        select(parties.Member)
        .order_by(parties.Member.id)
        .options(selectinload(parties.Member.subsystems))
    )
    return tuple(
        Member(
            MemberClass(row.member_class.code, row.member_class.description),
            row.member_code,
            row.name,
            tuple(Subsystem(s.subsystem_code, s.name) for s in row.subsystems),
        )
        for row in rows
    )


def _servers(session: Session, instance: str) -> tuple[RegistryServer, ...]:
    server, client = parties.SecurityServer, parties.ServerClient
    rows = session.scalars(
        select(server)
        .order_by(server.id)
        .options(
            selectinload(server.auth_certificates),
            selectinload(server.clients).selectinload(client.member),
            selectinload(server.clients).selectinload(client.subsystem),
        )
    )
    return tuple(
        RegistryServer(
            owner=_member_id(instance, row.owner),
            code=row.server_code,
            address=row.address,
            auth_certificates=tuple(c.certificate for c in row.auth_certificates),
            clients=tuple(
                _client_id(instance, registration)
                for registration in row.clients
                if registration.enabled
            ),
            maintenance=(row.maintenance_mode_message or "") if row.in_maintenance_mode else None,
        )
        for row in rows
    )


def _groups(session: Session) -> tuple[GlobalGroup, ...]:
    rows = session.scalars(
        select(parties.GlobalGroup)
        .order_by(parties.GlobalGroup.id)
        .options(selectinload(parties.GlobalGroup.members))
    )
    return tuple(
        GlobalGroup(row.group_code, row.description, tuple(group_clients(row))) for row in rows
    )


def _approved_cas(session: Session) -> tuple[ApprovedCa, ...]:
    ca, certificate = trust_services.ApprovedCa, trust_services.CaCertificate
    rows = session.scalars(
        select(ca)
        .order_by(ca.id)
        .options(selectinload(ca.certificates).selectinload(certificate.ocsp_responders))
    )
    return tuple(
        ApprovedCa(
            name=row.name,
            top=_authority(top_certificate(row)),
            certificate_profile=row.certificate_profile_info,
            authentication_only=row.authentication_only,
            intermediates=tuple(_authority(c) for c in intermediate_certificates(row)),
            default_csr_format=CsrFormat(row.default_csr_format)
            if row.default_csr_format
            else None,
            acme_server=_acme_server(row),
        )
        for row in rows
    )


def _authority(row: trust_services.CaCertificate) -> CertificationAuthority:
    return CertificationAuthority(
        row.certificate,
        tuple(
            OcspInfo(responder.url, responder.certificate, CostType(responder.cost_type))
            for responder in row.ocsp_responders
        ),
    )


def _acme_server(row: trust_services.ApprovedCa) -> AcmeServer | None:
    if not row.acme_directory_url:
        return None
    return AcmeServer(
        row.acme_directory_url,
        row.acme_ip_address,
        row.acme_authentication_profile_id,
        row.acme_signing_profile_id,
    )


def _approved_tsas(session: Session) -> tuple[ApprovedTsa, ...]:
    tsa = trust_services.ApprovedTsa
    return tuple(
        ApprovedTsa(row.name, row.url, row.certificate, CostType(row.cost_type))
        for row in session.scalars(select(tsa).order_by(tsa.id))
    )


def _trusted_anchors(session: Session) -> tuple[Anchor, ...]:
    rows = session.scalars(select(TrustedAnchor).order_by(TrustedAnchor.id))
    return tuple(Anchor.parse(row.anchor) for row in rows)


def _member_id(instance: str, member: parties.Member) -> MemberId:
    return MemberId(instance, member.member_class.code, member.member_code)


def _client_id(instance: str, registration: parties.ServerClient) -> ClientId:
    if registration.subsystem is not None:
        owner = _member_id(instance, registration.subsystem.member)
        code = registration.subsystem.subsystem_code
        return SubsystemId(owner.instance, owner.member_class, owner.member_code, code)
    if registration.member is None:
        raise ConfigurationError("a registration without a client: the database was edited by hand")
    return _member_id(instance, registration.member)
