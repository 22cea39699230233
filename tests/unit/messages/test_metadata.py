from __future__ import annotations

import pytest

from postroad.errors import MalformedInput
from postroad.evidence.logged_message import parse_logged_message
from postroad.messages.metadata import (
    rest_request_metadata,
    rest_response_metadata,
    soap_metadata,
)
from postroad.messages.rest import RestResponse
from postroad.messages.soap import SoapEnvelope
from postroad.messages.soap_reading import read_soap
from support.soap_messages import FIELDS, body, envelope, header

REQUEST = (
    b"GET\r\n/r1/EE/GOV/1/reg/persons/47101010033?name=Mari\r\n"
    b"X-Road-Client:EE/COM/2/app\r\nAuthorization:secret\r\nx-road-id:q-1\r\n"
)
RESPONSE = (
    b"404\r\nNot Found\r\nX-Own:secret\r\nx-road-id:q-1\r\nx-road-client:EE/COM/2/app\r\n"
    b"x-road-service:EE/GOV/1/reg/persons\r\nx-road-request-id:u\r\n"
)


def test_a_request_keeps_who_asked_which_service_and_nothing_of_what() -> None:
    kept = rest_request_metadata(REQUEST)
    assert kept == (
        b"GET\r\n/r1/EE/GOV/1/reg/persons\r\nX-Road-Client:EE/COM/2/app\r\nx-road-id:q-1\r\n"
    )
    assert parse_logged_message(kept).client == parse_logged_message(REQUEST).client


def test_a_response_keeps_its_status_and_the_protocols_headers() -> None:
    kept = RestResponse.parse(rest_response_metadata(RESPONSE))
    assert (kept.status, kept.reason, len(kept.headers)) == (404, "Not Found", 4)
    assert b"secret" not in kept.encode()


def test_an_envelope_keeps_its_header_and_an_empty_element() -> None:
    fields = (
        FIELDS
        + "<x:userId>EE&lt;1&amp;</x:userId><x:issue>12</x:issue>"
        + "<r:representedParty><r:partyCode>p&amp;1</r:partyCode></r:representedParty>"
        + "<t:securityToken>secret</t:securityToken>"
        + '<x:requestHash algorithmId="urn:h">aGFzaA==</x:requestHash>'
    )
    whole = envelope(
        header(fields), body('<p:findResponse xmlns:p="urn:p">secret</p:findResponse>')
    )
    kept = soap_metadata(whole)
    before, after = read_soap(whole), read_soap(kept)
    assert isinstance(before, SoapEnvelope)
    assert isinstance(after, SoapEnvelope)
    assert b"secret" not in kept
    assert after.header.security_tokens == ()
    for name in ("client", "service", "query_id", "user_id", "issue", "represented_party"):
        assert getattr(after.header, name) == getattr(before.header, name)
    assert after.header.request_hash == before.header.request_hash
    assert parse_logged_message(kept).is_response


def test_a_fault_is_no_message() -> None:
    fault = body("<s:Fault><faultcode>x</faultcode><faultstring>y</faultstring></s:Fault>")
    with pytest.raises(MalformedInput):
        soap_metadata(envelope(fault))
