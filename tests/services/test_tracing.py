"""Traces of exchanges between two workers, as a real collector gets them."""

from __future__ import annotations

import time
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from postroad.securityserver.worker import Worker
from support.collector import Collector, attributes, collecting
from support.exchange import CLIENT, REGISTER, TARGET, World
from support.soap_exchange import answer_with, message
from support.workers import CONSUMER_HOST, with_workers

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
CANARY = b"canary-4f1d"


def exchange(
    tmp_path: Path,
    collector: Collector,
    more: str = "",
    *,
    headers: tuple[tuple[str, str], ...] = (),
    is_soap: bool = False,
    endpoint: tuple[str, str] = ("*", "**"),
) -> World:
    """One exchange between two servers that send their traces to the collector."""
    worlds: list[World] = []

    async def story(world: World, workers: dict[str, Worker], ports: dict[str, int]) -> None:
        url = f"http://{CONSUMER_HOST}:{ports['http']}"
        if is_soap:
            await world.client.fetch(
                "POST", url, headers=(("Content-Type", "text/xml"), *headers), body=message()
            )
        else:
            client = ("X-Road-Client", CLIENT.encoded())
            await world.client.fetch(
                "POST", url + TARGET, headers=(client, *headers), body=CANARY * 100
            )
        worlds.append(world)

    def prepare(world: World) -> None:
        world.offer(endpoint=endpoint)
        if is_soap:
            world.offer(type="WSDL")
            answer_with(world)

    section = f'[telemetry]\nendpoint = "{collector.url}"\n{more}'
    with_workers(tmp_path, story, more=section, prepare=prepare)
    return worlds[0]


def test_a_trusted_trace_goes_from_the_consumer_to_the_service(tmp_path: Path) -> None:
    sent = (("traceparent", TRACEPARENT), ("tracestate", "vendor=1"))
    with collecting() as collector:
        world = exchange(tmp_path, collector, 'peer_context = "trust"', headers=sent, is_soap=True)
    client, peer = collector.named("client proxy"), collector.named("peer")
    server, service = collector.named("server proxy"), collector.named("service")
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE_ID}
    assert client.parent_span_id.hex() == "00f067aa0ba902b7"
    assert peer.parent_span_id == client.span_id
    assert server.parent_span_id == peer.span_id
    assert service.parent_span_id == server.span_id
    assert (peer.kind, service.kind) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_CLIENT)
    told = dict(world.called[0][2])
    assert told["traceparent"] == f"00-{TRACE_ID}-{service.span_id.hex()}-01"
    assert told["tracestate"] == "vendor=1"


def test_the_steps_of_both_sides_are_told_in_order(tmp_path: Path) -> None:
    with collecting() as collector:
        exchange(tmp_path, collector)
    steps = {
        name: [
            span.name
            for span in sorted(collector.spans, key=lambda span: span.start_time_unix_nano)
            if span.parent_span_id == collector.named(name).span_id
            and span.kind == Span.SPAN_KIND_INTERNAL
        ]
        for name in ("client proxy", "server proxy")
    }
    assert steps == {
        "client proxy": [
            *("accept", "authorise", "connect", "send", "sign"),
            *("log", "receive", "verify", "log", "answer"),
        ],
        "server proxy": [
            *("accept", "authorise", "receive", "verify", "log", "call", "sign", "log", "answer"),
        ],
    }
    ends = [span.end_time_unix_nano - span.start_time_unix_nano for span in collector.spans]
    assert min(ends) >= 0
    assert max(ends) < 30e9


def test_a_peer_s_trace_is_linked_and_not_continued_unless_trusted(tmp_path: Path) -> None:
    with collecting() as collector:
        exchange(tmp_path, collector, headers=(("traceparent", TRACEPARENT),))
    server, peer = collector.named("server proxy"), collector.named("peer")
    assert collector.named("client proxy").trace_id.hex() == TRACE_ID
    assert server.trace_id.hex() != TRACE_ID
    (link,) = server.links
    assert (link.trace_id, link.span_id) == (peer.trace_id, peer.span_id)


def test_both_servers_traces_have_the_identifiers_of_the_exchange(tmp_path: Path) -> None:
    with collecting() as collector:
        exchange(tmp_path, collector, headers=(("X-Road-Id", "query-1"),))
    client = attributes(collector.named("client proxy"))
    server = attributes(collector.named("server proxy"))
    for name in ("xroad.request_id", "xroad.query_id", "xroad.client", "xroad.service"):
        assert client[name] == server[name]
    assert client["xroad.query_id"] == "query-1"
    assert client["http.response.status_code"] == 200
    assert CANARY not in b"".join(collector.raw)
    assert b"/api" not in b"".join(collector.raw)


def test_the_service_gets_a_signed_context_as_it_was_signed(tmp_path: Path) -> None:
    with collecting() as collector:
        world = exchange(tmp_path, collector, headers=(("traceparent", TRACEPARENT),))
    headers = [value for name, value in world.called[0][2] if name.lower() == "traceparent"]
    assert headers == [TRACEPARENT]
    blocks = [record.message for record in world.provider.log.records]
    assert TRACEPARENT.encode() in blocks[0]


def test_our_context_is_in_no_signed_message(tmp_path: Path) -> None:
    with collecting() as collector:
        world = exchange(tmp_path, collector)
    assert dict(world.called[0][2])["traceparent"]
    for server in (world.consumer, world.provider):
        for record in server.log.records:
            assert b"traceparent" not in record.message.lower()


def test_a_fault_is_told_by_its_code_at_the_step_that_failed(tmp_path: Path) -> None:
    with collecting() as collector:
        exchange(tmp_path, collector, endpoint=("DELETE", "**"))
    server, client = collector.named("server proxy"), collector.named("client proxy")
    code = "server.serverproxy.access_denied"
    assert attributes(server)["xroad.fault"] == attributes(client)["xroad.fault"] == code
    failed = {span.name for span in collector.spans if span.status.code == Status.STATUS_CODE_ERROR}
    assert {"server proxy", "client proxy", "authorise", "peer"} <= failed
    assert not [span for span in collector.spans if span.name == "service"]


def test_an_unsampled_exchange_sends_nothing_but_its_context(tmp_path: Path) -> None:
    with collecting() as collector:
        world = exchange(tmp_path, collector, "sampling_ratio = 0.0")
    assert not collector.raw
    flags = dict(world.called[0][2])["traceparent"].rpartition("-")[2]
    assert not int(flags, 16) & 1  # W3C Trace Context 3.2.2.5.1: the sampled flag


def test_a_collector_that_hangs_delays_neither_exchanges_nor_the_end(tmp_path: Path) -> None:
    with collecting(hangs=True) as collector:
        began = time.monotonic()
        more = "export_interval = 0.01\nexport_timeout = 0.5\nqueue_limit = 16"
        world = exchange(tmp_path, collector, more)
        assert time.monotonic() - began < 15
    assert len(world.called) == 1
    assert world.provider.id.owner == REGISTER.member


def test_without_a_collector_exchanges_go_on(tmp_path: Path) -> None:
    gone = Collector(url="http://127.0.0.1:9/v1/traces")
    world = exchange(tmp_path, gone, "export_interval = 0.01\nexport_timeout = 0.2")
    assert len(world.called) == 1
