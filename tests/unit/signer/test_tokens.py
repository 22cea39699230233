"""Rules of importing, and of what happens to keys, requests and certificates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from postroad.adapters.signer_protocol import (
    CertificateStatus,
    KeyRecord,
    KeyUsage,
    RequestRecord,
    TokenRecord,
)
from postroad.errors import ConfigurationError, FaultCode
from postroad.signer import tokens

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PRIVATE = ec.generate_private_key(ec.SECP256R1())
MEMBER = "TEST/GOV/1"


def key(usage: KeyUsage | None = None, key_id: str = "K1") -> KeyRecord:
    return KeyRecord(
        id=key_id,
        label="label",
        friendly_name="name",
        algorithm="EC-P256",
        public_key=tokens.public_key_der(PRIVATE.public_key()),
        usage=usage,
    )


def certificate(
    *,
    signing: bool = False,
    authentication: bool = False,
    client_auth: bool = False,
    with_usage: bool = True,
    private: ec.EllipticCurvePrivateKey = PRIVATE,
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if with_usage:
        usage = x509.KeyUsage(
            digital_signature=authentication,
            content_commitment=signing,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=not (signing or authentication),
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    if client_auth:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.DER)


def refused(der: bytes, token: TokenRecord, member: str | None) -> FaultCode:
    with pytest.raises(ConfigurationError) as caught:
        tokens.with_certificate(token, der, member=member)
    return caught.value.code


def test_signing_certificate_is_registered_and_inactive_after_import() -> None:
    imported = tokens.with_certificate(
        TokenRecord(keys=(key(),)), certificate(signing=True), member=MEMBER
    )
    assert imported.key.usage is KeyUsage.SIGNING
    assert imported.certificate.status is CertificateStatus.REGISTERED
    assert not imported.certificate.active
    assert imported.token.keys[0].certificates == (imported.certificate,)


def test_authentication_certificate_is_saved_and_inactive_after_import() -> None:
    imported = tokens.with_certificate(
        TokenRecord(keys=(key(),)), certificate(authentication=True), member=None
    )
    assert imported.key.usage is KeyUsage.AUTHENTICATION
    assert imported.certificate.status is CertificateStatus.SAVED
    assert not imported.certificate.active


def test_finds_the_key_by_the_public_key() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    decoy = KeyRecord(
        id="K0",
        label="",
        friendly_name="",
        algorithm="EC-P256",
        public_key=tokens.public_key_der(other.public_key()),
    )
    token = TokenRecord(keys=(decoy, key()))
    imported = tokens.with_certificate(token, certificate(signing=True), member=MEMBER)
    assert imported.key.id == "K1"
    assert imported.token.keys[0] == decoy


def test_refuses_certificate_for_both_usages() -> None:
    token = TokenRecord(keys=(key(),))
    both = certificate(signing=True, authentication=True)
    assert refused(both, token, MEMBER) is FaultCode.WRONG_CERT_USAGE
    both = certificate(signing=True, client_auth=True)
    assert refused(both, token, MEMBER) is FaultCode.WRONG_CERT_USAGE


def test_refuses_certificate_for_neither_usage() -> None:
    assert refused(certificate(), TokenRecord(keys=(key(),)), None) is FaultCode.WRONG_CERT_USAGE


def test_refuses_certificate_that_names_no_usage() -> None:
    bare = certificate(with_usage=False)
    assert refused(bare, TokenRecord(keys=(key(),)), None) is FaultCode.WRONG_CERT_USAGE


@pytest.mark.parametrize(
    ("usage", "signing", "member"),
    [(KeyUsage.AUTHENTICATION, True, MEMBER), (KeyUsage.SIGNING, False, None)],
)
def test_refuses_certificate_of_another_usage_than_its_key(
    usage: KeyUsage, signing: bool, member: str | None
) -> None:
    der = certificate(signing=signing, authentication=not signing)
    assert refused(der, TokenRecord(keys=(key(usage),)), member) is FaultCode.WRONG_CERT_USAGE


def test_refuses_certificate_of_a_foreign_key() -> None:
    foreign = certificate(signing=True, private=ec.generate_private_key(ec.SECP256R1()))
    assert refused(foreign, TokenRecord(keys=(key(),)), MEMBER) is FaultCode.KEY_NOT_FOUND


def test_refuses_the_same_certificate_twice() -> None:
    der = certificate(signing=True)
    token = tokens.with_certificate(TokenRecord(keys=(key(),)), der, member=MEMBER).token
    assert refused(der, token, MEMBER) is FaultCode.CERT_EXISTS


def test_refuses_bytes_that_are_no_certificate() -> None:
    assert refused(b"junk", TokenRecord(keys=(key(),)), None) is FaultCode.CERT_IMPORT_FAILED


def test_refuses_signing_certificate_without_member_and_the_reverse() -> None:
    token = TokenRecord(keys=(key(),))
    assert refused(certificate(signing=True), token, None) is FaultCode.CERT_IMPORT_FAILED
    assert refused(certificate(authentication=True), token, "A/B/C") is FaultCode.CERT_IMPORT_FAILED


def test_import_forgets_the_request_of_that_member_only() -> None:
    token = TokenRecord(keys=(key(),))
    for number, member in enumerate((MEMBER, "TEST/GOV/2")):
        request = RequestRecord(id=f"R{number}", subject=(("CN", "x"),), member=member)
        token = tokens.with_request(token, "K1", KeyUsage.SIGNING, request)
    imported = tokens.with_certificate(token, certificate(signing=True), member=MEMBER)
    assert [request.id for request in imported.key.requests] == ["R1"]


def test_first_request_fixes_the_usage_of_a_key() -> None:
    request = RequestRecord(id="R1", subject=(("CN", "x"),), member=MEMBER)
    token = tokens.with_request(TokenRecord(keys=(key(),)), "K1", KeyUsage.SIGNING, request)
    assert token.keys[0].usage is KeyUsage.SIGNING
    with pytest.raises(ConfigurationError) as caught:
        tokens.with_request(token, "K1", KeyUsage.AUTHENTICATION, request)
    assert caught.value.code is FaultCode.WRONG_CERT_USAGE


@pytest.mark.parametrize(
    ("usage", "member"), [(KeyUsage.SIGNING, None), (KeyUsage.AUTHENTICATION, MEMBER)]
)
def test_request_names_a_member_for_signing_only(usage: KeyUsage, member: str | None) -> None:
    request = RequestRecord(id="R1", subject=(("CN", "x"),), member=member)
    with pytest.raises(ConfigurationError) as caught:
        tokens.with_request(TokenRecord(keys=(key(),)), "K1", usage, request)
    assert caught.value.code is FaultCode.CSR_FAILED


def test_state_of_a_certificate_changes_only_as_told() -> None:
    token = tokens.with_certificate(
        TokenRecord(keys=(key(),)), certificate(authentication=True), member=None
    ).token
    digest = token.keys[0].certificates[0].hash
    token = tokens.with_certificate_state(token, digest.lower(), active=True)
    assert token.keys[0].certificates[0].active
    assert token.keys[0].certificates[0].status is CertificateStatus.SAVED
    token = tokens.with_certificate_state(token, digest, status=CertificateStatus.REGISTERED)
    assert token.keys[0].certificates[0].active
    token = tokens.without_certificate(token, digest)
    assert token.keys[0].certificates == ()


def test_unknown_things_are_not_found() -> None:
    token = TokenRecord(keys=(key(),))
    calls: dict[FaultCode, Callable[[], TokenRecord]] = {
        FaultCode.KEY_NOT_FOUND: lambda: tokens.without_key(token, "K2"),
        FaultCode.CERT_NOT_FOUND: lambda: tokens.without_certificate(token, "AB"),
        FaultCode.CSR_FAILED: lambda: tokens.without_request(token, "K1", "R9"),
    }
    for code, call in calls.items():
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert caught.value.code is code


def test_renames_a_key_or_the_token() -> None:
    token = TokenRecord(keys=(key(),))
    assert tokens.renamed(token, "K1", "new").keys[0].friendly_name == "new"
    assert tokens.renamed(token, "", "box").friendly_name == "box"
    assert tokens.without_key(token, "K1").keys == ()


@pytest.mark.parametrize("pin", ["Abcdefgh12", "abcdefgh1!", "ABC def 123"])
def test_pin_policy_accepts(pin: str) -> None:
    tokens.check_pin_policy(pin)


@pytest.mark.parametrize("pin", ["Abcdefg12", "abcdefghij1", "Abcdefgh1\u00e9", ""])
def test_pin_policy_refuses_without_repeating_the_pin(pin: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        tokens.check_pin_policy(pin)
    assert not pin or pin not in str(caught.value)
