"""Which payloads do many resources share, and how are registry rows written as such?

Source: the ``components`` of the reference's OpenAPI document of the Central Server.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from postroad.centralserver.api.refusals import ApiRefusal
from postroad.errors import MalformedInput
from postroad.identifiers import (
    ClientId,
    MemberId,
    SecurityServerId,
    SubsystemId,
    client_id,
)

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
"""A text of 1 to 255 characters."""
EncodedId = Annotated[str, msgspec.Meta(min_length=1, max_length=1279)]
"""An identifier, its parts joined by colons."""


class Payload(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A JSON object; fields that are absent by default aren't written."""


class ClientIdentifier(Payload):
    """A member or subsystem, part by part and as a whole."""

    instance_id: str
    type: Literal["MEMBER", "SUBSYSTEM"]
    member_class: str
    member_code: str
    subsystem_code: str | None = None
    encoded_id: str | None = None

    @classmethod
    def of(cls, client: ClientId) -> ClientIdentifier:
        """The payload of an identifier."""
        return cls(
            instance_id=client.instance,
            type="MEMBER" if client.subsystem_code is None else "SUBSYSTEM",
            member_class=client.member_class,
            member_code=client.member_code,
            subsystem_code=client.subsystem_code,
            encoded_id=encode_id(client),
        )


class ServerIdentifier(Payload):
    """A security server, part by part and as a whole."""

    instance_id: str
    type: Literal["SERVER"]
    member_class: str
    member_code: str
    server_code: str
    encoded_id: str | None = None

    @classmethod
    def of(cls, server: SecurityServerId) -> ServerIdentifier:
        """The payload of an identifier."""
        return cls(
            instance_id=server.instance,
            type="SERVER",
            member_class=server.member_class,
            member_code=server.member_code,
            server_code=server.server_code,
            encoded_id=encode_id(server),
        )


class Client(Payload):
    """A member or subsystem with its name."""

    client_id: ClientIdentifier
    member_name: str | None = None
    subsystem_name: str | None = None


class SecurityServer(Payload):
    """A security server."""

    server_id: ServerIdentifier
    in_maintenance_mode: bool
    owner_name: str | None = None
    server_address: str | None = None
    maintenance_mode_message: str | None = None
    created_at: datetime | None = None


def encode_id(identifier: ClientId | SecurityServerId) -> str:
    """The identifier as the interface writes it.

    >>> encode_id(MemberId("EE", "GOV", "1"))
    'EE:GOV:1'
    """
    return ":".join(identifier.parts)


def parse_client_id(text: str) -> ClientId:
    """Read the identifier of a member or subsystem; refused when it is neither."""
    parts = text.split(":")
    if len(parts) not in {3, 4}:
        raise ApiRefusal(400, "invalid_client_id", (text[:1279],))
    try:
        return client_id(*parts)
    except MalformedInput as error:
        raise ApiRefusal(400, "invalid_client_id", (text[:1279],)) from error


def parse_member_id(text: str) -> MemberId:
    """Read the identifier of a member."""
    parsed = _parsed(text)
    if not isinstance(parsed, MemberId):
        raise ApiRefusal(400, "invalid_member_id", (text[:1279],))
    return parsed


def parse_subsystem_id(text: str, code: str = "invalid_subsystem_id") -> SubsystemId:
    """Read the identifier of a subsystem; ``code`` is that of the refusal."""
    parsed = _parsed(text)
    if not isinstance(parsed, SubsystemId):
        raise ApiRefusal(400, code, (text[:1279],))
    return parsed


def parse_server_id(text: str) -> SecurityServerId:
    """Read the identifier of a security server."""
    parts = text.split(":")
    try:
        if len(parts) == 4:
            return SecurityServerId(*parts)
    except MalformedInput:
        pass
    raise ApiRefusal(400, "invalid_security_server_id", (text[:1279],))


def _parsed(text: str) -> ClientId | None:
    try:
        return parse_client_id(text)
    except ApiRefusal:
        return None
