"""The configuration proxy over real ports: a source, the proxy, and a Security Server's client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from postroad.adapters.http_client import HttpClient
from postroad.adapters.system_clock import SystemClock
from postroad.adapters.web_server import open_listener, port_of, web_server
from postroad.centralserver.distribution import distribution_application
from postroad.cli.confproxy import command
from postroad.configurationproxy.publishing import published
from postroad.configurationproxy.settings import load_settings
from postroad.errors import PostroadError
from postroad.globalconf.anchor import fingerprint
from postroad.globalconf.federation import AllowedFederations
from postroad.globalconf.stored import load
from postroad.securityserver.background import UnverifiedWeb
from postroad.securityserver.confclient import ConfigurationClient
from support.configuration_client import read_tree
from support.globalconf import Instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from postroad.ports import HttpFetcher
    from postroad.securityserver.confclient import PollReport

PIN = "canary-pin-4711"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in opened]


@contextlib.asynccontextmanager
async def source_served(directory: Path) -> AsyncIterator[Instance]:
    """An instance whose files are served as its Central Server serves them."""
    clock = SystemClock()
    with open_listener("127.0.0.1", 0) as listener:
        instance = Instance(address=f"127.0.0.1:{port_of(listener)}")
        instance.publish(clock.now())
        for path, content in instance.files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(content)
        server = web_server(distribution_application(directory, clock, bytes))
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            yield instance
        finally:
            server.should_exit = True
            await task


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSTROAD_CONFPROXY_PIN", PIN)
    monkeypatch.setenv("POSTROAD_CONFPROXY_HOME", str(tmp_path / "confproxy"))
    return tmp_path / "confproxy"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@contextlib.contextmanager
def process(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(
        [sys.executable, "-m", "postroad", "confproxy", "run", "--home", str(home)],
        env={**os.environ, "POSTROAD_CONFPROXY_PIN": PIN},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0


async def poll(home: Path, fetcher: HttpFetcher) -> PollReport:
    return await ConfigurationClient(
        anchor_path=home / "configuration-anchor.xml",
        directory=home / "globalconf",
        fetcher=fetcher,
        clock=SystemClock(),
        allowed=AllowedFederations(),
    ).run_once()


async def status_of(port: int, target: str) -> int:
    """The status of one request, written byte for byte: clients would tidy some targets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1])


async def is_published(settings_home: Path) -> None:
    settings = load_settings(settings_home)
    async with asyncio.timeout(20):
        while len(published(settings.public_path / "PX")) < len(settings.versions):
            await asyncio.sleep(0.05)


NOT_FOUND = (
    "/PX/conf?version=7",
    "/PX/conf?version=1",
    "/NOBODY/conf",
    "/PX/conf-v6",
    "/PX",
    "/PX/conf/",
    "/../confproxy.toml",
    "/PX/../../confproxy.toml",
    "/PX/1772366400000/../conf-v6",
    "/PX/1772366400000/%2e%2e/conf-v6",
    "/PX/1772366400000/..%2fconf-v6",
    "/PX/1772366400000/..%2f..%2f..%2fconfproxy.toml",
    "/%2e%2e/conf",
    "/PX/1772366400000/TEST",
    "/PX/1772366400000/TEST/x%00",
    "/PX/1772366400000/" + "a/" * 40 + "b",
    "/PX/conf?version=9",
)


def test_a_security_server_lives_on_a_proxy(home: Path, tmp_path: Path) -> None:
    """From the operator's commands to a configuration that counts; http, https and back again."""

    async def story() -> None:
        (tmp_path / "source").mkdir()
        async with source_served(tmp_path / "source") as source:
            http_port, https_port = free_ports(2)
            address = f"127.0.0.1:{http_port}"
            ports = ("--http-port", http_port, "--https-port", https_port)
            run("init", address, "--host", "127.0.0.1", *ports)
            (tmp_path / "source.xml").write_bytes(source.anchor().encode())
            made = run("create-instance", "PX", tmp_path / "source.xml")
            assert fingerprint(source.anchor().encode()) in made
            run("add-signing-key", "PX", "--algorithm", "EC")
            server = tmp_path / "server"
            server.mkdir()
            anchor = server / "configuration-anchor.xml"
            shown = run("generate-anchor", "PX", "-f", anchor)
            assert fingerprint(anchor.read_bytes()) in shown
            secret = home / "public" / "PX" / "conf-v9"
            with process(home):
                await is_published(home)
                secret.symlink_to(home / "confproxy.toml")
                http = HttpClient()
                try:
                    report = await poll(server, http)
                    assert report.own.error is None
                    assert report.own.version == 6
                    configuration = load(read_tree(server / "globalconf", 10_000_000))
                    configuration.ensure_valid(SystemClock().now())
                    anchor.write_bytes(
                        anchor.read_bytes().replace(
                            f"https://{address}".encode(),
                            f"https://127.0.0.1:{https_port}".encode(),
                        )
                    )
                    assert (await poll(server, UnverifiedWeb(http))).own.error is None
                    statuses = [await status_of(http_port, target) for target in NOT_FOUND]
                    assert set(statuses) == {404}
                    assert await status_of(http_port, "/PX/conf") == 200
                finally:
                    http.close()
            said = run("view-conf", "PX")
            assert f"http://{address}/PX/conf" in said
            assert "Instance identifier: TEST" in said
            assert "version 6: 2 parts" in said
            assert PIN not in said

    asyncio.run(story())


def test_the_commands_update_once_rotate_keys_and_say_what_fails(
    home: Path, tmp_path: Path
) -> None:
    async def story() -> None:
        (tmp_path / "source").mkdir()
        async with source_served(tmp_path / "source") as source:
            run("init", "proxy.example", "--https-port", "0")
            (tmp_path / "source.xml").write_bytes(source.anchor().encode())
            run("create-instance", "PX", tmp_path / "source.xml", "--federations", "none")
            first = run("add-signing-key", "PX", "--algorithm", "EC").split()[2].rstrip(":")
            second = run("add-signing-key", "PX", "--algorithm", "EC").split()[2].rstrip(":")
            done = await asyncio.to_thread(run, "update", "PX")
            assert done.count("valid until") == 5
            run("activate-signing-key", "PX", second)
            run("del-signing-key", "PX", first)
            assert first not in run("view-conf", "--all")
        with pytest.raises(PostroadError):
            await asyncio.to_thread(run, "update", "PX")

    asyncio.run(story())


def test_a_proxy_without_its_pin_does_not_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("init", "proxy.example")
    monkeypatch.delenv("POSTROAD_CONFPROXY_PIN")
    with pytest.raises(PostroadError, match="POSTROAD_CONFPROXY_PIN"):
        run("run")
    assert home.exists()
