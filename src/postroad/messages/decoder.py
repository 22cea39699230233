"""What does a transport message between two security servers say, byte by byte as it arrives?

Bytes in, events out; data of bodies is handed on in the slices in which it came, everything else
is collected up to a limit. Only the order of the table in ``messages.events`` is accepted.
Source: PR-MESSTRANSP 2.1; reference: ProxyMessageDecoder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.events import (
    COMPLETE,
    TRANSITIONS,
    AttachmentData,
    AttachmentEnd,
    AttachmentStart,
    BodyData,
    BodyEnd,
    BodyStart,
    Direction,
    End,
    Event,
    FaultPart,
    HashChain,
    HashChainResult,
    OcspPart,
    PartKind,
    RestMessage,
    SignaturePart,
    SoapMessage,
    Stage,
)
from postroad.messages.exact_message import is_whole_der, read_exact_message
from postroad.messages.faults import parse_soap_fault
from postroad.messages.soap import SoapFault
from postroad.messages.soap_reading import SoapReader
from postroad.wire.headers import without
from postroad.wire.mime import (
    MediaType,
    MimeEvent,
    MimeLimits,
    MultipartEnd,
    MultipartReader,
    PartBegin,
    PartData,
    PartEnd,
)
from postroad.wire.xml_stream import StreamLimits

if TYPE_CHECKING:
    from collections.abc import Callable

_USUAL_TYPE = re.compile(r"multipart/mixed; charset=UTF-8; boundary=([0-9A-Za-z_-]{1,70})")
"""As our writer and the reference's write it."""
_SOAP_TYPES = frozenset({"text/xml", "application/xop+xml"})
_KIND_BY_TYPE: dict[str, PartKind] = {
    kind.value: kind
    for kind in PartKind
    if kind not in {PartKind.SOAP, PartKind.FAULT, PartKind.ATTACHMENTS}
}
_WHOLE_PARTS: dict[PartKind, Callable[[bytes], Event]] = {
    PartKind.REST_REQUEST: RestMessage,
    PartKind.REST_RESPONSE: RestMessage,
    PartKind.HASH_CHAIN_RESULT: HashChainResult,
    PartKind.HASH_CHAIN: HashChain,
    PartKind.SIGNATURE: SignaturePart,
}
_STREAMED = frozenset({PartKind.REST_BODY, PartKind.ATTACHMENTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """What one transport message may cost in memory; bytes unless said otherwise."""

    ocsp_parts: int = 16  # responses, one per certificate of a chain
    ocsp_bytes: int = 64 * 1024
    rest_bytes: int = 256 * 1024
    soap_bytes: int = 16 * 1024 * 1024
    hash_chain_bytes: int = 1024 * 1024
    signature_bytes: int = 1024 * 1024
    fault_bytes: int = 1024 * 1024
    attachments: int = 1000  # parts of the nested multipart
    body_bytes: int | None = None  # REST body, or all attachments together; None: no limit

    def by_kind(self) -> dict[PartKind, int | None]:
        """The limit of each kind of part; only that of a body may be None."""
        return {
            PartKind.OCSP: self.ocsp_bytes,
            PartKind.REST_REQUEST: self.rest_bytes,
            PartKind.REST_RESPONSE: self.rest_bytes,
            PartKind.REST_BODY: self.body_bytes,
            PartKind.ATTACHMENTS: self.body_bytes,
            PartKind.HASH_CHAIN: self.hash_chain_bytes,
            PartKind.HASH_CHAIN_RESULT: self.hash_chain_bytes,
            PartKind.SIGNATURE: self.signature_bytes,
            PartKind.SOAP: self.soap_bytes,
            PartKind.FAULT: self.fault_bytes,
        }


_DEFAULT_LIMITS = TransportLimits()
_DEFAULT_BY_KIND = _DEFAULT_LIMITS.by_kind()
_NO_PART = PartBegin(())
_mime_limits = lru_cache(maxsize=16)(lambda parts: MimeLimits(parts=parts))


class TransportDecoder:
    r"""Reads one transport message, fed in slices of any size.

    >>> decoder = TransportDecoder("multipart/mixed; boundary=b", direction=Direction.REQUEST)
    >>> decoder.feed(b"--b\r\ncontent-type: application/x-road-rest-request\r\n\r\nGET\r\n")
    []

    ``feed`` and ``finish`` raise ``MalformedInput`` with the code the reference uses; after that
    the decoder must not be fed again. ``missing`` is the code for a message without any message.
    """

    __slots__ = (
        "_attachment_number",
        "_begin",
        "_body_size",
        "_boundary",
        "_collected",
        "_collected_size",
        "_direction",
        "_ended",
        "_is_fresh",
        "_kind",
        "_limit_of",
        "_limits",
        "_missing",
        "_nested",
        "_ocsp_count",
        "_reader",
        "_soap",
        "_stage",
    )

    def __init__(
        self,
        content_type: str,
        *,
        direction: Direction,
        limits: TransportLimits | None = None,
        missing: FaultCode = FaultCode.MISSING_REST,
    ) -> None:
        self._limits = limits or _DEFAULT_LIMITS
        self._limit_of = _DEFAULT_BY_KIND if limits is None else limits.by_kind()
        self._direction = direction
        self._missing = missing
        self._boundary = _boundary_of(content_type)
        self._reader = MultipartReader(self._boundary, _mime_limits(self._limits.ocsp_parts + 8))
        self._is_fresh = True
        self._stage = Stage.START
        self._kind: PartKind | None = None
        self._begin = _NO_PART
        self._collected: list[bytes] = []
        self._collected_size = 0
        self._nested: MultipartReader | None = None
        self._soap: SoapReader | None = None
        self._attachment_number = 0
        self._ocsp_count = 0
        self._body_size = 0
        self._ended = False

    @property
    def stage(self) -> Stage:
        """How far the message has come."""
        return self._stage

    def feed(self, data: bytes) -> list[Event]:
        """Take the next slice; the events that it completes."""
        if self._is_fresh:
            whole = self._read_at_once(data)
            if whole is not None:
                return whole
        events: list[Event] = []
        for event in self._reader.feed(data):
            self._handle(event, events)
        return events

    def _read_at_once(self, data: bytes) -> list[Event] | None:
        """Read the whole message from its first slice, if it has the usual form."""
        self._is_fresh = False
        events = read_exact_message(
            data, self._boundary.encode("ascii"), self._direction, self._limit_of
        )
        if events is None or len(events) > self._limits.ocsp_parts:
            return None
        self._reader.skip()
        self._stage = Stage.SIGNED
        self._ended = True
        return events

    def finish(self) -> None:
        """The input is over; raises ``MalformedInput`` if the message isn't complete."""
        self._reader.finish()
        if not self._ended:
            raise _bad_order("the transport message is not complete")

    def _handle(self, event: MimeEvent, events: list[Event]) -> None:
        match event:
            case PartBegin():
                self._part_begins(event, events)
            case PartData():
                self._part_data(event.data, events)
            case PartEnd():
                self._part_ends(events)
            case MultipartEnd():
                self._message_ends(events)

    def _part_begins(self, begin: PartBegin, events: list[Event]) -> None:
        self._kind = kind = self._kind_of(begin)
        self._begin = begin
        self._collected = []
        self._collected_size = 0
        if kind is PartKind.OCSP:
            self._ocsp_count += 1
            if self._ocsp_count > self._limits.ocsp_parts:
                raise _bad_order(f"more than {self._limits.ocsp_parts} OCSP responses")
        elif kind is PartKind.SOAP:
            self._soap = SoapReader(limits=StreamLimits(max_bytes=self._limits.soap_bytes))
        elif kind is PartKind.REST_BODY:
            events.append(BodyStart())
        elif kind is PartKind.ATTACHMENTS:
            boundary = MediaType.parse(begin.content_type or "").boundary()
            self._nested = MultipartReader(boundary, MimeLimits(parts=self._limits.attachments))

    def _kind_of(self, begin: PartBegin) -> PartKind:
        """What the next part is, by its content type and by what may stand here."""
        if self._stage is Stage.SIGNED or self._stage is Stage.FAULT:
            raise _bad_order("a part follows the last part of a transport message")
        if begin.content_type is None:
            raise _bad_type("a part has no content type")
        base = MediaType.parse(begin.content_type).base
        allowed = TRANSITIONS[self._direction].get(self._stage, {})
        kind: PartKind | None = _KIND_BY_TYPE.get(base)
        if base in _SOAP_TYPES and PartKind.SOAP in allowed:
            kind = PartKind.SOAP
        elif base == "text/xml" and PartKind.FAULT in allowed:
            kind = PartKind.FAULT
        elif base == "multipart/mixed" and PartKind.ATTACHMENTS in allowed:
            kind = PartKind.ATTACHMENTS
        if kind is None or kind not in allowed:
            raise _bad_type(f"a part of type {base} can't follow {self._stage.name.lower()}")
        return kind

    def _part_data(self, data: bytes, events: list[Event]) -> None:
        kind = self._kind
        if kind in _STREAMED:
            self._body_size += len(data)
            if self._limits.body_bytes is not None and self._body_size > self._limits.body_bytes:
                raise _bad_order(f"the body exceeds {self._limits.body_bytes} bytes")
            if self._nested is None:
                events.append(BodyData(data))
            else:
                self._attachments(self._nested.feed(data), events)
            return
        if self._soap is not None:
            self._soap.feed(data)
        elif kind is not None:
            self._collected_size += len(data)
            limit = self._limit_of[kind]
            if limit is not None and self._collected_size > limit:
                raise _bad_order(f"a {kind.value} part exceeds {limit} bytes")
            self._collected.append(data)

    def _attachments(self, nested: list[MimeEvent], events: list[Event]) -> None:
        for event in nested:
            match event:
                case PartBegin():
                    self._attachment_number += 1
                    if event.content_type is None:
                        raise _bad_type("an attachment has no content type")
                    others = without(event.headers, {"content-type"})
                    number = self._attachment_number
                    events.append(AttachmentStart(number, event.content_type, others))
                case PartData():
                    events.append(AttachmentData(event.data))
                case PartEnd():
                    events.append(AttachmentEnd())
                case MultipartEnd():
                    pass

    def _part_ends(self, events: list[Event]) -> None:
        kind, self._kind = self._kind, None
        if kind is None:
            raise _bad_order("the end of a part that never began")
        content = b"".join(self._collected)
        self._collected = []
        match kind:
            case PartKind.OCSP:
                if not is_whole_der(content):
                    raise MalformedInput(
                        "an OCSP part is not a DER structure", code=FaultCode.IO_ERROR
                    )
                events.append(OcspPart(content))
            case PartKind.REST_BODY:
                events.append(BodyEnd())
            case PartKind.SOAP:
                self._stage = self._soap_ends(events)
                return
            case PartKind.ATTACHMENTS:
                if self._nested is not None:
                    self._nested.finish()
                self._nested = None
            case PartKind.FAULT:
                parse_soap_fault(content)
                events.append(FaultPart(content))
            case _:
                events.append(_WHOLE_PARTS[kind](content))
        self._stage = TRANSITIONS[self._direction][self._stage][kind]

    def _soap_ends(self, events: list[Event]) -> Stage:
        """Tell a SOAP message from a fault; in a response either may come first."""
        reader, self._soap = self._soap, None
        if reader is None:
            raise _bad_order("the end of a SOAP part that never began")
        document = reader.finish()
        if isinstance(document, SoapFault):
            if self._direction is Direction.REQUEST:
                raise MalformedInput(
                    "a fault stands where a request must", code=FaultCode.MISSING_SOAP
                )
            events.append(FaultPart(document.xml))
            return Stage.SOAP_FAULT
        others = without(self._begin.headers, {"content-type"})
        events.append(SoapMessage(self._begin.content_type or "", others, document))
        return Stage.SOAP

    def _message_ends(self, events: list[Event]) -> None:
        if self._stage not in COMPLETE:
            missing = FaultCode.MISSING_SIGNATURE
            if self._stage is Stage.START:
                missing = self._missing
            raise MalformedInput(
                f"the transport message ends after {self._stage.name.lower()}", code=missing
            )
        self._ended = True
        events.append(End())


def _boundary_of(content_type: str) -> str:
    """The boundary of a transport message; it is another one in each, so none is remembered."""
    usual = _USUAL_TYPE.fullmatch(content_type)
    if usual is not None:
        return usual[1]
    media_type = MediaType.parse(content_type)
    if media_type.base != "multipart/mixed":
        raise _bad_type(f"a transport message can't be {media_type.base}")
    return media_type.boundary()


def _bad_type(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INVALID_CONTENT_TYPE)


def _bad_order(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INVALID_MESSAGE)
