"""How is the list of REST services written that ``listMethods`` and ``allowedMethods`` answer with?

Source: PR-MREST, annex B; reference: RestMetadataServiceHandlerImpl over generated classes, whose
order of fields this is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from postroad.identifiers import SubsystemId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postroad.identifiers import ServiceId


class ListedEndpoint(msgspec.Struct, frozen=True):
    """A declared endpoint."""

    method: str
    path: str


class ListedService(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A REST service with its declared endpoints; the base endpoint is never among them."""

    member_class: str
    member_code: str
    subsystem_code: str | None = None
    service_code: str
    endpoint_list: tuple[ListedEndpoint, ...]
    object_type: Literal["SERVICE"]
    service_type: Literal["REST", "OPENAPI"]
    xroad_instance: str

    @classmethod
    def of(
        cls, service: ServiceId, endpoints: Iterable[tuple[str, str]], *, is_openapi: bool
    ) -> ListedService:
        """The entry of one service; of each endpoint, method and path pattern."""
        client = service.client
        return cls(
            member_class=client.member_class,
            member_code=client.member_code,
            subsystem_code=client.subsystem_code if isinstance(client, SubsystemId) else None,
            service_code=service.service_code,
            endpoint_list=tuple(ListedEndpoint(*endpoint) for endpoint in endpoints),
            object_type="SERVICE",
            service_type="OPENAPI" if is_openapi else "REST",
            xroad_instance=client.instance,
        )


def encode_service_list(services: Iterable[ListedService]) -> bytes:
    """The list as ``application/json``."""
    return msgspec.json.encode({"service": tuple(services)})
