"""Rules of reading certificates and of telling what they're for."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from postroad.crypto.algorithms import SignatureAlgorithm
from postroad.crypto.certificates import MAX_CERTIFICATE_BYTES, Certificate
from postroad.crypto.names import build_name
from postroad.errors import FaultCode, MalformedInput
from postroad.identifiers import MemberId, SecurityServerId
from postroad.trustlab.authority import TrustLab

CERTS = Path(__file__).parents[2] / "data" / "reference" / "certs"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAB = TrustLab.create(at=NOW)
SIGNER = LAB.sign_certificate(MemberId("DEV", "GOV", "1")).certificate
SERVER = LAB.auth_certificate(SecurityServerId("DEV", "GOV", "1", "ss1")).certificate
BITS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def made(*extensions: x509.ExtensionType, country: str = "EE") -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = build_name([("C", country), ("CN", "test")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Certificate.from_der(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


def usage(*bits: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{bit: bit in bits for bit in BITS})


def test_reads_the_parts_of_a_reference_certificate() -> None:
    certificate = Certificate.from_pem_or_der((CERTS / "client.pem").read_bytes())
    assert certificate.subject_rfc2253 == "CN=client.example.org,OU=Client,O=Test,C=XR"
    assert certificate.issuer_rfc2253 == (
        "1.2.840.113549.1.9.1=#160b616161406262622e636363,CN=Cyber,OU=ITO,O=Cybernetica,C=EE"
    )
    assert certificate.serial == 4
    assert certificate.not_before == datetime(2020, 4, 24, 11, 10, 56, tzinfo=UTC)
    assert certificate.not_after == datetime(2030, 4, 22, 11, 10, 56, tzinfo=UTC)
    assert certificate.is_authentication()
    assert not certificate.is_signing()
    assert not certificate.is_ca()


def test_every_reference_certificate_reads_the_same_as_pem_and_der() -> None:
    files = [*CERTS.glob("*.pem"), *CERTS.glob("test_chain/*.pem")]
    read = 0
    for file in files:
        data = file.read_bytes()
        if b"TRUSTED" in data:  # a form of OpenSSL's own
            continue
        certificate = Certificate.from_pem_or_der(data)
        assert Certificate.from_der(certificate.der) == certificate
        assert Certificate.from_pem_or_der(certificate.pem) == certificate
        assert certificate.subject_der == certificate.x509.subject.public_bytes()
        read += 1
    assert read > 10


def test_takes_the_first_certificate_of_a_bundle() -> None:
    bundle = b"some text\n" + SIGNER.pem + SERVER.pem
    assert Certificate.from_pem_or_der(bundle) == SIGNER


def test_takes_pem_without_armour_and_der() -> None:
    assert Certificate.from_pem_or_der(base64.encodebytes(SIGNER.der)) == SIGNER
    assert Certificate.from_pem_or_der(SIGNER.der) == SIGNER


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30\x00",
        b"\x30\x82\xff\xff",
        b"junk!",
        SIGNER.der + b"\x00",
        SIGNER.der[:-1],
        b"-----BEGIN CERTIFICATE-----\nAAAA",
        b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----",
        b"A" * (2 * MAX_CERTIFICATE_BYTES + 1),
        b"\x30" * (MAX_CERTIFICATE_BYTES + 1),
    ],
    ids=[
        "nothing",
        "empty sequence",
        "length beyond the end",
        "junk",
        "a byte too many",
        "a byte too few",
        "pem without an end",
        "pem of no base64",
        "too long a pem",
        "too long a der",
    ],
)
def test_refuses_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        Certificate.from_pem_or_der(data)
    assert caught.value.code is FaultCode.INCORRECT_CERTIFICATE


def test_certificates_are_equal_by_their_bytes() -> None:
    again = Certificate(SIGNER.der)
    assert again == SIGNER
    assert hash(again) == hash(SIGNER)
    assert again != SERVER
    assert SIGNER.der != SIGNER


def test_hashes_are_those_of_the_der() -> None:
    assert SIGNER.sha256 == hashlib.sha256(SIGNER.der).digest()
    assert SIGNER.sha1 == hashlib.sha1(SIGNER.der).digest()


def test_key_hash_is_over_the_key_bits_alone() -> None:
    identifier = x509.SubjectKeyIdentifier.from_public_key(SIGNER.public_key)
    assert SIGNER.spki_sha1 == identifier.digest == SIGNER.subject_key_identifier
    assert made().subject_key_identifier is None


def test_only_the_nonrepudiation_bit_makes_a_signature_certificate() -> None:
    assert SIGNER.is_signing()
    assert made(usage("content_commitment", "digital_signature")).is_signing()
    assert not SERVER.is_signing()
    assert not made().is_signing()


@pytest.mark.parametrize("bit", ["digital_signature", "key_encipherment", "data_encipherment"])
def test_each_of_three_bits_makes_an_authentication_certificate(bit: str) -> None:
    assert made(usage(bit)).is_authentication()


def test_client_auth_usage_makes_an_authentication_certificate() -> None:
    client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    assert made(client).is_authentication()
    assert not made(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])).is_authentication()
    assert not made(usage("key_agreement")).is_authentication()
    assert not made().is_authentication()
    assert not SIGNER.is_authentication()


def test_an_authority_needs_basic_constraints_and_key_usage_must_not_deny_it() -> None:
    authority = x509.BasicConstraints(ca=True, path_length=None)
    assert LAB.ca_certificate.is_ca()
    assert made(authority).is_ca()
    assert not made(authority, usage("digital_signature")).is_ca()
    assert not made(x509.BasicConstraints(ca=False, path_length=None)).is_ca()
    assert not made(usage("key_cert_sign")).is_ca()


def test_finds_ocsp_addresses_in_order() -> None:
    method, issuer = x509.oid.AuthorityInformationAccessOID.OCSP, "http://ca.example/ca.der"
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(method, x509.UniformResourceIdentifier("http://a.example/")),
            x509.AccessDescription(
                x509.oid.AuthorityInformationAccessOID.CA_ISSUERS,
                x509.UniformResourceIdentifier(issuer),
            ),
            x509.AccessDescription(method, x509.UniformResourceIdentifier("http://b.example/")),
        ]
    )
    assert made(access).ocsp_urls == ("http://a.example/", "http://b.example/")
    assert SIGNER.ocsp_urls == ()


def test_validity_includes_both_ends() -> None:
    certificate = made()
    second = timedelta(seconds=1)
    assert certificate.is_valid_at(certificate.not_before)
    assert certificate.is_valid_at(certificate.not_after)
    assert not certificate.is_valid_at(certificate.not_before - second)
    assert not certificate.is_valid_at(certificate.not_after + second)


def test_self_signed_means_that_both_names_are_equal() -> None:
    assert LAB.root.certificate.is_self_signed
    assert not SIGNER.is_self_signed


def test_reads_subjects_longer_than_the_standard_allows_without_a_warning() -> None:
    certificate = made(country="DEVELOPMENT")
    assert certificate.subject_values("2.5.4.6") == ("DEVELOPMENT",)
    assert certificate.common_name == "test"


def test_key_of_another_kind_is_refused_when_it_is_asked_for() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = build_name([("CN", "edwards")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key()).not_valid_before(NOW)
    der = builder.not_valid_after(NOW + timedelta(1)).sign(key, None).public_bytes(Encoding.DER)
    certificate = Certificate.from_der(der)
    with pytest.raises(MalformedInput, match="neither RSA nor EC"):
        _ = certificate.public_key


def test_key_on_an_unknown_curve_is_refused_when_it_is_asked_for() -> None:
    p256 = bytes.fromhex("06082a8648ce3d030107")
    certificate = Certificate.from_der(SIGNER.der.replace(p256, p256[:-1] + b"\x03"))
    with pytest.raises(MalformedInput, match="cannot be read"):
        _ = certificate.public_key


def test_tells_the_algorithm_its_issuer_signed_with() -> None:
    assert SIGNER.signature_algorithm is SignatureAlgorithm.ECDSA_SHA256
    assert LAB.ca_certificate.issuer_der == LAB.root.certificate.subject_der


def test_key_identifier_is_found_behind_other_extensions() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key)
    found = made(usage("digital_signature"), identifier).subject_key_identifier
    assert found == identifier.digest


def test_names_critical_extensions_nobody_listed() -> None:
    assert SIGNER.unknown_critical_extensions(()) == ("2.5.29.15",)
    assert SIGNER.unknown_critical_extensions(("2.5.29.15",)) == ()


def test_says_who_it_is() -> None:
    assert repr(SIGNER) == f"<Certificate {SIGNER.subject_rfc2253} serial {SIGNER.serial:x}>"
    name_without = Certificate.from_pem_or_der((CERTS / "test_chain" / "ca_1.pem").read_bytes())
    assert name_without.common_name is None
