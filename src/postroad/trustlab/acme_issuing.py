"""Which certificate does the lab issue for an ACME order, and what does it refuse to?

The profile decides between signing and authentication. It is named, in this order, by the
account's external binding, by the prefix ``profile_id=ID`` of the User-Agent (how the reference
names it: AcmeProfileIdConnection), by ``profile`` of the order, or left to the key usage that the
request asks for.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509

from postroad.crypto.certificates import Certificate
from postroad.crypto.unreadable import UNREADABLE
from postroad.errors import MalformedInput, PostroadError
from postroad.trustlab.acme_jws import AcmeProblem, malformed
from postroad.trustlab.profiles import CertificateKind

if TYPE_CHECKING:
    from postroad.trustlab.acme_orders import Order
    from postroad.trustlab.acme_settings import AcmeSettings
    from postroad.trustlab.authority import TrustLab

_PROFILE_ID: Final = re.compile(r"profile_id=(\S+) ")
_KINDS: Final = {"auth": CertificateKind.AUTH, "sign": CertificateKind.SIGN}


def issue_for(
    order: Order,
    csr: bytes,
    lab: TrustLab,
    settings: AcmeSettings,
    *,
    user_agent: str,
    bound_profile: str | None,
    at: datetime,
) -> Certificate:
    """Issue the certificate of an order; ``AcmeProblem`` (``badCSR``) for another request."""
    request = _request(csr)
    names = _names(request)
    if names != {order.name}:
        raise _bad_csr(f"it is for {', '.join(sorted(names)) or 'nobody'}, not for {order.name}")
    named = _PROFILE_ID.match(user_agent)
    profile = bound_profile or (named and named[1]) or order.profile
    kind = _kind_asked_for(request) if profile is None else _KINDS.get(profile)
    if kind is None:
        raise AcmeProblem("invalidProfile", f"there is no profile {profile!r}")
    days = timedelta(days=settings.days)
    if order.not_after is not None:
        days = min(days, order.not_after - at)
    try:
        return lab.sign_request(csr, kind, at=at, lifetime=days)
    except MalformedInput as error:
        raise _bad_csr(error.message) from error


def renewal_name(certificate: Certificate) -> str:
    """How renewal information is asked for (RFC 9773, 4.1): key identifier and serial number."""
    try:
        extension = certificate.x509.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return ""
    serial = certificate.serial.to_bytes(certificate.serial.bit_length() // 8 + 1, "big")
    return f"{_base64url(extension.value.key_identifier or b'')}.{_base64url(serial)}"


def serial_of_renewal_name(name: str) -> int:
    """The serial number that stands in such a name; 0 for what is none."""
    text = name.rpartition(".")[2]
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
    except ValueError:
        return 0


def moment_of(value: object) -> datetime | None:
    """An RFC 3339 moment of a request."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise malformed("notAfter is not a moment") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def certificate_of(value: object) -> Certificate:
    """A certificate as ``revokeCert`` holds it."""
    try:
        text = str(value)
        return Certificate.from_der(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, PostroadError) as error:
        raise malformed("certificate is not one") from error


def _request(csr: bytes) -> x509.CertificateSigningRequest:
    try:
        return x509.load_der_x509_csr(csr)
    except UNREADABLE as error:
        raise _bad_csr("it can't be read") from error


def _names(request: x509.CertificateSigningRequest) -> set[str]:
    """The DNS names of a request: its alternative names, or its common name."""
    try:
        extension = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = extension.value.get_values_for_type(x509.DNSName)
        if len(found) != len(extension.value):
            raise _bad_csr("it holds alternative names that are no DNS names")
    except x509.ExtensionNotFound:
        common = request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        found = [str(name.value) for name in common]
    except UNREADABLE as error:
        raise _bad_csr("its extensions can't be read") from error
    return {name.lower() for name in found}


def _kind_asked_for(request: x509.CertificateSigningRequest) -> CertificateKind:
    try:
        usage = request.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return CertificateKind.AUTH
    return CertificateKind.SIGN if usage.content_commitment else CertificateKind.AUTH


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bad_csr(detail: str) -> AcmeProblem:
    return AcmeProblem("badCSR", f"the certificate request: {detail}")
