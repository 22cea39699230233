"""What does a certificate say: names, key, validity, usage?

:class:`Certificate` wraps one parsed X.509 certificate (RFC 5280). It is a value: equal when the
DER bytes are equal, safe to keep in sets and caches. What a certificate *proves* is judged in
``chains`` and ``ocsp``; which member it names in ``profiles``. Roles: reference ``CertUtils``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import warnings
from datetime import UTC
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

import asn1crypto.x509
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import BasicConstraints, KeyUsage
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from postroad.crypto.identified import signature_algorithm
from postroad.crypto.names import NameKey, name_key, name_text, name_values
from postroad.crypto.unreadable import UNREADABLE
from postroad.errors import FaultCode, MalformedInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.crypto.algorithms import PublicKey, SignatureAlgorithm

__all__ = ["MAX_CERTIFICATE_BYTES", "Certificate", "NameKey"]

MAX_CERTIFICATE_BYTES: Final = 32 * 1024
"""No certificate of the ecosystem comes near this; larger input is refused unread."""

_PEM_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_PEM_END: Final = b"-----END CERTIFICATE-----"


class Certificate:
    """One X.509 certificate, checked to be readable as a whole when it's made.

    Make it with :meth:`from_der` or :meth:`from_pem_or_der`; both raise ``MalformedInput``
    (``incorrect_certificate``) for anything that isn't a certificate.
    """

    def __init__(self, der: bytes) -> None:
        if len(der) > MAX_CERTIFICATE_BYTES:
            raise _malformed(f"certificate of {len(der)} bytes is larger than any real one")
        self._der = bytes(der)
        try:
            with warnings.catch_warnings():
                # Authorities do put long country names or odd serials into certificates.
                warnings.simplefilter("ignore")
                parsed = x509.load_der_x509_certificate(self._der)
                # Both libraries read lazily: touch every part now, so that nothing fails later.
                self._extensions = parsed.extensions
                self._serial = parsed.serial_number
                self._not_before = parsed.not_valid_before_utc.astimezone(UTC)
                self._not_after = parsed.not_valid_after_utc.astimezone(UTC)
            loaded = asn1crypto.x509.Certificate.load(self._der)
            names = loaded["tbs_certificate"]
            self._subject, self._issuer = names["subject"], names["issuer"]
            self._subject_key = name_key(self._subject)
            self._issuer_key = name_key(self._issuer)
            self._algorithm = loaded["signature_algorithm"]
            self._spki_sha1 = bytes(loaded.public_key.sha1)
        except UNREADABLE as error:
            raise _malformed(f"not a readable X.509 certificate: {error}") from error
        self._x509 = parsed

    @classmethod
    def from_der(cls, der: bytes) -> Certificate:
        """Parse DER bytes; the latest results are remembered."""
        return _remembered(bytes(der))

    @classmethod
    def from_pem_or_der(cls, data: bytes) -> Certificate:
        """Parse PEM (the first certificate of a bundle), DER, or PEM without its armour."""
        start = data.find(_PEM_BEGIN)
        if start >= 0:
            end = data.find(_PEM_END, start)
            if end < 0:
                raise _malformed("PEM certificate has no end line")
            return cls.from_der(_decode_base64(data[start + len(_PEM_BEGIN) : end]))
        if data[:1] == b"\x30":
            return cls.from_der(data)
        return cls.from_der(_decode_base64(data))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self._der == other._der

    def __hash__(self) -> int:
        return hash(self._der)

    def __repr__(self) -> str:
        return f"<Certificate {self.subject_rfc2253} serial {self.serial:x}>"

    @property
    def der(self) -> bytes:
        """The certificate as it was read."""
        return self._der

    @cached_property
    def pem(self) -> bytes:
        """The certificate as PEM text."""
        return self._x509.public_bytes(Encoding.PEM)

    @property
    def x509(self) -> x509.Certificate:
        """The parsed form of the ``cryptography`` library."""
        return self._x509

    @cached_property
    def public_key(self) -> PublicKey:
        """The RSA or EC key; ``MalformedInput`` for any other kind."""
        try:
            key = self._x509.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise _malformed(f"the key of {self!r} cannot be read: {error}") from error
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise _malformed(f"the key of {self!r} is neither RSA nor EC")
        return key

    @cached_property
    def signature_algorithm(self) -> SignatureAlgorithm:
        """The algorithm the issuer signed with; ``MalformedInput`` for one we don't know."""
        return signature_algorithm(self._algorithm)

    @cached_property
    def subject_rfc2253(self) -> str:
        """The subject as text (RFC 2253), as signatures quote it."""
        return name_text(self._subject)

    @cached_property
    def issuer_rfc2253(self) -> str:
        """The issuer as text (RFC 2253), as signatures quote it (``X509IssuerName``)."""
        return name_text(self._issuer)

    @property
    def subject_der(self) -> bytes:
        """The subject as its DER bytes. To compare names use :attr:`subject_key`."""
        return bytes(self._subject.dump())

    @property
    def issuer_der(self) -> bytes:
        """The issuer as its DER bytes. To compare names use :attr:`issuer_key`."""
        return bytes(self._issuer.dump())

    @property
    def subject_key(self) -> NameKey:
        """The subject in the form that equal names share, whatever their case and encoding."""
        return self._subject_key

    @property
    def issuer_key(self) -> NameKey:
        """The issuer in the form that equal names share; compare with ``subject_key``."""
        return self._issuer_key

    @property
    def serial(self) -> int:
        """The serial number."""
        return self._serial

    @property
    def not_before(self) -> datetime:
        """First moment of validity, UTC."""
        return self._not_before

    @property
    def not_after(self) -> datetime:
        """Last moment of validity, UTC."""
        return self._not_after

    def is_valid_at(self, at: datetime) -> bool:
        """Whether ``at`` lies within the validity, both ends included."""
        return self._not_before <= at <= self._not_after

    @cached_property
    def sha1(self) -> bytes:
        """SHA-1 of the DER: how OCSP caches and port 5577 name a certificate. Not a proof."""
        return hashlib.sha1(self._der, usedforsecurity=False).digest()

    @cached_property
    def sha256(self) -> bytes:
        """SHA-256 of the DER."""
        return hashlib.sha256(self._der).digest()

    @property
    def spki_sha1(self) -> bytes:
        """SHA-1 of the key bits inside SubjectPublicKeyInfo: OCSP's key hash (RFC 6960 4.2.1)."""
        return self._spki_sha1

    @cached_property
    def subject_key_identifier(self) -> bytes | None:
        """The subject key identifier, if the certificate states one."""
        for extension in self._extensions:
            if isinstance(extension.value, x509.SubjectKeyIdentifier):
                return extension.value.digest
        return None

    @property
    def is_self_signed(self) -> bool:
        """Whether subject and issuer are the same name. The signature isn't checked here."""
        return self.subject_key == self.issuer_key

    @cached_property
    def key_usage(self) -> KeyUsage | None:
        """The key usage extension, if there is one."""
        for extension in self._extensions:
            if isinstance(extension.value, KeyUsage):
                return extension.value
        return None

    @cached_property
    def extended_key_usage(self) -> frozenset[str]:
        """Dotted object identifiers of the extended key usages; empty if not stated."""
        for extension in self._extensions:
            if isinstance(extension.value, x509.ExtendedKeyUsage):
                return frozenset(usage.dotted_string for usage in extension.value)
        return frozenset()

    @cached_property
    def basic_constraints(self) -> BasicConstraints | None:
        """The basic constraints extension, if there is one."""
        for extension in self._extensions:
            if isinstance(extension.value, BasicConstraints):
                return extension.value
        return None

    def is_authentication(self) -> bool:
        """Whether it may authenticate a security server.

        True for extended key usage clientAuth, or key usage digitalSignature, keyEncipherment or
        dataEncipherment. A certificate without either extension is no authentication certificate.
        """
        if ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string in self.extended_key_usage:
            return True
        usage = self.key_usage
        return usage is not None and (
            usage.digital_signature or usage.key_encipherment or usage.data_encipherment
        )

    def is_signing(self) -> bool:
        """Whether it may sign messages: key usage nonRepudiation is stated."""
        return self.key_usage is not None and self.key_usage.content_commitment

    def is_ca(self) -> bool:
        """Whether it may issue certificates: constraints say so, key usage doesn't deny it."""
        constraints = self.basic_constraints
        if constraints is None or not constraints.ca:
            return False
        return self.key_usage is None or self.key_usage.key_cert_sign

    @cached_property
    def ocsp_urls(self) -> tuple[str, ...]:
        """Addresses of OCSP responders that the certificate names (authority information)."""
        urls: list[str] = []
        for extension in self._extensions:
            if isinstance(extension.value, x509.AuthorityInformationAccess):
                urls += [
                    access.access_location.value
                    for access in extension.value
                    if access.access_method == AuthorityInformationAccessOID.OCSP
                    and isinstance(access.access_location, x509.UniformResourceIdentifier)
                ]
        return tuple(urls)

    def unknown_critical_extensions(self, known: Sequence[str]) -> tuple[str, ...]:
        """Dotted identifiers of critical extensions that aren't in ``known``."""
        return tuple(
            extension.oid.dotted_string
            for extension in self._extensions
            if extension.critical and extension.oid.dotted_string not in known
        )

    def subject_values(self, oid: str) -> tuple[str, ...]:
        """Every value of one attribute type in the subject, in order of appearance."""
        return name_values(self._subject, oid)

    @property
    def common_name(self) -> str | None:
        """The first common name of the subject, if there is one."""
        values = self.subject_values("2.5.4.3")
        return values[0] if values else None


@lru_cache(maxsize=512)
def _remembered(der: bytes) -> Certificate:
    return Certificate(der)


def _malformed(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INCORRECT_CERTIFICATE)


def _decode_base64(text: bytes) -> bytes:
    if len(text) > 2 * MAX_CERTIFICATE_BYTES:
        raise _malformed(f"certificate text of {len(text)} bytes is larger than any real one")
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        raise _malformed("certificate is neither DER nor PEM") from None
