"""How do the services of the demo's provider describe themselves: REST by OpenAPI, SOAP by WSDL?"""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import quoteattr

from postroad.wire.xml import IDENTIFIERS, XROAD

OPENAPI_PATH: Final = "/openapi.yaml"
WSDL_PATH: Final = "/register.wsdl"
SOAP_PATH: Final = "/soap"
REGISTER: Final = "http://register.example/"
"""The namespace of the provider's SOAP messages."""
FIND_PERSON: Final = "findPerson"
CERTIFY: Final = "certifyDocument"
SOAP_VERSION: Final = "v1"
"""The version of both SOAP services."""


def encode_openapi(url: str) -> bytes:
    """The description of the REST service at ``url``."""
    return f"""\
openapi: 3.0.3
info:
  title: Population Register
  version: "1.0"
servers:
  - url: {url}
paths:
  /persons:
    get:
      summary: Everybody
      responses:
        "200": {{description: all persons}}
  /persons/{{id}}:
    get:
      summary: One person
      parameters:
        - {{name: id, in: path, required: true, schema: {{type: string}}}}
      responses:
        "200": {{description: the person}}
        "404": {{description: nobody has this number}}
  /applications:
    post:
      summary: Hand in an application
      requestBody: {{content: {{application/octet-stream: {{}}}}}}
      responses:
        "201": {{description: received}}
  /documents:
    post:
      summary: Hand in a document of any size
      requestBody: {{content: {{application/octet-stream: {{}}}}}}
      responses:
        "201": {{description: "received; says its digest"}}
""".encode()


def encode_wsdl(url: str) -> bytes:
    """The description of the SOAP services below ``url``.

    The document to certify is an attachment, or an MTOM element that stands for one; the answer
    comes in the same way, with the document and a certificate.
    """
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<wsdl:definitions name="register" targetNamespace="{REGISTER}" xmlns:tns="{REGISTER}"
    xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"
    xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:xroad="{XROAD}"
    xmlns:id="{IDENTIFIERS}">
<wsdl:types>
{_schemas()}
</wsdl:types>
<wsdl:message name="header">
  <wsdl:part name="client" element="xroad:client"/>
  <wsdl:part name="service" element="xroad:service"/>
  <wsdl:part name="id" element="xroad:id"/>
  <wsdl:part name="protocolVersion" element="xroad:protocolVersion"/>
</wsdl:message>
{"".join(_messages(name) for name in (FIND_PERSON, CERTIFY))}
<wsdl:portType name="register">
{_operation(FIND_PERSON, "A person by number")}
{_operation(CERTIFY, "Certify an attached document")}
</wsdl:portType>
<wsdl:binding name="registerSoap" type="tns:register">
<soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
{"".join(_bound(name) for name in (FIND_PERSON, CERTIFY))}
</wsdl:binding>
<wsdl:service name="register">
<wsdl:port name="registerSoap" binding="tns:registerSoap">
<soap:address location={quoteattr(url + SOAP_PATH)}/>
</wsdl:port>
</wsdl:service>
</wsdl:definitions>
""".encode()


def _schemas() -> str:
    parts = ("xRoadInstance", "memberClass", "memberCode", "subsystemCode", "serviceCode")
    elements = "".join(
        f'<xsd:element name="{name}" type="xsd:string" minOccurs="0"/>'
        for name in (*parts, "serviceVersion")
    )
    return f"""\
<xsd:schema targetNamespace="{IDENTIFIERS}" elementFormDefault="qualified">
  <xsd:attribute name="objectType" type="xsd:string"/>
  <xsd:complexType name="identifier"><xsd:sequence>{elements}</xsd:sequence>
    <xsd:attribute ref="id:objectType" use="required"/></xsd:complexType>
</xsd:schema>
<xsd:schema targetNamespace="{XROAD}" elementFormDefault="qualified">
  <xsd:import namespace="{IDENTIFIERS}"/>
  <xsd:element name="client" type="id:identifier"/>
  <xsd:element name="service" type="id:identifier"/>
  <xsd:element name="id" type="xsd:string"/>
  <xsd:element name="protocolVersion" type="xsd:string"/>
</xsd:schema>
<xsd:schema targetNamespace="{REGISTER}" elementFormDefault="qualified">
  <xsd:element name="{FIND_PERSON}"><xsd:complexType><xsd:sequence>
    <xsd:element name="number" type="xsd:string"/>
  </xsd:sequence></xsd:complexType></xsd:element>
  <xsd:element name="{FIND_PERSON}Response"><xsd:complexType><xsd:sequence>
    <xsd:element name="name" type="xsd:string"/>
    <xsd:element name="municipality" type="xsd:string"/>
  </xsd:sequence></xsd:complexType></xsd:element>
  <xsd:element name="{CERTIFY}"><xsd:complexType><xsd:sequence>
    <xsd:element name="document" type="xsd:base64Binary" minOccurs="0"/>
  </xsd:sequence></xsd:complexType></xsd:element>
  <xsd:element name="{CERTIFY}Response"><xsd:complexType><xsd:sequence>
    <xsd:element name="sha512" type="xsd:hexBinary"/>
    <xsd:element name="document" type="xsd:base64Binary" minOccurs="0"/>
  </xsd:sequence></xsd:complexType></xsd:element>
</xsd:schema>"""


def _messages(name: str) -> str:
    return "".join(
        f'<wsdl:message name="{each}"><wsdl:part name="body" element="tns:{each}"/>'
        "</wsdl:message>\n"
        for each in (name, f"{name}Response")
    )


def _operation(name: str, title: str) -> str:
    return (
        f'<wsdl:operation name="{name}"><wsdl:documentation><xroad:title>{title}</xroad:title>'
        f'</wsdl:documentation><wsdl:input message="tns:{name}"/>'
        f'<wsdl:output message="tns:{name}Response"/></wsdl:operation>'
    )


def _bound(name: str) -> str:
    headers = "".join(
        f'<soap:header message="tns:header" part="{part}" use="literal"/>'
        for part in ("client", "service", "id", "protocolVersion")
    )
    body = f'<soap:body use="literal" parts="body"/>{headers}'
    return (
        f'<wsdl:operation name="{name}"><soap:operation soapAction="" style="document"/>'
        f"<xroad:version>{SOAP_VERSION}</xroad:version>"
        f"<wsdl:input>{body}</wsdl:input><wsdl:output>{body}</wsdl:output></wsdl:operation>\n"
    )
