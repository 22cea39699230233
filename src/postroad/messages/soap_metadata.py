"""What is asked of the SOAP metadata services, and what do they answer?

A response is the request with another body: header, prefixes and encoding stay byte for byte.
Source: PR-META 3 and 4, annex C; reference: MetadataServiceHandlerImpl, SoapUtils.toResponse.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.faults import SOAP_ENVELOPE
from postroad.messages.soap import RESPONSE_SUFFIX
from postroad.messages.soap_writing import START_TAG
from postroad.wire.xml import IDENTIFIERS, XROAD, escape_text
from postroad.wire.xml_stream import XmlStream, expanded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from postroad.identifiers import ServiceId
    from postroad.messages.soap import SoapEnvelope

_BODY: Final = expanded(SOAP_ENVELOPE, "Body")
_CODE: Final = expanded(XROAD, "serviceCode")
_VERSION: Final = expanded(XROAD, "serviceVersion")
_MAX_TEXT: Final = 1024
_NAME = re.compile(r"</?(?P<name>[^\s/>]+)")


def asked_service(request: SoapEnvelope) -> tuple[str, str | None]:
    """Code and version of the service whose WSDL is asked for.

    Raises ``MalformedInput`` (``invalid_request``) without a code, and for one given twice.
    """
    texts = _Body.of(request).texts
    code, version = texts.get(_CODE, ""), texts.get(_VERSION, "")
    if not code.strip():
        raise _invalid("missing serviceCode in message body")
    return code, version or None


def encode_method_list(request: SoapEnvelope, services: Iterable[ServiceId]) -> bytes:
    """The response of ``listMethods`` or ``allowedMethods``, still without a request hash."""
    name = _response_name(request)
    entries = "".join(_service(service) for service in services)
    return with_body(
        request,
        f'<xroad:{name} xmlns:xroad="{XROAD}" xmlns:id="{IDENTIFIERS}">{entries}</xroad:{name}>',
    )


def with_body(request: SoapEnvelope, content: str) -> bytes:
    """The response that is the request with another element in its body."""
    found = _Body.of(request)
    tag = START_TAG.match(request.xml[found.body : found.child].decode(request.codec))
    if tag is None:
        raise _invalid("the body can't be read")
    start = found.body + len(tag[0].encode(request.codec))
    # An encoding that lacks a character can still name it.
    written = content.encode(request.codec, "xmlcharrefreplace")
    return request.xml[:start] + written + request.xml[found.body_end :]


def encode_wsdl_response(request: SoapEnvelope) -> bytes:
    """The response of ``getWsdl``, still without a request hash: the question, renamed."""
    found = _Body.of(request)
    name = _response_name(request)
    pieces: list[bytes] = []
    position = 0
    for place, end in ((found.child, found.child_end), (found.child_end, found.body_end)):
        tag = _NAME.match(request.xml[place:end].decode(request.codec))
        if tag is None:
            raise _invalid("the body can't be read")
        prefix, colon, _ = tag["name"].rpartition(":")
        start = place + len(tag[0].removesuffix(tag["name"]).encode(request.codec))
        pieces += (request.xml[position:start], f"{prefix}{colon}{name}".encode(request.codec))
        position = place + len(tag[0].encode(request.codec))
    return b"".join((*pieces, request.xml[position:]))


def _response_name(request: SoapEnvelope) -> str:
    return request.header.service.service_code + RESPONSE_SUFFIX


def _service(service: ServiceId) -> str:
    names = ("xRoadInstance", "memberClass", "memberCode", "subsystemCode")
    parts = [*zip(names, service.client.parts, strict=False), ("serviceCode", service.service_code)]
    if service.service_version is not None:
        parts.append(("serviceVersion", service.service_version))
    content = "".join(f"<id:{name}>{escape_text(text)}</id:{name}>" for name, text in parts)
    return f'<xroad:service id:objectType="SERVICE">{content}</xroad:service>'


class _Body:
    """Finds where the body of a message and its one element stand, and reads what is in it."""

    def __init__(self) -> None:
        self.body = self.body_end = 0
        self.child = self.child_end = 0
        """Where the tags begin, in bytes."""
        self.texts: dict[str, str] = {}
        """Texts of the children of the element, by expanded name."""
        self._stream = XmlStream(self, code=FaultCode.INVALID_SOAP)
        self._depth = 0
        self._in_body = False
        self._wanted = ""

    @classmethod
    def of(cls, message: SoapEnvelope) -> _Body:
        """Read a message whose shape was found good: a header, then a body with one element."""
        found = cls()
        found._stream.feed(message.xml)
        found._stream.close()
        return found

    def start(self, name: str, _attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._depth += 1
        self._stream.tell_text(wanted=False)
        match self._depth:
            case 2 if name == _BODY:
                self._in_body, self.body = True, self._stream.position
            case 3 if self._in_body:
                self.child = self._stream.position
            case 4 if self._in_body and name in {_CODE, _VERSION}:
                if name in self.texts:
                    raise _invalid(f"{name.rpartition('}')[2]} is given twice")
                self.texts[name], self._wanted = "", name
                self._stream.tell_text(wanted=True)
            case _:
                pass

    def end(self, _name: str) -> None:
        """An element ends."""
        if self._depth == 2 and self._in_body:
            self._in_body, self.body_end = False, self._stream.position
        elif self._depth == 3 and self._in_body:
            self.child_end = self._stream.position
        self._stream.tell_text(wanted=False)
        self._depth -= 1

    def text(self, text: str) -> None:
        """Character data of a wanted element, up to its first child."""
        self.texts[self._wanted] += text
        if len(self.texts[self._wanted]) > _MAX_TEXT:
            raise _invalid("the service is named with too many characters")


def _invalid(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INVALID_REQUEST)
