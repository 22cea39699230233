"""How does the provider's server put the hash of the request into a service's response?

By splicing: the element that carries the hash is put right after ``id``, an older one is cut out,
and every other byte stays what the service wrote, encoding and declaration included. The result is
what is signed, logged and sent. Source: PR-MESS 2.4; reference: ResponseSoapParserImpl, which
writes the whole document anew; nobody relies on its bytes.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.wire.xml import XROAD

if TYPE_CHECKING:
    from postroad.messages.soap import SoapEnvelope

START_TAG = re.compile(
    r"""<(?P<name>[^\s/>]+)(?P<attributes>(?:\s+[^\s=]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(?P<empty>/?)>"""
)
"""A start tag, in a document that was found well-formed."""
_SPACE_BEFORE: Final = 512
"""Bytes before an element in which its indentation is looked for."""


def with_request_hash(response: SoapEnvelope, request_digest: bytes) -> bytes:
    """The bytes of a service's response with the request hash in its header.

    ``request_digest`` is the SHA-512 of the request's SOAP part. An element is written in the
    namespace and with the prefix of ``id``, on a line of its own if ``id`` stands on one.
    """
    xml, codec, marks = response.xml, response.codec, response.marks
    start, end = _element(xml, marks.query_id, codec)
    element = _hash_element(xml[start:end].decode(codec), request_digest)
    cuts = [(end, end, _indentation(xml, start, codec) + element.encode(codec))]
    if marks.request_hash is not None:
        old_start, old_end = _element(xml, marks.request_hash, codec)
        cuts.append((old_start - len(_indentation(xml, old_start, codec)), old_end, b""))
    pieces: list[bytes] = []
    position = 0
    for cut_start, cut_end, replacement in sorted(cuts):
        pieces += (xml[position:cut_start], replacement)
        position = cut_end
    return b"".join((*pieces, xml[position:]))


def _hash_element(query_id: str, digest: bytes) -> str:
    """The new element; ``query_id`` is the element beside which it will stand, as written."""
    tag = START_TAG.match(query_id)
    prefix, colon, _ = ("" if tag is None else tag["name"]).rpartition(":")
    name = f"{prefix}{colon}requestHash"
    declaration = ""
    if tag is None or "xmlns" in tag["attributes"]:
        # What ``id`` declares for itself isn't in scope beside it.
        declaration = f' xmlns{":" if prefix else ""}{prefix}="{XROAD}"'
    value = base64.b64encode(digest).decode("ascii")
    return f'<{name}{declaration} algorithmId="{DigestAlgorithm.SHA512.uri}">{value}</{name}>'


def _element(xml: bytes, mark: tuple[int, int], codec: str) -> tuple[int, int]:
    """Where a whole element begins and ends."""
    start, end = mark
    tag = START_TAG.match(xml[start:end].decode(codec))
    if tag is not None and tag["empty"]:
        return start, end
    closing = ">".encode(codec)
    step = len(closing)
    while xml[end : end + step] != closing:
        end += step
    return start, end + step


def _indentation(xml: bytes, start: int, codec: str) -> bytes:
    """The white space right before an element."""
    step = len(" ".encode(codec))
    spaces = {character.encode(codec) for character in " \t\r\n"}
    position = start
    while start - position < _SPACE_BEFORE and xml[position - step : position] in spaces:
        position -= step
    return xml[position:start]
