"""How does a kept SOAP message go out to an information system, ours or the service's?

The same for a request to the service and for the answer to the consumer (PR-MESS 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.messages.attachments import BoundaryGuard, PackageWriter, package_form
from postroad.messages.soap_http import MULTIPART_RELATED
from postroad.securityserver.transport import new_boundary
from postroad.wire.mime import MediaType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from postroad.messages.events import SoapMessage
    from postroad.messages.soap import SoapEnvelope
    from postroad.securityserver.spool import BodyBuffer
    from postroad.securityserver.transport import Attachment


class OutgoingPackage:
    """A whole message in the form that its sender chose: ``content_type``, ``size``, ``chunks``.

    Raises ``MalformedInput`` (invalid_content_type) if there is no such form.
    """

    __slots__ = ("_pieces", "content_type", "size")

    def __init__(
        self,
        original_type: str,
        soap: SoapMessage,
        envelope: SoapEnvelope,
        attachments: Sequence[Attachment],
    ) -> None:
        form = package_form(
            original_type,
            codec=envelope.codec,
            has_attachments=bool(attachments),
            fresh_boundary=new_boundary("xroad"),
        )
        writer = PackageWriter(form)
        pieces: list[bytes | BodyBuffer] = [
            writer.soap(soap.content_type, envelope.xml, soap.headers)
        ]
        for attachment in attachments:
            pieces.append(writer.attachment(attachment.content_type, attachment.headers))
            pieces.append(attachment.body)
        pieces.append(writer.finish())
        self._pieces = pieces
        self.content_type = form.content_type
        self.size = sum(len(piece) if isinstance(piece, bytes) else piece.size for piece in pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The message from its beginning, in slices."""
        for piece in self._pieces:
            if not isinstance(piece, bytes):
                async for data in piece.chunks():
                    yield data
            elif piece:
                yield piece


def boundary_guard(original_type: str) -> BoundaryGuard | None:
    """What no part may hold if it is to be sent with this content type."""
    if not original_type:
        return None
    media_type = MediaType.parse(original_type)
    return BoundaryGuard(media_type.boundary()) if media_type.base == MULTIPART_RELATED else None
