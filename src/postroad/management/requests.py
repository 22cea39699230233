"""What can a Security Server ask of the Central Server, and how is it written in a message body?

The eleven management requests as values, and the XML of each: element order as in the protocol's
schema when we write, any order and unknown elements when we read, for no other server validates
them either. Source: PR-MSERV annex A; reference: ``request.xsd``, ``ManagementRequestParser``.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

from postroad.errors import FaultCode, MalformedInput
from postroad.identifiers import (
    ClientId,
    MemberId,
    SecurityServerId,
    ServiceId,
    SubsystemId,
    client_id,
)
from postroad.messages.soap import RESPONSE_SUFFIX
from postroad.wire.xml import (
    IDENTIFIERS,
    XROAD,
    Element,
    child_elements,
    escape_text,
    local_name,
    qualified,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_TEXT: Final = 1024
"""Longest address, name or message that is read, in characters; the registry allows less."""

_OBJECT_TYPE: Final = qualified(IDENTIFIERS, "objectType")


class ServiceCode(StrEnum):
    """The service codes of the management requests."""

    AUTH_CERT_REGISTRATION = "authCertReg"
    AUTH_CERT_DELETION = "authCertDeletion"
    CLIENT_REGISTRATION = "clientReg"
    CLIENT_DELETION = "clientDeletion"
    CLIENT_DISABLING = "clientDisable"
    CLIENT_ENABLING = "clientEnable"
    CLIENT_RENAMING = "clientRename"
    OWNER_CHANGE = "ownerChange"
    ADDRESS_CHANGE = "addressChange"
    MAINTENANCE_START = "maintenanceModeEnable"
    MAINTENANCE_END = "maintenanceModeDisable"

    @classmethod
    def parse(cls, text: str) -> ServiceCode:
        """The code in any letter case; ``MalformedInput`` (``invalid_request``) if unknown."""
        found = _CODES.get(text.lower())
        if found is None:
            raise invalid_request(f"Unknown service code '{text[:80]}'")
        return found


_CODES: Final = {code.value.lower(): code for code in ServiceCode}


class Signer(Enum):
    """Who proves a management request by a signature beside it."""

    NOBODY = auto()
    """The exchange that carries the request has authenticated the sender."""
    SERVER_AND_OWNER = auto()
    """The authentication key that is to be registered, and the server's owner."""
    CLIENT = auto()
    """The member that the client belongs to."""
    OWNER = auto()
    """The server's owner."""


@dataclass(frozen=True, slots=True)
class AuthCertRegistration:
    """Make this authentication certificate (DER) and address known as those of the server.

    A ``dry_run`` is checked as a whole and changes nothing (from 7.8).
    """

    server: SecurityServerId
    auth_certificate: bytes
    address: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class AuthCertDeletion:
    """The server does not use this authentication certificate (DER) any more."""

    server: SecurityServerId
    auth_certificate: bytes


@dataclass(frozen=True, slots=True)
class ClientRegistration:
    """Make the client one of the server's, its subsystem with that name."""

    server: SecurityServerId
    client: ClientId
    subsystem_name: str | None = None


@dataclass(frozen=True, slots=True)
class ClientDeletion:
    """The client leaves the server."""

    server: SecurityServerId
    client: ClientId


@dataclass(frozen=True, slots=True)
class ClientDisabling:
    """The client is out of service at this server for a while."""

    server: SecurityServerId
    client: ClientId


@dataclass(frozen=True, slots=True)
class ClientEnabling:
    """The client is back in service."""

    server: SecurityServerId
    client: ClientId


@dataclass(frozen=True, slots=True)
class ClientRenaming:
    """The subsystem has another name from now on."""

    server: SecurityServerId
    client: ClientId
    subsystem_name: str


@dataclass(frozen=True, slots=True)
class OwnerChange:
    """The client, a member, becomes the owner of the server."""

    server: SecurityServerId
    client: ClientId


@dataclass(frozen=True, slots=True)
class AddressChange:
    """The server is reached at another address."""

    server: SecurityServerId
    address: str


@dataclass(frozen=True, slots=True)
class MaintenanceStart:
    """The server does not serve its clients until further notice."""

    server: SecurityServerId
    message: str | None = None


@dataclass(frozen=True, slots=True)
class MaintenanceEnd:
    """The server serves its clients again."""

    server: SecurityServerId


ManagementRequest: TypeAlias = (
    AuthCertRegistration
    | AuthCertDeletion
    | ClientRegistration
    | ClientDeletion
    | ClientDisabling
    | ClientEnabling
    | ClientRenaming
    | OwnerChange
    | AddressChange
    | MaintenanceStart
    | MaintenanceEnd
)


class FieldKind(Enum):
    """What an element of a request holds."""

    SERVER = auto()
    CLIENT = auto()
    TEXT = auto()
    DATA = auto()
    FLAG = auto()


@dataclass(frozen=True, slots=True)
class RequestField:
    """An element of a request: its name, and the attribute that it fills."""

    element: str
    attribute: str
    kind: FieldKind
    required: bool = True


@dataclass(frozen=True, slots=True)
class _Form:
    """How one request is written: its class, its elements in order, who signs it."""

    make: Callable[..., ManagementRequest]
    signer: Signer
    fields: tuple[RequestField, ...]


_SERVER = RequestField("server", "server", FieldKind.SERVER)
_CLIENT = RequestField("client", "client", FieldKind.CLIENT)
_ADDRESS = RequestField("address", "address", FieldKind.TEXT)
_AUTH_CERTIFICATE = RequestField("authCert", "auth_certificate", FieldKind.DATA)
_NAME = RequestField("subsystemName", "subsystem_name", FieldKind.TEXT)

_FORMS: Final[Mapping[ServiceCode, _Form]] = {
    ServiceCode.AUTH_CERT_REGISTRATION: _Form(
        AuthCertRegistration,
        Signer.SERVER_AND_OWNER,
        (
            _SERVER,
            RequestField("address", "address", FieldKind.TEXT, required=False),
            _AUTH_CERTIFICATE,
            RequestField("dryRun", "dry_run", FieldKind.FLAG, required=False),
        ),
    ),
    ServiceCode.AUTH_CERT_DELETION: _Form(
        AuthCertDeletion, Signer.NOBODY, (_SERVER, _AUTH_CERTIFICATE)
    ),
    ServiceCode.CLIENT_REGISTRATION: _Form(
        ClientRegistration,
        Signer.CLIENT,
        (
            _SERVER,
            _CLIENT,
            RequestField("subsystemName", "subsystem_name", FieldKind.TEXT, required=False),
        ),
    ),
    ServiceCode.CLIENT_DELETION: _Form(ClientDeletion, Signer.NOBODY, (_SERVER, _CLIENT)),
    ServiceCode.CLIENT_DISABLING: _Form(ClientDisabling, Signer.CLIENT, (_SERVER, _CLIENT)),
    ServiceCode.CLIENT_ENABLING: _Form(ClientEnabling, Signer.CLIENT, (_SERVER, _CLIENT)),
    ServiceCode.CLIENT_RENAMING: _Form(ClientRenaming, Signer.CLIENT, (_SERVER, _CLIENT, _NAME)),
    ServiceCode.OWNER_CHANGE: _Form(OwnerChange, Signer.CLIENT, (_SERVER, _CLIENT)),
    ServiceCode.ADDRESS_CHANGE: _Form(AddressChange, Signer.OWNER, (_SERVER, _ADDRESS)),
    ServiceCode.MAINTENANCE_START: _Form(
        MaintenanceStart,
        Signer.OWNER,
        (_SERVER, RequestField("message", "message", FieldKind.TEXT, required=False)),
    ),
    ServiceCode.MAINTENANCE_END: _Form(MaintenanceEnd, Signer.OWNER, (_SERVER,)),
}
_CODE_OF: Final = {form.make: code for code, form in _FORMS.items()}


def service_code_of(request: ManagementRequest) -> ServiceCode:
    """The service that a request is sent to."""
    return _CODE_OF[type(request)]


def fields_of(code: ServiceCode) -> tuple[RequestField, ...]:
    """The elements of a request to that service, in the order of writing them."""
    return _FORMS[code].fields


def signer_of(code: ServiceCode) -> Signer:
    """Who signs requests of that service."""
    return _FORMS[code].signer


def member_concerned(request: ManagementRequest) -> MemberId:
    """Whose signature proves a request: that of the client's member, or of the server's owner."""
    match request:
        case (
            ClientRegistration()
            | ClientDisabling()
            | ClientEnabling()
            | ClientRenaming()
            | OwnerChange()
        ):
            return request.client.member
        case _:
            return request.server.owner


def encode_body(request: ManagementRequest) -> str:
    """The element that stands in the message body, with its namespaces declared.

    >>> from postroad.identifiers import SecurityServerId
    >>> encode_body(MaintenanceEnd(SecurityServerId("EE", "GOV", "1", "SS1")))[:32]
    '<xroad:maintenanceModeDisable xm'
    """
    code = service_code_of(request)
    fields = "".join(_encode_field(field, request) for field in _FORMS[code].fields)
    return (
        f'<xroad:{code.value} xmlns:xroad="{XROAD}" xmlns:id="{IDENTIFIERS}">'
        f"{fields}</xroad:{code.value}>"
    )


def _encode_field(field: RequestField, request: ManagementRequest) -> str:
    value = getattr(request, field.attribute)
    name = f"xroad:{field.element}"
    match value:
        case None:
            return ""
        case bool():
            return f"<{name}>{'true' if value else 'false'}</{name}>"
        case bytes():
            return f"<{name}>{base64.b64encode(value).decode('ascii')}</{name}>"
        case str():
            return f"<{name}>{escape_text(value)}</{name}>"
        case _:
            return encode_identifier(field.element, value)


_MEMBER_PARTS: Final = ("xRoadInstance", "memberClass", "memberCode")
_SERVER_PARTS: Final = (*_MEMBER_PARTS, "serverCode")
_CLIENT_PARTS: Final = (*_MEMBER_PARTS, "subsystemCode")


def encode_identifier(name: str, identifier: ClientId | SecurityServerId | ServiceId) -> str:
    """An element of that local name that holds an identifier; prefixes ``xroad`` and ``id``."""
    names: tuple[str, ...]
    match identifier:
        case SecurityServerId():
            kind, names = "SERVER", _SERVER_PARTS
        case ServiceId():
            client_parts = _CLIENT_PARTS[: len(identifier.client.parts)]
            kind, names = "SERVICE", (*client_parts, "serviceCode", "serviceVersion")
        case SubsystemId():
            kind, names = "SUBSYSTEM", _CLIENT_PARTS
        case MemberId():
            kind, names = "MEMBER", _MEMBER_PARTS
    content = "".join(
        f"<id:{part_name}>{escape_text(part)}</id:{part_name}>"
        for part_name, part in zip(names, identifier.parts, strict=False)
    )
    return f'<xroad:{name} id:objectType="{kind}">{content}</xroad:{name}>'


def parse_body(root: Element, code: ServiceCode) -> ManagementRequest:
    """Read the element in a message body as a request to ``code``.

    Raises ``MalformedInput``: ``invalid_request`` for another element, a missing or repeated
    field or one of the wrong kind, ``invalid_client_identifier`` for an incomplete identifier.
    """
    if root.tag != qualified(XROAD, code.value):
        raise invalid_request(f"the body holds <{local_name(root)}>, not <{code.value}>")
    form = _FORMS[code]
    found = {
        field.attribute: _parse_field(field, element)
        for field in form.fields
        if (element := _only_child(root, field)) is not None
    }
    return form.make(**found)


def _only_child(root: Element, field: RequestField) -> Element | None:
    found = [child for child in root if child.tag == qualified(XROAD, field.element)]
    if len(found) > 1 or (field.required and not found):
        reason = "is repeated" if found else "is missing"
        raise invalid_request(f"<{field.element}> {reason} in <{local_name(root)}>")
    return found[0] if found else None


def _parse_field(field: RequestField, element: Element) -> object:
    match field.kind:
        case FieldKind.SERVER:
            return _parse_server(element)
        case FieldKind.CLIENT:
            return _parse_client(element)
        case FieldKind.TEXT:
            return _parse_text(element)
        case FieldKind.DATA:
            return _parse_data(element)
        case FieldKind.FLAG:
            return _parse_text(element).strip() in {"true", "1"}


def _parse_text(element: Element) -> str:
    if child_elements(element):
        raise invalid_request(f"<{local_name(element)}> holds elements where a text belongs")
    text = text_of(element) + "".join(child.tail or "" for child in element)
    if len(text) > MAX_TEXT:
        raise invalid_request(f"<{local_name(element)}> has more than {MAX_TEXT} characters")
    return text


def _parse_data(element: Element) -> bytes:
    try:
        return base64.b64decode("".join(text_of(element).split()), validate=True)
    except (binascii.Error, ValueError):
        raise invalid_request(f"<{local_name(element)}> is not Base64") from None


def _parse_server(element: Element) -> SecurityServerId:
    _require_type(element, {"SERVER"})
    try:
        return SecurityServerId(*(_part(element, name) or "" for name in _SERVER_PARTS))
    except MalformedInput as error:
        raise invalid_identifier(f"not a security server identifier: {error}") from error


def _parse_client(element: Element) -> ClientId:
    # As in message headers, the subsystem code decides what it is.
    _require_type(element, {"MEMBER", "SUBSYSTEM"})
    instance, member_class, member_code, subsystem_code = (
        _part(element, name) for name in _CLIENT_PARTS
    )
    try:
        return client_id(instance or "", member_class or "", member_code or "", subsystem_code)
    except MalformedInput as error:
        raise invalid_identifier(f"not a client identifier: {error}") from error


def _require_type(element: Element, allowed: set[str]) -> None:
    found = element.get(_OBJECT_TYPE)
    if found not in allowed:
        raise invalid_request(f"<{local_name(element)}> is of the object type {found!r}")


def _part(element: Element, name: str) -> str | None:
    found = [child for child in element if child.tag == qualified(IDENTIFIERS, name)]
    if len(found) > 1:
        raise invalid_identifier(f"<{name}> is repeated in <{local_name(element)}>")
    return _parse_text(found[0]) if found else None


def response_name(code: ServiceCode) -> str:
    """The local name of the element that answers requests to ``code``."""
    return code.value + RESPONSE_SUFFIX


def invalid_request(message: str) -> MalformedInput:
    """The error for a request that isn't one."""
    return MalformedInput(message, code=FaultCode.INVALID_REQUEST)


def invalid_identifier(message: str) -> MalformedInput:
    """The error for an identifier in a request that names nobody."""
    return MalformedInput(message, code=FaultCode.INVALID_CLIENT_IDENTIFIER)
