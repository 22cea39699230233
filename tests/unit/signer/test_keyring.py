"""Which keys can be used, and what is durable when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_public_key,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from postroad.adapters.signer_protocol import (
    CertificateStatus,
    KeyAlgorithm,
    KeyRecord,
    KeyUsage,
    RequestArgument,
    TokenStatus,
)
from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, verify_signature
from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import CertificateStatus as OcspStatus
from postroad.errors import ConfigurationError, FaultCode
from postroad.signer import tokens
from postroad.signer.keyring import Keyring
from postroad.trustlab.authority import TrustLab

if TYPE_CHECKING:
    from pathlib import Path

PIN = "canary-pin-4711"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ISSUER = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    keyring = Keyring(tmp_path / "signer", tmp_path / "ocsp", scrypt_n=16)
    keyring.initialise(PIN)
    keyring.login(PIN)
    return keyring


def reopened(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "signer", tmp_path / "ocsp", scrypt_n=16)


def authentication_certificate(key: KeyRecord, not_before: datetime) -> bytes:
    public = load_der_public_key(key.public_key)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + timedelta(days=10))
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, False, False, False, False), True
        )
        .sign(ISSUER, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def usable(keyring: Keyring, not_before: datetime) -> KeyRecord:
    key = keyring.generate("auth", KeyAlgorithm.EC_P256, KeyUsage.AUTHENTICATION)
    record = keyring.import_certificate(
        authentication_certificate(key, not_before), member=None, status=None
    )
    keyring.set_certificate(record.hash, active=True, status=None)
    return tokens.find_key(keyring.record, key.id)


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_signature_verifies_for_every_kind_of_key(
    keyring: Keyring, algorithm: KeyAlgorithm
) -> None:
    key = keyring.generate("k", algorithm, KeyUsage.SIGNING)
    assert key.algorithm == algorithm.value
    public = load_der_public_key(key.public_key)
    for digest in (DigestAlgorithm.SHA256, DigestAlgorithm.SHA512):
        value = keyring.sign(key.id, digest.label, digest.digest(b"data"))
        verify_signature(
            public,  # the token makes RSA and EC keys only
            SignatureAlgorithm.for_key(public, digest),
            value,
            b"data",
            ecdsa_raw=True,
        )


def test_refuses_a_weak_or_mismatched_digest(keyring: Keyring) -> None:
    key = keyring.generate("k", KeyAlgorithm.EC_P256, KeyUsage.SIGNING)
    for label, size in (("SHA-1", 20), ("SHA-512", 32)):
        with pytest.raises(ConfigurationError) as caught:
            keyring.sign(key.id, label, bytes(size))
        assert caught.value.code is FaultCode.CANNOT_SIGN


def test_generated_key_survives_a_restart(keyring: Keyring, tmp_path: Path) -> None:
    key = keyring.generate("k", KeyAlgorithm.EC_P256, KeyUsage.SIGNING)
    again = reopened(tmp_path)
    assert again.record.keys == (key,)
    assert not again.info().available_keys
    again.login(PIN)
    assert again.info().available_keys == {key.id}


def test_nothing_signs_while_the_token_is_logged_out(keyring: Keyring) -> None:
    key = keyring.generate("k", KeyAlgorithm.EC_P256, KeyUsage.SIGNING)
    keyring.logout()
    with pytest.raises(ConfigurationError) as caught:
        keyring.sign(key.id, "SHA-256", bytes(32))
    assert caught.value.code is FaultCode.TOKEN_NOT_ACTIVE
    with pytest.raises(ConfigurationError) as caught:
        keyring.generate("k", KeyAlgorithm.EC_P256, None)
    assert caught.value.code is FaultCode.TOKEN_NOT_ACTIVE


def test_unknown_key_is_not_found(keyring: Keyring) -> None:
    with pytest.raises(ConfigurationError) as caught:
        keyring.sign("AABBCCDD", "SHA-256", bytes(32))
    assert caught.value.code is FaultCode.KEY_NOT_FOUND


def test_status_tells_what_the_pin_is_like(tmp_path: Path) -> None:
    keyring = reopened(tmp_path)
    assert keyring.info().status is TokenStatus.NOT_INITIALIZED
    with pytest.raises(ConfigurationError) as caught:
        keyring.generate("k", KeyAlgorithm.EC_P256, None)
    assert caught.value.code is FaultCode.TOKEN_NOT_INITIALIZED
    keyring.initialise(PIN)
    assert keyring.info().status is TokenStatus.OK
    with pytest.raises(ConfigurationError):
        keyring.login("wrong")
    assert keyring.info().status is TokenStatus.USER_PIN_INCORRECT
    keyring.login(PIN)
    assert keyring.info().status is TokenStatus.OK
    assert keyring.info().active


def test_key_file_without_a_record_is_adopted_without_usage(
    keyring: Keyring, tmp_path: Path
) -> None:
    key = keyring.generate("k", KeyAlgorithm.EC_P256, KeyUsage.SIGNING)
    (tmp_path / "signer/token.json").unlink()
    again = reopened(tmp_path)
    again.login(PIN)
    (adopted,) = again.record.keys
    assert (adopted.id, adopted.public_key, adopted.usage) == (key.id, key.public_key, None)
    assert reopened(tmp_path).record == again.record


def test_key_file_in_the_place_of_another_key_does_not_sign(
    keyring: Keyring, tmp_path: Path
) -> None:
    one = keyring.generate("1", KeyAlgorithm.EC_P256, KeyUsage.SIGNING)
    two = keyring.generate("2", KeyAlgorithm.EC_P256, KeyUsage.SIGNING)
    keys = tmp_path / "signer/keys"
    (keys / f"{one.id}.pem").replace(keys / f"{two.id}.pem")
    again = reopened(tmp_path)
    again.login(PIN)
    assert again.info().available_keys == frozenset()
    with pytest.raises(ConfigurationError) as caught:
        again.sign(two.id, "SHA-256", bytes(32))
    assert caught.value.code is FaultCode.KEY_NOT_FOUND


def test_deleted_key_stays_deleted(keyring: Keyring, tmp_path: Path) -> None:
    key = keyring.generate("k", KeyAlgorithm.EC_P256, KeyUsage.SIGNING)
    keyring.delete_key(key.id)
    again = reopened(tmp_path)
    again.login(PIN)
    assert again.record.keys == ()


@pytest.mark.parametrize("damaged", [b"{", b'{"friendly_name": "\xff"}'])
def test_damaged_record_is_told_and_not_overwritten(
    keyring: Keyring, tmp_path: Path, damaged: bytes
) -> None:
    path = tmp_path / "signer/token.json"
    keyring.rename("", "box")
    path.write_bytes(damaged)
    with pytest.raises(ConfigurationError) as caught:
        reopened(tmp_path)
    assert caught.value.code is FaultCode.TOKEN_NOT_AVAILABLE
    assert path.read_bytes() == damaged


def test_request_is_remembered_and_can_be_made_again(keyring: Keyring) -> None:
    key = keyring.generate("k", KeyAlgorithm.EC_P256, None)
    made = keyring.make_request(
        RequestArgument(
            key_id=key.id, usage=KeyUsage.SIGNING, subject=(("CN", "x"),), member="A/B/C"
        )
    )
    again = keyring.remake_request(key.id, made.id)
    one, two = (x509.load_der_x509_csr(der) for der in (made.der, again.der))
    assert one.subject == two.subject
    assert one.public_key() == two.public_key()
    keyring.delete_request(key.id, made.id)
    with pytest.raises(ConfigurationError):
        keyring.remake_request(key.id, made.id)


def test_impossible_request_is_not_remembered(keyring: Keyring) -> None:
    key = keyring.generate("k", KeyAlgorithm.EC_P256, None)
    with pytest.raises(ConfigurationError):
        keyring.make_request(
            RequestArgument(key_id=key.id, usage=KeyUsage.AUTHENTICATION, subject=())
        )
    assert keyring.record.keys == (key,)


def test_authentication_key_is_lent_with_its_certificate(keyring: Keyring) -> None:
    key = usable(keyring, NOW)
    lent = keyring.lend_authentication_key(NOW)
    private = load_pem_private_key(lent.private_key_pkcs8_pem, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert tokens.public_key_der(private.public_key()) == key.public_key
    assert lent.certificate_der == key.certificates[0].der
    assert "PRIVATE" not in repr(lent)


def test_signing_key_is_never_lent(keyring: Keyring) -> None:
    keyring.generate("k", KeyAlgorithm.EC_P256, KeyUsage.SIGNING)
    with pytest.raises(ConfigurationError) as caught:
        keyring.lend_authentication_key(NOW)
    assert caught.value.code is FaultCode.CERT_NOT_FOUND


def test_only_active_and_valid_certificates_are_lent(keyring: Keyring) -> None:
    key = usable(keyring, NOW)
    for at in (NOW - timedelta(days=1), NOW + timedelta(days=11)):
        with pytest.raises(ConfigurationError):
            keyring.lend_authentication_key(at)
    keyring.set_certificate(key.certificates[0].hash, active=False, status=None)
    with pytest.raises(ConfigurationError):
        keyring.lend_authentication_key(NOW)


def test_of_several_certificates_a_registered_good_one_and_then_the_newest_is_lent(
    keyring: Keyring, tmp_path: Path
) -> None:
    old, new = usable(keyring, NOW - timedelta(days=2)), usable(keyring, NOW)
    lab = TrustLab.create(at=NOW)
    (tmp_path / "ocsp").mkdir()

    def lent() -> bytes:
        return keyring.lend_authentication_key(NOW).certificate_der

    def answer(key: KeyRecord, status: OcspStatus) -> None:
        certificate = Certificate.from_der(key.certificates[0].der)
        response = lab.ocsp(certificate, status=status, issuer=lab.ca_certificate)
        (tmp_path / "ocsp" / f"{certificate.sha1.hex()}.ocsp").write_bytes(response)

    assert lent() == new.certificates[0].der
    answer(old, OcspStatus.GOOD)
    assert lent() == old.certificates[0].der
    answer(new, OcspStatus.GOOD)
    assert lent() == new.certificates[0].der
    answer(new, OcspStatus.REVOKED)
    assert lent() == old.certificates[0].der
    keyring.set_certificate(
        new.certificates[0].hash, active=None, status=CertificateStatus.REGISTERED
    )
    assert lent() == new.certificates[0].der


def test_metadata_holds_neither_pin_nor_private_key(keyring: Keyring, tmp_path: Path) -> None:
    usable(keyring, NOW)
    pem = keyring.lend_authentication_key(NOW).private_key_pkcs8_pem
    private = load_pem_private_key(pem, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    scalar = private.private_numbers().private_value.to_bytes(32, "big")
    for path in (tmp_path / "signer").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert PIN.encode() not in data
            assert scalar not in data
            assert scalar.hex().encode() not in data.lower()


def test_changed_pin_logs_out_and_opens_the_keys(keyring: Keyring) -> None:
    key = keyring.generate("k", KeyAlgorithm.EC_P256, KeyUsage.SIGNING)
    keyring.change_pin(PIN, "new")
    assert not keyring.is_active
    keyring.login("new")
    assert keyring.info().available_keys == {key.id}
