"""Is this a SOAP message of the protocol, and what does it say?

The document is read once, as it arrives, in memory that is bounded by its own size; the rules are
those of PR-MESS 2 in the order in which the reference applies them (SaxSoapParserImpl), so that a
message with two mistakes is refused with the same code. Whatever is wrong with the XML itself is
``invalid_soap``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.faults import SOAP_ENVELOPE, parse_soap_fault
from postroad.messages.soap import HeaderMarks, SoapDocument, SoapEnvelope, SoapFault
from postroad.messages.soap_headers import QUERY_ID, REQUEST_HASH, HeaderCollector
from postroad.wire.xml_stream import StreamLimits, XmlStream, expanded

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENVELOPE: Final = expanded(SOAP_ENVELOPE, "Envelope")
_HEADER: Final = expanded(SOAP_ENVELOPE, "Header")
_BODY: Final = expanded(SOAP_ENVELOPE, "Body")
_FAULT: Final = expanded(SOAP_ENVELOPE, "Fault")
_ENCODING_STYLE: Final = expanded(SOAP_ENVELOPE, "encodingStyle")
_SOAP_ENCODING: Final = "http://schemas.xmlsoap.org/soap/encoding/"
_MARKED: Final = frozenset({QUERY_ID, REQUEST_HASH})

SOAP_LIMITS: Final = StreamLimits()
"""16 MiB, 256 levels, half a million elements."""


def read_soap(xml: bytes, *, limits: StreamLimits = SOAP_LIMITS) -> SoapDocument:
    """Read a whole SOAP document; see ``SoapReader``."""
    reader = SoapReader(limits=limits)
    reader.feed(xml)
    return reader.finish()


class SoapReader:
    """Reads one SOAP document, fed in slices of any size.

    ``feed`` and ``finish`` raise ``MalformedInput`` with the code of the reference; after that
    the reader must not be fed again.

    >>> reader = SoapReader()
    >>> reader.feed(b"<a/>")
    >>> reader.finish()
    Traceback (most recent call last):
    postroad.errors.MalformedInput: the root element is not a SOAP 1.1 envelope
    """

    __slots__ = ("_handler", "_slices")

    def __init__(self, *, limits: StreamLimits = SOAP_LIMITS) -> None:
        self._slices: list[bytes] = []
        self._handler = _EnvelopeHandler(limits)

    def feed(self, data: bytes) -> None:
        """Take the next slice."""
        self._handler.stream.feed(data)
        self._slices.append(data)

    def finish(self) -> SoapDocument:
        """The document is complete."""
        handler = self._handler
        handler.stream.close()
        xml = b"".join(self._slices)
        if handler.has_fault:
            return SoapFault(parse_soap_fault(xml), xml)
        return handler.envelope(xml)


class _EnvelopeHandler:
    """Follows the document by depth: envelope, header or body, field or wrapper, field part."""

    def __init__(self, limits: StreamLimits) -> None:
        self.stream = XmlStream(self, limits=limits, code=FaultCode.INVALID_SOAP)
        self.has_fault = False
        self._is_rpc = False
        self._depth = 0
        self._collector = HeaderCollector()
        self._in_header = False
        self._in_body = False
        self._header_ended = False
        self._body_began = False
        self._body_name: str | None = None
        self._text: list[str] = []
        self._text_depth = 0
        self._started = 0
        self._marks: dict[str, tuple[int, int]] = {}

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._depth += 1
        if self._text_depth and self._depth > self._text_depth:
            self.stream.tell_text(wanted=False)  # only text directly in a field counts
        match self._depth:
            case 1:
                self._start_envelope(name, attributes)
            case 2:
                self._start_section(name)
            case 3 if self._in_header:
                if name in _MARKED:
                    self._started = self.stream.position
                if self._collector.begin_field(name, attributes):
                    self._collect_text()
            case 3 if self._in_body:
                self._start_body_child(name)
            case 4 if self._in_header:
                if self._collector.begin_part(name):
                    self._collect_text()
            case _:
                pass

    def end(self, name: str) -> None:
        """An element ends."""
        if self._text_depth and self._depth == self._text_depth + 1:
            self.stream.tell_text(wanted=True)
        match self._depth:
            case 4 if self._in_header:
                self._collector.end_part(self._take_text())
            case 3 if self._in_header:
                self._end_field(name)
            case 2:
                self._header_ended = self._header_ended or self._in_header
                self._in_header = self._in_body = False
            case _:
                pass
        self._depth -= 1

    def text(self, text: str) -> None:
        """Character data of a field."""
        self._text.append(text)

    def envelope(self, xml: bytes) -> SoapEnvelope:
        """The message, once the envelope is complete; checks what only then can be known."""
        if not self._header_ended:
            raise MalformedInput("the envelope has no header", code=FaultCode.MISSING_HEADER)
        header = self._collector.header()
        if not self._body_began:
            raise MalformedInput("the envelope has no body", code=FaultCode.MISSING_BODY)
        if self._body_name is None:
            raise _invalid_body("the body is empty")
        if not self._body_name.startswith(header.service.service_code):
            raise MalformedInput(
                f"the body holds {self._body_name!r}, which doesn't begin with the service code "
                f"{header.service.service_code!r}",
                code=FaultCode.INCONSISTENT_HEADERS,
            )
        return SoapEnvelope(
            header=header,
            body_name=self._body_name,
            is_rpc=self._is_rpc,
            xml=xml,
            codec=self.stream.codec,
            marks=HeaderMarks(
                query_id=self._marks[QUERY_ID], request_hash=self._marks.get(REQUEST_HASH)
            ),
        )

    def _start_envelope(self, name: str, attributes: Mapping[str, str]) -> None:
        if name != _ENVELOPE:
            raise _invalid_soap("the root element is not a SOAP 1.1 envelope")
        self._is_rpc = attributes.get(_ENCODING_STYLE) == _SOAP_ENCODING

    def _start_section(self, name: str) -> None:
        if name == _HEADER:
            # SOAP 1.1, 4: at most one, and first. Readers that disagree which one counts would
            # take one message for two.
            if self._header_ended or self._body_began:
                raise _invalid_soap("a header must stand once, before the body")
            self._in_header = True
        elif name == _BODY:
            if self._body_began:
                raise _invalid_body("the envelope has two bodies")
            self._in_body = self._body_began = True

    def _start_body_child(self, name: str) -> None:
        if name == _FAULT:
            self.has_fault = True
        elif self._body_name is None:
            self._body_name = name.rpartition("}")[2]
        else:
            raise _invalid_body("the body has more than one element")

    def _end_field(self, name: str) -> None:
        if name in _MARKED:
            self._marks[name] = (self._started, self.stream.position)
        self._collector.end_field(self._take_text())

    def _collect_text(self) -> None:
        self._text.clear()
        self._text_depth = self._depth
        self.stream.tell_text(wanted=True)

    def _take_text(self) -> str:
        if self._text_depth != self._depth:
            return ""
        self._text_depth = 0
        self.stream.tell_text(wanted=False)
        return "".join(self._text)


def _invalid_soap(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INVALID_SOAP)


def _invalid_body(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INVALID_BODY)
