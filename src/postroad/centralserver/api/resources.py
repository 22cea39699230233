"""Which operations are there in all? The tables of all resources, one after the other."""

from __future__ import annotations

from typing import Final

from postroad.centralserver.api import (
    api_keys,
    backups,
    certification_services,
    clients,
    configuration_parts,
    configuration_sources,
    global_groups,
    initialization,
    intermediate_cas,
    management_requests,
    management_services,
    member_classes,
    members,
    notifications,
    ocsp_responders,
    security_servers,
    signing_keys,
    subsystems,
    system,
    timestamping_services,
    tokens,
    trusted_anchors,
    user,
)

OPERATIONS: Final = (
    *api_keys.OPERATIONS,
    *backups.OPERATIONS,
    *certification_services.OPERATIONS,
    *clients.OPERATIONS,
    *configuration_parts.OPERATIONS,
    *configuration_sources.OPERATIONS,
    *global_groups.OPERATIONS,
    *initialization.OPERATIONS,
    *intermediate_cas.OPERATIONS,
    *management_requests.OPERATIONS,
    *management_services.OPERATIONS,
    *member_classes.OPERATIONS,
    *members.OPERATIONS,
    *notifications.OPERATIONS,
    *ocsp_responders.OPERATIONS,
    *security_servers.OPERATIONS,
    *signing_keys.OPERATIONS,
    *subsystems.OPERATIONS,
    *system.OPERATIONS,
    *timestamping_services.OPERATIONS,
    *tokens.OPERATIONS,
    *trusted_anchors.OPERATIONS,
    *user.OPERATIONS,
)
