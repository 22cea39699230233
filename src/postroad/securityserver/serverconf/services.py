"""What may be done with service descriptions, services and endpoints?

Plain functions over a session of `ServerConf.change()`. Rules: reference, ServiceDescriptionService
and EndpointService: codes that built-in services use are reserved, a REST code belongs to one
description, every service code has a base endpoint that carries the rights on the whole service.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from postroad.authorization.rights import BASE_ENDPOINT
from postroad.authorization.rights import Endpoint as DeclaredEndpoint
from postroad.errors import ConfigurationError, FaultCode
from postroad.identifiers import ClientId, ServiceId
from postroad.securityserver.serverconf.clients import get_client
from postroad.securityserver.serverconf.models import (
    Client,
    DescriptionType,
    Endpoint,
    Service,
    ServiceDescription,
)
from postroad.securityserver.serverconf.revision import touch

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

RESERVED_CODES: Final = frozenset(
    {
        "allowedMethods",
        "getOpenAPI",
        "getSecurityServerHealthData",
        "getSecurityServerMetrics",
        "getSecurityServerOperationalData",
        "getWsdl",
        "listClients",
        "listMethods",
    }
)
DEFAULT_TIMEOUT: Final = 60
MAX_TIMEOUT: Final = 1000
MAX_NOTICE: Final = 255
MAX_TITLE: Final = 255
DEFAULT_NOTICE: Final = "Out of order"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceProperties:
    """Where a service is and how it is called; `verify_tls` None means: yes for https."""

    url: str
    timeout: int = DEFAULT_TIMEOUT
    verify_tls: bool | None = None
    title: str = ""

    def __post_init__(self) -> None:
        check_url(self.url)
        if not 0 <= self.timeout <= MAX_TIMEOUT:
            raise ConfigurationError(f"a timeout is 0 to {MAX_TIMEOUT} s, not {self.timeout}")
        if self.verify_tls and not self.is_https:
            raise ConfigurationError(f"{self.url} is not https: there is no certificate to verify")

    @property
    def is_https(self) -> bool:
        """Whether the service is reached over TLS."""
        return self.url.lower().startswith("https:")

    @property
    def verifies(self) -> bool:
        """Whether the service's certificate is compared with the client's certificates."""
        return self.is_https if self.verify_tls is None else self.verify_tls


def check_url(url: str) -> None:
    """Refuse what is not an absolute http or https address without query, fragment or user."""
    try:
        parts = urlsplit(url)
        well_formed = bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_formed = False
    if (
        not well_formed
        or parts.scheme not in {"http", "https"}
        or parts.username is not None
        or parts.fragment
        or not url.isascii()
        or not url.isprintable()
        or " " in url
        or len(url) > 2048
    ):
        raise ConfigurationError(
            f"{url!r} is not an address like https://host:port/path",
            code=FaultCode.SERVICE_MALFORMED_URL,
        )


def add_description(
    session: Session, client: ClientId, kind: DescriptionType, url: str, *, at: datetime
) -> ServiceDescription:
    """Add a service description, disabled until it is enabled; its address is its name."""
    row = get_client(session, client)
    check_url(url)
    if find_description(row, url) is not None:
        raise ConfigurationError(f"{client} has a service description at {url} already")
    description = ServiceDescription(
        type=kind.value, url=url, disabled=True, disabled_notice=DEFAULT_NOTICE, refreshed_at=at
    )
    row.descriptions.append(description)
    session.flush()
    touch(session)
    return description


def find_description(client: Client, url: str) -> ServiceDescription | None:
    """The description of a client at an address."""
    return next((found for found in client.descriptions if found.url == url), None)


def set_type(session: Session, description: ServiceDescription, kind: DescriptionType) -> None:
    """Say what kind of document a description is."""
    if description.type != kind.value:
        description.type = kind.value
        touch(session)


def set_source(
    session: Session, description: ServiceDescription, url: str, *, at: datetime
) -> None:
    """Note that a description was read just now, and where; of plain REST, that is its service."""
    check_url(url)
    if url != description.url:
        if find_description(description.client, url) is not None:
            raise ConfigurationError(f"the client has a service description at {url} already")
        if description.type == DescriptionType.REST:
            for service in description.services:
                was_https = service.url.lower().startswith("https:")
                is_https = url.lower().startswith("https:")
                service.verify_tls = is_https and (service.verify_tls or not was_https)
                service.url = url
        description.url = url
    description.refreshed_at = at
    session.flush()
    touch(session)


def delete_description(session: Session, description: ServiceDescription) -> None:
    """Delete a description with its services, and the endpoints and rights of codes that end."""
    client = description.client
    client.descriptions.remove(description)
    session.flush()
    _drop_unused_endpoints(session, client)
    touch(session)


def set_enabled(
    session: Session, description: ServiceDescription, *, enabled: bool, notice: str = ""
) -> None:
    """Enable a description's services, or disable them with a notice for callers."""
    if len(notice) > MAX_NOTICE:
        raise ConfigurationError(f"a notice has at most {MAX_NOTICE} characters")
    wanted = (not enabled, description.disabled_notice if enabled else notice)
    if (description.disabled, description.disabled_notice) != wanted:
        description.disabled, description.disabled_notice = wanted
        touch(session)


def add_service(
    session: Session,
    description: ServiceDescription,
    code: str,
    properties: ServiceProperties,
    *,
    version: str | None = None,
) -> Service:
    """Add a service to a description, with the base endpoint of its code.

    Raises `ConfigurationError` for a reserved code, a code and version that exist already, and a
    second description with the same code where one of them is not a WSDL.
    """
    client = description.client
    ServiceId(client.identifier, code, version)  # refuses an empty or too long code
    if code in RESERVED_CODES:
        raise ConfigurationError(f"the service code {code!r} is reserved for a built-in service")
    if version is not None and description.type != DescriptionType.WSDL.value:
        raise ConfigurationError("only SOAP services have versions")
    for other in client.descriptions:
        _check_code(other, description, code, version)
    service = Service(
        service_code=code,
        service_version=version or "",
        title=properties.title,
        url=properties.url,
        timeout=properties.timeout,
        verify_tls=properties.verifies,
    )
    description.services.append(service)
    if find_endpoint(client, code, BASE_ENDPOINT) is None:
        client.endpoints.append(
            Endpoint(
                service_code=code,
                method=BASE_ENDPOINT.method,
                path=BASE_ENDPOINT.path,
                generated=False,
            )
        )
    session.flush()
    touch(session)
    return service


def _check_code(
    other: ServiceDescription, description: ServiceDescription, code: str, version: str | None
) -> None:
    both_soap = other.type == description.type == DescriptionType.WSDL.value
    for service in other.services:
        same_code = service.service_code.lower() == code.lower()
        same_version = service.service_code == code and service.service_version == (version or "")
        if same_version or (same_code and not both_soap):
            raise ConfigurationError(
                f"{description.client.identifier} has a service {service.service_code!r} already"
            )


def find_service(client: Client, code: str, version: str | None = None) -> Service | None:
    """The service of a client with that code and version."""
    for description in client.descriptions:
        for service in description.services:
            if (service.service_code, service.service_version) == (code, version or ""):
                return service
    return None


def set_properties(session: Session, service: Service, properties: ServiceProperties) -> None:
    """Change where a service is and how it is called."""
    wanted = (properties.url, properties.timeout, properties.verifies, properties.title)
    if (service.url, service.timeout, service.verify_tls, service.title) != wanted:
        service.url, service.timeout, service.verify_tls, service.title = wanted
        touch(session)


def move_service(session: Session, service: Service, description: ServiceDescription) -> None:
    """Move a service to another description of the same client; its rights stay."""
    if service.description is not description:
        service.description = description
        session.flush()
        touch(session)


def delete_service(session: Session, service: Service) -> None:
    """Delete one service; rights on its code end with the last version of it."""
    client = service.description.client
    service.description.services.remove(service)
    session.flush()
    _drop_unused_endpoints(session, client)
    touch(session)


def find_endpoint(client: Client, code: str, wanted: DeclaredEndpoint) -> Endpoint | None:
    """The row of a service code's endpoint."""
    for endpoint in client.endpoints:
        if (endpoint.service_code, endpoint.method, endpoint.path) == (
            code,
            wanted.method,
            wanted.path,
        ):
            return endpoint
    return None


def add_endpoint(
    session: Session,
    client: Client,
    code: str,
    wanted: DeclaredEndpoint,
    *,
    generated: bool = False,
) -> Endpoint:
    """Declare an endpoint (see `parse_endpoint`) of a REST service.

    Raises `ConfigurationError` for a service that does not exist or is SOAP, and for an endpoint
    that exists.
    """
    service = find_service(client, code)
    if service is None or service.description.type == DescriptionType.WSDL.value:
        raise ConfigurationError(
            f"{client.identifier} has no REST service {code!r}", code=FaultCode.UNKNOWN_SERVICE
        )
    if find_endpoint(client, code, wanted) is not None:
        raise ConfigurationError(f"the endpoint {wanted.method} {wanted.path} exists already")
    endpoint = Endpoint(
        service_code=code, method=wanted.method, path=wanted.path, generated=generated
    )
    client.endpoints.append(endpoint)
    session.flush()
    touch(session)
    return endpoint


def mark_generated(session: Session, endpoint: Endpoint, *, generated: bool = True) -> None:
    """Note whether an endpoint stands in the document of its service, and goes when it does."""
    if endpoint.generated != generated:
        endpoint.generated = generated
        touch(session)


def delete_endpoint(session: Session, endpoint: Endpoint) -> None:
    """Delete a declared endpoint with the rights on it; base endpoints stay with their service."""
    if (endpoint.method, endpoint.path) == (BASE_ENDPOINT.method, BASE_ENDPOINT.path):
        raise ConfigurationError("the base endpoint belongs to the service")
    endpoint.client.endpoints.remove(endpoint)
    session.flush()
    touch(session)


def _drop_unused_endpoints(session: Session, client: Client) -> None:
    codes = {
        service.service_code
        for description in client.descriptions
        for service in description.services
    }
    for endpoint in list(client.endpoints):
        if endpoint.service_code not in codes:
            client.endpoints.remove(endpoint)
    session.flush()
