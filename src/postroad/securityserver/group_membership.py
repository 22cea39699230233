"""Is a client in a group, as far as a provider's access rights are concerned?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.identifiers import GlobalGroupId, LocalGroupId

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.authorization.rights import Group
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import ClientId
    from postroad.securityserver.serverconf.snapshot import ClientView


def group_membership(
    globalconf: GlobalConfiguration, provider: ClientView
) -> Callable[[ClientId, Group], bool]:
    """The question whether a client is in a global group, or in a local one of this provider."""

    def is_in_group(client: ClientId, group: Group) -> bool:
        match group:
            case GlobalGroupId():
                return globalconf.is_in_global_group(client, group)
            case LocalGroupId():
                return provider.is_in_local_group(client, group)

    return is_in_group
