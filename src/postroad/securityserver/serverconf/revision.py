"""Which server is this, and how often was its configuration changed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.errors import ConfigurationError, FaultCode
from postroad.identifiers import SecurityServerId
from postroad.securityserver.serverconf.models import Server

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def get_server(session: Session, *, alone: bool = False) -> Server:
    """The one row of this server; `ConfigurationError` before `postroad server init`.

    With `alone` the row is locked until the transaction ends, which SQLite's own lock does anyway.
    """
    server = session.get(Server, 1, with_for_update=alone)
    if server is None:
        raise ConfigurationError(
            "the server is not initialised: run `postroad server init`",
            code=FaultCode.MALFORMED_SERVER_CONF,
        )
    return server


def server_id(session: Session) -> SecurityServerId:
    """Which server this is."""
    return SecurityServerId.parse(get_server(session).identifier)


def touch(session: Session) -> None:
    """Count a change; every function that changes something calls it."""
    get_server(session).revision += 1
