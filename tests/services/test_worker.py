"""Two whole workers in one process: files on disk in, exchanges over the real ports out."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest
import structlog

from postroad.adapters.files import write_atomic
from postroad.adapters.http_client import HttpClient
from postroad.adapters.http_exchange import Request, Responder
from postroad.adapters.logs import configure_logging
from postroad.securityserver.internal_tls import load_internal_identity
from postroad.securityserver.worker import Worker
from support.exchange import CLIENT, REGISTER, SERVICE, TARGET, World
from support.workers import CONSUMER_HOST, publish, with_workers


async def fetch(url: str, client: HttpClient, method: str = "GET", body: bytes = b"") -> bytes:
    response = await client.fetch(
        method, url, headers=(("X-Road-Client", CLIENT.encoded()),), body=body
    )
    assert response.status == 200, response.body
    return response.body


def test_a_request_passes_two_workers(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        url = f"http://{CONSUMER_HOST}:{ports['http']}{TARGET}"
        assert await fetch(url, world.client, "POST", b"x" * 200_000) == b"hello"
        assert await fetch(url, world.client) == b"hello"
        assert len(world.consumer.log.records) == len(world.provider.log.records) == 4

    with_workers(tmp_path, story)


def test_a_withdrawn_right_counts_at_the_next_look(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        url = f"http://{CONSUMER_HOST}:{ports['http']}{TARGET}"
        assert await fetch(url, world.client) == b"hello"
        world.offer(endpoint=("PUT", "**"))
        publish(world, world.provider)
        await workers["SS2"].snapshots.refresh()
        answer = await world.client.fetch(
            "GET", url, headers=(("X-Road-Client", CLIENT.encoded()),)
        )
        assert answer.header("X-Road-Error") == "server.serverproxy.access_denied"

    with_workers(tmp_path, story)


def test_broken_configuration_leaves_the_former_state_in_place(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        (world.provider.home / "globalconf" / "instance-identifier").write_bytes(b"")
        write_atomic(world.provider.settings.snapshot_path, b"junk")
        await workers["SS2"].snapshots.refresh()
        assert set(workers["SS2"].snapshots.problems) == {"globalconf", "serverconf"}
        url = f"http://{CONSUMER_HOST}:{ports['http']}{TARGET}"
        assert await fetch(url, world.client) == b"hello"

    with_workers(tmp_path, story)


def test_the_server_port_opens_when_a_key_is_lent(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        worker = workers["SS2"]
        assert worker._peer_port is not None
        assert worker._peer_port.port == ports["peer"]
        assert worker._find_ocsp(world.provider.auth.certificate.sha256) is not None
        assert worker._find_ocsp(bytes(20)) is None

    with_workers(tmp_path, story)


def test_renewing_both_authentication_certificates_drops_no_exchange(tmp_path: Path) -> None:
    """The new certificates are registered beside the old ones, then the signer lends the new."""

    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        url = f"http://{CONSUMER_HOST}:{ports['http']}{TARGET}"
        servers = {"SS1": world.consumer, "SS2": world.provider}
        new = {code: world.lab.auth_certificate(server.id) for code, server in servers.items()}
        both = {code: (server.auth, new[code]) for code, server in servers.items()}
        world.configure(renewed={code: identity.certificate for code, identity in new.items()})
        for code, server in servers.items():
            publish(world, server)
            for identity in both[code]:
                der = world.lab.ocsp(identity.certificate, at=world.clock.at)
                server.ocsp.store(identity.certificate, der)
            server.signer.listed = [
                *server.signer.listed,
                *(
                    server.listed_key(
                        key_id=name,
                        usage="AUTHENTICATION",
                        der=identity.certificate.der,
                        member=None,
                    )
                    for name, identity in zip(("old", "new"), both[code], strict=True)
                ),
            ]
            workers[code].snapshots.look_at_keys_soon()
            await workers[code].snapshots.refresh()
        results: list[bytes] = []
        stop = asyncio.Event()

        async def keep_asking() -> None:
            while not stop.is_set():
                results.append(await fetch(url, world.client, "POST", b"x" * 50_000))

        asking = [asyncio.ensure_future(keep_asking()) for _ in range(4)]
        try:
            for code in ("SS2", "SS1"):
                before = len(results)
                while len(results) < before + 4:
                    await asyncio.sleep(0.01)
                servers[code].signer.authentication = new[code]
                await workers[code]._look_at_authentication_key()
                # Peers of a moment ago, or of another worker, still ask for the old one.
                old = servers[code].auth.certificate
                assert workers[code]._find_ocsp(old.sha1) is not None
                assert workers[code]._find_ocsp(new[code].certificate.sha256) is not None
                while len(results) < before + 12:
                    await asyncio.sleep(0.01)
        finally:
            stop.set()
        await asyncio.gather(*asking)
        assert set(results) == {b"hello"}

    with_workers(tmp_path, story)


def test_another_path_is_not_served(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        answer = await world.client.fetch("GET", f"http://{CONSUMER_HOST}:{ports['http']}/r2/x")
        assert answer.status == 404

    with_workers(tmp_path, story)


def test_a_defect_of_ours_is_told_as_an_internal_error(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        async def broken(record: object) -> int:
            raise KeyError("secret")

        world.consumer.log.append = broken  # a double
        url = f"http://{CONSUMER_HOST}:{ports['http']}{TARGET}"
        answer = await world.client.fetch(
            "GET", url, headers=(("X-Road-Client", CLIENT.encoded()),)
        )
        assert answer.header("X-Road-Error") == "server.clientproxy.internal_error"
        assert b"secret" not in answer.body

    with_workers(tmp_path, story)


def test_every_server_has_its_own_internal_certificate(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        one = load_internal_identity(world.consumer.home).certificate
        two = load_internal_identity(world.provider.home).certificate
        assert one != two
        assert SERVICE.client == REGISTER

    with_workers(tmp_path, story)


def test_the_configuration_to_verify_with_is_given_to_anybody(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        url = f"http://{CONSUMER_HOST}:{ports['http']}/verificationconf"
        answer = await world.client.fetch("GET", url)
        assert (answer.status, answer.body[:2]) == (200, b"PK")
        posted = await world.client.fetch("POST", url)  # a message, whatever its path
        assert b"invalid_request" in posted.body

    with_workers(tmp_path, story)


def test_the_list_of_clients_is_given_to_anybody(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        url = f"http://{CONSUMER_HOST}:{ports['http']}/listClients"
        answer = await world.client.fetch("GET", url)
        assert answer.header("content-type") == "text/xml; charset=UTF-8"
        assert answer.body.count(b"<ns2:member>") == 5
        json = await world.client.fetch(
            "GET", f"{url}?xRoadInstance=TEST", headers=(("Accept", "text/xml, application/json"),)
        )
        assert json.header("content-type") == "application/json; charset=utf-8"
        assert json.body.count(b'"xroad_instance":"TEST"') == 5
        other = await world.client.fetch("GET", f"{url}?xRoadInstance=OTHER")
        assert (other.status, b"server.clientproxy.internal_error" in other.body) == (200, True)

    with_workers(tmp_path, story)


def test_metadata_passes_two_workers(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        url = f"http://{CONSUMER_HOST}:{ports['http']}/r1/TEST/GOV/2/reg/listMethods"
        assert b'"service_code":"persons"' in await fetch(url, world.client)
        assert len(world.provider.log.records) == 2

    with_workers(tmp_path, story)


def test_containers_are_given_to_the_client_alone(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        base = f"http://{CONSUMER_HOST}:{ports['http']}/asic?queryId=q&xRoadInstance=TEST"
        own = f"{base}&memberClass=COM&memberCode=1&subsystemCode=app"
        other = f"{base}&memberClass=GOV&memberCode=2&subsystemCode=reg"
        assert (await world.client.fetch("GET", base)).status == 400
        assert (await world.client.fetch("GET", other)).status == 401
        # The log of this test is in memory, so there is no database to look into.
        assert (await world.client.fetch("GET", own)).status == 500

    with_workers(tmp_path, story)


def test_a_refused_exchange_leaves_a_whole_line_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    configure_logging(process="worker-0", style="json")

    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        url = f"http://{CONSUMER_HOST}:{ports['http']}{TARGET}"
        client = ("X-Road-Client", CLIENT.encoded())
        answer = await world.client.fetch("GET", url, headers=(client, ("X-Road-Id", "q-1")))
        assert answer.status == 500

    def prepare(world: World) -> None:
        world.offer(endpoint=("PUT", "**"))

    try:
        with_workers(tmp_path, story, prepare=prepare)
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    lines = {line["side"]: line for line in told if line["event"] == "exchange"}
    assert set(lines) == {"client", "server"}
    for line in lines.values():
        assert line["fault"] == "server.serverproxy.access_denied"
        assert (line["query_id"], line["client"]) == ("q-1", str(CLIENT))
        assert line["service"] == str(SERVICE)
        assert line["seconds"] > 0
        assert line["remote"]
        assert line["detail_id"]
    assert lines["client"]["request_id"] == lines["server"]["request_id"]
    assert lines["client"]["peer_server"].endswith("/SS2")
    assert lines["server"]["peer_server"].endswith("/SS1")


def test_settings_read_again_count_for_the_next_message_and_drop_none(tmp_path: Path) -> None:
    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        url = f"http://{CONSUMER_HOST}:{ports['http']}{TARGET}"
        worker = workers["SS1"]
        path = worker.settings.home_path / "server.toml"
        text = f"""
            [server]
            identifier = "{world.consumer.id.encoded()}"
            [client_proxy]
            host = "127.0.0.99"
            requests_per_second_per_client = 0.25
            [server_proxy]
            peer_port = {ports["peer"]}
            peer_ocsp_port = {ports["ocsp"]}
            """
        reached, go_on = asyncio.Event(), asyncio.Event()
        at_once = world.service

        async def slow(request: Request, responder: Responder) -> None:
            reached.set()
            await go_on.wait()
            await at_once(request, responder)

        world.service = slow
        running = asyncio.ensure_future(fetch(url, world.client))
        await reached.wait()
        path.write_text("[server\n")
        worker.reload()
        assert worker.settings.client_proxy.requests_per_second_per_client == 0
        path.write_text(text)
        worker.reload()
        go_on.set()
        assert await running == b"hello"
        assert worker.settings.client_proxy.host == CONSUMER_HOST
        world.service = at_once
        assert await fetch(url, world.client) == b"hello"
        headers = (("X-Road-Client", CLIENT.encoded()),)
        refused = await world.client.fetch("GET", url, headers=headers)
        assert refused.header("retry-after") == "4"

    with_workers(tmp_path, story)
