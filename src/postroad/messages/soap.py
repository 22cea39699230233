"""What does a SOAP message of the protocol say, and does a response answer its request?

Values only; ``soap_reading`` makes them. Source: PR-MESS 2 (message protocol 4.x), PR-THIRDPARTY,
PR-TARGETSS, PR-SECTOKEN; reference: SoapHeader, SoapUtils.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, TrustError

if TYPE_CHECKING:
    from postroad.identifiers import ClientId, SecurityServerId, ServiceId
    from postroad.messages.faults import Fault

RESPONSE_SUFFIX: Final = "Response"


@dataclass(frozen=True, slots=True)
class RepresentedParty:
    """For whom the client acts (PR-THIRDPARTY 2.2); both parts as written, None where absent."""

    party_class: str | None
    party_code: str | None


@dataclass(frozen=True, slots=True)
class SecurityToken:
    """A token for the service, opaque to security servers (PR-SECTOKEN 2.2)."""

    token_type: str | None
    value: str


@dataclass(frozen=True, slots=True)
class RequestHash:
    """The hash that ties a response to its request: algorithm URI and base64, both as written."""

    algorithm: str | None
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SoapHeader:
    """The header fields of one message; texts exactly as written, never trimmed."""

    client: ClientId
    service: ServiceId
    query_id: str
    protocol_version: str
    target_server: SecurityServerId | None = None
    user_id: str | None = None
    issue: str | None = None
    represented_party: RepresentedParty | None = None
    request_hash: RequestHash | None = None
    security_tokens: tuple[SecurityToken, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMarks:
    """Where the header fields stand that a response's rewriting touches, in bytes of the document.

    Each is where its start tag begins and where its end tag begins; where an empty-element tag
    stands, the second is the byte after it.
    """

    query_id: tuple[int, int]
    request_hash: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoapEnvelope:
    """A SOAP message whose header and body shape were found good.

    ``xml`` are the bytes as they came, a byte-order mark included: they are what is hashed,
    signed, sent and logged.
    """

    header: SoapHeader
    body_name: str
    """Local name of the one element in the body."""
    is_rpc: bool
    """True if the envelope declares SOAP encoding; nothing else distinguishes RPC messages."""
    xml: bytes
    codec: str
    """The Python codec of ``xml``."""
    marks: HeaderMarks

    @property
    def is_response(self) -> bool:
        """True if this counts as a response in logs and evidence (PR-MESS 2.4)."""
        return self.body_name.endswith(RESPONSE_SUFFIX)

    @property
    def digest(self) -> bytes:
        """SHA-512 of the message, which is also the request hash that its response must carry."""
        return hashlib.sha512(self.xml).digest()


@dataclass(frozen=True, slots=True)
class SoapFault:
    """A SOAP fault: what it says, and its bytes, which are relayed unchanged."""

    fault: Fault
    xml: bytes


SoapDocument = SoapEnvelope | SoapFault
"""Whatever a SOAP part may hold."""


def check_correlation(request: SoapEnvelope, response: SoapEnvelope) -> None:
    """Raise ``TrustError`` unless the response answers exactly this request (PR-MESS 2.5).

    The code is ``service_failed.inconsistent_response`` for a header field that differs, and
    ``inconsistent_response`` for the request hash.
    """
    ours, theirs = request.header, response.header
    for name, asked, answered in (
        ("client", ours.client, theirs.client),
        ("service", ours.service, theirs.service),
        ("id", ours.query_id, theirs.query_id),
        ("userId", ours.user_id, theirs.user_id),
        ("issue", ours.issue, theirs.issue),
        ("representedParty", ours.represented_party, theirs.represented_party),
    ):
        if asked != answered:
            raise _inconsistent(
                f"header field {name} of the response is not that of the request",
                (FaultCode.SERVICE_FAILED.value,),
            )
    if theirs.request_hash is None:
        raise _inconsistent("the response has no request hash")
    if not hmac.compare_digest(_decoded(theirs.request_hash.value), request.digest):
        raise _inconsistent("the response answers another request: the request hash differs")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _inconsistent("the request hash of the response is not base64") from None


def _inconsistent(message: str, prefix: tuple[str, ...] = ()) -> TrustError:
    return TrustError(message, code=FaultCode.INCONSISTENT_RESPONSE, prefix=prefix)
