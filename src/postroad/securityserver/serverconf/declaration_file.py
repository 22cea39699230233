"""What may stand in a declaration file? One class per section, as it is written.

`declaration` says what it means.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from postroad.securityserver.serverconf.models import DescriptionType
from postroad.securityserver.serverconf.services import DEFAULT_TIMEOUT, MAX_TIMEOUT

Timeout = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIMEOUT)]


class EndpointSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[client.service.endpoint]]`."""

    method: str = "*"
    path: str
    allow: tuple[str, ...] = ()


class ServiceSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[client.service]]`."""

    code: str
    url: str
    type: DescriptionType = DescriptionType.REST
    version: str | None = None
    """SOAP services only."""
    description: str | None = None
    """Address of the WSDL or OpenAPI document; `url` if it is left out."""
    title: str = ""
    timeout: Timeout = DEFAULT_TIMEOUT
    verify_tls: bool | None = None
    enabled: bool = True
    notice: str = ""
    """What callers of a disabled service are told."""
    allow: tuple[str, ...] = ()
    endpoint: tuple[EndpointSection, ...] = ()


class DescribedServiceSection(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """`[[client.description.service]]`: what a document doesn't say of a service in it."""

    code: str
    version: str | None = None
    url: str | None = None
    """Where the service is, if not where the document says."""
    timeout: Timeout = DEFAULT_TIMEOUT
    verify_tls: bool | None = None
    allow: tuple[str, ...] = ()
    endpoint: tuple[EndpointSection, ...] = ()


class DescriptionSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[client.description]]`: a document that is read whenever the file is applied."""

    type: DescriptionType
    url: str
    code: str | None = None
    """Service code; OpenAPI only."""
    enabled: bool = True
    notice: str = ""
    """What callers of disabled services are told."""
    service: tuple[DescribedServiceSection, ...] = ()


class GroupSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[client.group]]`."""

    code: str
    description: str = ""
    members: tuple[str, ...] = ()


class ClientSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[client]]`."""

    id: str
    connection: str = "HTTPS"
    certificates: tuple[str, ...] = ()
    group: tuple[GroupSection, ...] = ()
    service: tuple[ServiceSection, ...] = ()
    description: tuple[DescriptionSection, ...] = ()


class TimestampingSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[timestamping]]`."""

    name: str
    url: str


class DeclarationFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file; without `[[timestamping]]` the chosen services stay as they are."""

    client: tuple[ClientSection, ...] = ()
    timestamping: tuple[TimestampingSection, ...] | None = None
