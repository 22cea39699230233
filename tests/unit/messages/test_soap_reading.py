from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.faults import Fault, encode_soap_fault
from postroad.messages.soap import SoapEnvelope, SoapFault
from postroad.messages.soap_reading import SoapReader, read_soap
from postroad.wire.xml_stream import StreamLimits
from support.soap_messages import FIELDS, body, envelope, header


def read(xml: bytes) -> SoapEnvelope:
    document = read_soap(xml)
    assert isinstance(document, SoapEnvelope)
    return document


def refused(xml: bytes) -> FaultCode:
    with pytest.raises(MalformedInput) as caught:
        read_soap(xml)
    return caught.value.code


def test_keeps_the_bytes_as_they_came() -> None:
    xml = b"\xef\xbb\xbf" + envelope() + b"\r\n<!-- end -->"
    message = read(xml)
    assert message.xml == xml
    assert message.body_name == "find"
    assert not message.is_response
    assert not message.is_rpc


@pytest.mark.parametrize("cut", range(0, 1200, 7))
def test_reads_a_message_split_at_any_byte(cut: int) -> None:
    xml = envelope()
    reader = SoapReader()
    reader.feed(xml[:cut])
    reader.feed(xml[cut:])
    assert reader.finish() == read(xml)


@pytest.mark.parametrize(
    ("name", "is_response"),
    [("find", False), ("findResponse", True), ("findResponses", False), ("findX", False)],
)
def test_the_element_in_the_body_tells_a_response(name: str, is_response: bool) -> None:
    message = read(envelope(header(), body(f"<{name}/>")))
    assert message.body_name == name
    assert message.is_response is is_response


def test_soap_encoding_marks_an_rpc_message() -> None:
    style = ' s:encodingStyle="{}"'
    soap_encoding = "http://schemas.xmlsoap.org/soap/encoding/"
    assert read(envelope(attributes=style.format(soap_encoding))).is_rpc
    assert not read(envelope(attributes=style.format("urn:other"))).is_rpc
    assert not read(envelope(attributes=f' encodingStyle="{soap_encoding}"')).is_rpc


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"<a/>",
        b"<Envelope/>",
        envelope().replace(b"http://schemas.xmlsoap.org/soap/envelope/", b"urn:soap"),
        envelope().replace(
            b"schemas.xmlsoap.org/soap/envelope/", b"www.w3.org/2003/05/soap-envelope"
        ),
        envelope()[:-1],
        envelope() + b"x",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + envelope(),
        envelope().replace(b"q-1", b"&b;"),
        envelope().replace(b"q-1", b"\xff"),
        envelope(header(), header(), body()),
        envelope(body(), header()),
    ],
)
def test_refuses_what_is_not_one_soap_envelope(xml: bytes) -> None:
    assert refused(xml) is FaultCode.INVALID_SOAP


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        (envelope(body()), FaultCode.MISSING_HEADER),
        (envelope(header()), FaultCode.MISSING_BODY),
        (envelope(header(), "<x:Body><find/></x:Body>"), FaultCode.MISSING_BODY),
        (envelope(header(), body("")), FaultCode.INVALID_BODY),
        (envelope(header(), body("text<!-- find -->")), FaultCode.INVALID_BODY),
        (envelope(header(), body("<find/><find/>")), FaultCode.INVALID_BODY),
        (envelope(header(), body(), body()), FaultCode.INVALID_BODY),
        (envelope(header(), body("<fin/>")), FaultCode.INCONSISTENT_HEADERS),
        (envelope(header(), body("<Find/>")), FaultCode.INCONSISTENT_HEADERS),
        # The first mistake in the reference's order decides.
        (envelope(header(""), body("")), FaultCode.MISSING_HEADER_FIELD),
        (envelope(header("")), FaultCode.MISSING_HEADER_FIELD),
        (envelope("", ""), FaultCode.MISSING_HEADER),
        (envelope(header(FIELDS * 2), body("")), FaultCode.DUPLICATE_HEADER_FIELD),
    ],
)
def test_refuses_a_broken_shape_with_the_code_of_the_reference(xml: bytes, code: FaultCode) -> None:
    assert refused(xml) is code


def test_other_children_of_the_envelope_are_passed_over() -> None:
    assert read(envelope("<x:a/>", header(), "<x:b/>", body(), "<x:c/>")).body_name == "find"


def test_header_fields_count_only_in_the_header() -> None:
    inside = f'<find>{FIELDS}<s:Body><a/><b/></s:Body><s:Fault xmlns:s="urn:n"/></find>'
    assert read(envelope(header(), body(inside))).header.query_id == "q-1"


def test_reads_a_fault_without_asking_for_a_header() -> None:
    xml = encode_soap_fault(Fault("server.x", "broken", "actor", "uuid"))
    assert read_soap(xml) == SoapFault(Fault("server.x", "broken", "actor", "uuid"), xml)


def test_a_fault_beside_another_element_is_still_a_fault() -> None:
    xml = envelope(header(), body("<find/><s:Fault><faultcode>c</faultcode></s:Fault>"))
    assert isinstance(read_soap(xml), SoapFault)


def test_a_fault_that_is_not_in_the_body_is_none() -> None:
    assert isinstance(read_soap(envelope(header(FIELDS + "<s:Fault/>"), body())), SoapEnvelope)


@pytest.mark.parametrize(
    ("xml", "limits"),
    [
        (envelope(), StreamLimits(max_bytes=500)),
        (
            envelope(header(), body("<find>" + "<a>" * 40 + "</a>" * 40 + "</find>")),
            StreamLimits(max_depth=40),
        ),
        (
            envelope(header(), body("<find>" + "<a/>" * 50 + "</find>")),
            StreamLimits(max_elements=50),
        ),
    ],
)
def test_bounds_size_depth_and_elements(xml: bytes, limits: StreamLimits) -> None:
    read_soap(xml)
    with pytest.raises(MalformedInput) as caught:
        read_soap(xml, limits=limits)
    assert caught.value.code is FaultCode.INVALID_SOAP
