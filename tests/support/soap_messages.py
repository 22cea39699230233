"""SOAP messages for tests, built from their parts."""

from __future__ import annotations

CLIENT = (
    '<x:client i:objectType="SUBSYSTEM"><i:xRoadInstance>EE</i:xRoadInstance>'
    "<i:memberClass>COM</i:memberClass><i:memberCode>2</i:memberCode>"
    "<i:subsystemCode>app</i:subsystemCode></x:client>"
)
SERVICE = (
    '<x:service i:objectType="SERVICE"><i:xRoadInstance>EE</i:xRoadInstance>'
    "<i:memberClass>GOV</i:memberClass><i:memberCode>1</i:memberCode>"
    "<i:subsystemCode>reg</i:subsystemCode><i:serviceCode>find</i:serviceCode>"
    "<i:serviceVersion>v1</i:serviceVersion></x:service>"
)
QUERY_ID = "<x:id>q-1</x:id>"
VERSION = "<x:protocolVersion>4.0</x:protocolVersion>"
FIELDS = CLIENT + SERVICE + QUERY_ID + VERSION


def header(fields: str = FIELDS) -> str:
    """A header with these fields."""
    return f"<s:Header>{fields}</s:Header>"


def body(content: str = '<p:find xmlns:p="urn:p">1</p:find>') -> str:
    """A body with this content."""
    return f"<s:Body>{content}</s:Body>"


def envelope(*sections: str, attributes: str = "") -> bytes:
    """An envelope with these sections; a good request if none are given."""
    content = "".join(sections or (header(), body()))
    return (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:x="http://x-road.eu/xsd/xroad.xsd" xmlns:i="http://x-road.eu/xsd/identifiers" '
        'xmlns:r="http://x-road.eu/xsd/representation.xsd" '
        f'xmlns:t="http://x-road.eu/xsd/security-token.xsd"{attributes}>{content}</s:Envelope>'
    ).encode()
