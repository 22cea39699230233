from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.wsdl_masking import MAX_DESCRIPTION_BYTES, mask_wsdl

HEAD = (
    "<w:definitions xmlns:w='http://schemas.xmlsoap.org/wsdl/' "
    "xmlns:soap='http://schemas.xmlsoap.org/wsdl/soap/' "
    "xmlns:soap12='http://schemas.xmlsoap.org/wsdl/soap12/' "
    "xmlns:http='http://schemas.xmlsoap.org/wsdl/http/'>"
)
MASKED = 'location="http://example.org/xroad-endpoint"'


def wsdl(content: str) -> bytes:
    return f"{HEAD}<!-- http://stays --><?p i?>\r\n{content}</w:definitions >\n".encode()


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ('<soap:address location="http://h:1/a"/>', f"<soap:address {MASKED}/>"),
        (
            "<soap:address\n location = 'http://h?a=\">' />",
            f"<soap:address\n location = {MASKED[9:]} />",
        ),
        (
            "<soap12:address location='https://h'></soap12:address>",
            f"<soap12:address {MASKED}></soap12:address>",
        ),
        (
            "<soap:address b=\" location='x'\" soap:location='s' location='&#104;'/>",
            f"<soap:address b=\" location='x'\" soap:location='s' {MASKED}/>",
        ),
        (
            "<address xmlns='http://schemas.xmlsoap.org/wsdl/soap/' location=''/>",
            f"<address xmlns='http://schemas.xmlsoap.org/wsdl/soap/' {MASKED}/>",
        ),
        ("<soap:address/>", "<soap:address/>"),
        ("<http:address location='x'/>", "<http:address location='x'/>"),
        ("<soap:binding location='x'/>", "<soap:binding location='x'/>"),
    ],
)
def test_only_the_location_of_soap_addresses_changes(element: str, expected: str) -> None:
    assert mask_wsdl(wsdl(element)) == wsdl(expected)


def test_every_address_is_masked_in_any_encoding() -> None:
    text = (
        '<?xml version="1.0" encoding="utf-16"?>'
        + wsdl("<soap:address location='ä'/>ü" * 3).decode()
    )
    assert mask_wsdl(text.encode("utf-16")).decode("utf-16").count(MASKED) == 3


def test_a_long_tag_is_masked_too() -> None:
    element = f"<soap:address a='{'x' * 100_000}' location='http://h'/>"
    assert MASKED.encode() in mask_wsdl(wsdl(element))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not XML",
        b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><a>&e;</a>",
        b"<a>" + b" " * MAX_DESCRIPTION_BYTES + b"</a>",
        b"<a><b></a>",
    ],
)
def test_refuses_what_is_not_xml(document: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        mask_wsdl(document)
    assert caught.value.code is FaultCode.INTERNAL_ERROR
