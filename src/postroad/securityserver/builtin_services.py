"""What do the services look like that the server itself offers to everybody?

Metadata and monitoring: they need no access right, but are signed and logged like any other.
Whoever offers one registers a coroutine under its service code. Source: PR-META, PR-MREST;
reference: ServiceHandler, RestServiceHandler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroad.messages.rest import RestRequest
    from postroad.securityserver.provider_exchange import Call
    from postroad.securityserver.soap_message import SoapRequest
    from postroad.wire.headers import HeaderList


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinAnswer:
    """What a REST service of the server itself answers, such as the list of methods."""

    status: int
    headers: HeaderList
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinAttachment:
    """What a SOAP service of the server itself puts beside its answer."""

    content_type: str
    headers: HeaderList
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinSoapAnswer:
    """A response document without a request hash, and its attachments."""

    xml: bytes
    attachments: tuple[BuiltinAttachment, ...] = ()


RestService = Callable[["Call", "RestRequest"], Awaitable[BuiltinAnswer]]
SoapService = Callable[["Call", "SoapRequest"], Awaitable[BuiltinSoapAnswer]]
"""Both may take their time and do I/O; what they raise is told to the caller as it is."""


@dataclass(frozen=True, slots=True)
class BuiltinServices:
    """The services that the server itself offers, by service code; versions play no role."""

    rest: Mapping[str, RestService] = field(default_factory=dict)
    """Called with GET only: other methods are an ordinary service's (PR-MREST)."""
    soap: Mapping[str, SoapService] = field(default_factory=dict)
    owner_soap: Mapping[str, SoapService] = field(default_factory=dict)
    """Of the server's owner alone, as a member: other providers may have services of these codes
    (PR-OPMON 2, PR-ENVMONMES)."""
