"""Which services does a declared description stand for?

A document and what the declaration file adds to it become the same sections that services without
a document are declared by, so that everything after this knows one form only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.authorization.rights import parse_endpoint
from postroad.errors import ConfigurationError
from postroad.securityserver.serverconf.declaration_file import (
    DescribedServiceSection,
    EndpointSection,
    ServiceSection,
)
from postroad.securityserver.serverconf.services import MAX_TITLE

if TYPE_CHECKING:
    from postroad.securityserver.descriptions.derived import Derived, DerivedService
    from postroad.securityserver.serverconf.declaration_file import DescriptionSection


def expand_description(section: DescriptionSection, derived: Derived) -> list[ServiceSection]:
    """The services of a description, with the rights that the file gives.

    Raises `ConfigurationError` for a service that the file names and the document doesn't have:
    whoever relies on its rights must hear of it.
    """
    said: dict[tuple[str, str | None], DescribedServiceSection] = {}
    for service in section.service:
        key = (service.code, service.version)
        if key in said:
            raise ConfigurationError(f"the service {service.code!r} is declared twice")
        said[key] = service
    found = {(each.code, each.version): each for each in derived.services}
    for code, version in said.keys() - found.keys():
        name = code if version is None else f"{code}.{version}"
        raise ConfigurationError(f"the document has no service {name!r}")
    if not found:
        raise ConfigurationError("the document describes no service")
    return [
        _expanded(section, each, said.get(key) or DescribedServiceSection(code=each.code), derived)
        for key, each in found.items()
    ]


def _expanded(
    section: DescriptionSection,
    service: DerivedService,
    said: DescribedServiceSection,
    derived: Derived,
) -> ServiceSection:
    url = said.url or service.url
    if "{" in url:
        raise ConfigurationError(
            f"the address {url!r} has variables: declare the url of {said.code}"
        )
    declared = {parse_endpoint(each.method, each.path) for each in said.endpoint}
    others = tuple(
        EndpointSection(method=each.method, path=each.path)
        for each in derived.endpoints
        if each not in declared
    )
    return ServiceSection(
        code=service.code,
        version=service.version,
        type=section.type,
        description=section.url,
        url=url,
        title=service.title[:MAX_TITLE],
        timeout=said.timeout,
        verify_tls=said.verify_tls,
        enabled=section.enabled,
        notice=section.notice,
        allow=said.allow,
        endpoint=(*said.endpoint, *others),
    )
