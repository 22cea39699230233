from __future__ import annotations

import json

import pytest

from postroad.errors import FaultCode, MalformedInput, RefusedRequest, RemoteFault
from postroad.fault_table import Dialect
from postroad.messages.faults import (
    CLIENT_SIDE,
    PROVIDER_SIDE,
    Fault,
    encode_soap_fault,
    fault_of,
    parse_soap_fault,
    remote_fault,
    rest_error,
)

FAULT = Fault("server.serverproxy.access_denied", "no <right>", "", "uuid")


def test_writes_the_fault_on_one_line_as_peers_do() -> None:
    assert encode_soap_fault(FAULT) == (
        b'<?xml version="1.0" encoding="UTF-8"?>'
        b'<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/">'
        b"<SOAP-ENV:Body><SOAP-ENV:Fault><faultcode>server.serverproxy.access_denied</faultcode>"
        b"<faultstring>no &lt;right&gt;</faultstring><faultactor></faultactor>"
        b'<detail><faultDetail xmlns="">uuid</faultDetail></detail>'
        b"</SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>"
    )


def test_reads_back_what_it_writes() -> None:
    assert parse_soap_fault(encode_soap_fault(FAULT)) == FAULT


def test_a_character_that_xml_cannot_hold_does_not_break_the_fault() -> None:
    assert parse_soap_fault(encode_soap_fault(Fault("c", "a\x00b"))).string == "a\ufffdb"


def test_reads_detail_text_without_a_detail_element() -> None:
    xml = encode_soap_fault(FAULT).replace(b'<faultDetail xmlns="">uuid</faultDetail>', b" plain ")
    assert parse_soap_fault(xml).detail == "plain"


def test_bounds_what_a_peer_writes() -> None:
    fault = parse_soap_fault(encode_soap_fault(Fault("c" * 9999, "s" * 99999)))
    assert len(fault.code) == 512
    assert len(fault.string) == 16384


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        (b"", FaultCode.INVALID_SOAP),
        (b"<a/>", FaultCode.INVALID_SOAP),
        (b"<!DOCTYPE a><a/>", FaultCode.INVALID_SOAP),
        (
            b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body/></e:Envelope>',
            FaultCode.INVALID_MESSAGE,
        ),
    ],
)
def test_refuses_what_is_not_a_fault(xml: bytes, code: FaultCode) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_soap_fault(xml)
    assert caught.value.code is code


def test_only_a_fault_below_the_body_is_a_fault() -> None:
    hidden = encode_soap_fault(FAULT).replace(b"SOAP-ENV:Body", b"SOAP-ENV:Header")
    with pytest.raises(MalformedInput):
        parse_soap_fault(hidden)


def test_what_the_consumer_did_wrong_gets_no_side() -> None:
    error = RefusedRequest("no", code=FaultCode.INVALID_HTTP_METHOD).within("client")
    fault = fault_of(error, side_prefix=CLIENT_SIDE, detail_id="u")
    assert fault.code == "client.invalid_http_method"


def test_puts_the_side_in_front_of_our_own_code_once() -> None:
    error = RefusedRequest("no", code=FaultCode.ACCESS_DENIED).within(*PROVIDER_SIDE)
    assert fault_of(error, side_prefix=PROVIDER_SIDE, detail_id="u") == Fault(
        "server.serverproxy.access_denied", "no", "", "u"
    )


def test_spells_the_older_way_when_asked() -> None:
    error = RefusedRequest("no", code=FaultCode.ACCESS_DENIED)
    fault = fault_of(error, side_prefix=PROVIDER_SIDE, detail_id="u", dialect=Dialect.CAMEL)
    assert fault.code == "Server.ServerProxy.AccessDenied"


def test_relays_a_remote_fault_word_for_word() -> None:
    error = RemoteFault("Server.X.Y", "text", actor="a", detail="d")
    assert fault_of(error, side_prefix=CLIENT_SIDE, detail_id="u") == (
        Fault("Server.X.Y", "text", "a", "d")
    )
    assert remote_fault(Fault("c", "s", "a", "d")).fault_code == "c"


def test_an_unexpected_error_tells_nothing_of_itself() -> None:
    fault = fault_of(KeyError("secret"), side_prefix=CLIENT_SIDE, detail_id="u")
    assert fault == Fault("server.clientproxy.internal_error", "Internal error", "", "u")


def test_the_rest_error_is_json_in_this_order() -> None:
    error = rest_error(Fault("server.a", 'sä"', "", "u"), [])
    assert error.status == 500
    assert error.headers == (("Content-Type", "application/json"), ("X-Road-Error", "server.a"))
    assert error.body == '{"type":"server.a","message":"sä\\"","detail":"u"}'.encode()
    assert list(json.loads(error.body)) == ["type", "message", "detail"]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (["text/xml"], "text/xml;charset=utf-8"),
        (["application/json, APPLICATION/XML;q=0.1"], "application/xml;charset=utf-8"),
        (["a/b", "text/*"], "text/xml;charset=utf-8"),
        (["*/*"], "application/json"),
        ([], "application/json"),
    ],
)
def test_any_xml_type_selects_xml(accept: list[str], content_type: str) -> None:
    assert rest_error(FAULT, accept).headers[0] == ("Content-Type", content_type)


def test_the_xml_error_escapes_its_texts() -> None:
    assert rest_error(FAULT, ["text/xml"]).body == (
        b'<?xml version="1.0" encoding="UTF-8" standalone="no"?><error>'
        b"<type>server.serverproxy.access_denied</type><message>no &lt;right&gt;</message>"
        b"<detail>uuid</detail></error>"
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [("server.x", 500), ("Server.X", 500), ("client.x", 400), ("Client.X", 400), ("", 400)],
)
def test_the_status_follows_the_code_in_either_spelling(code: str, status: int) -> None:
    assert rest_error(Fault(code, ""), []).status == status


def test_a_foreign_code_cannot_break_the_header() -> None:
    assert rest_error(Fault("a\r\nSet-Cookie: b", ""), []).headers[1] == (
        "X-Road-Error",
        "a??Set-Cookie: b",
    )
