"""Bringing the server configuration up to a description, and saying beforehand what changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.adapters.database import sqlite_url
from postroad.authorization.rights import BASE_ENDPOINT, Endpoint
from postroad.errors import ConfigurationError
from postroad.identifiers import SecurityServerId, SubsystemId
from postroad.securityserver.descriptions.derived import Derived, DerivedService
from postroad.securityserver.descriptions.refreshing import (
    Plan,
    add_derived,
    plan_refresh,
    refresh,
)
from postroad.securityserver.serverconf import access, clients, services
from postroad.securityserver.serverconf.models import DescriptionType
from postroad.securityserver.serverconf.repository import ServerConf
from postroad.securityserver.serverconf.services import ServiceProperties

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from postroad.securityserver.serverconf.models import ServiceDescription

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
PROVIDER = SubsystemId("TEST", "COM", "2", "registry")
CALLER = SubsystemId("TEST", "GOV", "1", "app")
URL = "http://h/wsdl"
GET, POST = Endpoint("GET", "/a/*"), Endpoint("POST", "/a/*")


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[ServerConf]:
    conf = ServerConf.open(sqlite_url(tmp_path / "db.sqlite"), tmp_path / "snapshot")
    conf.initialise(SecurityServerId("TEST", "COM", "2", "SS1"))
    with conf.change() as session:
        clients.add_client(session, PROVIDER)
    yield conf
    conf.close()


def soap(*codes: str) -> Derived:
    """Services by full code."""
    return Derived(
        services=tuple(
            DerivedService(
                code=code.partition(".")[0],
                version=code.partition(".")[2] or None,
                url=f"http://h/{code}",
                title=f"title of {code}",
            )
            for code in codes
        )
    )


def rest(*endpoints: Endpoint, warnings: tuple[str, ...] = ()) -> Derived:
    service = DerivedService(code="pets", url="https://h/v1")
    return Derived(services=(service,), endpoints=endpoints, warnings=warnings)


def add(conf: ServerConf, derived: Derived, kind: DescriptionType = DescriptionType.WSDL) -> None:
    with conf.change() as session:
        add_derived(session, PROVIDER, kind, URL, derived, at=NOW)


def row(session: Session, url: str = URL) -> ServiceDescription:
    found = services.find_description(clients.get_client(session, PROVIDER), url)
    assert found is not None
    return found


def grant(conf: ServerConf, code: str, endpoint: Endpoint = BASE_ENDPOINT) -> None:
    with conf.change() as session:
        client = clients.get_client(session, PROVIDER)
        place = services.find_endpoint(client, code, endpoint)
        assert place is not None
        access.grant(session, place, CALLER, at=NOW)


def follow(conf: ServerConf, derived: Derived, url: str | None = None) -> Plan:
    with conf.change() as session:
        plan = plan_refresh(row(session), derived)
        refresh(session, row(session), derived, at=LATER, url=url)
    return plan


def rights(conf: ServerConf) -> dict[str, int]:
    with conf.read() as session:
        return {
            f"{each.service_code} {each.method} {each.path}": len(each.rights)
            for each in clients.get_client(session, PROVIDER).endpoints
        }


def test_what_is_added_is_disabled_and_nobodys(conf: ServerConf) -> None:
    add(conf, rest(GET), DescriptionType.OPENAPI3)
    with conf.read() as session:
        description = row(session)
        assert (description.disabled, description.disabled_notice) == (True, "Out of order")
        (service,) = description.services
        assert (service.url, service.timeout, service.verify_tls) == ("https://h/v1", 60, True)
        flags = {each.path: each.generated for each in description.client.endpoints}
        assert flags == {"**": False, "/a/*": True}
    assert set(rights(conf).values()) == {0}


@pytest.mark.parametrize(
    "derived",
    [
        Derived(services=()),
        soap("listMethods"),
        Derived(services=(DerivedService(code="a", url="sftp://h"),)),
        Derived(services=(DerivedService(code="a", url=""),)),
        Derived(services=(DerivedService(code="a", url="https://{h}/"),)),
    ],
)
def test_nothing_is_added_of_what_can_not_be_used(conf: ServerConf, derived: Derived) -> None:
    with pytest.raises(ConfigurationError):
        add(conf, derived)
    with conf.read() as session:
        assert clients.get_client(session, PROVIDER).descriptions == []


def test_a_service_of_another_description_is_not_taken_over(conf: ServerConf) -> None:
    add(conf, soap("a.v1"))
    with pytest.raises(ConfigurationError), conf.change() as session:
        add_derived(session, PROVIDER, DescriptionType.WSDL, "http://h/2", soap("a.v1"), at=NOW)


def test_the_same_document_changes_nothing_but_the_moment(conf: ServerConf) -> None:
    add(conf, soap("a.v1", "b"))
    plan = follow(conf, soap("a.v1", "b"))
    assert plan == Plan()
    assert not plan.needs_consent
    with conf.read() as session:
        assert row(session).refreshed_at == LATER


def test_what_administrators_set_stays(conf: ServerConf) -> None:
    add(conf, soap("a.v1"))
    with conf.change() as session:
        (service,) = row(session).services
        services.set_properties(session, service, ServiceProperties(url="https://x", timeout=5))
        services.set_enabled(session, row(session), enabled=True)
    grant(conf, "a")
    follow(conf, soap("a.v1"))
    with conf.read() as session:
        (service,) = row(session).services
        assert (service.url, service.timeout, service.verify_tls) == ("https://x", 5, True)
        assert service.title == "title of a.v1"
        assert not row(session).disabled
    assert rights(conf) == {"a * **": 1}


def test_rights_on_what_goes_are_named_and_end(conf: ServerConf) -> None:
    add(conf, soap("a.v1", "b"))
    grant(conf, "a")
    plan = follow(conf, soap("b", "c"))
    assert plan.needs_consent
    assert str(plan).splitlines() == [
        "+ service c",
        "- service a.v1",
        "- right: TEST/GOV/1/app on a",
    ]
    assert rights(conf) == {"b * **": 0, "c * **": 0}
    # A service that comes back is nobody's again.
    follow(conf, soap("a.v1", "b", "c"))
    assert rights(conf)["a * **"] == 0


def test_a_new_version_inherits_rights_and_the_plan_says_so(conf: ServerConf) -> None:
    add(conf, soap("a.v1"))
    grant(conf, "a")
    plan = follow(conf, soap("a.v2"))
    assert (plan.added_services, plan.removed_services) == (("a.v2",), ("a.v1",))
    assert (plan.lost_rights, plan.inherited_rights) == ((), ("TEST/GOV/1/app on a",))
    assert rights(conf) == {"a * **": 1}


def test_a_code_that_another_description_has_keeps_its_rights(conf: ServerConf) -> None:
    add(conf, soap("a.v1", "b"))
    with conf.change() as session:
        add_derived(session, PROVIDER, DescriptionType.WSDL, "http://h/2", soap("a.v2"), at=NOW)
    grant(conf, "a")
    plan = follow(conf, soap("b"))
    assert plan.lost_rights == ()
    assert rights(conf) == {"a * **": 1, "b * **": 0}


def test_generated_endpoints_follow_the_document_and_others_stay(conf: ServerConf) -> None:
    add(conf, rest(GET, POST), DescriptionType.OPENAPI3)
    mine, soon = Endpoint("PUT", "/mine"), Endpoint("GET", "/soon")
    with conf.change() as session:
        client = clients.get_client(session, PROVIDER)
        for endpoint in (mine, soon):
            services.add_endpoint(session, client, "pets", endpoint)
    for endpoint in (BASE_ENDPOINT, GET, POST, mine, soon):
        grant(conf, "pets", endpoint)
    new = Endpoint("DELETE", "/a/*")
    plan = follow(conf, rest(GET, soon, new))
    assert str(plan).splitlines() == [
        "+ endpoint DELETE /a/*",
        "- endpoint POST /a/*",
        "- right: TEST/GOV/1/app on pets POST /a/*",
    ]
    assert rights(conf) == {
        "pets * **": 1,
        "pets GET /a/*": 1,
        "pets PUT /mine": 1,
        "pets GET /soon": 1,
        "pets DELETE /a/*": 0,
    }
    # What was declared by hand is the document's now, and goes with it.
    assert follow(conf, rest(GET)).removed_endpoints == ("GET /soon", "DELETE /a/*")


def test_the_address_of_a_service_is_not_the_documents_any_more(conf: ServerConf) -> None:
    add(conf, rest(), DescriptionType.OPENAPI3)
    moved = Derived(services=(DerivedService(code="other", url="http://evil/"),))
    assert not follow(conf, moved).needs_consent
    with conf.read() as session:
        (service,) = row(session).services
        assert (service.service_code, service.url) == ("pets", "https://h/v1")


def test_something_odd_needs_consent(conf: ServerConf) -> None:
    add(conf, rest(), DescriptionType.OPENAPI3)
    plan = follow(conf, rest(warnings=("odd",)))
    assert plan.needs_consent
    assert str(plan) == "warning: odd"


def test_a_description_may_move(conf: ServerConf) -> None:
    add(conf, soap("a"))
    follow(conf, soap("a"), url="https://new/wsdl")
    with conf.read() as session:
        assert [service.url for service in row(session, "https://new/wsdl").services] == [
            "http://h/a"
        ]
    with conf.change() as session:
        add_derived(session, PROVIDER, DescriptionType.WSDL, URL, soap("b"), at=NOW)
    with pytest.raises(ConfigurationError):
        follow(conf, soap("b"), url="https://new/wsdl")


def test_plain_rest_moves_with_its_service(conf: ServerConf) -> None:
    add(conf, Derived(services=(DerivedService(code="pets", url=URL),)), DescriptionType.REST)
    with conf.change() as session:
        services.set_source(session, row(session), "https://new", at=LATER)
    with conf.read() as session:
        (service,) = row(session, "https://new").services
        assert (service.url, service.verify_tls) == ("https://new", True)
