"""Rules of reading certificate requests and of a certificate's validity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from postroad.crypto.names import build_name
from postroad.errors import FaultCode, MalformedInput
from postroad.identifiers import MemberId
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.issuing import MAX_REQUEST_BYTES, KeyKind, read_request

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def request(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(build_name([("CN", "x")]))
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.DER)


GOOD = request(KeyKind.EC_P256.generate())


@pytest.mark.parametrize("keys", KeyKind)
def test_every_kind_of_key_is_made_and_accepted(keys: KeyKind) -> None:
    key = keys.generate()
    subject, public, alt_name = read_request(request(key))
    assert public == key.public_key()
    assert subject == build_name([("CN", "x")])
    assert alt_name is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be used"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nx", "cannot be used"),
        (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "signature does not verify"),
        (b"\x30" * (MAX_REQUEST_BYTES + 1), "too many"),
        (request(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        (request(ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
        (request(ed25519.Ed25519PrivateKey.generate()), "neither RSA nor EC"),
    ],
    ids=["empty", "half pem", "changed", "large", "small key", "foreign curve", "edwards"],
)
def test_refuses_a_request_it_should_not_sign(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedInput, match=reason) as caught:
        read_request(data)
    assert caught.value.code is FaultCode.CSR_FAILED


def test_validity_ends_so_many_days_after_the_making() -> None:
    lab = TrustLab.create(at=NOW)
    certificate = lab.sign_certificate(MemberId("DEV", "GOV", "1"), days=10).certificate
    assert certificate.not_after == NOW + timedelta(days=10)
    assert certificate.not_before == NOW - timedelta(days=1)
    assert lab.ca_certificate.is_valid_at(certificate.not_before)
    assert lab.ca_certificate.is_valid_at(certificate.not_after)
