"""The Central Server as a process: what participants get over real ports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from postroad.centralserver.app import serve
from postroad.centralserver.node import NewInstance, initialize_node
from postroad.centralserver.registry.sources import SourceType, load_anchor
from postroad.centralserver.settings import parse_settings
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.errors import ConfigurationError
from postroad.globalconf.anchor import Anchor
from postroad.globalconf.directory import verify_directory
from support.central_server import PIN, MovingClock, fill, holding, plain_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from postroad.centralserver.app import ServedAddresses
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.signing_keys import SigningToken

NEW = NewInstance(instance="DEV", address="127.0.0.1", pin=PIN, algorithm=KeyAlgorithm.EC)


@pytest.fixture(scope="module")
def central(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[CentralServerNode, SigningToken]:
    node = plain_node(tmp_path_factory.mktemp("central"), MovingClock())
    token = initialize_node(node, NEW, "tester")
    with node.changing("tester") as change:
        fill(change)
    node.generate(token)
    return node, token


@contextlib.asynccontextmanager
async def served(node: CentralServerNode, token: SigningToken) -> AsyncIterator[ServedAddresses]:
    loop = asyncio.get_running_loop()
    stop, ready = asyncio.Event(), loop.create_future()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
        tasks.create_task(serve(node, holding(token), stop=stop, ready=ready.set_result))
        try:
            yield await ready
        finally:
            stop.set()


def fetch(
    central: tuple[CentralServerNode, SigningToken], target: str, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """One request, written byte for byte: clients would tidy some of these targets."""

    async def exchange() -> bytes:
        async with served(*central) as addresses:
            reader, writer = await asyncio.open_connection("127.0.0.1", addresses.http_port)
            writer.write(
                f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    head, _separator, body = asyncio.run(exchange()).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(status.split(" ")[1]), headers, body


@pytest.mark.parametrize("name", ["internalconf", "externalconf"])
@pytest.mark.parametrize(
    ("query", "version"),
    [("", 2), ("?version=6", 6), ("?a=b&version=3", 3), ("?version=x", 2), ("?Version=6", 2)],
)
def test_a_directory_is_served_in_the_version_asked_for(
    central: tuple[CentralServerNode, SigningToken], name: str, query: str, version: int
) -> None:
    node, _token = central
    status, headers, body = fetch(central, f"/{name}{query}")
    assert status == 200
    assert headers["content-type"] == "application/octet-stream"
    with node.reading() as session:
        source = SourceType.INTERNAL if name == "internalconf" else SourceType.EXTERNAL
        anchor = Anchor.parse(load_anchor(session, source))
    found = verify_directory(body, anchor.sources[0].verification_certificates, at=node.clock.now())
    assert found.version == version


def test_the_management_services_are_described(
    central: tuple[CentralServerNode, SigningToken],
) -> None:
    status, headers, body = fetch(central, "/managementservices.wsdl")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/xml")
    assert b":0/managementservice/manage/" in body, "the port is that of the settings"
    assert fetch(central, "/managementservices.wsdl/")[0] == 404


def test_a_directory_is_never_cached(central: tuple[CentralServerNode, SigningToken]) -> None:
    _status, headers, _body = fetch(central, "/internalconf")
    assert headers["cache-control"] == "no-cache"
    assert headers["expires"] == "Sun, 01 Mar 2026 11:59:59 GMT"


@pytest.mark.parametrize(
    "target",
    [
        "/internalconf?version=7",
        "/internalconf?version=1",
        "/internalconf?version=06",
        "/internalconf?version=99999999999999999999",
        "/internalconf/",
        "/internalconf/x",
        "/INTERNALCONF",
        "/privateconf",
        "/",
        "/V6",
        "/V6/internalconf",
        "/V6/20260301120000000000000",
        "/V6/20260301120000000000000/",
        "/V6/20260301120000000000000/nothing.xml",
        "/V6/20260301120000000000000/../internalconf",
        "/V6/../../central.toml",
        "/V6/..%2f..%2fdb/registry.sqlite",
        "/V6/%2e%2e/x",
        "/V6/20260301120000000000000/..%2f..%2f..%2fdb%2fregistry.sqlite",
        "/V6/20260301120000000000000/%2e%2e",
        "/V6/20260301120000000000000/shared-params.xml%00",
        "/V6/20260301120000000000000/.hidden",
        "//V6/20260301120000000000000/shared-params.xml",
    ],
)
def test_anything_else_is_not_found(
    central: tuple[CentralServerNode, SigningToken], target: str
) -> None:
    status, headers, body = fetch(central, target)
    assert status == 404
    assert "expires" not in headers
    assert b"instance" not in body


@pytest.mark.parametrize("version", [2, 6])
def test_a_part_is_served_where_the_directory_says(
    central: tuple[CentralServerNode, SigningToken], version: int
) -> None:
    status, headers, body = fetch(central, f"/V{version}/20260301120000000000000/shared-params.xml")
    assert status == 200
    assert headers["content-type"].startswith("text/xml")
    assert "cache-control" not in headers
    assert "last-modified" in headers
    path = central[0].settings.public_path / f"V{version}" / "20260301120000000000000"
    assert body == (path / "shared-params.xml").read_bytes()


def test_a_large_part_is_streamed_whole(central: tuple[CentralServerNode, SigningToken]) -> None:
    stamp = central[0].settings.public_path / "V6" / "20260301120000000000000"
    content = os.urandom(300_000)
    (stamp / "large.bin").write_bytes(content)
    status, headers, body = fetch(central, "/V6/20260301120000000000000/large.bin")
    assert (status, headers["content-length"]) == (200, "300000")
    assert body == content


def test_a_link_out_of_the_directory_is_not_followed(
    central: tuple[CentralServerNode, SigningToken],
) -> None:
    node = central[0]
    stamp = node.settings.public_path / "V6" / "20260301120000000000000"
    (stamp / "link.xml").symlink_to(node.settings.home_path / "db" / "registry.sqlite")
    (stamp / "folder.xml").mkdir()
    for name in ("link.xml", "folder.xml"):
        assert fetch(central, f"/V6/20260301120000000000000/{name}")[0] == 404


@pytest.mark.parametrize("target", ["/internalconf", "/V6/20260301120000000000000/large.bin"])
def test_head_answers_with_the_headers_only(
    central: tuple[CentralServerNode, SigningToken], target: str
) -> None:
    stamp = central[0].settings.public_path / "V6" / "20260301120000000000000"
    (stamp / "large.bin").write_bytes(b"x" * 300_000)
    status, headers, body = fetch(central, target, "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(
    central: tuple[CentralServerNode, SigningToken], method: str
) -> None:
    status, headers, _body = fetch(central, "/internalconf", method)
    assert status == 405
    assert "GET" in headers["allow"]


def test_the_configuration_is_generated_regularly(
    central: tuple[CentralServerNode, SigningToken],
) -> None:
    node, token = central
    often = msgspec.structs.replace(
        node.settings,
        configuration=msgspec.structs.replace(
            node.settings.configuration, generation_interval=0.05
        ),
        backup=msgspec.structs.replace(node.settings.backup, automatic=False),  # asks the clock
    )

    async def run() -> None:
        loop, generated = asyncio.get_running_loop(), asyncio.Event()

        class Counting(MovingClock):
            moments = 0

            def now(self) -> datetime:
                self.moments += 1
                self.pass_time(seconds=1)
                if self.moments > 4:  # one is for the certificates at the start
                    loop.call_soon_threadsafe(generated.set)
                return self.at

        async with served(replace(node, settings=often, clock=Counting()), token):
            await generated.wait()

    asyncio.run(run())
    stamps = [path.name for path in (node.settings.public_path / "V6").iterdir()]
    assert {f"202603011200{second:02}000000000" for second in (2, 3, 4)} <= set(stamps)


def test_a_failing_generation_does_not_end_the_server(
    central: tuple[CentralServerNode, SigningToken],
) -> None:
    node, token = central
    (node.settings.home_path / "elsewhere").mkdir(exist_ok=True)
    empty = parse_settings(
        '[distribution]\nhost = "127.0.0.1"\nhttp_port = 0\nhttps = false\n'
        "[registration_service]\nenabled = false\n[management_service]\nenabled = false\n"
        '[central]\nnode_name = "node_without_keys"\n',
        home=node.settings.home_path / "elsewhere",
    )
    assert fetch((replace(node, settings=empty), token), "/internalconf")[0] == 404


def test_a_port_in_use_is_told(central: tuple[CentralServerNode, SigningToken]) -> None:
    node, token = central

    async def twice() -> None:
        async with served(node, token) as addresses:
            taken = msgspec.structs.replace(
                node.settings,
                distribution=msgspec.structs.replace(
                    node.settings.distribution, http_port=addresses.http_port
                ),
            )
            with pytest.raises(ConfigurationError, match="can't listen"):
                await serve(replace(node, settings=taken), holding(token), stop=asyncio.Event())

    asyncio.run(twice())


def test_https_is_served_with_the_nodes_certificate(tmp_path: Path) -> None:
    node = plain_node(tmp_path, MovingClock())
    settings = msgspec.structs.replace(
        node.settings,
        distribution=msgspec.structs.replace(node.settings.distribution, https=True, https_port=0),
    )
    node = replace(node, settings=settings)
    token = initialize_node(node, NEW, "tester")
    with node.changing("tester") as change:
        fill(change)
    node.generate(token)
    trusted = ssl.create_default_context(cafile=str(settings.tls_certificate_path))

    async def run() -> int:
        async with served(node, token) as addresses, httpx.AsyncClient(verify=trusted) as client:
            url = f"https://127.0.0.1:{addresses.https_port}/internalconf"
            return (await client.get(url)).status_code

    assert asyncio.run(run()) == 200
    node.close()


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "POSTROAD_CENTRAL_PIN": PIN,
        "POSTROAD_CENTRAL_HOME": str(tmp_path),
    }
    central = [sys.executable, "-m", "postroad", "central"]
    subprocess.run(
        [
            *central,
            "init",
            "DEV",
            "127.0.0.1",
            "--host",
            "127.0.0.1",
            "--http-port",
            "0",
            "--https-port",
            "0",
            "--registration-port",
            "0",
            "--management-port",
            "0",
            "--api-port",
            "0",
            "--algorithm",
            "EC",
        ],
        env=environment,
        check=True,
        capture_output=True,
        timeout=60,
    )
    with subprocess.Popen(
        [*central, "run"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving the configuration: http ")
        port = int(line.split()[4].rstrip(","))
        assert httpx.get(f"http://127.0.0.1:{port}/internalconf").status_code == 404
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "configuration_not_generated" in err
    assert PIN not in err


def test_an_unforeseen_error_does_not_end_the_server(
    central: tuple[CentralServerNode, SigningToken], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_node: CentralServerNode, _token: SigningToken) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("postroad.centralserver.node.CentralServerNode.generate", fail)
    assert fetch(central, "/internalconf?version=6")[0] == 200


def test_management_requests_are_heard_beside_the_configuration(
    central: tuple[CentralServerNode, SigningToken],
) -> None:
    async def run() -> list[int]:
        async with served(*central) as addresses, httpx.AsyncClient(verify=False) as client:
            statuses = []
            for port, path in (
                (addresses.registration_port, "/managementservice/"),
                (addresses.management_port, "/managementservice/manage/"),
            ):
                answer = await client.post(f"https://127.0.0.1:{port}{path}", content=b"")
                statuses.append(answer.status_code)
            return statuses

    assert asyncio.run(run()) == [415, 415]
