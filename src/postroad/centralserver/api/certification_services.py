"""Certification services. Source: reference ``CertificationServicesController``."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from postroad.centralserver.api.ca_responders import responder_operations
from postroad.centralserver.api.certificates import CertificateDetails, certificate_details
from postroad.centralserver.api.operations import Call, Operation, Upload, any_of
from postroad.centralserver.api.refusals import ApiRefusal
from postroad.centralserver.api.schemas import Payload
from postroad.centralserver.registry import trust_services
from postroad.centralserver.registry.trust_services import AcmeSettings, CaSettings
from postroad.centralserver.roles import Permission
from postroad.globalconf.shared_parameters import CsrFormat

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postroad.centralserver.models.trust_services import ApprovedCa, CaCertificate

_Setting = Annotated[str, msgspec.Meta(max_length=255)]


class CertificationServiceSettings(Payload):
    """What may be changed of a certification service; what is absent stays."""

    certificate_profile_info: _Setting | None = None
    tls_auth: str | bool | None = None
    """``true``, or anything else: the reference reads it from a text."""
    default_csr_format: Literal["PEM", "DER"] | None = None
    acme_server_directory_url: _Setting | None = None
    acme_server_ip_address: _Setting | None = None
    authentication_certificate_profile_id: _Setting | None = None
    signing_certificate_profile_id: _Setting | None = None


class CertificationServiceFileAndSettings(CertificationServiceSettings, kw_only=True):
    """A certification service to be."""

    certificate: Upload


class CertificateFile(Payload):
    """A certificate to be uploaded."""

    certificate: Upload


class ApprovedCertificationServiceListItem(Payload):
    """A certification service in a list."""

    id: int
    name: str
    not_after: datetime
    not_before: datetime


class ApprovedCertificationService(Payload):
    """A certification service."""

    id: int
    name: str
    issuer_distinguished_name: str
    subject_distinguished_name: str
    not_after: datetime
    not_before: datetime
    certificate_profile_info: str
    tls_auth: bool
    default_csr_format: str | None = None
    acme_server_directory_url: str | None = None
    acme_server_ip_address: str | None = None
    authentication_certificate_profile_id: str | None = None
    signing_certificate_profile_id: str | None = None


class CertificateAuthority(Payload):
    """An intermediate CA."""

    id: int
    ca_certificate: CertificateDetails


def list_services(call: Call) -> list[ApprovedCertificationServiceListItem]:
    """All certification services."""
    with call.reading() as session:
        return [
            ApprovedCertificationServiceListItem(
                id=row.id,
                name=row.name,
                not_after=trust_services.top_certificate(row).valid_to,
                not_before=trust_services.top_certificate(row).valid_from,
            )
            for row in trust_services.list_approved_cas(session)
        ]


def get_service(call: Call) -> ApprovedCertificationService:
    """One certification service."""
    with call.reading() as session:
        return _payload(_load(call, session))


def add_service(call: Call) -> ApprovedCertificationService:
    """Approve a certification service."""
    body: CertificationServiceFileAndSettings = call.body
    with call.changing() as change:
        settings = _settings(body, None)
        return _payload(trust_services.add_approved_ca(change, body.certificate.data, settings))


def edit_service(call: Call) -> ApprovedCertificationService:
    """Change the settings of a certification service."""
    with call.changing() as change:
        row = _load(call, change.session)
        trust_services.edit_approved_ca(change, row.id, _settings(call.body, row))
        return _payload(row)


def delete_service(call: Call) -> None:
    """No longer approve a certification service."""
    with call.changing() as change:
        trust_services.delete_approved_ca(change, _number(call))


def get_certificate(call: Call) -> CertificateDetails:
    """The certificate of the top CA."""
    with call.reading() as session:
        return certificate_details(trust_services.top_certificate(_load(call, session)).certificate)


def list_intermediate_cas(call: Call) -> list[CertificateAuthority]:
    """The intermediate CAs."""
    with call.reading() as session:
        rows = trust_services.intermediate_certificates(_load(call, session))
        return [authority_payload(row) for row in rows]


def add_intermediate_ca(call: Call) -> CertificateAuthority:
    """Add an intermediate CA."""
    body: CertificateFile = call.body
    with call.changing() as change:
        data = body.certificate.data
        return authority_payload(trust_services.add_intermediate_ca(change, _number(call), data))


def authority_payload(row: CaCertificate) -> CertificateAuthority:
    """An intermediate CA."""
    return CertificateAuthority(id=row.id, ca_certificate=certificate_details(row.certificate))


def _payload(row: ApprovedCa) -> ApprovedCertificationService:
    details = certificate_details(trust_services.top_certificate(row).certificate)
    return ApprovedCertificationService(
        id=row.id,
        name=row.name,
        issuer_distinguished_name=details.issuer_distinguished_name,
        subject_distinguished_name=details.subject_distinguished_name,
        not_after=details.not_after,
        not_before=details.not_before,
        certificate_profile_info=row.certificate_profile_info,
        tls_auth=row.authentication_only,
        default_csr_format=row.default_csr_format,
        acme_server_directory_url=row.acme_directory_url,
        acme_server_ip_address=row.acme_ip_address,
        authentication_certificate_profile_id=row.acme_authentication_profile_id,
        signing_certificate_profile_id=row.acme_signing_profile_id,
    )


def _settings(body: CertificationServiceSettings, before: ApprovedCa | None) -> CaSettings:
    """The settings asked for, on top of those that a service has."""
    profile = body.certificate_profile_info
    if profile is None:
        profile = before.certificate_profile_info if before else ""
    authentication_only = before.authentication_only if before else False
    if body.tls_auth is not None:
        authentication_only = str(body.tls_auth).lower() == "true"
    csr_format = body.default_csr_format or (before.default_csr_format if before else None)
    return CaSettings(
        certificate_profile_info=profile,
        authentication_only=authentication_only,
        default_csr_format=CsrFormat(csr_format) if csr_format else None,
        acme=_acme(body, before),
    )


def _acme(body: CertificationServiceSettings, before: ApprovedCa | None) -> AcmeSettings | None:
    def chosen(asked: str | None, known: str | None) -> str | None:
        return (known if asked is None else asked) or None

    url = chosen(body.acme_server_directory_url, before.acme_directory_url if before else None)
    if url is None:
        return None
    address = chosen(body.acme_server_ip_address, before.acme_ip_address if before else None)
    for part in (address or "").split(","):
        if address and not _is_ip_address(part.strip()):
            raise ApiRefusal(400, "invalid_ip_address", (part[:255],))
    return AcmeSettings(
        directory_url=url,
        ip_address=address,
        authentication_profile_id=chosen(
            body.authentication_certificate_profile_id,
            before.acme_authentication_profile_id if before else None,
        ),
        signing_profile_id=chosen(
            body.signing_certificate_profile_id, before.acme_signing_profile_id if before else None
        ),
    )


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _number(call: Call) -> int:
    return call.number("certification_service_id")


def _load(call: Call, session: Session) -> ApprovedCa:
    return trust_services.load_approved_ca(session, _number(call))


_PATH: Final = "/certification-services/{certification_service_id}"
_VIEW: Final = any_of(Permission.VIEW_APPROVED_CA_DETAILS)
_ADD: Final = any_of(Permission.ADD_APPROVED_CA)
OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/certification-services",
        name="getCertificationServices",
        handler=list_services,
        needs=any_of(Permission.VIEW_APPROVED_CAS),
        answer=list[ApprovedCertificationServiceListItem],
    ),
    Operation(
        method="POST",
        path="/certification-services",
        name="addCertificationService",
        handler=add_service,
        needs=_ADD,
        status=201,
        form=CertificationServiceFileAndSettings,
        answer=ApprovedCertificationService,
        event="Add certification service",
    ),
    Operation(
        method="GET",
        path=_PATH,
        name="getCertificationService",
        handler=get_service,
        needs=_VIEW,
        answer=ApprovedCertificationService,
    ),
    Operation(
        method="PATCH",
        path=_PATH,
        name="updateCertificationService",
        handler=edit_service,
        needs=any_of(Permission.EDIT_APPROVED_CA),
        body=CertificationServiceSettings,
        answer=ApprovedCertificationService,
        event="Edit certification service settings",
    ),
    Operation(
        method="DELETE",
        path=_PATH,
        name="deleteCertificationService",
        handler=delete_service,
        needs=any_of(Permission.DELETE_APPROVED_CA),
        status=204,
        event="Delete certification service",
    ),
    Operation(
        method="GET",
        path=_PATH + "/certificate",
        name="getCertificationServiceCertificate",
        handler=get_certificate,
        needs=_VIEW,
        answer=CertificateDetails,
    ),
    Operation(
        method="GET",
        path=_PATH + "/intermediate-cas",
        name="getCertificationServiceIntermediateCas",
        handler=list_intermediate_cas,
        needs=_VIEW,
        answer=list[CertificateAuthority],
    ),
    Operation(
        method="POST",
        path=_PATH + "/intermediate-cas",
        name="addCertificationServiceIntermediateCa",
        handler=add_intermediate_ca,
        needs=_ADD,
        status=201,
        form=CertificateFile,
        answer=CertificateAuthority,
        event="Add intermediate CA",
    ),
    *responder_operations(
        _PATH,
        "CertificationService",
        lambda call, session: trust_services.top_certificate(_load(call, session)),
        event="Add OCSP responder of certification service",
    ),
)
