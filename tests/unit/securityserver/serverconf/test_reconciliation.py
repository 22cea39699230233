"""From a declaration file to the same server configuration, and no further."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroad.authorization.rights import AccessRight, Endpoint
from postroad.errors import ConfigurationError
from postroad.identifiers import (
    GlobalGroupId,
    LocalGroupId,
    SecurityServerId,
    ServiceId,
    SubsystemId,
)
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

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROVIDER = SubsystemId("TEST", "COM", "2", "registry")
CERTIFICATES = Path(__file__).parents[3] / "data/reference/certs"

FULL = """
[[timestamping]]
name = "TSA"
url = "http://tsa"

[[client]]
id = "TEST/COM/2/registry"
connection = "HTTPS_NO_AUTH"
certificates = ["client.pem"]

[[client.group]]
code = "friends"
description = "our friends"
members = ["TEST/GOV/1/app", "TEST/GOV/1/web"]

[[client.service]]
code = "pets"
url = "https://pets.internal/v1"
allow = ["TEST/GOV/1/app", "global:TEST/all", "local:friends"]

[[client.service.endpoint]]
method = "GET"
path = "/pets/*"
allow = ["TEST/GOV/9/x"]

[[client.service]]
code = "find"
version = "v1"
type = "WSDL"
description = "http://soap.internal/?wsdl"
url = "http://soap.internal/"
timeout = 5
enabled = false
notice = "back soon"

[[client]]
id = "TEST/COM/2/other"
"""


@pytest.fixture
def snapshot_path(tmp_path: Path) -> Path:
    return tmp_path / "serverconf.snapshot"


@pytest.fixture
def conf(url: str, tmp_path: Path, snapshot_path: Path) -> Iterator[ServerConf]:
    shutil.copy(CERTIFICATES / "client.pem", tmp_path / "client.pem")
    shutil.copy(CERTIFICATES / "consumer.pem", tmp_path / "consumer.pem")
    conf = ServerConf.open(url, snapshot_path)
    conf.initialise(SecurityServerId("TEST", "COM", "2", "SS1"))
    yield conf
    conf.close()


def applied(conf: ServerConf, directory: Path, text: str) -> list[str]:
    path = directory / "clients.toml"
    path.write_text(text, encoding="utf-8")
    wanted = load_declaration(path)
    with conf.change() as session:
        changes = difference(current_declaration(session), wanted)
        apply(session, changes, at=NOW)
    return [str(change) for change in changes]


def test_applied_declaration_is_what_the_workers_see(
    conf: ServerConf, tmp_path: Path, snapshot_path: Path
) -> None:
    assert applied(conf, tmp_path, FULL)
    view = ServerConfView(load_snapshot(snapshot_path))
    provider = view.client(PROVIDER)
    assert provider is not None
    assert provider.connection_type == "SSLNOAUTH"
    assert len(provider.certificates) == 1
    app = SubsystemId("TEST", "GOV", "1", "app")
    assert set(view.rights(ServiceId(PROVIDER, "pets"))) == {
        AccessRight(app, "pets"),
        AccessRight(GlobalGroupId("TEST", "all"), "pets"),
        AccessRight(LocalGroupId("friends"), "pets"),
        AccessRight(SubsystemId("TEST", "GOV", "9", "x"), "pets", Endpoint("GET", "/pets/*")),
    }
    assert view.is_in_local_group(PROVIDER, app, LocalGroupId("friends"))
    find = view.service(ServiceId(PROVIDER, "find", "v1"))
    assert find is not None
    assert (find.disabled, find.disabled_notice, find.timeout) == (True, "back soon", 5)
    assert find.description_url == "http://soap.internal/?wsdl"
    assert view.timestamping == (("TSA", "http://tsa"),)
    assert view.client(SubsystemId("TEST", "COM", "2", "other")) is not None


def test_applying_twice_changes_nothing(
    conf: ServerConf, tmp_path: Path, snapshot_path: Path
) -> None:
    applied(conf, tmp_path, FULL)
    before = load_snapshot(snapshot_path)
    assert applied(conf, tmp_path, FULL) == []
    assert load_snapshot(snapshot_path) == before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("HTTPS_NO_AUTH", "HTTP", ["~ client TEST/COM/2/registry: connection HTTP"]),
        (
            '"TEST/GOV/1/app", "global:TEST/all"',
            '"global:TEST/all", "TEST/COM/2/other"',
            [
                "- service TEST/COM/2/registry/pets: allow TEST/GOV/1/app",
                "+ service TEST/COM/2/registry/pets: allow TEST/COM/2/other",
            ],
        ),
        (
            'path = "/pets/*"',
            'path = "/pets/**"',
            [
                "- service TEST/COM/2/registry/pets GET /pets/*: allow TEST/GOV/9/x",
                "- service TEST/COM/2/registry/pets GET /pets/*",
                "+ service TEST/COM/2/registry/pets GET /pets/**",
                "+ service TEST/COM/2/registry/pets GET /pets/**: allow TEST/GOV/9/x",
            ],
        ),
        (
            ', "TEST/GOV/1/web"',
            "",
            ["- client TEST/COM/2/registry: group friends: member TEST/GOV/1/web"],
        ),
        (
            "our friends",
            "friends",
            ["~ client TEST/COM/2/registry: group friends: description 'friends'"],
        ),
        (
            "timeout = 5",
            "timeout = 6",
            [
                (
                    "~ service TEST/COM/2/registry/find/v1 at http://soap.internal/ "
                    "(timeout 6 s, verify TLS no)"
                )
            ],
        ),
        (
            "enabled = false",
            "enabled = true",
            [
                (
                    "~ client TEST/COM/2/registry: description http://soap.internal/?wsdl "
                    "(WSDL, enabled)"
                )
            ],
        ),
        ('url = "http://tsa"', 'url = "http://tsa2"', ["~ time-stamping services: TSA"]),
    ],
)
def test_each_difference_is_named_and_made_once(
    conf: ServerConf, tmp_path: Path, old: str, new: str, expected: list[str]
) -> None:
    applied(conf, tmp_path, FULL)
    assert old in FULL
    changed = FULL.replace(old, new)
    assert applied(conf, tmp_path, changed) == expected
    assert applied(conf, tmp_path, changed) == []


def test_moving_a_service_keeps_its_rights(
    conf: ServerConf, tmp_path: Path, snapshot_path: Path
) -> None:
    applied(conf, tmp_path, FULL)
    before = ServerConfView(load_snapshot(snapshot_path)).rights(ServiceId(PROVIDER, "pets"))
    changes = applied(conf, tmp_path, FULL.replace("pets.internal/v1", "pets.internal/v2"))
    assert [change[0] for change in changes] == ["+", "~", "-"]
    view = ServerConfView(load_snapshot(snapshot_path))
    assert view.rights(ServiceId(PROVIDER, "pets")) == before
    service = view.service(ServiceId(PROVIDER, "pets"))
    assert service is not None
    assert service.url == service.description_url == "https://pets.internal/v2"


def test_replacing_a_certificate_adds_one_and_drops_one(conf: ServerConf, tmp_path: Path) -> None:
    applied(conf, tmp_path, FULL)
    changes = applied(conf, tmp_path, FULL.replace("client.pem", "consumer.pem"))
    assert [change[:2] for change in changes] == ["- ", "+ "]


def test_emptying_a_client_removes_what_it_had(conf: ServerConf, tmp_path: Path) -> None:
    applied(conf, tmp_path, FULL)
    empty = '[[client]]\nid = "TEST/COM/2/registry"\n'
    changes = applied(conf, tmp_path, empty)
    assert all(change[0] in "-~" for change in changes)
    assert applied(conf, tmp_path, empty) == []


def test_client_that_is_not_named_is_left_alone(conf: ServerConf, tmp_path: Path) -> None:
    applied(conf, tmp_path, FULL)
    assert applied(conf, tmp_path, "") == []


def test_failing_change_applies_nothing(
    conf: ServerConf, tmp_path: Path, snapshot_path: Path
) -> None:
    before = load_snapshot(snapshot_path)
    text = FULL + '\n[[client]]\nid = "TEST/GOV/1"\n\n[[client]]\nid = "TEST/GOV/3"\n'
    with pytest.raises(ConfigurationError):
        applied(conf, tmp_path, text)  # only one member besides the owner
    assert load_snapshot(snapshot_path) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "clients.toml"),
        ("nonsense = 1", "nonsense"),
        ('[[client]]\nid = "TEST"', "TEST"),
        ('[[client]]\nid = "A/B/C/D"\nconnection = "TLS"', "HTTPS_NO_AUTH"),
        ('[[client]]\nid = "A/B/C/D"\n[[client]]\nid = "A/B/C/D"', "twice"),
        ('[[client]]\nid = "A/B/C/D"\ncertificates = ["none.pem"]', "none.pem"),
        ('[[client]]\nid = "A/B/C/D"\n[[client.service]]\ncode = "x"\nurl = "h"', "h"),
        (
            (
                '[[client]]\nid = "A/B/C/D"\n[[client.service]]\ncode = "x"\nurl = "http://h"\n'
                'allow = ["A/B/C"]'
            ),
            "4 parts",
        ),
        (
            (
                '[[client]]\nid = "A/B/C/D"\n[[client.service]]\ncode = "x"\nurl = "http://h"\n'
                'allow = ["local:none"]'
            ),
            "none",
        ),
        (
            (
                '[[client]]\nid = "A/B/C/D"\n[[client.service]]\ncode = "x"\nurl = "http://h"\n'
                'version = "1"'
            ),
            "SOAP",
        ),
        (
            (
                '[[client]]\nid = "A/B/C/D"\n[[client.service]]\ncode = "x"\nurl = "http://h"\n'
                'type = "WSDL"\n[[client.service.endpoint]]\npath = "/x"'
            ),
            "endpoints",
        ),
        (
            (
                '[[client]]\nid = "A/B/C/D"\n[[client.service]]\ncode = "x"\nurl = "http://h"\n'
                '[[client.service.endpoint]]\npath = "x"'
            ),
            "'x'",
        ),
        (
            (
                '[[client]]\nid = "A/B/C/D"\n[[client.service]]\ncode = "x"\nurl = "http://h"\n'
                "timeout = 1001"
            ),
            "1000",
        ),
    ],
)
def test_faulty_declaration_is_refused_with_the_place(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"clients\.toml|client A|client TEST") as caught:
        load_declaration(path)
    assert message in caught.value.message
