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
    from collections.abc import Awaitable, Callable
    from contextlib import ExitStack
    from pathlib import Path

    from postroad.messages.decoder import TransportDecoder
    from postroad.messages.encoder import TransportEncoder
    from postroad.securityserver.signing import MessageSignature

HASH_ALGORITHM_HEADER: Final = "x-hash-algorithm"
MESSAGE_TYPE_HEADER: Final = "x-road-message-type"
REST_MESSAGE_TYPE: Final = "REST"
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
class ReceivedMessage:
    """A transport message as it arrived; nothing in it is verified."""

    block: bytes = b""
    body: BodyBuffer | None = None
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
        return {part.name: part for part in message_parts(self.block, self.body)}


def message_parts(block: bytes, body: BodyBuffer | None) -> list[PartDigest]:
    """The parts of a REST message that its signature covers, in their order."""
    parts = [PartDigest.of(MESSAGE_PART, block, DIGEST)]
    if body is not None:
        parts.append(PartDigest(attachment_part(1), DIGEST, body.digest))
    return parts


async def receive_message(
    source: Source,
    decoder: TransportDecoder,
    *,
    spool: Path,
    resources: ExitStack,
    on_message: Callable[[ReceivedMessage], Awaitable[None]] | None = None,
) -> ReceivedMessage:
    """Read a transport message to its end.

    ``on_message`` is called as soon as the REST message is known, before its body is kept; it may
    refuse by raising. ``resources`` will close the spooled body. Raises ``MalformedInput``.
    """
    received = ReceivedMessage()
    while data := await source.read_some():
        for event in decoder.feed(data):
            if isinstance(event, BodyData) and received.body is not None:
                await received.body.write(event.data)
            elif isinstance(event, BodyStart):
                received.body = BodyBuffer(spool)
                resources.callback(received.body.close)
            elif isinstance(event, BodyEnd) and received.body is not None:
                await received.body.finish()
            else:
                _keep(event, received)
                if isinstance(event, RestMessage) and on_message is not None:
                    await on_message(received)
    decoder.finish()
    return received


def _keep(event: Event, received: ReceivedMessage) -> None:
    match event:
        case OcspPart(der):
            received.ocsp_responses.append(der)
        case RestMessage(block):
            received.block = block
        case HashChainResult(xml):
            received.hash_chain_result = xml
        case HashChain(xml):
            received.hash_chain = xml
        case SignaturePart(xml):
            received.signature = xml
        case FaultPart(xml):
            received.fault = xml
        case SoapMessage():
            raise MalformedInput(
                "a SOAP message came where a REST message was expected",
                code=FaultCode.INVALID_MESSAGE,
            )
        case _:
            pass


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


def new_boundary() -> str:
    """A boundary that no body can be made to hold: 30 random letters."""
    letters = string.ascii_letters
    return "xtop" + "".join(letters[octet % 52] for octet in secrets.token_bytes(30))


def header_text(value: str) -> str:
    """A header value of a REST block as HTTP text: what Latin-1 can't say goes as UTF-8 octets."""
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8").decode("latin-1")
    return value
