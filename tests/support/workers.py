"""Two whole workers in one process, with what the other processes of their servers would write."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from postroad.adapters.files import write_atomic
from postroad.globalconf.parts import PartMetadata
from postroad.globalconf.stored import StoredPart, encode_layout
from postroad.securityserver.serverconf.snapshot import (
    FORMAT,
    ServerConfSnapshot,
    store_snapshot,
)
from postroad.securityserver.settings import parse_settings
from postroad.securityserver.worker import Worker
from support.exchange import Server, World

CONSUMER_HOST = "127.0.41.11"
PROVIDER_HOST = "127.0.41.12"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((CONSUMER_HOST, 0))
        return int(probe.getsockname()[1])


def publish(world: World, server: Server) -> None:
    """Write what the other processes of a server keep up to date for its workers."""
    shared = world.globalconf.shared("TEST")
    assert shared is not None
    parts = {
        "shared-params.xml": StoredPart(shared.encode(6), PartMetadata(version=6)),
        "private-params.xml": StoredPart(
            world.globalconf.private.encode(6), PartMetadata(version=6)
        ),
    }
    for name, data in encode_layout("TEST", [("TEST", parts)]).items():
        path = server.home / "globalconf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    for identity in (server.sign, server.auth):
        der = world.lab.ocsp(identity.certificate, at=world.clock.at)
        server.ocsp.store(identity.certificate, der)
    snapshot = ServerConfSnapshot(
        FORMAT, 1, server.id.encoded(), tuple(server.clients.values()), ()
    )
    store_snapshot(server.settings.snapshot_path, snapshot)


Story = Callable[[World, dict[str, Worker], dict[str, int]], Awaitable[None]]


def with_workers(
    tmp_path: Path,
    story: Story,
    *,
    more: str = "",
    prepare: Callable[[World], None] = lambda _world: None,
) -> None:
    """Run a story with both workers; ``more`` is added to their settings."""

    async def run() -> None:
        world = World(tmp_path)
        world.addresses = {"SS1": CONSUMER_HOST, "SS2": PROVIDER_HOST}
        world.configure()
        ports = {name: free_port() for name in ("http", "https", "peer", "ocsp")}
        async with asyncio.timeout(30), world:
            prepare(world)
            workers: dict[str, Worker] = {}
            for server, host in ((world.consumer, CONSUMER_HOST), (world.provider, PROVIDER_HOST)):
                server.settings = parse_settings(
                    f"""
                    [server]
                    identifier = "{server.id.encoded()}"
                    [client_proxy]
                    host = "{host}"
                    http_port = {ports["http"]}
                    https_port = {ports["https"]}
                    [server_proxy]
                    host = "{host}"
                    port = {ports["peer"]}
                    peer_port = {ports["peer"]}
                    ocsp_host = "{host}"
                    ocsp_port = {ports["ocsp"]}
                    peer_ocsp_port = {ports["ocsp"]}
                    {more}
                    """,
                    home=server.home,
                )
                publish(world, server)
                worker = Worker(server.settings, 0, signer=server.signer, message_log=server.log)
                await worker.start()
                workers[server.id.server_code] = worker
            try:
                await story(world, workers, ports)
            finally:
                for worker in workers.values():
                    await worker.stop()
                    worker.close()

    asyncio.run(run())
