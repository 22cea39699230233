"""How do a server's own certificates come into use: request, import, activation?

The signer keeps keys and certificates and checks what it can by itself (key, usage); what needs the
global configuration is checked here, before it hears of it. Steps as in the reference
(TokenCertificateService, ImportCertReqHandler): an approved authority issued the certificate, a
signing certificate names a member that this server serves, and nothing is activated without a good
OCSP response.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.adapters.signer_protocol import (
    CertificateRecord,
    KeyUsage,
    RequestArgument,
)
from postroad.crypto.certificates import Certificate
from postroad.crypto.chains import is_issued_by, verify_chain
from postroad.crypto.ocsp import require_good
from postroad.crypto.profiles import (
    auth_fields,
    fill_fields,
    member_of_sign_certificate,
    sign_fields,
)
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.securityserver.ocsp_fetching import OcspClient, targets_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from postroad.adapters.signer_client import SignerClient
    from postroad.crypto.profiles import SubjectField
    from postroad.globalconf.indexes import ApprovedCertificate
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import MemberId, SecurityServerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """For whom a certificate is requested: a member for signing, the server for authentication."""

    server: SecurityServerId
    member: MemberId | None
    """None for authentication."""
    name: str
    """The member's name (for authentication, the owner's), as profiles want it."""
    dns_name: str = ""


def fields_for(applicant: Applicant, profile: str) -> tuple[SubjectField, ...]:
    """The subject fields that a profile wants, with what is known filled in."""
    if applicant.member is None:
        return auth_fields(
            profile,
            server=applicant.server,
            member_name=applicant.name,
            dns_name=applicant.dns_name,
        )
    return sign_fields(
        profile, member=applicant.member, server=applicant.server, member_name=applicant.name
    )


def request_for(
    key_id: str, applicant: Applicant, profile: str, values: Mapping[str, str]
) -> RequestArgument:
    """What the signer needs to make a certificate request by a profile.

    `values` are for the profile's editable fields. Raises `ConfigurationError` for an unknown
    profile, a field that can't be set or was left blank.
    """
    member = applicant.member
    subject, alt_name = fill_fields(fields_for(applicant, profile), values)
    return RequestArgument(
        key_id=key_id,
        usage=KeyUsage.AUTHENTICATION if member is None else KeyUsage.SIGNING,
        subject=tuple(subject),
        member=None if member is None else member.encoded(),
        subject_alt_name=alt_name,
        profile=profile,
    )


def profile_of(globalconf: GlobalConfiguration, ca_name: str | None, usage: KeyUsage) -> str:
    """The certificate profile of an approved authority; of the only one when none is named.

    Raises `ConfigurationError` that lists the authorities when the choice is not clear.
    """
    approved = {
        entry.ca_name: entry.profile
        for entry in globalconf.approved_certificates(globalconf.own_instance)
        if usage is KeyUsage.AUTHENTICATION or not entry.authentication_only
    }
    if ca_name is None and len(approved) == 1:
        return next(iter(approved.values()))
    if ca_name is not None and ca_name in approved:
        return approved[ca_name]
    names = ", ".join(repr(name) for name in sorted(approved)) or "none"
    raise ConfigurationError(
        f"name one of the approved certification services: {names}", code=FaultCode.CSR_FAILED
    )


async def import_certificate(
    signer: SignerClient,
    data: bytes,
    *,
    globalconf: GlobalConfiguration,
    local_members: Collection[MemberId],
    at: datetime,
) -> CertificateRecord:
    """Import a certificate (PEM or DER) for one of the signer's keys; it starts inactive.

    Raises `ConfigurationError`: `global_conf_outdated`, `cert_import_failed` (not issued by an
    approved authority, or for a member that is no client here), and what the signer refuses:
    `key_not_found`, `wrong_cert_usage`, `cert_exists`.
    """
    globalconf.ensure_valid(at)
    try:
        certificate = Certificate.from_pem_or_der(data)
        member: MemberId | None = None
        issuer = _approved_issuer(certificate, globalconf, at)
        if certificate.is_signing() and not certificate.is_authentication():
            member = _member_of(certificate, issuer, globalconf.own_instance)
    except PostroadError as error:
        raise ConfigurationError(error.message, code=FaultCode.CERT_IMPORT_FAILED) from error
    if member is not None and member not in local_members:
        raise ConfigurationError(
            f"the certificate is for {member}, which is no client of this server",
            code=FaultCode.CERT_IMPORT_FAILED,
        )
    return await signer.import_certificate(
        certificate.der, member=None if member is None else member.encoded()
    )


async def activate_certificate(
    signer: SignerClient,
    certificate_hash: str,
    *,
    globalconf: GlobalConfiguration,
    ocsp: OcspClient,
    at: datetime,
) -> None:
    """Use a certificate from now on, after its OCSP responses were fetched and found good.

    Raises `TrustError` (`cert_validation`) for one that is not good, `UnavailablePeer` when no
    responder answers, `ConfigurationError` (`cert_not_found`) for an unknown hash.
    """
    globalconf.ensure_valid(at)
    certificate = await find_certificate(signer, certificate_hash)
    if not certificate.is_valid_at(at):
        raise ConfigurationError("the certificate is not valid now", code=FaultCode.CERT_VALIDATION)
    for target in targets_of(certificate, globalconf):
        fetched = await ocsp.fetch(target, globalconf)
        require_good(fetched.verified)
    await signer.set_certificate(certificate.sha256.hex(), active=True)


async def find_certificate(signer: SignerClient, certificate_hash: str) -> Certificate:
    """The signer's certificate whose SHA-256 begins with `certificate_hash` (8 digits at least)."""
    wanted = certificate_hash.replace(":", "").upper()
    found = [
        Certificate.from_der(key.der)
        for key in await signer.certificates()
        if Certificate.from_der(key.der).sha256.hex().upper().startswith(wanted)
    ]
    if len(found) != 1 or len(wanted) < 8:
        raise ConfigurationError(
            "no such certificate" if not found else "the hash is too short to name one certificate",
            code=FaultCode.CERT_NOT_FOUND,
        )
    return found[0]


def _approved_issuer(
    certificate: Certificate, globalconf: GlobalConfiguration, at: datetime
) -> ApprovedCertificate:
    instance = globalconf.own_instance
    approved = globalconf.approved_certificates(instance)
    verify_chain(certificate, [entry.certificate for entry in approved], at=at)
    for entry in globalconf.issuers_of(certificate, instance):
        if is_issued_by(certificate, entry.certificate):
            return entry
    raise ConfigurationError("no approved certification service issued the certificate")


def _member_of(certificate: Certificate, issuer: ApprovedCertificate, instance: str) -> MemberId:
    if issuer.authentication_only:
        raise ConfigurationError(f"{issuer.ca_name} may issue authentication certificates only")
    return member_of_sign_certificate(certificate, issuer.profile, instance)
