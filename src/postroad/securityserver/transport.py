"""How does a whole transport message arrive, and what of it is signed, verified and logged?

The same for both sides and both directions (PR-MESSTRANSP 2.1), so the two flows share it.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.digests import MESSAGE_PART, PartDigest, attachment_part
from postroad.evidence.verification import SignatureDocument
from postroad.messages.events import (
    AttachmentData,
    AttachmentEnd,
    AttachmentStart,
    BodyData,
    BodyEnd,
    BodyStart,
    Event,
    FaultPart,
    HashChain,
    HashChainResult,
    OcspPart,
    RestMessage,
    SignaturePart,
    SoapMessage,
)
from postroad.securityserver.signing import DIGEST
from postroad.securityserver.spool import BodyBuffer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from postroad.messages.attachments import BoundaryGuard
    from postroad.messages.decoder import TransportDecoder
    from postroad.messages.encoder import TransportEncoder
    from postroad.securityserver.resources import Resources
    from postroad.securityserver.signing import MessageSignature
    from postroad.wire.headers import HeaderList

HASH_ALGORITHM_HEADER: Final = "x-hash-algorithm"
MESSAGE_TYPE_HEADER: Final = "x-road-message-type"
REST_MESSAGE_TYPE: Final = "REST"
"""What the header says of a REST message; with SOAP there is none."""
ORIGINAL_TYPE_HEADER: Final = "x-original-content-type"
ORIGINAL_ACTION_HEADER: Final = "x-original-soapaction"
_LACKING: Final = frozenset(
    {FaultCode.MISSING_REST, FaultCode.MISSING_SOAP, FaultCode.MISSING_SIGNATURE}
)
# Tuples, because a union would be made anew for every event of every message.
_DATA: Final = (BodyData, AttachmentData)
_STARTS: Final = (BodyStart, AttachmentStart)
_ENDS: Final = (BodyEnd, AttachmentEnd)
_MESSAGES: Final = (RestMessage, SoapMessage)
_LETTERS: Final = bytes(string.ascii_letters.encode()[octet % 52] for octet in range(256))
"""A letter for every octet."""
GATHERED_BYTES: Final = 64 * 1024
"""Bytes of a transport message that are gathered before they are written."""
PROXY_VERSION: Final = "7.8.0"
"""The release of the protocol's reference that we speak like; peers may ask for a minimum."""


class Source(Protocol):
    """A body that is still arriving."""

    async def read_some(self) -> bytes:
        """The next slice; ``b""`` at the end."""
        ...


@dataclass(slots=True)
class Attachment:
    """What travels beside a message: a SOAP attachment, or the body of a REST message.

    A REST body has no content type of its own; it is the first and only attachment.
    """

    body: BodyBuffer
    content_type: str = ""
    headers: HeaderList = ()


@dataclass(slots=True)
class ReceivedMessage:
    """A transport message as it arrived; nothing in it is verified."""

    block: bytes = b""
    """The message itself: a serialised REST block, or a SOAP document."""
    soap: SoapMessage | None = None
    attachments: list[Attachment] = field(default_factory=list)
    ocsp_responses: list[bytes] = field(default_factory=list)
    hash_chain_result: bytes | None = None
    hash_chain: bytes | None = None
    signature: bytes = b""
    fault: bytes | None = None

    @property
    def document(self) -> SignatureDocument:
        """The signature with what belongs to it."""
        return SignatureDocument(self.signature, self.hash_chain_result, self.hash_chain)

    @property
    def parts(self) -> dict[str, PartDigest]:
        """Every part received, by its name in signatures."""
        return {part.name: part for part in message_parts(self.block, self.attachments)}

    @property
    def body(self) -> BodyBuffer | None:
        """The body of a REST message."""
        return self.attachments[0].body if self.attachments else None

    @property
    def size(self) -> int:
        """Bytes of all that came beside the message."""
        return attached_bytes(self.attachments)


def attached_bytes(attachments: Sequence[Attachment]) -> int:
    """Bytes of all that comes beside a message."""
    return sum([attachment.body.size for attachment in attachments])


def message_parts(message: bytes, attachments: Sequence[Attachment]) -> list[PartDigest]:
    """The parts of a message that its signature covers, in their order."""
    parts = [PartDigest.of(MESSAGE_PART, message, DIGEST)]
    for number, attachment in enumerate(attachments, 1):
        parts.append(PartDigest(attachment_part(number), DIGEST, attachment.body.digest))
    return parts


async def receive_message(
    source: Source,
    decoder: TransportDecoder,
    *,
    spool: Path,
    resources: Resources,
    soap: bool = False,
    guard: BoundaryGuard | None = None,
    blame: tuple[str, ...] = (),
    on_message: Callable[[ReceivedMessage], Awaitable[None]] | None = None,
) -> ReceivedMessage:
    """Read a transport message to its end, with REST in it or with SOAP.

    ``on_message`` is called as soon as the message is known, before anything beside it is kept; it
    may refuse by raising. ``guard`` is shown every part that will be put into a package.
    ``resources`` will close the spooled bodies. Raises ``MalformedInput``; ``blame`` is put before
    the code of a message that can't be read, but not of one that lacks something.
    """
    received = ReceivedMessage()
    while data := await source.read_some():
        for event in _decoded(decoder, data, blame):
            if isinstance(event, _DATA):
                if guard is not None:
                    guard.feed(event.data)
                await received.attachments[-1].body.write(event.data)
            elif isinstance(event, _STARTS):
                received.attachments.append(_attachment(event, spool, resources))
                if guard is not None:
                    guard.begin_part()
            elif isinstance(event, _ENDS):
                await received.attachments[-1].body.finish()
            elif isinstance(event, _MESSAGES):
                _keep_message(event, received, soap=soap, guard=guard)
                if on_message is not None:
                    await on_message(received)
            else:
                _keep(event, received)
    decoder.finish()
    return received


def _decoded(decoder: TransportDecoder, data: bytes, blame: tuple[str, ...]) -> list[Event]:
    try:
        return decoder.feed(data)
    except MalformedInput as error:
        if blame and error.code not in _LACKING:
            error.within(*blame)
        raise


def _attachment(
    event: BodyStart | AttachmentStart, spool: Path, resources: Resources
) -> Attachment:
    body = BodyBuffer(spool)
    resources.callback(body.close)
    if isinstance(event, AttachmentStart):
        return Attachment(body, event.content_type, event.headers)
    return Attachment(body)


def _keep_message(
    event: RestMessage | SoapMessage,
    received: ReceivedMessage,
    *,
    soap: bool,
    guard: BoundaryGuard | None,
) -> None:
    if isinstance(event, SoapMessage) is not soap:
        expected = "SOAP" if soap else "REST"
        raise MalformedInput(
            f"the message is not of the expected kind, {expected}", code=FaultCode.INVALID_MESSAGE
        )
    if isinstance(event, RestMessage):
        received.block = event.block
        return
    received.soap, received.block = event, event.xml
    if guard is not None:
        guard.feed(event.xml)


def _keep(event: Event, received: ReceivedMessage) -> None:
    if isinstance(event, OcspPart):
        received.ocsp_responses.append(event.der)
    elif isinstance(event, HashChainResult):
        received.hash_chain_result = event.xml
    elif isinstance(event, HashChain):
        received.hash_chain = event.xml
    elif isinstance(event, SignaturePart):
        received.signature = event.xml
    elif isinstance(event, FaultPart):
        received.fault = event.xml


class GatheringWriter:
    """Gathers small pieces into few writes; a small message leaves in a single one."""

    __slots__ = ("_pending", "_size", "_write")

    def __init__(self, write: Callable[[bytes], Awaitable[bool | None]]) -> None:
        self._write = write
        self._pending: list[bytes] = []
        self._size = 0

    async def write(self, data: bytes) -> bool:
        """Take the next piece; False if the other end wants no more."""
        self._pending.append(data)
        self._size += len(data)
        if self._size < GATHERED_BYTES:
            return True
        return await self._write(self.take()) is not False

    def take(self) -> bytes:
        """What has been gathered and not been written."""
        data = b"".join(self._pending)
        self._pending.clear()
        self._size = 0
        return data


def signature_parts(encoder: TransportEncoder, signature: MessageSignature) -> bytes:
    """The bytes that end a good transport message."""
    data = b""
    if signature.hash_chain_result is not None and signature.hash_chain is not None:
        data = encoder.hash_chain_result(signature.hash_chain_result)
        data += encoder.hash_chain(signature.hash_chain)
    return data + encoder.signature(signature.signature) + encoder.finish()


def new_boundary(prefix: str = "xtop") -> str:
    """A boundary that no body can be made to hold: 30 random letters."""
    return prefix + secrets.token_bytes(30).translate(_LETTERS).decode("ascii")


def header_text(value: str) -> str:
    """A header value of a REST block as HTTP text: what Latin-1 can't say goes as UTF-8 octets."""
    if value.isascii():
        return value
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8").decode("latin-1")
    return value
