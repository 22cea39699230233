"""What a client's server must refuse from a provider's server; the consumer never sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.crypto.ocsp import CertificateStatus
from postroad.identifiers import SecurityServerId
from postroad.messages.events import Direction
from postroad.messages.faults import Fault, encode_soap_fault
from postroad.securityserver.messagelog.records import Direction as LogDirection
from postroad.securityserver.signing import MessageSignature
from support.attacker import (
    MESSAGE_HEADERS,
    Answer,
    Asked,
    Story,
    answer_block,
    become_ocsp_port,
    become_provider,
    encode_message,
    parts_of,
    sign,
)
from support.exchange import NOW, TARGET, World
from support.soap_messages import envelope

Q = "server.clientproxy"
V = f"{Q}.signature_verification"
EVIL = b"evil answer"


def against(tmp_path: Path, story: Story) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            await story(world)
            assert world.consumer.unexpected == []

    asyncio.run(run())


async def expect(world: World, code: str) -> None:
    """The consumer is told the code, sees nothing of the answer, and no response is logged."""
    answer = await world.call("POST", TARGET, (), b"question")
    assert answer.header("X-Road-Error") == code
    assert EVIL not in answer.body
    directions = [record.direction for record in world.consumer.log.records]
    assert LogDirection.RESPONSE not in directions


def response(block: bytes, body: bytes | None, signature: MessageSignature | None) -> bytes:
    return encode_message(Direction.RESPONSE, block, body, signature)


def test_an_honest_answer_passes(tmp_path: Path) -> None:
    """The attacks below differ from this in one point each."""

    async def story(world: World) -> None:
        def answer(asked: Asked) -> bytes:
            block = answer_block(asked)
            signature = sign(world, world.provider.sign, parts_of(block, EVIL))
            return response(block, EVIL, signature)

        await become_provider(world, answer)
        assert (await world.call("POST", TARGET, (), b"question")).body == EVIL

    against(tmp_path, story)


Forge = Callable[[World], Answer]


def forged_body(world: World) -> Answer:
    def answer(asked: Asked) -> bytes:
        block = answer_block(asked)
        return response(block, EVIL, sign(world, world.provider.sign, parts_of(block, b"good")))

    return answer


def forged_status(world: World) -> Answer:
    def answer(asked: Asked) -> bytes:
        signed = answer_block(asked, status=404)
        signature = sign(world, world.provider.sign, parts_of(signed, None))
        return response(answer_block(asked), None, signature)

    return answer


def uncovered_body(world: World) -> Answer:
    def answer(asked: Asked) -> bytes:
        block = answer_block(asked)
        return response(block, EVIL, sign(world, world.provider.sign, parts_of(block, None)))

    return answer


def signed_by_the_client(world: World) -> Answer:
    def answer(asked: Asked) -> bytes:
        block = answer_block(asked)
        return response(block, EVIL, sign(world, world.consumer.sign, parts_of(block, EVIL)))

    return answer


def stale_ocsp(world: World) -> Answer:
    def answer(asked: Asked) -> bytes:
        block = answer_block(asked)
        stale = world.lab.ocsp(world.provider.sign.certificate, at=NOW - timedelta(hours=2))
        return response(
            block, EVIL, sign(world, world.provider.sign, parts_of(block, EVIL), ocsp=stale)
        )

    return answer


def revoked(world: World) -> Answer:
    def answer(asked: Asked) -> bytes:
        world.lab.revoke(world.provider.sign.certificate.serial)
        block = answer_block(asked)
        return response(block, EVIL, sign(world, world.provider.sign, parts_of(block, EVIL)))

    return answer


def wrong_request_hash(world: World) -> Answer:
    def answer(asked: Asked) -> bytes:
        block = answer_block(asked, digest=b"x" * 64)
        return response(block, EVIL, sign(world, world.provider.sign, parts_of(block, EVIL)))

    return answer


def hash_without_the_body(world: World) -> Answer:
    def answer(asked: Asked) -> bytes:
        block = answer_block(Asked(asked.message, None))
        return response(block, EVIL, sign(world, world.provider.sign, parts_of(block, EVIL)))

    return answer


def other_exchange(name: str) -> Forge:
    def forge(world: World) -> Answer:
        def answer(asked: Asked) -> bytes:
            lines = answer_block(asked).split(b"\r\n")
            wanted = name.encode() + b":"
            values = {
                b"x-road-client:": b"TEST/COM/1/other",
                b"x-road-service:": b"TEST/GOV/2/reg/x",
            }
            lines = [
                wanted + values.get(wanted, b"other") if line.startswith(wanted) else line
                for line in lines
            ]
            block = b"\r\n".join(lines)
            return response(block, EVIL, sign(world, world.provider.sign, parts_of(block, EVIL)))

        return answer

    return forge


def without_signature(_world: World) -> Answer:
    return lambda asked: response(answer_block(asked), EVIL, None)


def cut_short(world: World) -> Answer:
    def answer(asked: Asked) -> bytes:
        block = answer_block(asked)
        signature = sign(world, world.provider.sign, parts_of(block, EVIL))
        return response(block, EVIL, signature)[:-30]

    return answer


def request_instead_of_response(world: World) -> Answer:
    def answer(asked: Asked) -> bytes:
        block = asked.message.encode()
        signature = sign(world, world.consumer.sign, parts_of(block, None))
        return encode_message(Direction.REQUEST, block, None, signature)

    return answer


def soap_message(_world: World) -> Answer:
    xml = envelope()
    return lambda _asked: b"--b\r\ncontent-type: text/xml\r\n\r\n" + xml + b"\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (forged_body, f"{V}.malformed_signature.invalid_hash_chain"),
        (forged_status, f"{V}.invalid_signature_value"),
        (uncovered_body, f"{V}.malformed_signature"),
        (signed_by_the_client, f"{V}.incorrect_certificate"),
        (stale_ocsp, f"{V}.incorrect_validation_info"),
        (revoked, f"{V}.cert_validation"),
        (wrong_request_hash, f"{Q}.inconsistent_response"),
        (hash_without_the_body, f"{Q}.inconsistent_response"),
        (other_exchange("x-road-id"), f"{Q}.inconsistent_response"),
        (other_exchange("x-road-client"), f"{Q}.inconsistent_response"),
        (other_exchange("x-road-service"), f"{Q}.inconsistent_response"),
        (other_exchange("x-road-request-id"), f"{Q}.inconsistent_response"),
        (other_exchange("x-road-request-hash"), f"{Q}.inconsistent_response"),
        (without_signature, f"{Q}.missing_signature"),
        (cut_short, f"{Q}.service_failed.mime_parsing_failed"),
        (request_instead_of_response, f"{Q}.service_failed.invalid_content_type"),
        (soap_message, f"{Q}.missing_signature"),
    ],
)
def test_refuses_an_answer_that_proves_nothing(tmp_path: Path, forge: Forge, code: str) -> None:
    async def story(world: World) -> None:
        await become_provider(world, forge(world))
        await expect(world, code)

    against(tmp_path, story)


def test_a_genuine_answer_to_an_earlier_question_is_not_an_answer_to_this_one(
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        answers: list[bytes] = []

        def replay(asked: Asked) -> bytes:
            if not answers:
                block = answer_block(asked)
                signature = sign(world, world.provider.sign, parts_of(block, EVIL))
                answers.append(response(block, EVIL, signature))
            return answers[0]

        await become_provider(world, replay)
        assert (await world.call("POST", TARGET, (), b"question")).status == 200
        world.consumer.log.records.clear()
        await expect(world, f"{Q}.inconsistent_response")

    against(tmp_path, story)


Headers = tuple[tuple[str, str], ...]
XML: Headers = (("Content-Type", "text/xml"),)


@pytest.mark.parametrize(
    ("status", "headers", "data", "code"),
    [
        (404, MESSAGE_HEADERS, b"", f"{Q}.http_error"),
        (302, MESSAGE_HEADERS, b"", f"{Q}.http_error"),
        (200, XML, b"", f"{Q}.service_failed.invalid_soap"),
        (200, XML, b"<a/>", f"{Q}.service_failed.invalid_soap"),
        (
            200,
            XML,
            encode_soap_fault(Fault("c", "s")).replace(b"SOAP-ENV:Fault", b"evil"),
            f"{Q}.service_failed.invalid_message",
        ),
        (200, (("Content-Type", "oih"),), b"", f"{Q}.service_failed.invalid_content_type"),
        (200, (), b"", f"{Q}.service_failed.invalid_content_type"),
        (
            200,
            (("Content-Type", "multipart/mixed"), MESSAGE_HEADERS[1]),
            b"",
            f"{Q}.service_failed.invalid_content_type",
        ),
        (200, MESSAGE_HEADERS[:1], b"", f"{Q}.service_failed.invalid_message"),
        (500, XML, encode_soap_fault(Fault("Server.X.Y", "text")), "Server.X.Y"),
        (200, XML, encode_soap_fault(Fault("server.x\r\nA: b", "t")), "server.x A: b"),
    ],
)
def test_refuses_an_http_answer_out_of_form(
    tmp_path: Path, status: int, headers: Headers, data: bytes, code: str
) -> None:
    async def story(world: World) -> None:
        await become_provider(world, lambda _asked: data, status=status, headers=headers)
        answer = await world.call("POST", TARGET, (), b"question")
        error = answer.header("X-Road-Error") or ""
        assert error.replace("??", " ").replace("? ", " ").replace("?", " ") == code

    against(tmp_path, story)


def test_a_server_that_does_not_host_the_provider_gets_no_question(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        other = world.lab.auth_certificate(SecurityServerId("TEST", "GOV", "2", "SS9"))
        seen = await become_provider(world, lambda _asked: b"", auth=other)
        await expect(world, f"{Q}.ssl_authentication_failed")
        assert seen == []

    against(tmp_path, story)


def test_the_clients_own_server_is_no_provider(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        seen = await become_provider(world, lambda _asked: b"", auth=world.consumer.auth)
        await expect(world, f"{Q}.ssl_authentication_failed")
        assert seen == []

    against(tmp_path, story)


@pytest.mark.parametrize(
    "bend",
    [
        lambda world, auth: world.lab.ocsp(auth, at=NOW - timedelta(hours=2)),
        lambda world, auth: world.lab.ocsp(auth, at=NOW + timedelta(hours=2)),
        lambda world, auth: world.lab.ocsp(auth, at=NOW, status=CertificateStatus.REVOKED),
        lambda world, auth: world.lab.ocsp(auth, at=NOW, status=CertificateStatus.UNKNOWN),
        lambda world, auth: world.lab.ocsp(auth, at=NOW, responder=world.provider.sign),
        lambda world, _auth: world.lab.ocsp(world.consumer.auth.certificate, at=NOW),
        lambda _world, _auth: b"not DER",
    ],
)
def test_a_server_whose_certificate_is_not_proven_good_gets_no_question(
    tmp_path: Path, bend: Callable[[World, object], bytes]
) -> None:
    async def story(world: World) -> None:
        seen = await become_provider(world, lambda _asked: b"")
        await become_ocsp_port(world, lambda auth: bend(world, auth))
        await expect(world, f"{Q}.ssl_authentication_failed")
        assert seen == []

    against(tmp_path, story)


def test_an_older_good_word_does_not_take_back_a_revocation(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        auth = world.provider.auth.certificate
        world.consumer.ocsp.store(
            auth, world.lab.ocsp(auth, at=NOW, status=CertificateStatus.REVOKED)
        )
        seen = await become_provider(world, lambda _asked: b"")
        await become_ocsp_port(
            world, lambda auth: world.lab.ocsp(auth, at=NOW - timedelta(minutes=10))
        )
        await expect(world, f"{Q}.ssl_authentication_failed")
        assert seen == []

    against(tmp_path, story)


def test_a_verdict_on_a_server_never_outlives_its_evidence(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert (await world.call()).status == 200
        world.consumer.log.records.clear()
        world.clock.at = NOW + timedelta(minutes=61)
        world.consumer.refresh_ocsp()
        world.lab.revoke(world.provider.auth.certificate.serial)
        world.provider.refresh_ocsp()
        await expect(world, f"{Q}.ssl_authentication_failed")

    against(tmp_path, story)
