"""Who provides the management services, where, and with which TLS certificate?

Source: reference ``ManagementServicesController``, ``ManagementServicesServiceImpl``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.centralserver.api.certificates import CertificateDetails, certificate_details
from postroad.centralserver.api.operations import Call, Download, Operation, Upload, any_of
from postroad.centralserver.api.schemas import (
    EncodedId,
    Payload,
    Text,
    encode_id,
    parse_server_id,
    parse_subsystem_id,
)
from postroad.centralserver.management_certificate import ManagementCertificate
from postroad.centralserver.management_ports import services_url
from postroad.centralserver.registry import provider
from postroad.centralserver.registry.groups import owners_group_code
from postroad.centralserver.registry.members import find_member
from postroad.centralserver.registry.provider_registration import register_management_provider
from postroad.centralserver.registry.servers import server_id
from postroad.centralserver.registry.system import instance_status
from postroad.centralserver.roles import Permission
from postroad.management.wsdl import FILE_NAME

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class ManagementServicesConfiguration(Payload):
    """Who provides the management services, and where."""

    security_server_owners_global_group_code: str
    services_address: str
    wsdl_address: str
    service_provider_id: str | None = None
    service_provider_name: str | None = None
    security_server_id: str | None = None


class ServiceProviderId(Payload):
    """The subsystem that provides the management services."""

    service_provider_id: EncodedId


class RegisterServiceProviderRequest(Payload):
    """The server that the provider becomes a client of."""

    security_server_id: EncodedId


class CertificateUpload(Payload):
    """A certificate to be used."""

    certificate: Upload


class DistinguishedName(Payload):
    """The subject of a certificate request."""

    name: Text


def get_configuration(call: Call) -> ManagementServicesConfiguration:
    """Who provides the management services, and where."""
    with call.reading() as session:
        return _configuration(call, session)


def set_provider(call: Call) -> ManagementServicesConfiguration:
    """Name the subsystem that provides the management services."""
    body: ServiceProviderId = call.body
    named = parse_subsystem_id(body.service_provider_id, "invalid_service_provider_id")
    with call.changing() as change:
        provider.set_management_provider(change, named)
        return _configuration(call, change.session)


def register_provider(call: Call) -> ManagementServicesConfiguration:
    """Make the provider a client of a server: a request of the centre, approved at once."""
    body: RegisterServiceProviderRequest = call.body
    server = parse_server_id(body.security_server_id)
    with call.changing() as change:
        register_management_provider(change, server)
        return _configuration(call, change.session)


def get_certificate(call: Call) -> CertificateDetails:
    """The certificate that the ports for management requests show."""
    return certificate_details(_certificate(call).read())


def download_certificate(call: Call) -> Download:
    """That certificate as an archive."""
    data = _certificate(call).archive()
    return Download(data, "management-service.tar.gz", "application/gzip")


def replace_certificate(call: Call) -> None:
    """Make a new key and a certificate of its own signature."""
    certificate = _certificate(call)
    with certificate.switching(call.node), call.changing() as change:
        certificate.replace(change)


def request_certificate(call: Call) -> Download:
    """A certificate request of the key in use."""
    body: DistinguishedName = call.body
    call.audited["subjectName"] = body.name
    made = call.node.clock.now()
    name = f"management_service_tls_cert_request_{made:%Y%m%d}.p10"
    return Download(_certificate(call).request(body.name), name)


def upload_certificate(call: Call) -> CertificateDetails:
    """Use a certificate that an authority has issued."""
    body: CertificateUpload = call.body
    call.audited["certFileName"] = body.certificate.file_name
    certificate = _certificate(call)
    with certificate.switching(call.node), call.changing() as change:
        certificate.take_in(change, body.certificate.data)
    return get_certificate(call)


def _certificate(call: Call) -> ManagementCertificate:
    return ManagementCertificate(call.node.settings, call.services.certificates)


def _configuration(call: Call, session: Session) -> ManagementServicesConfiguration:
    address = instance_status(session, call.node_name).address
    configuration = ManagementServicesConfiguration(
        security_server_owners_global_group_code=owners_group_code(session),
        services_address=services_url(call.node.settings, address) if address else "",
        wsdl_address=f"http://{address}/{FILE_NAME}" if address else "",
    )
    named = provider.find_management_provider(session)
    if named is None:
        return configuration
    member = find_member(session, named.member)
    kind = "MEMBER" if named.subsystem_code is None else "SUBSYSTEM"
    configuration.service_provider_id = f"{kind}:{encode_id(named)}"
    configuration.service_provider_name = None if member is None else member.name
    configuration.security_server_id = "; ".join(
        sorted(
            f"SERVER:{encode_id(server_id(session, row))}"
            for row in provider.provider_servers(session)
        )
    )
    return configuration


_PATH: Final = "/management-services-configuration"
_SETTINGS: Final = any_of(Permission.VIEW_SYSTEM_SETTINGS)
OPERATIONS: Final = (
    Operation(
        method="GET",
        path=_PATH,
        name="getManagementServicesConfiguration",
        handler=get_configuration,
        needs=_SETTINGS,
        answer=ManagementServicesConfiguration,
    ),
    Operation(
        method="PATCH",
        path=_PATH,
        name="updateManagementServicesConfiguration",
        handler=set_provider,
        needs=_SETTINGS,
        body=ServiceProviderId,
        answer=ManagementServicesConfiguration,
        event="Edit provider of management services",
    ),
    Operation(
        method="POST",
        path=_PATH + "/register-provider",
        name="registerServiceProvider",
        handler=register_provider,
        needs=any_of(Permission.REGISTER_SERVICE_PROVIDER),
        body=RegisterServiceProviderRequest,
        answer=ManagementServicesConfiguration,
        event="Register management service provider as security server client",
    ),
    Operation(
        method="GET",
        path=_PATH + "/certificate",
        name="getCertificate",
        handler=get_certificate,
        needs=any_of(Permission.VIEW_MANAGEMENT_SERVICE_TLS_CERT),
        answer=CertificateDetails,
    ),
    Operation(
        method="GET",
        path=_PATH + "/download-certificate",
        name="downloadCertificate",
        handler=download_certificate,
        needs=any_of(Permission.DOWNLOAD_MANAGEMENT_SERVICE_TLS_CERT),
        answer=Download,
    ),
    Operation(
        method="POST",
        path=_PATH + "/certificate",
        name="generateKeyAndCertificate",
        handler=replace_certificate,
        needs=any_of(Permission.GENERATE_MANAGEMENT_SERVICE_TLS_KEY_CERT),
        status=201,
        event="Generate management service TLS key and self-sign certificate",
    ),
    Operation(
        method="POST",
        path=_PATH + "/generate-csr",
        name="generateCertificateRequest",
        handler=request_certificate,
        needs=any_of(Permission.GENERATE_MANAGEMENT_SERVICE_TLS_CSR),
        body=DistinguishedName,
        answer=Download,
        event="Generate management service TLS certificate signing request",
    ),
    Operation(
        method="POST",
        path=_PATH + "/upload-certificate",
        name="uploadCertificate",
        handler=upload_certificate,
        needs=any_of(Permission.UPLOAD_MANAGEMENT_SERVICE_TLS_CERT),
        form=CertificateUpload,
        answer=CertificateDetails,
        event="Upload management service TLS certificate",
    ),
)
