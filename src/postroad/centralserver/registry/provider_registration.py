"""How does the provider of the management services get its first security server?

Nobody can send a management request before the management services have a server; so the Central
Server's operator asks for this one registration, and approves it in the same act. Reference:
``ManagementServicesServiceImpl``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.centralserver.registry.management_requests import add_request, approve_request
from postroad.centralserver.registry.provider import find_management_provider, provider_servers
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.management.lifecycle import RequestOrigin, RequestState
from postroad.management.requests import ClientRegistration

if TYPE_CHECKING:
    from postroad.centralserver.models.history import ManagementRequest
    from postroad.centralserver.registry.change import Change
    from postroad.identifiers import SecurityServerId


def register_management_provider(change: Change, server: SecurityServerId) -> ManagementRequest:
    """Register the provider of the management services as a client of a server; its request.

    Refused while nobody is named as the provider, once it is on any server (further ones are
    registered by requests of theirs), and for a server that isn't registered.
    """
    session = change.session
    provider = find_management_provider(session)
    if provider is None:
        raise RegistryRefusal(
            Problem.PROVIDER_NOT_SET,
            "nobody is named as the provider of the management services yet: see "
            "`postroad central provider`",
        )
    if provider_servers(session):
        raise RegistryRefusal(
            Problem.PROVIDER_REGISTERED, f"{provider} is a client of a security server already"
        )
    request = add_request(change, ClientRegistration(server, provider), RequestOrigin.CENTRE)
    if request.status != RequestState.APPROVED:
        approve_request(change, request.id)
    return request
