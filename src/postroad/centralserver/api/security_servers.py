"""Security servers. Source: reference ``SecurityServersApiController``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from postroad.centralserver.api.certificates import CertificateDetails, certificate_details
from postroad.centralserver.api.clients import contains
from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.paging import PagingMetadata, PagingSorting, page_of
from postroad.centralserver.api.parties import member_payload, server_payload, subsystem_payload
from postroad.centralserver.api.schemas import (
    Client,
    Payload,
    SecurityServer,
    Text,
    parse_server_id,
)
from postroad.centralserver.registry import servers
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.roles import Permission

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.identifiers import SecurityServerId


class ServersQuery(PagingSorting, frozen=True, kw_only=True):
    """Which servers are wanted."""

    q: Annotated[str, msgspec.Meta(max_length=255)] | None = None


class PagedSecurityServers(Payload):
    """One page of servers."""

    items: list[SecurityServer]
    paging_metadata: PagingMetadata


class SecurityServerAddress(Payload):
    """Where a server is reached."""

    server_address: Text


_KEYS: Final[dict[str, Callable[[SecurityServer], str | int]]] = {
    "owner_name": lambda server: server.owner_name or "",
    "server_id.member_class": lambda server: server.server_id.member_class,
    "server_id.member_code": lambda server: server.server_id.member_code,
    "server_id.server_code": lambda server: server.server_id.server_code,
}


def find_servers(call: Call) -> PagedSecurityServers:
    """One page of the servers that are wanted."""
    query: ServersQuery = call.query
    with call.reading() as session:
        found = [server_payload(session, row) for row in servers.list_servers(session)]
    if query.q is not None:
        found = [server for server in found if contains(query.q, _searched(server))]
    page, metadata = page_of(found, query, _KEYS)
    return PagedSecurityServers(items=page, paging_metadata=metadata)


def _searched(server: SecurityServer) -> tuple[str | None, ...]:
    identifier = server.server_id
    return (
        server.owner_name,
        identifier.member_class,
        identifier.member_code,
        identifier.server_code,
    )


def get_server(call: Call) -> SecurityServer:
    """One server."""
    with call.reading() as session:
        return server_payload(session, servers.load_server(session, _server_id(call)))


def change_address(call: Call) -> SecurityServer:
    """Change the address of a server; no management request is written."""
    body: SecurityServerAddress = call.body
    server = _server_id(call)
    with call.changing() as change:
        servers.update_server_address(change, server, body.server_address)
        return server_payload(change.session, servers.load_server(change.session, server))


def delete_server(call: Call) -> None:
    """Delete a server with its certificates and registrations."""
    with call.changing() as change:
        servers.delete_server(change, _server_id(call))


def list_auth_certificates(call: Call) -> list[CertificateDetails]:
    """The authentication certificates of a server."""
    with call.reading() as session:
        found = servers.load_server(session, _server_id(call))
        return [certificate_details(row.certificate, row.id) for row in found.auth_certificates]


def delete_auth_certificate(call: Call) -> None:
    """Remove an authentication certificate of a server."""
    server, wanted = _server_id(call), call.number("certificate_id")
    with call.changing() as change:
        rows = servers.load_server(change.session, server).auth_certificates
        found = next((row for row in rows if row.id == wanted), None)
        if found is None:
            raise RegistryRefusal(
                Problem.CERTIFICATE_NOT_FOUND,
                f"{server} has no certificate {wanted}",
            )
        servers.delete_auth_certificate(change, server, found.sha256)


def list_clients(call: Call) -> list[Client]:
    """The registered clients of a server."""
    with call.reading() as session:
        found = servers.load_server(session, _server_id(call))
        clients = []
        for row in found.clients:
            if row.subsystem is not None:
                clients.append(subsystem_payload(session, row.subsystem))
            elif row.member is not None:
                clients.append(member_payload(session, row.member))
        return clients


def _server_id(call: Call) -> SecurityServerId:
    return parse_server_id(call.path["server_id"])


_VIEW: Final = any_of(Permission.VIEW_SECURITY_SERVER_DETAILS)
OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/security-servers",
        name="findSecurityServers",
        handler=find_servers,
        needs=any_of(Permission.VIEW_SECURITY_SERVERS),
        query=ServersQuery,
        answer=PagedSecurityServers,
    ),
    Operation(
        method="GET",
        path="/security-servers/{server_id}",
        name="getSecurityServer",
        handler=get_server,
        needs=_VIEW,
        answer=SecurityServer,
    ),
    Operation(
        method="PATCH",
        path="/security-servers/{server_id}",
        name="updateSecurityServerAddress",
        handler=change_address,
        needs=any_of(Permission.EDIT_SECURITY_SERVER_ADDRESS),
        body=SecurityServerAddress,
        answer=SecurityServer,
        event="Edit security server address",
    ),
    Operation(
        method="DELETE",
        path="/security-servers/{server_id}",
        name="deleteSecurityServer",
        handler=delete_server,
        needs=any_of(Permission.DELETE_SECURITY_SERVER),
        status=204,
        event="Delete security server",
    ),
    Operation(
        method="GET",
        path="/security-servers/{server_id}/authentication-certificates",
        name="getSecurityServerAuthCerts",
        handler=list_auth_certificates,
        needs=_VIEW,
        answer=list[CertificateDetails],
    ),
    Operation(
        method="DELETE",
        path="/security-servers/{server_id}/authentication-certificates/{certificate_id}",
        name="deleteSecurityServerAuthCert",
        handler=delete_auth_certificate,
        needs=any_of(Permission.DELETE_SECURITY_SERVER_AUTH_CERT),
        status=204,
        event="Delete authentication certificate of security server",
    ),
    Operation(
        method="GET",
        path="/security-servers/{server_id}/clients",
        name="getSecurityServerClients",
        handler=list_clients,
        needs=_VIEW,
        answer=list[Client],
    ),
)
