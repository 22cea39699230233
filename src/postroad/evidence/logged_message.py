"""What message is in a container, and who must have signed it?

Only the names are read: of the client, the service and the message. A request is signed by its
client, a response by the client that provides the service (PR-SIGDOC; reference:
AsicContainerVerifier). A SOAP message whose body element is named ``…Response`` is a response.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, MalformedInput
from postroad.identifiers import ServiceId, client_id
from postroad.messages.rest import RestRequest, RestResponse
from postroad.wire.xml import (
    IDENTIFIERS,
    XROAD,
    child_elements,
    local_name,
    namespace_of,
    parse,
    qualified,
    text_of,
)

if TYPE_CHECKING:
    from postroad.identifiers import ClientId
    from postroad.wire.xml import Element

SOAP_ENVELOPE: Final = "http://schemas.xmlsoap.org/soap/envelope/"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


class MessageKind(Enum):
    """The protocol of a message."""

    REST = "REST"
    SOAP = "SOAP"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedMessage:
    """The names in an archived message."""

    kind: MessageKind
    is_response: bool
    client: ClientId
    service: ServiceId
    query_id: str
    request_id: str | None = None
    user_id: str | None = None
    issue: str | None = None

    @property
    def signer(self) -> ClientId:
        """The party that must have signed: the client a request, the provider a response."""
        return self.service.client if self.is_response else self.client


def parse_logged_message(data: bytes) -> LoggedMessage:
    """Read the names in an archived message, SOAP or REST.

    Raises ``MalformedInput`` with the codes that a broken message has on the wire.
    """
    # A REST message begins with a method or a status, XML with none of these characters.
    start = data.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
    if start == b"<" or data.startswith(_WIDE_MARKS):
        return _soap(data)
    return _rest_response(data) if start.isdigit() else _rest_request(data)


def _rest_request(data: bytes) -> LoggedMessage:
    request = RestRequest.parse(data)
    return LoggedMessage(
        kind=MessageKind.REST,
        is_response=False,
        client=request.client,
        service=request.service,
        query_id=request.query_id,
        request_id=request.request_id,
        user_id=request.user_id,
        issue=request.issue,
    )


def _rest_response(data: bytes) -> LoggedMessage:
    response = RestResponse.parse(data)
    client, service = response.client, response.service
    if client is None or service is None:
        raise MalformedInput("the REST response names no client or no service")
    return LoggedMessage(
        kind=MessageKind.REST,
        is_response=True,
        client=client,
        service=service,
        query_id=response.query_id or "",
        request_id=response.request_id,
    )


def _soap(data: bytes) -> LoggedMessage:
    root = parse(data)
    if root.tag != qualified(SOAP_ENVELOPE, "Envelope"):
        raise MalformedInput(
            f"the document element {root.tag} is no SOAP envelope", code=FaultCode.INVALID_SOAP
        )
    header = _only(root, SOAP_ENVELOPE, "Header", FaultCode.MISSING_HEADER)
    body = _only(root, SOAP_ENVELOPE, "Body", FaultCode.MISSING_BODY)
    contents = child_elements(body)
    if len(contents) != 1:
        raise MalformedInput("the SOAP body must hold one element", code=FaultCode.INVALID_BODY)
    client = _client(_only(header, XROAD, "client"))
    service = _only(header, XROAD, "service")
    return LoggedMessage(
        kind=MessageKind.SOAP,
        is_response=local_name(contents[0]).endswith("Response"),
        client=client,
        service=ServiceId(
            _client(service),
            text_of(_only(service, IDENTIFIERS, "serviceCode")),
            _optional(service, IDENTIFIERS, "serviceVersion"),
        ),
        query_id=text_of(_only(header, XROAD, "id")),
        user_id=_optional(header, XROAD, "userId"),
        issue=_optional(header, XROAD, "issue"),
    )


def _client(element: Element) -> ClientId:
    return client_id(
        text_of(_only(element, IDENTIFIERS, "xRoadInstance")),
        text_of(_only(element, IDENTIFIERS, "memberClass")),
        text_of(_only(element, IDENTIFIERS, "memberCode")),
        _optional(element, IDENTIFIERS, "subsystemCode"),
    )


def _only(
    parent: Element, namespace: str, name: str, code: FaultCode = FaultCode.MISSING_HEADER_FIELD
) -> Element:
    found = _named(parent, namespace, name)
    if not found:
        raise MalformedInput(f"the SOAP message has no {name}", code=code)
    return found[0]


def _optional(parent: Element, namespace: str, name: str) -> str | None:
    found = _named(parent, namespace, name)
    return text_of(found[0]) or None if found else None


def _named(parent: Element, namespace: str, name: str) -> list[Element]:
    found = [
        child
        for child in child_elements(parent)
        if local_name(child) == name and namespace_of(child) == namespace
    ]
    if len(found) > 1:
        raise MalformedInput(
            f"the SOAP message has {len(found)} elements {name}",
            code=FaultCode.DUPLICATE_HEADER_FIELD,
        )
    # A comment would split the text: two readers could see two different names.
    if found and not child_elements(found[0]) and len(found[0]):
        raise MalformedInput(f"{name} must hold text only", code=FaultCode.MISSING_HEADER_FIELD)
    return found
