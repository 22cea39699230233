"""What is ordered: a first certificate by a profile's fields, or one more like the one there is?

Reference: AcmeClientWorker.renewCertificate: a new key of the same kind on the same token, the same
subject, the same alternative name (or else the common name, or the server's address).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from postroad.adapters.signer_protocol import KeyUsage
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.acme.offers import is_dns_name, ordered_name
from postroad.securityserver.acme.order_book import OrderRecord
from postroad.securityserver.certificates import fields_for, request_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from postroad.adapters.signer_protocol import CertificateRecord, KeyAlgorithm, KeyRecord
    from postroad.globalconf.indexes import ApprovedCertificate
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import SecurityServerId
    from postroad.securityserver.certificates import Applicant

_ALT_NAME = "subjectAltName"


def first_order(
    applicant: Applicant,
    ca_name: str,
    profile: str,
    values: Mapping[str, str],
    *,
    order_id: str,
    token: str,
    algorithm: KeyAlgorithm,
    at: datetime,
) -> OrderRecord:
    """An order for a new key; raises what ``request_for`` and ``ordered_name`` raise.

    Where the profile has room for an alternative name, it is the applicant's host name unless
    another one is given: nothing else of a signing certificate could be proven.
    """
    blank = {field.name for field in fields_for(applicant, profile) if not field.value}
    chosen = dict(values)
    if _ALT_NAME in blank and applicant.dns_name:
        chosen.setdefault(_ALT_NAME, applicant.dns_name)
    request = request_for("", applicant, profile, chosen)
    return OrderRecord(
        id=order_id,
        ca_name=ca_name,
        usage=request.usage,
        started=at,
        member=request.member,
        token=token,
        label=f"{request.usage.lower()}-{order_id}",
        algorithm=algorithm.value,
        subject=request.subject,
        subject_alt_name=request.subject_alt_name,
        profile=profile,
        name=ordered_name(request.subject, request.subject_alt_name),
    )


def renewing_order(
    key: KeyRecord,
    record: CertificateRecord,
    *,
    ca_name: str,
    token: str,
    globalconf: GlobalConfiguration,
    server: SecurityServerId,
    order_id: str,
    at: datetime,
) -> OrderRecord:
    """An order for what takes a certificate's place."""
    certificate = Certificate.from_der(record.der)
    if key.usage is None:
        raise ConfigurationError("the key has no usage", code=FaultCode.ACME_FAILED)
    issuer = _issuer(certificate, ca_name, globalconf)
    subject = tuple(
        (attribute.oid.dotted_string, str(attribute.value))
        for attribute in certificate.x509.subject
    )
    alt_name = _alt_name(certificate, key.usage, globalconf.address_of(server))
    return OrderRecord(
        id=order_id,
        ca_name=ca_name,
        usage=key.usage,
        started=at,
        member=record.member,
        token=token,
        label=f"{key.usage.lower()}-{order_id}",
        algorithm=key.algorithm,
        subject=subject,
        subject_alt_name=alt_name,
        profile=issuer.profile,
        name=ordered_name(subject, alt_name),
        replaces=record.hash,
    )


def _issuer(
    certificate: Certificate, ca_name: str, globalconf: GlobalConfiguration
) -> ApprovedCertificate:
    for entry in globalconf.issuers_of(certificate, globalconf.own_instance):
        if entry.ca_name == ca_name:
            return entry
    raise ConfigurationError(f"{ca_name!r} didn't issue it", code=FaultCode.ACME_FAILED)


def _alt_name(certificate: Certificate, usage: KeyUsage, address: str | None) -> str | None:
    try:
        extension = certificate.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
        if names:
            return str(names[0])
    except (x509.ExtensionNotFound, ValueError):
        pass
    common = certificate.common_name
    if usage is KeyUsage.AUTHENTICATION and common and is_dns_name(common):
        return common
    return address
