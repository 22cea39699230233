"""What is left of a message when its content may not be kept: who asked whom for what, and when.

Where body logging is off, the message log keeps this instead of the message. It names client,
service and identifiers, and says nothing of what was asked or answered, so the signature that is
kept beside it can't be verified with it, only with the message itself, by whoever has it.
Source: UG-SS 11.1.2; reference: MessageBodyManipulator, RestMessage (filtered message).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.errors import MalformedInput
from postroad.identifiers import SubsystemId
from postroad.messages.rest import RestRequest, RestResponse
from postroad.messages.soap import SoapEnvelope
from postroad.messages.soap_headers import REPRESENTATION
from postroad.messages.soap_reading import read_soap
from postroad.wire.xml import IDENTIFIERS, XROAD, escape_attribute, escape_text

if TYPE_CHECKING:
    from postroad.identifiers import ClientId, ServiceId
    from postroad.messages.soap import RepresentedParty
    from postroad.wire.headers import HeaderList

_KEPT_HEADERS: Final = "x-road-"
_ENVELOPE: Final = "http://schemas.xmlsoap.org/soap/envelope/"


def rest_request_metadata(block: bytes) -> bytes:
    r"""Return a request block without the path inside the service, its query and other headers.

    >>> rest_request_metadata(b"GET\r\n/r1/EE/GOV/1/reg/persons/47101010033?x=1\r\n"
    ...                       b"X-Road-Client:EE/COM/2/app\r\nAuthorization:secret\r\n")
    b'GET\r\n/r1/EE/GOV/1/reg/persons\r\nX-Road-Client:EE/COM/2/app\r\n'
    """
    request = RestRequest.parse(block)
    path = request.target.partition("?")[0]
    target = path.removesuffix(request.service_path)
    return RestRequest(request.method, target, _kept(request.headers)).encode()


def rest_response_metadata(block: bytes) -> bytes:
    """Return a response block with its status and the protocol's own headers only."""
    response = RestResponse.parse(block)
    return RestResponse(response.status, response.reason, _kept(response.headers)).encode()


def soap_metadata(xml: bytes) -> bytes:
    """Return an envelope with the fields of the header and an empty element in the body.

    Tokens for the service are left out. Raises ``MalformedInput`` if ``xml`` is no message.
    """
    document = read_soap(xml)
    if not isinstance(document, SoapEnvelope):
        raise MalformedInput("a SOAP fault is no message")
    header = document.header
    fields = [
        _identifier("client", header.client),
        _service(header.service),
        *(
            f"<x:{name}>{escape_text(value)}</x:{name}>"
            for name, value in (
                ("userId", header.user_id),
                ("id", header.query_id),
                ("issue", header.issue),
                ("protocolVersion", header.protocol_version),
            )
            if value is not None
        ),
    ]
    if header.represented_party is not None:
        fields.append(_party(header.represented_party))
    if header.request_hash is not None:
        algorithm = header.request_hash.algorithm
        named = "" if algorithm is None else f' algorithmId="{escape_attribute(algorithm)}"'
        value = escape_text(header.request_hash.value)
        fields.append(f"<x:requestHash{named}>{value}</x:requestHash>")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<s:Envelope xmlns:s="{_ENVELOPE}" xmlns:x="{XROAD}" xmlns:i="{IDENTIFIERS}">'
        f"<s:Header>{''.join(fields)}</s:Header>"
        f"<s:Body><{document.body_name}/></s:Body></s:Envelope>"
    ).encode()


def _kept(headers: HeaderList) -> HeaderList:
    return tuple(header for header in headers if header[0].lower().startswith(_KEPT_HEADERS))


def _identifier(name: str, client: ClientId) -> str:
    kind = "SUBSYSTEM" if isinstance(client, SubsystemId) else "MEMBER"
    return f'<x:{name} i:objectType="{kind}">{_client_parts(client)}</x:{name}>'


def _service(service: ServiceId) -> str:
    version = service.service_version
    return (
        f'<x:service i:objectType="SERVICE">{_client_parts(service.client)}'
        f"{_part('serviceCode', service.service_code)}"
        f"{'' if version is None else _part('serviceVersion', version)}</x:service>"
    )


def _party(party: RepresentedParty) -> str:
    parts = (("partyClass", party.party_class), ("partyCode", party.party_code))
    written = "".join(
        f"<r:{name}>{escape_text(value)}</r:{name}>" for name, value in parts if value is not None
    )
    return f'<r:representedParty xmlns:r="{REPRESENTATION}">{written}</r:representedParty>'


def _client_parts(client: ClientId) -> str:
    subsystem = client.subsystem_code
    return (
        _part("xRoadInstance", client.instance)
        + _part("memberClass", client.member_class)
        + _part("memberCode", client.member_code)
        + ("" if subsystem is None else _part("subsystemCode", subsystem))
    )


def _part(name: str, value: str) -> str:
    return f"<i:{name}>{escape_text(value)}</i:{name}>"
