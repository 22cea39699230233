"""Which bytes stand for a transport message between two security servers?

Parts in, bytes out; the caller sends them in the order in which it got them. An order that the
table in ``messages.events`` doesn't have is our own mistake and raises ``IllegalOrder``.
Source: PR-MESSTRANSP 2.1; reference: ProxyMessageEncoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.messages.events import COMPLETE, TRANSITIONS, Direction, PartKind, Stage
from postroad.wire.mime import MultipartWriter

if TYPE_CHECKING:
    from postroad.wire.headers import HeaderList

_CONTENT_TYPES: Final = {kind: kind.value for kind in PartKind}


class IllegalOrder(RuntimeError):
    """The caller wrote a part where the protocol has no place for it: a defect in our code."""


class TransportEncoder:
    r"""Writes one transport message.

    >>> encoder = TransportEncoder("xtop", Direction.REQUEST)
    >>> message = encoder.rest_request(b"GET\r\n/r1\r\n") + encoder.signature(b"<s/>")
    >>> (message + encoder.finish()).count(b"--xtop")
    3

    Every method returns the bytes to send. ``boundary`` must be unguessable (30 random letters),
    for a body may hold anything.
    """

    __slots__ = ("_attachments", "_open", "_stage", "_top", "_transitions", "boundary")

    def __init__(self, boundary: str, direction: Direction) -> None:
        self.boundary = boundary
        self._transitions = TRANSITIONS[direction]
        self._stage = Stage.START
        self._top = MultipartWriter(boundary)
        self._attachments: MultipartWriter | None = None
        self._open = False

    @property
    def content_type(self) -> str:
        """The Content-Type header of the HTTP message."""
        return f"multipart/mixed; charset=UTF-8; boundary={self.boundary}"

    def ocsp(self, der: bytes) -> bytes:
        """One OCSP response for a certificate of the sender's authentication chain."""
        return self._part(PartKind.OCSP) + der

    def rest_request(self, block: bytes) -> bytes:
        """The serialised REST request."""
        return self._part(PartKind.REST_REQUEST) + block

    def rest_response(self, block: bytes) -> bytes:
        """The serialised REST response."""
        return self._part(PartKind.REST_RESPONSE) + block

    def body_start(self) -> bytes:
        """Begin the REST body part."""
        prefix = self._part(PartKind.REST_BODY)
        self._open = True
        return prefix

    def body_data(self, data: bytes) -> bytes:
        """The next slice of the REST body, unchanged."""
        if not self._open:
            raise IllegalOrder("body data outside a body part")
        return data

    def body_end(self) -> bytes:
        """End the REST body part; nothing is written, the next delimiter ends it."""
        if not self._open:
            raise IllegalOrder("the end of a body part that never began")
        self._open = False
        return b""

    def soap(self, content_type: str, xml: bytes, headers: HeaderList = ()) -> bytes:
        """The SOAP part with the consumer's content type."""
        return self._part(PartKind.SOAP, content_type, headers) + xml

    def attachment(
        self, content_type: str, headers: HeaderList = (), *, nested_boundary: str
    ) -> bytes:
        """Begin a SOAP attachment; its data follows through ``attachment_data``."""
        prefix = b""
        if self._attachments is None:
            nested_type = f"multipart/mixed; charset=UTF-8; boundary={nested_boundary}"
            prefix = self._part(PartKind.ATTACHMENTS, nested_type)
            self._attachments = MultipartWriter(nested_boundary, nested=True)
        return prefix + self._attachments.begin_part(content_type, headers)

    def attachment_data(self, data: bytes) -> bytes:
        """The next slice of the current attachment, unchanged."""
        if self._attachments is None:
            raise IllegalOrder("attachment data outside an attachment")
        return data

    def hash_chain_result(self, xml: bytes) -> bytes:
        """The hash chain result of a batch signature."""
        return self._part(PartKind.HASH_CHAIN_RESULT) + xml

    def hash_chain(self, xml: bytes) -> bytes:
        """The hash chain of this message."""
        return self._part(PartKind.HASH_CHAIN) + xml

    def signature(self, xml: bytes) -> bytes:
        """The XAdES signature, the last part of a good message."""
        return self._part(PartKind.SIGNATURE) + xml

    def fault(self, xml: bytes) -> bytes:
        """A SOAP fault in place of the rest of a response; closes an open part first."""
        self._open = False
        return self._part(PartKind.FAULT) + xml

    def finish(self) -> bytes:
        """The closing delimiter; the message must have its signature or a fault."""
        if self._stage not in COMPLETE:
            raise IllegalOrder(f"a transport message can't end at {self._stage.name}")
        return self._top.finish()

    def _part(
        self, kind: PartKind, content_type: str | None = None, headers: HeaderList = ()
    ) -> bytes:
        following = self._transitions[self._stage].get(kind)
        if following is None or self._open:
            raise IllegalOrder(f"{kind.name} can't follow {self._stage.name}")
        prefix = b""
        if self._attachments is not None:
            prefix = self._attachments.finish()
            self._attachments = None
        self._stage = following
        return prefix + self._top.begin_part(content_type or _CONTENT_TYPES[kind], headers)
