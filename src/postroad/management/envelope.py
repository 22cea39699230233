"""How does a management request travel: the SOAP message, its signatures, and the reply?

A signed request is a ``multipart/related`` body: the message, raw signature values over its exact
bytes, certificates and an OCSP response. The message is kept as it came, for that is what was
signed. Source: PR-MSERV 3; reference: ``ManagementRequestSender``, ``MultipartSoapMessageEncoder``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import SignatureAlgorithm, ecdsa_raw_to_der
from postroad.errors import FaultCode, MalformedInput, TrustError
from postroad.identifiers import ServiceId
from postroad.management.requests import (
    ServiceCode,
    encode_body,
    encode_identifier,
    invalid_request,
    response_name,
    service_code_of,
)
from postroad.messages.faults import SOAP_ENVELOPE, remote_fault
from postroad.messages.soap import SoapEnvelope, SoapFault
from postroad.messages.soap_reading import read_soap
from postroad.wire.headers import last_value
from postroad.wire.mime import (
    MediaType,
    MimeLimits,
    MultipartReader,
    MultipartWriter,
    PartBegin,
    PartData,
)
from postroad.wire.xml import (
    IDENTIFIERS,
    XROAD,
    Element,
    XmlLimits,
    child_elements,
    escape_text,
    local_name,
    parse,
    qualified,
    serialize,
    text_of,
)
from postroad.wire.xml_stream import StreamLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.identifiers import ClientId, MemberId
    from postroad.management.requests import ManagementRequest

MAX_BODY: Final = 100_000
"""Bytes of a whole request, as the reference counts them."""
SIGNATURE_ALGORITHM: Final = "signature-algorithm-id"
"""Written in lower case: the reference knows it by no other (G-12)."""
BINARY: Final = "application/octet-stream"
SOAP_TYPE: Final = "text/xml; charset=UTF-8"
PROTOCOL_VERSION: Final = "4.0"

_MULTIPART: Final = "multipart/related"
_PLAIN: Final = "text/xml"
_XML_LIMITS: Final = XmlLimits(max_bytes=MAX_BODY, max_depth=32, max_elements=500)
_STREAM_LIMITS: Final = StreamLimits(max_bytes=MAX_BODY, max_depth=32, max_elements=500)
_MIME_LIMITS: Final = MimeLimits(parts=8, header_bytes=4096, header_lines=16)


@dataclass(frozen=True, slots=True)
class AttachedPart:
    """What stands beside the message: a signature value with its algorithm, or a document (DER)."""

    data: bytes
    algorithm: str | None = None
    """The algorithm by its Java style name, for signatures."""


@dataclass(frozen=True, slots=True)
class ManagementMessage:
    """A management request as it came: who sends it to which service, and what is beside it."""

    envelope: SoapEnvelope
    code: ServiceCode
    body: Element
    """The element inside the SOAP body, not read yet."""
    parts: tuple[AttachedPart, ...] = ()

    @property
    def soap(self) -> bytes:
        """The message, byte for byte: what the signatures beside it cover."""
        return self.envelope.xml

    @property
    def client(self) -> ClientId:
        """The sender that the message names."""
        return self.envelope.header.client

    @property
    def service(self) -> ServiceId:
        """The service that the message is for."""
        return self.envelope.header.service


def parse_message(content_type: str, body: bytes, *, plain: bool) -> ManagementMessage:
    """Read a request; nothing in it is verified.

    ``plain`` also admits a message that isn't in a multipart. Raises ``MalformedInput``
    (``invalid_request``, ``invalid_content_type``, ``mime_parsing_failed``, SOAP's own codes).
    """
    if len(body) > MAX_BODY:
        raise invalid_request(f"the request has more than {MAX_BODY} bytes")
    media_type = MediaType.parse(content_type)
    if media_type.base == _PLAIN and plain:
        return _message(body, ())
    if media_type.base != _MULTIPART:
        raise MalformedInput(
            f"a management request is not {media_type.base}", code=FaultCode.INVALID_CONTENT_TYPE
        )
    return _message(*_read_multipart(media_type.boundary(), body))


def _read_multipart(boundary: str, body: bytes) -> tuple[bytes, list[AttachedPart]]:
    reader = MultipartReader(boundary, _MIME_LIMITS)
    heads: list[PartBegin] = []
    pieces: list[list[bytes]] = []
    for event in reader.feed(body):
        if isinstance(event, PartBegin):
            heads.append(event)
            pieces.append([])
        elif isinstance(event, PartData):
            pieces[-1].append(event.data)
    reader.finish()
    if not heads or MediaType.parse(heads[0].content_type or "-/-").base != _PLAIN:
        raise invalid_request("Request contains no SOAP message")
    parts = [
        AttachedPart(b"".join(data), last_value(head.headers, SIGNATURE_ALGORITHM))
        for head, data in zip(heads[1:], pieces[1:], strict=True)
    ]
    return b"".join(pieces[0]), parts


def _message(soap: bytes, parts: Sequence[AttachedPart]) -> ManagementMessage:
    envelope = _read_envelope(soap)
    code = ServiceCode.parse(envelope.header.service.service_code)
    body = _body_element(parse(soap, limits=_XML_LIMITS))
    return ManagementMessage(envelope, code, body, tuple(parts))


def _read_envelope(soap: bytes) -> SoapEnvelope:
    """The envelope; ``RemoteFault`` if there is a fault in it."""
    document = read_soap(soap, limits=_STREAM_LIMITS)
    if isinstance(document, SoapFault):
        raise remote_fault(document.fault)
    if document.codec not in {"utf-8", "ascii"}:
        raise invalid_request(f"the message is in {document.codec}, not in UTF-8")
    return document


def _body_element(root: Element) -> Element:
    """The one element in the SOAP body; the reader of envelopes has made sure that there is one."""
    bodies = [child for child in root if child.tag == qualified(SOAP_ENVELOPE, "Body")]
    inside = [child for body in bodies for child in child_elements(body)]
    if len(inside) != 1:
        raise MalformedInput("the SOAP body must hold one element", code=FaultCode.INVALID_BODY)
    return inside[0]


def encode_message(
    request: ManagementRequest, *, sender: MemberId, provider: ClientId, query_id: str
) -> bytes:
    """The SOAP message of a request, sent by the owner of the server to the management service."""
    service = ServiceId(provider, service_code_of(request).value)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP_ENVELOPE}" xmlns:xroad="{XROAD}" '
        f'xmlns:id="{IDENTIFIERS}"><SOAP-ENV:Header>'
        f"{encode_identifier('client', sender)}{encode_identifier('service', service)}"
        f"<xroad:id>{escape_text(query_id)}</xroad:id>"
        f"<xroad:protocolVersion>{PROTOCOL_VERSION}</xroad:protocolVersion></SOAP-ENV:Header>"
        f"<SOAP-ENV:Body>{encode_body(request)}</SOAP-ENV:Body></SOAP-ENV:Envelope>"
    ).encode()


def signature_part(algorithm: SignatureAlgorithm, value: bytes) -> AttachedPart:
    """A signature value as the signer gives it (raw for elliptic curves), as it is sent (DER)."""
    is_raw = algorithm.family == "EC"
    return AttachedPart(ecdsa_raw_to_der(value) if is_raw else value, algorithm.jca_name)


def encode_multipart(
    soap: bytes, parts: Sequence[AttachedPart], boundary: str
) -> tuple[str, bytes]:
    """The content type and body of a request with what proves it."""
    writer = MultipartWriter(boundary)
    pieces = [writer.begin_part(SOAP_TYPE), soap]
    for part in parts:
        headers = [] if part.algorithm is None else [(SIGNATURE_ALGORITHM, part.algorithm)]
        pieces += [writer.begin_part(BINARY, headers), part.data]
    pieces.append(writer.finish())
    content_type = f'{_MULTIPART}; type="{BINARY}"; charset=UTF-8; boundary={boundary}'
    return content_type, b"".join(pieces)


def encode_reply(message: ManagementMessage, request_id: int) -> bytes:
    """The reply to a request: the request again, as a response that tells its number."""
    root = parse(message.soap, limits=_XML_LIMITS)
    body = _body_element(root)
    body.tag = qualified(XROAD, response_name(message.code))
    number = body.makeelement(qualified(XROAD, "requestId"))
    number.text = str(request_id)
    body.append(number)
    return serialize(root)


def parse_reply(soap: bytes, request: bytes) -> int:
    """The number that the Central Server gave a request; 0 for a dry run.

    ``request`` is the SOAP message that was sent. Raises ``RemoteFault`` for a fault,
    ``MalformedInput`` or ``TrustError`` (``inconsistent_response``) for a reply to something else.
    """
    asked, answered = _read_envelope(request).header, _read_envelope(soap).header
    code = ServiceCode.parse(asked.service.service_code)
    same = (asked.client, asked.service, asked.query_id) == (
        answered.client,
        answered.service,
        answered.query_id,
    )
    body = _body_element(parse(soap, limits=_XML_LIMITS))
    if not same or local_name(body) != response_name(code):
        raise TrustError(
            "the Central Server has answered another request", code=FaultCode.INCONSISTENT_RESPONSE
        )
    numbers = [child for child in body if child.tag == qualified(XROAD, "requestId")]
    text = text_of(numbers[0]).strip() if len(numbers) == 1 else ""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise MalformedInput(
            "the Central Server's reply has no request id", code=FaultCode.INVALID_RESPONSE
        )
    return int(text)
