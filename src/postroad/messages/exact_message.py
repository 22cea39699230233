r"""Is this a whole REST transport message, octet by octet as its writers write it?

Nearly every message arrives as a whole, in the one form that our writer and the reference's give
it: part headers of one known line, CRLF at every line end, nothing around the parts. Such a message
is cut at its boundaries in one go. What isn't exactly that is no error: :func:`read_exact_message`
answers None, and ``decoder`` reads it slice by slice; it is the truth about every message, and the
tests hold the two against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.messages.events import (
    TRANSITIONS,
    BodyData,
    BodyEnd,
    BodyStart,
    Direction,
    End,
    Event,
    HashChain,
    HashChainResult,
    OcspPart,
    PartKind,
    RestMessage,
    SignaturePart,
    Stage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_EVENTS: Final[dict[PartKind, Callable[[bytes], Event]]] = {
    PartKind.OCSP: OcspPart,
    PartKind.REST_REQUEST: RestMessage,
    PartKind.REST_RESPONSE: RestMessage,
    PartKind.HASH_CHAIN_RESULT: HashChainResult,
    PartKind.HASH_CHAIN: HashChain,
    PartKind.SIGNATURE: SignaturePart,
}
_HEADERS_END: Final = b"\r\n\r\n"
_KINDS: Final = {
    b"\r\ncontent-type: " + kind.value.encode(): kind for kind in (*_EVENTS, PartKind.REST_BODY)
}
_BODY_START: Final = BodyStart()
_BODY_END: Final = BodyEnd()
_END: Final = End()


def is_whole_der(content: bytes) -> bool:
    """Whether the octets are one whole DER SEQUENCE; what is inside is judged elsewhere."""
    if len(content) < 2 or content[0] != 0x30:
        return False
    length, header = content[1], 2
    if length > 0x80:
        header += length & 0x7F
        length = int.from_bytes(content[2:header], "big")
    return header + length == len(content)


def read_exact_message(
    data: bytes, boundary: bytes, direction: Direction, limit_of: Mapping[PartKind, int | None]
) -> list[Event] | None:
    """Read a message of known parts; ``limit_of`` tells how many bytes a part may have.

    The events are those that ``TransportDecoder`` would give for ``data`` in one slice.
    """
    pieces = (b"\n" + data).split(b"\n--" + boundary) if data.endswith(b"--\r\n") else []
    if len(pieces) < 3 or pieces[0] or pieces[-1] != b"--\r\n":
        return None
    transitions, stage = TRANSITIONS[direction], Stage.START
    events: list[Event] = []
    for piece in pieces[1:-1]:
        headers, found, content = piece.partition(_HEADERS_END)
        kind = _KINDS.get(headers)
        following = None if kind is None else transitions[stage].get(kind)
        if kind is None or following is None or not found or content[-1:] != b"\r":
            return None
        content, stage = content[:-1], following
        limit = limit_of[kind]
        is_too_long = limit is not None and len(content) > limit
        if is_too_long or (kind is PartKind.OCSP and not is_whole_der(content)):
            return None
        if kind is not PartKind.REST_BODY:
            events.append(_EVENTS[kind](content))
        elif content:
            events += (_BODY_START, BodyData(content), _BODY_END)
        else:
            events += (_BODY_START, _BODY_END)
    if stage is not Stage.SIGNED:
        return None
    events.append(_END)
    return events
