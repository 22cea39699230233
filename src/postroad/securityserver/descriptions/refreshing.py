"""How does the server configuration follow a service description?

Adding takes over what was derived; refreshing first says what would change. What administrators
set (addresses, timeouts, TLS) and rights on what stays are kept; rights on what goes end with it,
and the plan names each of them. Source: UG-SS 6.1-6.4; reference: ServiceDescriptionService.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.authorization.rights import BASE_ENDPOINT
from postroad.authorization.rights import Endpoint as DeclaredEndpoint
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.serverconf import services
from postroad.securityserver.serverconf.declaration import write_subject
from postroad.securityserver.serverconf.models import DescriptionType
from postroad.securityserver.serverconf.services import MAX_TITLE, ServiceProperties
from postroad.securityserver.serverconf.snapshot import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from sqlalchemy.orm import Session

    from postroad.identifiers import ClientId
    from postroad.securityserver.descriptions.derived import Derived, DerivedService
    from postroad.securityserver.serverconf.models import (
        Client,
        Endpoint,
        Service,
        ServiceDescription,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a refresh would change, in the words that an administrator is shown."""

    added_services: tuple[str, ...] = ()
    removed_services: tuple[str, ...] = ()
    added_endpoints: tuple[str, ...] = ()
    removed_endpoints: tuple[str, ...] = ()
    lost_rights: tuple[str, ...] = ()
    inherited_rights: tuple[str, ...] = ()
    """Rights on a service code that hold for a version which comes with the refresh."""
    warnings: tuple[str, ...] = ()

    @property
    def needs_consent(self) -> bool:
        """Whether anything but titles and the moment would change, or something is odd."""
        return any(
            (
                self.added_services,
                self.removed_services,
                self.added_endpoints,
                self.removed_endpoints,
                self.warnings,
            )
        )

    def __str__(self) -> str:
        lines = [
            *(f"+ service {each}" for each in self.added_services),
            *(f"- service {each}" for each in self.removed_services),
            *(f"+ endpoint {each}" for each in self.added_endpoints),
            *(f"- endpoint {each}" for each in self.removed_endpoints),
            *(f"- right: {each}" for each in self.lost_rights),
            *(f"+ right: {each}" for each in self.inherited_rights),
            *(f"warning: {each}" for each in self.warnings),
        ]
        return "\n".join(lines)


def add_derived(
    session: Session,
    client: ClientId,
    kind: DescriptionType,
    url: str,
    derived: Derived,
    *,
    at: datetime,
) -> ServiceDescription:
    """Add a description with all that follows from it; disabled, and nobody has a right.

    Raises ``ConfigurationError`` for a code that is reserved or exists, and a service without a
    usable address.
    """
    row = services.add_description(session, client, kind, url, at=at)
    if not derived.services:
        raise ConfigurationError(f"{url} describes no service", code=FaultCode.INVALID_REQUEST)
    for service in derived.services:
        _add_service(session, row, service)
    for endpoint in derived.endpoints:
        services.add_endpoint(
            session, row.client, derived.services[0].code, endpoint, generated=True
        )
    return row


def plan_refresh(description: ServiceDescription, derived: Derived) -> Plan:
    """What ``refresh`` would change."""
    if description.type == DescriptionType.WSDL:
        return _plan_services(description, derived)
    return _plan_endpoints(description, derived)


def refresh(
    session: Session,
    description: ServiceDescription,
    derived: Derived,
    *,
    at: datetime,
    url: str | None = None,
) -> None:
    """Make the description what was derived from its document, found at ``url`` if that is new."""
    if description.type == DescriptionType.WSDL:
        _refresh_services(session, description, derived)
    else:
        _refresh_endpoints(session, description, derived)
    services.set_source(session, description, url or description.url, at=at)


def describe_rights(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    """Every right on some endpoints, in words."""
    return tuple(
        f"{write_subject(subject_of(right.subject_kind, right.subject))} on {_written(endpoint)}"
        for endpoint in endpoints
        for right in endpoint.rights
    )


# --- WSDL ----------------------------------------------------------------------------------------


def _plan_services(description: ServiceDescription, derived: Derived) -> Plan:
    client = description.client
    known = {_key(row): row for row in description.services}
    wanted = {(each.code, each.version or ""): each for each in derived.services}
    gone = [known[key] for key in known.keys() - wanted.keys()]
    new = [wanted[key] for key in wanted.keys() - known.keys()]
    codes_left = {code for code, _version in wanted} | {
        row.service_code
        for other in client.descriptions
        if other is not description
        for row in other.services
    }
    ending = [row for row in client.endpoints if row.service_code not in codes_left]
    lost = [row for row in ending if row.service_code in {each.service_code for each in gone}]
    codes_of_new = {each.code for each in new}
    return Plan(
        added_services=tuple(sorted(each.full_code for each in new)),
        removed_services=tuple(sorted(_full_code(row) for row in gone)),
        lost_rights=describe_rights(lost),
        inherited_rights=describe_rights(
            row for row in client.endpoints if row.service_code in codes_of_new
        ),
        warnings=derived.warnings,
    )


def _refresh_services(session: Session, description: ServiceDescription, derived: Derived) -> None:
    known = {_key(row): row for row in description.services}
    for service in derived.services:
        row = known.pop((service.code, service.version or ""), None)
        if row is None:
            _add_service(session, description, service)
        else:
            properties = ServiceProperties(
                url=row.url,
                timeout=row.timeout,
                verify_tls=row.verify_tls,
                title=service.title[:MAX_TITLE],
            )
            services.set_properties(session, row, properties)
    # Afterwards, so that rights on a code outlive the change of its version.
    for row in known.values():
        services.delete_service(session, row)


# --- OpenAPI -------------------------------------------------------------------------------------


def _plan_endpoints(description: ServiceDescription, derived: Derived) -> Plan:
    gone, new = _endpoint_changes(description, derived)
    return Plan(
        added_endpoints=tuple(f"{each.method} {each.path}" for each in new),
        removed_endpoints=tuple(f"{row.method} {row.path}" for row in gone),
        lost_rights=describe_rights(gone),
        warnings=derived.warnings,
    )


def _refresh_endpoints(session: Session, description: ServiceDescription, derived: Derived) -> None:
    client, code = description.client, description.services[0].service_code
    gone, new = _endpoint_changes(description, derived)
    for row in _declared_endpoints(client, code):
        if DeclaredEndpoint(row.method, row.path) in derived.endpoints:
            services.mark_generated(session, row)
    for row in gone:
        services.delete_endpoint(session, row)
    for endpoint in new:
        services.add_endpoint(session, client, code, endpoint, generated=True)


def _endpoint_changes(
    description: ServiceDescription, derived: Derived
) -> tuple[list[Endpoint], list[DeclaredEndpoint]]:
    """Generated rows that the document has no more, and its endpoints that have no row."""
    rows = list(_declared_endpoints(description.client, description.services[0].service_code))
    known = {DeclaredEndpoint(row.method, row.path) for row in rows}
    gone = [
        row
        for row in rows
        if row.generated and DeclaredEndpoint(row.method, row.path) not in derived.endpoints
    ]
    return gone, [each for each in derived.endpoints if each not in known]


def _declared_endpoints(client: Client, code: str) -> Iterator[Endpoint]:
    for row in client.endpoints:
        if row.service_code == code and not _is_base(row):
            yield row


# --- both ----------------------------------------------------------------------------------------


def _add_service(session: Session, row: ServiceDescription, service: DerivedService) -> None:
    if "{" in service.url:
        raise ConfigurationError(
            f"the address {service.url!r} of service {service.full_code} has variables: say where "
            "the service is",
            code=FaultCode.SERVICE_MALFORMED_URL,
        )
    try:
        properties = ServiceProperties(url=service.url, title=service.title[:MAX_TITLE])
    except ConfigurationError as error:
        raise ConfigurationError(f"service {service.full_code}: {error.message}") from error
    services.add_service(session, row, service.code, properties, version=service.version)


def _is_base(row: Endpoint) -> bool:
    return (row.method, row.path) == (BASE_ENDPOINT.method, BASE_ENDPOINT.path)


def _written(row: Endpoint) -> str:
    return row.service_code if _is_base(row) else f"{row.service_code} {row.method} {row.path}"


def _key(row: Service) -> tuple[str, str]:
    return row.service_code, row.service_version


def _full_code(row: Service) -> str:
    return f"{row.service_code}.{row.service_version}" if row.service_version else row.service_code
