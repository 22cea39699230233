"""`postroad server token | key | csr | cert` against a running signer with a hardware token."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from postroad.adapters.signer_client import SignerClient
from postroad.adapters.signer_protocol import CertificateStatus, RenewalArgument
from postroad.cli.server import command
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.settings import load_settings
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.profiles import CertificateKind
from support.softhsm import LIBRARY, PIN, SoftHsm

T = TypeVar("T")
ANCHOR = Path(__file__).parents[1] / "data/reference/anchors/configuration-anchor1.xml"
SOFT_PIN = "canary-soft-pin-17"
EJBCA = "ee.ria.xroad.common.certificateprofile.impl.EjbcaCertificateProfileInfoProvider"
SCRIPT = """
import sys
from pathlib import Path
from postroad.cli import server_signer
from postroad.securityserver.settings import load_settings
settings = load_settings(Path(sys.argv[1]))
if sys.argv[2] == "signer":
    server_signer.run_signer(settings, None)
else:
    server_signer.run_device(settings, sys.argv[2])
"""
DEVICE = f"""
[tokens]
signing_key_algorithm = "EC-P384"

[devices.hsm]
library = "{LIBRARY}"
token_id_format = "{{label}}"
"""


class Server:
    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(command, [*arguments, "--home", str(self.home)])

    def ok(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    def refused(self, *arguments: str) -> ConfigurationError:
        error = self.run(*arguments).exception
        assert isinstance(error, ConfigurationError), error
        return error

    def ask(self, work: Callable[[SignerClient], Awaitable[T]]) -> T:
        async def call() -> T:
            client = SignerClient(load_settings(self.home).signer_socket)
            try:
                return await work(client)
            finally:
                client.close()

        return asyncio.run(call())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.add_token("seal")
    server = Server(tmp_path / "server")
    server.ok("init", "--owner", "EE/GOV/1", "--code", "SS1", "--anchor", str(ANCHOR))
    with (server.home / "server.toml").open("a") as settings:
        settings.write(DEVICE)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(server.home), what],
            env=hsm.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for what in ("signer", "hsm")
    ]
    try:
        until = time.monotonic() + 20
        while " seal " not in server.run("token", "list").output:
            assert time.monotonic() < until
            time.sleep(0.05)
        (tmp_path / "soft").write_text(SOFT_PIN)
        (tmp_path / "hard").write_text(PIN)
        server.ok("token", "init", "--pin-file", str(tmp_path / "soft"))
        server.ok("token", "login", "--token", "seal", "--pin-file", str(tmp_path / "hard"))
        yield server
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def test_the_life_of_a_key_in_a_hardware_token(server: Server, tmp_path: Path) -> None:
    key_id = server.ok(
        "key", "generate", "--label", "seal 1", "--usage", "sign", "--token", "seal"
    ).strip()
    listed = server.ok("key", "list")
    assert key_id in listed
    assert "EC-P384" in listed  # what the settings say for signing keys
    fields = server.ok(
        "csr", "--usage", "sign", "--profile", EJBCA, "--member-name", "x", "--show-fields"
    )
    assert [line.split()[:2] for line in fields.splitlines()[2:]] == [
        ["C", "EE"],
        ["O", "GOV"],
        ["CN", "1"],
    ]
    out = tmp_path / "csr.der"
    request = ("csr", "--key", "seal 1", "--profile", EJBCA, "--member-name", "x")
    refused = server.refused(*request, "--usage", "auth", "--out", str(out))
    assert "software token" in refused.message
    stranger = ("--member", "EE/GOV/9", "--usage", "sign", "--out", str(out))
    assert "no client" in server.refused(*request, *stranger).message
    server.ok(*request, "--usage", "sign", "--format", "der", "--out", str(out))
    made = x509.load_der_x509_csr(out.read_bytes())
    assert made.is_signature_valid
    assert made.subject.rfc4514_string() == "CN=1,O=GOV,C=EE"
    request_id = server.ok("csr", "list").splitlines()[1].split()[0]
    server.ok("csr", "again", request_id[:12], "--out", str(tmp_path / "again.pem"))
    again = x509.load_pem_x509_csr((tmp_path / "again.pem").read_bytes())
    assert again.subject == made.subject
    certificate_hash = certify(server, out.read_bytes(), "EE/GOV/1")
    assert len(server.ok("csr", "list").splitlines()) == 1
    second = server.refused(*request, "--usage", "sign", "--out", str(out))
    assert "without a certificate" in second.message
    assert certificate_hash[:16] in server.ok("cert", "list")
    shown = server.ok("cert", "show", certificate_hash[:16])
    assert "possible:          ACTIVATE, DELETE" in shown
    assert "BEGIN CERTIFICATE" in shown
    server.ok("cert", "delete", certificate_hash[:16], "--yes")
    server.ok("key", "rename", "seal 1", "the old seal")
    assert "the old seal" in server.ok("key", "list")
    server.ok("key", "delete", "the old seal", "--yes")
    assert key_id not in server.ok("key", "list")


def certify(server: Server, request: bytes, member: str | None) -> str:
    from datetime import UTC, datetime

    lab = TrustLab.create(at=datetime.now(UTC))  # noqa: TID251 - a real process has real time
    kind = CertificateKind.AUTH if member is None else CertificateKind.SIGN
    certificate = lab.sign_request(request, kind)
    record = server.ask(lambda client: client.import_certificate(certificate.der, member=member))
    return record.hash


def test_registered_authentication_certificate_is_deleted_by_steps_only(
    server: Server, tmp_path: Path
) -> None:
    server.ok("key", "generate", "--label", "tls", "--usage", "auth", "--algorithm", "EC-P256")
    out = tmp_path / "csr.der"
    server.ok(
        *("csr", "--key", "tls", "--usage", "auth", "--profile", EJBCA, "--member-name", "x"),
        *("--format", "der", "--out", str(out)),
    )
    found = certify(server, out.read_bytes(), None)
    status = CertificateStatus.REGISTERED
    server.ask(lambda client: client.set_certificate(found, active=True, status=status))
    assert "unregister" in server.refused("cert", "delete", found, "--yes").message
    assert "--force" in server.refused("key", "delete", "tls", "--yes").message
    server.ok("cert", "mark-deleted", found)
    assert "deletion in progress" in server.ok("cert", "list")
    server.ok("cert", "delete", found, "--yes")


def test_renewal_is_shown(server: Server, tmp_path: Path) -> None:
    server.ok("key", "generate", "--label", "s", "--usage", "sign")
    out = tmp_path / "csr.der"
    server.ok(
        *("csr", "--key", "s", "--usage", "sign", "--profile", EJBCA, "--member-name", "x"),
        *("--format", "der", "--out", str(out)),
    )
    found = certify(server, out.read_bytes(), "EE/GOV/1")
    renewal = RenewalArgument(hash=found, renewed_by="AB" * 32, renewal_error="the CA said no")
    server.ask(lambda client: client.set_renewal(renewal))
    shown = server.ok("cert", "show", found)
    assert "AB" * 32 in shown
    assert "the CA said no" in shown


def test_keys_of_another_server_are_taken_over_only_while_this_one_is_stopped(
    server: Server, tmp_path: Path
) -> None:
    pin = ("--pin-file", str(tmp_path / "soft"))
    assert "stop the server" in server.refused("import-keyconf", str(tmp_path), *pin).message


def test_tokens_are_listed_renamed_and_told_apart(server: Server) -> None:
    server.ok("token", "rename", "--token", "seal", "the ministry's seal")
    listed = server.ok("token", "list")
    assert "the ministry's seal" in listed
    status = server.ok("token", "status", "--token", "the ministry's seal")
    assert "logged in" in status
    assert "GENERATE_KEY" in status
    assert server.refused("token", "status", "--token", "x").code is FaultCode.TOKEN_NOT_FOUND
    server.ok("token", "logout", "--token", "seal")
    refused = server.refused("key", "generate", "--label", "k", "--token", "seal")
    assert refused.code is FaultCode.TOKEN_NOT_ACTIVE
    assert "away" in server.refused("token", "forget", "seal", "--yes").message
