"""The search over members and subsystems. Source: reference ``ClientsApiController``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.paging import PagingMetadata, PagingSorting, page_of
from postroad.centralserver.api.parties import member_payload, subsystem_payload
from postroad.centralserver.api.schemas import Client, Payload, encode_id, parse_server_id
from postroad.centralserver.registry import groups, members, servers
from postroad.centralserver.roles import Permission

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

_Term = Annotated[str, msgspec.Meta(max_length=255)]


class ClientsQuery(PagingSorting, frozen=True, kw_only=True):
    """Which clients are wanted; every term is looked for inside, whatever its case."""

    q: _Term | None = None
    name: _Term | None = None
    instance: _Term | None = None
    member_class: _Term | None = None
    member_code: _Term | None = None
    subsystem_code: _Term | None = None
    client_type: Literal["MEMBER", "SUBSYSTEM"] | None = None
    security_server: Annotated[str, msgspec.Meta(max_length=1279)] | None = None
    excluding_group: _Term | None = None


class PagedClients(Payload):
    """One page of clients."""

    clients: list[Client]
    paging_metadata: PagingMetadata


_KEYS: Final[dict[str, Callable[[Client], str | int]]] = {
    "id": lambda client: client.client_id.encoded_id or "",
    "member_name": lambda client: client.member_name or "",
    "subsystem_name": lambda client: client.subsystem_name or "",
    "client_id.instance_id": lambda client: client.client_id.instance_id,
    "client_id.member_class": lambda client: client.client_id.member_class,
    "client_id.member_code": lambda client: client.client_id.member_code,
    "client_id.subsystem_code": lambda client: client.client_id.subsystem_code or "",
    "client_type": lambda client: client.client_id.type,
}


def find_clients(call: Call) -> PagedClients:
    """One page of the clients that are wanted."""
    query: ClientsQuery = call.query
    with call.reading() as session:
        found = [client for client in _all_clients(session) if _is_wanted(client, query)]
        if query.security_server is not None:
            server = servers.load_server(session, parse_server_id(query.security_server))
            hosted = {encode_id(servers.client_of(session, row)) for row in server.clients}
            found = [client for client in found if client.client_id.encoded_id in hosted]
        if query.excluding_group is not None:
            group = groups.load_group(session, query.excluding_group)
            inside = {encode_id(client) for client in groups.group_clients(group)}
            found = [client for client in found if client.client_id.encoded_id not in inside]
    page, metadata = page_of(found, query, _KEYS)
    return PagedClients(clients=page, paging_metadata=metadata)


def _all_clients(session: Session) -> list[Client]:
    clients = []
    for row in members.list_members(session):
        clients.append(member_payload(session, row))
        clients += [subsystem_payload(session, subsystem) for subsystem in row.subsystems]
    return clients


def _is_wanted(client: Client, query: ClientsQuery) -> bool:
    identifier = client.client_id
    terms = (
        (query.name, (client.member_name, client.subsystem_name)),
        (query.instance, (identifier.instance_id,)),
        (query.member_class, (identifier.member_class,)),
        (query.member_code, (identifier.member_code,)),
        (query.subsystem_code, (identifier.subsystem_code,)),
        (
            query.q,
            (
                client.member_name,
                client.subsystem_name,
                identifier.member_class,
                identifier.member_code,
                identifier.subsystem_code,
            ),
        ),
    )
    if query.client_type not in {None, identifier.type}:
        return False
    return all(term is None or contains(term, values) for term, values in terms)


def contains(term: str, values: tuple[str | None, ...]) -> bool:
    """Whether a term is inside one of these texts, whatever its case.

    >>> contains("reg", (None, "Registry"))
    True
    """
    folded = term.casefold()
    return any(value is not None and folded in value.casefold() for value in values)


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/clients",
        name="findClients",
        handler=find_clients,
        needs=any_of(Permission.SEARCH_MEMBERS, Permission.VIEW_MEMBERS),
        query=ClientsQuery,
        answer=PagedClients,
    ),
)
