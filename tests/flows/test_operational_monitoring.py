"""What operational monitoring gets of whole exchanges, on both sides of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.opmonitoring.completing import Completing
from postroad.securityserver.opmonitoring.observing import observe
from postroad.securityserver.opmonitoring.record import COLUMNS, OperationalRecord
from support.exchange import NOW, TARGET, Server, World
from support.soap_exchange import ANSWER, RELATED, XML, answer_with, call, message, package

MILLISECONDS = int(NOW.timestamp() * 1000)
PARTIES = {
    "client_xroad_instance": "TEST",
    "client_member_class": "COM",
    "client_member_code": "1",
    "client_subsystem_code": "app",
    "service_xroad_instance": "TEST",
    "service_member_class": "GOV",
    "service_member_code": "2",
    "service_subsystem_code": "reg",
    "service_code": "persons",
}
TIMES = ("request_in_ts", "request_out_ts", "response_in_ts", "response_out_ts")


def record_of(world: World, server: Server) -> OperationalRecord:
    """The one record of a server's last exchange."""
    observation = observe(server.reports[-1], NOW)
    view = server.snapshot().serverconf
    return Completing(server.id, world.globalconf, view, "10.0.0.5").complete(observation)


def fields(record: OperationalRecord) -> dict[str, object]:
    known = {column: getattr(record, column) for column in COLUMNS}
    return {
        column: value
        for column, value in known.items()
        if value is not None and column not in TIMES and column != "x_request_id"
    }


def assert_in_order(record: OperationalRecord) -> None:
    moments = [getattr(record, name) for name in TIMES]
    assert moments == sorted(moments)
    assert MILLISECONDS - 20_000 < moments[0] <= moments[-1] <= MILLISECONDS


def within(tmp_path: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World(tmp_path)
        world.addresses = {"SS1": "127.0.0.1", "SS2": "127.0.0.1"}
        world.configure()
        async with asyncio.timeout(30), world:
            await story(world)

    asyncio.run(run())


def test_a_rest_exchange_is_recorded_on_both_sides(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.offer(endpoint=("GET", "/*"))
        headers = (
            ("X-Road-Id", "q-1"),
            ("X-Road-UserId", "EE1"),
            ("X-Road-Issue", "i-7"),
            ("X-Road-Represented-Party", "COM/3"),
        )
        await world.call("GET", f"{TARGET}/secret-code", headers)
        common = PARTIES | {
            "security_server_internal_ip": "10.0.0.5",
            "rest_method": "GET",
            "represented_party_class": "COM",
            "represented_party_code": "3",
            "message_id": "q-1",
            "message_user_id": "EE1",
            "message_issue": "i-7",
            "message_protocol_version": "1",
            "client_security_server_address": "127.0.0.1",
            "service_security_server_address": "127.0.0.1",
            "request_attachment_count": 0,
            "response_attachment_count": 0,
            "succeeded": 1,
            "status_code": 200,
            "service_type": "REST",
            "x_road_version": "7.8.0",
        }
        client, producer = record_of(world, world.consumer), record_of(world, world.provider)
        sizes = {
            "request_size": len(world.consumer.log.records[0].message),
            "response_size": len(world.consumer.log.records[1].message) + len(b"hello"),
        }
        assert fields(client) == common | sizes | {"security_server_type": "Client"}
        assert fields(producer) == common | sizes | {
            "security_server_type": "Producer",
            "rest_path": "/*",
        }
        assert client.x_request_id == producer.x_request_id == "id-1"
        assert_in_order(client)
        assert_in_order(producer)

    within(tmp_path, story)


def test_a_soap_exchange_with_attachments_is_recorded_on_both_sides(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.offer(type="WSDL")
        answer_with(world, package((XML, ANSWER), ("a/b", b"12345")), RELATED)
        asked = message()
        await call(world, package((XML, asked), ("a/b", b"123"), ("c/d", b"4")), RELATED)
        for server in (world.consumer, world.provider):
            record = record_of(world, server)
            answered = server.log.records[1].message
            assert fields(record) == PARTIES | {
                "security_server_internal_ip": "10.0.0.5",
                "security_server_type": record.security_server_type,
                "message_id": "q-1",
                "message_user_id": "EE1",
                "message_protocol_version": "4.0",
                "client_security_server_address": "127.0.0.1",
                "service_security_server_address": "127.0.0.1",
                "request_size": len(asked),
                "request_mime_size": len(asked) + 4,
                "request_attachment_count": 2,
                "response_size": len(answered),
                "response_mime_size": len(answered) + 5,
                "response_attachment_count": 1,
                "succeeded": 1,
                "service_type": "WSDL",
                "x_road_version": "7.8.0",
            }
            assert_in_order(record)

    within(tmp_path, story)


def test_a_refused_call_has_a_fault_on_both_sides_and_no_response(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.offer(endpoint=("POST", "/other"))
        await world.call()
        for server in (world.consumer, world.provider):
            record = record_of(world, server)
            assert record.succeeded == 0
            assert record.fault_code == "server.serverproxy.access_denied"
            assert record.fault_string == "request is not allowed: TEST/GOV/2/reg/persons"
            assert (record.response_size, record.status_code) == (None, None)
            assert record.response_out_ts is not None

    within(tmp_path, story)


@pytest.mark.parametrize(("status", "succeeded"), [(399, 1), (400, 0), (599, 0), (204, 1)])
def test_an_error_status_of_a_service_is_no_success(
    tmp_path: Path, status: int, succeeded: int
) -> None:
    async def story(world: World) -> None:
        answer_with(world, b"", "text/plain", status)
        await world.call()
        for server in (world.consumer, world.provider):
            record = record_of(world, server)
            assert (record.succeeded, record.status_code) == (succeeded, status)
            assert record.fault_code is None

    within(tmp_path, story)


def test_what_only_the_log_may_say_is_not_in_a_record(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        secret = ConfigurationError("disk /dev/inner is full")
        failure = ConfigurationError("logging failed", code=FaultCode.LOGGING_FAILED)
        failure.__cause__ = secret
        world.provider.log.failure = failure
        await world.call()
        assert "/dev/inner" in world.provider.reports[-1].message
        assert record_of(world, world.provider).fault_string == "logging failed"

    within(tmp_path, story)


def test_what_cannot_be_read_leaves_a_record_without_parties(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await call(world, b"<no-soap/>")
        record = record_of(world, world.consumer)
        assert record.succeeded == 0
        assert record.fault_code is not None
        assert record.client_member_code is None
        assert record.request_in_ts is not None

    within(tmp_path, story)
