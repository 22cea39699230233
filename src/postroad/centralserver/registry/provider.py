"""Which subsystem provides the management services, and which servers host it?

Source: reference management services configuration (system parameters
``managementServiceProvider…``) and private parameters ``managementService``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.parties import SecurityServer, ServerClient
from postroad.centralserver.models.system import ManagementServiceCertificate
from postroad.centralserver.registry.members import (
    find_member,
    find_subsystem,
    load_client,
)
from postroad.centralserver.registry.parameters import (
    Parameter,
    find_parameter,
    own_instance,
    store_parameter,
)
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.crypto.certificates import Certificate
from postroad.errors import MalformedInput
from postroad.identifiers import ClientId, MemberId, SubsystemId, client_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change


def find_management_provider(session: Session) -> ClientId | None:
    """The management service provider, None while nobody was named."""
    member_class = find_parameter(session, Parameter.PROVIDER_CLASS)
    member_code = find_parameter(session, Parameter.PROVIDER_CODE)
    subsystem_code = find_parameter(session, Parameter.PROVIDER_SUBSYSTEM)
    if not member_class or not member_code:
        return None
    return client_id(own_instance(session), member_class, member_code, subsystem_code or None)


def set_management_provider(change: Change, provider: ClientId) -> bool:
    """Name the client that provides the management services; False when it was that already."""
    session = change.session
    load_client(session, provider)
    if find_management_provider(session) == provider:
        return False
    store_parameter(session, Parameter.PROVIDER_CLASS, provider.member_class)
    store_parameter(session, Parameter.PROVIDER_CODE, provider.member_code)
    store_parameter(session, Parameter.PROVIDER_SUBSYSTEM, provider.subsystem_code or "")
    change.record("Edit provider of management services", serviceProvider=provider.encoded())
    return True


def provider_servers(session: Session) -> Sequence[SecurityServer]:
    """The security servers that host the management service provider."""
    provider = find_management_provider(session)
    match provider:
        case None:
            return []
        case SubsystemId():
            subsystem = find_subsystem(session, provider)
            if subsystem is None:
                return []
            return [registration.security_server for registration in subsystem.registrations]
        case MemberId():
            member = find_member(session, provider)
            if member is None:
                return []
            hosted = (
                select(SecurityServer)
                .outerjoin(ServerClient)
                .where(
                    (ServerClient.member_id == member.id) | (SecurityServer.owner_id == member.id)
                )
                .distinct()
            )
            return session.scalars(hosted).all()


def find_management_certificate(session: Session, node_name: str = "") -> bytes | None:
    """The TLS certificate (DER) of a node's registration service, None while there is none."""
    own = session.get(ManagementServiceCertificate, node_name)
    row = own or session.get(ManagementServiceCertificate, "")
    return None if row is None else row.certificate


def set_management_certificate(change: Change, certificate: bytes, node_name: str = "") -> bool:
    """Set the TLS certificate that clients pin; False when it was that already."""
    try:
        read = Certificate.from_pem_or_der(certificate)
    except MalformedInput as error:
        raise RegistryRefusal(
            Problem.INVALID_CERTIFICATE, f"not a TLS certificate: {error.message}"
        ) from error
    row = change.session.get(ManagementServiceCertificate, node_name)
    if row is not None and row.certificate == read.der:
        return False
    if row is None:
        change.session.add(ManagementServiceCertificate(node_name=node_name, certificate=read.der))
    else:
        row.certificate = read.der
    change.record(
        "Upload management service TLS certificate",
        certHash=read.sha256.hex(),
        haNode=node_name,
    )
    return True
