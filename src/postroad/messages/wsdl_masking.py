"""How are the addresses of services taken out of a WSDL before others get to see it?

Only the ``location`` of SOAP addresses is exchanged; every other byte stays. The reference reads
and writes the document anew, to the same effect, and leaves addresses of SOAP 1.2 as they are.
Source: PR-META 4; reference: OverwriteAttributeFilter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.soap_writing import START_TAG
from postroad.wire.xml_stream import StreamLimits, XmlStream, expanded

if TYPE_CHECKING:
    from collections.abc import Mapping

MASKED_ADDRESS: Final = "http://example.org/xroad-endpoint"
MAX_DESCRIPTION_BYTES: Final = 10 * 1024 * 1024
"""Largest description that is read (reference: WsdlParser, OpenApiParser)."""

_ADDRESSES: Final = frozenset(
    expanded(namespace, "address")
    for namespace in (
        "http://schemas.xmlsoap.org/wsdl/soap/",
        "http://schemas.xmlsoap.org/wsdl/soap12/",
    )
)
_TAG_BYTES: Final = (4 * 1024, 256 * 1024)
"""How far the end of a tag is looked for: at first, and at most."""
_VALUES = re.compile(r"""("[^"]*"|'[^']*')""")


def mask_wsdl(document: bytes) -> bytes:
    """The WSDL with ``MASKED_ADDRESS`` as every SOAP address.

    Raises ``MalformedInput`` (``internal_error``, as the reference) if it isn't XML, has a
    document type or is too large.
    """
    finder = _AddressFinder()
    finder.stream.feed(document)
    finder.stream.close()
    codec = finder.stream.codec
    pieces: list[bytes] = []
    position = 0
    for place in finder.places:
        tag = _tag_at(document, place, codec)
        pieces += (document[position:place], _masked(tag).encode(codec))
        position = place + len(tag.encode(codec))
    return b"".join((*pieces, document[position:]))


def _tag_at(document: bytes, place: int, codec: str) -> str:
    for size in _TAG_BYTES:
        tag = START_TAG.match(document[place : place + size].decode(codec, "ignore"))
        if tag is not None:
            return tag[0]
    raise MalformedInput("a tag of the WSDL can't be read", code=FaultCode.INTERNAL_ERROR)


def _masked(tag: str) -> str:
    """A start tag with another location; other attributes' values are passed over."""
    pieces = _VALUES.split(tag)
    for index in range(0, len(pieces) - 1, 2):
        if re.search(r"\slocation\s*=\s*$", pieces[index]):
            pieces[index + 1] = f'"{MASKED_ADDRESS}"'
    return "".join(pieces)


class _AddressFinder:
    """Notes where the tags of SOAP addresses begin."""

    def __init__(self) -> None:
        limits = StreamLimits(max_bytes=MAX_DESCRIPTION_BYTES)
        self.stream = XmlStream(self, limits=limits, code=FaultCode.INTERNAL_ERROR)
        self.places: list[int] = []

    def start(self, name: str, _attributes: Mapping[str, str]) -> None:
        """An element begins."""
        if name in _ADDRESSES:
            self.places.append(self.stream.position)

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, text: str) -> None:
        """Never told."""
