"""`postroad server client register` and its siblings: what is asked, and what the operator sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from postroad.cli.server import command
from postroad.errors import ConfigurationError
from postroad.identifiers import MemberId, SubsystemId
from postroad.management.requests import ServiceCode
from postroad.securityserver.internal_tls import load_internal_identity
from postroad.securityserver.management_client import SubmittedRequest
from postroad.securityserver.serverconf import clients, submissions
from postroad.securityserver.serverconf.repository import ServerConf
from postroad.securityserver.settings import load_settings
from support.trust import SERVER

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SHOP = SubsystemId("TEST", "GOV", "1", "shop")
HEIR = MemberId("TEST", "GOV", "9")


class Governance:
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.outcome = SubmittedRequest(7)

    def __getattr__(self, name: str) -> object:
        async def ask(*arguments: object) -> SubmittedRequest:
            self.asked.append((name, *arguments))
            return self.outcome

        return ask


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "server.toml").write_text(f'[server]\nidentifier = "{SERVER.encoded()}"\n')
    monkeypatch.setenv("POSTROAD_SERVER_HOME", str(tmp_path))
    for folder in ("db", "run"):
        (tmp_path / folder).mkdir()
    return tmp_path


@pytest.fixture
def conf(home: Path) -> Iterator[ServerConf]:
    settings = load_settings(home)
    conf = ServerConf.open(settings.serverconf_url, settings.snapshot_path)
    conf.initialise(SERVER)
    yield conf
    conf.close()


@pytest.fixture
def governance(conf: ServerConf, monkeypatch: pytest.MonkeyPatch) -> Governance:
    assert conf
    governance = Governance()

    @contextmanager
    def opened(*_given: object) -> Iterator[Governance]:
        yield governance

    monkeypatch.setattr("postroad.securityserver.governance.opened_governance", opened)
    return governance


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("client", "register", SHOP.encoded()), ("register_client", SHOP, None)),
        (("client", "register", SHOP.encoded(), "--name", "S"), ("register_client", SHOP, "S")),
        (("client", "unregister", SHOP.encoded()), ("unregister_client", SHOP)),
        (("client", "disable", SHOP.encoded()), ("disable_client", SHOP)),
        (("client", "enable", SHOP.encoded()), ("enable_client", SHOP)),
        (("client", "rename", SHOP.encoded(), "S"), ("rename_client", SHOP, "S")),
        (("change-owner", HEIR.encoded()), ("change_owner", HEIR)),
        (("change-address", "a.example"), ("change_address", "a.example")),
        (("maintenance", "on", "--message", "M"), ("start_maintenance", "M")),
        (("maintenance", "off"), ("end_maintenance",)),
        (("cert", "unregister", "AB12"), ("unregister_auth_certificate", "AB12")),
    ],
)
def test_each_command_asks_for_its_change(
    governance: Governance, arguments: tuple[str, ...], asked: tuple[object, ...]
) -> None:
    told = run(*arguments)
    assert governance.asked == [asked]
    assert "submitted as management request 7" in told
    assert "postroad server requests" in told


def test_a_request_that_waits_already_is_no_failure(governance: Governance) -> None:
    governance.outcome = SubmittedRequest(None)
    assert "waits for approval" in run("client", "register", SHOP.encoded())


def test_requests_are_listed_with_their_outcome(conf: ServerConf) -> None:
    with conf.change() as session:
        submissions.note(
            session, ServiceCode.ADDRESS_CHANGE, None, "a.example", request_id=7, at=NOW
        )
        submissions.follow(session, lambda _row: True, at=NOW)
        submissions.note(
            session, ServiceCode.CLIENT_REGISTRATION, SHOP, "", request_id=None, at=NOW
        )
    heading, newest, oldest = run("requests").splitlines()
    assert heading.split()[0] == "request"
    assert newest.split() == [
        "-",
        "clientReg",
        SHOP.encoded(),
        "-",
        "2026-03-01T12:00:00+00:00",
        "waits",
    ]
    assert oldest.split()[0:2] == ["7", "addressChange"]
    assert oldest.count("2026-03-01T12:00:00+00:00") == 2
    assert len(run("requests", "--limit", "1").splitlines()) == 2


def test_a_client_that_never_was_registered_can_be_deleted(conf: ServerConf) -> None:
    with conf.change() as session:
        clients.add_client(session, SHOP)
    assert f"deleted {SHOP}" in run("client", "delete", SHOP.encoded(), "--yes")
    with pytest.raises(ConfigurationError, match="is not a client"):
        run("client", "delete", SHOP.encoded(), "--yes")


def test_the_internal_certificate_is_made_once_and_printed(home: Path) -> None:
    printed = run("internal-certificate")
    assert printed == run("internal-certificate")
    assert printed.encode() == load_internal_identity(home).certificate.pem
    assert "PRIVATE" not in printed
