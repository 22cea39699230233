"""What a provider's server must refuse from other servers; the service never hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.crypto.ocsp import CertificateStatus
from postroad.identifiers import MemberId, SecurityServerId
from postroad.messages.events import Direction
from postroad.messages.faults import Fault, encode_soap_fault
from postroad.securityserver.signing import MessageSignature
from postroad.trustlab.authority import TrustLab
from support.attacker import (
    MESSAGE_HEADERS,
    Story,
    encode_message,
    parts_of,
    request_block,
    send,
    sign,
)
from support.exchange import CONSUMER, NOW, REGISTER, World

P = "server.serverproxy"
V = f"{P}.signature_verification"
BODY = b"body"


def against(tmp_path: Path, story: Story) -> None:
    """Run the attack; nothing may have been logged or called, and nothing unforeseen happened."""

    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            await story(world)
            assert world.called == []
            assert world.provider.log.records == []
            assert world.provider.unexpected == []

    asyncio.run(run())


def ocsp(world: World) -> list[bytes]:
    return [world.consumer.ocsp.responses[world.consumer.auth.certificate.sha1]]


def message(
    world: World, block: bytes, body: bytes | None, signature: MessageSignature | None
) -> bytes:
    return encode_message(Direction.REQUEST, block, body, signature, ocsp=ocsp(world))


def test_an_honest_message_passes(tmp_path: Path) -> None:
    """The attacks below differ from this in one point each."""

    async def run() -> None:
        async with World(tmp_path) as world:
            block = request_block()
            signature = sign(world, world.consumer.sign, parts_of(block, BODY))
            assert await send(world, message(world, block, BODY, signature)) == ""
            assert world.called[0][3] == BODY

    asyncio.run(run())


Forge = Callable[[World], bytes]


def forged_message(world: World) -> bytes:
    signature = sign(world, world.consumer.sign, parts_of(request_block(), None))
    return message(world, request_block(("X", "1")), None, signature)


def forged_message_under_chain(world: World) -> bytes:
    signature = sign(world, world.consumer.sign, parts_of(request_block(), BODY))
    return message(world, request_block(("X", "1")), BODY, signature)


def forged_body(world: World) -> bytes:
    block = request_block()
    signature = sign(world, world.consumer.sign, parts_of(block, BODY))
    return message(world, block, b"other", signature)


def body_added(world: World) -> bytes:
    block = request_block()
    return message(world, block, BODY, sign(world, world.consumer.sign, parts_of(block, None)))


def body_removed(world: World) -> bytes:
    block = request_block()
    return message(world, block, None, sign(world, world.consumer.sign, parts_of(block, BODY)))


def chain_of_another_message(world: World) -> bytes:
    block = request_block()
    ours = sign(world, world.consumer.sign, parts_of(block, BODY))
    other = sign(world, world.consumer.sign, parts_of(request_block(("X", "1")), BODY))
    mixed = MessageSignature(ours.signature, ours.hash_chain_result, other.hash_chain)
    return message(world, block, BODY, mixed)


def result_of_another_message(world: World) -> bytes:
    block = request_block()
    ours = sign(world, world.consumer.sign, parts_of(block, BODY))
    other = sign(world, world.consumer.sign, parts_of(request_block(("X", "1")), BODY))
    mixed = MessageSignature(other.signature, ours.hash_chain_result, ours.hash_chain)
    return message(world, block, BODY, mixed)


def chain_beside_a_plain_signature(world: World) -> bytes:
    block = request_block()
    plain = sign(world, world.consumer.sign, parts_of(block, None))
    chained = sign(world, world.consumer.sign, parts_of(block, BODY))
    mixed = MessageSignature(plain.signature, chained.hash_chain_result, chained.hash_chain)
    return message(world, block, BODY, mixed)


def signed_by_another_member(world: World) -> bytes:
    block = request_block()
    return message(world, block, None, sign(world, world.provider.sign, parts_of(block, None)))


def signed_with_unknown_certificate(world: World) -> bytes:
    block = request_block()
    lab = TrustLab.create(at=NOW, name="Evil")
    identity = lab.sign_certificate(CONSUMER)
    evil = lab.ocsp(identity.certificate, at=NOW)
    return message(world, block, None, sign(world, identity, parts_of(block, None), ocsp=evil))


def signed_under_an_authority_of_the_same_name(world: World) -> bytes:
    block = request_block()
    lab = TrustLab.create(at=NOW)
    identity = lab.sign_certificate(CONSUMER)
    evil = lab.ocsp(identity.certificate, at=NOW)
    return message(world, block, None, sign(world, identity, parts_of(block, None), ocsp=evil))


def signed_with_the_authentication_certificate(world: World) -> bytes:
    block = request_block()
    return message(world, block, None, sign(world, world.consumer.auth, parts_of(block, None)))


def signed_with_stale_ocsp(world: World) -> bytes:
    block = request_block()
    stale = world.lab.ocsp(world.consumer.sign.certificate, at=NOW - timedelta(hours=2))
    return message(
        world, block, None, sign(world, world.consumer.sign, parts_of(block, None), ocsp=stale)
    )


def signed_with_ocsp_of_another_certificate(world: World) -> bytes:
    block = request_block()
    other = world.lab.ocsp(world.provider.sign.certificate, at=NOW)
    return message(
        world, block, None, sign(world, world.consumer.sign, parts_of(block, None), ocsp=other)
    )


def signed_with_revoked_certificate(world: World) -> bytes:
    block = request_block()
    world.lab.revoke(world.consumer.sign.certificate.serial)
    return message(world, block, None, sign(world, world.consumer.sign, parts_of(block, None)))


def signed_with_unknown_status(world: World) -> bytes:
    block = request_block()
    unknown = world.lab.ocsp(
        world.consumer.sign.certificate, at=NOW, status=CertificateStatus.UNKNOWN
    )
    return message(
        world, block, None, sign(world, world.consumer.sign, parts_of(block, None), ocsp=unknown)
    )


def signed_with_expired_certificate(world: World) -> bytes:
    block = request_block()
    identity = world.lab.sign_certificate(CONSUMER, at=NOW - timedelta(days=10), days=5)
    return message(world, block, None, sign(world, identity, parts_of(block, None)))


def broken_signature_value(world: World) -> bytes:
    block = request_block()
    good = sign(world, world.consumer.sign, parts_of(block, None)).signature
    at = good.index(b'Id="signature-value">') + 40
    flipped = b"A" if good[at : at + 1] != b"A" else b"B"
    return message(world, block, None, MessageSignature(good[:at] + flipped + good[at + 1 :]))


def no_xml(world: World) -> bytes:
    return message(world, request_block(), None, MessageSignature(b"not xml"))


def without_signature(world: World) -> bytes:
    return message(world, request_block(), BODY, None)


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (forged_message, f"{V}.invalid_signature_value"),
        (forged_message_under_chain, f"{V}.malformed_signature.invalid_hash_chain"),
        (forged_body, f"{V}.malformed_signature.invalid_hash_chain"),
        (body_added, f"{V}.malformed_signature"),
        (body_removed, f"{V}.malformed_signature.invalid_reference"),
        (chain_of_another_message, f"{V}.malformed_signature.invalid_hash_chain_ref"),
        (result_of_another_message, f"{V}.invalid_signature_value"),
        (chain_beside_a_plain_signature, f"{V}.malformed_signature"),
        (signed_by_another_member, f"{V}.incorrect_certificate"),
        (signed_with_unknown_certificate, f"{V}.cannot_create_cert_path"),
        (signed_under_an_authority_of_the_same_name, f"{V}.cannot_create_cert_path"),
        (signed_with_the_authentication_certificate, f"{V}.malformed_signature"),
        (signed_with_stale_ocsp, f"{V}.incorrect_validation_info"),
        (signed_with_ocsp_of_another_certificate, f"{V}.cert_validation"),
        (signed_with_revoked_certificate, f"{V}.cert_validation"),
        (signed_with_unknown_status, f"{V}.cert_validation"),
        (signed_with_expired_certificate, f"{V}.cannot_create_cert_path"),
        (broken_signature_value, f"{V}.invalid_signature_value"),
        (no_xml, f"{V}.invalid_xml"),
        (without_signature, f"{P}.missing_signature"),
    ],
)
def test_refuses_a_signature_that_does_not_prove_the_message(
    tmp_path: Path, forge: Forge, code: str
) -> None:
    async def story(world: World) -> None:
        assert await send(world, forge(world)) == code

    against(tmp_path, story)


def honest(world: World, auth_ocsp: list[bytes]) -> bytes:
    block = request_block()
    signature = sign(world, world.consumer.sign, parts_of(block, BODY))
    return encode_message(Direction.REQUEST, block, BODY, signature, ocsp=auth_ocsp)


def test_refuses_an_authentication_certificate_nobody_registered(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        other = world.lab.auth_certificate(SecurityServerId("TEST", "COM", "1", "SS9"))
        good = world.lab.ocsp(other.certificate, at=NOW)
        answer = await send(world, honest(world, [good]), auth=other)
        assert answer == f"{P}.ssl_authentication_failed"

    against(tmp_path, story)


def test_refuses_a_server_that_does_not_host_the_client(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        own = world.provider.auth
        good = world.lab.ocsp(own.certificate, at=NOW)
        answer = await send(world, honest(world, [good]), auth=own)
        assert answer == f"{P}.ssl_authentication_failed"

    against(tmp_path, story)


def test_refuses_a_client_that_was_taken_from_the_server(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        block = request_block()
        signature = sign(world, world.consumer.sign, parts_of(block, BODY))
        data = message(world, block, BODY, signature)
        world.configure(consumer_clients=())
        assert await send(world, data) == f"{P}.ssl_authentication_failed"

    against(tmp_path, story)


@pytest.mark.parametrize(
    "bend",
    [
        lambda _world, _auth: [],
        lambda world, auth: [world.lab.ocsp(auth, at=NOW - timedelta(hours=2))],
        lambda world, auth: [world.lab.ocsp(auth, at=NOW + timedelta(hours=2))],
        lambda world, auth: [world.lab.ocsp(auth, at=NOW, status=CertificateStatus.REVOKED)],
        lambda world, auth: [world.lab.ocsp(auth, at=NOW, status=CertificateStatus.UNKNOWN)],
        lambda world, auth: [world.lab.ocsp(auth, at=NOW, responder=world.consumer.sign)],
        lambda world, _auth: [world.lab.ocsp(world.provider.auth.certificate, at=NOW)],
        lambda _world, _auth: [b"\x30\x03\x0a\x01\x06"],
    ],
)
def test_refuses_an_authentication_certificate_that_is_not_proven_good_now(
    tmp_path: Path, bend: Callable[[World, object], list[bytes]]
) -> None:
    async def story(world: World) -> None:
        data = honest(world, bend(world, world.consumer.auth.certificate))
        assert await send(world, data) == f"{P}.ssl_authentication_failed"

    against(tmp_path, story)


def test_a_verdict_never_outlives_its_evidence(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            data = honest(world, ocsp(world))
            assert await send(world, data) == ""
            world.clock.at = NOW + timedelta(minutes=61)
            assert await send(world, data) == f"{P}.ssl_authentication_failed"

    asyncio.run(run())


def test_a_verdict_ends_with_the_configuration_it_rests_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            data = honest(world, ocsp(world))
            assert await send(world, data) == ""
            world.configure(consumer_clients=())
            assert await send(world, data) == f"{P}.ssl_authentication_failed"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ((), f"{P}.internal_error"),
        (MESSAGE_HEADERS[:1] + MESSAGE_HEADERS[2:], f"{P}.internal_error"),
        ((*MESSAGE_HEADERS, ("x-hash-algorithm", "SHA-1")), f"{P}.internal_error"),
        ((*MESSAGE_HEADERS, ("x-hash-algorithm", "none")), None),
        (MESSAGE_HEADERS[:2], f"{P}.invalid_message"),  # SOAP is expected
        ((*MESSAGE_HEADERS[:2], ("x-road-message-type", "Rest")), f"{P}.invalid_message"),
        ((*MESSAGE_HEADERS[1:], ("Content-Type", "text/xml")), f"{P}.invalid_content_type"),
        ((*MESSAGE_HEADERS[1:], ("Content-Type", "multipart/mixed")), f"{P}.invalid_content_type"),
        (
            (*MESSAGE_HEADERS[1:], ("Content-Type", "multipart/mixed; boundary=zz")),
            f"{P}.mime_parsing_failed",
        ),
    ],
)
def test_refuses_a_request_that_is_not_of_the_protocol(
    tmp_path: Path, headers: tuple[tuple[str, str], ...], code: str | None
) -> None:
    async def story(world: World) -> None:
        answer = await send(world, honest(world, ocsp(world)), headers=headers)
        assert answer == code or (code is None and answer.startswith(P))

    against(tmp_path, story)


def test_refuses_any_method_but_post(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert await send(world, b"", method="GET") == f"{P}.invalid_http_method"
        assert await send(world, b"x", method="PUT") == f"{P}.invalid_http_method"

    against(tmp_path, story)


@pytest.mark.parametrize(
    ("bend", "code"),
    [
        (lambda data: data[:-40], f"{P}.mime_parsing_failed"),
        (lambda data: data + b"junk", f"{P}.mime_parsing_failed"),
        (lambda data: b"junk" + data, f"{P}.mime_parsing_failed"),
        (
            lambda data: (
                data.removesuffix(b"\r\n--b--\r\n")
                + b"\r\n--b\r\ncontent-type: text/plain\r\n\r\nx\r\n--b--\r\n"
            ),
            f"{P}.invalid_message",
        ),
        (
            lambda data: data.replace(b"application/x-road-rest-body", b"text/xml"),
            f"{P}.invalid_content_type",
        ),
        (
            lambda data: data.replace(b"x-road-rest-request", b"x-road-rest-response"),
            f"{P}.invalid_content_type",
        ),
        (
            lambda data: data.replace(b"POST\r\n/r1", b"POST\r\n/r2"),
            f"{P}.internal_error",
        ),
        (
            lambda data: data.replace(b"X-Road-Client:", b"Host:x\r\nX-Road-Client:"),
            f"{P}.internal_error",
        ),
    ],
)
def test_refuses_a_message_out_of_form(
    tmp_path: Path, bend: Callable[[bytes], bytes], code: str
) -> None:
    async def story(world: World) -> None:
        assert await send(world, bend(honest(world, ocsp(world)))) == code

    against(tmp_path, story)


def test_refuses_a_fault_in_a_request(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        data = honest(world, ocsp(world))
        fault = encode_soap_fault(Fault("c", "s"))
        cut = data.index(b"\r\n--b\r\ncontent-type: application/hash-chain-result")
        data = data[:cut] + b"\r\n--b\r\ncontent-type: text/xml\r\n\r\n" + fault + b"\r\n--b--\r\n"
        assert await send(world, data) == f"{P}.invalid_content_type"

    against(tmp_path, story)


def test_a_large_refused_message_still_learns_why(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        block = request_block()
        body = bytes(5_000_000)
        data = encode_message(
            Direction.REQUEST, block, body, sign(world, world.consumer.sign, parts_of(block, body))
        )
        assert await send(world, data) == f"{P}.ssl_authentication_failed"
        assert list((world.provider.home / "spool").iterdir()) == []

    against(tmp_path, story)


def test_another_members_subsystem_cannot_be_claimed(tmp_path: Path) -> None:
    """The consumer's server signs as itself, and names the provider's subsystem as client."""

    async def story(world: World) -> None:
        block = request_block(client=REGISTER)
        signature = sign(world, world.consumer.sign, parts_of(block, None))
        answer = await send(world, message(world, block, None, signature))
        assert answer == f"{P}.ssl_authentication_failed"
        assert MemberId("TEST", "GOV", "2") != CONSUMER

    against(tmp_path, story)
