"""What separates the server configuration from a declaration, and how is it made equal?

`difference` compares the two normal forms into a list of changes, in an order in which each can be
made; `apply` makes them, through the same functions that the admin API calls. The list is what
`postroad server diff` prints. A client that the declaration does not name is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from postroad.authorization.rights import Endpoint as DeclaredEndpoint
from postroad.identifiers import SubsystemId
from postroad.securityserver.serverconf import clients, steps
from postroad.securityserver.serverconf.declaration import (
    CONNECTIONS,
    Declaration,
    DeclaredClient,
    DeclaredDescription,
    DeclaredGroup,
    DeclaredService,
    write_subject,
)
from postroad.securityserver.serverconf.models import (
    Client,
    ConnectionType,
    DescriptionType,
    Service,
    ServiceDescription,
)
from postroad.securityserver.serverconf.snapshot import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from postroad.identifiers import ClientId

_CONNECTION_NAMES = {stored: name for name, stored in CONNECTIONS.items()}

Step = Callable[["Session", "datetime"], None]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: how it is shown (`+`, `-` or `~`, and what), and how it is made."""

    sign: str
    what: str
    make: Step

    def __str__(self) -> str:
        return f"{self.sign} {self.what}"


def current_declaration(session: Session) -> Declaration:
    """The server configuration as it is, in normal form."""
    return Declaration(
        clients={row.identifier: _declared(row) for row in clients.list_clients(session)},
        timestamping=tuple((row.name, row.url) for row in clients.list_timestamping(session)),
    )


def difference(current: Declaration, wanted: Declaration) -> tuple[Change, ...]:
    """The changes that lead from `current` to `wanted`; empty when nothing differs."""
    changes: list[Change] = []
    if wanted.timestamping is not None and wanted.timestamping != current.timestamping:
        chosen = wanted.timestamping
        names = ", ".join(name for name, _ in chosen) or "none"
        changes.append(
            Change(
                "~",
                f"time-stamping services: {names}",
                partial(steps.choose, chosen),
            )
        )
    for identifier, client in wanted.clients.items():
        changes.extend(_client_changes(identifier, current.clients.get(identifier), client))
    return tuple(changes)


def apply(session: Session, changes: Sequence[Change], *, at: datetime) -> None:
    """Make all changes, in their order; the caller's transaction makes it all or nothing."""
    for change in changes:
        change.make(session, at)


# --- what is, in normal form ---------------------------------------------------------------------


def _declared(client: Client) -> DeclaredClient:
    return DeclaredClient(
        connection=ConnectionType(client.connection_type),
        certificates={entry.hash: entry.data for entry in client.certificates},
        groups={
            group.group_code: DeclaredGroup(
                group.description,
                frozenset(SubsystemId.parse(member.member) for member in group.members),
            )
            for group in client.local_groups
        },
        descriptions={
            row.url: DeclaredDescription(
                DescriptionType(row.type),
                not row.disabled,
                row.disabled_notice if row.disabled else "",
            )
            for row in client.descriptions
        },
        services={
            (service.service_code, service.service_version): _declared_service(row, service)
            for row in client.descriptions
            for service in row.services
        },
        rights={
            (row.service_code, DeclaredEndpoint(row.method, row.path)): frozenset(
                subject_of(right.subject_kind, right.subject) for right in row.rights
            )
            for row in client.endpoints
        },
        generated=_generated(client),
    )


def _generated(client: Client) -> dict[str, frozenset[DeclaredEndpoint]]:
    found: dict[str, set[DeclaredEndpoint]] = {}
    for row in client.endpoints:
        if row.generated:
            found.setdefault(row.service_code, set()).add(DeclaredEndpoint(row.method, row.path))
    return {code: frozenset(endpoints) for code, endpoints in found.items()}


def _declared_service(description: ServiceDescription, service: Service) -> DeclaredService:
    return DeclaredService(
        description=description.url,
        url=service.url,
        timeout=service.timeout,
        verify_tls=service.verify_tls,
        title=service.title,
    )


# --- differences ---------------------------------------------------------------------------------


def _client_changes(
    identifier: ClientId, current: DeclaredClient | None, wanted: DeclaredClient
) -> Iterator[Change]:
    name = f"client {identifier.encoded()}"
    if current is None:
        yield Change("+", name, partial(steps.add_client, identifier, wanted.connection))
        current = DeclaredClient(wanted.connection, {}, {}, {}, {}, {})
    if current.connection is not wanted.connection:
        yield Change(
            "~",
            f"{name}: connection {_CONNECTION_NAMES[wanted.connection]}",
            partial(steps.connect, identifier, wanted.connection),
        )
    for digest in sorted(current.certificates.keys() - wanted.certificates.keys()):
        yield Change(
            "-", f"{name}: certificate {digest}", partial(steps.distrust, identifier, digest)
        )
    for digest in sorted(wanted.certificates.keys() - current.certificates.keys()):
        trust = partial(steps.trust, identifier, wanted.certificates[digest])
        yield Change("+", f"{name}: certificate {digest}", trust)
    # Whatever hangs on another thing goes before it, and comes after it.
    yield from _revocations(identifier, current, wanted)
    yield from _endpoint_removals(identifier, current, wanted)
    yield from _group_changes(identifier, current, wanted)
    yield from _description_changes(identifier, current, wanted)
    yield from _service_changes(identifier, current, wanted)
    for url in sorted(current.descriptions.keys() - wanted.descriptions.keys()):
        yield Change("-", f"{name}: description {url}", partial(steps.undescribe, identifier, url))
    yield from _endpoint_additions(identifier, current, wanted)


def _revocations(
    identifier: ClientId, current: DeclaredClient, wanted: DeclaredClient
) -> Iterator[Change]:
    for (code, endpoint), subjects in current.rights.items():
        for subject in sorted(
            subjects - wanted.rights.get((code, endpoint), frozenset()), key=write_subject
        ):
            yield Change(
                "-",
                f"{_place(identifier, code, endpoint)}: allow {write_subject(subject)}",
                partial(steps.revoke, identifier, (code, endpoint), subject),
            )


def _endpoint_removals(
    identifier: ClientId, current: DeclaredClient, wanted: DeclaredClient
) -> Iterator[Change]:
    kept_codes = {code for code, _version in wanted.services}
    for code, endpoint in current.rights.keys() - wanted.rights.keys():
        if code not in wanted.generated and endpoint in current.generated.get(code, ()):
            continue  # it is of a document that the declaration says nothing of
        if code in kept_codes:  # otherwise it goes with its service
            yield Change(
                "-",
                _place(identifier, code, endpoint),
                partial(steps.delete_endpoint, identifier, code, endpoint),
            )


def _endpoint_additions(
    identifier: ClientId, current: DeclaredClient, wanted: DeclaredClient
) -> Iterator[Change]:
    for (code, endpoint), subjects in wanted.rights.items():
        place = _place(identifier, code, endpoint)
        known = current.rights.get((code, endpoint))
        is_generated = endpoint in wanted.generated.get(code, ())
        if known is None and not endpoint.is_base:
            add = partial(steps.add_endpoint, identifier, (code, endpoint), is_generated)
            yield Change("+", place, add)
        elif code in wanted.generated and is_generated != (
            endpoint in current.generated.get(code, ())
        ):
            mark = partial(steps.mark_generated, identifier, (code, endpoint), is_generated)
            origin = "belongs to its document" if is_generated else "declared by hand"
            yield Change("~", f"{place}: {origin}", mark)
        for subject in sorted(subjects - (known or frozenset()), key=write_subject):
            yield Change(
                "+",
                f"{place}: allow {write_subject(subject)}",
                partial(steps.grant, identifier, (code, endpoint), subject),
            )


def _group_changes(
    identifier: ClientId, current: DeclaredClient, wanted: DeclaredClient
) -> Iterator[Change]:
    prefix = f"client {identifier.encoded()}: group"
    for code in sorted(current.groups.keys() - wanted.groups.keys()):
        yield Change("-", f"{prefix} {code}", partial(steps.delete_group, identifier, code))
    for code, group in wanted.groups.items():
        known = current.groups.get(code)
        if known is None:
            yield Change("+", f"{prefix} {code}", partial(steps.add_group, identifier, code, group))
            known = DeclaredGroup(group.description, frozenset())
        if known.description != group.description:
            describe = partial(steps.describe_group, identifier, code, group.description)
            yield Change("~", f"{prefix} {code}: description {group.description!r}", describe)
        for member in sorted(known.members - group.members):
            leave = partial(steps.leave_group, identifier, code, member)
            yield Change("-", f"{prefix} {code}: member {member.encoded()}", leave)
        for member in sorted(group.members - known.members):
            join = partial(steps.join_group, identifier, code, member)
            yield Change("+", f"{prefix} {code}: member {member.encoded()}", join)


def _description_changes(
    identifier: ClientId, current: DeclaredClient, wanted: DeclaredClient
) -> Iterator[Change]:
    prefix = f"client {identifier.encoded()}: description"
    for url, description in wanted.descriptions.items():
        known = current.descriptions.get(url)
        if known == description:
            continue
        state = "enabled" if description.enabled else f"disabled {description.notice!r}"
        yield Change(
            "+" if known is None else "~",
            f"{prefix} {url} ({description.type}, {state})",
            partial(steps.describe, identifier, url, description),
        )


def _service_changes(
    identifier: ClientId, current: DeclaredClient, wanted: DeclaredClient
) -> Iterator[Change]:
    for key in sorted(current.services.keys() - wanted.services.keys()):
        yield Change(
            "-", _service_name(identifier, *key), partial(steps.delete_service, identifier, *key)
        )
    for key, service in wanted.services.items():
        known = current.services.get(key)
        if known != service:
            yield Change(
                "+" if known is None else "~",
                f"{_service_name(identifier, *key)} at {service.url} (timeout {service.timeout} s, "
                f"verify TLS {'yes' if service.verify_tls else 'no'})",
                partial(steps.provide, identifier, key, service),
            )


def _service_name(identifier: ClientId, code: str, version: str) -> str:
    return f"service {identifier.encoded()}/{code}{'/' if version else ''}{version}"


def _place(identifier: ClientId, code: str, endpoint: DeclaredEndpoint) -> str:
    name = _service_name(identifier, code, "")
    return name if endpoint.is_base else f"{name} {endpoint.method} {endpoint.path}"
