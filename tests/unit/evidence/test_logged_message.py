from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.logged_message import MessageKind, parse_logged_message
from postroad.identifiers import MemberId, ServiceId, SubsystemId
from support.signing import CLIENT, REST_REQUEST

SOAP = """<?xml version="1.0" encoding="UTF-8"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"
  xmlns:x="http://x-road.eu/xsd/xroad.xsd" xmlns:id="http://x-road.eu/xsd/identifiers">
 <s:Header>
  <!-- a comment between elements is harmless -->
  <x:client id:objectType="SUBSYSTEM"><id:xRoadInstance>TEST</id:xRoadInstance>
   <id:memberClass>COM</id:memberClass><id:memberCode>1234</id:memberCode>
   <id:subsystemCode>app</id:subsystemCode></x:client>
  <x:service id:objectType="SERVICE"><id:xRoadInstance>TEST</id:xRoadInstance>
   <id:memberClass>GOV</id:memberClass><id:memberCode>99</id:memberCode>
   <id:serviceCode>persons</id:serviceCode><id:serviceVersion>v1</id:serviceVersion></x:service>
  <x:id>q-1</x:id><x:userId>EE1</x:userId><x:issue>case 7</x:issue>
 </s:Header>
 <s:Body><p:persons xmlns:p="urn:p"/></s:Body>
</s:Envelope>"""
SERVICE = ServiceId(MemberId("TEST", "GOV", "99"), "persons", "v1")
REST_RESPONSE = (
    b"200\r\nOK\r\nx-road-id:q-1\r\nx-road-client:TEST/COM/1234/app\r\n"
    b"x-road-service:TEST/GOV/99/registry/persons\r\nx-road-request-id:5b1c\r\n"
    b"x-road-request-hash:AA==\r\n"
)


def test_soap_request_is_signed_by_its_client() -> None:
    message = parse_logged_message(SOAP.encode())
    assert (message.kind, message.is_response) == (MessageKind.SOAP, False)
    assert message.signer == message.client == CLIENT
    assert message.service == SERVICE
    assert (message.query_id, message.user_id, message.issue) == ("q-1", "EE1", "case 7")
    assert message.request_id is None


def test_soap_response_is_signed_by_the_provider() -> None:
    message = parse_logged_message(SOAP.replace("p:persons", "p:personsResponse").encode())
    assert message.is_response
    assert message.signer == MemberId("TEST", "GOV", "99")


def test_rest_request_is_signed_by_its_client() -> None:
    message = parse_logged_message(REST_REQUEST)
    assert (message.kind, message.is_response) == (MessageKind.REST, False)
    assert message.signer == CLIENT
    assert (message.query_id, message.request_id) == ("q-1", "5b1c")


def test_rest_response_is_signed_by_the_provider() -> None:
    message = parse_logged_message(REST_RESPONSE)
    assert (message.kind, message.is_response) == (MessageKind.REST, True)
    assert message.signer == SubsystemId("TEST", "GOV", "99", "registry")
    assert message.client == CLIENT


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_reads_soap_with_a_byte_order_mark(encoding: str) -> None:
    text = SOAP.replace('encoding="UTF-8"', "")
    assert parse_logged_message(text.encode(encoding)).client == CLIENT


def test_reads_soap_in_another_encoding() -> None:
    text = SOAP.replace("UTF-8", "ISO-8859-1").replace("q-1", "päring")
    assert parse_logged_message(text.encode("iso-8859-1")).query_id == "päring"


BROKEN = {
    "no SOAP": ("<x/>", FaultCode.INVALID_SOAP),
    "no XML": ("<x>", FaultCode.INVALID_XML),
    "SOAP 1.2": (
        SOAP.replace("schemas.xmlsoap.org/soap/envelope/", "www.w3.org/2003/05/soap-envelope"),
        FaultCode.INVALID_SOAP,
    ),
    "no header": (SOAP.replace("s:Header", "s:Other"), FaultCode.MISSING_HEADER),
    "no body": (SOAP.replace("s:Body", "s:Other"), FaultCode.MISSING_BODY),
    "empty body": (SOAP.replace('<p:persons xmlns:p="urn:p"/>', ""), FaultCode.INVALID_BODY),
    "no client": (SOAP.replace("x:client", "x:other"), FaultCode.MISSING_HEADER_FIELD),
    "no service": (SOAP.replace("x:service", "x:other"), FaultCode.MISSING_HEADER_FIELD),
    "no id": (SOAP.replace("x:id>", "x:other>"), FaultCode.MISSING_HEADER_FIELD),
    "no member code": (SOAP.replace("id:memberCode", "id:other"), FaultCode.MISSING_HEADER_FIELD),
    "two clients": (
        SOAP.replace("<x:id>", "<x:client/><x:id>"),
        FaultCode.DUPLICATE_HEADER_FIELD,
    ),
    "two member codes": (
        SOAP.replace("<id:memberCode>", "<id:memberCode>9</id:memberCode><id:memberCode>"),
        FaultCode.DUPLICATE_HEADER_FIELD,
    ),
    "comment in a name": (
        SOAP.replace("<id:memberCode>1234<", "<id:memberCode>12<!-- -->34<"),
        FaultCode.MISSING_HEADER_FIELD,
    ),
}


@pytest.mark.parametrize(("text", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_refuses_a_message_without_clear_names(text: str, code: FaultCode) -> None:
    with pytest.raises(MalformedInput) as refused:
        parse_logged_message(text.encode())
    assert refused.value.code is code


@pytest.mark.parametrize("missing", [b"x-road-client", b"x-road-service"])
def test_refuses_a_rest_response_that_names_no_party(missing: bytes) -> None:
    with pytest.raises(MalformedInput):
        parse_logged_message(REST_RESPONSE.replace(missing, b"x-other"))


@pytest.mark.parametrize("data", [b"", b"GET", b"\xff\xfe", b"200\r\n"])
def test_refuses_what_is_no_message(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        parse_logged_message(data)
