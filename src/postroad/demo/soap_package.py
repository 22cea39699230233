"""How do the demo's information systems write and read a SOAP message with its attachments?

As SOAP alone, as a package with attachments (SOAP with Attachments), or with MTOM, where an element
of the message stands for the attachment. Whole in memory: it is a demo's few megabytes.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from postroad.errors import MalformedInput
from postroad.wire.headers import last_value
from postroad.wire.mime import MediaType, MultipartReader, MultipartWriter, PartBegin, PartData

SOAP_TYPE: Final = "text/xml; charset=UTF-8"
XOP_TYPE: Final = "application/xop+xml"
_XOP_PART: Final = f'{XOP_TYPE}; charset=UTF-8; type="text/xml"'


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment; ``name`` is its Content-ID without brackets."""

    name: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Package:
    """A SOAP message and what is attached to it."""

    soap: bytes
    attachments: tuple[Attachment, ...] = ()
    is_mtom: bool = False


def write_package(package: Package) -> tuple[str, bytes]:
    """The content type and the body of an HTTP message."""
    if not package.attachments:
        return SOAP_TYPE, package.soap
    boundary = uuid.uuid4().hex
    writer = MultipartWriter(boundary)
    kind = XOP_TYPE if package.is_mtom else "text/xml"
    body = bytearray(
        writer.begin_part(
            _XOP_PART if package.is_mtom else SOAP_TYPE, (("Content-ID", "<message>"),)
        )
    )
    body += package.soap
    for each in package.attachments:
        headers = (("Content-Transfer-Encoding", "binary"), ("Content-ID", f"<{each.name}>"))
        body += writer.begin_part(each.content_type, headers)
        body += each.data
    body += writer.finish()
    info = '; start-info="text/xml"' if package.is_mtom else ""
    related = f'multipart/related; type="{kind}"; start="<message>"{info}; boundary="{boundary}"'
    return related, bytes(body)


def read_package(content_type: str, body: bytes) -> Package:
    """The message in an HTTP body; raises ``MalformedInput``."""
    media_type = MediaType.parse(content_type)
    if media_type.base != "multipart/related":
        return Package(body)
    reader = MultipartReader(media_type.boundary())
    parts: list[tuple[PartBegin, bytearray]] = []
    for event in (*reader.feed(body), *reader.finish()):
        if isinstance(event, PartBegin):
            parts.append((event, bytearray()))
        elif isinstance(event, PartData):
            parts[-1][1].extend(event.data)
    if not parts:
        raise MalformedInput("the package has no parts")
    (_head, soap), *attachments = parts
    return Package(
        bytes(soap),
        tuple(
            Attachment(
                (last_value(head.headers, "content-id") or "").strip("<>"),
                head.content_type or "",
                bytes(data),
            )
            for head, data in attachments
        ),
        is_mtom=media_type.parameter("type") == XOP_TYPE,
    )
