"""How is the server configuration brought to what the global configuration says of this server?

Run in a process of its own, for it needs the database; whether there is anything to do is found out
without it (``registrations``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.identifiers import SecurityServerId
from postroad.securityserver.globalconf_files import load_globalconf
from postroad.securityserver.outcomes import identity_after_owner_change, is_entry_fulfilled
from postroad.securityserver.registrations import auth_certificates
from postroad.securityserver.serverconf import clients, submissions
from postroad.securityserver.serverconf.revision import get_server, touch
from postroad.securityserver.settings import rewrite_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from postroad.globalconf.view import GlobalConfiguration
    from postroad.ports import KeyCertificate
    from postroad.securityserver.serverconf.repository import ServerConf
    from postroad.securityserver.settings import Settings


def follow(
    settings: Settings, conf: ServerConf, keys: Sequence[KeyCertificate], *, at: datetime
) -> list[str]:
    """Follow the registry once; what has changed, a line each."""
    globalconf = load_globalconf(settings)
    globalconf.ensure_valid(at)
    told: list[str] = []
    with conf.change() as session:
        server = SecurityServerId.parse(get_server(session).identifier)
        renamed = _owner_change(session, server, keys, globalconf)
        if renamed is not None:
            rewrite_identifier(settings.home_path, server, renamed)
            told.append(f"{server}: is {renamed} from now on")
            server = renamed
        changed = clients.follow_registrations(
            session, lambda client: globalconf.is_registered(client, server)
        )
        told += [f"{client}: {status.value}" for client, status in changed]
        fulfilled = submissions.follow(
            session,
            lambda row: is_entry_fulfilled(
                (row.service_code, row.client, row.value), server, globalconf
            ),
            at=at,
        )
        told += [f"{row.service_code} {row.client}: fulfilled" for row in fulfilled]
    return told


def _owner_change(
    session: Session,
    server: SecurityServerId,
    keys: Sequence[KeyCertificate],
    globalconf: GlobalConfiguration,
) -> SecurityServerId | None:
    renamed = identity_after_owner_change(
        server,
        [row.identifier for row in clients.list_clients(session)],
        auth_certificates(keys),
        globalconf,
    )
    if renamed is not None:
        get_server(session).identifier = renamed.encoded()
        touch(session)
    return renamed
