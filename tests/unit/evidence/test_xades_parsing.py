from __future__ import annotations

from datetime import UTC, datetime

import pytest

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.xades import add_signature_timestamp
from postroad.evidence.xades_parsing import MAX_REFERENCES, CanonicalForm, parse_signature
from support.signing import REFERENCE, Bench, message_parts

SIGNATURES = REFERENCE / "signatures"
C14N = b"http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
EXCLUSIVE = b"http://www.w3.org/2001/10/xml-exc-c14n#"


@pytest.fixture(scope="module")
def document(bench: Bench) -> bytes:
    return bench.sign(message_parts(b"message")).signature


def refused(data: bytes) -> MalformedInput:
    with pytest.raises(MalformedInput) as error:
        parse_signature(data)
    assert error.value.code is FaultCode.MALFORMED_SIGNATURE
    return error.value


GOOD = {
    "common-test/sign-0.xml": ["/message.xml", "#signed-properties"],
    "common-test/sign-0-old-format.xml": ["/message.xml", "#signed-properties"],
    "globalconf-impl/batch-sig.xml": ["/sig-hashchainresult.xml", "#signed-properties"],
    "globalconf-impl/sign-0-ocsp-no-responses.xml": ["/message.xml", "#signed-properties"],
    "globalconf-impl/non-batch-sig/signatures.xml": [
        "/message.xml",
        "/attachment1",
        "#xades-id-8e87046fa17c6daf960df4323a3e0b4c",
    ],
    "../messagelog/signature.xml": ["/message.xml", "#signed-properties"],
}


@pytest.mark.parametrize(("name", "references"), GOOD.items(), ids=GOOD.keys())
def test_reads_the_signatures_of_the_reference(name: str, references: list[str]) -> None:
    parsed = parse_signature((SIGNATURES / name).read_bytes())
    assert [reference.uri for reference in parsed.references] == references
    assert parsed.algorithm is SignatureAlgorithm.RSA_SHA512
    assert any(named.matches(parsed.certificate) for named in parsed.signing_certificates)


def test_reads_the_old_format() -> None:
    parsed = parse_signature((SIGNATURES / "common-test/sign-0-old-format.xml").read_bytes())
    assert parsed.signing_time == datetime(2015, 6, 3, 10, 14, 49, 126_000, UTC)
    assert len(parsed.ocsp_responses) == 1
    assert parsed.timestamps == ()


def test_reads_a_token_that_stands_directly_in_the_time_stamp(document: bytes) -> None:
    stamped = add_signature_timestamp(document, b"token")
    old = stamped.replace(b"<xades:EncapsulatedTimeStamp>", b"")
    old = old.replace(b"</xades:EncapsulatedTimeStamp>", b"")
    assert parse_signature(old).timestamps == (b"token",)


BAD = {
    "sign-0-no-signature.xml": "exactly one signature",
    "sign-0-no-objectcontainer.xml": "QualifyingProperties",
    "sign-0-schema-fail.xml": "CanonicalizationMethod",
    "sign-0-no-signing-cert.xml": "no signing certificate",
    "extra-certs-missing-id.xml": "no certificate for the reference",
    "extra-certs-missing-cert.xml": "no certificate for the reference",
    "extra-certs-digest-invalid.xml": "differs from its digest",
}


@pytest.mark.parametrize(("name", "reason"), BAD.items(), ids=BAD.keys())
def test_refuses_the_bad_signatures_of_the_reference(name: str, reason: str) -> None:
    error = refused((SIGNATURES / "globalconf-impl" / name).read_bytes())
    assert reason in error.message


@pytest.mark.parametrize("name", ["empty.xml", "sign-0-malformed-xml.xml"])
def test_refuses_what_is_no_xml(name: str) -> None:
    with pytest.raises(MalformedInput) as error:
        parse_signature((SIGNATURES / "globalconf-impl" / name).read_bytes())
    assert error.value.code is FaultCode.INVALID_XML


def test_reads_exclusive_forms_with_prefixes(document: bytes) -> None:
    prefixes = (
        b'Algorithm="' + EXCLUSIVE + b'"><e:InclusiveNamespaces xmlns:e="' + EXCLUSIVE + b'" '
        b'PrefixList="xs ds"></e:InclusiveNamespaces>'
    )
    changed = document.replace(b'Algorithm="' + C14N + b'">', prefixes)
    assert parse_signature(changed).canonical_form == CanonicalForm(True, False, ("xs", "ds"))


@pytest.mark.parametrize(
    ("uri", "form"),
    [
        (C14N, CanonicalForm()),
        (C14N + b"#WithComments", CanonicalForm(with_comments=True)),
        (EXCLUSIVE, CanonicalForm(exclusive=True)),
        (EXCLUSIVE + b"WithComments", CanonicalForm(exclusive=True, with_comments=True)),
    ],
)
def test_reads_every_canonical_form(document: bytes, uri: bytes, form: CanonicalForm) -> None:
    assert parse_signature(document.replace(C14N, uri)).canonical_form == form


def test_signing_time_is_optional_and_may_lack_a_zone(document: bytes) -> None:
    start = document.index(b"<xades:SigningTime>")
    end = document.index(b"<xades:SigningCertificate>")
    assert parse_signature(document[:start] + document[end:]).signing_time is None
    local = document[:start] + b"<xades:SigningTime>2026-01-01T00:00:00</xades:SigningTime>"
    assert parse_signature(local + document[end:]).signing_time == datetime(2026, 1, 1, tzinfo=UTC)


def transform(*algorithms: bytes) -> bytes:
    return b"<ds:Transforms>%s</ds:Transforms>" % b"".join(
        b'<ds:Transform Algorithm="%s"></ds:Transform>' % algorithm for algorithm in algorithms
    )


REFERENCE_0 = b'<ds:Reference Id="signature-reference-0" URI="/message.xml">'


def test_reads_one_transform(document: bytes) -> None:
    changed = document.replace(REFERENCE_0, REFERENCE_0 + transform(EXCLUSIVE))
    first, second = parse_signature(changed).references
    assert first.transform == CanonicalForm(exclusive=True)
    assert second.transform is None
    assert first.algorithm is DigestAlgorithm.SHA512


QUALIFYING = b'<xades:QualifyingProperties Target="#signature"></xades:QualifyingProperties>'
CHANGES: dict[str, tuple[bytes, bytes]] = {
    "another root": (b"asic:XAdESSignatures", b"asic:Other"),
    "another namespace of the root": (b"02918/v1.2.1#", b"02918/v9#"),
    "qualifying properties of another signature": (b'Target="#signature"', b'Target="#other"'),
    "no signed properties": (b"xades:SignedProperties", b"xades:Other"),
    "identifier used twice": (b'Id="signature-value"', b'Id="signature"'),
    "identifier used twice in other letters": (b'Id="signature-value"', b'ID="signature"'),
    "comment": (b"<ds:KeyInfo>", b"<ds:KeyInfo><!-- c -->"),
    "processing instruction": (b"<ds:KeyInfo>", b"<ds:KeyInfo><?x?>"),
    "unknown canonical form": (C14N, b"http://www.w3.org/2006/12/xml-c14n11"),
    "unknown signature method": (b"#ecdsa-sha512", b"#ecdsa-md5"),
    "unknown digest method": (b"xmlenc#sha512", b"xmlenc#md5"),
    "parameter of the canonical form": (
        b'c14n-20010315">',
        b'c14n-20010315"><x></x>',
    ),
    "parameter of the signature method": (b'ecdsa-sha512">', b'ecdsa-sha512"><x></x>'),
    "reference without URI": (b' URI="/message.xml"', b""),
    "reference to the whole document": (b' URI="/message.xml"', b' URI=""'),
    "the same thing referred to twice": (b' URI="/message.xml"', b' URI="#signed-properties"'),
    "two transforms": (REFERENCE_0, REFERENCE_0 + transform(C14N, C14N)),
    "foreign transform": (REFERENCE_0, REFERENCE_0 + transform(b"urn:xslt")),
    "no transform inside transforms": (
        REFERENCE_0,
        REFERENCE_0 + b"<ds:Transforms><x></x></ds:Transforms>",
    ),
    "element after the digest value": (b"</ds:Reference>", b"<x></x></ds:Reference>"),
    "second signed info": (
        b"<ds:SignatureValue ",
        b"<ds:SignedInfo></ds:SignedInfo><ds:SignatureValue ",
    ),
    "element after the object": (b"</ds:Signature>", b"<x></x></ds:Signature>"),
    "element beside the signature": (b"</ds:Signature>", b"</ds:Signature><x></x>"),
    "second signature": (b"</ds:Signature>", b"</ds:Signature><ds:Signature></ds:Signature>"),
    "signature inside the signature": (
        b"</xades:UnsignedSignatureProperties>",
        b"<ds:Signature></ds:Signature></xades:UnsignedSignatureProperties>",
    ),
    "second qualifying properties": (
        b"</ds:Object>",
        QUALIFYING + b"</ds:Object>",
    ),
    "second object with properties": (
        b"</ds:Signature>",
        b"<ds:Object>" + QUALIFYING + b"</ds:Object></ds:Signature>",
    ),
    "second signed properties": (
        b"</xades:SignedProperties>",
        b'</xades:SignedProperties><xades:SignedProperties Id="p"></xades:SignedProperties>',
    ),
    "certificate that is none": (b"<ds:X509Certificate>MII", b"<ds:X509Certificate>AII"),
    "certificate that is not base64": (b"<ds:X509Certificate>MII", b"<ds:X509Certificate>*II"),
    "no moment": (b"<xades:SigningTime>2026", b"<xades:SigningTime>when"),
    "moment out of range": (b"<xades:SigningTime>2026", b"<xades:SigningTime>0000"),
    "two moments": (
        b"<xades:SigningCertificate>",
        b"<xades:SigningTime>2026-01-01T00:00:00Z</xades:SigningTime><xades:SigningCertificate>",
    ),
    "certificate reference without digest": (b"xades:CertDigest", b"xades:Other"),
    "element in a base64 value": (b'Id="signature-value">', b'Id="signature-value"><x></x>'),
    "too many OCSP responses": (
        b"</xades:OCSPValues>",
        b"<xades:EncapsulatedOCSPValue>AA==</xades:EncapsulatedOCSPValue>" * 20
        + b"</xades:OCSPValues>",
    ),
    "too many certificates": (
        b"<xades:RevocationValues>",
        b"<xades:CompleteCertificateRefs><xades:CertRefs>"
        + b'<xades:Cert URI="#x"></xades:Cert>' * 21
        + b"</xades:CertRefs></xades:CompleteCertificateRefs><xades:RevocationValues>",
    ),
    "too many references": (
        b"</ds:SignedInfo>",
        (
            b'<ds:Reference URI="/x"><ds:DigestMethod '
            b'Algorithm="http://www.w3.org/2001/04/xmlenc#sha512"></ds:DigestMethod>'
            b"<ds:DigestValue>AA==</ds:DigestValue></ds:Reference>"
        )
        * MAX_REFERENCES
        + b"</ds:SignedInfo>",
    ),
    "no reference": (b"ds:Reference", b"ds:Other"),
}


@pytest.mark.parametrize(("old", "new"), CHANGES.values(), ids=CHANGES.keys())
def test_refuses_a_document_that_breaks_the_structure(
    document: bytes, old: bytes, new: bytes
) -> None:
    assert old in document
    refused(document.replace(old, new))


@pytest.mark.parametrize(
    "data", [b"<!DOCTYPE x [<!ENTITY e 'v'>]><x>&e;</x>", b"<a>" * 100 + b"</a>" * 100]
)
def test_refuses_dangerous_xml(data: bytes) -> None:
    with pytest.raises(MalformedInput) as error:
        parse_signature(data)
    assert error.value.code is FaultCode.INVALID_XML
