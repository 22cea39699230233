"""Another reader of WSDL, zeep, finds the same operations at the same addresses."""

from __future__ import annotations

import io

from zeep import Client
from zeep.transports import Transport
from zeep.wsdl.wsdl import Document

from postroad.messages.wsdl_masking import MASKED_ADDRESS, mask_wsdl
from postroad.securityserver.descriptions.wsdl import derive_wsdl

HTTP = "http://schemas.xmlsoap.org/soap/http"
_OPERATION = """
  <w:operation name="{name}"><s:operation soapAction=""/><v:version>v1</v:version>
    <w:input><s:body use="literal"/></w:input><w:output><s:body use="literal"/></w:output>
  </w:operation>"""
_PORT_TYPE = """
  <w:operation name="{name}"><w:documentation><v:title>T {name}</v:title></w:documentation>
    <w:input message="t:m"/><w:output message="t:m"/></w:operation>"""


def wsdl() -> bytes:
    names = ("find", "store", "list_all")
    operations = "".join(_OPERATION.format(name=name) for name in names)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" targetNamespace="urn:t" xmlns:t="urn:t"
    xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:v="http://x-road.eu/xsd/xroad.xsd"
    xmlns:h="http://schemas.xmlsoap.org/wsdl/http/" xmlns:x="http://www.w3.org/2001/XMLSchema">
  <w:types><x:schema targetNamespace="urn:t"><x:element name="e" type="x:string"/>
    </x:schema></w:types>
  <w:message name="m"><w:part name="b" element="t:e"/></w:message>
  <w:portType name="p">{"".join(_PORT_TYPE.format(name=name) for name in names)}</w:portType>
  <w:binding name="b" type="t:p"><s:binding transport="{HTTP}"/>{operations}</w:binding>
  <w:service name="first"><w:port name="soap" binding="t:b">
    <s:address location="http://inner.example:8080/a?b=1&amp;c=2"/></w:port></w:service>
</w:definitions>""".encode()


class _NoNetwork(Transport):
    def load(self, url: str) -> bytes:
        raise AssertionError(f"{url} is not loaded")


def operations(document: bytes) -> dict[str, str]:
    parsed = Document(io.BytesIO(document), _NoNetwork())
    return {
        name: port.binding_options["address"]
        for service in parsed.services.values()
        for port in service.ports.values()
        for name in port.binding.all()
    }


def test_the_same_operations_are_found_at_the_same_addresses() -> None:
    derived = {each.code: each.url for each in derive_wsdl(wsdl()).services}
    assert derived == operations(wsdl())
    assert derived["find"] == "http://inner.example:8080/a?b=1&c=2"


def test_a_masked_wsdl_can_still_be_used_by_a_client() -> None:
    masked = mask_wsdl(wsdl())
    assert set(operations(masked).values()) == {MASKED_ADDRESS}
    client = Client(io.BytesIO(masked), transport=_NoNetwork())
    message = client.create_message(client.service, "find", "x")
    assert b"inner.example" not in masked
    assert "find" in dir(client.service)
    assert message is not None
