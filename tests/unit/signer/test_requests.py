"""Certificate requests."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from postroad.adapters.signer_protocol import KeyUsage
from postroad.errors import ConfigurationError, FaultCode
from postroad.signer.requests import build_request

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def parsed(der: bytes) -> x509.CertificateSigningRequest:
    return x509.load_der_x509_csr(der)


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY])
def test_request_is_signed_by_its_own_key(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> None:
    request = parsed(build_request(key, KeyUsage.SIGNING, [("C", "FI"), ("CN", "1")]))
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()


@pytest.mark.filterwarnings("ignore:Attribute's length must be")
def test_subject_keeps_the_order_and_the_values_of_the_profile() -> None:
    # The oldest profile puts the instance, which may be longer than two letters, into the country.
    subject = [("C", "DEMO"), ("businessCategory", "GOV"), ("serialNumber", "7"), ("2.5.4.97", "v")]
    request = parsed(build_request(EC_KEY, KeyUsage.SIGNING, subject))
    assert [(attribute.oid, attribute.value) for attribute in request.subject] == [
        (NameOID.COUNTRY_NAME, "DEMO"),
        (NameOID.BUSINESS_CATEGORY, "GOV"),
        (NameOID.SERIAL_NUMBER, "7"),
        (NameOID.ORGANIZATION_IDENTIFIER, "v"),
    ]


def test_signing_request_asks_for_non_repudiation_only() -> None:
    request = parsed(build_request(EC_KEY, KeyUsage.SIGNING, [("CN", "x")]))
    usage = request.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.value.content_commitment
    assert not usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not usage.critical


def test_authentication_request_asks_for_the_reference_usages() -> None:
    request = parsed(build_request(EC_KEY, KeyUsage.AUTHENTICATION, [("CN", "x")]))
    usage = request.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment
    assert usage.data_encipherment
    assert not usage.content_commitment


@pytest.mark.parametrize("name", ["ss1.example.org", "192.0.2.1"])
def test_subject_alternative_name_is_a_host_or_an_address(name: str) -> None:
    der = build_request(EC_KEY, KeyUsage.AUTHENTICATION, [("CN", "x")], subject_alt_name=name)
    names = parsed(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(entry.value) for entry in names] == [name]


@pytest.mark.parametrize(
    "subject",
    [[], [("CN", " ")], [("nonsense", "x")], [("CN", "x")] * 31],
)
def test_refuses_a_subject_that_makes_no_name(subject: list[tuple[str, str]]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_request(EC_KEY, KeyUsage.SIGNING, subject)
    assert caught.value.code is FaultCode.CSR_FAILED
