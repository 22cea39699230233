"""The management interface over real TLS, by the scenario that automation would run."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from postroad.adapters.system_clock import SystemClock
from postroad.centralserver.app import serve
from postroad.centralserver.node import open_node
from postroad.centralserver.registry.administrators import add_administrator, parse_roles
from postroad.centralserver.settings import parse_settings
from postroad.centralserver.token_login import TokenLogin
from postroad.crypto.certificates import Certificate
from postroad.trustlab.authority import TrustLab
from support.central_server import PIN
from support.hurl import run_file
from support.management_api import HUMAN_ROLES, PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from postroad.centralserver.app import ServedAddresses
    from postroad.centralserver.node import CentralServerNode

SCENARIO = Path(__file__).parents[1] / "data" / "hurl" / "found-an-instance.hurl"


@contextlib.asynccontextmanager
async def served(node: CentralServerNode) -> AsyncIterator[ServedAddresses]:
    loop = asyncio.get_running_loop()
    stop, ready = asyncio.Event(), loop.create_future()
    login = TokenLogin(node.settings.token_path)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        tasks.create_task(serve(node, login, stop=stop, ready=ready.set_result))
        try:
            yield await ready
        finally:
            stop.set()


@pytest.fixture
def node(tmp_path: Path) -> CentralServerNode:
    """A node without an instance, with an administrator, in a hurry to publish."""
    text = (
        "[configuration]\ngeneration_interval = 0.5\n"
        '[distribution]\nhost = "127.0.0.1"\nhttp_port = 0\nhttps = false\n'
        '[registration_service]\nhost = "127.0.0.1"\nport = 0\n[management_service]\nport = 0\n'
        "[management_api]\nport = 0\n"
    )
    node = open_node(tmp_path, clock=SystemClock(), settings=parse_settings(text, home=tmp_path))
    with node.changing("tester") as change:
        add_administrator(change, "admin", PASSWORD, parse_roles(HUMAN_ROLES))
    return node


def certificate_files(folder: Path) -> Path:
    lab = TrustLab.create(at=datetime.now(UTC))  # noqa: TID251 - the real server has the real clock
    folder.mkdir()
    (folder / "ca.pem").write_bytes(lab.root.certificate.pem)
    (folder / "ocsp.pem").write_bytes(lab.ocsp_certificate.pem)
    (folder / "tsa.pem").write_bytes(lab.tsa_certificate.pem)
    return folder


def test_an_instance_is_founded_by_http_alone(node: CentralServerNode, tmp_path: Path) -> None:
    async def run() -> None:
        async with served(node) as addresses:
            before = await shown_certificate(addresses.registration_port)
            variables = {
                "central": f"https://127.0.0.1:{addresses.api_port}",
                "public": f"http://127.0.0.1:{addresses.http_port}",
                "username": "admin",
                "password": PASSWORD,
                "pin": PIN,
            }
            files = certificate_files(tmp_path / "certificates")
            steps = await asyncio.to_thread(run_file, SCENARIO, variables, files=files)
            failures = [f"{step.entry.line}: {step.failure}" for step in steps if step.failure]
            assert failures == []
            after = await shown_certificate(addresses.registration_port)
            assert before != after
            pinned = Certificate.from_pem_or_der(
                node.settings.management_certificate_path.read_bytes()
            )
            assert after == pinned.der

    asyncio.run(run())
    node.close()
    told = node.settings.audit_log_path.read_text()
    assert '"event": "Initialize central server"' in told
    assert '"event": "Log in user failed"' in told
    for secret in (PIN, PASSWORD):
        assert secret not in told


async def shown_certificate(port: int | None) -> bytes:
    """The certificate (DER) that a port shows to a new connection."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ssl.SSLError, OSError):
        await writer.wait_closed()
    return shown


def test_the_port_speaks_tls_and_bounds_request_heads(node: CentralServerNode) -> None:
    async def run() -> tuple[int, type[BaseException] | None]:
        async with served(node) as addresses:
            base = f"127.0.0.1:{addresses.api_port}"
            plain: type[BaseException] | None = None
            async with httpx.AsyncClient(verify=False) as client:
                try:
                    await client.get(f"http://{base}/")
                except httpx.TransportError as error:
                    plain = type(error)
                headers = {f"x-{number}": "a" * 1000 for number in range(100)}
                large = await client.get(f"https://{base}/", headers=headers)
            return large.status_code, plain

    status, plain = asyncio.run(run())
    node.close()
    assert plain is not None
    assert status == 400


def test_the_interface_can_be_left_closed(node: CentralServerNode) -> None:
    closed = msgspec.structs.replace(
        node.settings,
        management_api=msgspec.structs.replace(node.settings.management_api, enabled=False),
    )
    node.close()
    shut = open_node(node.settings.home_path, settings=closed)

    async def run() -> ServedAddresses:
        async with served(shut) as addresses:
            return addresses

    assert asyncio.run(run()).api_port is None
    shut.close()
    assert not closed.api_key_path.exists()
