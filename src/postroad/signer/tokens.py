"""What may happen to a token's keys, requests and certificates?

Pure functions from one `TokenRecord` to the next; the keyring stores what they return. The rules of
import are those of the reference (`CertManager`, `ImportCertReqHandler`): a certificate finds its
key by the public key, its usage must be exactly one and must be the key's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from postroad.adapters.signer_protocol import (
    CertificateRecord,
    CertificateStatus,
    KeyRecord,
    KeyUsage,
    RenewalArgument,
    RequestRecord,
    TokenRecord,
)
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, PostroadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.crypto.algorithms import PublicKey

MIN_POLICY_LENGTH: Final = 10
MIN_POLICY_CLASSES: Final = 3


def public_key_der(public_key: PublicKey) -> bytes:
    """A public key as SubjectPublicKeyInfo, the form that keys are compared in."""
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def find_key(token: TokenRecord, key_id: str) -> KeyRecord:
    """The key of that id; `ConfigurationError` (`key_not_found`) if there is none."""
    for key in token.keys:
        if key.id == key_id:
            return key
    raise ConfigurationError("no such key", code=FaultCode.KEY_NOT_FOUND)


def find_certificate(
    token: TokenRecord, certificate_hash: str
) -> tuple[KeyRecord, CertificateRecord]:
    """The certificate of that SHA-256 (hex, any case); `ConfigurationError` if there is none."""
    for key in token.keys:
        for certificate in key.certificates:
            if certificate.hash == certificate_hash.upper():
                return key, certificate
    raise ConfigurationError("no such certificate", code=FaultCode.CERT_NOT_FOUND)


def with_key(token: TokenRecord, key: KeyRecord) -> TokenRecord:
    """Add a key at the end; the order of keys is the order in which they are chosen."""
    return msgspec.structs.replace(token, keys=(*token.keys, key))


def without_key(token: TokenRecord, key_id: str) -> TokenRecord:
    """Remove a key with its certificates and requests."""
    key = find_key(token, key_id)
    return msgspec.structs.replace(token, keys=tuple(other for other in token.keys if other != key))


def renamed(token: TokenRecord, key_id: str, name: str) -> TokenRecord:
    """Give a key (or the token, for an empty id) another friendly name."""
    if not key_id:
        return msgspec.structs.replace(token, friendly_name=name)
    return _with_changed_key(
        token, key_id, lambda key: msgspec.structs.replace(key, friendly_name=name)
    )


def with_request(
    token: TokenRecord, key_id: str, usage: KeyUsage, request: RequestRecord
) -> TokenRecord:
    """Remember a certificate request; it fixes the usage of a key that had none.

    Raises `ConfigurationError`: `wrong_cert_usage` for a key of the other usage, `csr_failed` for a
    signing request without a member.
    """

    def change(key: KeyRecord) -> KeyRecord:
        _check_usage(key, usage)
        if (usage is KeyUsage.SIGNING) != (request.member is not None):
            raise ConfigurationError(
                "a request for signing names a member, one for authentication does not",
                code=FaultCode.CSR_FAILED,
            )
        return msgspec.structs.replace(key, usage=usage, requests=(*key.requests, request))

    return _with_changed_key(token, key_id, change)


def find_request(token: TokenRecord, key_id: str, request_id: str) -> RequestRecord:
    """A request of a key; `ConfigurationError` (`csr_failed`) if there is none of that id."""
    for request in find_key(token, key_id).requests:
        if request.id == request_id:
            return request
    raise ConfigurationError("no such certificate request", code=FaultCode.CSR_FAILED)


def without_request(token: TokenRecord, key_id: str, request_id: str) -> TokenRecord:
    """Forget a certificate request."""
    request = find_request(token, key_id, request_id)

    def change(key: KeyRecord) -> KeyRecord:
        kept = tuple(other for other in key.requests if other.id != request.id)
        return msgspec.structs.replace(key, requests=kept)

    return _with_changed_key(token, key_id, change)


@dataclass(frozen=True, slots=True)
class Imported:
    """The token after an import, and which key the certificate belongs to."""

    token: TokenRecord
    key: KeyRecord
    certificate: CertificateRecord


def usage_of(certificate: Certificate) -> KeyUsage:
    """What a certificate is for; it must be exactly one thing.

    Raises `ConfigurationError`: `wrong_cert_usage` for both or neither, `cert_import_failed` when
    the certificate doesn't say.
    """
    try:
        authentication = certificate.is_authentication()
        signing = certificate.is_signing()
    except PostroadError as error:
        raise ConfigurationError(error.message, code=FaultCode.CERT_IMPORT_FAILED) from error
    if authentication == signing:
        kinds = "both authentication and signing" if signing else "neither"
        raise ConfigurationError(
            f"a certificate is for authentication or for signing; this one is for {kinds}",
            code=FaultCode.WRONG_CERT_USAGE,
        )
    return KeyUsage.SIGNING if signing else KeyUsage.AUTHENTICATION


def with_certificate(
    token: TokenRecord,
    der: bytes,
    *,
    member: str | None,
    status: CertificateStatus | None = None,
) -> Imported:
    """Import a certificate: find its key, check its usage, forget the request it answers.

    A certificate starts inactive: `registered` for signing, `saved` for authentication (the Central
    Server must hear of it first). Raises `ConfigurationError`: `cert_import_failed`,
    `wrong_cert_usage`, `key_not_found`, `cert_exists`.
    """
    certificate = _parse(der)
    usage = usage_of(certificate)
    if (usage is KeyUsage.SIGNING) != (member is not None):
        raise ConfigurationError(
            "a certificate for signing belongs to a member, one for authentication does not",
            code=FaultCode.CERT_IMPORT_FAILED,
        )
    key = _key_of(token, certificate)
    if any(existing.der == certificate.der for existing in key.certificates):
        raise ConfigurationError("this certificate is here already", code=FaultCode.CERT_EXISTS)
    _check_usage(key, usage)
    first = CertificateStatus.REGISTERED if member is not None else CertificateStatus.SAVED
    record = CertificateRecord(der=certificate.der, status=status or first, member=member)
    changed = msgspec.structs.replace(
        key,
        usage=usage,
        certificates=(*key.certificates, record),
        requests=tuple(request for request in key.requests if request.member != member),
    )
    return Imported(_with_changed_key(token, key.id, lambda _key: changed), changed, record)


def with_certificate_state(
    token: TokenRecord,
    certificate_hash: str,
    *,
    active: bool | None = None,
    status: CertificateStatus | None = None,
) -> TokenRecord:
    """Change whether a certificate is used and where it stands; None keeps what is."""

    def change(record: CertificateRecord) -> CertificateRecord:
        return msgspec.structs.replace(
            record,
            active=record.active if active is None else active,
            status=record.status if status is None else status,
        )

    return _with_changed_certificate(token, certificate_hash, change)


def with_renewal(token: TokenRecord, renewal: RenewalArgument) -> TokenRecord:
    """Remember how far the renewal of a certificate is."""

    def change(record: CertificateRecord) -> CertificateRecord:
        return msgspec.structs.replace(
            record,
            renewed_by=renewal.renewed_by,
            renewal_error=renewal.renewal_error,
            next_renewal=renewal.next_renewal,
        )

    return _with_changed_certificate(token, renewal.hash, change)


def _with_changed_certificate(
    token: TokenRecord,
    certificate_hash: str,
    change: Callable[[CertificateRecord], CertificateRecord],
) -> TokenRecord:
    key, certificate = find_certificate(token, certificate_hash)

    def change_key(record: KeyRecord) -> KeyRecord:
        return msgspec.structs.replace(
            record,
            certificates=tuple(
                change(other) if other.der == certificate.der else other
                for other in record.certificates
            ),
        )

    return _with_changed_key(token, key.id, change_key)


def without_certificate(token: TokenRecord, certificate_hash: str) -> TokenRecord:
    """Delete a certificate; its key stays."""
    key, certificate = find_certificate(token, certificate_hash)

    def change(record: KeyRecord) -> KeyRecord:
        kept = tuple(other for other in record.certificates if other.der != certificate.der)
        return msgspec.structs.replace(record, certificates=kept)

    return _with_changed_key(token, key.id, change)


def check_pin_policy(pin: str) -> None:
    """The reference's optional policy: 10 characters of printable ASCII, 3 of 4 classes.

    Raises `ConfigurationError` that tells the rule and nothing of the PIN.
    """
    printable = all(" " <= character <= "~" for character in pin)
    classes = sum(
        (
            any(character.isupper() for character in pin),
            any(character.islower() for character in pin),
            any(character.isdigit() for character in pin),
            any(not character.isalnum() for character in pin),
        )
    )
    if not printable or len(pin) < MIN_POLICY_LENGTH or classes < MIN_POLICY_CLASSES:
        raise ConfigurationError(
            f"the PIN policy asks for at least {MIN_POLICY_LENGTH} printable ASCII characters "
            f"of at least {MIN_POLICY_CLASSES} kinds: upper case, lower case, digits, others",
            code=FaultCode.LOGIN_FAILED,
        )


def _parse(der: bytes) -> Certificate:
    try:
        return Certificate.from_pem_or_der(der)
    except PostroadError as error:
        raise ConfigurationError(
            f"not a certificate: {error.message}", code=FaultCode.CERT_IMPORT_FAILED
        ) from error


def _key_of(token: TokenRecord, certificate: Certificate) -> KeyRecord:
    try:
        wanted = public_key_der(certificate.public_key)
    except PostroadError as error:
        raise ConfigurationError(error.message, code=FaultCode.CERT_IMPORT_FAILED) from error
    for key in token.keys:
        if key.public_key == wanted:
            return key
    raise ConfigurationError(
        "no key of this token belongs to the certificate", code=FaultCode.KEY_NOT_FOUND
    )


def _check_usage(key: KeyRecord, usage: KeyUsage) -> None:
    if key.usage not in {None, usage}:
        raise ConfigurationError(
            f"the key {key.friendly_name!r} is for {key.usage}, not for {usage}",
            code=FaultCode.WRONG_CERT_USAGE,
        )


def _with_changed_key(
    token: TokenRecord, key_id: str, change: Callable[[KeyRecord], KeyRecord]
) -> TokenRecord:
    changed = change(find_key(token, key_id))
    keys = tuple(changed if key.id == key_id else key for key in token.keys)
    return msgspec.structs.replace(token, keys=keys)
