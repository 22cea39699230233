from __future__ import annotations

import base64

import pytest

from postroad.messages.soap import SoapEnvelope
from postroad.messages.soap_reading import read_soap
from postroad.messages.soap_writing import with_request_hash
from support.soap_messages import FIELDS, QUERY_ID, body, envelope, header

DIGEST = bytes(range(64))
VALUE = base64.b64encode(DIGEST).decode()
ELEMENT = (
    f'<x:requestHash algorithmId="http://www.w3.org/2001/04/xmlenc#sha512">{VALUE}</x:requestHash>'
)
RESPONSE = body("<findResponse/>")
XROAD = "http://x-road.eu/xsd/xroad.xsd"


def rewritten(xml: bytes) -> bytes:
    document = read_soap(xml)
    assert isinstance(document, SoapEnvelope)
    result = with_request_hash(document, DIGEST)
    again = read_soap(result)
    assert isinstance(again, SoapEnvelope)
    assert again.header.request_hash is not None
    assert again.header.request_hash.value == VALUE
    return result


def test_puts_the_hash_right_after_the_id_and_changes_nothing_else() -> None:
    xml = envelope(header(), RESPONSE)
    assert rewritten(xml) == xml.replace(b"</x:id>", b"</x:id>" + ELEMENT.encode())


def test_keeps_the_indentation() -> None:
    xml = envelope(header(FIELDS.replace(QUERY_ID, f"\r\n\t  {QUERY_ID}\n")), RESPONSE)
    assert b"</x:id>\r\n\t  " + ELEMENT.encode() + b"\n" in rewritten(xml)


def test_keeps_comments_sections_instructions_and_quotes() -> None:
    content = "<findResponse a='\"'><!-- c --><![CDATA[<&]]><?p i?>&#65;<b  /></findResponse >"
    assert content.encode() in rewritten(envelope(header(), body(content)))


@pytest.mark.parametrize(
    "query_id",
    [
        "<x:id/>",
        "<x:id />",
        "<x:id></x:id >",
        "<x:id a='/>'>/></x:id\n>",
        "<x:id><!-- /> --></x:id>",
        "<x:id a='1'\tb='2'>1<y/></x:id>",
    ],
)
def test_finds_the_end_of_any_id(query_id: str) -> None:
    xml = envelope(header(FIELDS.replace(QUERY_ID, query_id)), RESPONSE)
    written = query_id.encode()
    assert rewritten(xml) == xml.replace(written, written + ELEMENT.encode())


@pytest.mark.parametrize(
    ("query_id", "element"),
    [
        (f'<id xmlns="{XROAD}">1</id>', f'<requestHash xmlns="{XROAD}" '),
        (f"<y:id xmlns:y='{XROAD}'>1</y:id>", f'<y:requestHash xmlns:y="{XROAD}" '),
        ("<x:id xmlns:q='urn:q'>1</x:id>", f'<x:requestHash xmlns:x="{XROAD}" '),
    ],
)
def test_declares_the_namespace_where_the_id_does(query_id: str, element: str) -> None:
    xml = envelope(header(FIELDS.replace(QUERY_ID, query_id)), RESPONSE)
    assert (query_id + element).encode() in rewritten(xml)


def test_uses_the_default_namespace_where_it_is_in_scope() -> None:
    fields = FIELDS.replace("x:", "").replace("i:object", "i:object")
    xml = envelope(header(fields), RESPONSE).replace(
        b"<s:Header>", f'<s:Header xmlns="{XROAD}">'.encode()
    )
    assert b"</id><requestHash algorithmId=" in rewritten(xml)


@pytest.mark.parametrize(
    "old", ["<x:requestHash/>", "<x:requestHash  a='>'>old<z/></x:requestHash >"]
)
@pytest.mark.parametrize("before", [True, False])
def test_replaces_an_older_hash(old: str, before: bool) -> None:
    clean = envelope(header("\n " + FIELDS.replace(QUERY_ID, f"\n {QUERY_ID}")), RESPONSE)
    fields = f"\n {old}" + "\n " + FIELDS if before else "\n " + FIELDS
    if not before:
        fields = fields.replace(QUERY_ID, f"\n {QUERY_ID}\n {old}")
    else:
        fields = fields.replace(QUERY_ID, f"\n {QUERY_ID}")
    assert rewritten(envelope(header(fields), RESPONSE)) == rewritten(clean)


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("ISO-8859-1", "iso-8859-1"),
        ("windows-1252", "cp1252"),
        ("UTF-8", "utf-8"),
        ("UTF-16", "utf-16-le"),
        ("utf-16", "utf-16-be"),
    ],
)
def test_keeps_the_encoding(encoding: str, codec: str) -> None:
    mark = "\ufeff" if codec.startswith("utf-16") else ""
    fields = FIELDS.replace(QUERY_ID, f"\n  {QUERY_ID}\n  <x:requestHash>é</x:requestHash>")
    content = envelope(header(fields), body("<findResponse>aé>ü</findResponse>")).decode()
    xml = f'{mark}<?xml version="1.0" encoding="{encoding}"?>\n{content}'.encode(codec)
    result = rewritten(xml).decode(codec)
    assert result.startswith(f"{mark}<?xml")
    assert f"</x:id>\n  {ELEMENT}<x:protocol" in result
    assert "<findResponse>aé>ü</findResponse>" in result


def test_the_result_can_be_rewritten_again() -> None:
    once = rewritten(envelope(header(), RESPONSE))
    assert rewritten(once) == once
