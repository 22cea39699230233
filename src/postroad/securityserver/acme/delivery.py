"""Is a certificate that came by ACME the one that was ordered?

The certification service is trusted to name members, not to be free of mistakes: a certificate for
another of our keys, of the other usage or for another member would be imported as well as any, and
take that one's place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from postroad.adapters.signer_protocol import KeyUsage
from postroad.crypto.chains import is_issued_by
from postroad.crypto.profiles import member_of_sign_certificate
from postroad.crypto.unreadable import UNREADABLE
from postroad.errors import FaultCode, TrustError

if TYPE_CHECKING:
    from postroad.crypto.certificates import Certificate
    from postroad.globalconf.indexes import ApprovedCertificate
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.securityserver.acme.order_book import OrderRecord


def verify_delivery(
    certificate: Certificate, csr: bytes, record: OrderRecord, globalconf: GlobalConfiguration
) -> None:
    """Refuse what was not ordered: ``TrustError`` (``cert_import_failed``) with the reason.

    The chain, validity and everything else is checked at the import.
    """
    request = x509.load_der_x509_csr(csr)
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key.public_bytes(*spki) != request.public_key().public_bytes(*spki):
        raise _refused("it is for another key")
    signing = record.usage is KeyUsage.SIGNING
    if certificate.is_signing() != signing or certificate.is_authentication() == signing:
        raise _refused(f"it is not for {record.usage.lower()}")
    issuer = next(
        (
            entry
            for entry in globalconf.issuers_of(certificate, globalconf.own_instance)
            if entry.ca_name == record.ca_name and is_issued_by(certificate, entry.certificate)
        ),
        None,
    )
    if issuer is None:
        raise _refused(f"it is not of {record.ca_name!r}")
    if signing:
        _require_member(certificate, issuer, record, globalconf.own_instance)
    names = _dns_names(certificate)
    if names and record.name.lower() not in names:
        raise _refused(f"it is for the host {', '.join(sorted(names))[:200]}")


def _require_member(
    certificate: Certificate, issuer: ApprovedCertificate, record: OrderRecord, instance: str
) -> None:
    member = member_of_sign_certificate(certificate, issuer.profile, instance)
    if member.encoded() != record.member:
        raise _refused(f"it is for {member}")


def _dns_names(certificate: Certificate) -> set[str]:
    try:
        extension = certificate.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    except UNREADABLE as error:
        raise _refused("its extensions can't be read") from error
    return {name.lower() for name in extension.value.get_values_for_type(x509.DNSName)}


def _refused(reason: str) -> TrustError:
    return TrustError(
        f"the certificate that came is not the one ordered: {reason}",
        code=FaultCode.CERT_IMPORT_FAILED,
    )
