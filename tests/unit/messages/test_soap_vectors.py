"""Every sample of the reference's proxy tests, read as its tests post it, with its outcome.

Content types and peers' roles are those of the reference's test cases. What only a security server
can decide (unknown members, access rights, missing signatures) is decided elsewhere: such a sample
is good here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.attachments import PackageEvent, PackageReader
from postroad.messages.events import AttachmentData, AttachmentStart, SoapMessage
from postroad.messages.soap import SoapEnvelope, SoapFault
from postroad.messages.soap_reading import read_soap
from postroad.messages.soap_writing import with_request_hash

VECTORS = Path(__file__).parents[2] / "data" / "reference" / "messages"
XML = "text/xml; charset=UTF-8"
RELATED = "multipart/related; charset=UTF-8; boundary=jetty771207119h3h10dty"
MTOM = (
    'Multipart/Related; start-info="application/soap+xml"; type="application/xop+xml"; '
    'boundary="jetty771207119h3h10dty"'
)
XOP = "multipart/related; boundary=MIMEBoundaryurn_uuid_0FE43E4D025F0BF3DC11582467646812"
GOOD, FAULT = "good", "fault"

REQUESTS: list[tuple[str, str, str]] = [
    ("allowedMethods.query", XML, GOOD),
    ("attach-error-withsoap.query", XML, "inconsistent_headers"),
    ("attachm-error.query", RELATED, "invalid_content_type"),
    ("attachm-faulty-soap.query", RELATED, "missing_header_field"),
    ("attachm-mtom.query", MTOM, GOOD),
    ("attachm-no-soap.query", RELATED, "invalid_content_type"),
    ("attachm.query", RELATED, GOOD),
    ("attachm2-utf8bom-inside.query", RELATED, GOOD),
    ("attachm2.query", "multipart/related; boundary=jetty771207119h3h10dty", GOOD),
    ("attachments.query", RELATED, GOOD),
    ("bigAttachment.query", XML, GOOD),
    ("cdata.query", XML, GOOD),
    ("empty.query", XML, "invalid_soap"),
    ("empty.query", RELATED, "missing_soap"),
    ("fault.query", XML, FAULT),
    ("faulty-header.query", XML, "missing_header_field"),
    ("faulty-header2.query", XML, "duplicate_header_field"),
    ("faulty-multipart.query", RELATED, "missing_soap"),
    ("getstate-defaultnamespace.query", XML, GOOD),
    ("getstate-subsystem.query", XML, GOOD),
    ("getstate.query", XML, GOOD),
    ("getstate.query", "blah", "invalid_content_type"),
    ("getstate.query", "application/soap+xml", "invalid_content_type"),
    ("getstate.query", "", "invalid_request"),
    ("getstate.query", RELATED, "missing_soap"),
    ("getstate.query", "multipart/related", "invalid_content_type"),
    ("inconsistent-headers.query", XML, "inconsistent_headers"),
    ("invalid-service-address.query", XML, GOOD),
    ("listMethods.query", XML, GOOD),
    ("malformed-body1.query", XML, "invalid_body"),
    ("malformed-body2.query", XML, "invalid_body"),
    ("malformed-body3.query", XML, "inconsistent_headers"),
    ("malformed-protocolVersion.query", XML, "invalid_protocol_version"),
    ("mimesoap.query", RELATED, GOOD),
    ("missing-body.query", XML, "missing_body"),
    ("missing-org.query", XML, GOOD),
    ("missing-protocolVersion.query", XML, "missing_header_field"),
    ("missing-userId.query", XML, GOOD),
    ("missingobjecttype.query", XML, "invalid_xml"),
    ("no-header.query", XML, "missing_header"),
    ("no-signature.query", "multipart/related; boundary=jetty42534330h7vzfqv2", GOOD),
    ("no-soap.query", RELATED, "invalid_soap"),
    ("notAllowed.query", XML, GOOD),
    ("nowhitespace.query", XML, GOOD),
    ("proxyemulator.query", XML, GOOD),
    ("request-suffix.query", XML, GOOD),
    ("signing-error-request.query", XML, GOOD),
    ("signing-error-response.query", XML, GOOD),
    ("simple-representedparty.query", XML, GOOD),
    ("simple-rpc.query", XML, GOOD),
    ("simple.query", XML, GOOD),
    ("simplesoap.xml", XML, GOOD),
    ("smallAttachment.query", RELATED, GOOD),
    ("soapfault-mtom.query", MTOM, GOOD),
    ("soapfaulterror.query", XML, FAULT),
    ("split-header.query", XML, GOOD),
    ("wrong-protocolVersion.query", XML, "invalid_protocol_version"),
    ("wrong-version.query", XML, "invalid_protocol_version"),
    ("xml.query", XML, GOOD),
    ("xmlencoded.query", XML, GOOD),
    # Not messages at all: a signature document and an OCSP response.
    ("signature.xml", XML, "invalid_soap"),
    ("test.ocsp", XML, "invalid_soap"),
]
ANSWERS: list[tuple[str, str, str]] = [
    ("attachm-mtom.answer", f"{MTOM};charset=UTF-8", GOOD),
    ("attachm.answer", XML, GOOD),
    ("attachm2-utf8bom-inside.answer", RELATED, GOOD),
    ("attachm2.answer", RELATED, GOOD),
    ("attachment-small-mantis.answer", XML, GOOD),
    ("attachments.answer", RELATED, GOOD),
    ("bigAttachment.answer", XML, GOOD),
    ("cdata.answer", XML, GOOD),
    ("customfault.answer", XML, FAULT),
    ("customsoapenv.answer", XML, FAULT),
    ("faulty-fault.answer", "text/xml", FAULT),
    ("getstate-iso88591.answer", "text/xml;charset=ISO-8859-1", GOOD),
    ("getstate-subsystem.answer", XML, GOOD),
    ("getstate.answer", XML, GOOD),
    ("mimesoap.answer", RELATED, GOOD),
    ("missing-userId.answer", XML, GOOD),
    ("nowhitespace.answer", XML, GOOD),
    ("requesthash.answer", XML, GOOD),
    ("response-with-requestId.answer", XML, GOOD),
    ("simple-comment.answer", XML, GOOD),
    ("simple.answer", XML, GOOD),
    ("smallAttachment.answer", XML, GOOD),
    ("soapfault-mtom.answer", f"{MTOM};charset=UTF-8", FAULT),
    ("split-header.answer", XML, GOOD),
    ("xmlencoded.answer", XML, GOOD),
    ("xop.answer", XOP, GOOD),
    # Requests that test services answer with.
    ("attachm-error.query", RELATED, "invalid_content_type"),
    ("attachm-faulty-soap.query", RELATED, "missing_header_field"),
    ("attachm-no-soap.query", RELATED, "invalid_content_type"),
    ("empty.query", XML, "invalid_soap"),
    ("empty.query", RELATED, "invalid_message"),
    ("faulty-header.query", XML, "missing_header_field"),
    ("faulty-multipart.query", f"{RELATED}; charset=utf-8", "invalid_message"),
    ("getstate.answer", "blah", "invalid_content_type"),
    ("malformed-body2.query", XML, "invalid_body"),
    ("missing-body.query", XML, "missing_body"),
    ("no-header.query", XML, "missing_header"),
]


def read(data: bytes, content_type: str, missing: FaultCode, size: int) -> list[PackageEvent]:
    reader = PackageReader(content_type, missing=missing)
    events: list[PackageEvent] = []
    for start in range(0, len(data), size):
        events += reader.feed(data[start : start + size])
    return events + reader.finish()


def outcome(name: str, content_type: str, missing: FaultCode, size: int = 1 << 20) -> str:
    try:
        events = read((VECTORS / "proxy" / name).read_bytes(), content_type, missing, size)
    except MalformedInput as error:
        return error.code.value
    assert isinstance(events[0], SoapMessage)
    return FAULT if isinstance(events[0].document, SoapFault) else GOOD


@pytest.mark.parametrize(("name", "content_type", "expected"), REQUESTS)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_reads_a_request_of_the_reference_with_its_outcome(
    name: str, content_type: str, expected: str, size: int
) -> None:
    assert outcome(name, content_type, FaultCode.MISSING_SOAP, size) == expected


@pytest.mark.parametrize(("name", "content_type", "expected"), ANSWERS)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_reads_a_service_answer_of_the_reference_with_its_outcome(
    name: str, content_type: str, expected: str, size: int
) -> None:
    assert outcome(name, content_type, FaultCode.INVALID_MESSAGE, size) == expected


def test_no_sample_is_left_out() -> None:
    tested = {name for name, _, _ in REQUESTS + ANSWERS}
    assert tested == {path.name for path in (VECTORS / "proxy").iterdir()}


@pytest.mark.parametrize("name", sorted(path.name for path in (VECTORS / "metaservice").iterdir()))
def test_reads_every_metadata_request(name: str) -> None:
    document = read_soap((VECTORS / "metaservice" / name).read_bytes())
    assert isinstance(document, SoapEnvelope)
    expected = {
        "dummy.query": "getState",
        "getMetrics.query": "getSecurityServerMetrics",
        "getstate.query": "getState",
    }.get(name, name.removesuffix(".query"))
    assert document.header.service.service_code == expected
    assert document.body_name.startswith(expected)


def test_reads_the_sample_of_the_document_style() -> None:
    document = read_soap((VECTORS / "xroadDoclit2.request").read_bytes())
    assert isinstance(document, SoapEnvelope)
    assert str(document.header.client) == "EE/riigiasutus/consumer/subClient"
    assert str(document.header.service) == "EE/riigiasutus/producer/subService/bodyMassIndex/v1"
    assert document.body_name == "bodyMassIndex"


@pytest.mark.parametrize("name", ["v5DoclitWithVersion.request", "v5DoclitWithoutVersion.request"])
def test_messages_of_the_protocols_fifth_version_lack_every_field(name: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        read_soap((VECTORS / name).read_bytes())
    assert caught.value.code is FaultCode.MISSING_HEADER_FIELD


def test_no_sample_outside_the_folders_is_left_out() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    samples = [path.name for path in VECTORS.iterdir() if path.is_file()]
    assert [name for name in samples if f'"{name}"' not in source] == []


@pytest.mark.parametrize("name", ["getstate-subsystem.query", "getstate-subsystem.answer"])
def test_a_byte_order_mark_is_passed_over_and_kept(name: str) -> None:
    marked = b"\xef\xbb\xbf" + (VECTORS / "proxy" / name).read_bytes()
    document = read_soap(marked)
    assert isinstance(document, SoapEnvelope)
    assert document.xml == marked
    assert str(document.header.client) == "EE/BUSINESS/consumer/subsys1"


@pytest.mark.parametrize(
    ("name", "content_type"),
    [(name, kind) for name, kind, expected in ANSWERS if expected == GOOD],
)
def test_every_good_answer_takes_the_request_hash(name: str, content_type: str) -> None:
    data = (VECTORS / "proxy" / name).read_bytes()
    soap = read(data, content_type, FaultCode.INVALID_MESSAGE, 1 << 20)[0]
    assert isinstance(soap, SoapMessage)
    assert isinstance(soap.document, SoapEnvelope)
    again = read_soap(with_request_hash(soap.document, b"\x01" * 64))
    assert isinstance(again, SoapEnvelope)
    assert again.header.request_hash is not None
    assert again.header.request_hash.value == "AQEB" * 21 + "AQ=="


def attachments(name: str, content_type: str) -> list[tuple[str, dict[str, str], bytes]]:
    found: list[tuple[str, dict[str, str], bytes]] = []
    data = (VECTORS / "proxy" / name).read_bytes()
    for event in read(data, content_type, FaultCode.MISSING_SOAP, 7):
        if isinstance(event, AttachmentStart):
            assert event.number == len(found) + 1
            found.append((event.content_type, dict(event.headers), b""))
        elif isinstance(event, AttachmentData):
            kind, headers, octets = found[-1]
            found[-1] = kind, headers, octets + event.data
    return found


def test_a_nested_multipart_counts_as_its_parts() -> None:
    assert attachments("attachm.query", RELATED) == [
        ("text/plain", {"Client-Header": "FooBar"}, b"blaah")
    ]


def test_mtom_keeps_the_headers_of_every_part() -> None:
    name = "42a7ee0a-20ee-426b-a135-094d72bc138f@example.org"
    assert attachments("attachm-mtom.query", MTOM) == [
        ("text/plain; charset=UTF-8; name=attachment.txt", {"Content-ID": f"<{name}>"}, b"foobar")
    ]
    soap = read(
        (VECTORS / "proxy" / "attachm-mtom.query").read_bytes(), MTOM, FaultCode.MISSING_SOAP, 9
    )[0]
    assert isinstance(soap, SoapMessage)
    assert soap.content_type == ('application/xop+xml; type="application/soap+xml"; charset=utf-8')
    assert soap.headers == (("Content-ID", "<foo>"),)


def test_a_folded_header_is_unfolded() -> None:
    ((kind, headers, octets),) = attachments("xop.answer", XOP)
    assert kind == "text/plain"
    assert headers["content-id"] == "<1.urn:uuid:0FE43E4D025F0BF3DC11582467646811@apache.org>"
    assert headers["content-transfer-encoding"] == "binary"
    assert octets.startswith(b"77+9UE5HDQoaCgAAAA1JSERS")  # never decoded


def test_several_attachments_keep_their_order() -> None:
    octets = [data for _, _, data in attachments("attachments.query", RELATED)]
    assert octets == [b"blaah\n", b"blaah1\n", b"blaah2\n"]
