"""How do a SOAP message and its attachments travel between an information system and its server?

As SOAP alone, or as a multipart/related package: SOAP first, then attachments in their order; MTOM
packages are no different. Attachments are streamed and never decoded; what is signed is their raw
octets. Nested multiparts count as the parts they are made of, for that is how the protocol's other
servers read them. Source: PR-MESS 2.7, 3; RFC 2387; reference: SoapMessageDecoder, ProxyMessage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.events import (
    AttachmentData,
    AttachmentEnd,
    AttachmentStart,
    SoapMessage,
)
from postroad.messages.soap_http import (
    MULTIPART_RELATED,
    SINGLE_PART_TYPE,
    SOAP_TYPES,
    package_type,
)
from postroad.messages.soap_reading import SOAP_LIMITS, SoapReader
from postroad.wire.headers import without
from postroad.wire.mime import (
    MediaType,
    MimeLimits,
    MultipartReader,
    MultipartWriter,
    PartBegin,
    PartData,
    PartEnd,
)

if TYPE_CHECKING:
    from postroad.wire.headers import HeaderList
    from postroad.wire.mime import MimeEvent
    from postroad.wire.xml_stream import StreamLimits

PackageEvent = SoapMessage | AttachmentStart | AttachmentData | AttachmentEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageLimits:
    """What one package may cost; attachments themselves may have any size."""

    soap: StreamLimits = SOAP_LIMITS
    parts: int = 1000
    nesting: int = 4  # multiparts inside each other
    surrounding_bytes: int = 64 * 1024  # text before the first part and after the last one


class PackageReader:
    r"""Reads what an information system sends, request or response, fed in slices of any size.

    ``feed`` and ``finish`` return the events that they complete: one ``SoapMessage`` first, which
    may hold a fault, then every attachment. They raise ``MalformedInput`` with the reference's
    codes; ``missing`` is the code for a multipart without any part.

    >>> package = b"--b\r\ncontent-type: a/b\r\n\r\n\r\n--b--"
    >>> PackageReader("multipart/related; boundary=b").feed(package)
    Traceback (most recent call last):
    postroad.errors.MalformedInput: the first part of a package must be SOAP, not a/b
    """

    __slots__ = ("_content_type", "_limits", "_missing", "_parts", "_soap", "_soap_type", "_top")

    def __init__(
        self,
        content_type: str | None,
        *,
        missing: FaultCode = FaultCode.MISSING_SOAP,
        limits: PackageLimits | None = None,
    ) -> None:
        self._limits = limits or PackageLimits()
        self._missing = missing
        self._content_type = content_type or ""
        media_type = package_type(content_type)
        self._parts = 0
        self._soap: SoapReader | None = None
        self._soap_type = PartBegin(())
        self._top: _Level | None = None
        if media_type.base == MULTIPART_RELATED:
            self._top = self._level(media_type.boundary(), 1)
        else:
            self._soap = SoapReader(limits=self._limits.soap)

    def feed(self, data: bytes) -> list[PackageEvent]:
        """Take the next slice."""
        events: list[PackageEvent] = []
        if self._top is not None:
            self._feed(self._top, data, events)
        elif self._soap is not None:
            self._soap.feed(data)
        return events

    def finish(self) -> list[PackageEvent]:
        """The input is over; raises ``MalformedInput`` if the package isn't complete."""
        if self._top is not None:
            if not self._parts:
                raise MalformedInput("the package has no parts", code=self._missing)
            events: list[PackageEvent] = []
            self._handle(self._top, self._top.reader.finish(), events)
            return events
        if self._soap is None:
            return []
        return [SoapMessage(self._content_type, (), self._soap.finish())]

    def _level(self, boundary: str, depth: int) -> _Level:
        limits = MimeLimits(
            parts=self._limits.parts,
            surrounding_bytes=self._limits.surrounding_bytes,
            lenient=True,
        )
        return _Level(MultipartReader(boundary, limits), depth)

    def _feed(self, level: _Level, data: bytes, events: list[PackageEvent]) -> None:
        self._handle(level, level.reader.feed(data), events)

    def _handle(self, level: _Level, mime: list[MimeEvent], events: list[PackageEvent]) -> None:
        for event in mime:
            if isinstance(event, PartBegin):
                level.inner = self._inner_level(level, event)
                if level.inner is None:
                    self._part_begins(event, events)
            elif level.inner is not None:
                if isinstance(event, PartData):
                    self._feed(level.inner, event.data, events)
                elif isinstance(event, PartEnd):
                    self._handle(level.inner, level.inner.reader.finish(), events)
                    level.inner = None
            elif isinstance(event, PartData):
                self._part_data(event.data, events)
            elif isinstance(event, PartEnd):
                self._part_ends(events)

    def _inner_level(self, level: _Level, begin: PartBegin) -> _Level | None:
        """The multipart that begins inside another one, if it is one."""
        if begin.content_type is None:
            return None
        media_type = MediaType.parse(begin.content_type)
        if not media_type.base.startswith("multipart/") or not media_type.parameter("boundary"):
            return None
        if level.depth >= self._limits.nesting:
            raise MalformedInput(
                f"multiparts nested deeper than {self._limits.nesting} levels",
                code=FaultCode.MIME_PARSING_FAILED,
            )
        return self._level(media_type.boundary(), level.depth + 1)

    def _part_begins(self, begin: PartBegin, events: list[PackageEvent]) -> None:
        if begin.content_type is None:
            raise _bad_type("a part of a package has no content type")
        self._parts += 1
        if self._parts > self._limits.parts:
            raise MalformedInput(
                f"more than {self._limits.parts} parts", code=FaultCode.MIME_PARSING_FAILED
            )
        if self._parts > 1:
            others = without(begin.headers, {"content-type"})
            events.append(AttachmentStart(self._parts - 1, begin.content_type, others))
            return
        base = MediaType.parse(begin.content_type).base
        if base not in SOAP_TYPES:
            raise _bad_type(f"the first part of a package must be SOAP, not {base}")
        self._soap = SoapReader(limits=self._limits.soap)
        self._soap_type = begin

    def _part_data(self, data: bytes, events: list[PackageEvent]) -> None:
        if self._soap is not None:
            self._soap.feed(data)
        else:
            events.append(AttachmentData(data))

    def _part_ends(self, events: list[PackageEvent]) -> None:
        if self._soap is None:
            events.append(AttachmentEnd())
            return
        begin, document = self._soap_type, self._soap.finish()
        self._soap = None
        others = without(begin.headers, {"content-type"})
        events.append(SoapMessage(begin.content_type or "", others, document))


@dataclass(slots=True)
class _Level:
    """One multipart that is being read, and the one inside its current part."""

    reader: MultipartReader
    depth: int
    inner: _Level | None = field(default=None)


@dataclass(frozen=True, slots=True)
class PackageForm:
    """How a message is handed to an information system: content type, boundary if multipart."""

    content_type: str
    boundary: str | None


def package_form(
    original_type: str, *, codec: str, has_attachments: bool, fresh_boundary: str
) -> PackageForm:
    """The form in which a message goes to a service or back to the consumer (PR-MESS 3).

    A package keeps the sender's own content type, word for word, with its boundary and ``start``;
    SOAP alone is ``text/xml`` in its encoding. ``fresh_boundary`` is for attachments whose sender
    named no package type. Raises ``MalformedInput`` (invalid_content_type).
    """
    media_type = MediaType.parse(original_type) if original_type else None
    if media_type is not None and media_type.base == MULTIPART_RELATED:
        return PackageForm(original_type, media_type.boundary())
    if has_attachments:
        content_type = f'multipart/related; type="text/xml"; boundary={fresh_boundary}'
        return PackageForm(content_type, fresh_boundary)
    return PackageForm(_single_part_type(codec), None)


class PackageWriter:
    r"""Writes a message for an information system; the caller sends what it returns.

    >>> writer = PackageWriter(PackageForm("multipart/related; boundary=b", "b"))
    >>> writer.soap("text/xml", b"<e/>") + writer.finish()
    b'--b\r\ncontent-type: text/xml\r\n\r\n<e/>\r\n--b--\r\n'
    """

    __slots__ = ("_multipart",)

    def __init__(self, form: PackageForm) -> None:
        self._multipart = None if form.boundary is None else MultipartWriter(form.boundary)

    def soap(self, content_type: str, xml: bytes, headers: HeaderList = ()) -> bytes:
        """The SOAP message, which comes first."""
        if self._multipart is None:
            return xml
        return self._multipart.begin_part(content_type, headers) + xml

    def attachment(self, content_type: str, headers: HeaderList = ()) -> bytes:
        """Begin an attachment; its data follows unchanged."""
        if self._multipart is None:
            raise RuntimeError("an attachment of a message that has no package")
        return self._multipart.begin_part(content_type, headers)

    def finish(self) -> bytes:
        """End the package."""
        return b"" if self._multipart is None else self._multipart.finish()


class BoundaryGuard:
    r"""Refuses a part that holds the boundary of the package it is going to be sent in.

    The boundary comes from the sender's HTTP header, which no signature covers: a part in which it
    stands would reach the information system as other parts than those that were signed.

    >>> guard = BoundaryGuard("b")
    >>> guard.feed(b"x\r\n-")
    >>> guard.feed(b"-b")
    Traceback (most recent call last):
    postroad.errors.MalformedInput: a part holds the boundary of its own package
    """

    __slots__ = ("_delimiter", "_tail")

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\n--" + boundary.encode("ascii")
        self._tail = b"\n"

    def begin_part(self) -> None:
        """The next part follows."""
        self._tail = b"\n"  # its first line begins a line of the package

    def feed(self, data: bytes) -> None:
        """Check the next slice of the part."""
        window = self._tail + data
        if self._delimiter in window:
            raise MalformedInput(
                "a part holds the boundary of its own package", code=FaultCode.MIME_PARSING_FAILED
            )
        self._tail = window[-len(self._delimiter) + 1 :]


def _single_part_type(codec: str) -> str:
    if codec in {"utf-8", "ascii"}:
        return SINGLE_PART_TYPE
    name = "utf-16" if codec.startswith("utf-16") else codec.replace("cp125", "windows-125")
    return f"text/xml; charset={name.upper() if not name.startswith('w') else name}"


def _bad_type(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INVALID_CONTENT_TYPE)
