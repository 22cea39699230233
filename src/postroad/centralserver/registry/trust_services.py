"""Which certification and time-stamping services does the instance approve?

Source: reference certification service, intermediate CA, OCSP responder and time-stamping service
operations. Certificates are kept as they were uploaded and distributed so (G-01); the first one in
them is read for its name and validity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.trust_services import (
    ApprovedCa,
    ApprovedTsa,
    CaCertificate,
    OcspResponder,
)
from postroad.centralserver.registry.names import check_url
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.crypto.certificates import Certificate
from postroad.crypto.profiles import CertificateProfile
from postroad.errors import MalformedInput
from postroad.globalconf.shared_parameters import CostType, CsrFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change

_PROFILE_ENDING = "CertificateProfileInfoProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeSettings:
    """How certificates are ordered automatically; the centre only hands it on."""

    directory_url: str
    ip_address: str | None = None
    """Comma separated, a hint for firewalls."""
    authentication_profile_id: str | None = None
    signing_profile_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaSettings:
    """What an approved certification service may be used for, and how its names are read."""

    certificate_profile_info: str
    authentication_only: bool = False
    default_csr_format: CsrFormat | None = None
    acme: AcmeSettings | None = None


def list_approved_cas(session: Session) -> Sequence[ApprovedCa]:
    """All approved certification services in the order they were added."""
    return session.scalars(select(ApprovedCa).order_by(ApprovedCa.id)).all()


def load_approved_ca(session: Session, ca_id: int) -> ApprovedCa:
    """The certification service of that id; refused when there is none."""
    found = session.get(ApprovedCa, ca_id)
    if found is None:
        raise RegistryRefusal(
            Problem.CERTIFICATION_SERVICE_NOT_FOUND, f"no certification service {ca_id}"
        )
    return found


def find_ca_by_certificate(session: Session, certificate: bytes) -> ApprovedCa | None:
    """The certification service with that top CA certificate (PEM or DER), None when unknown."""
    fingerprint = _read(certificate, "a CA certificate").sha256.hex()
    wanted = (
        select(ApprovedCa)
        .join(CaCertificate)
        .where(CaCertificate.is_top, CaCertificate.sha256 == fingerprint)
    )
    return session.scalars(wanted).first()


def top_certificate(ca: ApprovedCa) -> CaCertificate:
    """The top CA of a certification service."""
    return next(certificate for certificate in ca.certificates if certificate.is_top)


def intermediate_certificates(ca: ApprovedCa) -> list[CaCertificate]:
    """The intermediate CAs of a certification service, in the order they were added."""
    return [certificate for certificate in ca.certificates if not certificate.is_top]


def add_approved_ca(change: Change, certificate: bytes, settings: CaSettings) -> ApprovedCa:
    """Approve a certification service, named after the CN of its certificate (PEM or DER)."""
    row = _ca_certificate(certificate, is_top=True)
    ca = ApprovedCa(
        name=_common_name(certificate),
        certificates=[row],
        created_at=change.at,
        updated_at=change.at,
        **_settings_columns(settings),
    )
    change.session.add(ca)
    change.session.flush()
    change.record(
        "Add certification service",
        caId=ca.id,
        caCertHash=row.sha256,
        certificateProfileInfo=ca.certificate_profile_info,
        authenticationOnly=ca.authentication_only,
    )
    return ca


def edit_approved_ca(change: Change, ca_id: int, settings: CaSettings) -> bool:
    """Change the settings of a certification service; False when they were those already."""
    ca = load_approved_ca(change.session, ca_id)
    columns = _settings_columns(settings)
    changed = {name: value for name, value in columns.items() if getattr(ca, name) != value}
    if not changed:
        return False
    for name, value in changed.items():
        setattr(ca, name, value)
    ca.updated_at = change.at
    change.record("Edit certification service settings", caId=ca_id, **changed)
    return True


def delete_approved_ca(change: Change, ca_id: int) -> None:
    """No longer approve a certification service."""
    ca = load_approved_ca(change.session, ca_id)
    fingerprint = top_certificate(ca).sha256
    change.session.delete(ca)
    change.record("Delete certification service", caId=ca_id, caCertHash=fingerprint)


def add_intermediate_ca(change: Change, ca_id: int, certificate: bytes) -> CaCertificate:
    """Add an intermediate CA to a certification service."""
    ca = load_approved_ca(change.session, ca_id)
    row = _ca_certificate(certificate, is_top=False)
    ca.certificates.append(row)
    ca.updated_at = change.at
    change.session.flush()
    change.record(
        "Add intermediate CA",
        caId=ca_id,
        intermediateCaId=row.id,
        intermediateCaCertHash=row.sha256,
    )
    return row


def load_intermediate_ca(session: Session, certificate_id: int) -> CaCertificate:
    """The intermediate CA of that id; refused when there is none."""
    found = session.get(CaCertificate, certificate_id)
    if found is None or found.is_top:
        raise RegistryRefusal(
            Problem.INTERMEDIATE_CA_NOT_FOUND, f"no intermediate CA {certificate_id}"
        )
    return found


def find_intermediate_ca(ca: ApprovedCa, certificate: bytes) -> CaCertificate | None:
    """The intermediate CA with that certificate (PEM or DER), None when unknown."""
    fingerprint = _read(certificate, "a CA certificate").sha256.hex()
    rows = intermediate_certificates(ca)
    return next((row for row in rows if row.sha256 == fingerprint), None)


def delete_intermediate_ca(change: Change, certificate_id: int) -> None:
    """Remove an intermediate CA with its OCSP responders."""
    row = load_intermediate_ca(change.session, certificate_id)
    row.approved_ca.certificates.remove(row)
    change.record(
        "Delete intermediate CA", intermediateCaId=certificate_id, intermediateCaCertHash=row.sha256
    )


def add_ocsp_responder(
    change: Change,
    issuer: CaCertificate,
    url: str,
    *,
    certificate: bytes | None = None,
    cost_type: CostType = CostType.UNDEFINED,
) -> OcspResponder:
    """Add an OCSP responder to a top or intermediate CA."""
    if certificate is not None:
        _read(certificate, "an OCSP responder certificate")
    row = OcspResponder(
        url=check_url("the OCSP responder's address", url),
        certificate=certificate,
        cost_type=cost_type.value,
    )
    issuer.ocsp_responders.append(row)
    change.session.flush()
    whose = "certification service" if issuer.is_top else "intermediate CA"
    change.record(
        f"Add OCSP responder of {whose}", caCertHash=issuer.sha256, ocspId=row.id, ocspUrl=row.url
    )
    return row


def load_ocsp_responder(session: Session, responder_id: int) -> OcspResponder:
    """The OCSP responder of that id; refused when there is none."""
    found = session.get(OcspResponder, responder_id)
    if found is None:
        raise RegistryRefusal(Problem.OCSP_RESPONDER_NOT_FOUND, f"no OCSP responder {responder_id}")
    return found


def edit_ocsp_responder(
    change: Change,
    responder_id: int,
    *,
    url: str,
    certificate: bytes | None,
    cost_type: CostType,
) -> bool:
    """Change an OCSP responder; False when it was so already."""
    row = load_ocsp_responder(change.session, responder_id)
    if certificate is not None:
        _read(certificate, "an OCSP responder certificate")
    url = check_url("the OCSP responder's address", url)
    if (row.url, row.certificate, row.cost_type) == (url, certificate, cost_type.value):
        return False
    row.url, row.certificate, row.cost_type = url, certificate, cost_type.value
    change.record("Edit OCSP responder", ocspId=responder_id, ocspUrl=url)
    return True


def delete_ocsp_responder(change: Change, responder_id: int) -> None:
    """Remove an OCSP responder."""
    row = load_ocsp_responder(change.session, responder_id)
    row.ca_certificate.ocsp_responders.remove(row)
    change.record("Delete OCSP responder", ocspId=responder_id, ocspUrl=row.url)


def list_tsas(session: Session) -> Sequence[ApprovedTsa]:
    """All approved time-stamping services in the order they were added."""
    return session.scalars(select(ApprovedTsa).order_by(ApprovedTsa.id)).all()


def find_tsa(session: Session, certificate: bytes, url: str) -> ApprovedTsa | None:
    """The time-stamping service with that certificate and address, None when unknown."""
    fingerprint = _read(certificate, "a time-stamping certificate").sha256.hex()
    wanted = select(ApprovedTsa).where(
        ApprovedTsa.sha256 == fingerprint, ApprovedTsa.url == url.strip()
    )
    return session.scalars(wanted).first()


def add_tsa(
    change: Change, certificate: bytes, url: str, *, cost_type: CostType = CostType.UNDEFINED
) -> ApprovedTsa:
    """Approve a time-stamping service, named after the CN of its certificate (PEM or DER)."""
    read = _read(certificate, "a time-stamping certificate")
    row = ApprovedTsa(
        name=_common_name(certificate),
        url=check_url("the time-stamping service's address", url),
        certificate=certificate,
        sha256=read.sha256.hex(),
        valid_from=read.not_before,
        valid_to=read.not_after,
        cost_type=cost_type.value,
        created_at=change.at,
    )
    change.session.add(row)
    change.session.flush()
    change.record(
        "Add timestamping service",
        tsaId=row.id,
        tsaName=row.name,
        tsaUrl=row.url,
        tsaCertHash=row.sha256,
    )
    return row


def edit_tsa(
    change: Change,
    tsa_id: int,
    *,
    url: str,
    cost_type: CostType,
    certificate: bytes | None = None,
) -> bool:
    """Change a time-stamping service, its certificate if one is given; False when it was so."""
    row = load_tsa(change.session, tsa_id)
    url = check_url("the time-stamping service's address", url)
    certificate = certificate or row.certificate
    if (row.url, row.cost_type, row.certificate) == (url, cost_type.value, certificate):
        return False
    read = _read(certificate, "a time-stamping certificate")
    row.url, row.cost_type, row.certificate = url, cost_type.value, certificate
    row.name, row.sha256 = _common_name(certificate), read.sha256.hex()
    row.valid_from, row.valid_to = read.not_before, read.not_after
    change.record(
        "Edit timestamping service",
        tsaId=tsa_id,
        tsaName=row.name,
        tsaUrl=url,
        tsaCertHash=row.sha256,
    )
    return True


def load_tsa(session: Session, tsa_id: int) -> ApprovedTsa:
    """The time-stamping service of that id; refused when there is none."""
    row = session.get(ApprovedTsa, tsa_id)
    if row is None:
        raise RegistryRefusal(
            Problem.TIMESTAMPING_SERVICE_NOT_FOUND, f"no time-stamping service {tsa_id}"
        )
    return row


def delete_tsa(change: Change, tsa_id: int) -> None:
    """No longer approve a time-stamping service."""
    row = load_tsa(change.session, tsa_id)
    change.session.delete(row)
    change.record("Delete timestamping service", tsaId=tsa_id, tsaName=row.name, tsaUrl=row.url)


def parse_profile(name: str) -> str:
    """The distributed name of a certificate profile, which may be given in its short form.

    >>> parse_profile("FiVRK")
    'ee.ria.xroad.common.certificateprofile.impl.FiVRKCertificateProfileInfoProvider'
    """
    short = name.strip().rpartition(".")[2].removesuffix(_PROFILE_ENDING)
    known = {p.value.removesuffix(_PROFILE_ENDING): p.class_name for p in CertificateProfile}
    if short not in known:
        raise RegistryRefusal(
            Problem.UNKNOWN_PROFILE,
            f"no certificate profile {name!r}; there are: {', '.join(sorted(known))}",
        )
    return known[short]


def _settings_columns(settings: CaSettings) -> dict[str, str | bool | None]:
    acme = settings.acme
    csr_format = settings.default_csr_format
    return {
        "certificate_profile_info": parse_profile(settings.certificate_profile_info),
        "authentication_only": settings.authentication_only,
        "default_csr_format": None if csr_format is None else csr_format.value,
        "acme_directory_url": check_url("the ACME directory", acme.directory_url) if acme else None,
        "acme_ip_address": acme.ip_address if acme else None,
        "acme_authentication_profile_id": acme.authentication_profile_id if acme else None,
        "acme_signing_profile_id": acme.signing_profile_id if acme else None,
    }


def _ca_certificate(certificate: bytes, *, is_top: bool) -> CaCertificate:
    read = _read(certificate, "a CA certificate")
    if not read.is_ca():
        raise RegistryRefusal(
            Problem.INVALID_CERTIFICATE, f"{read.subject_rfc2253!r} is not a CA certificate"
        )
    return CaCertificate(
        is_top=is_top,
        certificate=certificate,
        sha256=read.sha256.hex(),
        subject=read.subject_rfc2253[:1024],
        valid_from=read.not_before,
        valid_to=read.not_after,
    )


def _read(certificate: bytes, what: str) -> Certificate:
    try:
        return Certificate.from_pem_or_der(certificate)
    except MalformedInput as error:
        raise RegistryRefusal(
            Problem.INVALID_CERTIFICATE, f"not {what}: {error.message}"
        ) from error


def _common_name(certificate: bytes) -> str:
    read = Certificate.from_pem_or_der(certificate)
    return read.common_name or read.subject_rfc2253[:1024]
