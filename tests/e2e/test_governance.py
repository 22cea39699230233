"""Servers ask for what they need, and read the outcome in the published configuration."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from postroad.adapters.http_client import HttpClient
from postroad.adapters.signer_client import SignerClient
from postroad.adapters.signer_protocol import KeyUsage
from postroad.crypto.certificates import Certificate
from postroad.demo.consumer import call
from postroad.demo.ecosystem import Ecosystem
from postroad.demo.equipment import KeyMaker
from postroad.demo.evidence import load_stored
from postroad.demo.layout import CONSUMER, PROVIDER, Party
from postroad.demo.processes import wait_until
from postroad.globalconf.view import GlobalConfiguration
from postroad.identifiers import ClientId, MemberId, SecurityServerId, SubsystemId
from postroad.management.envelope import SOAP_TYPE, encode_message
from postroad.management.requests import ClientDeletion, ManagementRequest
from postroad.messages.faults import Fault
from postroad.messages.soap import SoapFault
from postroad.messages.soap_reading import read_soap
from postroad.securityserver.own_proxy import open_own_proxy
from postroad.securityserver.serverconf.snapshot import ServerConfView, load_snapshot
from postroad.securityserver.settings import load_settings
from postroad.trustlab.home import LabHome
from support.operating import operate, typed

pytestmark = pytest.mark.xdist_group("ecosystem")

SECOND = SubsystemId("DEMO", "GOV", "1001", "second")
HEIR = MemberId("DEMO", "COM", "2001")
INHERITED = SecurityServerId("DEMO", "COM", "2001", "SS1")


@pytest.fixture(scope="module")
def ecosystem(shared_ecosystem: Ecosystem) -> Ecosystem:
    return shared_ecosystem


class Operator:
    """Types commands at one party's server, and watches the configuration it has stored."""

    def __init__(self, ecosystem: Ecosystem, party: Party = CONSUMER) -> None:
        self.ecosystem = ecosystem
        self.layout = ecosystem.layout
        self.party = party
        self.home = self.layout.server_home(party)

    def refused(self, *arguments: object) -> str:
        result = typed("server", *arguments, "--home", self.home)
        assert result.returncode != 0, result.stdout
        return result.stderr

    def type(self, *arguments: object) -> str:
        return operate(self.layout, self.party, *arguments)

    def asks(self, *arguments: object) -> None:
        """Send a request that is taken in and approved; its outcome is published at once."""
        assert "submitted as management request" in self.type(*arguments)
        self.ecosystem.publish()

    @property
    def server_id(self) -> SecurityServerId:
        return load_settings(self.home).server_id

    @property
    def configuration(self) -> GlobalConfiguration:
        """As the server has downloaded it."""
        return load_stored(self.layout, self.party)

    def sees(self, what: str, told: Callable[[GlobalConfiguration], bool]) -> None:
        """Wait until the downloaded configuration tells it."""
        wait_until(what, lambda: told(self.configuration))

    def shows(self, client: ClientId, status: str) -> None:
        """Wait until the client has that status."""
        path = load_settings(self.home).snapshot_path

        def has_status() -> bool:
            found = ServerConfView(load_snapshot(path)).client(client)
            return found is not None and found.status == status

        wait_until(f"{client} {status}", has_status)

    def declare(self, tmp_path: Path, client: str) -> None:
        file = tmp_path / "more.toml"
        file.write_text(f'[[client]]\nid = "{client}"\nconnection = "HTTP"\n')
        self.type("apply", file)


@pytest.fixture
def operator(ecosystem: Ecosystem) -> Operator:
    return Operator(ecosystem)


def asks_and_gets_status(ecosystem: Ecosystem) -> tuple[int, str | None, str]:
    answer = call(ecosystem.layout.client_url(CONSUMER), "GET", "/persons/1")
    return answer.status, answer.fault_code, answer.fault_message


def test_a_client_comes_rests_and_goes(operator: Operator, tmp_path: Path) -> None:
    second, server = SECOND.encoded(), operator.server_id
    operator.declare(tmp_path, second)
    operator.asks("client", "register", second, "--name", "The second")
    operator.shows(SECOND, "registered")
    assert operator.configuration.name_of(SECOND) == "The second"
    assert "is registered: it can't be registered" in operator.refused("client", "register", second)

    operator.asks("client", "disable", second)
    operator.shows(SECOND, "disabled")
    assert not operator.configuration.is_registered(SECOND, server)

    operator.asks("client", "unregister", second)
    operator.shows(SECOND, "deletion in progress")
    wait_until("the outcome", lambda: "waits" not in operator.type("requests"))
    operator.type("client", "delete", second, "--yes")
    assert second not in operator.type("client", "list")


def test_an_address_changes_by_the_owners_request(operator: Operator) -> None:
    operator.asks("change-address", "ss1.example")
    operator.sees("the address", lambda conf: conf.address_of(operator.server_id) == "ss1.example")
    assert "the address is ss1.example already" in operator.refused("change-address", "ss1.example")


def test_a_server_in_maintenance_is_not_called(ecosystem: Ecosystem) -> None:
    provider = Operator(ecosystem, PROVIDER)
    provider.asks("maintenance", "on", "--message", "Back at noon")

    def is_told() -> bool:
        _status, fault, message = asks_and_gets_status(ecosystem)
        return fault is not None and "maintenance" in fault and "Back at noon" in message

    wait_until("the maintenance", is_told)
    assert "already" in provider.refused("maintenance", "on")
    provider.asks("maintenance", "off")
    wait_until("the end of it", lambda: asks_and_gets_status(ecosystem)[0] == 200)
    governor = Operator(ecosystem, ecosystem.layout.cast.governor)
    assert "hosts the management services" in governor.refused("maintenance", "on")


async def make_key(operator: Operator, usage: KeyUsage, owner: MemberId) -> str:
    layout, lab = operator.layout, LabHome(operator.layout.lab_home).load()
    signer = SignerClient(operator.ecosystem.settings(operator.party).signer_socket)
    party = replace(operator.party, owner=owner)
    try:
        algorithm = operator.ecosystem.options.algorithm
        return await KeyMaker(layout, party, signer, algorithm, lab.profile).make_key(usage)
    finally:
        signer.close()


def test_an_authentication_certificate_comes_and_goes(operator: Operator) -> None:
    digest = asyncio.run(make_key(operator, KeyUsage.AUTHENTICATION, operator.server_id.owner))
    operator.asks("register", operator.layout.address(CONSUMER.number), "--cert", digest)
    sha256 = bytes.fromhex(digest)
    operator.sees("the certificate", lambda conf: conf.has_auth_certificate(sha256))
    operator.asks("cert", "unregister", digest)
    operator.sees("its end", lambda conf: not conf.has_auth_certificate(sha256))
    assert "deletion in progress" in operator.type("cert", "list")


def test_a_server_gets_another_owner_and_goes_on(operator: Operator, tmp_path: Path) -> None:
    ecosystem, heir = operator.ecosystem, HEIR.encoded()
    central = operator.layout.central_home
    added = typed("central", "member", "add", heir, "Heirs Ltd", "--home", central)
    assert added.returncode == 0, added.stderr
    operator.declare(tmp_path, heir)
    asyncio.run(make_key(operator, KeyUsage.SIGNING, HEIR))
    former = operator.server_id
    operator.asks("client", "register", heir)
    operator.shows(HEIR, "registered")

    operator.asks("change-owner", heir)
    operator.sees("the new owner", lambda conf: conf.server_exists(INHERITED))
    wait_until("the new name", lambda: load_settings(operator.home).server_id == INHERITED)
    wait_until("an exchange", lambda: asks_and_gets_status(ecosystem)[0] == 200)
    operator.asks("client", "rename", CONSUMER.subsystem.encoded(), "Questions")
    operator.sees("the name", lambda conf: conf.name_of(CONSUMER.subsystem) == "Questions")

    program = ecosystem.servers[CONSUMER]
    program.stop()
    program.start()
    wait_until("the server under its new name", lambda: _answers(ecosystem), patience=30)
    assert not operator.configuration.server_exists(former)
    assert operator.configuration.is_registered(CONSUMER.owner, INHERITED)


def _answers(ecosystem: Ecosystem) -> bool:
    try:
        return asks_and_gets_status(ecosystem)[0] == 200
    except Exception:  # noqa: BLE001 - it is starting
        return False


async def exchanged(
    operator: Operator, request: ManagementRequest, sender: ClientId, query_id: str
) -> Fault:
    """The fault that a message to the management services gets, sent as the server's own."""
    provider = operator.layout.cast.governor.subsystem
    soap = encode_message(
        request,
        sender=sender,  # a subsystem where a member belongs
        provider=provider,
        query_id=query_id,
    )
    http = HttpClient()
    try:
        settings = operator.ecosystem.settings(operator.party)
        answer = await open_own_proxy(settings, http).post(SOAP_TYPE, soap)
    finally:
        http.close()
    document = read_soap(answer)
    assert isinstance(document, SoapFault), answer
    return document.fault


def test_nobody_asks_for_what_is_not_theirs(operator: Operator) -> None:
    """A message that the exchange lets through is still judged by the Central Server."""
    owner = operator.server_id.owner
    stolen = ClientDeletion(PROVIDER.server_id, PROVIDER.subsystem)
    fault = asyncio.run(exchanged(operator, stolen, owner, "stolen"))
    assert (fault.code, fault.string) == ("invalid_request", "Sender does not match server owner.")
    named_otherwise = asyncio.run(exchanged(operator, stolen, PROVIDER.owner, "named"))
    assert named_otherwise.code == "server.clientproxy.unknown_member"


def test_only_owners_of_servers_may_call_the_management_services(operator: Operator) -> None:
    own = ClientDeletion(operator.server_id, CONSUMER.subsystem)
    fault = asyncio.run(exchanged(operator, own, CONSUMER.subsystem, "subsystem"))
    assert fault.code == "server.serverproxy.access_denied"
    assert operator.configuration.is_registered(CONSUMER.subsystem, operator.server_id)


def test_only_the_server_of_the_management_services_reaches_them(operator: Operator) -> None:
    """Port 4002 takes unsigned deletions: it must not even shake hands with anybody else."""
    host = operator.layout.address(2)
    stranger = operator.home / "tls" / "internal.pem"
    for certificate in ((), ("-cert", stranger, "-key", stranger)):
        shaken = subprocess.run(
            ["openssl", "s_client", "-connect", f"{host}:4002", "-ign_eof", *certificate],
            input=b"POST /managementservice/manage/ HTTP/1.1\r\nHost: x\r\n\r\n",
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert b"HTTP/1.1" not in shaken.stdout
        assert b"alert" in shaken.stderr
    pinned = operator.layout.management_client_certificate.read_bytes()
    assert (
        Certificate.from_pem_or_der(pinned).der
        != Certificate.from_pem_or_der(
            stranger.read_bytes()[stranger.read_bytes().index(b"-----BEGIN CERT") :]
        ).der
    )
