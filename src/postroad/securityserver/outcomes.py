"""Does the global configuration show what a management request asked for?

The Central Server tells nobody what it decided: servers read it in the next configuration. Source:
the status job of the reference (GlobalConfChecker).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.crypto.certificates import Certificate
from postroad.identifiers import MemberId, SecurityServerId, parse_client_id
from postroad.management.requests import ServiceCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import ClientId


def is_fulfilled(  # noqa: PLR0911 - one answer a kind of request
    code: ServiceCode,
    client: ClientId | None,
    value: str,
    server_id: SecurityServerId,
    globalconf: GlobalConfiguration,
) -> bool:
    """Whether the configuration shows the outcome of a request of this server."""
    match code:
        case ServiceCode.ADDRESS_CHANGE:
            return globalconf.address_of(server_id) == value
        case ServiceCode.MAINTENANCE_START:
            return globalconf.maintenance_of(server_id) is not None
        case ServiceCode.MAINTENANCE_END:
            return globalconf.maintenance_of(server_id) is None
        case ServiceCode.OWNER_CHANGE:
            return server_id.owner == client
        case ServiceCode.AUTH_CERT_DELETION:
            return not globalconf.has_auth_certificate(bytes.fromhex(value))
        case ServiceCode.CLIENT_RENAMING:
            return client is not None and globalconf.name_of(client) == value
        case _:
            is_listed = client is not None and globalconf.is_registered(client, server_id)
            leaves = code in {ServiceCode.CLIENT_DELETION, ServiceCode.CLIENT_DISABLING}
            return is_listed is not leaves


def is_entry_fulfilled(
    entry: tuple[str, str, str], server_id: SecurityServerId, globalconf: GlobalConfiguration
) -> bool:
    """The same for a request as it is stored: service code, client or "", value."""
    code, client, value = entry
    about = parse_client_id(client) if client else None
    return is_fulfilled(ServiceCode(code), about, value, server_id, globalconf)


def identity_after_owner_change(
    server_id: SecurityServerId,
    clients: Iterable[ClientId],
    auth_certificates: Iterable[bytes],
    globalconf: GlobalConfiguration,
) -> SecurityServerId | None:
    """Who this server has become, if it is registered no longer under its own name.

    It belongs to another of its members when the registry knows that member's server of our code
    with an authentication certificate of ours (DER). None if nothing has changed.
    """
    if globalconf.server_exists(server_id):
        return None
    certificates = [Certificate.from_der(der) for der in auth_certificates]
    for client in clients:
        if not isinstance(client, MemberId) or client == server_id.owner:
            continue
        candidate = SecurityServerId(
            client.instance, client.member_class, client.member_code, server_id.server_code
        )
        if globalconf.server_exists(candidate) and any(
            globalconf.server_by_auth_certificate(each) == candidate for each in certificates
        ):
            return candidate
    return None
