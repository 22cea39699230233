from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, sign_data
from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.digests import HASH_CHAIN_RESULT_PART, MESSAGE_PART
from postroad.evidence.xades import PreparedSignature, add_signature_timestamp, prepare_signature
from postroad.evidence.xades_parsing import parse_signature
from support.signing import NOW, Bench, message_parts

if TYPE_CHECKING:
    from postroad.crypto.certificates import Certificate

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
NAMES = {"ds": DS[1:-1], "xades": XADES[1:-1]}


def prepare(bench: Bench, **changes: object) -> PreparedSignature:
    certificate = bench.identity.certificate
    algorithm = changes.pop("algorithm", SignatureAlgorithm.for_key(certificate.public_key))
    assert isinstance(algorithm, SignatureAlgorithm)
    arguments: dict[str, object] = {
        "reference_uri": MESSAGE_PART,
        "reference_digest": algorithm.digest.digest(b"message"),
        "certificate": certificate,
        "algorithm": algorithm,
        "signing_time": NOW,
    }
    return prepare_signature(**(arguments | changes))


def canonical(document: bytes, name: str) -> bytes:
    """Canonicalise one element with libxml2, from the serialised document."""
    element = next(etree.fromstring(document).iter(name))
    return etree.tostring(element, method="c14n", with_comments=False)


@pytest.mark.parametrize("digest", list(DigestAlgorithm), ids=lambda digest: digest.label)
@pytest.mark.parametrize("reference", [MESSAGE_PART, HASH_CHAIN_RESULT_PART])
def test_signed_octets_are_the_canonical_form_of_the_document(
    any_bench: Bench, digest: DigestAlgorithm, reference: str
) -> None:
    algorithm = SignatureAlgorithm.for_key(any_bench.identity.certificate.public_key, digest)
    prepared = prepare(
        any_bench,
        algorithm=algorithm,
        reference_uri=reference,
        reference_digest=digest.digest(b"data"),
    )
    document = prepared.assemble(b"value", [b"ocsp"])
    assert canonical(document, DS + "SignedInfo") == prepared.signed_info
    assert prepared.digest == digest.digest(prepared.signed_info)
    parsed = parse_signature(document)
    assert parsed.algorithm is algorithm
    properties = digest.digest(canonical(document, XADES + "SignedProperties"))
    assert [(r.uri, r.value) for r in parsed.references] == [
        (reference, digest.digest(b"data")),
        ("#signed-properties", properties),
    ]


AWKWARD_ISSUERS = ["A & B <c> \"d\" 'e'", "tab\there", "ümlaut € 漢字 😀", "a,b+c;d=e\\f", "]]>"]


@pytest.mark.parametrize("issuer", AWKWARD_ISSUERS)
def test_awkward_issuer_names_keep_the_canonical_form(issuer: str) -> None:
    from postroad.crypto.names import build_name
    from postroad.trustlab.authority import Identity
    from postroad.trustlab.issuing import issue
    from postroad.trustlab.profiles import CertificateKind

    bench = Bench.create()
    issuing = bench.lab.issuing.identity
    ca = issue(
        issuing,
        build_name([("CN", issuer)]),
        issuing.certificate.public_key,
        CertificateKind.ISSUING,
        at=NOW,
    )
    certificate = issue(
        Identity(ca, issuing.private_key),
        build_name([("CN", "x")]),
        bench.identity.certificate.public_key,
        CertificateKind.SIGN,
        at=NOW,
    )
    prepared = prepare(bench, certificate=certificate)
    document = prepared.assemble(b"v", [])
    assert canonical(document, DS + "SignedInfo") == prepared.signed_info
    reference = parse_signature(document).references[1]
    properties = canonical(document, XADES + "SignedProperties")
    assert reference.value == reference.algorithm.digest(properties)


def test_has_the_shape_and_the_literal_names_that_peers_look_for(bench: Bench) -> None:
    intermediates = [bench.lab.ca_certificate]
    document = prepare(bench).assemble(b"v", [b"one", b"two"], intermediates)
    text = document.decode()
    assert text.startswith('<?xml version="1.0" encoding="UTF-8" standalone="no"?>')
    # Peers take the first child of the root and find elements by their literal names.
    assert '<asic:XAdESSignatures xmlns:asic="http://uri.etsi.org/02918/v1.2.1#"' in text
    assert '><ds:Signature Id="signature"><ds:SignedInfo>' in text
    assert text.count("<ds:Object>") == 1
    assert "<ds:Object><xades:QualifyingProperties" in text
    assert '<xades:Cert URI="#encapsulated-cert-1"><xades:CertDigest>' in text
    root = etree.fromstring(document)
    order = [element.tag for element in root[0]]
    assert order == [DS + n for n in ("SignedInfo", "SignatureValue", "KeyInfo", "Object")]
    (unsigned,) = root.iter(XADES + "UnsignedSignatureProperties")
    assert [element.tag for element in unsigned] == [
        XADES + name
        for name in ("CompleteCertificateRefs", "CertificateValues", "RevocationValues")
    ]
    responses = root.iter(XADES + "EncapsulatedOCSPValue")
    assert [element.get("Id") for element in responses] == ["ocsp-response-1", "ocsp-response-2"]
    parsed = parse_signature(document)
    assert parsed.ocsp_responses == (b"one", b"two")
    assert parsed.extra_certificates == tuple(intermediates)


def test_leaves_out_certificate_values_without_intermediates(bench: Bench) -> None:
    document = prepare(bench).assemble(b"v", [b"one"])
    assert b"CompleteCertificateRefs" not in document
    assert b"CertificateValues" not in document


@pytest.mark.parametrize(
    ("reference", "mime_type"),
    [(MESSAGE_PART, "text/xml"), (HASH_CHAIN_RESULT_PART, "application/hash-chain-result")],
)
def test_states_the_mime_type_of_what_is_signed(
    bench: Bench, reference: str, mime_type: str
) -> None:
    document = prepare(bench, reference_uri=reference).assemble(b"v", [])
    assert f"<xades:MimeType>{mime_type}</xades:MimeType>".encode() in document


def test_writes_the_moment_in_utc_with_milliseconds(bench: Bench) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6789, tzinfo=timezone(timedelta(hours=2)))
    document = prepare(bench, signing_time=moment).assemble(b"v", [])
    assert b"<xades:SigningTime>2026-01-02T01:04:05.006Z</xades:SigningTime>" in document


def test_refuses_a_digest_of_another_algorithm(bench: Bench) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        prepare(bench, reference_digest=b"x" * 32)


def certificate_of(document: bytes) -> Certificate:
    return parse_signature(document).certificate


def test_time_stamp_becomes_the_first_unsigned_property(bench: Bench) -> None:
    signed = bench.sign(message_parts(b"message")).signature
    stamped = add_signature_timestamp(signed, b"token")
    assert parse_signature(stamped).timestamps == (b"token",)
    root = etree.fromstring(stamped)
    (unsigned,) = root.iter(XADES + "UnsignedSignatureProperties")
    assert unsigned[0].tag == XADES + "SignatureTimeStamp"
    # Peers find it by its literal name.
    encoded = b64encode(b"token")
    assert b"<xades:SignatureTimeStamp><xades:EncapsulatedTimeStamp>" + encoded in stamped
    for name in (DS + "SignedInfo", XADES + "SignedProperties"):
        assert canonical(stamped, name) == canonical(signed, name)
    assert certificate_of(stamped) == certificate_of(signed)


def test_adds_no_second_time_stamp(bench: Bench) -> None:
    stamped = add_signature_timestamp(bench.sign(message_parts(b"m")).signature, b"token")
    with pytest.raises(MalformedInput) as refused:
        add_signature_timestamp(stamped, b"token")
    assert refused.value.code is FaultCode.MALFORMED_SIGNATURE


def test_adds_no_time_stamp_where_there_is_no_place(bench: Bench) -> None:
    document = bench.sign(message_parts(b"m")).signature.replace(b"UnsignedProperties", b"Other")
    with pytest.raises(MalformedInput) as refused:
        add_signature_timestamp(document, b"token")
    assert refused.value.code is FaultCode.MALFORMED_SIGNATURE


def test_stamps_a_foreign_document_whose_root_is_the_signature(bench: Bench) -> None:
    document = bench.sign(message_parts(b"m")).signature
    root = etree.tostring(etree.fromstring(document)[0])
    assert parse_signature(add_signature_timestamp(root, b"t")).timestamps == (b"t",)


def test_signature_value_is_written_as_given(bench: Bench) -> None:
    prepared = prepare(bench)
    value = sign_data(
        bench.identity.private_key, prepared.algorithm, prepared.signed_info, ecdsa_raw=True
    )
    assert len(value) == 64
    assert parse_signature(prepared.assemble(value, [])).value == value
