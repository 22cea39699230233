"""What is exact is read as the parser reads it; what isn't, is left to the parser."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.crypto.names import build_name
from postroad.errors import FaultCode, PostroadError
from postroad.evidence.digests import HASH_CHAIN_RESULT_PART, MESSAGE_PART
from postroad.evidence.exact_form import (
    MAX_EXACT_BYTES,
    ExactSignature,
    read_exact_signature,
    read_signature,
)
from postroad.evidence.xades import prepare_signature
from postroad.evidence.xades_parsing import (
    CanonicalForm,
    ParsedSignature,
    SignatureFacts,
    parse_signature,
)
from postroad.evidence.xades_verification import verify_core
from postroad.trustlab.authority import Identity
from postroad.trustlab.issuing import issue
from postroad.trustlab.profiles import CertificateKind
from support.signing import NOW, REFERENCE, Bench, message_parts, resigned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.crypto.certificates import Certificate

PARTS = {part.name: part for part in message_parts(b"message")}


def assert_read_alike(document: bytes) -> ExactSignature:
    """Both readers say the same, down to the octets that are signed."""
    exact, parsed = read_exact_signature(document), parse_signature(document)
    assert exact is not None
    for field in fields(SignatureFacts):
        assert getattr(exact, field.name) == getattr(parsed, field.name), field.name
    assert exact.signed_info_octets() == parsed.signed_info_octets()
    identifier = exact.properties_identifier
    assert identifier == parsed.properties_identifier
    octets = exact.element_octets(identifier, CanonicalForm())
    assert octets == parsed.element_octets(identifier, CanonicalForm())
    return exact


def written(
    bench: Bench,
    *,
    certificate: Certificate | None = None,
    algorithm: SignatureAlgorithm | None = None,
    part: str = MESSAGE_PART,
    ocsp: Sequence[bytes] = (b"ocsp",),
    intermediates: Sequence[Certificate] = (),
) -> bytes:
    algorithm = algorithm or bench.identity.algorithm
    prepared = prepare_signature(
        reference_uri=part,
        reference_digest=algorithm.digest.digest(b"message"),
        certificate=certificate or bench.identity.certificate,
        algorithm=algorithm,
        signing_time=NOW,
    )
    return prepared.assemble(b"value", ocsp, intermediates)


def in_reference_layout(document: bytes, *, width: int = 76) -> bytes:
    """Lay out a document of ours as the reference does."""
    document = re.sub(rb'<(ds:\w+)( Algorithm="[^"]*")></\1>', rb"<\1\2/>", document)
    start, rest = document.index(b"<ds:SignedInfo"), document.index(b"<ds:Object>")
    head = document[start:rest].replace(b"><", b">\n<")
    lines = rb"(.{%d})(?=.)" % width
    for name in (b"DigestValue", b"X509Certificate"):
        head = re.sub(
            rb"(<ds:%b>)([^<]+)" % name,
            lambda found: found[1] + re.sub(lines, rb"\1&#13;\n", found[2]),
            head,
        )
    head = re.sub(rb"(<ds:X509Certificate>|-value\">)([^<]+)", rb"\1\n\2\n", head)
    tail = document[rest:].replace(b"</ds:Object></ds:", b"</ds:Object>\n</ds:")
    return document[:start] + b"\n" + head + b"\n" + tail


@pytest.mark.parametrize("digest", list(DigestAlgorithm), ids=lambda digest: digest.label)
@pytest.mark.parametrize("part", [MESSAGE_PART, HASH_CHAIN_RESULT_PART])
def test_what_we_write_is_exact(any_bench: Bench, digest: DigestAlgorithm, part: str) -> None:
    public_key = any_bench.identity.certificate.public_key
    algorithm = SignatureAlgorithm.for_key(public_key, digest)
    assert_read_alike(written(any_bench, algorithm=algorithm, part=part))


@pytest.mark.parametrize("responses", [0, 1, 3, 20])
@pytest.mark.parametrize("intermediates", [0, 1, 2])
def test_ocsp_responses_and_intermediates_are_exact(
    bench: Bench, responses: int, intermediates: int
) -> None:
    ocsp = [b"response %d" % number for number in range(responses)]
    extra = bench.lab.ca_certificates[:intermediates]
    for document in (d := written(bench, ocsp=ocsp, intermediates=extra), in_reference_layout(d)):
        exact = assert_read_alike(document)
        assert exact.ocsp_responses == tuple(ocsp)
        assert exact.extra_certificates == extra


@pytest.mark.parametrize(
    "name", ["A & B <c> \"d\" 'e'", "ümlaut € 漢字 😀", "a,b+c;d=e\\f", "]]>", "x" * 60]
)
def test_names_of_issuers_may_be_awkward(bench: Bench, name: str) -> None:
    issuing = bench.lab.issuing.identity
    key = bench.identity.certificate.public_key
    subject = build_name([("CN", name)])
    ca = issue(issuing, subject, issuing.certificate.public_key, CertificateKind.ISSUING, at=NOW)
    signer = issue(
        Identity(ca, issuing.private_key),
        build_name([("CN", "x")]),
        key,
        CertificateKind.SIGN,
        at=NOW,
    )
    document = written(bench, certificate=signer)
    assert_read_alike(document)
    assert_read_alike(in_reference_layout(document))


@pytest.mark.parametrize("width", [76, 64, 10_000])
def test_the_layout_of_the_reference_is_exact_and_verifies(any_bench: Bench, width: int) -> None:
    ours = any_bench.sign(list(PARTS.values())).signature
    document = resigned(any_bench, in_reference_layout(ours, width=width))
    verify_core(assert_read_alike(document), PARTS)


@pytest.mark.parametrize(
    "name",
    ["common-test/sign-0.xml", "globalconf-impl/sign-0-ocsp-no-responses.xml"],
)
def test_documents_of_the_reference(name: str) -> None:
    document = (REFERENCE / "signatures" / name).read_bytes()
    if b"EncapsulatedOCSPValue" in document:
        assert_read_alike(document)
    else:
        assert read_exact_signature(document) is None


def test_every_document_of_the_reference_is_read_alike_or_left_to_the_parser() -> None:
    documents = [
        path.read_bytes() for path in REFERENCE.rglob("*.xml") if b"Signature>" in path.read_bytes()
    ]
    exact = [document for document in documents if read_exact_signature(document) is not None]
    assert exact
    for document in exact:
        assert_read_alike(document)


def test_reads_the_fast_way_only_what_is_exact(bench: Bench) -> None:
    document = written(bench)
    assert isinstance(read_signature(document), ExactSignature)
    assert isinstance(read_signature(document.replace(b"?><", b"?>\n<", 1)), ParsedSignature)
    renamed = document.replace(b"<ds:", b"<sig:").replace(b"</ds:", b"</sig:")
    renamed = renamed.replace(b"xmlns:ds", b"xmlns:sig")
    assert isinstance(read_signature(renamed), ParsedSignature)


NOT_EXACT = {
    "white space at the end": (b"</asic:XAdESSignatures>", b"</asic:XAdESSignatures>\n"),
    "a byte order mark": (b"<?xml", b"\xef\xbb\xbf<?xml"),
    "single quotes": (b'Id="signature"', b"Id='signature'"),
    "another order of attributes": (
        b'Id="signature-reference-0" URI="/message.xml"',
        b'URI="/message.xml" Id="signature-reference-0"',
    ),
    "another prefix": (b"xades:", b"x:"),
    "an empty element": (b"></ds:SignatureMethod>", b"/>"),
    "a comment": (b"</ds:SignedInfo>", b"<!-- --></ds:SignedInfo>"),
    "a processing instruction": (b"</ds:SignedInfo>", b"<?x?></ds:SignedInfo>"),
    "a character reference": (b"text/xml<", b"text&#47;xml<"),
    "an entity in a value": (b"<ds:SignatureValue Id", b"&x;<ds:SignatureValue Id"),
    "a CDATA section": (b"text/xml<", b"<![CDATA[text/xml]]><"),
    "a document type": (b"?><asic", b"?><!DOCTYPE x><asic"),
    "a second signature value": (
        b"<ds:KeyInfo>",
        b'<ds:SignatureValue Id="signature-value">AA==</ds:SignatureValue><ds:KeyInfo>',
    ),
    "a second certificate": (
        b"<ds:X509Certificate>",
        b"<ds:X509Certificate>AA==</ds:X509Certificate><ds:X509Certificate>",
    ),
    "another namespace declaration": (b"<ds:SignedInfo>", b'<ds:SignedInfo xmlns:x="y">'),
    "a redefined prefix": (b"<ds:SignedInfo>", b'<ds:SignedInfo xmlns:ds="y">'),
    "another object": (b"<ds:Object>", b"<ds:Object></ds:Object><ds:Object>"),
    "a transform": (
        b'URI="#signed-properties">',
        b'URI="#signed-properties"><ds:Transforms></ds:Transforms>',
    ),
    "another reference": (b'"/message.xml"', b'"#signed-properties"'),
    "another target": (b'Target="#signature"', b'Target="#signature-value"'),
    "another Id": (b'<xades:SignedProperties Id="signed', b'<xades:SignedProperties Id="other'),
    "exclusive canonical form": (b"REC-xml-c14n-20010315", b"REC-xml-exc-c14n"),
    "white space in base64": (b"<ds:X509Certificate>MII", b"<ds:X509Certificate>MI I"),
    "too few characters of base64": (b"<ds:X509Certificate>M", b"<ds:X509Certificate>"),
    "a carriage return in a name": (b"<ds:X509IssuerName>", b"<ds:X509IssuerName>\r"),
    "a tab in a name": (b"<ds:X509IssuerName>", b"<ds:X509IssuerName>\t"),
    "a reference in a name": (b"<ds:X509IssuerName>", b"<ds:X509IssuerName>&#65;"),
    "a quote reference in a name": (b"<ds:X509IssuerName>", b"<ds:X509IssuerName>&quot;"),
    "a separator in a name": (b"<ds:X509IssuerName>", b"<ds:X509IssuerName>\xe2\x80\xa8"),
    "broken UTF-8 in a name": (b"<ds:X509IssuerName>", b"<ds:X509IssuerName>\xff"),
    "a surrogate in a name": (b"<ds:X509IssuerName>", b"<ds:X509IssuerName>\xed\xa0\x80"),
    "an overlong character": (b"<ds:X509IssuerName>", b"<ds:X509IssuerName>\xc0\xbc"),
    "a zero octet": (b"<ds:X509IssuerName>", b"<ds:X509IssuerName>\x00"),
    "no moment": (b"<xades:SigningTime>2026-03-01", b"<xades:SigningTime>2026-02-30"),
    "another form of a moment": (b".250Z", b"Z"),
    "an unknown digest": (b"xmlenc#sha512", b"xmlenc#sha513"),
    "an unknown signature algorithm": (b"-sha512", b"-sha513"),
    "an unknown media type": (b"text/xml<", b"text/html<"),
    "another policy": (b"dsig-profile-1.2.pdf", b"dsig-profile-1.3.pdf"),
    "OCSP responses numbered from two": (b"ocsp-response-1", b"ocsp-response-2"),
    "a certificate that isn't one": (b"<ds:X509Certificate>MII", b"<ds:X509Certificate>AAA"),
}


@pytest.mark.parametrize(("old", "new"), NOT_EXACT.values(), ids=NOT_EXACT.keys())
def test_leaves_everything_else_to_the_parser(bench: Bench, old: bytes, new: bytes) -> None:
    document = written(bench)
    assert old in document
    changed = document.replace(old, new, 1)
    assert read_exact_signature(changed) is None
    if new != b"/>":  # which belongs to the layout of the reference
        assert read_exact_signature(in_reference_layout(changed)) is None


def test_the_two_layouts_dont_mix(bench: Bench) -> None:
    document = in_reference_layout(written(bench))
    assert_read_alike(document)
    between_elements = list(re.finditer(rb">\n<ds|>\n</ds", document))
    assert len(between_elements) > 15
    for found in between_elements:
        changed = document[: found.start() + 1] + document[found.start() + 2 :]
        assert read_exact_signature(changed) is None


def test_certificates_must_match_their_references(bench: Bench) -> None:
    document = written(bench, intermediates=bench.lab.ca_certificates)
    at = document.index(b"#encapsulated-cert-2")
    digest = document.index(b"<ds:DigestValue>", at) + len(b"<ds:DigestValue>")
    changed = document[:digest] + b"AAAA" + document[digest + 4 :]
    assert read_exact_signature(changed) is None
    with pytest.raises(PostroadError, match="differs from its digest"):
        read_signature(changed)


def test_a_certificate_without_its_reference_is_not_exact(bench: Bench) -> None:
    document = written(bench, intermediates=bench.lab.ca_certificates)
    start = document.index(b'<xades:Cert URI="#encapsulated-cert-2">')
    end = document.index(b"</xades:CertRefs>")
    assert read_exact_signature(document[:start] + document[end:]) is None


def test_large_documents_are_left_to_the_parser(bench: Bench) -> None:
    document = written(bench, ocsp=[b"x" * MAX_EXACT_BYTES])
    assert read_exact_signature(document) is None
    assert read_signature(document).ocsp_responses == (b"x" * MAX_EXACT_BYTES,)


def test_more_responses_than_are_accepted_are_left_to_the_parser(bench: Bench) -> None:
    document = written(bench, ocsp=[b"x"] * 21)
    assert read_exact_signature(document) is None
    with pytest.raises(PostroadError, match="more than 20"):
        read_signature(document)


def test_nothing_but_the_signed_properties_can_be_referred_to(bench: Bench) -> None:
    exact = assert_read_alike(written(bench))
    others = [("other", CanonicalForm()), ("signed-properties", CanonicalForm(exclusive=True))]
    for identifier, form in others:
        with pytest.raises(PostroadError) as refused:
            exact.element_octets(identifier, form)
        assert refused.value.code is FaultCode.MALFORMED_SIGNATURE


def test_an_exact_signature_over_something_else_is_refused(bench: Bench) -> None:
    exact = assert_read_alike(bench.sign(list(PARTS.values())).signature)
    verify_core(exact, PARTS)
    forged = [
        replace(exact, signed_info=exact.signed_info + b" "),
        replace(exact, signed_properties=exact.signed_properties + b" "),
        replace(exact, value=bytes(len(exact.value))),
    ]
    for signature in forged:
        with pytest.raises(PostroadError) as refused:
            verify_core(signature, PARTS)
        assert refused.value.code is FaultCode.INVALID_SIGNATURE_VALUE
