"""Rules of algorithm names, policy, and signature verification."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from postroad.crypto.algorithms import (
    DigestAlgorithm,
    PrivateKey,
    SignatureAlgorithm,
    check_key_strength,
    curve_size,
    ecdsa_der_to_raw,
    ecdsa_raw_to_der,
    sign_data,
    sign_digest,
    verify_signature,
)
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, TrustError

RSA_KEY = rsa.generate_private_key(65537, 2048)
SMALL_RSA_KEY = rsa.generate_private_key(65537, 1024)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
CURVES = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]
DATA = b"what is signed"


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_digest_equals_that_of_the_standard_library(algorithm: DigestAlgorithm) -> None:
    expected = hashlib.new(algorithm.label.replace("-", ""), DATA).digest()
    running = algorithm.new()
    running.update(DATA[:4])
    running.update(DATA[4:])
    assert algorithm.digest(DATA) == running.digest() == expected
    assert algorithm.size == len(expected) == algorithm.primitive.digest_size


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_digest_is_found_by_each_of_its_names(algorithm: DigestAlgorithm) -> None:
    assert DigestAlgorithm.by_uri(algorithm.uri) is algorithm
    assert DigestAlgorithm.by_name(algorithm.label.lower()) is algorithm


@pytest.mark.parametrize("label", ["MD5", "SHA512", "", "\u017fha-512", "SHA-512 "])
def test_refuses_unknown_digest_labels(label: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        DigestAlgorithm.by_name(label)
    assert caught.value.code is FaultCode.CRYPTOGRAPHY_ERROR


def test_refuses_unknown_digest_uri() -> None:
    with pytest.raises(MalformedInput, match="unknown digest"):
        DigestAlgorithm.by_uri("http://www.w3.org/2001/04/xmldsig-more#md5")


def test_digest_uris_are_those_of_rfc_6931() -> None:
    assert [algorithm.uri.rpartition("/")[2] for algorithm in DigestAlgorithm] == [
        "xmldsig#sha1",
        "xmldsig-more#sha224",
        "xmlenc#sha256",
        "xmldsig-more#sha384",
        "xmlenc#sha512",
    ]


@pytest.mark.parametrize("algorithm", SignatureAlgorithm)
def test_signature_algorithm_is_found_by_each_of_its_names(algorithm: SignatureAlgorithm) -> None:
    assert SignatureAlgorithm.by_uri(algorithm.uri) is algorithm
    assert SignatureAlgorithm.by_jca_name(algorithm.jca_name.upper()) is algorithm
    assert SignatureAlgorithm.with_digest(algorithm.family, algorithm.digest) is algorithm


def test_refuses_unknown_signature_algorithms_by_every_name() -> None:
    for find, name in (
        (SignatureAlgorithm.by_uri, "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"),
        (SignatureAlgorithm.by_jca_name, "MD5withRSA"),
        (SignatureAlgorithm.by_oid, "1.2.840.113549.1.1.4"),
    ):
        with pytest.raises(MalformedInput) as caught:
            find(name)
        assert caught.value.code is FaultCode.CRYPTOGRAPHY_ERROR
    with pytest.raises(MalformedInput, match="RSA-PSS with SHA-1"):
        SignatureAlgorithm.with_digest("RSA-PSS", DigestAlgorithm.SHA1)


def test_key_decides_the_algorithm_it_signs_with() -> None:
    public = RSA_KEY.public_key()
    assert SignatureAlgorithm.for_key(public) is SignatureAlgorithm.RSA_SHA512
    assert (
        SignatureAlgorithm.for_key(EC_KEY.public_key(), DigestAlgorithm.SHA256)
        is SignatureAlgorithm.ECDSA_SHA256
    )


def test_only_signatures_with_sha_256_and_above_are_accepted_today() -> None:
    refused = {algorithm.name for algorithm in SignatureAlgorithm if not algorithm.accepted}
    assert refused == {"RSA_SHA1", "RSA_SHA224", "ECDSA_SHA1", "ECDSA_SHA224"}


@pytest.mark.parametrize(
    "algorithm", [algorithm for algorithm in SignatureAlgorithm if algorithm.accepted]
)
def test_own_signature_verifies_and_a_changed_one_does_not(algorithm: SignatureAlgorithm) -> None:
    key = EC_KEY if algorithm.family == "EC" else RSA_KEY
    signature = sign_data(key, algorithm, DATA, ecdsa_raw=True)
    verify_signature(key.public_key(), algorithm, signature, DATA, ecdsa_raw=True)
    for value, data in ((signature, DATA + b"!"), (signature[::-1], DATA), (b"", DATA)):
        with pytest.raises(TrustError) as caught:
            verify_signature(key.public_key(), algorithm, value, data, ecdsa_raw=True)
        assert caught.value.code is FaultCode.INVALID_SIGNATURE_VALUE


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_raw_ecdsa_value_has_two_halves_of_full_length(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    size = curve_size(key.public_key())
    signature = sign_data(key, SignatureAlgorithm.ECDSA_SHA512, DATA, ecdsa_raw=True)
    assert len(signature) == 2 * size
    assert ecdsa_der_to_raw(ecdsa_raw_to_der(signature), size) == signature


def test_ecdsa_form_must_be_the_one_told() -> None:
    public, algorithm = EC_KEY.public_key(), SignatureAlgorithm.ECDSA_SHA256
    raw = sign_data(EC_KEY, algorithm, DATA, ecdsa_raw=True)
    der = sign_data(EC_KEY, algorithm, DATA, ecdsa_raw=False)
    verify_signature(public, algorithm, der, DATA, ecdsa_raw=False)
    for value, is_raw in ((raw, False), (der, True)):
        with pytest.raises(TrustError):
            verify_signature(public, algorithm, value, DATA, ecdsa_raw=is_raw)
        verify_signature(public, algorithm, value, DATA, ecdsa_raw=is_raw, either_form=True)


def test_reads_raw_ecdsa_value_whose_halves_were_trimmed() -> None:
    key, algorithm = ec.generate_private_key(ec.SECP256R1()), SignatureAlgorithm.ECDSA_SHA256
    while True:
        raw = sign_data(key, algorithm, DATA, ecdsa_raw=True)
        if raw[0] == raw[32] == 0 or raw[0] == 0:
            break
    r, s = raw[:32], raw[32:]
    size = max(len(half.lstrip(b"\0")) for half in (r, s))
    trimmed = r[32 - size :] + s[32 - size :]
    padded_der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    assert ecdsa_raw_to_der(trimmed) == padded_der
    verify_signature(key.public_key(), algorithm, trimmed, DATA, ecdsa_raw=True)


@pytest.mark.parametrize("value", [b"", b"\1", b"\1" * 63])
def test_refuses_raw_ecdsa_value_without_two_equal_halves(value: bytes) -> None:
    with pytest.raises(MalformedInput):
        ecdsa_raw_to_der(value)
    with pytest.raises(TrustError):
        verify_signature(
            EC_KEY.public_key(), SignatureAlgorithm.ECDSA_SHA256, value, DATA, ecdsa_raw=True
        )


def test_refuses_raw_ecdsa_value_longer_than_the_curve() -> None:
    algorithm = SignatureAlgorithm.ECDSA_SHA256
    raw = sign_data(EC_KEY, algorithm, DATA, ecdsa_raw=True)
    longer = b"\0" + raw[:32] + b"\0" + raw[32:]
    with pytest.raises(TrustError):
        verify_signature(EC_KEY.public_key(), algorithm, longer, DATA, ecdsa_raw=True)


def test_refuses_der_that_is_no_pair_of_curve_numbers() -> None:
    for value in (b"\x30\x00", b"junk", encode_dss_signature(1 << 300, 1)):
        with pytest.raises(MalformedInput):
            ecdsa_der_to_raw(value, 32)


def test_key_of_another_family_never_verifies() -> None:
    rsa_value = sign_data(RSA_KEY, SignatureAlgorithm.RSA_SHA256, DATA, ecdsa_raw=True)
    ec_value = sign_data(EC_KEY, SignatureAlgorithm.ECDSA_SHA256, DATA, ecdsa_raw=True)
    with pytest.raises(TrustError, match="cannot be made with an EC key"):
        verify_signature(
            EC_KEY.public_key(), SignatureAlgorithm.RSA_SHA256, rsa_value, DATA, ecdsa_raw=True
        )
    with pytest.raises(TrustError, match="cannot be made with an RSA key"):
        verify_signature(
            RSA_KEY.public_key(), SignatureAlgorithm.ECDSA_SHA256, ec_value, DATA, ecdsa_raw=True
        )


def test_pkcs1_value_is_no_pss_value_and_the_reverse() -> None:
    pkcs1 = sign_data(RSA_KEY, SignatureAlgorithm.RSA_SHA256, DATA, ecdsa_raw=True)
    pss = sign_data(RSA_KEY, SignatureAlgorithm.RSA_PSS_SHA256, DATA, ecdsa_raw=True)
    for algorithm, value in (
        (SignatureAlgorithm.RSA_PSS_SHA256, pkcs1),
        (SignatureAlgorithm.RSA_SHA256, pss),
    ):
        with pytest.raises(TrustError):
            verify_signature(RSA_KEY.public_key(), algorithm, value, DATA, ecdsa_raw=True)


def test_refuses_pss_value_with_another_salt_length() -> None:
    value = RSA_KEY.sign(
        DATA, padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=20), hashes.SHA256()
    )
    with pytest.raises(TrustError):
        verify_signature(
            RSA_KEY.public_key(), SignatureAlgorithm.RSA_PSS_SHA256, value, DATA, ecdsa_raw=True
        )


def test_sha_1_signature_verifies_as_old_evidence_only() -> None:
    value = RSA_KEY.sign(DATA, padding.PKCS1v15(), hashes.SHA1())
    public, algorithm = RSA_KEY.public_key(), SignatureAlgorithm.RSA_SHA1
    verify_signature(public, algorithm, value, DATA, ecdsa_raw=True, allow_legacy=True)
    with pytest.raises(TrustError, match="not accepted any more"):
        verify_signature(public, algorithm, value, DATA, ecdsa_raw=True)


def test_small_rsa_key_verifies_as_old_evidence_only() -> None:
    value = SMALL_RSA_KEY.sign(DATA, padding.PKCS1v15(), hashes.SHA256())
    public, algorithm = SMALL_RSA_KEY.public_key(), SignatureAlgorithm.RSA_SHA256
    verify_signature(public, algorithm, value, DATA, ecdsa_raw=True, allow_legacy=True)
    with pytest.raises(TrustError, match="1024 bits"):
        verify_signature(public, algorithm, value, DATA, ecdsa_raw=True)


def test_refuses_curves_outside_of_the_protocol_and_oversized_rsa_keys() -> None:
    with pytest.raises(TrustError, match="secp256k1"):
        check_key_strength(ec.generate_private_key(ec.SECP256K1()).public_key(), allow_legacy=True)
    huge = rsa.RSAPublicNumbers(65537, (1 << 8200) + 1).public_key()
    with pytest.raises(TrustError, match="8201 bits"):
        check_key_strength(huge, allow_legacy=True)


def test_we_never_sign_with_weak_means() -> None:
    digest = DigestAlgorithm.SHA256.digest(DATA)
    cases: list[tuple[PrivateKey, SignatureAlgorithm, bytes]] = [
        (RSA_KEY, SignatureAlgorithm.RSA_SHA1, DigestAlgorithm.SHA1.digest(DATA)),
        (RSA_KEY, SignatureAlgorithm.ECDSA_SHA256, digest),
        (EC_KEY, SignatureAlgorithm.RSA_SHA256, digest),
        (RSA_KEY, SignatureAlgorithm.RSA_SHA512, digest),
        (SMALL_RSA_KEY, SignatureAlgorithm.RSA_SHA256, digest),
        (ec.generate_private_key(ec.SECP256K1()), SignatureAlgorithm.ECDSA_SHA256, digest),
    ]
    for key, algorithm, value in cases:
        with pytest.raises(ConfigurationError) as caught:
            sign_digest(key, algorithm, value, ecdsa_raw=True)
        assert caught.value.code is FaultCode.CANNOT_SIGN
