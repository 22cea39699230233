"""Rules of reading ASN.1 algorithm identifiers."""

from __future__ import annotations

import asn1crypto.algos
import asn1crypto.core
import pytest

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.crypto.identified import digest_by_oid, digest_oid, signature_algorithm
from postroad.errors import FaultCode, MalformedInput


def identifier(name: str, parameters: object = None) -> asn1crypto.algos.SignedDigestAlgorithm:
    built = asn1crypto.algos.SignedDigestAlgorithm({"algorithm": name, "parameters": parameters})
    return asn1crypto.algos.SignedDigestAlgorithm.load(built.dump())


def pss(digest: str = "sha256", mask: str = "sha256", salt: int = 32) -> object:
    return {
        "hash_algorithm": {"algorithm": digest},
        "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": mask}},
        "salt_length": salt,
    }


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_digest_and_its_identifier_belong_together(algorithm: DigestAlgorithm) -> None:
    assert digest_by_oid(digest_oid(algorithm)) is algorithm


def test_refuses_md5() -> None:
    with pytest.raises(MalformedInput) as caught:
        digest_by_oid("1.2.840.113549.2.5")
    assert caught.value.code is FaultCode.CRYPTOGRAPHY_ERROR
    with pytest.raises(MalformedInput):
        signature_algorithm(identifier("md5_rsa"))


def test_reads_plain_identifiers() -> None:
    assert signature_algorithm(identifier("sha256_rsa")) is SignatureAlgorithm.RSA_SHA256
    assert signature_algorithm(identifier("sha384_ecdsa")) is SignatureAlgorithm.ECDSA_SHA384


def test_takes_the_digest_beside_where_the_identifier_names_none() -> None:
    bare = identifier("rsassa_pkcs1v15")
    assert signature_algorithm(bare, beside=DigestAlgorithm.SHA512) is SignatureAlgorithm.RSA_SHA512
    with pytest.raises(MalformedInput):
        signature_algorithm(bare)


def test_refuses_a_digest_beside_that_contradicts() -> None:
    with pytest.raises(MalformedInput, match="contradicts"):
        signature_algorithm(identifier("sha256_rsa"), beside=DigestAlgorithm.SHA512)


def test_reads_pss_with_one_digest_and_a_salt_of_its_length() -> None:
    found = signature_algorithm(identifier("rsassa_pss", pss()))
    assert found is SignatureAlgorithm.RSA_PSS_SHA256


@pytest.mark.parametrize(
    "parameters",
    [pss(mask="sha512"), pss(salt=20), pss(digest="md5", mask="md5"), pss(salt=0)],
    ids=["mask", "salt", "md5", "no salt"],
)
def test_refuses_foreign_pss_parameters(parameters: object) -> None:
    with pytest.raises(MalformedInput):
        signature_algorithm(identifier("rsassa_pss", parameters))


def test_refuses_pss_parameters_that_cannot_be_read() -> None:
    broken = asn1crypto.algos.SignedDigestAlgorithm.load(
        bytes.fromhex("300d06092a864886f70d01010a0500")
    )
    with pytest.raises(MalformedInput):
        signature_algorithm(broken)


def test_refuses_an_identifier_that_cannot_be_read() -> None:
    broken = asn1crypto.algos.SignedDigestAlgorithm.load(b"\x30\x02\x02\x00")
    with pytest.raises(MalformedInput, match="cannot be read"):
        signature_algorithm(broken)
