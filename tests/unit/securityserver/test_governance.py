"""What a server asks for, what it doesn't even send, and what it remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroad.adapters.database import sqlite_url
from postroad.adapters.signer_client import SignerClient
from postroad.errors import ConfigurationError, PostroadError, RefusedRequest, RemoteFault
from postroad.globalconf.view import GlobalConfiguration
from postroad.identifiers import ClientId, SecurityServerId, SubsystemId
from postroad.management.requests import (
    AddressChange,
    AuthCertDeletion,
    ClientDeletion,
    ClientDisabling,
    ClientEnabling,
    ClientRegistration,
    ClientRenaming,
    MaintenanceEnd,
    MaintenanceStart,
    ManagementRequest,
    OwnerChange,
)
from postroad.securityserver.following import follow
from postroad.securityserver.governance import PATIENCE, Governance
from postroad.securityserver.management_client import ManagementClient, SubmittedRequest
from postroad.securityserver.serverconf import clients, submissions
from postroad.securityserver.serverconf.repository import ServerConf
from postroad.securityserver.serverconf.snapshot import ServerConfView, load_snapshot
from postroad.securityserver.serverconf.status import ClientStatus
from postroad.securityserver.settings import load_settings
from support.trust import (
    CLIENT,
    NOW,
    OWNER,
    SERVER,
    STRANGER,
    Ecosystem,
    SignerDouble,
    key_certificate,
)

SHOP = SubsystemId("TEST", "GOV", "1", "shop")
HEIR = STRANGER
LAB = Ecosystem().lab
AUTH = LAB.auth_certificate(SERVER).certificate
Act = Callable[[Governance], Awaitable[SubmittedRequest]]


class Client(ManagementClient):
    """Takes every request in, or says what it is told to say."""

    def __init__(self) -> None:
        self.sent: list[ManagementRequest] = []
        self.outcome: SubmittedRequest | PostroadError = SubmittedRequest(7)

    async def submit(
        self, request: ManagementRequest, globalconf: GlobalConfiguration
    ) -> SubmittedRequest:
        del globalconf
        self.sent.append(request)
        if isinstance(self.outcome, PostroadError):
            raise self.outcome
        return self.outcome


class Signer(SignerDouble, SignerClient):
    """A double that passes for the client."""


@dataclass
class Clock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Office:
    """A server's governance with everything around it in memory."""

    home: Path
    conf: ServerConf
    client: Client = field(default_factory=Client)
    clock: Clock = field(default_factory=Clock)
    signer: Signer = field(
        default_factory=lambda: Signer(
            key_certificate(AUTH.der, usage="AUTHENTICATION", status="registered")
        )
    )
    world: Ecosystem = field(
        default_factory=lambda: Ecosystem(lab=LAB, provider=SubsystemId("TEST", "GOV", "9", "m"))
    )

    def asks(self, act: Act) -> SubmittedRequest:
        office = Governance(
            self.conf, self.client, self.signer, self.world.globalconf(), self.clock
        )

        async def work() -> SubmittedRequest:
            return await act(office)

        return asyncio.run(work())

    def refuses(self, act: Act) -> str:
        before = list(self.client.sent)
        with pytest.raises((RefusedRequest, ConfigurationError)) as refusal:
            self.asks(act)
        assert self.client.sent == before
        return refusal.value.message

    def add(self, client: ClientId, status: ClientStatus) -> None:
        with self.conf.change() as session:
            clients.add_client(session, client, status=status)

    def put(self, client: ClientId, status: ClientStatus) -> None:
        with self.conf.change() as session:
            clients.set_status(session, client, status)

    def status(self, client: ClientId) -> str:
        with self.conf.read() as session:
            return clients.get_client(session, client).status

    @property
    def waiting(self) -> set[tuple[str, str, str]]:
        return set(ServerConfView(load_snapshot(self.home / "snapshot")).submitted)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    (tmp_path / "server.toml").write_text(
        f'# ours\n[server]\nidentifier = "{SERVER.encoded()}"\nworkers = 2\n'
    )
    conf = ServerConf.open(sqlite_url(tmp_path / "conf.sqlite"), tmp_path / "snapshot")
    conf.initialise(SERVER)
    office = Office(tmp_path, conf)
    office.add(SHOP, ClientStatus.SAVED)
    office.add(HEIR, ClientStatus.REGISTERED)
    yield office
    conf.close()


CLIENT_ACTS: tuple[tuple[Act, ManagementRequest, set[ClientStatus], ClientStatus], ...] = (
    (
        lambda office: office.register_client(SHOP),
        ClientRegistration(SERVER, SHOP),
        {ClientStatus.SAVED},
        ClientStatus.REGISTRATION_IN_PROGRESS,
    ),
    (
        lambda office: office.unregister_client(SHOP),
        ClientDeletion(SERVER, SHOP),
        {ClientStatus.REGISTERED, ClientStatus.REGISTRATION_IN_PROGRESS, ClientStatus.DISABLED},
        ClientStatus.DELETION_IN_PROGRESS,
    ),
    (
        lambda office: office.disable_client(SHOP),
        ClientDisabling(SERVER, SHOP),
        {ClientStatus.REGISTERED},
        ClientStatus.DISABLING_IN_PROGRESS,
    ),
    (
        lambda office: office.enable_client(SHOP),
        ClientEnabling(SERVER, SHOP),
        {ClientStatus.DISABLED},
        ClientStatus.ENABLING_IN_PROGRESS,
    ),
)


@pytest.mark.parametrize(("act", "request_", "allowed", "after"), CLIENT_ACTS)
def test_a_clients_status_decides_what_is_asked_and_changes_when_it_is_taken_in(
    office: Office,
    act: Act,
    request_: ManagementRequest,
    allowed: set[ClientStatus],
    after: ClientStatus,
) -> None:
    for status in ClientStatus:
        office.put(SHOP, status)
        if status not in allowed:
            assert f"is {status.value}" in office.refuses(act)
            assert office.status(SHOP) == status
            continue
        assert office.asks(act) == SubmittedRequest(7)
        assert office.client.sent[-1] == request_
        assert office.status(SHOP) == after


def test_nothing_is_noted_of_a_request_that_was_refused(office: Office) -> None:
    office.client.outcome = RemoteFault("internal_error", "no with statusCode 400")
    with pytest.raises(RemoteFault):
        office.asks(lambda each: each.register_client(SHOP))
    assert office.status(SHOP) == "saved"
    assert office.waiting == set()


def test_a_request_that_waits_already_counts_as_submitted(office: Office) -> None:
    office.client.outcome = SubmittedRequest(None)
    office.asks(lambda each: each.register_client(SHOP, "The shop"))
    assert office.status(SHOP) == "registration in progress"
    assert office.waiting == {("clientReg", SHOP.encoded(), "The shop")}


def test_a_later_request_about_the_same_client_takes_the_earlier_ones_place(
    office: Office,
) -> None:
    office.asks(lambda each: each.register_client(SHOP))
    office.asks(lambda each: each.unregister_client(SHOP))
    assert office.waiting == {("clientDeletion", SHOP.encoded(), "")}


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda office: office.register_client(OWNER), "owns this server"),
        (lambda office: office.unregister_client(OWNER), "owns this server"),
        (lambda office: office.change_owner(OWNER), "already"),
        (lambda office: office.change_owner(SHOP), "only members own servers"),
        (lambda office: office.register_client(CLIENT), "is not a client"),
        (
            lambda office: office.register_client(SubsystemId("ELSE", "GOV", "1", "shop")),
            "another instance",
        ),
        (lambda office: office.register_client(HEIR, "A name"), "only a subsystem"),
        (lambda office: office.rename_client(HEIR, "A name"), "only a subsystem"),
        (lambda office: office.rename_client(SHOP, " "), "not another name"),
        (lambda office: office.change_address("ss1.example"), "already"),
        (lambda office: office.change_address("https://ss1.example"), "neither"),
        (lambda office: office.end_maintenance(), "not in maintenance"),
        (lambda office: office.start_maintenance("x" * 256), "255"),
        (lambda office: office.unregister_auth_certificate(""), "1 registered"),
        (lambda office: office.unregister_auth_certificate("00"), "0 registered"),
    ],
)
def test_what_can_only_be_refused_is_not_sent(office: Office, act: Act, told: str) -> None:
    assert told in office.refuses(act)


def test_the_provider_of_the_management_services_stays_in_service(office: Office) -> None:
    office.put(SHOP, ClientStatus.REGISTERED)
    office.world = Ecosystem(lab=LAB, provider=SHOP, clients=(SHOP,))
    assert "management services" in office.refuses(lambda each: each.disable_client(SHOP))
    assert "management services" in office.refuses(lambda each: each.start_maintenance())


def test_a_changed_address_is_followed_and_not_asked_for_twice(office: Office) -> None:
    act: Act = lambda each: each.change_address("new.example")  # noqa: E731 - used as a value
    office.asks(act)
    assert office.client.sent == [AddressChange(SERVER, "new.example")]
    assert office.waiting == {("addressChange", "", "new.example")}
    assert "a moment ago" in office.refuses(act)
    office.clock.at += PATIENCE + timedelta(seconds=1)
    office.asks(act)
    office.asks(lambda each: each.change_address("newer.example"))
    assert office.waiting == {("addressChange", "", "newer.example")}


def test_maintenance_begins_and_ends(office: Office) -> None:
    office.asks(lambda each: each.start_maintenance("Back at noon"))
    office.world = Ecosystem(lab=LAB, provider=HEIR, maintenance="Back at noon")
    assert "already" in office.refuses(lambda each: each.start_maintenance())
    office.asks(lambda each: each.end_maintenance())
    assert office.client.sent == [MaintenanceStart(SERVER, "Back at noon"), MaintenanceEnd(SERVER)]
    assert office.waiting == {("maintenanceModeDisable", "", "")}


def test_a_name_an_owner_and_a_certificate_are_asked_for(office: Office) -> None:
    office.put(SHOP, ClientStatus.REGISTERED)
    digest = AUTH.sha256.hex()
    office.asks(lambda each: each.rename_client(SHOP, " Shop "))
    office.asks(lambda each: each.change_owner(HEIR))
    office.asks(lambda each: each.unregister_auth_certificate(digest[:12].upper()))
    assert office.client.sent == [
        ClientRenaming(SERVER, SHOP, "Shop"),
        OwnerChange(SERVER, HEIR),
        AuthCertDeletion(SERVER, AUTH.der),
    ]
    assert office.waiting == {
        ("clientRename", SHOP.encoded(), "Shop"),
        ("ownerChange", HEIR.encoded(), ""),
        ("authCertDeletion", "", digest),
    }
    assert office.signer.keys[0].status == "deletion in progress"


def test_only_the_newest_requests_are_kept(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "MAX_KEPT", 2)
    for number in range(4):
        office.asks(lambda each, number=number: each.change_address(f"n{number}.example"))
        with office.conf.change() as session:
            submissions.follow(session, lambda _row: True, at=NOW)
    with office.conf.read() as session:
        kept = [row.value for row in submissions.list_submitted(session, limit=10)]
    assert kept == ["n3.example", "n2.example"]


def follows(office: Office, world: Ecosystem, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(
        "postroad.securityserver.following.load_globalconf", lambda _settings: world.globalconf()
    )
    return follow(load_settings(office.home), office.conf, office.signer.keys, at=NOW)


def test_following_closes_what_is_fulfilled_once(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.asks(lambda each: each.register_client(SHOP))
    world = Ecosystem(lab=LAB, clients=(SHOP, HEIR))
    assert follows(office, world, monkeypatch) == [
        f"{OWNER}: registered",
        f"{SHOP}: registered",
        f"clientReg {SHOP.encoded()}: fulfilled",
    ]
    assert office.waiting == set()
    assert follows(office, world, monkeypatch) == []


def test_a_server_takes_the_name_that_its_new_owner_gives_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.asks(lambda each: each.change_owner(HEIR))
    renamed = SecurityServerId("TEST", "GOV", "9", "SS1")
    world = Ecosystem(lab=LAB, owner=HEIR, auth_certificates=(AUTH.der,), clients=(OWNER, SHOP))
    told = follows(office, world, monkeypatch)
    assert f"{SERVER}: is {renamed} from now on" in told
    assert ServerConfView(load_snapshot(office.home / "snapshot")).server_id == renamed
    assert (office.home / "server.toml").read_text() == (
        f'# ours\n[server]\nidentifier = "{renamed.encoded()}"\nworkers = 2\n'
    )
    assert office.status(OWNER) == office.status(HEIR) == "registered"
    assert office.waiting == set()
    office.conf.initialise(load_settings(office.home).server_id)


def test_settings_that_cannot_be_rewritten_leave_everything_as_it_was(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    (office.home / "server.toml").write_text(f'server = {{identifier = "{SERVER.encoded()}"}}\n')
    world = Ecosystem(lab=LAB, owner=HEIR, auth_certificates=(AUTH.der,))
    with pytest.raises(ConfigurationError, match="write identifier"):
        follows(office, world, monkeypatch)
    assert ServerConfView(load_snapshot(office.home / "snapshot")).server_id == SERVER
