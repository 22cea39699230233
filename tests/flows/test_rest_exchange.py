from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.digests import PartDigest
from postroad.evidence.verification import SignatureDocument, verify_message_signature
from postroad.identifiers import ClientId, GlobalGroupId, LocalGroupId, SubsystemId
from postroad.messages.rest import RestResponse
from postroad.securityserver.messagelog.records import (
    Direction,
    InlineBody,
    MessageRecord,
    OmittedBody,
    Side,
    SpooledBody,
)
from postroad.securityserver.signing import DIGEST
from support.exchange import CLIENT, CONSUMER, NOW, REGISTER, TARGET, World

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.adapters.http_server import Request, Responder


def within(tmp_path: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            await story(world)
            assert world.provider.unexpected == []

    asyncio.run(run())


def fault_of(body: bytes) -> str:
    return str(json.loads(body)["type"])


def test_a_get_reaches_the_service_and_its_answer_comes_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.call("GET", f"{TARGET}/7?x=1", (("X-Road-Id", "mine"),))
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.header("X-Own") == "1"
        assert answer.header("x-road-id") == "mine"
        assert answer.header("x-road-service") == "TEST/GOV/2/reg/persons"
        method, target, headers, body = world.called[0]
        assert (method, target, body) == ("GET", "/api/7?x=1", b"")
        assert ("X-Road-Client", "TEST/COM/1/app") in headers
        assert answer.header("x-road-request-id") == dict(headers)["x-road-request-id"]

    within(tmp_path, story)


def test_a_body_travels_unchanged_and_is_tied_to_the_answer(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        body = b"\r\n--xtop" * 1000
        answer = await world.call("POST", TARGET, (("Content-Type", "a/b"),), body)
        assert world.called[0][3] == body
        assert ("Content-Type", "a/b") in world.called[0][2]
        record = world.consumer.log.records[0]
        sha = hashlib.sha512
        expected = sha(sha(record.message).digest() + sha(body).digest()).digest()
        given = answer.header("x-road-request-hash")
        assert given is not None
        assert expected == base64.b64decode(given)

    within(tmp_path, story)


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000])
def test_bodies_of_any_size_pass_both_ways(tmp_path: Path, size: int) -> None:
    async def echo(request: Request, responder: Responder) -> None:
        body = await request.body.read_all(1 << 30)
        await responder.respond(201, [("Content-Type", "a/b")], body)

    async def story(world: World) -> None:
        world.service = echo
        body = bytes(size)
        answer = await world.call("PUT", TARGET, (), body)
        assert (answer.status, len(answer.body)) == (201, size)
        for server in (world.consumer, world.provider):
            assert list((server.home / "spool").iterdir()) == []

    within(tmp_path, story)


def test_both_sides_log_request_and_response_with_a_signature_that_holds(tmp_path: Path) -> None:
    def verified(world: World, record: MessageRecord, signer: ClientId) -> None:
        parts = {"/message.xml": PartDigest.of("/message.xml", record.message, DIGEST)}
        for number, body in enumerate(record.attachments, 1):
            assert isinstance(body, InlineBody)
            name = f"/attachment{number}"
            parts[name] = PartDigest.of(name, body.data, DIGEST)
        document = SignatureDocument(record.signature, record.hash_chain_result, record.hash_chain)
        verify_message_signature(
            document, signer=signer, parts=parts, globalconf=world.globalconf, at=NOW
        )

    async def story(world: World) -> None:
        await world.call("POST", TARGET, (), b"question")
        for server, side, party in (
            (world.consumer, Side.CLIENT, CLIENT),
            (world.provider, Side.SERVER, REGISTER),
        ):
            asked, answered = server.log.records
            assert (asked.direction, answered.direction) == (Direction.REQUEST, Direction.RESPONSE)
            assert {asked.side, answered.side} == {side}
            assert {asked.party, answered.party} == {party}
            assert asked.attachments == (InlineBody(b"question"),)
            assert answered.attachments == (InlineBody(b"hello"),)
            verified(world, asked, CLIENT)
            verified(world, answered, REGISTER)

    within(tmp_path, story)


def test_a_message_without_body_is_signed_without_a_hash_chain(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.call("GET")
        assert world.consumer.log.records[0].hash_chain is None
        assert world.consumer.log.records[1].hash_chain is not None

    within(tmp_path, story)


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_body_has_no_body_part(tmp_path: Path, status: int) -> None:
    async def bodyless(_request: Request, responder: Responder) -> None:
        await responder.respond(status)

    async def story(world: World) -> None:
        world.service = bodyless
        answer = await world.call()
        assert (answer.status, answer.body) == (status, b"")
        assert world.consumer.log.records[1].attachments == ()

    within(tmp_path, story)


def test_head_is_answered_without_a_body(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.call("HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert world.consumer.log.records[1].hash_chain is None

    within(tmp_path, story)


def test_an_empty_answer_has_an_empty_body_part(tmp_path: Path) -> None:
    async def empty(_request: Request, responder: Responder) -> None:
        await responder.respond(200)

    async def story(world: World) -> None:
        world.service = empty
        assert (await world.call()).status == 200
        assert world.consumer.log.records[1].attachments == (InlineBody(b""),)

    within(tmp_path, story)


def test_the_body_of_a_delete_is_logged_but_not_forwarded(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.call("DELETE", TARGET, (), b"why")
        assert world.called[0][3] == b""
        assert world.provider.log.records[0].attachments == (InlineBody(b"why"),)

    within(tmp_path, story)


def test_an_error_of_the_service_is_a_signed_answer(tmp_path: Path) -> None:
    async def failing(_request: Request, responder: Responder) -> None:
        await responder.respond(503, [("Content-Type", "a/b")], b"down")

    async def story(world: World) -> None:
        world.service = failing
        answer = await world.call()
        assert (answer.status, answer.body) == (503, b"down")
        assert answer.header("X-Road-Error") is None
        assert len(world.consumer.log.records) == 2

    within(tmp_path, story)


def test_redirects_are_passed_through(tmp_path: Path) -> None:
    async def moved(_request: Request, responder: Responder) -> None:
        await responder.respond(302, [("Location", "http://elsewhere.invalid/")])

    async def story(world: World) -> None:
        world.service = moved
        answer = await world.call()
        assert answer.status == 302
        assert answer.header("location") == "http://elsewhere.invalid/"

    within(tmp_path, story)


def test_many_calls_at_once_share_signatures(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answers = await asyncio.gather(*(world.call("POST", TARGET, (), b"x") for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        assert world.consumer.signer.signed < 20

    within(tmp_path, story)


def test_header_text_beyond_ascii_passes_both_ways(tmp_path: Path) -> None:
    async def echo(request: Request, responder: Responder) -> None:
        value = request.header("X-Note") or ""
        await responder.respond(200, [("X-Note", value)], b"")

    async def story(world: World) -> None:
        world.service = echo
        answer = await world.call("GET", TARGET, (("X-Note", "päev"),))
        assert answer.header("X-Note") == "päev"

    within(tmp_path, story)


def test_a_group_without_members_gives_no_right(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.offer(subject=GlobalGroupId("TEST", "nobody"))
        answer = await world.call()
        assert fault_of(answer.body) == "server.serverproxy.access_denied"

    within(tmp_path, story)


Refusal = Callable[[World], None]


def not_registered(world: World) -> None:
    world.consumer.put_client(CLIENT, status="saved")


def unknown_client(world: World) -> None:
    world.consumer.clients.clear()


def tls_required(world: World) -> None:
    world.consumer.put_client(CLIENT, connection_type="SSLNOAUTH")


def no_sign_certificate(world: World) -> None:
    world.consumer.signer.listed.clear()


def token_logged_out(world: World) -> None:
    world.consumer.signer.listed[0] = world.consumer.listed_key(token_active=False)


def certificate_not_active(world: World) -> None:
    world.consumer.signer.listed[0] = world.consumer.listed_key(active=False)


def signer_fails(world: World) -> None:
    world.consumer.signer.failure = ConfigurationError("x", code=FaultCode.TOKEN_NOT_ACTIVE)


def client_log_fails(world: World) -> None:
    world.consumer.log.failure = ConfigurationError("full", code=FaultCode.LOGGING_FAILED)


def provider_log_fails(world: World) -> None:
    world.provider.log.failure = ConfigurationError("full", code=FaultCode.LOGGING_FAILED)


def provider_signer_fails(world: World) -> None:
    world.provider.signer.failure = ConfigurationError("x", code=FaultCode.CANNOT_SIGN)


def provider_unregistered(world: World) -> None:
    world.provider.put_client(REGISTER, status="disabled")


def no_service(world: World) -> None:
    world.provider.put_client(REGISTER)


def soap_service(world: World) -> None:
    world.offer(type="WSDL")


def no_right(world: World) -> None:
    world.offer(subject=SubsystemId("TEST", "COM", "1", "other"))


def other_method(world: World) -> None:
    world.offer(endpoint=("PUT", "**"))


def disabled(world: World) -> None:
    world.offer(disabled=True, disabled_notice="later")


def disabled_and_no_right(world: World) -> None:
    world.offer(disabled=True, subject=SubsystemId("TEST", "COM", "1", "other"))


def no_address(world: World) -> None:
    world.offer(url="")


def bad_address(world: World) -> None:
    world.offer(url="ftp://x")


def service_down(world: World) -> None:
    world.offer(url="http://127.0.0.1:1/")


def configuration_expired(world: World) -> None:
    own = world.globalconf.own
    expired = replace(own, shared_expires_at=NOW - timedelta(seconds=1))
    world.globalconf = type(world.globalconf)("TEST", [expired])


@pytest.mark.parametrize(
    ("arrange", "code"),
    [
        (not_registered, "server.clientproxy.unknown_member"),
        (unknown_client, "server.clientproxy.unknown_member"),
        (tls_required, "server.clientproxy.ssl_authentication_failed"),
        (configuration_expired, "server.clientproxy.global_conf_outdated"),
        (no_sign_certificate, "server.clientproxy.cannot_create_signature"),
        (token_logged_out, "server.clientproxy.cannot_create_signature"),
        (certificate_not_active, "server.clientproxy.cannot_create_signature"),
        (signer_fails, "server.clientproxy.cannot_create_signature.token_not_active"),
        (client_log_fails, "server.clientproxy.logging_failed"),
        (provider_log_fails, "server.serverproxy.logging_failed"),
        (provider_signer_fails, "server.serverproxy.cannot_create_signature.cannot_sign"),
        (provider_unregistered, "server.serverproxy.service_failed.unknown_member"),
        (no_service, "server.serverproxy.unknown_service"),
        (soap_service, "server.serverproxy.service_type"),
        (no_right, "server.serverproxy.access_denied"),
        (other_method, "server.serverproxy.access_denied"),
        (disabled, "server.serverproxy.service_disabled"),
        (disabled_and_no_right, "server.serverproxy.access_denied"),
        (no_address, "server.serverproxy.service_failed.service_missing_url"),
        (bad_address, "server.serverproxy.service_failed.service_malformed_url"),
        (service_down, "server.serverproxy.service_failed.network_error"),
    ],
)
def test_a_refusal_names_its_rule(tmp_path: Path, arrange: Refusal, code: str) -> None:
    async def story(world: World) -> None:
        arrange(world)
        answer = await world.call("POST", TARGET, (), b"x")
        assert answer.status == 500
        assert answer.header("X-Road-Error") == code
        assert fault_of(answer.body) == code
        assert world.consumer.reports[-1].fault == code
        if arrange is not provider_signer_fails:
            assert world.called == []

    within(tmp_path, story)


@pytest.mark.parametrize(
    ("target", "headers", "code"),
    [
        ("/r1/TEST/GOV/2/reg", (), "server.clientproxy.internal_error"),
        ("/r1/TEST/GOV/9/reg/persons", (), "server.clientproxy.unknown_member"),
        (
            TARGET,
            (("X-Road-Client", "TEST/COM/2"),),
            "server.clientproxy.invalid_client_identifier",
        ),
        (TARGET, (("X-Road-Id", ""),), "server.clientproxy.internal_error"),
    ],
)
def test_a_broken_request_never_leaves_the_clients_server(
    tmp_path: Path, target: str, headers: tuple[tuple[str, str], ...], code: str
) -> None:
    async def story(world: World) -> None:
        answer = await world.call("GET", target, headers)
        assert answer.header("X-Road-Error") == code
        assert world.provider.reports == []

    within(tmp_path, story)


def test_a_failing_service_breaks_the_answer_off_with_a_fault(tmp_path: Path) -> None:
    async def half(_request: Request, responder: Responder) -> None:
        await responder.start(200, (), 1000)
        await responder.write(b"half")
        responder._channel.abort()

    async def story(world: World) -> None:
        world.service = half
        answer = await world.call()
        assert answer.status == 500
        assert fault_of(answer.body).startswith("server.serverproxy.service_failed.")
        assert b"half" not in answer.body
        assert len(world.consumer.log.records) == 1
        world.provider.unexpected.clear()  # the service's own, which broke off on purpose

    within(tmp_path, story)


def test_the_error_is_xml_when_the_consumer_accepts_xml(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        no_right(world)
        answer = await world.call("GET", TARGET, (("Accept", "text/xml"),))
        assert answer.body.startswith(b"<?xml")

    within(tmp_path, story)


def test_a_large_body_is_handed_to_the_log_as_a_spool_file(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.call("POST", TARGET, (), bytes(100_000))
        body = world.consumer.log.records[0].attachments[0]
        assert isinstance(body, SpooledBody)
        assert body.digest == hashlib.sha512(bytes(100_000)).digest()

    within(tmp_path, story)


@pytest.mark.parametrize("rule", ["digest-only", "refuse"])
def test_a_body_too_large_for_the_log_is_proven_by_its_digest_or_refused(
    tmp_path: Path, rule: str
) -> None:
    async def story(world: World) -> None:
        proxy = world.consumer.client_proxy()
        rules = msgspec.structs.replace(
            proxy.settings.message_log, max_body_bytes=10, oversized_bodies=rule
        )
        world.consumer.settings = msgspec.structs.replace(proxy.settings, message_log=rules)
        world.port = await world.consumer.listen_for_consumers(world.stack)
        answer = await world.call("POST", TARGET, (), bytes(11))
        if rule == "refuse":
            assert fault_of(answer.body) == "server.clientproxy.logging_failed"
        else:
            assert answer.status == 200
            assert world.consumer.log.records[0].attachments == (
                OmittedBody(hashlib.sha512(bytes(11)).digest(), 11),
            )

    within(tmp_path, story)


def test_a_client_keeps_only_metadata_of_services_whose_bodies_are_not_logged(
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        settings = world.consumer.settings
        rules = msgspec.structs.replace(
            settings.message_log,
            disabled_body_logging_remote_producer_subsystems=("TEST/GOV/2/reg",),
        )
        world.consumer.settings = msgspec.structs.replace(settings, message_log=rules)
        world.port = await world.consumer.listen_for_consumers(world.stack)
        answer = await world.call("POST", f"{TARGET}/secret?q=secret", (), b"secret")
        assert answer.status == 200
        for kept in world.consumer.log.records:
            assert kept.attachments == ()
            assert b"secret" not in kept.message
            assert b"X-Own" not in kept.message
        assert [len(kept.attachments) for kept in world.provider.log.records] == [1, 1]

    within(tmp_path, story)


def test_the_consumer_sees_nothing_before_the_answer_is_logged(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        append = world.consumer.log.append

        async def second_fails(record: MessageRecord) -> int:
            if record.direction is Direction.RESPONSE:
                raise ConfigurationError("full", code=FaultCode.LOGGING_FAILED)
            return await append(record)

        world.consumer.log.append = second_fails  # a double
        answer = await world.call()
        assert fault_of(answer.body) == "server.clientproxy.logging_failed"
        assert b"hello" not in answer.body

    within(tmp_path, story)


def test_the_signature_leaves_only_after_the_request_is_logged(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        client_log_fails(world)
        await world.call("POST", TARGET, (), bytes(500_000))  # so large that it is on its way
        assert world.provider.log.records == []
        assert world.called == []

    within(tmp_path, story)


def test_a_member_holds_no_right_through_its_subsystem(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.configure(consumer_clients=(CLIENT, CONSUMER))
        world.consumer.put_client(CONSUMER)
        answer = await world.call(client=CONSUMER)
        assert fault_of(answer.body) == "server.serverproxy.access_denied"

    within(tmp_path, story)


def test_the_report_names_both_ends(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.call("POST", TARGET, (), b"xyz")
        ours, theirs = world.consumer.reports[0], world.provider.reports[0]
        assert ours.peer_server == "TEST/GOV/2/SS2"
        assert theirs.peer_server == "TEST/COM/1/SS1"
        assert (ours.request_bytes, ours.response_bytes) == (3, 5)
        assert (theirs.request_bytes, theirs.response_bytes) == (3, 5)
        assert ours.line()["service"] == "TEST/GOV/2/reg/persons"
        assert "fault" not in ours.line()

    within(tmp_path, story)


def test_an_ocsp_response_is_fetched_from_the_providers_server_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        asked = 0
        answer_ocsp = world.provider.answer_ocsp

        async def counting(request: Request, responder: Responder) -> None:
            nonlocal asked
            asked += 1
            await answer_ocsp(request, responder)

        world.provider.ocsp_port = (await world.provider.serve(counting, world.stack)).port
        await asyncio.gather(*(world.call() for _ in range(5)))
        assert asked == 1
        assert RestResponse.parse(world.consumer.log.records[-1].message).status == 200

    within(tmp_path, story)


def test_a_local_group_gives_its_members_a_right(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.offer(subject=LocalGroupId("friends"))
        entry = world.provider.clients[REGISTER]
        groups = (("friends", (CLIENT.encoded(),)),)
        world.provider.clients[REGISTER] = msgspec.structs.replace(entry, local_groups=groups)
        assert (await world.call()).status == 200
        groups = (("friends", ("TEST/COM/1/other",)),)
        world.provider.clients[REGISTER] = msgspec.structs.replace(entry, local_groups=groups)
        assert fault_of((await world.call()).body) == "server.serverproxy.access_denied"

    within(tmp_path, story)
