"""How do the management services describe themselves to the server that offers them?

A WSDL made from the same table as the requests: all but the registration of authentication
certificates, which isn't exchanged. Source: PR-MSERV annex A; the reference publishes it as
``managementservices.wsdl``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import quoteattr

from postroad.management.requests import FieldKind, ServiceCode, fields_of, response_name
from postroad.wire.xml import IDENTIFIERS, XROAD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TARGET: Final = "http://x-road.eu/centralservice/"
FILE_NAME: Final = "managementservices.wsdl"

_TYPES: Final = {
    FieldKind.SERVER: "id:XRoadSecurityServerIdentifierType",
    FieldKind.CLIENT: "id:XRoadClientIdentifierType",
    FieldKind.TEXT: "xsd:string",
    FieldKind.DATA: "xsd:base64Binary",
    FieldKind.FLAG: "xsd:boolean",
}
_PARTS: Final = ("xRoadInstance", "memberClass", "memberCode")
_IDENTIFIERS: Final = {
    "XRoadClientIdentifierType": (*_PARTS, "subsystemCode?"),
    "XRoadSecurityServerIdentifierType": (*_PARTS, "serverCode"),
    "XRoadServiceIdentifierType": (*_PARTS, "subsystemCode?", "serviceCode", "serviceVersion?"),
}
_HEADERS: Final = {
    "client": "id:XRoadClientIdentifierType",
    "service": "id:XRoadServiceIdentifierType",
    "id": "xsd:string",
    "protocolVersion": "xsd:string",
    "requestHash": "xsd:string",
}
_DEFINITIONS: Final = (
    f'<wsdl:definitions name="centralservice" targetNamespace="{TARGET}" xmlns:tns="{TARGET}"'
    ' xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"'
    ' xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"'
    f' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xroad="{XROAD}"'
    f' xmlns:id="{IDENTIFIERS}">'
)
_ASKED: Final = ("client", "service", "id", "protocolVersion")


def encode_wsdl(location: str) -> bytes:
    """The description of the management services that are reached at a URL."""
    codes = [code for code in ServiceCode if code is not ServiceCode.AUTH_CERT_REGISTRATION]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        _DEFINITIONS,
        "<wsdl:types>",
        *_identifier_schema(),
        *_request_schema(codes),
        "</wsdl:types>",
        '<wsdl:message name="requestheader">',
        *(f'<wsdl:part name="{name}" element="xroad:{name}"/>' for name in _HEADERS),
        "</wsdl:message>",
        *(line for code in codes for line in _messages(code)),
        '<wsdl:portType name="centralservice">',
        *(line for code in codes for line in _operation(code)),
        "</wsdl:portType>",
        '<wsdl:binding name="centralserviceSOAP" type="tns:centralservice">',
        '<soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>',
        *(line for code in codes for line in _binding(code)),
        "</wsdl:binding>",
        '<wsdl:service name="centralservice">',
        '<wsdl:port name="centralserviceSOAP" binding="tns:centralserviceSOAP">',
        f"<soap:address location={quoteattr(location)}/>",
        "</wsdl:port></wsdl:service></wsdl:definitions>",
    ]
    return "\n".join(lines).encode()


def _identifier_schema() -> Iterator[str]:
    yield f'<xsd:schema targetNamespace="{IDENTIFIERS}" elementFormDefault="qualified">'
    names = dict.fromkeys(name.rstrip("?") for names in _IDENTIFIERS.values() for name in names)
    yield from (f'<xsd:element name="{name}" type="xsd:string"/>' for name in names)
    yield '<xsd:attribute name="objectType" type="xsd:string"/>'
    for kind, parts in _IDENTIFIERS.items():
        yield f'<xsd:complexType name="{kind}"><xsd:sequence>'
        for part in parts:
            least = ' minOccurs="0"' if part.endswith("?") else ""
            yield f'<xsd:element ref="id:{part.rstrip("?")}"{least}/>'
        yield '</xsd:sequence><xsd:attribute ref="id:objectType" use="required"/></xsd:complexType>'
    yield "</xsd:schema>"


def _request_schema(codes: Sequence[ServiceCode]) -> Iterator[str]:
    yield f'<xsd:schema targetNamespace="{XROAD}" elementFormDefault="qualified">'
    yield f'<xsd:import namespace="{IDENTIFIERS}"/>'
    yield from (f'<xsd:element name="{name}" type="{kind}"/>' for name, kind in _HEADERS.items())
    for code in codes:
        yield f'<xsd:complexType name="{code.value}Type"><xsd:sequence>'
        for field in fields_of(code):
            least = "" if field.required else ' minOccurs="0"'
            yield f'<xsd:element name="{field.element}" type="{_TYPES[field.kind]}"{least}/>'
        # The answer is the request again, with its number.
        yield '<xsd:element name="requestId" type="xsd:integer" minOccurs="0"/>'
        yield "</xsd:sequence></xsd:complexType>"
        for name in (code.value, response_name(code)):
            yield f'<xsd:element name="{name}" type="xroad:{code.value}Type"/>'
    yield "</xsd:schema>"


def _messages(code: ServiceCode) -> Iterator[str]:
    for name in (code.value, response_name(code)):
        yield f'<wsdl:message name="{name}">'
        yield f'<wsdl:part name="parameters" element="xroad:{name}"/></wsdl:message>'


def _operation(code: ServiceCode) -> Iterator[str]:
    yield f'<wsdl:operation name="{code.value}"><wsdl:input message="tns:{code.value}"/>'
    yield f'<wsdl:output message="tns:{response_name(code)}"/></wsdl:operation>'


def _binding(code: ServiceCode) -> Iterator[str]:
    yield f'<wsdl:operation name="{code.value}"><soap:operation soapAction="" style="document"/>'
    for side, headers in (("input", _ASKED), ("output", tuple(_HEADERS))):
        yield f'<wsdl:{side}><soap:body use="literal" parts="parameters"/>'
        for name in headers:
            yield f'<soap:header message="tns:requestheader" part="{name}" use="literal"/>'
        yield f"</wsdl:{side}>"
    yield "</wsdl:operation>"
