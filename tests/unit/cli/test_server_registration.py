"""`postroad server register`: what the operator is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from postroad.adapters.signer_protocol import CertificateStatus
from postroad.cli.server import command
from postroad.crypto.certificates import Certificate
from postroad.errors import RemoteFault
from postroad.securityserver.management_client import SubmittedRequest
from support.trust import SERVER, Ecosystem, SignerDouble, key_certificate

ECOSYSTEM = Ecosystem()
CERTIFICATE = ECOSYSTEM.lab.auth_certificate(SERVER).certificate


class Client:
    """A management client that remembers what it was asked."""

    outcome: SubmittedRequest | RemoteFault = SubmittedRequest(7)
    asked: list[tuple[Certificate, str]]
    tested = 0

    def __init__(self) -> None:
        self.asked = []

    async def register_auth_certificate(
        self, certificate: Certificate, address: str, _globalconf: object
    ) -> SubmittedRequest:
        self.asked.append((certificate, address))
        if isinstance(self.outcome, RemoteFault):
            raise self.outcome
        return self.outcome

    async def probe_registration_service(self, _globalconf: object) -> None:
        self.tested += 1


class Signer(SignerDouble):
    def close(self) -> None:
        pass


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    (tmp_path / "server.toml").write_text(f'[server]\nidentifier = "{SERVER.encoded()}"\n')
    monkeypatch.setenv("POSTROAD_SERVER_HOME", str(tmp_path))
    client = Client()

    @contextmanager
    def opened(_settings: object, _signer: object) -> Iterator[Client]:
        yield client

    key = key_certificate(
        CERTIFICATE.der, usage="AUTHENTICATION", status=CertificateStatus.SAVED.value
    )
    globalconf = ECOSYSTEM.globalconf()
    places = {
        "postroad.adapters.signer_client.SignerClient": lambda _socket: Signer(key),
        "postroad.securityserver.globalconf_files.load_globalconf": lambda _home: globalconf,
        "postroad.securityserver.management_client.opened_management_client": opened,
    }
    for place, double in places.items():
        monkeypatch.setattr(place, double)
    return client


def register(*arguments: str) -> str:
    result = CliRunner().invoke(command, ["register", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_number_of_the_request_is_told(client: Client) -> None:
    assert "management request 7" in register("ss1.example")
    assert client.asked == [(CERTIFICATE, "ss1.example")]


def test_a_request_that_waits_already_is_no_failure(client: Client) -> None:
    client.outcome = SubmittedRequest(None)
    assert "waits for approval" in register("ss1.example", "--cert", CERTIFICATE.sha256.hex()[:12])


def test_a_test_registers_nothing(client: Client) -> None:
    assert "answers registrations" in register("ss1.example", "--test")
    assert (client.asked, client.tested) == ([], 1)


def test_a_refusal_is_the_central_servers_own(client: Client) -> None:
    client.outcome = RemoteFault("invalid_request", "Sender does not match server owner.")
    with pytest.raises(RemoteFault, match="Sender does not match"):
        register("ss1.example")
