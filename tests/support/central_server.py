"""A Central Server for tests: a migrated registry, a clock that we move, a small instance."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from postroad.adapters.database import create_engine, migrate, snapshot
from postroad.adapters.tokens import SoftwareToken
from postroad.centralserver.node import MIGRATIONS, CentralServerNode, open_node
from postroad.centralserver.registry import members, provider, servers, system, trust_services
from postroad.centralserver.registry.change import Change, changing
from postroad.centralserver.settings import parse_settings
from postroad.centralserver.signing_keys import SigningToken
from postroad.centralserver.token_login import TokenLogin
from postroad.identifiers import MemberId, SecurityServerId, SubsystemId
from postroad.trustlab.authority import TrustLab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import Session

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OWNER = MemberId("DEV", "GOV", "1")
OTHER = MemberId("DEV", "GOV", "2")
MANAGEMENT = SubsystemId("DEV", "GOV", "1", "MANAGEMENT")
CLIENT = SubsystemId("DEV", "GOV", "2", "client")
SERVER = SecurityServerId("DEV", "GOV", "1", "SS1")
OTHER_SERVER = SecurityServerId("DEV", "GOV", "2", "SS2")
PIN = "canary-pin-4711"


@dataclass
class MovingClock:
    """A clock that stands still until a test moves it."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def pass_time(self, **duration: float) -> None:
        self.at += timedelta(**duration)


@cache
def lab() -> TrustLab:
    """One trust hierarchy for all tests of a process."""
    return TrustLab.create(at=NOW)


@cache
def auth_certificate(server: SecurityServerId, number: int = 0) -> bytes:
    """An authentication certificate (DER) of a server; another one for each number."""
    return lab().auth_certificate(server, dns_name=f"ss{number}.example").certificate.der


@dataclass
class Registry:
    """A migrated database and short ways to work with it."""

    engine: Engine
    clock: MovingClock = field(default_factory=MovingClock)

    @contextmanager
    def changing(self, actor: str = "tester") -> Iterator[Change]:
        with changing(self.engine, actor=actor, at=self.clock.now()) as change:
            yield change

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with snapshot(self.engine) as session:
            yield session


@contextmanager
def opened_registry(url: str) -> Iterator[Registry]:
    """A registry on a database, migrated and initialised as instance DEV."""
    engine = create_engine(url)
    try:
        migrate(engine, MIGRATIONS)
        registry = Registry(engine)
        with registry.changing() as change:
            system.initialize(change, "DEV", "cs.example")
        yield registry
    finally:
        engine.dispose()


@cache
def _database_image(*, filled: bool) -> bytes:
    with opened_registry("sqlite://") as registry:
        if filled:
            with registry.changing() as change:
                fill(change)
        with registry.engine.connect() as connection:
            image: bytes = connection.connection.driver_connection.serialize()
            return image


@contextmanager
def registry_in_memory(*, filled: bool) -> Iterator[Registry]:
    """A copy of an initialised registry, empty or with a small instance, migrated only once."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.connection.driver_connection.deserialize(_database_image(filled=filled))
    try:
        yield Registry(engine)
    finally:
        engine.dispose()


def fill(change: Change) -> None:
    """A small instance: two members with a server each, a client, a management provider."""
    members.add_member_class(change, "GOV", "Government")
    for member, subsystem in ((OWNER, MANAGEMENT), (OTHER, CLIENT)):
        members.add_member(change, member, f"Member {member.member_code}")
        members.add_subsystem(change, subsystem)
    for server in (SERVER, OTHER_SERVER):
        servers.register_server(
            change,
            server,
            auth_certificate=auth_certificate(server),
            address=f"{server.server_code.lower()}.example",
        )
    servers.register_client(change, SERVER, MANAGEMENT)
    servers.register_client(change, OTHER_SERVER, CLIENT)
    provider.set_management_provider(change, MANAGEMENT)
    provider.set_management_certificate(change, lab().tsa_certificate.der)


def approve_trust_services(change: Change) -> None:
    """Approve the lab's CA, OCSP responder and time-stamping authority."""
    settings = trust_services.CaSettings(certificate_profile_info="FiVRK")
    ca = trust_services.add_approved_ca(change, lab().root.certificate.pem, settings)
    issuing = trust_services.add_intermediate_ca(change, ca.id, lab().ca_certificate.der)
    trust_services.add_ocsp_responder(
        change, issuing, "http://ocsp.example/", certificate=lab().ocsp_certificate.der
    )
    trust_services.add_tsa(change, lab().tsa_certificate.der, "http://tsa.example/")


def plain_node(home: Path, clock: MovingClock) -> CentralServerNode:
    """Open a node that serves plain HTTP on ports of its own, on loopback."""
    text = (
        '[distribution]\nhost = "127.0.0.1"\nhttp_port = 0\nhttps = false\n'
        '[registration_service]\nhost = "127.0.0.1"\nport = 0\n[management_service]\nport = 0\n'
        "[management_api]\nport = 0\nrequests_per_second = 1000\nrequests_per_minute = 10000\n"
    )
    return open_node(home, clock=clock, settings=parse_settings(text, home=home))


def filled_node(home: Path, clock: MovingClock) -> CentralServerNode:
    """Open a node with a small instance and without a token; nothing is migrated for it."""
    database = home / "db" / "registry.sqlite"
    database.parent.mkdir(mode=0o700)
    database.write_bytes(_database_image(filled=True))
    return plain_node(home, clock)


def copied_token(unlocked: SigningToken, directory: Path) -> SigningToken:
    """The unlocked token over a copy of its directory, without stretching the PIN again."""
    token = SigningToken.__new__(SigningToken)
    token._token = SoftwareToken(directory)
    token._secret = unlocked._secret
    token._keys = {}
    return token


def holding(token: SigningToken) -> TokenLogin:
    """A login that has taken place already."""
    return TokenLogin(token._token._directory, token)
