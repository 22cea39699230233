"""What do the transport codecs say, and in which order may it be said?

The order is one table that encoder and decoder share; anything that isn't in it is refused.
Source: PR-MESSTRANSP 2.1; reference: ProxyMessageDecoder.
"""

from __future__ import annotations

from enum import Enum, auto
from types import MappingProxyType
from typing import Final

import msgspec

from postroad.messages.soap import SoapDocument
from postroad.wire.headers import HeaderList


class Direction(Enum):
    """Which way a transport message goes: from the client's server, or back to it."""

    REQUEST = auto()
    RESPONSE = auto()

    __hash__ = object.__hash__  # members are unique; Enum's own is a function written in Python


class PartKind(Enum):
    """The kinds of parts a transport message is made of; the value is the content type written."""

    OCSP = "application/ocsp-response"
    REST_REQUEST = "application/x-road-rest-request"
    REST_RESPONSE = "application/x-road-rest-response"
    REST_BODY = "application/x-road-rest-body"
    SOAP = "text/xml"
    ATTACHMENTS = "multipart/mixed"
    HASH_CHAIN_RESULT = "application/hash-chain-result"
    HASH_CHAIN = "application/hash-chain"
    SIGNATURE = "signature/bdoc-1.0/ts"
    FAULT = "text/xml; charset=UTF-8"

    __hash__ = object.__hash__


class Stage(Enum):
    """How far a transport message has come."""

    START = auto()
    REST = auto()
    REST_BODY = auto()
    SOAP = auto()
    ATTACHMENTS = auto()
    HASH_CHAIN_RESULT = auto()
    HASH_CHAIN = auto()
    SIGNED = auto()
    SOAP_FAULT = auto()
    FAULT = auto()

    __hash__ = object.__hash__


_PROOF: Final = {
    PartKind.HASH_CHAIN_RESULT: Stage.HASH_CHAIN_RESULT,
    PartKind.SIGNATURE: Stage.SIGNED,
}
_FAULT: Final = {PartKind.FAULT: Stage.FAULT}
_CHAIN: Final = {
    Stage.HASH_CHAIN_RESULT: {PartKind.HASH_CHAIN: Stage.HASH_CHAIN},
    Stage.HASH_CHAIN: {PartKind.SIGNATURE: Stage.SIGNED},
    Stage.SIGNED: {},
    # Some senders sign a fault that stands in the SOAP part; nobody relies on that signature.
    Stage.SOAP_FAULT: {PartKind.SIGNATURE: Stage.SIGNED},
    Stage.FAULT: {},
}

Table = MappingProxyType[Stage, dict[PartKind, Stage]]

TRANSITIONS: Final[MappingProxyType[Direction, Table]] = MappingProxyType(
    {
        Direction.REQUEST: MappingProxyType(
            {
                Stage.START: {
                    PartKind.OCSP: Stage.START,
                    PartKind.REST_REQUEST: Stage.REST,
                    PartKind.SOAP: Stage.SOAP,
                },
                Stage.REST: {PartKind.REST_BODY: Stage.REST_BODY, **_PROOF},
                Stage.REST_BODY: _PROOF,
                Stage.SOAP: {PartKind.ATTACHMENTS: Stage.ATTACHMENTS, **_PROOF},
                Stage.ATTACHMENTS: _PROOF,
                **_CHAIN,
            }
        ),
        # A fault may stand wherever a response can break off, never after the signature.
        Direction.RESPONSE: MappingProxyType(
            {
                Stage.START: {
                    PartKind.REST_RESPONSE: Stage.REST,
                    PartKind.SOAP: Stage.SOAP,
                    **_FAULT,
                },
                Stage.REST: {PartKind.REST_BODY: Stage.REST_BODY, **_PROOF, **_FAULT},
                Stage.REST_BODY: {**_PROOF, **_FAULT},
                Stage.SOAP: {PartKind.ATTACHMENTS: Stage.ATTACHMENTS, **_PROOF, **_FAULT},
                Stage.ATTACHMENTS: {**_PROOF, **_FAULT},
                **_CHAIN,
                Stage.HASH_CHAIN_RESULT: {PartKind.HASH_CHAIN: Stage.HASH_CHAIN, **_FAULT},
                Stage.HASH_CHAIN: {PartKind.SIGNATURE: Stage.SIGNED, **_FAULT},
            }
        ),
    }
)
"""Direction -> stage -> part kind -> next stage: the whole grammar of a transport message."""

COMPLETE: Final = frozenset({Stage.SIGNED, Stage.SOAP_FAULT, Stage.FAULT})
"""The stages in which a transport message may end."""


class OcspPart(msgspec.Struct, frozen=True):
    """One DER OCSP response for a certificate of the sender's authentication chain."""

    der: bytes


class RestMessage(msgspec.Struct, frozen=True):
    """The serialised REST block, request or response by the direction of the message."""

    block: bytes


class BodyStart(msgspec.Struct, frozen=True):
    """A REST body part begins; it may turn out to be empty, and counts as a part even then."""


class BodyData(msgspec.Struct, frozen=True):
    """The next slice of the REST body."""

    data: bytes


class BodyEnd(msgspec.Struct, frozen=True):
    """The REST body is complete."""


class SoapMessage(msgspec.Struct, frozen=True):
    """The SOAP part: its content type as sent, its other part headers, what it says."""

    content_type: str
    headers: HeaderList
    document: SoapDocument

    @property
    def xml(self) -> bytes:
        """The part as it came."""
        return self.document.xml


class AttachmentStart(msgspec.Struct, frozen=True):
    """A SOAP attachment begins: number from 1, content type, other part headers."""

    number: int
    content_type: str
    headers: HeaderList


class AttachmentData(msgspec.Struct, frozen=True):
    """The next slice of the current attachment."""

    data: bytes


class AttachmentEnd(msgspec.Struct, frozen=True):
    """The current attachment is complete."""


class HashChainResult(msgspec.Struct, frozen=True):
    """The hash chain result document, the octets that a batch signature signs."""

    xml: bytes


class HashChain(msgspec.Struct, frozen=True):
    """The hash chain of this message, up to the result."""

    xml: bytes


class SignaturePart(msgspec.Struct, frozen=True):
    """The XAdES signature."""

    xml: bytes


class FaultPart(msgspec.Struct, frozen=True):
    """A SOAP fault in place of the rest of the message; never signed."""

    xml: bytes


class End(msgspec.Struct, frozen=True):
    """The message is complete and its order was legal."""


Event = (
    OcspPart
    | RestMessage
    | BodyStart
    | BodyData
    | BodyEnd
    | SoapMessage
    | AttachmentStart
    | AttachmentData
    | AttachmentEnd
    | HashChainResult
    | HashChain
    | SignaturePart
    | FaultPart
    | End
)
