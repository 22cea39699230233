"""How is the server configuration read, changed and published?

`ServerConf.change()` is the one way to change anything: a transaction that, when it commits, has
counted a new revision and exported the snapshot that the workers read. What can be changed are
plain functions over the session: `clients`, `services` and `access` of this package; the admin API
and the command line call the same ones.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from postroad.adapters.database import create_engine, migrate, snapshot, transaction
from postroad.adapters.file_locks import in_turn
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.serverconf.clients import add_client
from postroad.securityserver.serverconf.freshness import has_newest_schema
from postroad.securityserver.serverconf.models import (
    Client,
    Endpoint,
    LocalGroup,
    Server,
    ServiceDescription,
    SubmittedRequest,
    TimestampingService,
)
from postroad.securityserver.serverconf.revision import get_server
from postroad.securityserver.serverconf.snapshot import (
    FORMAT,
    ClientEntry,
    EndpointEntry,
    ServerConfSnapshot,
    ServiceEntry,
    store_snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import Session

    from postroad.identifiers import SecurityServerId

MIGRATIONS: Final = "postroad.securityserver.serverconf:migrations"


class ServerConf:
    """The server configuration's database, and the snapshot exported from it."""

    def __init__(self, engine: Engine, snapshot_path: Path) -> None:
        self._engine = engine
        self._snapshot_path = snapshot_path

    @classmethod
    def open(cls, url: str, snapshot_path: Path) -> ServerConf:
        """Open the database, bring its schema up to date; errors as in `adapters.database`."""
        engine = create_engine(url)
        database = engine.url.database
        if engine.dialect.name != "sqlite" or not has_newest_schema(Path(database or "")):
            migrate(engine, MIGRATIONS)
        return cls(engine, snapshot_path)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def change(self) -> Iterator[Session]:
        """A session whose work is committed as a whole and then published, or not at all.

        One change at a time, whichever process makes it. A session that changed nothing counts no
        revision. The export happens after the commit; if it fails, the change stands, and `publish`
        at the next start repeats the export.
        """
        with transaction(self._engine) as session:
            before = get_server(session, alone=True).revision
            yield session
            session.flush()
            changed = get_server(session).revision != before
        if changed:
            self.publish()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading."""
        with snapshot(self._engine) as session:
            yield session

    def initialise(self, server_id: SecurityServerId) -> None:
        """Say which server this is; the owner becomes its first client.

        Raises `ConfigurationError` when the database belongs to another server.
        """
        with transaction(self._engine) as session:
            known = session.get(Server, 1)
            if known is None:
                session.add(Server(id=1, identifier=server_id.encoded(), revision=0))
                session.flush()
                add_client(session, server_id.owner)
            elif known.identifier != server_id.encoded():
                raise ConfigurationError(
                    f"this database belongs to the server {known.identifier}, not to {server_id}",
                    code=FaultCode.MALFORMED_SERVER_CONF,
                )
        self.publish()

    def publish(self) -> ServerConfSnapshot:
        """Export the snapshot as it is now; done at every start of the server.

        Who exports waits for others and reads after that, so that no older state replaces a newer.
        """
        with in_turn(self._snapshot_path.with_suffix(".lock")):
            with self.read() as session:
                exported = build_snapshot(session)
            store_snapshot(self._snapshot_path, exported)
        return exported


def build_snapshot(session: Session) -> ServerConfSnapshot:
    """The whole server configuration as one value."""
    server = get_server(session)
    clients = session.scalars(
        select(Client)
        .order_by(Client.id)
        .options(
            selectinload(Client.certificates),
            selectinload(Client.descriptions).selectinload(ServiceDescription.services),
            selectinload(Client.endpoints).selectinload(Endpoint.rights),
            selectinload(Client.local_groups).selectinload(LocalGroup.members),
        )
    )
    submitted = session.scalars(
        select(SubmittedRequest).where(SubmittedRequest.fulfilled_at.is_(None))
    )
    services = session.scalars(select(TimestampingService).order_by(TimestampingService.position))
    return ServerConfSnapshot(
        format=FORMAT,
        revision=server.revision,
        server=server.identifier,
        clients=tuple(_client_entry(client) for client in clients),
        timestamping=tuple((service.name, service.url) for service in services),
        submitted=tuple((row.service_code, row.client, row.value) for row in submitted),
    )


def _client_entry(client: Client) -> ClientEntry:
    return ClientEntry(
        identifier=client.identifier.encoded(),
        status=client.status,
        connection_type=client.connection_type,
        certificates=tuple(certificate.data for certificate in client.certificates),
        services=tuple(
            ServiceEntry(
                service_code=service.service_code,
                service_version=service.service_version or None,
                type=description.type,
                url=service.url,
                timeout=service.timeout,
                verify_tls=service.verify_tls,
                disabled=description.disabled,
                disabled_notice=description.disabled_notice,
                description_url=description.url,
            )
            for description in client.descriptions
            for service in description.services
        ),
        endpoints=tuple(
            EndpointEntry(
                service_code=endpoint.service_code,
                method=endpoint.method,
                path=endpoint.path,
                subjects=tuple((right.subject_kind, right.subject) for right in endpoint.rights),
            )
            for endpoint in client.endpoints
        ),
        local_groups=tuple(
            (group.group_code, tuple(member.member for member in group.members))
            for group in client.local_groups
        ),
    )
