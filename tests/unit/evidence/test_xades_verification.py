from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.errors import FaultCode, PostroadError
from postroad.evidence.digests import MESSAGE_PART, PartDigest
from postroad.evidence.xades import INCLUSIVE_C14N
from postroad.evidence.xades_parsing import CertificateDigest, ParsedSignature, parse_signature
from postroad.evidence.xades_verification import verify_core
from postroad.wire.xml import canonicalize
from support.signing import (
    CLIENT,
    REFERENCE,
    SHA512,
    Bench,
    message_parts,
    resigned,
    sign_weakly,
)

SIGNATURES = REFERENCE / "signatures"
PARTS = {part.name: part for part in message_parts(b"message")}


@pytest.fixture(scope="module")
def document(bench: Bench) -> bytes:
    return bench.sign(list(PARTS.values())).signature


def refused_with(code: FaultCode, document: bytes, parts: dict[str, PartDigest]) -> PostroadError:
    with pytest.raises(PostroadError) as refused:
        verify_core(parse_signature(document), parts)
    assert refused.value.code is code, refused.value
    return refused.value


@pytest.mark.parametrize("digest", list(DigestAlgorithm)[2:], ids=lambda digest: digest.label)
def test_verifies_what_was_signed(any_bench: Bench, digest: DigestAlgorithm) -> None:
    document = any_bench.sign(list(PARTS.values()), digest=digest)
    verify_core(parse_signature(document.signature), PARTS)


@pytest.mark.parametrize(
    "algorithm",
    [
        SignatureAlgorithm.RSA_PSS_SHA256,
        SignatureAlgorithm.RSA_PSS_SHA384,
        SignatureAlgorithm.RSA_PSS_SHA512,
    ],
)
def test_verifies_signatures_of_hardware_keys(algorithm: SignatureAlgorithm) -> None:
    from postroad.trustlab.authority import KeyKind

    bench = Bench.create(KeyKind.RSA_2048)
    document = bench.sign(list(PARTS.values()), algorithm=algorithm)
    verify_core(parse_signature(document.signature), PARTS)


@pytest.mark.parametrize("digest", [DigestAlgorithm.SHA1, DigestAlgorithm.SHA224])
def test_weak_algorithms_are_for_archives_only(bench: Bench, digest: DigestAlgorithm) -> None:
    document = sign_weakly(bench, b"message", digest).signature
    refused_with(FaultCode.INVALID_SIGNATURE_VALUE, document, PARTS)
    verify_core(parse_signature(document), PARTS, allow_legacy=True)


GOOD = {
    "sign-0": ("common-test/sign-0.xml", {MESSAGE_PART: "common-test/message-0.xml"}),
    "old format": (
        "common-test/sign-0-old-format.xml",
        {MESSAGE_PART: "common-test/message-0.xml"},
    ),
    "no OCSP": (
        "globalconf-impl/sign-0-ocsp-no-responses.xml",
        {MESSAGE_PART: "common-test/message-0.xml"},
    ),
    "batch": (
        "globalconf-impl/batch-sig.xml",
        {"/sig-hashchainresult.xml": "globalconf-impl/hash-chain-result.xml"},
    ),
    "not 7.x": (
        "globalconf-impl/non-batch-sig/signatures.xml",
        {
            MESSAGE_PART: "globalconf-impl/non-batch-sig/message.xml",
            "/attachment1": "globalconf-impl/non-batch-sig/attachment1",
        },
    ),
}


def reference_parts(files: dict[str, str]) -> dict[str, PartDigest]:
    return {
        name: PartDigest.of(name, (SIGNATURES / file).read_bytes(), SHA512)
        for name, file in files.items()
    }


@pytest.mark.parametrize(("name", "files"), GOOD.values(), ids=GOOD.keys())
def test_verifies_the_signatures_of_the_reference(name: str, files: dict[str, str]) -> None:
    parsed = parse_signature((SIGNATURES / name).read_bytes())
    verify_core(parsed, reference_parts(files))


@pytest.mark.parametrize(("name", "files"), GOOD.values(), ids=GOOD.keys())
def test_refuses_the_signatures_of_the_reference_over_other_parts(
    name: str, files: dict[str, str]
) -> None:
    document = (SIGNATURES / name).read_bytes()
    for changed in files:
        parts = reference_parts(files)
        parts[changed] = PartDigest.of(changed, b"other", SHA512)
        refused_with(FaultCode.INVALID_SIGNATURE_VALUE, document, parts)


def test_refuses_the_invalid_value_of_the_reference() -> None:
    document = (SIGNATURES / "globalconf-impl/sign-0-invalid-signature-value.xml").read_bytes()
    parts = reference_parts({MESSAGE_PART: "common-test/message-0.xml"})
    refused_with(FaultCode.INVALID_SIGNATURE_VALUE, document, parts)


def test_refuses_a_reference_to_an_unknown_part(document: bytes) -> None:
    refused_with(FaultCode.MALFORMED_SIGNATURE, document, {})


def test_refuses_a_digest_that_cannot_be_compared(bench: Bench) -> None:
    document = bench.sign(list(PARTS.values()), digest=DigestAlgorithm.SHA256).signature
    part = PARTS[MESSAGE_PART]
    without = {MESSAGE_PART: PartDigest(part.name, part.algorithm, part.value)}
    refused_with(FaultCode.INVALID_SIGNATURE_VALUE, document, without)


# --- signatures made by hand, each wrong in one way, each with a correct value -----------------


@pytest.mark.parametrize("form", ["#WithComments", "exclusive"])
def test_verifies_other_canonical_forms(bench: Bench, document: bytes, form: str) -> None:
    uri = (
        "http://www.w3.org/2001/10/xml-exc-c14n#"
        if form == "exclusive"
        else INCLUSIVE_C14N + "#WithComments"
    )
    changed = document.replace(INCLUSIVE_C14N.encode(), uri.encode())
    refused_with(FaultCode.INVALID_SIGNATURE_VALUE, changed, PARTS)
    verify_core(parse_signature(resigned(bench, changed)), PARTS)


def test_refuses_a_weak_digest_under_a_strong_signature(bench: Bench, document: bytes) -> None:
    sha1 = DigestAlgorithm.SHA1
    changed = document
    for reference in parse_signature(document).references:
        if reference.uri == MESSAGE_PART:
            strong = f'{SHA512.uri}"></ds:DigestMethod><ds:DigestValue>'
            old = strong.encode() + b64encode(reference.value)
            weak = f'{sha1.uri}"></ds:DigestMethod><ds:DigestValue>'
            assert old in changed
            changed = changed.replace(old, weak.encode() + b64encode(sha1.digest(b"message")))
    changed = resigned(bench, changed)
    refused_with(FaultCode.INVALID_SIGNATURE_VALUE, changed, PARTS)
    verify_core(parse_signature(changed), PARTS, allow_legacy=True)


def test_refuses_signed_properties_that_are_not_signed(bench: Bench, document: bytes) -> None:
    start = document.index(b'<ds:Reference Id="signature-reference-1"')
    end = document.index(b"</ds:SignedInfo>")
    error = refused_with(
        FaultCode.MALFORMED_SIGNATURE, resigned(bench, document[:start] + document[end:]), PARTS
    )
    assert "not signed" in error.message


def test_refuses_properties_of_which_a_copy_is_signed(bench: Bench, document: bytes) -> None:
    """The signed original is moved where nobody reads it, and a forgery put in its place."""
    start = document.index(b"<xades:SignedProperties")
    end = document.index(b"<xades:UnsignedProperties>")
    original = document[start:end]
    forged = original.replace(b'Id="signed-properties"', b'Id="forged"').replace(b"2026", b"2020")
    wrapped = document.replace(original, forged).replace(
        b"</xades:UnsignedSignatureProperties>",
        b"<x>" + original + b"</x></xades:UnsignedSignatureProperties>",
    )
    error = refused_with(FaultCode.MALFORMED_SIGNATURE, wrapped, PARTS)
    assert "not signed" in error.message


def test_refuses_a_transformed_part(bench: Bench, document: bytes) -> None:
    reference = b'URI="/message.xml">'
    transform = (
        reference + b'<ds:Transforms><ds:Transform Algorithm="' + INCLUSIVE_C14N.encode() + b'">'
        b"</ds:Transform></ds:Transforms>"
    )
    changed = resigned(bench, document.replace(reference, transform))
    error = refused_with(FaultCode.MALFORMED_SIGNATURE, changed, PARTS)
    assert "transformed" in error.message


def test_refuses_a_reference_to_an_element_outside_of_the_signature(
    bench: Bench, document: bytes
) -> None:
    changed = document.replace(b'URI="/message.xml"', b'URI="#signature"')
    refused_with(FaultCode.MALFORMED_SIGNATURE, resigned(bench, changed), PARTS)


def test_verifies_a_reference_to_key_info(bench: Bench, document: bytes) -> None:
    """Some software signs KeyInfo, too."""
    changed = document.replace(b"<ds:KeyInfo>", b'<ds:KeyInfo Id="k">')
    key_info = next(
        element for element in parse_signature(changed).signature if element.get("Id") == "k"
    )
    digest = b64encode(SHA512.digest(canonicalize(key_info))).decode()
    reference = (
        f'<ds:Reference URI="#k"><ds:DigestMethod Algorithm="{SHA512.uri}"></ds:DigestMethod>'
        f"<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
    )
    changed = changed.replace(b"</ds:SignedInfo>", reference.encode())
    verify_core(parse_signature(resigned(bench, changed)), PARTS)


def parsed_with(document: bytes, *named: CertificateDigest) -> ParsedSignature:
    return replace(parse_signature(document), signing_certificates=named)


@pytest.mark.parametrize("named", [(), (CertificateDigest(SHA512, b"other"),)])
def test_signed_properties_must_name_the_certificate(
    document: bytes, named: tuple[CertificateDigest, ...]
) -> None:
    with pytest.raises(PostroadError) as refused:
        verify_core(parsed_with(document, *named), PARTS)
    assert refused.value.code is FaultCode.INCORRECT_CERTIFICATE


def test_certificate_may_not_be_named_by_a_weak_digest(document: bytes) -> None:
    sha1 = DigestAlgorithm.SHA1
    certificate = parse_signature(document).certificate
    weak = parsed_with(document, CertificateDigest(sha1, sha1.digest(certificate.der)))
    with pytest.raises(PostroadError) as refused:
        verify_core(weak, PARTS)
    assert refused.value.code is FaultCode.INVALID_SIGNATURE_VALUE
    verify_core(weak, PARTS, allow_legacy=True)


def test_another_certificate_with_the_same_key_is_refused(bench: Bench, document: bytes) -> None:
    other = bench.lab.sign_certificate(CLIENT, key=bench.identity.private_key)
    changed = replace(parse_signature(document), certificate=other.certificate)
    with pytest.raises(PostroadError) as refused:
        verify_core(changed, PARTS)
    assert refused.value.code is FaultCode.INCORRECT_CERTIFICATE
