"""Descriptions in a declaration: what the document says, and what the file adds to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from postroad.authorization.rights import Endpoint
from postroad.errors import ConfigurationError, UnavailablePeer
from postroad.identifiers import SecurityServerId, ServiceId, SubsystemId
from postroad.securityserver.descriptions.derived import Derived, DerivedService
from postroad.securityserver.descriptions.refreshing import refresh
from postroad.securityserver.serverconf import clients, services
from postroad.securityserver.serverconf.declaration import load_declaration
from postroad.securityserver.serverconf.reconciliation import (
    apply,
    current_declaration,
    difference,
)
from postroad.securityserver.serverconf.repository import ServerConf
from postroad.securityserver.serverconf.snapshot import ServerConfView, load_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroad.securityserver.serverconf.models import DescriptionType

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROVIDER = SubsystemId("TEST", "COM", "2", "registry")
GET, PUT = Endpoint("GET", "/pets/*"), Endpoint("PUT", "/pets/*")
HEAD = '[[client]]\nid = "TEST/COM/2/registry"\n'
OPENAPI = f"""{HEAD}
[[client.description]]
type = "OPENAPI3"
url = "http://h/openapi.yaml"
code = "pets"

[[client.description.service]]
code = "pets"
timeout = 5

[[client.description.service.endpoint]]
method = "get"
path = "/pets/*"
allow = ["TEST/GOV/1/app"]

[[client.description.service.endpoint]]
method = "POST"
path = "/mine"
"""
WSDL = f"""{HEAD}
[[client.description]]
type = "WSDL"
url = "http://h/?wsdl"
enabled = false
notice = "not yet"

[[client.description.service]]
code = "find"
version = "v1"
url = "https://elsewhere/"
allow = ["TEST/GOV/1/app"]
"""
CODE_ONLY = f"""{HEAD}
[[client.service]]
type = "OPENAPI3"
code = "pets"
url = "https://h/v1"
description = "http://h/openapi.yaml"
"""


@pytest.fixture
def conf(url: str, tmp_path: Path) -> Iterator[ServerConf]:
    conf = ServerConf.open(url, tmp_path / "snapshot")
    conf.initialise(SecurityServerId("TEST", "COM", "2", "SS1"))
    yield conf
    conf.close()


def rest(*endpoints: Endpoint, url: str = "https://h/v1") -> Derived:
    return Derived(services=(DerivedService(code="pets", url=url),), endpoints=endpoints)


def soap(*codes: tuple[str, str | None]) -> Derived:
    return Derived(
        services=tuple(
            DerivedService(code=code, version=version, url="http://h/", title="t" * 300)
            for code, version in codes
        )
    )


def applied(conf: ServerConf, directory: Path, text: str, derived: Derived) -> list[str]:
    path = directory / "services.toml"
    path.write_text(text, encoding="utf-8")

    def read(kind: DescriptionType, url: str, code: str) -> Derived:
        assert (kind, url, code) in {
            ("OPENAPI3", "http://h/openapi.yaml", "pets"),
            ("WSDL", "http://h/?wsdl", ""),
        }
        return derived

    wanted = load_declaration(path, read)
    with conf.change() as session:
        changes = difference(current_declaration(session), wanted)
        apply(session, changes, at=NOW)
    with conf.read() as session:
        assert difference(current_declaration(session), wanted) == ()
    return [str(change) for change in changes]


def generated(conf: ServerConf) -> dict[str, bool]:
    with conf.read() as session:
        return {
            f"{row.method} {row.path}": row.generated
            for row in clients.get_client(session, PROVIDER).endpoints
        }


def test_endpoints_come_from_the_document_and_rights_from_the_file(
    conf: ServerConf, tmp_path: Path
) -> None:
    applied(conf, tmp_path, OPENAPI, rest(GET, PUT))
    view = ServerConfView(load_snapshot(tmp_path / "snapshot"))
    entry = view.service(ServiceId(PROVIDER, "pets"))
    assert entry is not None
    assert (entry.url, entry.timeout, entry.verify_tls) == ("https://h/v1", 5, True)
    assert (entry.type, entry.description_url) == ("OPENAPI3", "http://h/openapi.yaml")
    (right,) = view.rights(ServiceId(PROVIDER, "pets"))
    assert right.endpoint == GET
    assert generated(conf) == {
        "* **": False,
        "GET /pets/*": True,
        "PUT /pets/*": True,
        "POST /mine": False,
    }


def test_a_changed_document_is_a_difference(conf: ServerConf, tmp_path: Path) -> None:
    applied(conf, tmp_path, OPENAPI, rest(GET, PUT))
    mine, new = Endpoint("POST", "/mine"), Endpoint("HEAD", "/pets/*")
    assert applied(conf, tmp_path, OPENAPI, rest(GET, mine, new)) == [
        "- service TEST/COM/2/registry/pets PUT /pets/*",
        "~ service TEST/COM/2/registry/pets POST /mine: belongs to its document",
        "+ service TEST/COM/2/registry/pets HEAD /pets/*",
    ]


def test_a_right_on_what_left_the_document_is_kept_on_an_endpoint_of_the_file(
    conf: ServerConf, tmp_path: Path
) -> None:
    """The file declares the endpoint itself, so it stays, as one that is declared by hand."""
    applied(conf, tmp_path, OPENAPI, rest(GET))
    assert applied(conf, tmp_path, OPENAPI, rest()) == [
        "~ service TEST/COM/2/registry/pets GET /pets/*: declared by hand"
    ]
    assert generated(conf)["GET /pets/*"] is False


def test_services_of_a_wsdl_have_rights_by_code_and_version(
    conf: ServerConf, tmp_path: Path
) -> None:
    applied(conf, tmp_path, WSDL, soap(("find", "v1"), ("store", None)))
    view = ServerConfView(load_snapshot(tmp_path / "snapshot"))
    find, store = ServiceId(PROVIDER, "find", "v1"), ServiceId(PROVIDER, "store")
    entry, other = view.service(find), view.service(store)
    assert entry is not None
    assert other is not None
    assert (entry.url, entry.disabled_notice) == ("https://elsewhere/", "not yet")
    assert (other.url, other.disabled) == ("http://h/", True)
    assert (len(view.rights(find)), len(view.rights(store))) == (1, 0)


def test_a_declared_service_that_left_the_document_stops_everything(
    conf: ServerConf, tmp_path: Path
) -> None:
    applied(conf, tmp_path, WSDL, soap(("find", "v1")))
    with pytest.raises(ConfigurationError, match=r"no service 'find\.v1'"):
        applied(conf, tmp_path, WSDL, soap(("find", "v2")))
    view = ServerConfView(load_snapshot(tmp_path / "snapshot"))
    assert view.service(ServiceId(PROVIDER, "find", "v1")) is not None


def test_endpoints_that_a_command_read_are_left_alone(conf: ServerConf, tmp_path: Path) -> None:
    applied(conf, tmp_path, CODE_ONLY, rest())
    with conf.change() as session:
        row = services.find_description(
            clients.get_client(session, PROVIDER), "http://h/openapi.yaml"
        )
        assert row is not None
        refresh(session, row, rest(GET), at=NOW)
        services.add_endpoint(session, row.client, "pets", PUT)
    assert applied(conf, tmp_path, CODE_ONLY, rest()) == [
        "- service TEST/COM/2/registry/pets PUT /pets/*"
    ]
    assert generated(conf) == {"* **": False, "GET /pets/*": True}


@pytest.mark.parametrize(
    ("text", "derived", "message"),
    [
        (WSDL, soap(), "no service"),
        (WSDL.partition("[[client.description.service")[0], soap(), "no service"),
        (OPENAPI, rest(url="https://{h}/"), "variables"),
        (OPENAPI.replace('code = "pets"\n\n', ""), rest(), "must be WSDL"),
        (WSDL.replace("enabled", 'code = "x"\nenabled'), soap(), "must be WSDL"),
        (WSDL.replace('"WSDL"', '"REST"'), soap(), "must be WSDL"),
        (WSDL.replace("http://h/?wsdl", "file:///etc/passwd"), soap(), "not an address"),
        (
            f'{WSDL}[[client.description.service]]\ncode = "find"\nversion = "v1"\n',
            soap(("find", "v1")),
            "declared twice",
        ),
        (
            f"{WSDL}[[client.description.service.endpoint]]\npath = '/x'\n",
            soap(("find", "v1")),
            "SOAP services have no endpoints",
        ),
        (
            f"{WSDL}[[client.service]]\ntype = 'WSDL'\ncode = 'find'\nversion = 'v1'\nurl = 'http://h'",
            soap(("find", "v1")),
            "declared twice",
        ),
    ],
)
def test_refuses_descriptions_that_say_too_little_or_two_things(
    conf: ServerConf, tmp_path: Path, text: str, derived: Derived, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        applied(conf, tmp_path, text, derived)


def test_a_document_that_does_not_come_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "services.toml"
    path.write_text(WSDL, encoding="utf-8")

    def read(*_: object) -> Derived:
        raise UnavailablePeer("no answer")

    with pytest.raises(ConfigurationError, match=r"http://h/\?wsdl: no answer"):
        load_declaration(path, read)
    with pytest.raises(ConfigurationError, match="can't be read here"):
        load_declaration(path)
